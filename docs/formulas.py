"""The formula sheet: for each layer its gradient, shapes, cached arrays, FLOPs, an invariant and where it comes from.

docs/FORMULAS.md shows it as tables (docs/tables.py), docs/figures/sheet.py draws it as a PDF. Formulas, shapes and
cached arrays are read from the layers. What is written here (FLOPs as terms, invariants) is compared with the layers:
terms when a row is made, invariants by tests/docs/test_formulas.py.
"""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from numpygpt import nn, trace
from numpygpt.nn.cost import Call, cost_of
from numpygpt.verify.cases import gradient_cases
from numpygpt.verify.wrappers import block

# All sizes differ, so that each number in a shape has one name.
SIZES = {"B": 2, "T": 3, "N": 6, "H": 4, "d_k": 14, "d_v": 5, "C": 13, "F": 17, "d_in": 19, "d_out": 23, "r": 10,
         "n_vocab": 11, "max_len": 9}
B, T, N, H, d_k, d_v, C, F, d_in, d_out, r, n_vocab, max_len = SIZES.values()
LETTERS = {size: letter for letter, size in SIZES.items()} | {
    1: "1", H * d_v: "H d_v"}


class Run(NamedTuple):
    """One call of a layer and of its backward, in float64 with random numbers everywhere, for the invariants."""

    layer: nn.Module
    X: np.ndarray
    Y: np.ndarray
    dY: np.ndarray
    dX: np.ndarray


class Entry(NamedTuple):
    """What the sheet says about a layer beyond what the layer says itself."""

    make: Callable  # a new layer
    inputs: tuple  # shapes; of integers a list
    flops: tuple  # of forward and backward, without the layers inside
    invariant: str
    holds: Callable  # Run -> whether the invariant holds
    source: str  # paper and section
    more: tuple = ()  # lines for the backward of a layer whose formula leaves something open
    cached: str = ""  # instead of the arrays: it caches no new array, or a view
    table: str = ""  # the name in the formulas of what the code calls W


def dot(A, B):
    return np.sum(A * B)


def close(*arrays):
    return all(np.allclose(array, arrays[0], rtol=1e-7, atol=1e-7) for array in arrays)


def rows_add_up_to_zero(run):
    return close(run.dX.sum(-1), 0.0)


def orthogonal(run):
    """Rows of dX are orthogonal to Xhat, up to eps."""
    return np.abs((run.dX * run.layer.Xhat).mean(-1)).max() < 1e-3 * np.abs(run.dX).max()


def columns_agree(run):
    """Queries and keys of each head: sum Wq dWq + bq dbq = sum Wk dWk + bk dbk."""
    qkv = run.layer.qkv
    products = (qkv.W * qkv.dW).sum(0) + qkv.b * qkv.db
    queries, keys = (products[i * H * d_k : (i + 1) * H * d_k].reshape(H, d_k).sum(1) for i in (0, 1))
    return close(queries, keys) and close(qkv.db[H * d_k : 2 * H * d_k], 0.0)


def linear_in_output(run):
    proj = run.layer.proj
    return close(dot(proj.W, proj.dW), dot(run.dY, run.Y - proj.b))


def linear_in_up(run):
    fc, proj = run.layer.fc, run.layer.proj
    up = dot(fc.W[:, F:], fc.dW[:, F:]) + dot(fc.b[F:], fc.db[F:])
    return close(up, dot(run.dY, run.Y - proj.b))


def slopes_of_pair(kind):
    """Slopes at x and -x add up to 1."""
    def holds(run):
        other = kind()
        other(-run.X)
        return close(run.dX + other.backward(run.dY), run.dY)
    return holds


def gelu(run):
    """The invariant, and the formula of the slope that the sheet adds."""
    X, root = run.X, np.sqrt(2 / np.pi)
    s, du = (1 + np.tanh(root * (X + 0.044715 * X**3))) / 2, root * (1 + 3 * 0.044715 * X**2)
    return slopes_of_pair(nn.GELU)(run) and close(run.dX, run.dY * (s + 2 * run.Y * (1 - s) * du))


