"""The panels, by what is drawn in them: the artists' data, not that a file came out."""

import numpy as np
import pytest

from numpygpt.plots import style
from numpygpt.plots.commands.curves import draw_curves, save_curves, size_of
from numpygpt.plots.runs import load_run
from numpygpt.plots.series import smooth
from numpygpt.training.metrics import MetricsLog


@pytest.fixture
def make(tmp_path):
    """Writes a run whose every number is known and loads it."""

    def run(name="quick", steps=200, every=50, loss=None, val=None, norm=None, lr=1e-3, config="", **left_out):
        folder = tmp_path / name
        folder.mkdir()
        if config:
            (folder / "config.toml").write_text(config)
        loss = loss if loss is not None else lambda s: 1.5 + 2.7 / s
        val = val if val is not None else lambda s: 1.6 + 2.7 / s
        norm = norm if norm is not None else lambda s: 0.5 + 0.01 * (s % 7)
        with MetricsLog(folder / "metrics.jsonl") as log:
            for s in range(1, steps + 1):
                values = {"loss": loss(s), "grad_norm": norm(s), "lr": None if lr is None else lr * s / steps}
                values = {k: v for k, v in values.items() if left_out.get(k, True) and v is not None}
                log.log("train", s, tokens=s * 512, seconds=s * 2.0, **values)
                if every and s % every == 0:
                    log.log("eval", s, tokens=s * 512, seconds=s * 2.0, val_loss=val(s), bits_per_byte=val(s) / 0.7)
        return load_run(folder)

    return run


SHOWN = ("Loss", "Gradient norm", "Learning rate")


def draw(*runs, **options):
    """The figure and the panels of SHOWN."""
    figure = style.new_figure(size_of(runs))
    draw_curves(figure, list(runs), **options)
    figure.set_layout_engine("none")  # where the panels are does not matter here
    figure.draw_without_rendering()  # limits and ticks are settled, and a bad label would raise
    return figure, *[panels_of(figure)[title] for title in SHOWN]


