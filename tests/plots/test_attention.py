"""The panels by what is in them: each head's weights in its place, what cannot be seen empty, tokens on the axes."""

import numpy as np
import pytest

from numpygpt.inspection.probe import attention_weights
from numpygpt.plots import style
from numpygpt.plots.commands.attention import MAX_NUMBERED, draw_attention, layout

LABELS = ["T", "·", "$a$", "⏎", "_", "e"]


def draw(weights, layers, heads, labels=LABELS):
    """The figure and its panels without the colour bar."""
    figure = style.new_figure(layout(len(layers), len(heads)).size)
    draw_attention(figure, weights[layers][:, heads], labels, layers, heads, "Attention: quick $5_$")
    figure.set_layout_engine("none")
    figure.draw_without_rendering()
    return figure, [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


def values(ax):
    return ax.images[0].get_array()


def ticks(ax, axis):
    found = ax.xaxis.get_ticklabels() if axis == "x" else ax.yaxis.get_ticklabels()
    return [text.get_text() for text in found if text.get_visible()]


@pytest.fixture
def weights(make_gpt):
    return attention_weights(make_gpt(n_layers=3), np.array([0, 1, 2, 3, 4, 5]))  # (3, 2, 6, 6)


def test_a_grid_of_layers_and_heads(weights):
    figure, panels = draw(weights, [0, 1, 2], [0, 1])
    assert len(panels) == 6
    for i, ax in enumerate(panels):
        shown = values(ax)
        np.testing.assert_array_equal(shown.mask, np.triu(np.ones((6, 6), bool), 1))
        np.testing.assert_array_equal(shown.filled(0), weights[i // 2, i % 2])
        assert (ax.images[0].norm.vmin, ax.images[0].norm.vmax) == (0, 1)  # one scale for all
    assert [ax.get_title() for ax in panels] == ["head 0", "head 1", "", "", "", ""]
    assert [ax.get_ylabel() for ax in panels] == ["layer 0", "", "layer 1", "", "layer 2", ""]
    assert [len(ticks(ax, "y")) for ax in panels] == [6, 0] * 3
    assert [len(ticks(ax, "x")) for ax in panels] == [0, 0, 0, 0, 6, 6]
    assert ticks(panels[0], "y") == ticks(panels[-1], "x") == LABELS
    assert figure.get_suptitle() == "Attention: quick $5_$"
    assert "·" in figure.get_supxlabel() and "⏎" in figure.get_supxlabel()


@pytest.mark.parametrize(("layers", "heads", "titles"), [
    ([1], [0, 1], ["layer 1, head 0", "layer 1, head 1"]),
    ([0, 1, 2], [1], ["layer 0, head 1", "layer 1, head 1", "layer 2, head 1"]),
    ([2], [0], ["layer 2, head 0"]),
])  # fmt: skip
def test_some_layers_and_heads_larger(weights, layers, heads, titles):
    _, panels = draw(weights, layers, heads)
    assert [ax.get_title() for ax in panels] == titles
    chosen = [weights[layer, head] for layer in layers for head in heads]
    for ax, expected in zip(panels, chosen, strict=True):
        np.testing.assert_array_equal(values(ax).filled(0), expected)
    assert layout(len(layers), len(heads)).side > layout(3, 4).side


def test_colours_go_by_the_square_root_of_the_weight(weights):
    _, (ax,) = draw(weights, [0], [1])
    norm = ax.images[0].norm
    assert [float(norm(share)) for share in (0, 0.25, 1)] == [0, 0.5, 1]


def test_a_single_head_of_few_tokens_has_its_numbers(weights):
    _, (ax,) = draw(weights, [0], [1])
    assert len(ax.texts) == 21 and ax.texts[0].get_text() == "1"
    assert not draw(weights, [0], [0, 1])[1][0].texts
    many = np.tile(np.tri(MAX_NUMBERED + 1), (1, 1, 1, 1))
    assert not draw(many, [0], [0], ["a"] * (MAX_NUMBERED + 1))[1][0].texts


@pytest.mark.parametrize(("n_layers", "n_heads"), [(12, 12), (1, 1), (2, 16), (16, 2), (1, 5)])
def test_grids_of_all_sizes_have_a_panel_each_and_a_bounded_size(n_layers, n_heads):
    plan = layout(n_layers, n_heads)
    assert plan.rows * plan.columns >= n_layers * n_heads
    assert 6 <= plan.size[0] <= 20 and 4 <= plan.size[1] <= 21


def test_a_single_token_and_many_can_be_drawn():
    for tokens in (1, 100):
        _, panels = draw(np.tile(np.tri(tokens), (1, 1, 1, 1)), [0], [0], ["t"] * tokens)
        assert len(panels) == 1
