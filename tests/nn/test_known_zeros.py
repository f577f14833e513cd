"""Gradients that are known to be zero are zero: to rounding where terms cancel, and exactly where nothing was used."""

import numpy as np
import pytest
from parts import PRODUCT, product_of

from numpygpt.nn import MultiHeadAttention
from numpygpt.nn.modules.normalization import LayerNorm
from numpygpt.verify.cases import gradient_cases
from numpygpt.verify.check import Comparison

CASES = {f"{layer}, {name}": (make, inputs) for layer, name, make, inputs in gradient_cases()}


def compared(name):
    make, inputs = CASES[name]
    return Comparison(make(), *inputs)


def with_key_bias():
    return [name for name, (make, _) in CASES.items()
            if any(isinstance(m, MultiHeadAttention) and product_of(m).bias and m.rotary is None
                   for _, m in make().named_modules())]  # a rotation makes the bias differ from token to token


@pytest.mark.parametrize("name", with_key_bias())
def test_the_key_bias_moves_nothing(name):
    """It adds one number to all scores of a row, and softmax does not see that. Backward finds it as a sum of terms
    that cancel: zero to rounding beside the biases of the queries and the values, which are of order one."""
    comparison = compared(name)
    got, found = comparison.got(), 0
    for prefix, module in comparison.twin.named_modules():
        if isinstance(module, MultiHeadAttention):
            db = got[f"{prefix}.{PRODUCT}.b" if prefix else f"{PRODUCT}.b"]
            k = module.n_heads * module.d_k
            v = k + module.n_kv_heads * module.d_k
            largest = np.abs(np.r_[db[:k], db[v:]]).max()
            assert np.abs(db[k:v]).max() < 1e-13 < 1e-2 * largest
            found += 1
    assert found


def test_every_configuration_of_attention_with_a_bias_is_among_them():
    assert len(with_key_bias()) >= 18


@pytest.mark.parametrize("name", ["GPT, tied, gelu, learned", "GPT, untied, relu, learned", "GPT, T below max_len",
                                  "GPT, chunked loss, tied", "Embedding, repeated ids",
                                  "Embedding, rank 1, each id once", "PositionalEmbedding, T below max_len",
                                  "PositionalEmbedding, from position 2"])
def test_what_was_not_used_gets_nothing(name):
    """Exactly: rows of ids and positions that do not occur keep the very bits that their gradient had before."""
    comparison = compared(name)
    _, inputs = CASES[name]
    unused = {}
    for tensor, param in comparison.twin.params().items():
        if tensor == "W" and name.startswith("Embedding"):
            unused[tensor] = np.setdiff1d(np.arange(len(param)), inputs[0])
        elif tensor == "wte.W" and "untied" in name:
            unused[tensor] = np.setdiff1d(np.arange(len(param)), inputs[0])
        elif tensor.endswith("wpe.W") or name.startswith("PositionalEmbedding"):
            start = int(inputs[1]) if name.endswith("position 2") else 0
            T = inputs[0].shape[1]
            unused[tensor] = np.setdiff1d(np.arange(len(param)), np.arange(start, start + T))
    assert unused
    for tensor, rows in unused.items():
        assert not comparison.got()[tensor][rows].any()
        others = np.setdiff1d(np.arange(len(comparison.tensors[tensor])), rows)
        assert comparison.got()[tensor][others].any(axis=1).all(), "and the others get something"


@pytest.mark.parametrize("name", ["CrossEntropyLoss, ignored targets", "LinearCrossEntropy, ignored targets",
                                  "LinearCrossEntropy, chunks of 3 rows"])
def test_a_row_whose_target_is_ignored_gets_nothing(name):
    ignored = CASES[name][1][1] == -1
    dX = compared(name).got()["X0"]
    assert ignored.any() and not dX[ignored].any() and dX[~ignored].any(axis=-1).all()


@pytest.mark.parametrize("name", ["Softmax, rank 1", "Softmax, rank 3", "CrossEntropyLoss, every target",
                                  "CrossEntropyLoss, ignored targets"])
def test_the_gradient_by_scores_sums_to_zero_in_each_row(name):
    """A number added to all scores of a row changes no probability."""
    dX = compared(name).got()["X0"]
    assert np.abs(dX.sum(axis=-1)).max() < 1e-14 < 1e-2 * np.abs(dX).max()


@pytest.mark.parametrize("name", [name for name, (make, _) in CASES.items() if isinstance(make(), LayerNorm)])
def test_layer_norm_does_not_see_a_shift_of_its_row(name):
    dX = compared(name).got()["X0"]
    assert np.abs(dX.sum(axis=-1)).max() < 1e-13 < 1e-2 * np.abs(dX).max()


@pytest.mark.parametrize("name", ["Dropout, fixed mask, p = 0.4", "Dropout, rank 2, p = 0.8"])
def test_what_dropout_dropped_gets_nothing(name):
    comparison = compared(name)
    comparison.run()
    kept = comparison.twin.mask != 0
    dX = comparison.got()["X0"]
    assert not dX[~kept].any() and dX[kept].all() and 0 < kept.sum() < kept.size
