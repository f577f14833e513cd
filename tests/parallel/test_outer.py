"""Ranks that train apart: the outer step, against the formula written out."""

import numpy as np
import pytest

from numpygpt.parallel.outer import LR, MOMENTUM, Outer
from numpygpt.parallel.threads import DataParallel


@pytest.mark.parametrize("workers", [1, 2])
def test_outer_steps_are_those_of_nesterovs_momentum(workers, make_gpt, normal):
    model = make_gpt()
    with DataParallel(model, workers, apart=True) as parallel:
        outer, params = Outer(parallel), parallel.flat.params
        anchor, velocity = params.copy(), np.zeros_like(params)
        for moved in normal(4, params.size):
            params += moved
            outer.step()
            velocity = MOMENTUM * velocity - moved
            anchor = anchor - LR * (MOMENTUM * velocity - moved)
            np.testing.assert_allclose(params, anchor, rtol=1e-12, atol=1e-12)


def test_an_outer_step_without_training_only_follows_the_velocity(make_gpt):
    model = make_gpt()
    parallel = DataParallel(model, 1, apart=True)
    outer, before = Outer(parallel), parallel.flat.params.copy()
    outer.step()
    np.testing.assert_array_equal(parallel.flat.params, before)
    parallel.flat.params[...] += 1
    outer.step()
    once = parallel.flat.params.copy()
    outer.step()  # nobody has moved: v is 0.9 of before, and the step is 0.9 of that again
    np.testing.assert_allclose(parallel.flat.params - once, LR * MOMENTUM**2, rtol=1e-9)


def test_frozen_parameters_stay(make_gpt):
    model = make_gpt()
    model.blocks[0].requires_grad_(False)
    frozen = {name: param.copy() for name, param in model.named_parameters() if name.startswith("blocks.0.")}
    parallel = DataParallel(model, 1, apart=True)
    outer = Outer(parallel)
    for run in parallel.flat.runs():
        parallel.flat.params[run] += 1
    outer.step()
    now = dict(model.named_parameters())
    assert frozen and all(np.array_equal(now[name], param) for name, param in frozen.items())
    assert not np.array_equal(outer.velocity, np.zeros_like(outer.velocity))