def homogeneous(run):
    return close(run.X * run.dX, run.Y * run.dY)


def gathers(run):
    used = np.unique(run.X)
    return close(run.layer.dW.sum(0), run.dY.sum((0, 1))) and close(np.delete(run.layer.dW, used, 0), 0.0)


SHEET = {
    "Linear": Entry(
        lambda: nn.Linear(d_in, d_out), ((B, T, d_in),), ("2 N d_in d_out + N d_out", "4 N d_in d_out + N d_out"),
        "Σ X dX = Σ W dW = Σ dY (Y - b)",
        lambda run: close(dot(run.X, run.dX), dot(run.layer.W, run.layer.dW), dot(run.dY, run.Y - run.layer.b)),
        "Rumelhart et al. 1986"),
    "Embedding": Entry(
        lambda: nn.Embedding(n_vocab, C), ([B, T],), ("0", "N C"),
        "Σ over rows of dE = Σ over rows of dY; rows of absent tokens are 0", gathers, "Bengio et al. 2003, 2",
        table="E"),
    "Unembedding": Entry(
        lambda: nn.Unembedding(n_vocab, C), ((B, T, C),), ("2 N n_vocab C", "4 N n_vocab C"),
        "Σ X dX = Σ E dE = Σ logits dlogits (dE: its own part)",
        lambda run: close(dot(run.X, run.dX), dot(run.layer.embedding.W, run.layer.embedding.dW), dot(run.Y, run.dY)),
        "tied: Press and Wolf 2017"),
    "PositionalEmbedding": Entry(
        lambda: nn.PositionalEmbedding(max_len, C), ((B, T, C),), ("N C", "N C"),
        "dX = dY; Σ over rows of dW_pos = Σ over rows of dY",
        lambda run: close(run.dX, run.dY) and close(run.layer.dW.sum(0), run.dY.sum((0, 1))),
        "Gehring et al. 2017, 3.1", cached="the positions", table="W_pos"),
    "SinusoidalEncoding": Entry(
        lambda: nn.SinusoidalEncoding(max_len, C), ((B, T, C),), ("N C", "0"),
        "dX = dY", lambda run: close(run.dX, run.dY), "Vaswani et al. 2017, 3.5", cached="nothing"),
    "ReLU": Entry(
        nn.ReLU, ((B, T, C),), ("N C", "2 N C"),
        "X dX = Y dY, element-wise", homogeneous, "Nair and Hinton 2010, 2"),
    "LeakyReLU": Entry(
        nn.LeakyReLU, ((B, T, C),), ("2 N C", "2 N C"),
        "X dX = Y dY, element-wise", homogeneous, "Maas et al. 2013, 2"),
    "GELU": Entry(
        nn.GELU, ((B, T, C),), ("15 N C", "N C"),
        "the slopes at x and -x add up to 1", gelu, "Hendrycks and Gimpel 2016, 2",
        ("∂Y/∂X = s + 2 Y (1 - s) ∂u/∂X,  s = (1 + tanh u) / 2", "∂u/∂X = √(2/π) (1 + 3 · 0.044715 X²)")),
    "SiLU": Entry(
        nn.SiLU, ((B, T, C),), ("8 N C", "N C"),
        "the slopes at x and -x add up to 1", slopes_of_pair(nn.SiLU),
        "Hendrycks and Gimpel 2016, 2; Elfwing et al. 2017"),
    "Softmax": Entry(
        nn.Softmax, ((B, T, C),), ("5 N C", "4 N C"),
        "each row of dX sums to 0", rows_add_up_to_zero, "Bridle 1990"),
    "CrossEntropyLoss": Entry(
        nn.CrossEntropyLoss, ((B, T, n_vocab), [B, T]), ("6 N n_vocab", "2 N n_vocab"),
        "each row of dlogits sums to 0; the target's entry alone is negative",
        lambda run: rows_add_up_to_zero(run) and close((run.dX < 0).sum(-1), 1), "Bridle 1990"),
    "LinearCrossEntropy": Entry(
        lambda: nn.LinearCrossEntropy(nn.Unembedding(n_vocab, C)), ((B, T, C), [B, T]),
        ("6 N n_vocab C + 6 N n_vocab", "N C + 2 n_vocab C"),
        "Σ X dX = Σ E dE (dE: its own part)",
        lambda run: close(dot(run.X, run.dX), dot(run.layer.head.embedding.W, run.layer.head.embedding.dW)),
        "head and loss, in chunks of rows"),
    "LayerNorm": Entry(
        lambda: nn.LayerNorm(C), ((B, T, C),), ("7 N C", "11 N C"),
        "each row of dX sums to 0 and is orthogonal to Xhat (up to eps)",
        lambda run: rows_add_up_to_zero(run) and orthogonal(run), "Ba et al. 2016, 3", ("rstd = 1/√(var(X) + eps)",)),
    "RMSNorm": Entry(
        lambda: nn.RMSNorm(C), ((B, T, C),), ("4 N C", "8 N C"),
        "each row of dX is orthogonal to Xhat (up to eps); it need not sum to 0",
        lambda run: orthogonal(run) and not rows_add_up_to_zero(run), "Zhang and Sennrich 2019"),
    "Dropout": Entry(
        lambda: nn.Dropout(0.4, rng=0), ((B, T, C),), ("3 N C", "N C"),
        "X dX = Y dY, element-wise", homogeneous, "Srivastava et al. 2014, 4"),
    "Rotary": Entry(
        lambda: nn.Rotary(d_k, max_len), ((B, H, T, d_k),), ("3 N H d_k", "3 N H d_k"),
        "each vector of dX is as long as the same vector of dY; Σ X dX = Σ Y dY",
        lambda run: close(np.linalg.norm(run.dX, axis=-1), np.linalg.norm(run.dY, axis=-1))
        and close(dot(run.X, run.dX), dot(run.Y, run.dY)), "Su et al. 2021, 3.4", cached="cos, sin (T, d_k/2)"),
    "MultiHeadAttention": Entry(
        lambda: nn.MultiHeadAttention(C, H, d_k=d_k, d_v=d_v), ((B, T, C),),
        ("N H T (2 d_k + 2 d_v + 6)", "N H T (4 d_k + 4 d_v + 3)"),
        "each row of dS sums to 0, and dS is 0 behind the mask; Σ Q dQ = Σ K dK per head; the key bias has gradient 0",
        columns_agree, "Vaswani et al. 2017, 3.2; Dao et al. 2022, B"),
    "FeedForward": Entry(
        lambda: nn.FeedForward(C, F), ((B, T, C),), ("0", "0"),
        "Σ W₂ dW₂ = Σ dY (Y - b₂)", linear_in_output, "Vaswani et al. 2017, 3.3"),
    "GatedFeedForward": Entry(
        lambda: nn.GatedFeedForward(C, F), ((B, T, C),), ("N F", "2 N F"),
        "linear in U: Σ U dU = Σ dY (Y - b₂)", linear_in_up, "Shazeer 2020, 2"),
    "TransformerBlock": Entry(
        lambda: block(C, H, F, d_k=d_k, d_v=d_v), ((B, T, C),), ("2 N C", "2 N C"),
        "with LayerNorm, each row of dX has the same sum as the row of dY",
        lambda run: close(run.dX.sum(-1), run.dY.sum(-1)), "pre-norm: Radford et al. 2019, 2.3"),
    "LoRALinear": Entry(
        lambda: nn.LoRALinear(nn.Linear(d_in, d_out), r), ((B, T, d_in),),
        ("2 N r (d_in + d_out) + N (r + d_out)", "4 N r (d_in + d_out) + N (r + d_in)"),
        "Σ A dA = Σ B dB", lambda run: close(dot(run.layer.A, run.layer.dA), dot(run.layer.B, run.layer.dB)),
        "Hu et al. 2021, 4.1"),
}  # fmt: skip


