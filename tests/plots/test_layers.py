"""The panels by layer: numbers worked out by hand from rows of --trace-every, colours by depth, and many layers."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from numpygpt.models import GPT
from numpygpt.plots import style
from numpygpt.plots.commands.curves import draw_curves, size_of
from numpygpt.plots.layers import MAX_ENTRIES, gradient_norm, parameters_by_layer, update_ratio
from numpygpt.plots.runs import load_run
from numpygpt.training.metrics import MetricsLog

NORM, RATIO = "Gradient norm by layer", "Update by layer"


@pytest.fixture
def make(tmp_path):
    def run(parameters, rows=30, every=10, values=None, name="run"):
        """`values(parameter, step)` -> gradient norm, weight norm, update ratio."""
        folder = tmp_path / name
        folder.mkdir()
        values = values or (lambda parameter, step: (0.1, 2.0, 0.01))
        with MetricsLog(folder / "metrics.jsonl") as log:
            for step in range(1, rows * every + 1):
                same = {"tokens": 8 * step, "seconds": 0.1 * step}
                log.log("train", step, **same, loss=2.0, grad_norm=1.0, lr=1e-3)
                if step % every == 0:
                    columns, kinds = {}, ("grad", "weight", "update")
                    for parameter in parameters:
                        numbers = values(parameter, step)
                        columns |= {f"{k}/{parameter}": n for k, n in zip(kinds, numbers, strict=True)}
                    log.log("trace", step, **same, **columns)
        return load_run(folder)

    return run


def draw(*runs, placed=False, **options):
    """The figure and its panels by title; `placed` where a test asks where something is."""
    figure = style.new_figure(size_of(runs))
    draw_curves(figure, list(runs), **options)
    if not placed:
        figure.set_layout_engine("none")
    figure.draw_without_rendering()
    return figure, {ax.get_title(loc="left"): ax for ax in figure.axes}


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def columns(parameters):
    return {f"{kind}/{name}": np.ones(1) for kind in ("grad", "weight", "update") for name in parameters}


def names(n_layers, tie_weights=True):
    return list(GPT(vocab_size=5, max_len=4, d_model=4, n_heads=2, n_layers=n_layers, tie_weights=tie_weights).params())


def test_the_parameters_of_a_model_by_layer_in_the_order_of_the_forward_pass():
    every = names(11, tie_weights=False)
    layers = parameters_by_layer(columns(sorted(every)))
    assert list(layers) == ["embedding", *(f"block {i}" for i in range(11)), "final norm", "head"]
    assert sorted(name for layer in layers.values() for name in layer) == sorted(every)
    assert layers["embedding"] == ["wpe.W", "wte.W"] and layers["head"] == ["head.embedding.W"]
    assert sorted(layers["final norm"]) == ["norm_f.beta", "norm_f.gamma"]
    assert all(name.startswith("blocks.10.") for name in layers["block 10"]) and len(layers["block 10"]) == 12
    assert "head" not in parameters_by_layer(columns(names(1)))


def test_what_is_no_whole_parameter_of_a_models_is_left_out_or_stands_among_others(make, tmp_path):
    """The file may be a stranger's: three columns are a parameter, and `blocks.N.` is a block."""
    odd = ["blocks", "blocks.x.a", "blocks.1234.a", "blocks.\u0663.a", "a", ""]
    half = {"grad/wte.W": np.ones(1), "weight/wte.W": np.ones(1), "grad/norm_f.beta": np.ones(1)}
    assert parameters_by_layer(columns([*odd, "blocks.2.a", "blocks.02.b"]) | half) == {
        "block 2": ["blocks.2.a", "blocks.02.b"], "others": odd}  # fmt: skip
    figure, panels = draw(make(["wte.W", "blocks.x.a", "own.W"]))
    assert legend_of(figure) == ["embedding", "others"] and len(panels) == 6
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1, "tokens": 1, "seconds": 1, "loss": 3}\n'
                                            '{"kind": "trace", "step": 1, "tokens": 1, "seconds": 1, "grad/a": 1}\n')
    assert len(draw(load_run(tmp_path))[1]) == 4


def test_norms_and_ratios_of_parameters_together():
    table = {
        "step": np.array([1, 2]),
        "grad/a": np.array([3.0, 1.0]), "grad/b": np.array([4.0, 0.0]),
        "weight/a": np.array([3.0, 6.0]), "weight/b": np.array([4.0, 8.0]),
        "update/a": np.array([0.1, 0.1]), "update/b": np.array([0.1, 0.0]),
    }  # fmt: skip
    np.testing.assert_allclose(gradient_norm(table, ["a", "b"]), [5, 1])
    np.testing.assert_allclose(update_ratio(table, ["a", "b"]), [0.1, 0.06])  # both a tenth; 0.6 of 10


