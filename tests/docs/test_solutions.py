"""The solutions in docs/exercises are the layers of the package: same outputs, same gradients."""

import ast
import copy

import numpy as np
import pytest
from exercise_files import FOLDER, NAMES, SOLVED, solved, source
from pages import load
from tiny import make_data

from numpygpt import GPT, gradcheck, nn
from numpygpt.data import TokenDataset
from numpygpt.verify.wrappers import block


class Same(nn.Module):
    """The package's linear layer with an identity for W: what is left is the bias."""

    def __init__(self, size):
        self.linear = nn.Linear(size, size)

    def forward(self, X):
        self.linear.W = np.eye(len(self.linear.W))
        return self.linear(X)

    def backward(self, dY):
        return self.linear.backward(dY)


class LossOf(nn.Module):
    """A GPT of the package that gives the loss alone."""

    def __init__(self, *sizes):
        self.gpt = GPT(**dict(zip(("vocab_size", "max_len", "d_model", "n_heads", "n_layers"), sizes, strict=True)))

    def forward(self, x, y):
        return self.gpt(x, targets=y)[1]

    def backward(self, scale):
        return self.gpt.backward(scale)


def normal(*shape):
    return np.random.default_rng(1).standard_normal(shape)


IDS = np.array([[2, 0, 2], [1, 3, 0]])
TARGETS = np.array([[1, -1, 0], [-1, 3, 3]])
PAIRS = {
    "Linear": ("01_linear.py", lambda m: m.Linear(3, 4), lambda: nn.Linear(3, 4, bias=False), [normal(2, 5, 3)]),
    "Bias": ("02_bias.py", lambda m: m.Bias(3), lambda: Same(3), [normal(2, 5, 3)]),
    "Positions": ("02_bias.py", lambda m: m.Positions(6, 3), lambda: nn.PositionalEmbedding(6, 3), [normal(2, 5, 3)]),
    "Embedding": ("03_embedding.py", lambda m: m.Embedding(4, 3), lambda: nn.Embedding(4, 3), [IDS]),
    "Head": ("03_embedding.py", lambda m: m.Head(m.Embedding(4, 3)), lambda: nn.Unembedding(4, 3), [normal(2, 5, 3)]),
    "ReLU": ("04_relu_gelu.py", lambda m: m.ReLU(), nn.ReLU, [normal(2, 5, 3)]),
    "GELU": ("04_relu_gelu.py", lambda m: m.GELU(), nn.GELU, [normal(2, 5, 3)]),
    "Softmax": ("05_softmax.py", lambda m: m.Softmax(), nn.Softmax, [normal(2, 5, 3)]),
    "CrossEntropy": ("06_cross_entropy.py", lambda m: m.CrossEntropy(), nn.CrossEntropyLoss,
                     [normal(2, 3, 4), TARGETS]),
    "LayerNorm": ("07_layernorm.py", lambda m: m.LayerNorm(3), lambda: nn.LayerNorm(3), [normal(2, 5, 3)]),
    "Dropout": ("08_dropout.py", lambda m: m.Dropout(0.4).eval(), lambda: nn.Dropout(0.4).eval(), [normal(2, 5, 3)]),
    "Attention": ("09_attention.py", lambda m: m.Attention(6, 2), lambda: nn.MultiHeadAttention(6, 2, bias=False),
                  [normal(2, 5, 6)]),
    "FeedForward": ("10_block.py", lambda m: m.FeedForward(3, 5), lambda: nn.FeedForward(3, 5), [normal(2, 5, 3)]),
    "Block": ("10_block.py", lambda m: m.Block(6, 2, 5), lambda: block(6, 2, 5), [normal(2, 5, 6)]),
    "GPT": ("11_gpt.py", lambda m: m.GPT(4, 3, 6, 2, 2), lambda: LossOf(4, 3, 6, 2, 2), [IDS, TARGETS]),
    "RMSNorm": ("13_rmsnorm.py", lambda m: m.RMSNorm(3), lambda: nn.RMSNorm(3), [normal(2, 5, 3)]),
    "no smoothing": ("15_label_smoothing.py", lambda m: m.SmoothedCrossEntropy(0.0), nn.CrossEntropyLoss,
                     [normal(2, 3, 4), TARGETS]),
}


