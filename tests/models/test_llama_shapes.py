"""GPTs with the layers of Llama and Qwen2: their parameters, what they learn, dropout of attention weights."""

import numpy as np
import pytest

from numpygpt import GPT, nn
from numpygpt.optim import AdamW
from numpygpt.parallel.threads import DataParallel

LLAMA = {"norm": "rmsnorm", "ffn": "gated", "activation": "silu", "positions": "rope", "bias": False, "n_heads": 4,
         "n_kv_heads": 2}
SHAPES = {"llama, tied": LLAMA, "llama, untied": LLAMA | {"tie_weights": False}, "qwen2": LLAMA | {"qkv_bias": True},
          "multi-query, geglu": LLAMA | {"n_kv_heads": 1, "activation": "gelu"}}


def test_the_parameters_of_a_llama_and_of_a_qwen2(make_gpt):
    names = {"wte.W", "norm_f.gamma", *(f"blocks.{i}.{name}" for i in range(2) for name in (
        "norm1.gamma", "norm2.gamma", "attn.qkv.W", "attn.proj.W", "ffn.fc.W", "ffn.proj.W"))}
    assert set(make_gpt(**LLAMA).params()) == names
    assert set(make_gpt(**LLAMA, tie_weights=False).params()) == names | {"head.embedding.W"}
    biases = {f"blocks.{i}.attn.qkv.b" for i in range(2)}
    qwen = make_gpt(**LLAMA, qkv_bias=True)
    assert set(qwen.params()) == names | biases and qwen.wpe is None
    assert qwen.params()["blocks.0.attn.qkv.b"].shape == (8 + 2 * 2 * 2,)
    assert qwen.params()["blocks.0.ffn.fc.W"].shape == (8, 2 * 24)  # 8/3 of 8, rounded up to a multiple of 8


def test_a_gated_network_has_about_as_many_parameters_as_a_plain_one():
    plain, gated = nn.FeedForward(96, bias=False), nn.GatedFeedForward(96, bias=False)
    assert gated.n_params() == plain.n_params()


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_one_batch_is_memorised(config, make_gpt, make_batch):
    model, (x, y) = make_gpt(fresh=True, **config), make_batch()
    optimizer, first = AdamW(model, lr=0.03), model.loss(x, y)
    assert first == pytest.approx(np.log(11), rel=0.05)
    for _ in range(80):
        optimizer.zero_grad()
        model.loss(x, y)
        model.backward()
        optimizer.step()
    assert model.loss(x, y) < 0.3 < first


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_no_token_sees_a_later_one(config, make_gpt, make_batch):
    model, (x, _) = make_gpt(**config), make_batch()
    changed = x.copy()
    changed[:, 4:] = (x[:, 4:] + 3) % 11
    one, other = model(x)[0], model(changed)[0]
    np.testing.assert_array_equal(one[:, :4], other[:, :4])
    assert not np.allclose(one[:, 4:], other[:, 4:])


def test_rotary_positions_know_the_order(make_gpt):
    """Without positions, attention is the same for the same tokens in any order."""
    model = make_gpt(**LLAMA)
    one, other = model(np.array([[1, 2, 3]]))[0], model(np.array([[2, 1, 3]]))[0]
    assert not np.allclose(one[:, -1], other[:, -1])


def test_past_the_context_is_an_error(make_gpt):
    with pytest.raises(ValueError, match=r"7.*6"):
        make_gpt(**LLAMA)(np.zeros((1, 7), int))


def test_dropout_of_weights_is_on_in_training_alone(make_gpt, make_batch):
    model, plain, (x, y) = make_gpt(attn_dropout=0.5), make_gpt(), make_batch()
    assert model.loss(x, y) != model.loss(x, y)
    assert model.eval().loss(x, y) == plain.loss(x, y)
    assert all(block.attn.attn_dropout == 0.5 for block in model.blocks)


@pytest.mark.parametrize("workers", [1, 2])
def test_dropout_of_weights_repeats_with_its_seed(workers, make_gpt, make_batch):
    def run(seed):
        model, losses = make_gpt(fresh=True, seed=seed, attn_dropout=0.3, **LLAMA), []
        with DataParallel(model, workers) as parallel:
            for _ in range(3):
                losses.append(parallel.loss(*make_batch()))
                parallel.backward()
        return losses, model.flat().grads.copy()

    (losses, grads), (same, same_grads), (other, _) = run(1), run(1), run(2)
    assert losses == same and len(set(losses)) == 3 and losses != other
    np.testing.assert_array_equal(grads, same_grads)


def test_workers_drop_other_weights(make_gpt, make_batch):
    model, (x, y) = make_gpt(attn_dropout=0.5), make_batch(shape=(1, 6))
    with DataParallel(model, 2) as parallel:
        parallel.loss(np.concatenate([x, x]), np.concatenate([y, y]))
        one, two = (replica.norm_f.Xhat for replica in parallel.replicas)
    assert not np.allclose(one, two)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_float32_stays_float32(config, make_gpt, make_batch):
    model, (x, y) = GPT(**{"vocab_size": 11, "max_len": 6, "d_model": 8, "n_layers": 1} | config), make_batch()
    logits, _ = model(x, y)
    model.backward()
    assert logits.dtype == np.float32 and {grad.dtype for grad in model.grads().values()} == {np.dtype("float32")}
