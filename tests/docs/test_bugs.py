"""docs/backprop/bugs.md: each bug is the line it says and is caught or not as it says; its losses are those printed."""

import importlib.util
import re
import sys

import numpy as np
import pytest
from test_backprop_doc import ROOT, prose, read, sections
from tiny import make_data

from numpygpt import GPT, gradcheck, nn

DOC = ROOT / "docs" / "backprop" / "bugs.md"
TEXT = read(DOC)
PRINTED = read(ROOT / "assets" / "outputs" / "bugs.md")
ROWS = {cells[1].strip(): [float(cell) for cell in cells[2:-1]]
        for cells in (line.split("|") for line in PRINTED.splitlines()[2:] if line.startswith("|"))}
PARTS = ["What the check says", "What training shows", "What hid it"]
BUGS = {  # section -> the runs that it speaks of
    "Transposed key gradient": ["transposed key gradient"],
    "Scale missing on the query gradient": ["missing scale on dQ"],
    "Softmax with its diagonal only": ["softmax's diagonal only"],
    "LayerNorm with constant statistics": ["LayerNorm with constant statistics"],
    "Set in place of added": ["= for += with tied weights"],
    "Last one wins in the embedding": ["last one wins in the embedding"],
    "Mean in place of the sum": ["mean for sum over the rows"],
    "Residual path forgotten": ["residual path forgotten"],
    "Blocks not reversed": ["blocks not reversed"],
    "Half of GELU's slope": ["half of GELU's slope"],
    "Dropout scaled twice": ["dropout scaled twice"],
    "All rows in place of those that count": ["all rows, in backward alone", "all rows, in forward too"],
    "Dropout active in evaluation": ["dropout active in evaluation"],
    "Causal mask missing": ["missing causal mask"],
    "Targets not shifted": ["targets not shifted"],
    "Forgotten zero_grad": ["forgotten zero_grad"],
    "float64 creeping in": ["float64 creeping in"],
    "A check that agrees with itself": [],
}


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # bugs.py imports wrong.py by this name, and a dataclass looks its module up
    spec.loader.exec_module(module)
    return module


wrong = load(ROOT / "docs" / "backprop" / "wrong.py", "wrong")
bugs = load(ROOT / "docs" / "figures" / "bugs.py", "figure_bugs")
BY_NAME = {bug.name: bug for bug in (*bugs.RIGHT, *bugs.BUGS)}


def normal(*shape):
    return np.random.default_rng(1).standard_normal(shape)


# -- the page ----------------------------------------------------------------------------------------------------------


def test_every_bug_that_is_trained_has_its_section_and_each_section_its_parts():
    assert list(sections(TEXT)) == list(BUGS)
    assert [name for names in BUGS.values() for name in names] and sorted(
        name for names in BUGS.values() for name in names) == sorted(bug.name for bug in bugs.BUGS)
    for section in sections(TEXT).values():
        assert re.findall(r"^\*\*(.+?)\.\*\*", section, re.M) == PARTS
        check = section.split("**What the check says.**")[1].split("**What training shows.**")[0]
        assert "```python" in check and "```text" in check
        assert section.lstrip().startswith("| wrong | right |\n|---|---|\n| `")
        texts = dict(zip(*[iter(prose(section).split("**")[1:])] * 2, strict=False))
        assert all(len(text.split()) >= 12 for title, text in texts.items() if title in (
            "What training shows.", "What hid it.") and text.strip() != "Not run.")


@pytest.mark.parametrize("title", BUGS)
def test_the_two_lines_are_in_the_code(title):
    rows = re.findall(r"^\| (`.*`) \| (`.*`) \|$", sections(TEXT)[title], re.M)
    code = [read(path) for path in [*(ROOT / "numpygpt").rglob("*.py"), ROOT / "docs/figures/bugs.py",
                                    ROOT / "docs/backprop/wrong.py"]]
    assert len(rows) == max(len(BUGS[title]), 1)
    for cells in rows:
        for line in re.findall(r"`([^`]+)`", " ".join(cells)):
            assert any(line in text for text in code), line
        for line in re.findall(r"`([^`]+)`", cells[0]):
            assert any(line in text for text in code[-2:]), line


def test_the_table_is_what_the_script_printed():
    assert PRINTED.strip() in TEXT
    assert list(ROWS) == list(BY_NAME) and all(len(row) == 6 for row in ROWS.values())


@pytest.mark.parametrize("title", [title for title in BUGS if BUGS[title]])
def test_the_losses_in_the_text_are_those_of_the_bug_or_of_the_right_run(title):
    shown = sections(TEXT)[title].split("**What training shows.**")[1].split("**What hid it.**")[0]
    known = {f"{value:.2f}" for name in BUGS[title] for run in (name, BY_NAME[name].right, "right")
             for value in ROWS[run]} | {"4.17"}
    found = re.findall(r"\d+\.\d\d", prose(shown))
    assert len(found) >= 2 and set(found) <= known


