"""A module's state: saved as copies, loaded strictly, converted, laid out contiguously, shared with replicas."""

import numpy as np
import pytest

from numpygpt.nn import Dropout, FeedForward, LayerNorm, Linear, ReLU, SinusoidalEncoding


def network(seed=0, dtype="float32"):
    return FeedForward(2, 3, rng=seed, dtype=dtype)


def test_a_state_comes_back_into_the_same_arrays():
    one, two = network(0), network(1)
    arrays = two.params()
    two.load_state_dict(one.state_dict())
    for name, param in one.params().items():
        np.testing.assert_array_equal(two.params()[name], param)
        assert two.params()[name] is arrays[name]


def test_a_state_is_a_copy():
    model = network()
    state = model.state_dict()
    model.fc.W += 1
    assert not np.array_equal(state["fc.W"], model.fc.W)


def test_loading_lists_every_problem_at_once_and_copies_nothing():
    model = network()
    before, state = model.state_dict(), network(1).state_dict()
    del state["proj.b"]
    state["extra.W"] = np.zeros(2)
    state["fc.b"] = np.zeros(4)
    state["fc.W"] = np.zeros((3, 2))
    with pytest.raises(ValueError) as error:
        model.load_state_dict(state)
    for value in ("FeedForward", "missing proj.b", "unexpected extra.W", "(3, 2)", "(2, 3)", "(4,)", "(3,)"):
        assert value in str(error.value)
    for name, param in model.params().items():
        np.testing.assert_array_equal(param, before[name])


def test_loading_keeps_the_dtype_of_the_module():
    model = network()
    model.load_state_dict({name: param.astype(np.float64) for name, param in network(1).params().items()})
    assert {param.dtype for param in model.params().values()} == {np.dtype("float32")}


def test_astype_converts_parameters_gradients_and_constants():
    model, positions = network(), SinusoidalEncoding(4, 2)
    before = model.state_dict()
    model.fc.dW += 1
    assert model.astype("float64") is model
    positions.astype(np.float64)
    assert positions.P.dtype == np.float64
    for name, param in model.params().items():
        assert param.dtype == model.grads()[name].dtype == np.float64
        np.testing.assert_array_equal(param, before[name])
    assert (model.fc.dW == 1).all()


def test_both_precisions_start_from_the_same_weights():
    single, double = network().params(), network(dtype="float64").params()
    for name, param in double.items():
        assert param.dtype == np.float64
        np.testing.assert_array_equal(param.astype(np.float32), single[name], err_msg=name)


def test_the_flat_layout_has_the_matrices_first_and_keeps_values():
    model = network()
    model.proj.b[...] = [5, 6]
    model.proj.dW[...] = 7
    before = model.state_dict()
    flat = model.flat()
    assert list(flat.layout) == ["fc.W", "proj.W", "fc.b", "proj.b"]
    assert flat.n_matrix == 2 * 3 + 3 * 2 and len(flat.params) == len(flat.grads) == 17 == model.n_params()
    np.testing.assert_array_equal(flat.params, np.concatenate([before[name].ravel() for name in flat.layout]))
    assert flat.params[-2:].tolist() == [5, 6]
    assert (flat.grads[6:12] == 7).all() and not flat.grads[:6].any() and not flat.grads[12:].any()


def test_the_layers_arrays_are_views_of_the_flat_ones():
    model = network()
    flat = model.flat()
    flat.params[:] = np.arange(17)
    assert model.fc.W.tolist() == [[0, 1, 2], [3, 4, 5]] and model.proj.b.tolist() == [15, 16]
    model.fc.W = np.zeros((2, 3))
    assert not flat.params[:6].any()
    model.fc.dW += 2
    assert (flat.grads[:6] == 2).all()
    for views, arrays in ((flat.views(flat.params), model.params()), (flat.views(flat.grads), model.grads())):
        assert all(np.shares_memory(views[name], arrays[name]) for name in flat.layout)


def test_the_flat_arrays_are_made_once_and_anew_after_astype():
    model = network()
    assert model.flat() is model.flat()
    old = model.flat()
    model.astype("float64")
    assert model.flat() is not old and model.flat().params.dtype == np.float64


def test_a_module_without_parameters_has_nothing_to_lay_out():
    with pytest.raises(ValueError, match="ReLU"):
        ReLU().flat()


def test_a_replica_shares_parameters_and_has_its_own_gradients_and_generators():
    model = FeedForward(2, 3, dropout=0.5, rng=0)
    twin = model.replica()
    X = np.ones((40, 2), np.float32)
    assert all(np.shares_memory(twin.params()[name], param) for name, param in model.params().items())
    assert not any(np.shares_memory(twin.grads()[name], grad) for name, grad in model.grads().items())
    assert twin.dropout.rng is not model.dropout.rng
    model.proj.b[...] = 1  # 0 behind dropout can then only come from dropout
    assert not np.array_equal(twin(X) == 0, model(X) == 0), "the twin draws another mask"
    twin.backward(np.ones((40, 2), np.float32))
    assert twin.flat().grads.any() and not model.flat().grads.any()
    model.fc.W[...] = 3
    assert (twin.fc.W == 3).all()


def test_a_replica_shares_constants_and_keeps_the_mode():
    model = FeedForward(2, 3).eval()
    model.positions = SinusoidalEncoding(4, 2)
    twin = model.replica()
    assert twin.positions.P is model.positions.P
    assert not twin.training


def test_replicas_made_from_the_same_seed_draw_the_same_masks():
    masks = []
    for _ in range(2):
        model = FeedForward(2, 3, dropout=0.5, rng=0)
        twin = model.replica()
        twin(np.ones((40, 2), np.float32))
        masks.append(twin.dropout.mask)
    np.testing.assert_array_equal(*masks)


def test_a_bias_that_was_left_out_is_no_parameter():
    assert list(Linear(2, 3, bias=False).params()) == ["W"]
    assert list(LayerNorm(2, bias=False).params()) == ["gamma"]
    assert Dropout(0.1).params() == {}