class Row(NamedTuple):
    """A layer on the sheet. Each field is a list of short lines."""

    name: str
    forward: tuple
    backward: tuple
    shapes: list  # of input, output and parameters
    cached: list
    flops: list  # of forward, and of backward
    invariant: str
    source: str
    cases: str


def rows():
    """The sheet: a Row for each layer, in the order of the chapters."""
    return [row(name) for name in SHEET]


def row(name):
    entry = SHEET[name]
    layer = entry.make()
    before, inputs = arrays(layer), given(entry, np.random.default_rng(0))
    with trace(layer) as traced:
        layer(*inputs)
    record = next(iter(traced))
    made = {key: array for key, array in arrays(layer).items() if array is not before.get(key)}
    shapes = [f"{'ids' if isinstance(entry.inputs[0], list) else 'X'} {letters(record.input_shape)}",
              f"{'Y ' + letters(record.output_shape) if record.output_shape else 'L: a number'}",
              *(f"{entry.table or key} {letters(array.shape)}" for key, array in layer.params().items()
                if "." not in key)]
    return Row(name, layer.formula.forward, (*layer.formula.backward, *entry.more), shapes, cached(entry, made, record),
               list(compared(entry, layer, inputs[0].shape)), entry.invariant, entry.source, cases(name))


def given(entry, rng):
    """The inputs of a layer: random numbers, and small integers."""
    return [rng.integers(0, 3, shape) if isinstance(shape, list) else rng.standard_normal(shape).astype(np.float32)
            for shape in entry.inputs]


