"""Place labels at points of a picture so that no label patches another label or a dot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

Place = tuple[float, float]
Box = tuple[float, float, float, float]  # left, bottom, right, top
DIRECTIONS = 12
RINGS = 7
DOT = 5.0  # pixels


def place_labels(points: np.ndarray, sizes: Sequence[Place], frame: Box) -> list[Place | None]:
    """Return the centre of each label: its point (x, y), a place as close to it as possible, or None if there is no
    room. A label is not on its point if that would hide another point; then its point needs a dot.

    points: (N, 2); sizes: the width and height of each label; frame: no label leaves it. Earlier labels go first.
    """
    centres: list[Place] = [(x, y) for x, y in points.tolist()]
    places: list[Place | None] = [None] * len(centres)
    taken: list[Box] = []

    def put(i: int, spots: Iterable[Place], others: Sequence[Box] = ()) -> None:
        places[i] = found = next((spot for spot in spots if free(box(spot, *sizes[i]), [*taken, *others], frame)), None)
        if found:
            taken.append(box(found, *sizes[i]))

    for i, centre in enumerate(centres):
        put(i, [centre], [box(other, 0, 0) for other in centres if other != centre])
    dots = [i for i, place in enumerate(places) if place is None]
    taken += [box(centres[i], DOT, DOT) for i in dots]
    for i in dots:
        put(i, around(centres[i], *sizes[i]))
    return places


def around(point: Place, width: float, height: float) -> Iterator[Place]:
    """Yield places around a point, in wider and wider rings."""
    for ring in range(1, RINGS + 1):
        for i in range(DIRECTIONS):
            angle = 2 * math.pi * i / DIRECTIONS
            yield (point[0] + 0.5 * (ring * height + width) * math.cos(angle),
                   point[1] + 0.75 * ring * height * math.sin(angle))


def box(centre: Place, width: float, height: float) -> Box:
    return centre[0] - width / 2, centre[1] - height / 2, centre[0] + width / 2, centre[1] + height / 2


def free(new: Box, taken: Sequence[Box], frame: Box) -> bool:
    within = new[0] >= frame[0] and new[1] >= frame[1] and new[2] <= frame[2] and new[3] <= frame[3]
    return within and not any(overlap(new, old) for old in taken)


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
