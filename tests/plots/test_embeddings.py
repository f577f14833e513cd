"""The plane and the table by what is in them: each token at its point or beside it, in the colour of its class."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex
from numpygpt.plots.embeddings import COLOUR, Plane, Row, draw_embeddings, size

from numpygpt.inspection.vocabulary import CLASSES
from numpygpt.plots import style


def draw(points, labels, classes, rows=(), title="Token vectors", of="all"):
    figure = style.new_figure(size(rows))
    plane = Plane(np.asarray(points, float), np.array([0.4321, 0.123]), labels, classes)
    draw_embeddings(figure, plane, rows, title, of)
    figure.draw_without_rendering()
    return figure, *figure.axes


def test_tokens_at_their_points_in_the_colours_of_their_classes():
    points = [[-1, 0], [0.5, 2], [3, 1]]
    figure, ax, _ = draw(points, ["a", "$B$", "·"], ["small letters", "capital letters", "white space"])
    assert [text.get_text() for text in ax.texts] == ["a", "$B$", "·"]
    assert [text.xy for text in ax.texts] == [pytest.approx(point) for point in points]
    assert [text.get_position() for text in ax.texts] == [(0, 0)] * 3  # right on them
    assert [to_hex(text.get_color()).upper() for text in ax.texts] == [style.BLUE, style.VERMILLION, style.ORANGE]
    assert ax.collections[0].get_sizes().tolist() == [0, 0, 0]  # no dot under a letter
    assert ax.get_xlabel() == "first component (43.2% of the variance)"
    assert ax.get_ylabel() == "second component (12.3% of the variance)"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["small letters", "capital letters", "white space (· a space, ⏎ a new line)"]
    assert len(set(COLOUR.values())) == len(CLASSES)


def test_words_that_would_cover_each_other_move_off_and_point_back():
    _, ax, _ = draw([[0, 0]] * 3 + [[5, 5]], ["first", "second", "third", "far"], ["other"] * 4)
    first, second, third, far = ax.texts
    assert first.get_position() == far.get_position() == (0, 0) and first.arrow_patch is None
    assert second.get_position() != (0, 0) and second.arrow_patch is not None and second.xy == (0, 0)
    assert ax.collections[0].get_sizes().tolist() == [0, 6, 6, 0]
    boxes = [text.get_window_extent() for text in (first, second, third)]
    assert all(abs(a.x0 + a.x1 - b.x0 - b.x1) > 20 or abs(a.y0 + a.y1 - b.y0 - b.y1) > 20
               for a, b in combinations(boxes, 2))  # fmt: skip


@pytest.mark.parametrize("count", [30, 150, 400])
def test_labels_of_a_crowd_do_not_cover_each_other(count):
    rng = np.random.default_rng(1)
    labels = ["·" + "some words in it"[: rng.integers(1, 14)] for _ in range(count)]
    _, ax, _ = draw(rng.normal(size=(count, 2)), labels, ["after a space"] * count)
    boxes = [text.get_window_extent() for text in ax.texts if text.arrow_patch is None]
    covered = sum(a.x0 + 1 < b.x1 and b.x0 + 1 < a.x1 and a.y0 + 2 < b.y1 and b.y0 + 2 < a.y1
                  for a, b in combinations(boxes, 2))  # fmt: skip
    assert covered == 0 and len(ax.texts) > 0.5 * min(count, 250)
    left = count - len(ax.texts)
    assert (f"{left:,} of the points have no room for their word" in ax.get_xlabel()) == (left > 0)


def test_the_table_lists_the_nearest_inside_its_panel():
    rows = [Row("e", [("a", 0.5), ("$x$", -0.25)]), Row("·the", [("·of", 0.75), ("_", 0.0)])] * 10
    figure, _, table = draw([[0, 0], [1, 1], [2, 0]], ["a", "b", "c"], ["digits"] * 3, rows)
    words = [text.get_text() for text in table.texts]
    assert words[:10] == ["e", "a", "+0.50", "$x$", "−0.25", "·the", "·of", "+0.75", "_", "+0.00"]
    boxes = [text.get_window_extent() for text in table.texts]
    panel = table.get_window_extent()
    assert all(panel.y0 - 3 <= box.y0 and box.y1 <= panel.y1 + 1 for box in boxes)
    heads = [box for text, box in zip(table.texts, boxes, strict=True) if text.get_weight() == "bold"]
    assert len(heads) == 20 and all(a.y0 >= b.y1 for a, b in pairwise(heads))
    assert max(box.x1 for box in boxes) <= figure.bbox.width


def test_points_that_are_all_the_same_can_be_drawn():
    _, ax, _ = draw(np.zeros((3, 2)), ["a", "b", "c"], ["digits"] * 3)
    assert len(ax.texts) == 3
