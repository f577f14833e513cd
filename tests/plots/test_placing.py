"""Words beside points: on them where they can be, never over each other, never outside."""

from itertools import combinations

import numpy as np
import pytest
from numpygpt.plots.placing import box, overlap, place_labels

FRAME = (0, 0, 100, 100)


def test_a_word_alone_stands_on_its_point():
    assert place_labels(np.array([[50, 50], [80, 20]]), [(10, 5), (20, 5)], FRAME) == [(50, 50), (80, 20)]


def test_the_first_chooses_first_and_the_next_goes_beside_it():
    first, second = place_labels(np.array([[50, 50], [51, 50]]), [(10, 5), (10, 5)], FRAME)
    assert first == (50, 50) and second != (51, 50)
    assert np.hypot(second[0] - 51, second[1] - 50) < 15


@pytest.mark.parametrize("count", [10, 60, 300])
def test_no_word_covers_another_or_leaves_the_frame(count):
    rng = np.random.default_rng(count)
    points, sizes = rng.uniform(0, 100, (count, 2)), [(float(w), 3.0) for w in rng.uniform(2, 15, count)]
    places = place_labels(points, sizes, FRAME)
    boxes = [box(place, *size) for place, size in zip(places, sizes, strict=True) if place is not None]
    assert not any(overlap(a, b) for a, b in combinations(boxes, 2))
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= 100 and b[3] <= 100 for b in boxes)
    assert len(boxes) > min(count, 100) * 0.8


def test_where_there_is_no_room_there_is_no_word():
    places = place_labels(np.full((50, 2), 50.0), [(40, 20)] * 50, FRAME)
    assert places[0] == (50, 50) and 40 < places.count(None) < 50
    assert place_labels(np.array([[50, 50]]), [(101, 5)], FRAME) == [None]


@pytest.mark.parametrize(("other", "covered"), [((2, 2, 3, 3), True), ((4, 0, 8, 4), False), ((0, 4, 4, 8), False),
                                                ((3, 3, 8, 8), True), ((-9, 1, 9, 2), True)])  # fmt: skip
def test_overlap(other, covered):
    assert overlap((0, 0, 4, 4), other) is covered is overlap(other, (0, 0, 4, 4))
