"""No gradient array exists until something needs it, and a frozen parameter never gets one."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

from numpygpt.nn import Linear, Module
from numpygpt.nn.flat import gradient
from numpygpt.optim import SGD, AdamW, clip_grad_norm
from numpygpt.parallel.threads import DataParallel


def has_gradients(model):
    """Whether any gradient array was made: a layer's own, or a contiguous one."""
    return any("d" + name in vars(module) or (module._storage is not None and module._storage.has_grads())
               for _, module in model.named_modules() for name in module._params)


class Scale(Module):
    """A user's layer, which does not ask whether its parameter learns."""

    def __init__(self, size):
        self.param("g", np.ones(size, np.float32))

    def forward(self, X):
        self.X = X
        return X * self.g

    def backward(self, dY):
        self.dg += (dY * self.X).sum(axis=0)
        return dY * self.g


USES = {
    "generate": lambda m, b: m.generate(b[0][:, :2], 3),
    "evaluate": lambda m, b: m.eval().loss(*b),
    "score": lambda m, b: m.eval()(*b),
    "state": lambda m, b: m.load_state_dict(m.state_dict()),
    "params": lambda m, b: m.params(),
    "flat": lambda m, b: m.flat().params,
    "astype": lambda m, b: m.astype("float32"),
    "zero_grad": lambda m, b: m.zero_grad(),
    "deepcopy": lambda m, b: copy.deepcopy(m).generate(b[0], 1),
    "pickle": lambda m, b: pickle.loads(pickle.dumps(m)),
    "replica": lambda m, b: m.replica(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_inference_makes_no_gradient(use, make_gpt, make_batch):
    model = make_gpt()
    found = use(model, make_batch())
    assert not has_gradients(model)
    assert not isinstance(found, Module) or not has_gradients(found)


def test_the_first_backward_makes_one_array_for_all(make_gpt, make_batch):
    model = make_gpt()
    model.loss(*make_batch())
    model.backward()
    grads = model.flat().grads
    assert all(grad.base is grads for grad in model.grads().values()) and grads.any()
    assert model.wte.dW is model.wte.dW


@pytest.mark.parametrize("make", [lambda m: m.grads(), AdamW, lambda m: clip_grad_norm(m, 1.0),
                                  lambda m: DataParallel(m, 1)], ids=["grads", "AdamW", "clip", "DataParallel"])
def test_gradients_of_a_layer_alone_move_with_it(make):
    layer = Linear(2, 3, rng=0)
    layer(np.ones((1, 2), np.float32))
    layer.backward(np.full((1, 3), 0.1, np.float32))
    before = layer.dW.copy()
    make(layer)
    np.testing.assert_array_equal(layer.dW, before)
    assert before.any() and layer.dW.base is layer.flat().grads


def test_a_replica_goes_back_with_gradients_of_its_own(make_gpt, make_batch):
    model = make_gpt()
    twin = model.replica()
    twin.loss(*make_batch())
    twin.backward()
    assert twin.flat().grads.any() and not has_gradients(model)
    assert twin.flat().params is model.flat().params


# -- freezing ----------------------------------------------------------------------------------------------------------


def step(model, optimizer, batch, parallel=None):
    runner = parallel or model
    optimizer.zero_grad()
    loss = runner.loss(*batch)
    runner.backward()
    norm = clip_grad_norm(model, 1e9)
    optimizer.step()
    return loss, norm


FROZEN = {"all but a block": (lambda m: m.requires_grad_(False).requires_grad_(True, "blocks.1"), "blocks.1."),
          "a module": (lambda m: m.blocks[0].requires_grad_(False), None),
          "a table that is tied": (lambda m: m.requires_grad_(False, "wte.W"), None),
          "the same table by its other name": (lambda m: m.requires_grad_(False, "head"), None),
          "vectors": (lambda m: m.requires_grad_(False, "norm_f", "blocks.0.ffn.fc.b", "blocks.1.norm1.gamma"), None)}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("freeze", "only"), FROZEN.values(), ids=FROZEN)
def test_what_is_frozen_does_not_move_and_the_rest_learns_as_ever(freeze, only, workers, make_gpt, make_batch):
    model, whole, batch = make_gpt(dtype="float32"), make_gpt(dtype="float32"), make_batch(shape=(4, 6))
    freeze(model)
    learned, before = set(model.grads()), model.state_dict()
    assert only is None or all(name.startswith(only) for name in learned)
    assert set(before) - learned and learned
    parallel = DataParallel(model, workers) if workers else None
    reference = DataParallel(whole, workers) if workers else None
    optimizer, other = SGD(model, 0.1), SGD(whole, 0.1)
    loss, norm = step(model, optimizer, batch, parallel)
    assert loss == step(whole, other, batch, reference)[0]
    for name, param in model.params().items():
        if name in learned:
            np.testing.assert_array_equal(param, whole.params()[name], err_msg=name)
        else:
            np.testing.assert_array_equal(param, before[name], err_msg=name)
    squares = sum(float((grad.astype(float) ** 2).sum()) for grad in model.grads().values())
    assert norm == pytest.approx(squares**0.5, rel=1e-5)
    for each in (parallel, reference):
        if each:
            assert not any(grads.any() for grads in each.grads[1:])
            each.close()


def test_a_frozen_parameter_has_no_gradient_no_moment_and_its_layer_knows(make_gpt, make_batch):
    model = make_gpt().requires_grad_(False, "wte", "blocks.0.attn.proj.W")
    frozen = {"wte.W", "blocks.0.attn.proj.W"}
    assert not model.wte.trains("W") and not model.blocks[0].attn.proj.trains("W")
    assert model.blocks[0].attn.proj.trains("b")
    optimizer = AdamW(model, 0.01)
    step(model, optimizer, make_batch())
    assert set(model.params()) - set(model.grads()) == frozen == set(model.params()) - set(optimizer.state_dict()["m"])
    assert set(model.state_dict()) == set(model.params())
    assert "dW" not in vars(model.wte)
    flat = model.flat()
    assert set(flat.layout) == set(model.grads())
    entries = np.ones(flat.grads.shape, bool)
    for run in flat.runs():
        entries[run] = False
    assert entries.any() and not flat.grads[entries].any() and not optimizer.m[entries].any()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_large_frozen_table_takes_no_memory_beside_its_own():
    class Pair(Module):
        def __init__(self):
            self.large, self.small = Scale(20_000_000), Scale(4)

    def megabytes():
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6

    model = Pair()
    model.flat()
    model.large.requires_grad_(False)
    before = megabytes()
    optimizer = AdamW(model, 0.01)
    model.small(np.ones((2, 4), np.float32))
    for _ in range(2):
        model.small.backward(np.ones((2, 4), np.float32))
        clip_grad_norm(model, 1.0)
        optimizer.step()
        model.zero_grad()
        optimizer.zero_grad()
    assert megabytes() - before < 40, "the table is 80 MB; a gradient and two moments would be 240"


@pytest.mark.parametrize("way", ["loss", "forward"])
def test_no_layer_computes_the_gradient_of_a_frozen_parameter(way, make_gpt, make_batch, monkeypatch):
    def asked(owner, name, make=True):
        assert name not in owner._frozen, f"{type(owner).__name__} computes d{name}"
        return gradient(owner, name, make)

    model, whole = make_gpt().requires_grad_(False).requires_grad_(True, "wpe"), make_gpt()
    monkeypatch.setattr("numpygpt.nn.modules.module.gradient", asked)
    for each in (model, whole):
        getattr(each, way)(*make_batch())
        each.backward()
    assert list(model.grads()) == ["wpe.W"]
    np.testing.assert_array_equal(model.wpe.dW, whole.wpe.dW)


def test_a_layer_that_does_not_ask_may_be_frozen():
    layer = Scale(3).requires_grad_(False)
    layer(np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(layer.backward(np.ones((2, 3), np.float32)), np.ones((2, 3)))
    layer.dg = np.ones(3)
    assert layer.grads() == {} and not layer.dg.any()
    layer.requires_grad_()
    layer.backward(np.ones((2, 3), np.float32))
    assert layer.dg.tolist() == [2, 2, 2]


def test_gradients_are_cleared_by_freezing(make_gpt, make_batch):
    model = make_gpt()
    model.loss(*make_batch())
    model.backward()
    model.requires_grad_(False, "blocks").requires_grad_(True)
    assert not any(grad.any() for name, grad in model.grads().items() if name.startswith("blocks."))
    assert model.wte.dW.any()


@pytest.mark.parametrize("change", [lambda m: m.requires_grad_(False, "wte"), lambda m: m.requires_grad_(True)],
                         ids=["freeze", "unfreeze"])
def test_an_optimiser_and_workers_made_before_say_so(change, make_gpt, make_batch):
    model = make_gpt().requires_grad_(False, "wpe")
    optimizer, parallel = AdamW(model), DataParallel(model, 1)
    change(model)
    before = model.state_dict()
    with pytest.raises(RuntimeError, match="frozen"):
        optimizer.step()
    with pytest.raises(RuntimeError, match="frozen"):
        parallel.loss(*make_batch())
    assert all(np.array_equal(param, before[name]) for name, param in model.params().items())
    AdamW(model).step()


@pytest.mark.parametrize("make", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_are_frozen_alike_and_train_to_the_bit(make, make_gpt, make_batch):
    model = make_gpt(dtype="float32").requires_grad_(False, "wte", "blocks.0")
    optimizer = AdamW(model, 0.01)
    step(model, optimizer, make_batch())
    twin, other = make((model, optimizer))
    assert twin.grads().keys() == model.grads().keys()
    assert step(twin, other, make_batch()) == step(model, optimizer, make_batch())
    for name, param in model.params().items():
        np.testing.assert_array_equal(param, twin.params()[name], err_msg=name)
        assert not np.shares_memory(param, twin.params()[name])
    assert model.replica().grads().keys() == model.grads().keys()


def test_a_model_that_is_frozen_altogether_computes_and_has_nothing_to_train(make_gpt, make_batch):
    model, (x, y) = make_gpt().requires_grad_(False), make_batch()
    with DataParallel(model, 2) as parallel:
        assert parallel.loss(x, y) == pytest.approx(make_gpt().loss(x, y))
        parallel.backward()
    assert model.grads() == {} and clip_grad_norm(model, 1.0) == 0
    with pytest.raises(ValueError, match="AdamW"):
        AdamW(model)
    assert model.astype("float32").generate(x, 2).shape == (3, 8)


@pytest.mark.parametrize(("arguments", "value"), [((False, "wte.w"), "'wte.w'"), ((False, "blocks.7"), "'blocks.7'"),
                                                  (("wte.W", False), "wte.W"), ((False, "wte", "x"), "'x'")])
def test_unknown_names_are_errors_and_freeze_nothing(arguments, value, make_gpt):
    model = make_gpt()
    with pytest.raises(ValueError, match=value):
        model.requires_grad_(*arguments)
    assert model.grads().keys() == model.params().keys()


def test_a_head_that_is_frozen_for_one_loss_adds_nothing_of_the_loss_before(make_gpt, make_batch):
    model, (x, y) = make_gpt(tie_weights=False), make_batch()
    model.loss(x, y)
    model.backward()
    model.zero_grad()
    model.requires_grad_(False, "head")
    model.loss(x, y)
    model.requires_grad_(True, "head")
    model.backward()
    assert not model.head.embedding.dW.any()
