"""What Module gives every layer: finding parameters, live arrays, modes, printing."""

import numpy as np
import pytest

from numpygpt.nn import Dropout, FeedForward, LayerNorm, Linear, Module, ReLU
from numpygpt.optim import SGD


class Pair(Module):
    """Two layers in a list, one of them used under a second name as well."""

    def __init__(self):
        self.layers = [Linear(2, 3, rng=0), Linear(3, 2, bias=False, rng=1)]
        self.again = self.layers[0]


def test_a_parameter_is_registered_in_one_line_with_its_gradient():
    module = Module()
    module.param("g", np.ones(3, np.float32))
    assert module.g.tolist() == [1, 1, 1] and module.dg.tolist() == [0, 0, 0]
    assert module.dg.dtype == np.float32
    assert list(module.params()) == list(module.grads()) == ["g"]


def test_parameters_are_found_in_lists_and_named_by_dots_once_each():
    pair = Pair()
    assert list(pair.params()) == ["layers.0.W", "layers.0.b", "layers.1.W"]
    assert [name for name, _ in pair.named_modules()] == ["", "layers.0", "layers.1"]
    assert pair.n_params() == 2 * 3 + 3 + 3 * 2


def test_params_and_grads_are_the_arrays_themselves():
    layer = Linear(2, 3, rng=0)
    assert layer.params()["W"] is layer.W and layer.grads()["W"] is layer.dW
    layer.params()["b"] -= 1
    assert layer.b.tolist() == [-1, -1, -1]


def test_the_learners_update_trains_a_lone_layer(normal):
    layer, X = Linear(3, 1, rng=0, dtype="float64"), normal(20, 3)
    Y = X @ [[1.0], [-2.0], [0.5]] + 3
    for _ in range(200):
        layer.zero_grad()
        layer.backward(2 * (layer(X) - Y) / len(X))
        for name, param in layer.params().items():
            param -= 0.2 * layer.grads()[name]
    np.testing.assert_allclose(layer.W[:, 0], [1, -2, 0.5], atol=1e-6)
    assert layer.b[0] == pytest.approx(3, abs=1e-6)


def test_assigning_to_a_parameter_writes_into_its_array():
    layer = Linear(2, 2, rng=0)
    array, grad = layer.W, layer.dW
    layer.W = [[1, 2], [3, 4]]
    layer.dW = np.ones((2, 2))
    layer.W += 1
    assert layer.W is array and layer.dW is grad
    assert array.tolist() == [[2, 3], [4, 5]] and grad.tolist() == [[1, 1], [1, 1]]
    assert array.dtype == np.float32


@pytest.mark.parametrize("value", [np.zeros(2), np.zeros((2, 3)), 0.0])
def test_assigning_another_shape_is_an_error_and_changes_nothing(value):
    layer = Linear(2, 2, rng=0)
    before = layer.W.copy()
    with pytest.raises(ValueError, match=r"Linear.*W.*\(2, 2\)"):
        layer.W = value
    np.testing.assert_array_equal(layer.W, before)


def test_gradients_accumulate_until_they_are_cleared(normal):
    layer, X, dY = Linear(3, 2, rng=0, dtype="float64"), normal(4, 3), normal(4, 2)
    layer(X)
    layer.backward(dY)
    once = layer.dW.copy()
    layer.backward(dY)
    np.testing.assert_array_equal(layer.dW, 2 * once)
    layer.zero_grad()
    assert not layer.dW.any() and not layer.db.any()


def test_modes_reach_every_module_and_return_the_module():
    network = FeedForward(2, 3, dropout=0.5)
    assert network.training and network.dropout.training
    assert network.eval() is network
    assert not any(module.training for _, module in network.named_modules())
    assert network.train() is network
    assert all(module.training for _, module in network.named_modules())


def test_generators_are_found_by_name_and_a_shared_one_once():
    rng = np.random.default_rng(0)
    module = Module()
    module.first, module.second = Dropout(0.1, rng=rng), Dropout(0.1, rng=rng)
    assert module.generators() == {"first.rng": rng}


def test_repr_shows_the_tree():
    assert repr(Linear(2, 3, bias=False)) == "Linear(2, 3, bias=False)"
    assert repr(LayerNorm(4)) == "LayerNorm(4)"
    assert repr(FeedForward(2, 3, activation=ReLU(), dropout=0.1)).splitlines() == [
        "FeedForward(", "  (fc): Linear(2, 3)", "  (act): ReLU()", "  (proj): Linear(3, 2)",
        "  (dropout): Dropout(0.1)", ")"]


@pytest.mark.parametrize("method", ["forward", "backward"])
def test_a_layer_without_a_method_says_which(method):
    with pytest.raises(NotImplementedError, match=method):
        getattr(Module(), method)()


def test_parameters_stay_reachable_by_attribute_after_an_optimiser_moved_them():
    layer = Linear(2, 2, rng=0)
    before = layer.W.copy()
    optimizer = SGD(layer, lr=1.0)
    np.testing.assert_array_equal(layer.W, before)
    layer.dW[...] = 1
    optimizer.step()
    np.testing.assert_array_equal(layer.params()["W"], before - 1)
    assert layer.params()["W"] is layer.W


def test_modules_in_dicts_and_nested_lists_are_found():
    class Holder(Module):
        def __init__(self):
            self.parts = {"a": Linear(2, 2, rng=0), "b": [Linear(2, 2, rng=1), [Linear(2, 2, rng=2)]]}

    names = set(Holder().params())
    assert names == {f"parts.{place}.{p}" for place in ("a", "b.0", "b.1.0") for p in "Wb"}


def test_a_parameter_is_registered_once():
    layer = Linear(2, 2, rng=0)
    with pytest.raises(ValueError, match="Linear.*'W'"):
        layer.param("W", layer.W)
