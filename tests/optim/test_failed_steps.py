"""A step that fails half-way is not followed by another as if nothing had been; one that changed nothing may be."""

import numpy as np
import pytest

from numpygpt import nn
from numpygpt.optim import SGD, AdamW
from numpygpt.optim.optimizer import one_thread
from numpygpt.parallel.threads import DataParallel


@pytest.fixture(params=[0, 2])
def made(request, make_gpt, make_batch, monkeypatch):
    """A model with gradients, its optimiser, and how that maps its slices: with one thread, or with two."""
    monkeypatch.setattr("numpygpt.optim.optimizer.CACHE_ENTRIES", 200)  # several slices
    model = make_gpt()
    parallel = DataParallel(model, request.param) if request.param else None
    model.loss(*make_batch())
    model.backward()
    yield model, AdamW(model, 0.01), parallel.map_slices if parallel else one_thread
    if parallel:
        parallel.close()


def test_a_half_updated_model_is_refused_until_its_state_is_loaded(made):
    model, optimizer, shared = made
    optimizer.step(shared)
    params, state = model.state_dict(), optimizer.state_dict()
    (last, _), update = optimizer.slices()[-1], optimizer.update

    def fail(s, group):
        if s == last:
            raise MemoryError
        update(s, group)

    optimizer.update = fail
    with pytest.raises(MemoryError):
        optimizer.step(shared)
    del optimizer.update
    changed = model.flat().params.copy()
    with pytest.raises(RuntimeError, match="step"):
        optimizer.step()
    np.testing.assert_array_equal(model.flat().params, changed)
    model.load_state_dict(params)
    optimizer.load_state_dict(state)
    optimizer.step()
    right = model.state_dict()
    model.load_state_dict(params)
    optimizer.load_state_dict(state)
    optimizer.step()
    assert all(np.array_equal(param, right[name]) for name, param in model.params().items())


def test_a_step_that_changed_nothing_does_not_count(made):
    _, optimizer, shared = made
    with pytest.raises(ZeroDivisionError):
        optimizer.step(lambda *_: 1 / 0)
    assert optimizer.steps == 0
    optimizer.step(shared)
    assert optimizer.steps == 1


class Pair(nn.Module):
    def __init__(self, left, right):
        self.left, self.right = left, right


def test_a_refused_step_moves_nothing():
    """Two modules share a layer: its arrays are those of the module whose optimiser was made last."""
    shared = nn.Linear(3, 3, rng=0)
    one, two = Pair(shared, nn.Linear(3, 3, rng=1)), Pair(shared, nn.Linear(3, 3, rng=2))
    stale, optimizer = SGD(one), SGD(two)
    params = shared.W
    with pytest.raises(RuntimeError):
        stale.step()
    optimizer.step()
    assert shared.W is params