def panels_of(figure):
    return {ax.get_title(loc="left"): ax for ax in figure.axes}


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def words(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def legend_of(host):
    return [text.get_text() for text in host.get_legend().get_texts()]


def test_raw_and_smoothed_loss_and_norm_are_the_columns_and_their_average(make):
    run = make()
    _, loss, norm, *_ = draw(run, span=10)
    for ax, name in ((loss, "loss"), (norm, "grad_norm")):
        raw, strong = (lines(ax)[f"quick: {name}, {kind}"] for kind in ("raw", "smoothed"))
        np.testing.assert_array_equal(raw.get_xdata(), np.arange(1, 201))
        np.testing.assert_array_equal(raw.get_ydata(), run.metrics.train[name])
        np.testing.assert_allclose(strong.get_ydata(), smooth(run.metrics.train[name], 10))
        assert raw.get_alpha() < 0.5 and strong.get_alpha() is None
        assert raw.get_linewidth() < strong.get_linewidth()
        assert raw.get_color() == strong.get_color()


def test_without_smoothing_only_the_raw_line_is_drawn_and_strong(make):
    _, loss, norm, *_ = draw(make(), span=0)
    assert "quick: loss, smoothed" not in lines(loss) and "quick: grad_norm, smoothed" not in lines(norm)
    assert lines(loss)["quick: loss, raw"].get_alpha() is None


def test_validation_its_best_point_and_the_legend(make):
    values = {50: 2.0, 100: 1.7, 150: 1.625, 200: 1.8}
    _, loss, *_ = draw(make(val=values.get), span=10)
    val, best = lines(loss)["quick: validation"], lines(loss)["quick: best"]
    assert val.get_xydata().tolist() == [[50, 2.0], [100, 1.7], [150, 1.625], [200, 1.8]]
    assert best.get_xydata().tolist() == [[150, 1.625]]
    assert val.get_color() != lines(loss)["quick: loss, raw"].get_color()
    assert len(legend_of(loss)) == 3 and "1.625 at step 150" in legend_of(loss)[-1]


def test_learning_rate_from_zero(make):
    run = make()
    *_, rate = draw(run)
    np.testing.assert_array_equal(lines(rate)["quick: lr"].get_ydata(), run.metrics.train["lr"])
    assert rate.get_ylim()[0] == 0 and rate.get_ylim()[1] > 1e-3 and rate.get_yscale() == "linear"


def test_rates_far_apart_on_a_logarithmic_axis(make):
    """0.1 beside 0.001, as SGD has beside Adam, and 0.001 beside 0.0003, which can be told apart as they are."""
    runs = [make("sgd", lr=0.1), make("adam"), make("slow", lr=3e-4), make("still", lr=0.0)]
    *_, rate = draw(*runs[:2])
    assert rate.get_yscale() == "log" and 0 < rate.get_ylim()[0] < 1e-3 < 0.1 < rate.get_ylim()[1]
    for pair in (runs[1:3], runs[2:]):
        *_, rate = draw(*pair)
        assert rate.get_yscale() == "linear" and rate.get_ylim()[0] == 0


@pytest.mark.parametrize(
    ("x", "scale", "label"),
    [("steps", 1, "step"), ("tokens", 512, "tokens"), ("time", 2 / 60, "minutes")],
)
def test_x_axes(make, x, scale, label):
    figure, *panels = draw(make(), x=x)
    np.testing.assert_allclose(lines(panels[0])["quick: loss, raw"].get_xdata(), np.arange(1, 201) * scale)
    np.testing.assert_allclose(lines(panels[0])["quick: validation"].get_xdata(), np.arange(50, 201, 50) * scale)
    assert len(figure.axes) == 4
    for ax in figure.axes:
        assert label in ax.get_xlabel()
        assert ax.get_title(loc="left") and ax.get_ylabel()
        assert any(tick.get_visible() and tick.get_text() for tick in ax.get_xticklabels())


def test_an_unknown_x_axis_is_refused(make):
    with pytest.raises(ValueError, match="'epochs'"):
        draw(make(), x="epochs")


def test_the_first_loss_does_not_flatten_the_rest_and_is_said(make):
    _, loss, *_ = draw(make(steps=2000, every=100), span=10)
    assert loss.get_ylim()[1] < 3 and loss.get_ylim()[0] < 1.6
    assert "4.20" in loss.get_title(loc="right")


def test_several_runs_have_a_colour_each_and_styles_for_train_and_validation(make):
    runs = [make("a"), make("b", steps=100), make("c", every=0)]
    figure, loss, norm, rate = draw(*runs, span=5)
    assert figure.legends[0].get_title().get_text() == ""
    colours = set()
    for name in "ab":
        train, val = lines(loss)[f"{name}: loss, smoothed"], lines(loss)[f"{name}: validation"]
        assert train.get_color() == val.get_color() == lines(rate)[f"{name}: lr"].get_color()
        assert train.get_color() == lines(norm)[f"{name}: grad_norm, raw"].get_color()
        assert val.get_linewidth() > train.get_linewidth() and val.get_linestyle() == "--"
        assert lines(loss)[f"{name}: best"].get_color() == train.get_color()
        colours.add(train.get_color())
    assert len(colours) == 2 and len(lines(loss)["b: loss, raw"].get_xdata()) == 100
    assert "c: validation" not in lines(loss)
    (box,) = figure.legends
    names = [t.get_text() for t in box.get_texts()]
    assert [name[:2] for name in names] == ["a:", "b:", "c:"] and "1.614 at step 200" in names[0]
    assert "1.627 at step 100" in names[1] and len(legend_of(loss)) == 3


def test_more_runs_than_colours_are_refused(make):
    with pytest.raises(ValueError, match="7.*8"):
        draw(*[make(str(i), steps=2) for i in range(8)])


def test_names_and_titles_stand_as_they_were_typed(make):
    figure, *_ = draw(make("_a$b$"), make("$x^"), title="costs $5_ and $6")
    assert [t.get_text()[:5] for t in figure.legends[0].get_texts()] == ["_a$b$", "$x^: "]
    assert figure.get_suptitle() == "costs $5_ and $6"
    assert draw(make("$alone$_"))[0].get_suptitle() == "$alone$_"


def test_no_evaluation_and_one_evaluation(make):
    _, loss, *_ = draw(make("none", every=0))
    assert "none: validation" not in lines(loss)
    _, loss, *_ = draw(make("one", every=200))
    assert lines(loss)["one: best"].get_xdata().tolist() == [200]


@pytest.mark.parametrize("every", [0, 1])
def test_a_single_step_is_a_visible_point(make, every):
    _, loss, norm, rate = draw(make(steps=1, every=every))
    for ax, label in ((loss, "loss, raw"), (norm, "grad_norm, raw"), (rate, "lr")):
        line = lines(ax)[f"quick: {label}"]
        assert line.get_marker() == "." and line.get_xdata().tolist() == [1]
        assert ax.get_ylim()[0] < line.get_ydata()[0] < ax.get_ylim()[1]
    assert [t.get_text() for t in loss.get_xticklabels() if t.get_visible()].count("1") == 1


def test_an_evaluation_before_the_first_update_alone(tmp_path):
    with MetricsLog(tmp_path / "metrics.jsonl") as log:
        log.log("eval", 0, tokens=0, seconds=0.0, val_loss=4.17)
    _, loss, norm, rate = draw(load_run(tmp_path), x="time")
    assert [label for label in lines(loss) if "validation" in label]
    assert len(words(norm)) == len(words(rate)) == 1 and not norm.lines and not rate.lines


def test_losses_that_are_not_finite_leave_a_gap_and_are_counted(make):
    _, loss, *_ = draw(make(loss=lambda s: np.nan if 100 <= s < 120 else 2.0), span=10)
    smoothed = lines(loss)["quick: loss, smoothed"].get_ydata()
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(smoothed)), np.arange(99, 119))
    assert "20" in words(loss)[0] and "100" in words(loss)[0]
    assert np.isfinite(loss.get_ylim()).all()


