"""The drawing by its words and arrows: every layer with its numbers, nothing over something else, nothing cut off."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Annotation

from numpygpt.inspection.blueprint import blueprint
from numpygpt.plots import style
from numpygpt.plots.architecture import DOWN, SKIP_DOWN, SKIP_UP, UP, WIDTH, draw_architecture, height

ODD = {"vocab_size": 13, "max_len": 5, "d_model": 10, "n_heads": 3, "n_layers": 3, "d_k": 7, "d_v": 2, "d_ff": 1234,
       "activation": "relu", "positions": "sinusoidal", "tie_weights": False, "bias": False,
       "dropout": 0.25}  # fmt: skip
WIDE = {"vocab_size": 10_007, "max_len": 1000, "d_model": 64, "n_heads": 2, "n_layers": 1, "d_ff": 10_240,
        "dtype": "float32", "fresh": True}  # fmt: skip


def draw(model, batch_size=7, title="Architecture: quick"):
    plan = blueprint(model, batch_size)
    figure = style.new_figure((WIDTH, height(plan)))
    draw_architecture(figure, plan, title)
    figure.draw_without_rendering()
    return plan, figure, figure.axes[0]


def words(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


@pytest.mark.parametrize("sizes", [{}, ODD])
def test_every_layer_with_its_shape_parameters_and_gradient(make_gpt, sizes):
    plan, _, ax = draw(make_gpt(**sizes))
    found = words(ax)
    for name, part in plan.parts.items():
        assert name.removeprefix("blocks.0.") in found and part.kind in found
        assert all(line in found for line in (*part.forward, *part.backward)), name
        assert not part.n_params or f"{part.n_params:,}" in found
        if part.shape and name != "blocks.0.attn.qkv":  # that one's output is shown as Q, K and V
            assert any(part.letters in word and str(part.shape) in word for word in found), name
    for name in "QKV":
        assert name in found and str(plan.heads[name]) in found
    assert f"P {plan.heads['P']}" in found
    assert f"{sum(plan.counts.values()):,}" in found and f"{plan.counts['blocks']:,}" in found
    assert f"block: {plan.n_layers} of them, one after the other" in found
    assert f"{plan.counts['blocks'] // plan.n_layers:,} parameters each" in found


def test_forward_arrows_go_down_and_gradients_up_in_two_colours(make_gpt):
    _, _, ax = draw(make_gpt())
    arrows = [text for text in ax.texts if isinstance(text, Annotation)]
    up, down, aside = [], [], []
    for arrow in arrows:
        (x, end), (start_x, start) = arrow.xy, arrow.get_position()
        kind = aside if x != start_x else down if end > start else up  # y grows downwards
        kind.append((x, to_hex(arrow.arrow_patch.get_edgecolor()).upper()))
    assert {colour for _, colour in down} == {style.BLUE} and {colour for _, colour in up} == {style.VERMILLION}
    assert sum(x == DOWN for x, _ in down) == sum(x == UP for x, _ in up) + 1 == 15  # the ids have no gradient
    assert len(down) - 15 == len(up) - 14 == 6  # Q, K, V: into and out of each
    assert sorted(colour for _, colour in aside) == sorted([style.BLUE, style.VERMILLION] * 2)  # past two branches
    skips = [line.get_xdata()[1] for line in ax.lines]
    assert sorted(skips) == [SKIP_DOWN] * 2 + [SKIP_UP] * 2
    legend = [(text.get_text()[:1], to_hex(text.get_color()).upper()) for text in ax.texts]
    assert [entry for entry in legend if entry[0] in ("↓", "↑")] == [("↓", style.BLUE), ("↑", style.VERMILLION)]


@pytest.mark.parametrize("sizes", [{}, ODD, WIDE])
def test_nothing_is_cut_off_and_no_words_cover_others(make_gpt, sizes):
    _, figure, ax = draw(make_gpt(**sizes), batch_size=512)
    boxes = [(text.get_text(), text.get_window_extent()) for text in ax.texts if text.get_text()]
    page = figure.bbox
    for text, box in boxes:
        assert 0 <= box.x0 and box.x1 <= page.x1 and 0 <= box.y0 and box.y1 <= page.y1, text
    for i, (text, a) in enumerate(boxes):
        for other, b in boxes[i + 1 :]:
            apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 2 or b.y1 <= a.y0 + 2
            assert apart, (text, other)


def test_boxes_are_below_each_other(make_gpt):
    plan, _, ax = draw(make_gpt())
    frames = [patch.get_bbox() for patch in ax.patches if isinstance(patch, FancyBboxPatch) and patch.get_zorder()]
    layers = sorted((box.y0, box.y1) for box in frames if box.width > 3)
    assert len(layers) == len(plan.parts)
    assert all(foot < top for (_, foot), (top, _) in pairwise(layers))
    assert np.diff(layers).min() > 0.3


def test_one_block_is_one(make_gpt):
    _, figure, ax = draw(make_gpt(n_layers=1), title="Architecture: costs $5_ and $6")
    assert "block: one" in words(ax) and not any("parameters each" in word for word in words(ax))
    assert figure.get_suptitle() == "Architecture: costs $5_ and $6"
