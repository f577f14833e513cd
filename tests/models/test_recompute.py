"""`model.recompute`: the gradients of a step to the last bit, with the memory of one block at a time."""

import copy
import tracemalloc

import numpy as np
import pytest

from numpygpt import GPT, summary, trace
from numpygpt.nn import Dropout, apply_lora
from numpygpt.optim import AdamW
from numpygpt.parallel.threads import DataParallel

LIVELY = {"dropout": 0.3, "n_layers": 3, "dtype": "float32"}


def steps(model, x, y, workers, count=3):
    """The gradients of each step."""
    found, optimizer = [], AdamW(model, lr=0.1)
    with DataParallel(model, workers) as parallel:
        for _ in range(count):
            parallel.loss(x, y)
            parallel.backward()
            found.append(model.flat().grads.copy())
            optimizer.step()
            optimizer.zero_grad()
    return found


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("lora", [False, True])
def test_gradients_are_equal_to_the_last_bit(lora, workers, make_gpt, make_batch):
    found = []
    for recompute in (False, True):
        model = make_gpt(**LIVELY)
        if lora:
            apply_lora(model, rank=2, dropout=0.2)
        model.recompute = recompute
        found.append(steps(model, *make_batch(shape=(4, 6), ignored=(3, 7)), workers))
    for plain, again in zip(*found, strict=True):
        assert plain.any()
        np.testing.assert_array_equal(plain, again)


def test_logits_losses_and_micro_batches_are_equal(make_gpt, make_batch):
    plain, light = make_gpt(**LIVELY), make_gpt(**LIVELY)
    light.recompute = True
    for model in (plain, light):
        for seed in (0, 1):
            model.forward(*make_batch(seed=seed))
            model.backward(0.5)
    np.testing.assert_array_equal(plain.flat().grads, light.flat().grads)


def test_a_generator_that_blocks_share_goes_on_where_it_was(make_gpt, make_batch):
    def shared():
        model, rng = make_gpt(**LIVELY), np.random.default_rng(5)
        for _, module in model.named_modules():
            if isinstance(module, Dropout):
                module.rng = rng
        return model

    plain, light = shared(), shared()
    light.recompute = True
    for first, second in zip(*(steps(model, *make_batch(), 1) for model in (plain, light)), strict=True):
        np.testing.assert_array_equal(first, second)


def test_only_the_inputs_of_the_blocks_stay(make_gpt, make_batch):
    model = make_gpt(n_layers=4)
    model.recompute = True
    model.loss(*make_batch())
    assert not any(hasattr(module, "Xhat") or getattr(module, "X", None) is not None
                   for block in model.blocks for _, module in block.named_modules())
    model.backward()
    assert not any(hasattr(module, "Xhat") for block in model.blocks for _, module in block.named_modules())
    assert model.inputs.calls == []
    with pytest.raises(RuntimeError):
        model.backward()


def test_the_peak_of_a_step_is_lower():
    def peak(recompute):
        model = GPT(vocab_size=20, max_len=64, d_model=64, n_heads=4, n_layers=8)
        model.recompute = recompute
        x = np.zeros((8, 64), int)
        model.loss(x, x)
        model.backward()  # gradients exist now
        tracemalloc.start()
        try:
            model.loss(x, x)
            model.backward()
            return tracemalloc.get_traced_memory()[1], summary(model, 8).cached
        finally:
            tracemalloc.stop()

    (plain, cached), (light, kept) = peak(False), peak(True)
    assert light < 0.4 * plain and kept < 0.4 * cached
    assert kept < light < 2 * kept


def test_the_summary_counts_the_inputs_one_block_and_the_second_forward(make_gpt):
    model = make_gpt(n_layers=3)
    plain = summary(model, 4)
    model.recompute = True
    light = summary(model, 4)
    block = [row for row in plain.rows if row.name.startswith("blocks.0")]
    rest = [row for row in plain.rows if not row.name.startswith("blocks")]
    X = 4 * 6 * 8 * 8  # bytes
    assert light.cached == sum(row.cached for row in rest + block) + 3 * X
    assert light[""].cached == sum(row.cached for row in block) and light["blocks.1"].cached == X
    assert light.forward_flops == plain.forward_flops
    assert light.backward_flops == plain.backward_flops + 3 * sum(row.forward_flops for row in block)


def test_evaluation_and_generation_are_as_before(make_gpt, make_batch):
    plain, light = make_gpt(), make_gpt()
    light.recompute = True
    x, y = make_batch()
    for method in (lambda m: m.eval().loss(x, y), lambda m: m.train()(x)[0], lambda m: m.generate(x[:, :2], 7, seed=3)):
        np.testing.assert_array_equal(method(plain), method(light))


def test_copies_and_replicas_recompute_too(make_gpt, make_batch):
    model = make_gpt()
    model.recompute = True
    model.loss(*make_batch())
    for other in (copy.deepcopy(model), model.replica()):
        assert other.recompute and other.inputs is None
        other.loss(*make_batch())
        assert len(other.inputs.calls) == 2


def test_a_trace_sees_both_forwards(make_gpt, make_batch):
    model = make_gpt()
    model.recompute = True
    with trace(model) as t:
        model.loss(*make_batch())
        model.backward()
    assert (t["blocks.0"].forward_calls, t["blocks.0.ffn.fc"].forward_calls, t["norm_f"].forward_calls) == (2, 2, 1)
    assert t["blocks.1.attn"].backward_calls == 1
