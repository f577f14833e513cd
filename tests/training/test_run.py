"""What a run says of its speed and of the time left."""

import io

import pytest
from tiny import TINY, make_data

from numpygpt.data import TokenDataset
from numpygpt.training import Trainer
from numpygpt.training.clock import RECENT, SURE, Clock
from numpygpt.training.metrics import MetricsLog
from numpygpt.training.run import Run
from numpygpt.training.start import new_run
from numpygpt.utils.console import progress_bar
from numpygpt.utils.text import duration
from train import parse


@pytest.fixture
def run(tmp_path):
    config = new_run(parse([*TINY, "--data", str(make_data(tmp_path / "data")), "--out", str(tmp_path / "run")])).config
    (tmp_path / "run").mkdir()
    with MetricsLog(tmp_path / "run" / "metrics.jsonl") as log:
        yield Run(Trainer(config, TokenDataset.load(config.data)), tmp_path / "run", log)


def test_the_last_line_counts_all_steps(run, capsys):
    run.step_times = [0.002] * 300 + [0.1] * 200  # the machine has become slower
    run.trainer.step, run.trainer.best = run.config.steps, {"step": 30, "val_loss": 2.5}
    run.trainer.last = run.trainer.best
    run.finish()
    text = capsys.readouterr().out
    assert "30 steps" in text and "2 ms a step" in text and "2.5000 at step 30" in text


@pytest.mark.parametrize(("step", "evaluations"), [(0, 3), (9, 3), (10, 2), (25, 1), (29, 1), (30, 0)])
def test_what_is_left_is_steps_and_evaluations(run, step, evaluations):
    for _ in range(30):
        run.clock.step(0.1)
    run.clock.evaluation(10, 1.0, rest=2.0)
    run.validation.tokens, run.validation.targets = 50, 400
    run.trainer.step = step
    expected = (30 - step) * 0.1 + evaluations * (50 * 0.1 + 2.0) + 400 * 0.1 if evaluations else None
    assert run.left() == (expected and pytest.approx(expected))


def simulated(cold, step, token, rest, steps=2000, every=500, tokens=5000, seen=20):
    """(what the clock says is left after `seen` steps, what is left) of a run with these times, in seconds."""
    clock = Clock(step_tokens=768)
    clock.evaluation(tokens, tokens * token, rest)
    for i in range(seen):
        clock.step(cold * step if i < 4 else step * (1 + 0.1 * (i % 3 - 1)))
    evaluations = steps // every
    whole = 100_000
    left = (steps - seen) * step + (evaluations * tokens + whole) * token + evaluations * rest
    return clock.left(steps - seen, evaluations, evaluations * tokens + whole), left


@pytest.mark.parametrize("cold", [1, 5, 100])
@pytest.mark.parametrize("token", [1e-6, 2e-5, 1e-3])
def test_the_first_estimate_is_right_though_the_first_steps_are_slow(cold, token):
    found, left = simulated(cold, 0.03, token, 0.5)
    assert found == pytest.approx(left, rel=0.1)


def test_nothing_is_estimated_too_early_and_a_slower_machine_is_noticed():
    clock = Clock(step_tokens=100)
    for _ in range(SURE - 1):
        clock.step(0.01)
    assert clock.left(100, 1, 1000) is None
    clock.step(0.01)
    assert clock.left(100, 0, 0) == pytest.approx(1.0)
    assert clock.left(0, 1, 3000) == pytest.approx(3000 / 3 * 0.01 / 100)  # before an evaluation was measured
    for _ in range(RECENT):
        clock.step(0.05)
    assert clock.left(100, 0, 0) == pytest.approx(5.0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_shows_our_estimate_alone_and_moves_in_an_evaluation(run, monkeypatch):
    monkeypatch.setattr("sys.stderr", screen := Terminal())
    bar = run.validation.bar = progress_bar(30, 0)
    for _ in range(SURE):
        run.clock.step(40.0)
    run.update(bar)
    bar.refresh()
    assert f"{duration(run.left())} left" in screen.getvalue() and "1/30 steps" in screen.getvalue()
    assert "/s" not in screen.getvalue() and "<" not in screen.getvalue()  # tqdm's own
    run.trainer.step = 0
    run.evaluate()
    assert "evaluating 0%" in screen.getvalue()
    bar.close()


def test_a_long_evaluation_has_lines_in_a_file(run, monkeypatch, capsys):
    monkeypatch.setattr("numpygpt.training.validation.LINE_SECONDS", 0)
    run.validation.losses(lambda: False, whole=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == -(-run.validation.targets // 32)  # one per batch
    assert all("evaluating" in line and "%" in line for line in lines)