def test_what_the_introduction_counts():
    trained = ["transposed key gradient", "missing scale on dQ", "softmax's diagonal only",
               "LayerNorm with constant statistics", "= for += with tied weights", "last one wins in the embedding",
               "mean for sum over the rows", "residual path forgotten", "blocks not reversed", "half of GELU's slope",
               "dropout scaled twice", "all rows, in backward alone"]
    near = [name for name in trained if ROWS[name][2] - ROWS[BY_NAME[name].right][2] < 0.1]
    assert f"Of {len(trained)} bugs in backward, AdamW brings {len(near)} to within 0.1 of the right run" in (
        " ".join(TEXT.split()))
    assert len(sections(TEXT)) == 18 and TEXT.split("\n\n")[1].startswith("Eighteen mistakes")


def test_how_small_the_gradient_is_that_hides_the_key_bug():
    shown = re.findall(r"^weights 0.02 +tolerance (\S+) +passed +keys: largest gradient (\S+), largest error (\S+)$",
                       TEXT, re.M)
    said = " ".join(sections(TEXT)["Transposed key gradient"].split())
    for tolerance, gradient, error in [[float(number) for number in line] for line in shown]:
        assert "the error is two thirds of the keys' largest gradient" in said and abs(error / gradient - 2 / 3) < 0.05
        assert re.search(rf"{tolerance / gradient:.0f} times smaller than (the tolerance|that) of {tolerance}\b", said)
    assert len(shown) == 2


# -- the wrong layers --------------------------------------------------------------------------------------------------

IDS, TARGETS = np.array([2, 0, 2]), np.array([1, 0, -1])
WRONG = [(wrong.KeyTransposed(4, 2), normal(2, 3, 4)), (wrong.ScaleForgotten(4, 2), normal(2, 3, 4)),
         (wrong.DiagonalOnly(4, 2), normal(2, 3, 4)), (wrong.ConstantStatistics(4), normal(3, 4)),
         (wrong.Overwrites(3, 2), IDS), (wrong.LastOneWins(3, 2), IDS), (wrong.Averaged(3, 2), normal(4, 3)),
         (wrong.NoWayAround(4, 2, 5), normal(2, 3, 4)), (wrong.ScaledTwice(0.4, rng=0), normal(4, 3)),
         (wrong.AllRowsBackward(), normal(3, 3), TARGETS), (wrong.HalfSlope(), normal(2, 3)),
         (wrong.UpstreamSign(), normal(4, 5)),
         (wrong.NotReversed(5, 4, 4, 2, 2), *np.random.default_rng(0).integers(0, 5, (2, 2, 4)))]
UNSEEN = [(wrong.PlainAttention(4, 2), normal(2, 3, 4)), (wrong.NoMask(4, 2), normal(2, 3, 4)),
          (wrong.AlwaysDrops(0.4, rng=0), normal(4, 3)), (wrong.AlwaysDrops(0.4, rng=0).eval(), normal(4, 3)),
          (wrong.AllRows(), normal(3, 3), TARGETS), (wrong.WideGELU(), normal(2, 3))]


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
        classes - {"PlainAttention", "UpstreamSign"})


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
    model = GPT(7, **TINY, dropout=0.2)
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
    elif name not in ("float64 creeping in", "right, dropout 0.2", "right, padded"):
        assert result.losses[0] == right.losses[0]
        assert (result.true != right.true) == (name not in ("right", "dropout active in evaluation"))
    if name == "all rows, in forward too":
        assert result.reported < 0.8 * result.true
    if name == "float64 creeping in":
        assert abs(result.true - right.true) < 1e-3


def test_the_table_and_the_picture_are_made_of_the_runs(tmp_path):
    rng = np.random.default_rng(0)
    found = {(bug.name, name, seed): bugs.Result(rng.uniform(2, 4, 40), 1.0 + seed, 10.0 + seed)
             for bug in (*bugs.RIGHT, *bugs.BUGS) for name in bugs.OPTIMIZERS for seed in bugs.SEEDS}
    lines = bugs.table(found).splitlines()
    assert lines[0] == PRINTED.splitlines()[0] and len(lines) == 2 + len(BY_NAME) + 2
    last = np.mean([found["right", "AdamW", seed].losses[-30:].mean() for seed in bugs.SEEDS])
    assert lines[2].startswith(f"| right | {last:.2f} | 1.50 | 10.50 | ")
    assert lines[-1] == "The two seeds of a right run differ by at most 1.00."
    bugs.draw(found, tmp_path / "bugs.png")
    assert (tmp_path / "bugs.png").stat().st_size > 10_000
