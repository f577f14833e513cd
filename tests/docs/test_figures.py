"""The scripts in docs/figures train and draw what docs/OPTIMIZERS.md shows."""

import math

import numpy as np
import pytest
from pages import ROOT, load

from numpygpt.data import Corpus, prepare

valley = load(ROOT / "docs" / "figures" / "valley.py", "figure_valley")
optimizers = load(ROOT / "docs" / "figures" / "optimizers.py", "figure_optimizers")


def test_the_paths_in_the_valley_do_what_the_page_says():
    assert valley.CURVATURE.tolist() == [[1, 50]] and valley.LOWEST.tolist() == [[1, 0.4]] and valley.STEPS == 40
    sgd, momentum, adam, adamw = (valley.path(make) for _, make in valley.OPTIMIZERS.values())
    assert np.sign(np.diff(sgd[:6, 1])).tolist() == [-1, 1, -1, 1, -1]  # across the valley at each step
    assert sgd[-1, 0] < 0.85 and abs(momentum[-1] - [1, 0.4]).max() < 0.05
    assert np.abs(adam[1] - adam[0]) == pytest.approx([0.1, 0.1]) and adam[:, 0].max() > 1.2
    assert adamw[:, 0].max() < adam[:, 0].max() - 0.1  # overshoots less
    crossings = [np.count_nonzero(np.diff(np.sign(places[:, 1] - 0.4))) for places in (sgd, momentum)]
    assert crossings[0] == 40 and crossings[1] < 20 and sgd[:, 1].min() < momentum[:, 1].min()


def test_the_gradient_of_the_valley_is_that_of_its_loss():
    point, h = valley.Point(), 1e-6
    point.backward()
    W = point.W.copy()
    for i in range(2):
        point.W = W + h * np.eye(2)[i]
        up = point.loss()
        point.W = W - h * np.eye(2)[i]
        assert (up - point.loss()) / (2 * h) == pytest.approx(point.dW[0, i])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "small"
    prepare(Corpus.of("small", "a line of text, and another line.\n" * 80, "here"), out, context=32)
    return out


def test_the_optimizers_are_compared_and_a_diverged_run_is_marked(folder, tmp_path):
    s = optimizers
    runs = {variant: s.trained(s.Task("Adam", 3e-3, variant), folder, steps=60) for variant in s.VARIANTS}
    assert all(np.isfinite(run.losses).all() and run.losses[-1] < run.losses[0] for run in runs.values())
    assert len({run.val for run in runs.values()}) == 4  # each variant is another run
    again = s.trained(s.Task("Adam", 3e-3, s.BOTH), folder, steps=60)
    assert np.array_equal(again.losses, runs[s.BOTH].losses) and again.val == runs[s.BOTH].val
    lost = s.trained(s.Task("SGD", 1e20, "neither"), folder, steps=5)
    assert math.isnan(lost.val) and np.isnan(lost.losses[-1])
    tasks = [s.Task(name, lr, variant) for name in s.MAKERS for variant in s.VARIANTS for lr in s.RATES[name]]
    found = {task: again if task.lr < max(s.RATES[task.optimizer]) else lost for task in tasks}
    found |= {s.best(found, name)._replace(seed=seed): again for name in s.MAKERS for seed in (1, 2)}
    assert s.tables(found).count("diverged") == 16
    s.draw(found, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
