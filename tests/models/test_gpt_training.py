"""Training: the model memorises one batch, the loop of the README works, float32 stays float32, no cache goes stale."""

import dataclasses

import numpy as np
import pytest

from numpygpt import GPT
from numpygpt.optim import SGD, Adam, AdamW, clip_grad_norm
from numpygpt.optim.lr_scheduler import WarmupCosineLR
from numpygpt.parallel.threads import DataParallel


@pytest.mark.parametrize("config", [{}, {"tie_weights": False, "positions": "sinusoidal", "activation": "relu"}],
                         ids=["learned, tied, gelu", "sinusoidal, untied, relu"])
def test_one_batch_is_learned_by_heart(config):
    model = GPT(vocab_size=11, max_len=8, d_model=32, n_heads=4, n_layers=2, seed=0, **config)
    x, y = np.random.default_rng(0).integers(0, 11, (2, 4, 8))
    optimizer = AdamW(model, lr=0.01, betas=(0.9, 0.95))
    for _ in range(80):
        optimizer.zero_grad()
        model.loss(x, y)
        model.backward()
        clip_grad_norm(model, 1.0)
        optimizer.step()
    model.eval()
    logits, loss = model(x, y)
    assert loss < 0.02
    np.testing.assert_array_equal(logits.argmax(axis=-1), y)


@pytest.mark.parametrize("way", ["forward", "loss"])
def test_the_loop_of_a_learner_reduces_the_loss(way):
    """As in the README: no optimiser, the live arrays alone."""
    model = GPT(vocab_size=11, max_len=8, d_model=16, n_heads=2, n_layers=1)
    x, y = np.random.default_rng(0).integers(0, 11, (2, 4, 8))
    lr, losses = 0.5, []
    for _ in range(20):
        model.zero_grad()
        if way == "forward":
            _logits, loss = model.forward(x, targets=y)
        else:
            loss = model.loss(x, y)
        model.backward()
        for name, param in model.params().items():
            param -= lr * model.grads()[name]
        losses.append(loss)
    assert losses[-1] < losses[0] - 0.3
    assert losses[1] < losses[0], "the first step goes downhill already"


def arrays_in(value, seen):
    """Every array and NumPy number that can be reached from `value` through attributes and containers."""
    if id(value) in seen or isinstance(value, np.random.Generator):
        return
    seen[id(value)] = value  # held, so that no id is given out twice
    if isinstance(value, (np.ndarray, np.generic)):
        yield value
        if isinstance(value, np.ndarray) and value.base is not None:
            yield from arrays_in(value.base, seen)
    elif isinstance(value, dict):
        for item in value.values():
            yield from arrays_in(item, seen)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from arrays_in(item, seen)
    elif dataclasses.is_dataclass(value) or type(value).__module__.startswith("numpygpt"):
        yield from arrays_in(vars(value), seen)


CONFIGS = {
    "as it comes": {}, "relu": {"activation": "relu"}, "sinusoidal": {"positions": "sinusoidal"},
    "dropout": {"dropout": 0.2}, "untied": {"tie_weights": False}, "no bias": {"bias": False}, "d_k": {"d_k": 3},
}


@pytest.mark.parametrize("make", [AdamW, Adam, lambda model: SGD(model, momentum=0.9)], ids=["AdamW", "Adam", "SGD"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_float32_model_never_holds_a_float64(config, make, make_gpt, make_batch):
    model, (x, y) = make_gpt(dtype="float32", **config), make_batch(ignored=[3])
    optimizer = make(model)
    schedule = WarmupCosineLR(optimizer, warmup=2, decay=10)
    with DataParallel(model, 2) as parallel:
        for source in (model, parallel):
            source.loss(x, y)
            source.backward(0.5)
        logits, _ = model(x, y)
        model.backward()
        clip_grad_norm(model, 1e-3)
        optimizer.step()
        schedule.step()
        found = list(arrays_in([logits, model, optimizer, schedule, parallel.replicas], {}))
    kinds = {array.dtype for array in found if array.dtype.kind in "fc"}
    assert kinds == {np.dtype("float32")}
    assert len(found) > 50


def test_the_walk_of_the_test_above_finds_a_float64(make_gpt):
    model = make_gpt(dtype="float32")
    model.blocks[1].ffn.act.scale = np.float64(2)
    assert np.dtype("float64") in {array.dtype for array in arrays_in(model, {})}


def test_arrays_taken_before_the_optimiser_was_made_stay_live(make_gpt, make_batch):
    model = make_gpt(dtype="float32")
    params, grads, W = model.params(), model.grads(), model.blocks[0].attn.proj.W
    before = model.state_dict()
    optimizer = SGD(model, lr=0.1)
    model.loss(*make_batch())
    model.backward()
    optimizer.step()
    assert W is model.blocks[0].attn.proj.W
    for name, param in params.items():
        assert param is model.params()[name] and grads[name] is model.grads()[name]
        np.testing.assert_allclose(param, before[name] - np.float32(0.1) * grads[name], rtol=1e-5, atol=1e-7)


def test_an_evaluation_in_between_changes_no_training(make_gpt, make_batch):
    states = []
    for evaluations in (0, 3):
        model = make_gpt(dropout=0.3)
        optimizer = AdamW(model, lr=0.01)
        for step in range(3):
            for _ in range(evaluations):
                model.eval()
                model.loss(*make_batch(seed=100))
                model.generate([[1, 2]], 3)
                model.train()
            optimizer.zero_grad()
            model.loss(*make_batch(seed=step))
            model.backward()
            optimizer.step()
        states.append(model.flat().params)
    np.testing.assert_array_equal(*states)


def test_arguments_are_left_as_they_were(make_gpt, make_batch):
    model, (x, y) = make_gpt(dropout=0.2), make_batch(ignored=[4])
    before = x.copy(), y.copy()
    for way in (model.forward, model.loss):
        way(x, y)
        model.backward()
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32])
def test_tokens_may_be_of_any_integer_type(dtype, make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    expected = model.loss(x, y)
    assert model.loss(x.astype(dtype), y.astype(dtype)) == expected
    assert model(x.astype(dtype), y.astype(dtype))[1] == pytest.approx(expected, rel=1e-13)
