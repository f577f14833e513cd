"""Tokens per second and the share of clipped updates: numbers worked out by hand, and what the panels show of them."""

import numpy as np
import pytest

from numpygpt.plots import style
from numpygpt.plots.commands.curves import draw_curves
from numpygpt.plots.panels import at_median_speed, clipped, speed, speeds
from numpygpt.plots.runs import load_run
from numpygpt.training.metrics import MetricsLog


@pytest.fixture
def make(tmp_path):
    def run(rows, name="run", clip=None, traced=()):
        """`rows` of (step, tokens, seconds, further columns)."""
        folder = tmp_path / name
        folder.mkdir()
        if clip is not None:
            (folder / "config.toml").write_text(f"clip = {clip}\n")
        with MetricsLog(folder / "metrics.jsonl") as log:
            for step, tokens, seconds, more in rows:
                log.log("train", step, tokens=tokens, seconds=seconds, loss=2.0, **more)
                if step in traced:
                    log.log("trace", step, tokens=tokens, seconds=seconds)
        return load_run(folder)

    return run


def panel(title, *runs, span=1.0):
    figure = style.new_figure()
    draw_curves(figure, list(runs), span=span)
    figure.set_layout_engine("none")  # where the panels are does not matter here
    figure.draw_without_rendering()
    return next(ax for ax in figure.axes if ax.get_title(loc="left") == title)


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def words(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def steady(steps, **more):
    return [(s, 100 * s, 2.0 * s, more) for s in range(1, steps + 1)]


def test_the_time_of_a_step_is_taken_where_it_is_written(make):
    rows = [(1, 100, 9.0, {"step_seconds": 0.5}), (2, 200, 10.0, {"step_seconds": 0.25}), (3, 300, 40.0, {})]
    run = make(rows)
    np.testing.assert_allclose(speeds(run), [200, 400, 100 / 30])  # the last has only the time since the row before
    assert speed(run) == 200


def test_differences_of_seconds_serve_older_runs_and_the_median_does_not_see_a_pause(make):
    rows = steady(9)
    rows = rows[:5] + [(s, tokens, seconds + 100, more) for s, tokens, seconds, more in rows[5:]]  # an evaluation
    run = make(rows)
    np.testing.assert_allclose(speeds(run), [np.nan, 50, 50, 50, 50, 100 / 102, 50, 50, 50])
    ax = panel("Speed", run, span=4)
    raw, strong = (lines(ax)[f"run: speed, {kind}"] for kind in ("raw", "median"))
    assert raw.get_xdata().tolist() == [2, 3, 4, 5, 6, 7, 8, 9] and raw.get_ydata().min() < 1
    assert strong.get_xydata().tolist() == [[5, 50], [9, 50]]
    assert raw.get_alpha() < 0.5 and strong.get_alpha() is None
    assert ax.get_ylim()[0] == 0 and 50 < ax.get_ylim()[1] < 60
    assert "50.0" in ax.get_title(loc="right")


def test_rows_that_begin_late_do_not_count_the_tokens_before(make):
    run = make([(s, 100 * s, 2.0 * s, {"step_seconds": 2.0}) for s in (7, 8)])
    np.testing.assert_allclose(speeds(run), [np.nan, 50])


def test_traced_steps_are_left_out_unless_all_are(make):
    rows = [(s, 100 * s, 9.0 * s, {"step_seconds": 5.0 if s % 2 == 0 else 1.0}) for s in range(1, 7)]
    run = make(rows, traced=(2, 4, 6))
    np.testing.assert_allclose(speeds(run), [100, np.nan] * 3)
    assert lines(panel("Speed", run))["run: speed, raw"].get_xydata().tolist() == [[1, 100], [3, 100], [5, 100]]
    np.testing.assert_allclose(speeds(make(rows, "all", traced=range(1, 7))), [100, 20] * 3)


def test_without_times_the_panel_says_so(make):
    ax = panel("Speed", make([(1, 100, 2.0, {})]))
    assert len(words(ax)) == 1 and not ax.lines and len(ax.get_yticks()) == 0
    assert np.isnan(speed(make([(1, 100, 2.0, {})], "b")))


def test_several_runs_have_their_colours_and_no_median_of_one(make):
    a, b = make(steady(50), "a", clip=1.0), make(steady(50), "b")
    ax = panel("Speed", a, b, span=5)
    assert lines(ax)["a: speed, median"].get_color() != lines(ax)["b: speed, median"].get_color()
    assert ax.get_title(loc="right") == ""


def test_a_run_that_counts_no_tokens_has_a_speed_of_0(make):
    """Warnings are errors: matplotlib has one for an axis from 0 to 0."""
    ax = panel("Speed", make([(s, 0, 2.0 * s, {}) for s in range(1, 4)]))
    assert set(lines(ax)["run: speed, raw"].get_ydata()) == {0} and ax.get_ylim()[1] > 0


def test_an_update_is_clipped_above_the_limit_and_not_at_it(make):
    rows = [(s, s, 1.0 * s, {"grad_norm": norm}) for s, norm in enumerate([3.0, 1.0, 0.5, np.nan, 1.01], 1)]
    np.testing.assert_array_equal(clipped(make(rows, clip=1.0)), [1, 0, 0, np.nan, 1])
    np.testing.assert_array_equal(clipped(make(rows, "never")), [0, 0, 0, np.nan, 0])


def test_the_panel_of_the_norm_says_how_many_updates_were_clipped(make):
    def aside(name, clip, norms):
        rows = [(s, s, 1.0 * s, {} if norm is None else {"grad_norm": norm}) for s, norm in enumerate(norms, 1)]
        return panel("Gradient norm", make(rows, name, clip=clip)).get_title(loc="right")

    assert "20%" in aside("some", 1.0, [2.0] * 20 + [0.5] * 80)
    assert aside("unclipped", None, [2.0] * 3) == ""
    assert aside("unknown", 1.0, [None] * 3) == "" == aside("broken", 1.0, [np.nan] * 3)


def test_the_times_at_the_median_speed_know_no_pause(make):
    rows = [(s, 100 * s, 2.0 * s + 500 * (s > 3), {"step_seconds": 0.5 if s != 3 else 90.0}) for s in range(1, 7)]
    run = make(rows)
    steady = at_median_speed(run)
    np.testing.assert_allclose(steady.metrics.train["seconds"], 0.5 * np.arange(1, 7))
    assert run.total("seconds") == 512 and steady.total("seconds") == 3
    unknown = make([(1, 100, 2.0, {})], "unknown")
    assert at_median_speed(unknown) is unknown