def test_a_run_of_nothing_but_nan_draws_no_false_scale(make):
    nan = float("nan")
    _, loss, norm, _ = draw(make(loss=lambda s: nan, val=lambda s: nan, norm=lambda s: nan))
    assert "200" in words(loss)[0] and len(loss.get_yticks()) == len(norm.get_yticks()) == 0
    assert len(words(norm)) == 1


def test_a_run_without_norm_and_rate_says_so(make):
    _, _, norm, rate = draw(make(grad_norm=False, lr=None))
    assert len(words(norm)) == len(words(rate)) == 1 and not norm.lines and not rate.lines


def test_a_clip_level_is_drawn_where_the_config_has_one(make):
    _, _, norm, *_ = draw(make(config="clip = 1.0\n"))
    assert set(lines(norm)["clip"].get_ydata()) == {1.0}
    assert norm.get_ylim()[1] > 1.0 and "1" in norm.get_title(loc="right")
    _, _, norm, *_ = draw(make("other", config="steps = 3\n"))
    assert "clip" not in lines(norm)


def test_a_clip_level_far_off_does_not_flatten_the_norm(make):
    _, _, norm, *_ = draw(make(config="[train]\nclip = 100\n"))
    assert norm.get_ylim()[1] < 1 and "100" in norm.get_title(loc="right")


def test_a_norm_over_decades_is_logarithmic(make):
    _, _, norm, *_ = draw(make(norm=lambda s: 10.0 ** (-s / 50)))
    assert norm.get_yscale() == "log"
    assert draw(make("flat"))[2].get_yscale() == "linear"


def test_runs_whose_tokens_differ_have_a_warning_over_their_legend(make):
    a, b = make("a"), make("b")
    b.metrics.eval["bits_per_byte"] *= 1.3
    assert draw(a, b)[0].legends[0].get_title().get_text()


def test_the_curves_of_a_run_are_written_into_its_folder(make):
    run = make(steps=20, every=10)
    assert save_curves(run.folder) == run.folder / "curves.png"
    assert (run.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
