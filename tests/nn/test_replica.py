"""A twin shares the parameters and nothing else that a forward pass writes."""

from collections import namedtuple

import numpy as np
import pytest

from numpygpt import nn
from numpygpt.nn.replica import evaluation, is_patched, replica


def test_what_trains_the_model_trains_the_twin(make_gpt, make_batch):
    model, (x, _) = make_gpt(), make_batch()
    reader = replica(model)
    model.wte.W[...] = 0.5
    model.flat().params[-3:] += 1
    np.testing.assert_array_equal(reader(x)[0], model(x)[0])


def test_tied_heads_and_shared_modules_stay_shared(make_gpt):
    reader = replica(make_gpt())
    assert reader.head.embedding is reader.wte and reader.head_loss.head is reader.head
    assert replica(make_gpt(tie_weights=False)).head.embedding is not reader.wte


def test_a_forward_in_the_twin_leaves_every_attribute_of_the_model(make_gpt, make_batch):
    model, (x, y) = make_gpt(dropout=0.5), make_batch()
    model.loss(x, y)
    before = [(module, dict(vars(module))) for _, module in model.named_modules()]
    states = {name: rng.bit_generator.state for name, rng in model.generators().items()}
    reader = replica(model)
    reader.loss(x[:1], y[:1])
    assert reader.generators().keys() == states.keys()
    for module, attributes in before:
        assert vars(module).keys() == attributes.keys()
        assert all(vars(module)[name] is value for name, value in attributes.items())
    assert {name: rng.bit_generator.state for name, rng in model.generators().items()} == states
    reader.eval()
    assert all(module.training for _, module in model.named_modules())


def test_the_twins_generators_draw_what_the_models_would_draw(make_gpt, make_batch):
    model, (x, y) = make_gpt(dropout=0.5), make_batch()
    reader = replica(model)
    assert reader.loss(x, y) == model.loss(x, y)


def test_with_gradients_of_its_own_a_twin_goes_back_too(make_gpt, make_batch):
    model, other, (x, y) = make_gpt(), make_gpt(), make_batch()
    reader = replica(model)
    for each in (reader, other):
        each.loss(x, y)
        each.backward()
    np.testing.assert_array_equal(reader.flat().grads, other.flat().grads)
    assert not model.flat().grads.any() and reader.flat().params is model.flat().params


class Buffered(nn.Module):
    """Y = 2 X + table, written into arrays that are used again: one made in __init__, one by the first forward."""

    def __init__(self, table):
        self.room, self.late, self.table = np.zeros(3, np.float32), None, table

    def forward(self, X):
        if self.late is None:
            self.late = np.empty(3, np.float32)
        np.multiply(X, 2, out=self.room)
        return np.add(self.room, self.table, out=self.late)


def test_a_twin_writes_into_no_buffer_of_the_module():
    model = nn.FeedForward(3, rng=0)
    model.fc = inner = nn.Linear(3, 3, rng=0)
    model.flat()  # afterwards the arrays stay where they are
    model.act = Buffered(inner.b)
    Y = model.act(np.ones(3, np.float32))
    reader = replica(model)
    assert reader.act.table is inner.b, "a parameter under another name is still the parameter"
    np.testing.assert_array_equal(reader.act(np.full(3, 5, np.float32)), [10, 10, 10])
    np.testing.assert_array_equal(Y, [2, 2, 2])
    np.testing.assert_array_equal(model.act.room, [2, 2, 2])


class Odd(nn.Module):
    """Modules in every container in which they are found, and one that refers to its parent."""

    Pair = namedtuple("Pair", "left right")

    def __init__(self):
        self.parts = {"a": [nn.Linear(2, 2, rng=0)], "b": (nn.ReLU(), self.Pair(nn.Linear(2, 2, rng=1), 3))}
        self.parts["a"][0].parent = self
        self.seen = []

    def forward(self, X):
        self.seen.append(X)
        return self.parts["b"][1].left(self.parts["b"][0](self.parts["a"][0](X)))


def test_containers_are_copied_with_their_modules():
    model, X = Odd(), np.ones((1, 2), np.float32)
    reader = replica(model)
    np.testing.assert_array_equal(reader(X), Odd()(X))
    assert model.seen == [] and len(reader.seen) == 1
    assert reader.parts["a"][0].parent is reader and reader.parts["b"][1].right == 3
    assert isinstance(reader.parts["b"][1], Odd.Pair)
    ours, theirs = ({id(m) for _, m in each.named_modules()} for each in (model, reader))
    assert len(ours) == len(theirs) == 4 and not ours & theirs


def test_methods_in_instances_are_bound_to_the_twin_and_functions_are_noticed():
    model = nn.FeedForward(4, rng=0)
    assert not is_patched(model)
    model.fc.forward = model.fc.forward
    assert not is_patched(model)
    reader = replica(model)
    reader(np.ones((1, 4), np.float32))
    assert reader.fc.forward.__self__ is reader.fc and not hasattr(model.fc, "X")
    model.act.forward = lambda X: X
    assert is_patched(model)


def test_evaluation_restores_mixed_modes_also_after_an_error(make_gpt):
    model = make_gpt()
    model.blocks[1].eval()
    modes = [module.training for _, module in model.named_modules()]
    with pytest.raises(KeyError), evaluation(model):
        assert not any(module.training for _, module in model.named_modules())
        raise KeyError
    assert [module.training for _, module in model.named_modules()] == modes and len(set(modes)) == 2
