"""The panels by what is in them: norms by layer and by position, and a distribution for each layer."""

import numpy as np
import pytest

from numpygpt.inspection.flow import ResidualFlow, flow
from numpygpt.plots import style
from numpygpt.plots.commands.gradients import draw_gradients, size


def draw(found, title="Gradients: quick"):
    """The figure and its panels by title."""
    figure = style.new_figure(size(len(found.middle)))
    draw_gradients(figure, found, title)
    figure.set_layout_engine("none")
    figure.draw_without_rendering()
    return figure, {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}


@pytest.fixture
def found(make_gpt, make_batch):
    return flow(make_gpt(activation="relu"), *make_batch())


def named(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


def test_norms_down_the_depth(found):
    _, panels = draw(found)
    ax = panels["Norm of dL/dX"]
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), found.norms)
    assert line.get_ydata().tolist() == [0, 1, 2] and named(ax) == ["embedding", "block 0", "block 1"]
    assert ax.get_xscale() == "log" and ax.get_ylim()[0] > ax.get_ylim()[1]  # down is deeper
    assert ax.get_xlim()[0] <= found.norms.min() and ax.get_xlim()[1] >= found.norms.max()
    assert "nats per unit of X" in ax.get_xlabel()
    assert [text.get_text() for text in ax.texts] == [f"{norm:.3g}" for norm in found.norms]


def test_norms_by_position(found):
    figure, panels = draw(found)
    ax = panels["Norm of dL/dX by position"]
    np.testing.assert_array_equal(ax.images[0].get_array(), found.norms_by_position)
    assert named(ax) == ["embedding", "block 0", "block 1"] and "position" in ax.get_xlabel()
    assert any("nats per unit of X" in other.get_ylabel() for other in figure.axes)


def test_the_colours_end_at_the_largest_norm_of_a_position(found):
    _, panels = draw(found)
    norm = panels["Norm of dL/dX by position"].images[0].norm
    by_position = found.norms_by_position
    assert norm.vmax == by_position.max() and norm.vmin == by_position[by_position > 0].min()


def test_a_position_without_gradient_is_left_empty(make_gpt, make_batch):
    found = flow(make_gpt(), *make_batch(ignored=(5, 11, 17)))  # the last targets do not count
    _, panels = draw(found)
    mask = panels["Norm of dL/dX by position"].images[0].get_array().mask
    assert mask[:, 5].all() and not mask[:, :5].any()


def test_distributions_are_those_of_each_layer(found):
    _, panels = draw(found)
    for title, arrays in (("Gradients", found.gradients), ("Activations", found.stream),
                          ("Inside the feed-forward", found.middle)):  # fmt: skip
        ax = panels[title]
        outlines = [patch for patch in ax.patches if not patch.get_fill()]
        assert len(outlines) == len(arrays)
        for i, (outline, array) in enumerate(zip(outlines, arrays, strict=True)):
            heights, edges, _ = outline.get_data()
            counts, _ = np.histogram(array[array != 0] / array.std(dtype=np.float64), edges)
            np.testing.assert_allclose(i - heights, 0.85 * counts / counts.max())
            assert counts.sum() > 0.98 * (array != 0).sum()
            assert f"std {array.std():.2g}" in ax.texts[i].get_text()
        assert len({tuple(outline.get_data().edges) for outline in outlines}) == 1  # one axis for all


def test_exact_zeros_are_told_in_words(found):
    _, panels = draw(found)
    for text, middle in zip(panels["Inside the feed-forward"].texts, found.middle, strict=True):
        assert f"{np.mean(middle == 0):.0%} are 0" in text.get_text()
    assert not any("are 0" in text.get_text() for text in panels["Activations"].texts)


def test_a_layer_of_zeros_can_be_drawn():
    rng = np.random.default_rng(0)
    stream, gradients = rng.normal(size=(2, 2, 2, 1, 4))
    _, panels = draw(ResidualFlow(1.0, stream, gradients, [np.zeros((2, 1, 8))]))
    assert len(panels) == 5 and all(named(ax)[0] in ("embedding", "block 0") for ax in panels.values())


def test_a_deep_model_has_a_picture_of_bounded_height():
    assert size(60)[1] == size(100)[1] <= 16
