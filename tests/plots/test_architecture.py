"""The drawing: every layer with its numbers, arrows in two colours."""

import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Annotation

from numpygpt.inspection.blueprint import blueprint
from numpygpt.nn.modules.module import Module
from numpygpt.plots import style
from numpygpt.plots.architecture import WIDTH, draw_architecture, height

ODD = {"vocab_size": 13, "max_len": 5, "d_model": 10, "n_heads": 3, "n_layers": 3, "d_k": 7, "d_v": 2, "d_ff": 1234,
       "activation": "relu", "positions": "sinusoidal", "tie_weights": False, "bias": False,
       "dropout": 0.25}  # fmt: skip


class NormalizationOfSomebodyWhoLikesLongNames(Module):
    def forward(self, X):
        return 2 * X

    def backward(self, dY):
        return 2 * dY


def draw(model, batch_size=7, title="Architecture: quick"):
    plan = blueprint(model, batch_size)
    figure = style.new_figure((WIDTH, height(plan)))
    draw_architecture(figure, plan, title)
    figure.draw_without_rendering()
    return plan, figure, figure.axes[0]


def words(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def flat(parts):
    return [part for top in parts for part in (top, *flat(top.inside))]


@pytest.mark.parametrize("sizes", [{}, ODD])
def test_every_layer_with_its_shape_parameters_and_formulas(make_gpt, sizes):
    plan, _, ax = draw(make_gpt(**sizes))
    found = words(ax)
    for part in flat(plan.parts):
        assert any(word.startswith(part.kind) and part.details in word for word in found), part.name
        assert not part.n_params or any(word.startswith(f"{part.n_params:,}") for word in found), part.name
        assert not part.shape or str(part.shape) in found, part.name
    text = "".join("".join(found).split())
    for formula in plan.formulas.values():
        assert all("".join(line.split()) in text for line in (*formula.forward, *formula.backward))
    assert f"{sum(plan.counts.values()):,}" in found[-1]


def test_forward_arrows_go_down_and_gradients_up_in_two_colours(make_gpt):
    _, _, ax = draw(make_gpt())
    down, up = set(), set()
    for arrow in (text for text in ax.texts if isinstance(text, Annotation)):
        (_, end), (_, start) = arrow.xy, arrow.get_position()
        (down if end > start else up).add(to_hex(arrow.arrow_patch.get_edgecolor()).upper())  # y grows downwards
    assert (down, up) == ({style.BLUE}, {style.VERMILLION})
    assert sorted(line.get_color() for line in ax.lines) == sorted([style.BLUE, style.VERMILLION] * 2)  # residuals


def test_a_layer_of_somebody_else_is_drawn_without_a_formula(make_gpt):
    model = make_gpt()
    model.blocks[0].norm1 = NormalizationOfSomebodyWhoLikesLongNames()
    _, figure, ax = draw(model, batch_size=512)
    assert any("NormalizationOfSomebodyWhoLikesLongNames" in word for word in words(ax))
    assert figure.get_figheight() <= 1.5 * figure.get_figwidth()


def test_a_title_is_shown_as_it_was_typed(make_gpt):
    _, figure, _ = draw(make_gpt(n_layers=1), title="Architecture: costs $5_ and $6")
    assert figure.get_suptitle() == "Architecture: costs $5_ and $6"
