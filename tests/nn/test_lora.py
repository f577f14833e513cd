"""LoRA: what learns, what it costs, and how adapters get into a model and out of it."""

import copy
import pickle
import signal
import tracemalloc

import numpy as np
import pytest

from numpygpt import GPT, summary
from numpygpt.nn import FeedForward, Linear, LoRALinear, Module, apply_lora, lora_params, merge_lora, unmerge_lora
from numpygpt.nn.cost import Call
from numpygpt.nn.skeleton import skeleton
from numpygpt.optim import AdamW
from numpygpt.parallel.threads import DataParallel


def adapted(make_gpt, lively_adapters=True, **options):
    """A small GPT with adapters of rank 2, whose B are not zeros any more."""
    model = make_gpt()
    names = apply_lora(model, **({"rank": 2} | options))
    if lively_adapters:
        rng = np.random.default_rng(3)
        for array in lora_params(model).values():
            array[...] = 0.3 * rng.standard_normal(array.shape)
    return model, names


def test_an_adapter_adds_a_scaled_low_rank_product(normal):
    layer = LoRALinear(Linear(4, 3, dtype="float64"), 2, alpha=3)
    layer.A[...], layer.B[...] = normal(4, 2), normal(2, 3)
    X = normal(2, 5, 4)
    np.testing.assert_allclose(layer(X), X @ (layer.base.W + 1.5 * layer.A @ layer.B) + layer.base.b, rtol=1e-13)
    assert (layer.d_in, layer.d_out, layer.bias) == (4, 3, True)