def theirs(name):
    """The package's name of a parameter of ours: there a bias is part of its linear layer."""
    return name.replace("_bias.b", ".b")


@pytest.mark.parametrize("case", PAIRS)
def test_a_solution_is_the_packages_layer(case):
    name, mine, package, inputs = PAIRS[case]
    a, b = mine(solved(name)).astype("float64"), package().astype("float64")
    prefix = {"GPT": "gpt.", "Bias": "linear."}.get(case, "")
    rng, params = np.random.default_rng(2), b.params()
    for param in params.values():
        param[...] = 0
    for own, param in a.params().items():
        param[...] = rng.standard_normal(param.shape)
        params[prefix + theirs(own)][...] = param
    a(*inputs), b(*inputs)  # what an earlier call left must not count
    dY = rng.standard_normal(np.shape(a(*inputs)))
    dY = dY if dY.shape else float(dY)
    for _ in range(2):  # and gradients add up
        np.testing.assert_allclose(a(*inputs), b(*inputs), rtol=0, atol=1e-12)
        dX, wanted = a.backward(dY), b.backward(dY)
        assert type(dX) is type(wanted)
    if wanted is not None:
        np.testing.assert_allclose(dX, wanted, rtol=0, atol=1e-12)
    assert a.params() or wanted is not None
    for own, grad in a.grads().items():
        np.testing.assert_allclose(grad, b.grads()[prefix + theirs(own)], rtol=0, atol=1e-11)
    used = {prefix + theirs(own) for own in a.params()}
    assert {other.split(".")[-1] for other in set(params) - used} <= {"b", "W"} and (
        case in ("Block", "GPT", "Bias") or used == set(params))


def test_every_class_of_the_steps_is_compared_with_the_package():
    classes = {top.name for name in NAMES[:11] for top in ast.parse(source(SOLVED, name)).body
               if isinstance(top, ast.ClassDef)}
    assert classes - set(PAIRS) == {"Tied", "NegativeLog"}  # a test of step 3's own; the long way of step 6


def test_dropout_of_the_solutions_drops_and_scales():
    layer = solved("08_dropout.py").Dropout(0.4, rng=0)
    Y = layer(np.ones((100, 100)))
    assert set(np.unique(Y)) == {0, 1 / 0.6} and abs(Y.mean() - 1) < 0.05
    assert np.array_equal(layer.backward(np.ones((100, 100))), Y)


def test_rmsnorm_is_layernorm_where_the_mean_is_zero_already():
    X = normal(2, 5, 4)
    X -= X.mean(axis=-1, keepdims=True)
    mine, other = solved("13_rmsnorm.py").RMSNorm(4).astype("float64"), nn.LayerNorm(4, bias=False, dtype="float64")
    mine.gamma[...] = other.gamma[...] = normal(4)
    np.testing.assert_allclose(mine(X), other(X), atol=1e-12)
    dY = normal(2, 5, 4)[::-1]
    dX = mine.backward(dY)
    np.testing.assert_allclose(dX - dX.mean(axis=-1, keepdims=True), other.backward(dY), atol=1e-12)
    np.testing.assert_allclose(mine.dgamma, other.dgamma, atol=1e-12)


def test_rotary_is_the_packages_but_for_its_angles_in_float32():
    mine, other = solved("16_rotary.py").Rotary(4), nn.Rotary(4, 6)
    X, dY = normal(2, 3, 5, 4), normal(2, 3, 5, 4)[::-1]
    np.testing.assert_allclose(mine(X), other(X), atol=1e-7)
    np.testing.assert_allclose(mine.backward(dY), other.backward(dY), atol=1e-7)


