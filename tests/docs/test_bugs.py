"""The gallery of bugs (docs/backprop/bugs.md): the check refuses each wrong gradient; each bug trains as it should."""

import numpy as np
import pytest
from pages import ROOT, load
from tiny import make_data

from numpygpt import GPT, gradcheck, nn

wrong = load(ROOT / "docs" / "backprop" / "wrong.py", "wrong")
bugs = load(ROOT / "docs" / "figures" / "bugs.py", "figure_bugs")
BY_NAME = {bug.name: bug for bug in (*bugs.RIGHT, *bugs.BUGS)}


def normal(*shape):
    return np.random.default_rng(1).standard_normal(shape)


# -- the wrong layers --------------------------------------------------------------------------------------------------

IDS, TARGETS = np.array([2, 0, 2]), np.array([1, 0, -1])
WRONG = [(wrong.KeyTransposed(4, 2), normal(2, 3, 4)), (wrong.ScaleForgotten(4, 2), normal(2, 3, 4)),
         (wrong.DiagonalOnly(4, 2), normal(2, 3, 4)), (wrong.ConstantStatistics(4), normal(3, 4)),
         (wrong.Overwrites(3, 2), IDS), (wrong.LastOneWins(3, 2), IDS), (wrong.Averaged(3, 2), normal(4, 3)),
         (wrong.block(wrong.NoWayAround, 4, 2, 5), normal(2, 3, 4)), (wrong.ScaledTwice(0.4, rng=0), normal(4, 3)),
         (wrong.AllRowsBackward(), normal(3, 3), TARGETS), (wrong.HalfSlope(), normal(2, 3)),
         (wrong.UpstreamSign(), normal(4, 5)), (wrong.NoGain(4), normal(3, 4)),
         (wrong.TurnedOn(4, 8), normal(1, 2, 3, 4)), (wrong.SlopeOfSigmoid(), normal(2, 3)),
         (wrong.NoLeak(0.5), normal(2, 3)), (wrong.NoFactorOfGate(3, 5), normal(4, 3)),
         (wrong.FirstOfGroup(8, 4, n_kv_heads=2), normal(2, 3, 8)),
         (wrong.ScaleOfForwardOnly(nn.Linear(3, 4), 2, alpha=6), normal(4, 3)),
         (wrong.UndroppedValues(4, 2, attn_dropout=0.5, rng=0), normal(2, 5, 4)),
         (wrong.NotReversed(vocab_size=5, max_len=4, d_model=4, n_heads=2, n_layers=2),
          *np.random.default_rng(0).integers(0, 5, (2, 2, 4)))]
UNSEEN = [(wrong.PlainAttention(4, 2), normal(2, 3, 4)), (wrong.NoMask(4, 2), normal(2, 3, 4)),
          (wrong.AlwaysDrops(0.4, rng=0), normal(4, 3)), (wrong.AlwaysDrops(0.4, rng=0).eval(), normal(4, 3)),
          (wrong.AllRows(), normal(3, 3), TARGETS), (wrong.WideGELU(), normal(2, 3)),
          (wrong.StartForgotten(4, 8), normal(1, 2, 3, 4))]
NOT_TRAINED = {"PlainAttention", "UpstreamSign", "NoGain", "TurnedOn", "StartForgotten", "SlopeOfSigmoid", "NoLeak",
               "NoFactorOfGate", "FirstOfGroup", "ScaleOfForwardOnly", "UndroppedValues"}


def kind(case):
    return type(case[0]).__name__


@pytest.mark.parametrize("case", WRONG, ids=kind)
def test_the_check_refuses_a_wrong_gradient(case):
    assert gradcheck(*case).error > 0.05


@pytest.mark.parametrize("case", UNSEEN, ids=kind)
def test_the_check_passes_a_right_gradient_of_a_wrong_function(case):
    assert gradcheck(*case)


def test_every_wrong_layer_is_tried():
    classes = {name for name, value in vars(wrong).items() if isinstance(value, type) and value.__module__ == "wrong"}
    assert {kind(case) for case in (*WRONG, *UNSEEN)} == classes
    assert {bug.swap[1].__name__ for bug in bugs.BUGS if bug.swap} | {"NotReversed"} == (
        classes - NOT_TRAINED)


def test_plain_attention_is_the_packages():
    X, dY = normal(2, 5, 6), normal(2, 5, 6)[::-1]
    plain, package = (cls(6, 2, rng=0, dtype="float64") for cls in (wrong.PlainAttention, nn.MultiHeadAttention))
    np.testing.assert_allclose(plain(X), package(X), atol=1e-13)
    np.testing.assert_allclose(plain.backward(dY), package.backward(dY), atol=1e-13)
    for name, grad in plain.grads().items():
        np.testing.assert_allclose(grad, package.grads()[name], atol=1e-13)


# -- the trainings -----------------------------------------------------------------------------------------------------

TINY = {"max_len": 4, "d_model": 8, "n_heads": 2, "n_layers": 2}


@pytest.mark.parametrize("bug", [bug for bug in bugs.BUGS if bug.swap], ids=lambda bug: bug.name)
def test_swap_makes_the_layers_wrong_and_leaves_the_arrays(bug):
    model = GPT(vocab_size=7, **TINY, dropout=0.2)
    before, kinds = model.params(), [type(layer) for _, layer in model.named_modules()]
    wrong.swap(model, *bug.swap)
    after = [type(layer) for _, layer in model.named_modules()]
    assert after == [bug.swap[1] if kind is bug.swap[0] else kind for kind in kinds] != kinds
    assert all(array is before[name] for name, array in model.params().items())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(bugs, "SIZES", TINY)
    monkeypatch.setattr(bugs, "BATCH", 4)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_bug_changes_the_training_that_it_should(name, data, tiny):
    bug = BY_NAME[name]
    result, right = (bugs.trained(BY_NAME[run], "SGD", 0, data, steps=6) for run in (name, bug.right))
    again = bugs.trained(bug, "SGD", 0, data, steps=6)
    assert result.true == again.true and np.isfinite([*result.losses, result.reported, result.true]).all()
    assert len(result.losses) == 6
    if name in ("all rows, in forward too", "targets not shifted", "missing causal mask"):
        assert result.losses[0] != right.losses[0]  # another function from the start
    elif name not in ("float64 creeping in", "correct, dropout 0.2", "correct, padded"):
        assert result.losses[0] == right.losses[0]
        assert (result.true != right.true) == (name not in ("correct", "dropout active in evaluation"))
    if name == "all rows, in forward too":
        assert result.reported < 0.8 * result.true
    if name == "float64 creeping in":
        assert abs(result.true - right.true) < 1e-3


def test_the_table_and_the_picture_are_made_of_the_runs(tmp_path):
    rng = np.random.default_rng(0)
    found = {(bug.name, name, seed): bugs.Result(rng.uniform(2, 4, 40), 1.0 + seed, 10.0 + seed)
             for bug in (*bugs.RIGHT, *bugs.BUGS) for name in bugs.OPTIMIZERS for seed in bugs.SEEDS}
    lines = bugs.table(found).splitlines()
    assert len([line for line in lines if line.startswith("|")]) == 2 + len(BY_NAME)
    last = np.mean([found["correct", "AdamW", seed].losses[-30:].mean() for seed in bugs.SEEDS])
    assert lines[2].startswith(f"| correct | {last:.2f} | 1.50 | 10.50 | ")
    assert "1.00" in lines[-1]
    bugs.draw(found, tmp_path / "bugs.png")
    assert (tmp_path / "bugs.png").stat().st_size > 10_000
