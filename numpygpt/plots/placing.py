"""Words beside points in a picture, so that no word covers another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

Place = tuple[float, float]
Box = tuple[float, float, float, float]  # left, bottom, right, top
DIRECTIONS = 12
RINGS = 7


def place_labels(points: np.ndarray, sizes: Sequence[Place], frame: Box) -> list[Place | None]:
    """Where the middle of each word goes: on its point (x, y), or as near to it as is free, or None where nothing is.

    points: (N, 2); sizes: the width and height of each word; frame: what none may leave. The first words choose first.
    """
    taken: list[Box] = []
    places: list[Place | None] = []
    for point, (width, height) in zip(points.tolist(), sizes, strict=True):
        place = next((spot for spot in candidates(point, width, height)
                      if free(box(spot, width, height), taken, frame)), None)  # fmt: skip
        places.append(place)
        if place is not None:
            taken.append(box(place, width, height))
    return places


def candidates(point: Sequence[float], width: float, height: float) -> Iterator[Place]:
    """The point itself, then places around it in wider and wider rings."""
    yield point[0], point[1]
    for ring in range(1, RINGS + 1):
        for i in range(DIRECTIONS):
            angle = 2 * math.pi * i / DIRECTIONS
            yield (point[0] + 0.5 * (ring * height + width) * math.cos(angle),
                   point[1] + 0.75 * ring * height * math.sin(angle))  # fmt: skip


def box(middle: Sequence[float], width: float, height: float) -> Box:
    return middle[0] - width / 2, middle[1] - height / 2, middle[0] + width / 2, middle[1] + height / 2


def free(new: Box, taken: Sequence[Box], frame: Box) -> bool:
    inside = new[0] >= frame[0] and new[1] >= frame[1] and new[2] <= frame[2] and new[3] <= frame[3]
    return inside and not any(overlap(new, old) for old in taken)


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