def test_grouped_queries_are_the_packages():
    mine = solved("17_grouped_queries.py").GroupedAttention(8, 4, 2).astype("float64")
    other = nn.MultiHeadAttention(8, 4, bias=False, n_kv_heads=2, dtype="float64")
    other.qkv.W[...] = np.concatenate([mine.q.W, mine.k.W, mine.v.W], axis=1)
    other.proj.W[...] = mine.proj.W
    X, dY = normal(2, 5, 8), normal(2, 5, 8)[::-1]
    np.testing.assert_allclose(mine(X), other(X), atol=1e-12)
    np.testing.assert_allclose(mine.backward(dY), other.backward(dY), atol=1e-12)
    np.testing.assert_allclose(np.concatenate([mine.q.dW, mine.k.dW, mine.v.dW], axis=1), other.qkv.dW, atol=1e-11)


def test_lora_is_the_packages():
    mine = solved("18_lora.py").LoRALinear(4, 3, 2, alpha=3.0).astype("float64")
    other = nn.LoRALinear(nn.Linear(4, 3, bias=False, dtype="float64"), 2, alpha=3)
    values = normal(4, 3), normal(4, 2), normal(2, 3)
    mine.W, (mine.A, mine.B) = values[0], values[1:]
    for name, param in other.named_parameters():
        param[...] = dict(zip("WAB", values, strict=True))[name.split(".")[-1]]
    X, dY = normal(2, 5, 4), normal(2, 5, 3)
    np.testing.assert_allclose(mine(X), other(X), atol=1e-12)
    np.testing.assert_allclose(mine.backward(dY), other.backward(dY), atol=1e-12)
    for name, grad in other.named_gradients():
        np.testing.assert_allclose(mine.grads()[name.split(".")[-1]], grad, atol=1e-12)


# -- the layers of the open exercises in a GPT -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swap():
    return load(FOLDER / "swap.py", "exercises_swap")


@pytest.mark.parametrize("names", [["rmsnorm"], ["swiglu"], ["smoothing"], ["rmsnorm", "swiglu", "smoothing"]])
def test_the_gpt_with_a_layer_of_the_exercises_has_right_gradients(names, swap, monkeypatch):
    monkeypatch.setattr(swap, "SIZES", {"max_len": 3, "d_model": 6, "n_heads": 2, "n_layers": 2})
    model = GPT(vocab_size=4, **swap.SIZES)
    before = copy.deepcopy(model)
    for name in names:
        swap.SWAPS[name](model, SOLVED)
    kinds = {type(layer).__name__ for _, layer in model.named_modules()}
    assert ("RMSNorm" in kinds, "LayerNorm" in kinds) == ("rmsnorm" in names, "rmsnorm" not in names)
    assert ("SwiGLU" in kinds, "FeedForward" in kinds) == ("swiglu" in names, "swiglu" not in names)
    assert isinstance(model.criterion, nn.CrossEntropyLoss) == ("smoothing" not in names)
    assert (model.n_params() < before.n_params()) == (names != ["smoothing"])
    assert gradcheck(model, IDS, TARGETS)


def test_swap_trains_and_makes_its_table(swap, tmp_path, monkeypatch):
    data = TokenDataset.load(make_data(tmp_path / "data"))
    monkeypatch.setattr(swap, "SIZES", {"max_len": 8, "d_model": 8, "n_heads": 2, "n_layers": 1})
    monkeypatch.setattr(swap, "LR", 1e-2)
    text = swap.table(data, steps=40, seeds=(0, 1))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    assert [row[0] for row in rows] == list(swap.ROWS)
    assert all(0 < float(cell) < np.log(data.vocab_size) - 0.3 for row in rows for cell in row[2:])
    assert len({row[2] for row in rows}) == len(rows) == 7
    assert len({row[1] for row in rows}) == 4 and rows[0][1] == rows[1][1] == rows[5][1]
