"""The plane and the table by what is in them: each token at its point or beside it, in the colour of its class."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from numpygpt.inspection.vocabulary import CLASSES
from numpygpt.plots import style
from numpygpt.plots.commands.embeddings import COLOUR, Plane, Row, draw_embeddings, named, size


def draw(points, labels, classes, rows=(), title="Token vectors", which="all"):
    figure = style.new_figure(size(rows))
    plane = Plane(np.asarray(points, float), np.array([0.4321, 0.123]), labels, classes)
    draw_embeddings(figure, plane, rows, title, which)
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
    assert "43.2%" in ax.get_xlabel() and "12.3%" in ax.get_ylabel() and "56%" in figure.get_suptitle()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["small letters", "capital letters", "white space"]
    assert len(set(COLOUR.values())) == len(CLASSES)


def test_words_that_would_cover_each_other_move_off_and_point_back():
    _, ax, _ = draw([[0, 0]] * 3 + [[5, 5]], ["first", "second", "third", "far"], ["other"] * 4)
    first, second, third, far = ax.texts
    assert first.get_position() == far.get_position() == (0, 0) and first.arrow_patch is None
    assert second.get_position() != (0, 0) and second.arrow_patch is not None and second.xy == (0, 0)
    assert [size > 0 for size in ax.collections[0].get_sizes()] == [False, True, True, False]
    assert third.get_position() != second.get_position()


def test_the_table_lists_the_nearest_inside_its_panel():
    rows = [Row("e", [("a", 0.5), ("$x$", -0.25)]), Row("·the", [("·of", 0.75), ("_", 0.0)])] * 10
    _, _, table = draw([[0, 0], [1, 1], [2, 0]], ["a", "b", "c"], ["digits"] * 3, rows)
    words = [text.get_text() for text in table.texts]
    assert words[:10] == ["e", "a", "+0.50", "$x$", "−0.25", "·the", "·of", "+0.75", "_", "+0.00"]
    assert len([text for text in table.texts if text.get_weight() == "bold"]) == 20


def test_signs_of_a_pixel_or_two_are_named():
    assert [named(label) for label in (".", "·", "a", "·the")] == [". period", "· space", "a", "·the"]


def test_points_that_are_all_the_same_can_be_drawn():
    _, ax, _ = draw(np.zeros((3, 2)), ["a", "b", "c"], ["digits"] * 3)
    assert len(ax.texts) == 3
