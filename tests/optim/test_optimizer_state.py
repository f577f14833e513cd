"""An optimiser's state goes on to the bit where it stopped, and does not fit another model or optimiser."""

import numpy as np
import pytest

from numpygpt.nn import FeedForward, Linear
from numpygpt.optim import SGD, Adam, AdamW

MAKERS = {
    "SGD": lambda model: SGD(model, 0.1), "momentum": lambda model: SGD(model, 0.1, 0.9),
    "Adam": lambda model: Adam(model, 0.01), "AdamW": lambda model: AdamW(model, 0.01, weight_decay=0.1),
}


def train(model, optimizer, steps):
    for step in steps:
        rng = np.random.default_rng(step)
        for grad in model.grads().values():
            grad[...] = rng.standard_normal(grad.shape)
        optimizer.step()


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_restored_run_goes_on_to_the_bit(make):
    model, other = FeedForward(2, 3, rng=0), FeedForward(2, 3, rng=1)
    optimizer = make(model)
    train(model, optimizer, range(3))
    restored = make(other)
    other.load_state_dict(model.state_dict())
    restored.load_state_dict(optimizer.state_dict())
    assert restored.steps == 3
    train(model, optimizer, range(3, 6))
    train(other, restored, range(3, 6))
    np.testing.assert_array_equal(other.flat().params, model.flat().params)


@pytest.mark.parametrize(("make", "moments"), [("SGD", []), ("momentum", ["velocity"]), ("AdamW", ["m", "v"])])
def test_a_state_has_each_moment_by_the_names_of_the_parameters(make, moments):
    model = FeedForward(2, 3, rng=0)
    state = MAKERS[make](model).state_dict()
    assert list(state) == ["steps", *moments] and state["steps"] == 0
    for moment in moments:
        assert {name: m.shape for name, m in state[moment].items()} == {n: p.shape for n, p in model.params().items()}


def test_a_state_is_a_copy():
    model = Linear(2, 2, rng=0)
    optimizer = Adam(model)
    state = optimizer.state_dict()
    train(model, optimizer, [0])
    assert state["steps"] == 0 and not state["m"]["W"].any()


def test_the_state_of_another_optimiser_is_refused():
    with pytest.raises(ValueError, match="Adam.*m.*v"):
        Adam(Linear(2, 2)).load_state_dict(SGD(Linear(2, 2)).state_dict())
    with pytest.raises(ValueError, match="m.*v.*SGD.*velocity"):
        SGD(Linear(2, 2), momentum=0.5).load_state_dict(Adam(Linear(2, 2)).state_dict())
    with pytest.raises(ValueError, match="SGD"):
        SGD(Linear(2, 2)).load_state_dict({})


@pytest.mark.parametrize("other", [Linear(2, 3), Linear(2, 2, bias=False), FeedForward(2, 2)])
def test_the_state_of_another_model_is_refused(other):
    with pytest.raises(ValueError, match="m"):
        Adam(Linear(2, 2)).load_state_dict(Adam(other).state_dict())


def test_an_optimiser_whose_parameters_were_moved_says_so():
    model = Linear(2, 2, rng=0)
    optimizer = SGD(model)
    model.astype("float64")
    before = model.state_dict()
    with pytest.raises(RuntimeError, match="moved"):
        optimizer.step()
    np.testing.assert_array_equal(model.W, before["W"])
    SGD(model).step()


def test_an_optimiser_of_a_part_notices_that_the_whole_got_one():
    network = FeedForward(2, 3)
    part = SGD(network.fc)
    whole = SGD(network)
    whole.step()
    with pytest.raises(RuntimeError):
        part.step()


def test_two_optimisers_of_one_model_may_follow_each_other():
    model = Linear(2, 2, rng=0)
    first = SGD(model, lr=1.0)
    second = Adam(model)
    assert first.flat is second.flat
    model.dW[...] = 1
    before = model.state_dict()
    first.step()
    np.testing.assert_array_equal(model.W, before["W"] - 1)
