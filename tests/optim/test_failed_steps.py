"""A step that fails half-way is not followed by another as if nothing had been; one that changed nothing may be."""

import numpy as np
import pytest

from numpygpt import nn
from numpygpt.optim import SGD, AdamW
from numpygpt.parallel.threads import DataParallel


@pytest.fixture(params=[0, 2])
def made(request, make_gpt, make_batch, monkeypatch):
    monkeypatch.setattr("numpygpt.optim.optimizer.CACHE_ENTRIES", 200)  # several slices
    model = make_gpt()
    parallel = DataParallel(model, request.param) if request.param else None
    model.loss(*make_batch())
    model.backward()
    yield model, AdamW(parallel or model, 0.01)
    if parallel:
        parallel.close()


def test_a_half_updated_model_is_refused_until_its_state_is_loaded(made):
    model, optimizer = made
    optimizer.step()
    params, state = model.state_dict(), optimizer.state_dict()
    last, update = list(optimizer.slices())[-1], optimizer.update

    def fail(s):
        if s == last:
            raise MemoryError
        update(s)

    optimizer.update = fail
    with pytest.raises(MemoryError):
        optimizer.step()
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


def test_a_step_that_changed_nothing_does_not_count(made, monkeypatch):
    _, optimizer = made
    with monkeypatch.context() as patch:
        patch.setattr("numpygpt.optim.optimizer.share", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            optimizer.step()
    assert optimizer.steps == 0
    optimizer.step()
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