def test_a_new_adapter_changes_nothing_and_b_learns_first(make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    before = model(x)[0]
    apply_lora(model, rank=2)
    np.testing.assert_array_equal(model(x)[0], before)
    model.loss(x, y)
    model.backward()
    for name, grad in model.grads().items():
        assert grad.any() == name.endswith(".B"), name


def test_targets_are_parts_of_the_names(make_gpt):
    model, names = adapted(make_gpt)
    assert names == [f"blocks.{i}.{name}" for i in (0, 1) for name in ("attn.qkv", "ffn.fc", "ffn.proj")]
    assert list(lora_params(model)) == [f"{name}.{own}" for name in names for own in "AB"]
    assert adapted(make_gpt, targets=["1.attn"])[1] == ["blocks.1.attn.qkv", "blocks.1.attn.proj"]
    assert adapted(make_gpt, targets="proj")[1] == [f"blocks.{i}.{n}.proj" for i in (0, 1) for n in ("attn", "ffn")]


def test_only_the_adapters_learn(make_gpt, make_batch):
    model, names = adapted(make_gpt)
    assert set(model.grads()) == set(lora_params(model)) and len(names) == 6
    before, (x, y) = model.state_dict(), make_batch()
    optimizer = AdamW(model, lr=0.1)
    losses = []
    for _ in range(5):
        losses.append(model.loss(x, y))
        model.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    for name, value in model.params().items():
        assert np.array_equal(value, before[name]) != (name in lora_params(model)), name


def test_the_contiguous_arrays_hold_the_adapters_alone(make_gpt):
    model, _ = adapted(make_gpt)
    flat = model.flat()
    n = sum(array.size for array in lora_params(model).values())
    assert flat.params.size == flat.grads.size == n
    assert model.wte.W.base is not flat.params


def test_frozen_weights_take_no_memory_in_a_step():
    model = GPT(vocab_size=50, max_len=4, d_model=256, n_heads=2, n_layers=2)
    frozen = sum(param.nbytes for param in model.params().values())
    apply_lora(model, rank=1)
    x = np.zeros((1, 4), int)
    tracemalloc.start()
    model.loss(x, x)
    model.backward()
    AdamW(model).step()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 0.1 * frozen and peak < 0.1 * frozen
    assert not any(m._storage is not None and m._storage.has_grads() for m in (model.wte, model.blocks[0].attn.proj))


def test_frozen_weights_have_no_product_for_a_gradient(monkeypatch, normal):
    class Watched(np.ndarray):
        products = 0

        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            Watched.products += ufunc is np.matmul
            plain = [x.view(np.ndarray) if isinstance(x, Watched) else x for x in inputs]
            return getattr(ufunc, method)(*plain, **kwargs).view(Watched)

    for layer, products in ((Linear(4, 4), 2), (Linear(4, 4).requires_grad_(False), 1)):
        layer(normal(3, 4, dtype="float32"))
        Watched.products = 0
        layer.backward(np.ones((3, 4), np.float32).view(Watched))
        assert Watched.products == products
        assert (layer.X is None) == (products == 1)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_merged_and_unmerged_models_compute_the_same(dropout, make_gpt, make_batch):
    model, names = adapted(make_gpt, dropout=dropout, alpha=5)
    x, _ = make_batch()
    before, kinds = model.eval()(x)[0], [type(m) for _, m in model.named_modules()]
    weights = {name: value for name, value in model.state_dict().items() if ".base." in name}
    adapters = merge_lora(model)
    assert list(adapters) == names and not any(isinstance(m, LoRALinear) for _, m in model.named_modules())
    assert model.params().keys() == make_gpt().params().keys() == model.grads().keys()
    np.testing.assert_allclose(model(x)[0], before, rtol=1e-11, atol=1e-12)
    unmerge_lora(model, adapters)
    assert [type(m) for _, m in model.named_modules()] == kinds and set(model.grads()) == set(lora_params(model))
    for name, value in weights.items():
        np.testing.assert_allclose(model.params()[name], value, rtol=0, atol=4e-16 * np.abs(value).max())
    np.testing.assert_allclose(model(x)[0], before, rtol=1e-11, atol=1e-12)


def test_a_merged_model_trains_further(make_gpt, make_batch):
    model, _ = adapted(make_gpt)
    merge_lora(model)
    x, y = make_batch()
    before = model.loss(x, y)
    model.backward()
    AdamW(model, lr=0.01).step()
    assert model.loss(x, y) < before


def test_the_adapters_of_a_replica_and_of_copies_learn_alike(make_gpt, make_batch):
    x, y = make_batch(shape=(4, 6))
    model, _ = adapted(make_gpt)
    model.loss(x, y)
    model.backward()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.zero_grad()
        with DataParallel(other, 2) as parallel:
            parallel.loss(x, y)
            parallel.backward()
        assert set(other.grads()) == set(lora_params(model))
        for name, grad in model.grads().items():
            np.testing.assert_allclose(other.grads()[name], grad, rtol=1e-9, atol=1e-12)


def test_adapters_have_the_dtype_and_the_mode_of_the_model(make_gpt):
    model = make_gpt().astype("float32").eval()
    apply_lora(model, dropout=0.5)
    assert {a.dtype.name for a in lora_params(model).values()} == {"float32"}
    assert not any(module.training for _, module in model.named_modules())
    layer = LoRALinear(Linear(3, 2), 1)
    assert layer(np.ones((4, 3), np.float32)).dtype == layer.backward(np.ones((4, 2), np.float32)).dtype == np.float32


def test_seeds_draw_the_adapters(make_gpt):
    one, again, other = (lora_params(adapted(make_gpt, False, seed=seed)[0]) for seed in (0, 0, 1))
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert not any(np.array_equal(one[name], other[name]) for name in one if name.endswith(".A"))


def test_an_interrupt_waits_until_a_merge_is_complete(make_gpt, make_batch, monkeypatch):
    model, _ = adapted(make_gpt)
    x, _ = make_batch()
    before, update = model.eval()(x)[0], LoRALinear.update

    def interrupted(adapter):
        signal.raise_signal(signal.SIGINT)
        return update(adapter)

    monkeypatch.setattr(LoRALinear, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        merge_lora(model)
    assert not any(isinstance(module, LoRALinear) for _, module in model.named_modules())
    np.testing.assert_allclose(model(x)[0], before, rtol=1e-9, atol=1e-12)


def test_layers_in_lists_tuples_and_dicts_get_adapters():
    class Nest(Module):
        def __init__(self):
            self.one, self.rows, self.pair = Linear(3, 3), [Linear(3, 3)], (Linear(3, 3), FeedForward(3))
            self.named, self.again = {"a": Linear(3, 3)}, self.rows[0]

    nest = Nest()
    names = apply_lora(nest, ["one", "rows", "pair", "named"], rank=1)
    assert names == ["one", "rows.0", "pair.0", "pair.1.fc", "pair.1.proj", "named.a"]
    assert all(isinstance(layer, LoRALinear) for layer in (
        nest.one, nest.rows[0], nest.pair[0], nest.pair[1].fc, nest.pair[1].proj, nest.named["a"]))
    assert nest.again is nest.rows[0], "a layer that is used twice is one adapter"
    merge_lora(nest)
    assert not any(isinstance(layer, LoRALinear) for _, layer in nest.named_modules())


def test_a_skeleton_gets_adapters_without_memory():
    with skeleton():
        model = GPT(vocab_size=50_000, max_len=64, d_model=4096, n_heads=32, n_layers=2)
        apply_lora(model, rank=8)
    rows = summary(model).rows
    learned = sum(row.n_params for row in rows if row.kind == "LoRALinear")
    assert learned == 2 * 8 * ((4096 + 3 * 4096) + 2 * (4096 + 4 * 4096))
    assert summary(model).gradient_bytes == 4 * learned


def test_costs_of_a_frozen_layer():
    layer, call = Linear(8, 6), Call((3, 5, 8))
    full = layer.cost(call)
    frozen = layer.requires_grad_(False).cost(call)
    product = 2 * 15 * 8 * 6
    assert (full.backward - frozen.backward, frozen.cached, frozen.forward) == (product + 15 * 6, 0, full.forward)


@pytest.mark.parametrize(("options", "named"), [
    ({"targets": ["attn.qvk"]}, ["attn.qvk", "attn.qkv", "attn.proj", "ffn.fc", "ffn.proj"]),
    ({"targets": ["ffn", "head"]}, ["head"]),
    ({"targets": ["tn.qkv"]}, ["tn.qkv"]),
    ({"targets": []}, ["targets"]),
    ({"rank": 0}, ["1", "8", "0"]),
    ({"rank": 9}, ["1", "8", "9"]),
    ({"rank": 2.5}, ["2.5"]),
    ({"alpha": 0}, ["alpha", "0"]),
    ({"alpha": float("nan")}, ["alpha", "nan"]),
    ({"dropout": 1.0}, ["dropout", "1.0"]),
])
def test_errors_name_the_value_and_change_nothing(options, named, make_gpt):
    model = make_gpt()
    with pytest.raises(ValueError) as error:
        apply_lora(model, **options)
    assert all(word in str(error.value) for word in named)
    assert model.grads().keys() == model.params().keys() and not any(
        isinstance(module, LoRALinear) for _, module in model.named_modules())


def test_errors_of_state(make_gpt):
    model, _ = adapted(make_gpt)
    with pytest.raises(ValueError, match="adapters"):
        apply_lora(model)
    with pytest.raises(ValueError, match="GPT"):
        merge_lora(make_gpt())
    adapters = merge_lora(model)
    with pytest.raises(ValueError, match=next(iter(adapters))):
        unmerge_lora(make_gpt(), adapters)
    unmerge_lora(model, adapters)
    W = model.blocks[0].attn.qkv.base.W.copy()
    with pytest.raises(ValueError, match="adapters"):
        unmerge_lora(model, adapters)
    assert np.array_equal(model.blocks[0].attn.qkv.base.W, W) and model.blocks[0].attn.qkv is adapters[
        "blocks.0.attn.qkv"]
    with pytest.raises(ValueError, match="FeedForward"):
        LoRALinear(FeedForward(4), 2)
