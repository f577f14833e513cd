"""Optimisers of several modules, and of groups with learning rates and weight decays of their own."""

import copy

import numpy as np
import pytest

from numpygpt.nn import FeedForward, Linear
from numpygpt.optim import SGD, Adam, AdamW, clip_grad_norm
from numpygpt.optim.lr_scheduler import WarmupCosineLR
from numpygpt.parallel.threads import DataParallel


def with_gradients(model, seed=0):
    rng = np.random.default_rng(seed)
    for grad in model.grads().values():
        grad[...] = rng.standard_normal(grad.shape)
    return model


def test_a_group_learns_as_an_optimiser_of_its_own_would(make_gpt):
    model, alone = with_gradients(make_gpt()), with_gradients(make_gpt())
    before = model.state_dict()
    optimizer = AdamW([{"params": model.wte, "lr": 0.01}, {"params": [model.blocks[0], model.norm_f]},
                       {"params": (model, "wpe.W", "blocks.1.ffn"), "weight_decay": 0.3}], lr=0.02, weight_decay=0.1)
    parts = [AdamW(alone.wte, 0.01, weight_decay=0.1), AdamW(alone.blocks[0], 0.02, weight_decay=0.1),
             AdamW(alone.norm_f, 0.02, weight_decay=0.1), AdamW(alone.wpe, 0.02, weight_decay=0.3),
             AdamW(alone.blocks[1].ffn, 0.02, weight_decay=0.3)]
    for _ in range(3):
        optimizer.step()
        for part in parts:
            part.step()
    for name, param in model.params().items():
        np.testing.assert_allclose(param, alone.params()[name], rtol=1e-13, err_msg=name)
        moved = name.split(".")[0] in ("wte", "wpe", "norm_f") or name.startswith(("blocks.0.", "blocks.1.ffn."))
        assert moved != np.array_equal(param, before[name]), name


def test_one_group_of_everything_is_the_plain_optimiser_to_the_bit(make_gpt):
    one, two = with_gradients(make_gpt(dtype="float32")), with_gradients(make_gpt(dtype="float32"))
    plain, grouped = AdamW(one, 0.01), AdamW([{"params": two}], 0.01)
    for _ in range(3):
        plain.step()
        grouped.step()
    np.testing.assert_array_equal(one.flat().params, two.flat().params)
    assert plain.state_dict().keys() == grouped.state_dict().keys()
    assert plain.state_dict()["m"].keys() == grouped.state_dict()["m"].keys() == one.params().keys()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_list_of_modules_is_optimised_and_clipped_together(workers):
    first, second = (with_gradients(Linear(300, 400, rng=i), i) for i in range(2))
    norm = np.sqrt(sum(float((g.astype(float) ** 2).sum()) for m in (first, second) for g in m.grads().values()))
    optimizer = SGD([first, second], 0.5, 0.9)
    with DataParallel(first, workers) as parallel:
        assert clip_grad_norm([first, second], 1.0, parallel.map_slices) == pytest.approx(norm, rel=1e-6)
        before, grads = second.W.copy(), second.dW.copy()
        optimizer.step(parallel.map_slices)
    np.testing.assert_allclose(second.W, before - 0.5 * grads, rtol=1e-6)
    assert set(optimizer.state_dict()["velocity"]) == {"0.W", "0.b", "1.W", "1.b"}
    optimizer.zero_grad()
    assert not first.dW.any() and not second.db.any()


def test_parts_of_a_model_stay_in_its_arrays_and_the_rest_keeps_its_gradients(make_gpt):
    model = with_gradients(make_gpt())
    params = model.params()
    optimizer = SGD([model.blocks[1], model.norm_f], 0.1)
    optimizer.step()
    optimizer.zero_grad()
    assert all(model.params()[name] is param for name, param in params.items())
    assert model.wte.dW.any() and not model.norm_f.dgamma.any()


def test_a_schedule_changes_all_learning_rates_in_proportion():
    model = with_gradients(FeedForward(2, 3, rng=0, dtype="float64"))
    optimizer = SGD([{"params": model.fc, "lr": 0.02}, {"params": model.proj, "lr": 0.0}, ], lr=0.1)
    schedule = WarmupCosineLR(optimizer, 4, 10)
    for _ in range(2):
        before = model.state_dict()
        optimizer.step()
        np.testing.assert_allclose(before["fc.W"] - model.fc.W, 0.2 * optimizer.lr * model.fc.dW, rtol=1e-9)
        np.testing.assert_array_equal(before["proj.W"], model.proj.W)
        schedule.step()


