"""The pictures of the textbook are drawn, and the arrays that they show are those of the pages."""

import sys

import numpy as np
import pytest
from pages import ROOT, load
from PIL import Image


@pytest.fixture(scope="module")
def draw():
    return load(ROOT / "docs" / "figures" / "draw.py", "figure_draw")


@pytest.fixture(scope="module")
def folder(draw, tmp_path_factory):
    out = tmp_path_factory.mktemp("pictures")
    draw.main(["--out", str(out)])
    return out


@pytest.fixture
def chapter(folder):
    return lambda name: sys.modules[f"chapters.{name}"]


def test_every_figure_is_drawn(draw, folder):
    assert {path.stem for path in folder.iterdir()} == set(draw.canvas.FIGURES)
    for path in folder.iterdir():
        with Image.open(path) as image:
            assert image.width == 1600 and 300 < image.height < 2400, path.name
            assert len(image.convert("L").getcolors(256)) > 5, path.name  # not blank
        assert 4_000 < path.stat().st_size < 200_000, path.name


def test_slopes_by_finite_differences(chapter):
    fourth = chapter("start").slope_errors(np.array([1e-8, 1e-4, 1e-1]), np.float64, 4)
    assert fourth[1] < 1e-10 and fourth[0] > 1e-10 and fourth[2] > 1e-6
    X, h = np.array([-3.0, -0.7, 0.2, 2.5]), 1e-5
    activations = chapter("softmax").activations
    for name, (_, slope) in activations(X).items():
        up, down = activations(X + h)[name][0], activations(X - h)[name][0]
        assert slope == pytest.approx((up - down) / (2 * h), abs=1e-8), name


def test_the_embedding_adds_the_gradients_of_a_repeated_token(chapter):
    E, ids, Y, _, dE = chapter("products").embedded()
    assert np.array_equal(Y, E[ids]) and dE.tolist() == [[2, 20], [0, 0], [4, 40]]


def test_layernorm_and_dropout(chapter):
    before, after = chapter("normalize").normalised_rows()
    assert np.ptp(before.mean(axis=1)) > 5 and before.std(axis=1).max() > 3 * before.std(axis=1).min()
    assert after.mean(axis=1) == pytest.approx(np.zeros(4)) and after.std(axis=1) == pytest.approx(np.ones(4), abs=1e-4)
    parts = chapter("normalize").removed()
    assert parts == pytest.approx(np.array([[3, 0, 0], [1, 1, 1], [1.5, 0, -1.5], [0.5, -1, 0.5]]))
    arrays = chapter("normalize").dropped()
    assert arrays["D"].tolist() == [[0, 2, 2], [2, 0, 0]]
    assert arrays["Y"].tolist() == [[0, 4, 6], [8, 0, 0]] and arrays["dX"].tolist() == [[0, -2, 10], [6, 0, 0]]


def test_softmax_and_its_losses(chapter):
    s = chapter("softmax")
    Y, J = s.jacobian()
    assert J == pytest.approx(np.diag(Y) - np.outer(Y, Y)) and Y == pytest.approx([0.4, 0.2, 0.1, 0.2, 0.1])
    text = "the rat ate the mat. "
    G, targets = s.gradient(text), s.encoded(text)[1:]
    assert G.sum(axis=1) == pytest.approx(np.zeros(len(targets)), abs=1e-12)
    assert np.array_equal(np.nonzero(G < 0)[1], targets)  # each row has one negative entry, its target's
    least = s.margin_at_zero(0.2, 5)
    assert s.smoothed(np.array([least]), 0.2, 5) == pytest.approx([0]) and s.smoothed(np.array([least]), 0.0, 5) < 0


def test_the_schedule(chapter):
    rates = chapter("optimizers").rates()
    assert rates[[0, 99, 100, 1050, 2000]] == pytest.approx([3e-5, 3e-3, 3e-3, 1.515e-3, 3e-5])
