"""Threads that share clipping and updates give what one thread gives, to the bit."""

import numpy as np
import pytest

from numpygpt.nn import Linear
from numpygpt.optim import SGD, Adam, AdamW, clip_grad_norm
from numpygpt.parallel.threads import DataParallel

MAKERS = {"SGD": lambda m: SGD(m, 0.1, 0.9), "Adam": Adam, "AdamW": lambda m: AdamW(m, 0.01, weight_decay=0.1)}


def large():
    """150,000 parameters, more than two cache-sized pieces; gradients of order one."""
    model = Linear(300, 500, rng=0)
    model.dW[...] = np.random.default_rng(1).standard_normal(model.dW.shape)
    model.db[...] = 3
    return model


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_updates_are_those_of_one_thread(make, workers):
    alone, model = large(), large()
    optimizer = make(alone)
    with DataParallel(model, workers) as parallel:
        shared = make(model)
        for _ in range(3):
            optimizer.step()
            shared.step(parallel.map_slices)
    assert shared.steps == 3
    np.testing.assert_array_equal(model.flat().params, alone.flat().params)
    assert not np.array_equal(model.W, large().W)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_clipping_is_that_of_one_thread(workers):
    alone, model = large(), large()
    norm = clip_grad_norm(alone, 1.0)
    with DataParallel(model, workers) as parallel:
        assert clip_grad_norm(model, 1.0, parallel.map_slices) == norm
    # 150,000 squares of mean 1 and 500 of 9; pieces of 65,536 squares are summed in float32.
    assert norm == pytest.approx(float(np.linalg.norm(large().flat().grads.astype("float64"))), rel=1e-5)
    np.testing.assert_array_equal(model.flat().grads, alone.flat().grads)
    assert np.linalg.norm(model.flat().grads) == pytest.approx(1, rel=1e-5)
