"""Whole models on a device, old and modern: training, generation, adapters, and the way back to the CPU."""

import copy

import numpy as np
import pytest
import strict

from numpygpt import GPT
from numpygpt.nn import apply_lora, backend, merge_lora
from numpygpt.nn.flat import place_of
from numpygpt.optim import SGD, Adam, AdamW, clip_grad_norm
from numpygpt.parallel.threads import DataParallel

LLAMA = {"norm": "rmsnorm", "positions": "rope", "ffn": "gated", "activation": "silu", "n_kv_heads": 2, "bias": False}
MODELS = {"gpt2": {}, "untied": {"tie_weights": False, "activation": "relu", "positions": "sinusoidal"},
          "llama": LLAMA, "qwen2": LLAMA | {"qkv_bias": True, "tie_weights": False}}
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]


@pytest.fixture(params=MODELS)
def twins(request):
    """The same model on the CPU and on the device."""
    sizes = {"vocab_size": 31, "max_len": 16, "d_model": 16, "n_heads": 4, "n_layers": 2, "dtype": "float64"}
    model = GPT(**sizes, **MODELS[request.param])
    return model, copy.deepcopy(model).to(strict.DEVICE)


def batch(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(31, size=(2, 3, 16))
    y[0, 3] = -1
    return x, y


def equal(cpu, device, tolerance=1e-12):
    expected, found = cpu.state_dict(), device.state_dict()
    assert expected.keys() == found.keys() and all(isinstance(array, np.ndarray) for array in found.values())
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=tolerance)


@pytest.mark.parametrize("make", [lambda m: AdamW(m, 1e-2), lambda m: Adam(m, 1e-2), lambda m: SGD(m, 0.1, 0.9)])
def test_steps_of_training_copy_two_numbers_each(twins, make):
    optimizers = [make(model) for model in twins]
    for i in range(3):
        losses = []
        for model, optimizer in zip(twins, optimizers, strict=True):
            optimizer.zero_grad()
            strict.transfers.clear()
            loss = model.loss(*batch(i))
            model.backward()
            assert not strict.transfers
            norm = clip_grad_norm(model, 1.0)
            losses += [(float(loss), norm)]
            optimizer.step()
        assert strict.transfers == [8, 8]
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-12)
    equal(*twins, 1e-8)  # the key bias has a gradient of 0 up to rounding, which Adam magnifies
    for name, state in optimizers[0].state_dict().items():
        if name != "steps":
            found = optimizers[1].state_dict()[name]
            for key in state:
                np.testing.assert_allclose(found[key], state[key], rtol=0, atol=1e-12)


def test_logits_and_their_loss(twins):
    x, y = batch(0)
    (expected, loss), (logits, found) = (model.forward(x, y) for model in twins)
    np.testing.assert_allclose(backend.to_host(logits), expected, atol=1e-13)
    assert float(found) == pytest.approx(loss, rel=1e-13)
    for model in twins:
        model.backward()
    grads = twins[1].grads()
    for name, grad in twins[0].grads().items():
        np.testing.assert_allclose(backend.to_host(grads[name]), grad, atol=1e-13)


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"seed": 3}, {"top_k": 5, "top_p": 0.9}], ids=str)
def test_generation_past_the_context_from_prompts_of_unequal_length(twins, sampling):
    expected, found = (model.generate(PROMPTS, 24, **sampling) for model in twins)
    np.testing.assert_array_equal(found, expected)


def test_recomputed_blocks_with_dropout_draw_the_same_masks(twins):
    model = twins[1]
    for module in (model.dropout, *(block.attn for block in model.blocks)):
        vars(module).update({"p": 0.3} if module is model.dropout else {"attn_dropout": 0.2})
    states = {name: rng.bit_generator.state for name, rng in model.generators().items()}
    grads = []
    for model.recompute in (False, True):
        for name, rng in model.generators().items():
            rng.bit_generator.state = states[name]
        model.zero_grad()
        model.loss(*batch(1))
        model.backward()
        grads.append({name: backend.to_host(grad) for name, grad in model.grads().items()})
    for name in grads[0]:
        np.testing.assert_array_equal(grads[1][name], grads[0][name])


def test_padding(twins):
    x, y = batch(2)
    losses = [float(model.loss(x, y, pad=np.array([0, 3, 5]))) for model in twins]
    assert losses[1] == pytest.approx(losses[0], rel=1e-13)
    for model in twins:
        model.backward()
    np.testing.assert_allclose(backend.to_host(twins[1].flat().grads), twins[0].flat().grads, atol=1e-13)


def test_adapters_that_are_added_on_the_device_and_merged(twins):
    for model in twins:
        apply_lora(model, ("attn.qkv", "ffn"), 2, seed=1)
        optimizer = AdamW(model, lr=1e-2)
        for i in range(2):
            optimizer.zero_grad()
            model.loss(*batch(i))
            model.backward()
            optimizer.step()
        merge_lora(model)
    equal(*twins, 1e-10)


def test_there_and_back(twins):
    cpu, model = twins
    model.loss(*batch(0))
    model.backward()
    grads = {name: backend.to_host(grad).copy() for name, grad in model.grads().items()}
    assert model.to("cpu") is model and all(isinstance(param, np.ndarray) for param in model.params().values())
    equal(cpu, model, 0)
    for name, grad in model.grads().items():
        np.testing.assert_array_equal(grad, grads[name])
    model.to(strict.DEVICE).load_state_dict(cpu.state_dict())
    model.wte.W = np.ones(model.wte.W.shape)
    assert (model.state_dict()["wte.W"] == 1).all()
    assert model.flat().holds(model) and place_of(model.wte.W).stop > 0


def test_an_optimizer_that_was_made_before_the_move_says_so(twins):
    optimizer = AdamW(twins[0])
    twins[0].to(strict.DEVICE)
    with pytest.raises(RuntimeError):
        optimizer.step()


def test_one_worker_on_a_device(twins):
    with pytest.raises(ValueError, match="workers"):
        DataParallel(twins[1], workers=2)
    with DataParallel(twins[1]) as parallel:
        assert parallel.workers == 1
        loss = parallel.loss(*batch(0))
        parallel.backward()
    assert float(loss) == pytest.approx(twins[0].loss(*batch(0)), rel=1e-12)


def test_arrays_of_the_device_may_be_ids_and_targets(twins):
    x, y = batch(0)
    assert float(twins[1].loss(strict.asarray(x), strict.asarray(y))) == pytest.approx(twins[0].loss(x, y), rel=1e-12)
    with pytest.raises(ValueError, match="31"):
        twins[1].loss(strict.asarray(x + 31), y)