def test_a_tied_table_and_a_frozen_parameter_in_groups(make_gpt):
    model = with_gradients(make_gpt()).requires_grad_(False, "wpe", "blocks.0")
    optimizer = Adam([{"params": [model.wte, model.head]}, {"params": [model.wpe, model.blocks[0], model.norm_f]}], 0.1)
    names = {name.rsplit(".", 1)[1] for name in optimizer.state_dict()["m"]}
    assert names == {"W", "gamma", "beta"}
    before = model.state_dict()
    optimizer.step()
    assert {name for name, param in model.params().items() if not np.array_equal(param, before[name])} <= {
        "wte.W", "norm_f.gamma", "norm_f.beta"}


def test_state_and_copies_keep_the_groups():
    def make(seed):
        model = FeedForward(2, 3, rng=seed)
        return model, AdamW([{"params": model.fc, "lr": 0.3}, {"params": model.proj, "weight_decay": 0}], 0.1)

    (model, optimizer), (other, restored) = make(0), make(1)
    with_gradients(model)
    optimizer.step()
    other.load_state_dict(model.state_dict())
    restored.load_state_dict(optimizer.state_dict())
    twin, copied = copy.deepcopy((model, optimizer))
    for m, o in ((model, optimizer), (other, restored), (twin, copied)):
        with_gradients(m, 2)
        o.step()
    for name, param in model.params().items():
        np.testing.assert_array_equal(param, other.params()[name])
        np.testing.assert_array_equal(param, twin.params()[name])


def model():
    return FeedForward(2, 3, rng=0)


WRONG = {
    "two groups": (lambda m: AdamW([{"params": m.fc}, {"params": (m, "fc.W")}]), "fc.W"),
    "a key": (lambda m: AdamW([{"params": m, "learning_rate": 1}]), "learning_rate"),
    "weight decay of SGD": (lambda m: SGD([{"params": m, "weight_decay": 0.1}]), "weight_decay"),
    "no params": (lambda m: Adam([{"lr": 0.1}]), "params"),
    "a module among groups": (lambda m: Adam([{"params": m.fc}, m.proj]), "Linear"),
    "an unknown name": (lambda m: Adam((m, "fc.w")), "fc.w"),
    "names alone": (lambda m: Adam([{"params": ["fc.W"]}]), "Adam"),
    "arrays": (lambda m: Adam(m.params()), "Adam.*dict"),
    "arrays in a list": (lambda m: Adam(list(m.params().values())), "Adam.*ndarray"),
    "workers": (lambda m: Adam(DataParallel(m, 1)), "Adam.*DataParallel"),
    "nothing": (lambda m: Adam([]), "Adam"),
    "lr below 0": (lambda m: Adam([{"params": m, "lr": -1}]), "-1"),
    "lr of no number": (lambda m: Adam([{"params": m, "lr": "x"}]), "x"),
    "lr beside 0": (lambda m: Adam([{"params": m, "lr": 0.1}], lr=0), "lr .* 0"),
    "decay below 0": (lambda m: AdamW([{"params": m, "weight_decay": -2}]), "-2"),
    "decay that grows": (lambda m: AdamW([{"params": m, "lr": 1.0, "weight_decay": 3}]), "3"),
    "lr beyond the dtype": (lambda m: SGD([{"params": m, "lr": 1e39}]), "1e\\+39"),
}


@pytest.mark.parametrize(("make", "value"), WRONG.values(), ids=WRONG)
def test_wrong_groups_are_errors_with_their_values(make, value):
    with pytest.raises(ValueError, match=value):
        make(model())


def test_a_schedule_may_not_take_a_group_beyond_its_decay():
    m = model()
    optimizer = AdamW([{"params": m, "lr": 0.1, "weight_decay": 3.0}], lr=0.01)
    with pytest.raises(ValueError, match=r"3\.0"):
        optimizer.lr = 0.1
    assert optimizer.lr == 0.01