def arrays(layer):
    """The arrays that a layer holds itself, without parameters and their gradients."""
    own = {key for key in layer.params() if "." not in key}
    return {key: value for key, value in list(vars(layer).items())
            if key not in own and not (key[0] == "d" and key[1:] in own) and held(value)}


def held(value):
    """The bytes of an array, or of those in a list."""
    if isinstance(value, list | tuple):
        return sum(map(held, value))
    return value.nbytes if isinstance(value, np.ndarray) else 0


def cached(entry, made, record):
    """The names and shapes of the cached arrays. Raises ValueError if their bytes are not those that `trace` counts."""
    if entry.cached:
        return [entry.cached]
    if sum(map(held, made.values())) != record.cached:
        raise ValueError(f"{record.kind} caches {record.cached} bytes, its arrays {list(made)} have others")
    found = [f"{key} {letters(first(value).shape)}" for key, value in made.items()]
    return found or ["what the layers inside cache"]


def first(value):
    return first(value[0]) if isinstance(value, list | tuple) else value


def letters(shape):
    """A shape in letters. An axis of length 1 before the last is left out."""
    return "(" + ", ".join(LETTERS[size] for i, size in enumerate(shape) if size > 1 or i == len(shape) - 1) + ")"


def compared(entry, layer, shape):
    """The FLOPs as terms. Raises ValueError if a term is not what the layer's `cost` says."""
    cost = cost_of(layer, Call(shape))
    for term, number in zip(entry.flops, (cost.forward, cost.backward), strict=True):
        if worked_out(term) != number:
            raise ValueError(f"{type(layer).__name__}: {term} is {worked_out(term)} FLOPs, its cost says {number}")
        yield "only the layers inside" if term == "0" and cost.children else term


def worked_out(term):
    return eval(re.sub(r"(?<=[\w)]) +(?=[\w(])", "*", term), {}, SIZES)


def cases(name):
    """How many configurations and entries finite differences check."""
    found = [(make, inputs) for layer, _, make, inputs in gradient_cases() if layer == name]
    entries = sum(math.prod(array.shape) for make, inputs in found
                  for array in [*make().params().values(), *(X for X in inputs if X.dtype.kind == "f")])
    return f"{len(found)} cases, {entries:,} entries"
