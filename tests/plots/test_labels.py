"""Words beside points: on them where they can be, never over each other, never outside."""

from itertools import combinations

import numpy as np
import pytest

from numpygpt.plots.labels import box, overlap, place_labels

FRAME = (0, 0, 100, 100)


def test_a_word_alone_stands_on_its_point():
    assert place_labels(np.array([[50, 50], [80, 20]]), [(10, 5), (20, 5)], FRAME) == [(50, 50), (80, 20)]


def test_a_label_beside_its_point_hides_no_other_point():
    points = np.array([[50, 50], [51, 50], [58, 50]])
    places = place_labels(points, [(10, 5)] * 3, FRAME)
    assert places[0] != (50, 50) and places[2] == (58, 50)
    for point, place in zip(points, places, strict=True):
        assert np.hypot(*(np.array(place) - point)) < 15


@pytest.mark.parametrize("count", [10, 60, 300])
def test_no_word_covers_another_or_leaves_the_frame(count):
    rng = np.random.default_rng(count)
    points, sizes = rng.uniform(0, 100, (count, 2)), [(float(w), 3.0) for w in rng.uniform(2, 15, count)]
    places = place_labels(points, sizes, FRAME)
    boxes = [box(place, *size) for place, size in zip(places, sizes, strict=True) if place is not None]
    assert not any(overlap(a, b) for a, b in combinations(boxes, 2))
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= 100 and b[3] <= 100 for b in boxes)
    assert len(boxes) > min(count, 100) * 0.7


def test_where_there_is_no_room_there_is_no_word():
    places = place_labels(np.full((50, 2), 50.0), [(40, 20)] * 50, FRAME)
    assert places.count(None) > 40
    assert place_labels(np.array([[50, 50]]), [(101, 5)], FRAME) == [None]
