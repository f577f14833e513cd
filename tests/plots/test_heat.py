"""Heat maps by what is drawn: values, empty cells, labels that stand clear of each other, numbers in cells."""

import numpy as np
import pytest
from matplotlib.colors import Normalize

from numpygpt.plots import style
from numpygpt.plots.heat import draw_heat, label_step, legend_of, number_cells, short, token_ticks


@pytest.fixture
def ax():
    return style.new_figure((6, 6)).subplots()


def labels(ax, axis):
    ticks = ax.get_xticklabels() if axis == "x" else ax.get_yticklabels()
    return [tick.get_text() for tick in ticks]


def test_what_is_no_number_is_left_empty_and_hatched(ax):
    values = np.array([[0.5, np.nan], [0.0, 1.0]])
    image = draw_heat(ax, values, Normalize(0, 1))
    np.testing.assert_array_equal(image.get_array().mask, [[False, True], [False, False]])
    assert ax.patch.get_hatch() and image.cmap.get_bad()[3] == 0  # the hatching shows through
    ax.figure.draw_without_rendering()
    assert ax.get_ylim() == (1.5, -0.5)  # the first row on top


@pytest.mark.parametrize("axis", ["x", "y"])
def test_few_tokens_are_all_labelled_and_many_with_their_number(ax, axis):
    draw_heat(ax, np.zeros((5, 5)), Normalize(0, 1))
    token_ticks(ax, axis, ["$a$", "·", "_b", "^", "e"], inches=4, font=10)
    assert labels(ax, axis) == ["$a$", "·", "_b", "^", "e"]
    draw_heat(ax, np.zeros((100, 100)), Normalize(0, 1))
    token_ticks(ax, axis, [f"t{i}" for i in range(100)], inches=4, font=10)
    assert labels(ax, axis) == ["0  t0", "5  t5", "10  t10"] + [f"{i}  t{i}" for i in range(15, 100, 5)]
    token_ticks(ax, axis, [""] * 100, inches=1, font=10)
    assert labels(ax, axis) == ["0", "20", "40", "60", "80"]


def test_steps_are_round():
    assert [label_step(n, inches=1, font=10) for n in (1, 5, 6, 11, 12, 28, 29, 57, 58, 5000)] == [
        1, 1, 2, 2, 5, 5, 10, 10, 20, 1000]  # fmt: skip


def test_numbers_are_legible_on_their_cells_and_none_stands_on_an_empty_one(ax):
    values = np.array([[1.0, 0.0], [0.02, 0.6]])
    image = draw_heat(ax, np.where([[True, False], [True, True]], values, np.nan), Normalize(0, 1))
    texts = number_cells(ax, values, image, 9)
    assert [(text.get_text(), text.get_position()) for text in texts] == [
        ("1", (0, 0)), (".02", (0, 1)), (".60", (1, 1))]  # fmt: skip
    assert [text.get_color() for text in texts] == [style.INK, "white", style.INK]


@pytest.mark.parametrize(("value", "said"), [(0, "0"), (0.004, "0"), (0.005001, ".01"), (0.5, ".50"), (0.994, ".99"),
                                             (0.996, "1"), (1, "1")])  # fmt: skip
def test_shares_in_short(value, said):
    assert short(value) == said


def test_signs_are_explained_where_they_occur():
    assert legend_of(["a", "b"]) == []
    assert legend_of(["·the", "⏎"]) == ["·  is a space", "⏎  is a new line"]
