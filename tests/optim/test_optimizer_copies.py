"""A copied optimiser steps its own copied model, as the original would have stepped the original."""

import copy
import pickle

import numpy as np
import pytest

from numpygpt.models import GPT
from numpygpt.nn import Linear, Module
from numpygpt.optim import SGD, Adam, AdamW
from numpygpt.optim.lr_scheduler import WarmupCosineLR

MAKERS = {"SGD": lambda m: SGD(m, 0.1), "momentum": lambda m: SGD(m, 0.1, 0.9), "Adam": lambda m: Adam(m, 1e-2),
          "AdamW": lambda m: AdamW(m, 1e-2, weight_decay=0.1)}
COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda m: pickle.loads(pickle.dumps(m))}
copies = pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)


def gpt():
    return GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=1, dropout=0.2, seed=1)


def train(model, optimizer, steps=2):
    for i in range(steps):
        x, y = np.random.default_rng(i).integers(0, 11, (2, 4, 6))
        model.loss(x, y)
        model.backward()
        optimizer.step()
        optimizer.zero_grad()


@copies
@pytest.mark.parametrize("optimizer", MAKERS.values(), ids=MAKERS)
def test_a_copied_optimiser_goes_on_to_the_bit_with_its_own_model(optimizer, make):
    model = gpt()
    optimizer = optimizer(model)
    train(model, optimizer)
    before = model.state_dict()
    other = make(optimizer)
    assert other.steps == 2 and other.lr == optimizer.lr and other.model is not model
    train(other.model, other)
    for name, param in model.params().items():
        np.testing.assert_array_equal(param, before[name])
    train(model, optimizer)
    np.testing.assert_array_equal(other.flat.params, model.flat().params)
    for moment in optimizer.moments:
        np.testing.assert_array_equal(getattr(other, moment), getattr(optimizer, moment))


@pytest.mark.parametrize("together", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))],
                         ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("order", [1, -1])
def test_copied_together_they_belong_together(order, together):
    model = gpt()
    optimizer = AdamW(model, 1e-2)
    schedule = WarmupCosineLR(optimizer, 1, 5)
    train(model, optimizer)
    new = together([model, optimizer, schedule][::order])[::order]
    assert new[1].model is new[0] and new[2].optimizer is new[1] and new[1].flat is new[0].flat()
    before = new[0].state_dict()
    train(new[0], new[1])
    new[2].step()
    assert not np.array_equal(new[0].wte.W, before["wte.W"]) and np.array_equal(model.wte.W, before["wte.W"])
    assert new[1].lr != optimizer.lr or new[2].current == 1


@pytest.mark.parametrize("order", [1, -1])
def test_the_optimiser_of_a_part_copied_with_the_whole(order):
    model = gpt()
    optimizer = AdamW(model.blocks[0], 1e-2)
    train(model, optimizer)
    model2, optimizer2 = copy.deepcopy([model, optimizer][::order])[::order]
    train(model2, optimizer2)
    train(model, optimizer)
    np.testing.assert_array_equal(model2.flat().params, model.flat().params)
    part = copy.deepcopy(optimizer)  # without the whole: a compact copy of the part
    assert part.flat.params.size == model.blocks[0].n_params() == part.m.size
    part.step()


def test_a_model_that_holds_its_optimiser_can_be_copied():
    model = Linear(2, 2, rng=0)
    model.optimizer = AdamW(model, 0.1)
    model.dW += 1
    twin = copy.deepcopy(model)
    for m in (model, twin):
        m.optimizer.step()
    assert twin.optimizer.model is twin
    np.testing.assert_array_equal(twin.W, model.W)


def test_a_copy_of_a_copy_that_was_never_used():
    model = Linear(2, 2, rng=0)
    optimizer = Adam(model, 0.1)
    model.dW += 1
    optimizer.step()
    twin = copy.deepcopy(copy.deepcopy(optimizer))
    np.testing.assert_array_equal(twin.v, optimizer.v)
    assert twin.v is not optimizer.v


def test_an_optimiser_whose_model_was_moved_is_not_copied():
    model = Linear(2, 2, rng=0)
    optimizer = SGD(model, momentum=0.9)
    model.astype("float64")
    with pytest.raises(RuntimeError, match="moved"):
        copy.deepcopy(optimizer)


def test_moments_of_a_part_are_the_parts():
    class Outer(Module):
        def __init__(self):
            self.first, self.second = Linear(2, 2, rng=0), gpt()

    outer = Outer()
    whole = AdamW(outer)
    part = Adam(outer.first)
    assert set(part.state_dict()["m"]) == {"W", "b"}
    part.load_state_dict(Adam(Linear(2, 2)).state_dict())
    part.step()
    whole.step()