def test_a_parameter_at_zero_has_no_ratio_and_does_not_hide_the_others():
    nan = float("nan")
    table = {
        "step": np.array([1, 2, 3]),
        "weight/a": np.array([2.0, 0.0, nan]), "weight/b": np.array([0.0, 0.0, 1.0]),
        "update/a": np.array([0.5, nan, 0.1]), "update/b": np.array([nan, nan, 0.1]),
    }  # fmt: skip
    np.testing.assert_allclose(update_ratio(table, ["a", "b"]), [0.5, np.nan, np.nan])


def test_a_traced_run_has_a_line_a_layer_in_both_panels(make):
    def values(parameter, step):
        return (3.0 if parameter == "blocks.1.ffn.fc.W" else 0.001, 1.0, 1e-3 * (1 + step / 100))

    run = make(names(2), values=values)
    figure, panels = draw(run, span=1)
    assert list(panels)[-2:] == [NORM, RATIO] and len(panels) == 6
    assert legend_of(figure) == ["embedding", "block 0", "block 1", "final norm"]
    steps = np.arange(10, 301, 10)
    one = lines(panels[NORM])["run: block 1"]
    np.testing.assert_array_equal(one.get_xdata(), steps)
    np.testing.assert_allclose(one.get_ydata(), np.sqrt(3.0**2 + 11 * 0.001**2))
    ratio = lines(panels[RATIO])["run: block 1"]
    np.testing.assert_allclose(ratio.get_ydata(), 1e-3 * (1 + steps / 100))
    for ax in (panels[NORM], panels[RATIO]):
        assert ax.get_yscale() == "log" and ax.get_ylabel()
    assert lines(panels[RATIO])["usual"].get_ydata()[0] == 1e-3
    low, high = panels[RATIO].get_ylim()
    assert low <= 5e-4 and high >= 2e-3
    assert panels[RATIO].get_title(loc="right") == "dashed: 0.001, a rule of thumb"


@pytest.mark.parametrize(("x", "last"), [("tokens", 2400), ("time", 30)])
def test_layers_are_drawn_against_the_x_of_the_other_panels(make, x, last):
    _, panels = draw(make(names(1)), x=x)
    assert lines(panels[NORM])["run: block 0"].get_xdata()[-1] == pytest.approx(last)
    assert panels[RATIO].get_xlabel() == panels["Loss"].get_xlabel()


def test_a_span_in_updates_smooths_as_many_updates_of_the_trace(make):
    run = make(["wte.W"], values=lambda parameter, step: (1.0 if step % 20 else 2.0, 1.0, 0.01))
    _, panels = draw(run, span=10)  # one row: nothing to average
    assert set(lines(panels[NORM])["run: embedding"].get_ydata()) == {1.0, 2.0}
    _, panels = draw(run, span=100)  # ten rows
    assert np.ptp(lines(panels[NORM])["run: embedding"].get_ydata()[-10:]) < 0.3


def test_depth_is_lightness_and_twelve_layers_have_a_name_each(make):
    figure, panels = draw(make(names(12)), placed=True)
    assert legend_of(figure) == ["embedding", *(f"block {i}" for i in range(12)), "final norm"]
    colours = [to_rgb(lines(panels[NORM])[f"run: block {i}"].get_color()) for i in range(12)]
    lightness = np.array(colours) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0.01).all() and lightness[-1] < 0.85  # seen on white
    assert [lines(panels[RATIO])[f"run: block {i}"].get_color() for i in range(12)] == [
        lines(panels[NORM])[f"run: block {i}"].get_color() for i in range(12)
    ]


def test_of_more_layers_some_are_named(make):
    figure, panels = draw(make(names(30), rows=2))
    named = legend_of(figure)
    assert len(named) == MAX_ENTRIES + 2 and named[1] == "block 0" and named[-2:] == ["block 29", "final norm"]
    assert len([label for label in lines(panels[NORM]) if "block" in label]) == 30


def test_the_smallest_traces_are_seen(make):
    _, panels = draw(make(["wte.W", "blocks.0.attn.proj.W"], rows=1))
    assert lines(panels[NORM])["run: block 0"].get_marker() == "."
    nan = float("nan")
    _, panels = draw(make(["wte.W"], values=lambda parameter, step: (0.0, 0.0, nan), name="zero"))
    for title in (NORM, RATIO):
        assert [text.get_text() for text in panels[title].texts] == ["nothing finite was recorded"]
        assert panels[title].get_yscale() == "linear" and len(panels[title].get_yticks()) == 0


def test_runs_without_a_trace_and_several_runs_have_no_such_panels(make):
    a = make(names(1), name="a")
    plain = make(names(1), rows=1, every=10, name="b")
    plain.metrics.trace = {"step": plain.metrics.trace["step"][:0]}
    figure, panels = draw(plain)
    assert len(panels) == 4 and not figure.legends
    assert len(draw(a, plain)[1]) == 4
    assert size_of([a])[1] > size_of([plain])[1] == size_of([a, plain])[1]
