"""A copy of a module is as good as the original: arrays of its own that stay in use, and no cached activations."""

import copy
import pickle

import numpy as np
import pytest

from numpygpt.models import GPT
from numpygpt.nn import CrossEntropyLoss, Dropout, FeedForward, Linear, Module
from numpygpt.optim import SGD, AdamW, clip_grad_norm
from numpygpt.parallel.threads import DataParallel

COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda m: pickle.loads(pickle.dumps(m))}
copies = pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)


def gpt(dropout=0.0):
    return GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=2, dropout=dropout, seed=1)


def batch(shape=(4, 6)):
    return np.random.default_rng(0).integers(0, 11, (2, *shape))


def trained(model, steps=2):
    """The model after some steps, with gradients and caches of the last one."""
    optimizer = AdamW(model, 1e-2)
    for _ in range(steps):
        model.loss(*batch())
        model.zero_grad()
        model.backward()
        optimizer.step()
    return model


class Wrapper(Module):
    """A model inside a larger module, with a layer after it."""

    def __init__(self):
        self.gpt, self.out = gpt(), Linear(8, 3, rng=0)


class OldStyle(Module):
    """A user's layer that names its caches in `__init__`, and has a state that `forward` changes."""

    def __init__(self):
        self.X, self.calls, self.rng = None, 0, None
        self.param("g", np.ones(3, np.float32))

    def forward(self, X):
        self.X, self.X2 = X, [X * X, {"again": X}]
        self.calls += 1
        self.rng = self.rng or np.random.default_rng(0)
        self.late = getattr(self, "late", None) or Linear(3, 3, rng=0)
        return X * self.g

    def backward(self, dY):
        self.dg += (dY * self.X).sum(axis=0)
        return dY * self.g


USES = {"AdamW": AdamW, "clip": lambda m: clip_grad_norm(m, 1.0), "flat": lambda m: m.flat(),
        "DataParallel": lambda m: DataParallel(m, 2).close(), "replica": lambda m: m.replica(), "none": lambda m: None}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@copies
@pytest.mark.parametrize("model", [gpt, lambda: trained(gpt()), lambda: FeedForward(8, 16, rng=0), Wrapper],
                         ids=["new", "trained", "bare", "wrapped"])
def test_the_params_of_a_copy_stay_live_and_are_its_own(model, make, use):
    model = model()
    before = model.state_dict()
    twin = make(model)
    params, grads = twin.params(), twin.grads()
    use(twin)
    for name, param in params.items():
        np.testing.assert_array_equal(param, before[name])
        assert twin.params()[name] is param and twin.grads()[name] is grads[name]
        assert not np.shares_memory(param, model.params()[name])
        param += 1
    assert all((twin.params()[name] == before[name] + 1).all() for name in before)
    flat = twin.flat()
    assert flat.params.flags.c_contiguous and flat.params.size == twin.n_params()
    assert all(np.shares_memory(flat.params, param) for param in params.values())
    for name, param in model.params().items():
        np.testing.assert_array_equal(param, before[name])


@copies
def test_a_copy_trains_like_the_original_to_the_bit_and_leaves_it_alone(make):
    model = trained(gpt(dropout=0.3))
    one, two = make(model), make(model)
    before = model.state_dict()
    for twin in (one, two):
        trained(twin)
    for name, param in model.params().items():
        np.testing.assert_array_equal(param, before[name])
        assert not np.array_equal(one.params()[name], param) or not model.grads()[name].any()
    trained(model)
    for other in (one, two):
        np.testing.assert_array_equal(other.flat().params, model.flat().params)


@copies
def test_a_copy_keeps_gradients_mode_names_and_what_shares_an_array(make):
    model = trained(gpt()).eval()
    model.label = "best"
    twin = make(model)
    assert not twin.training and twin.label == "best" and twin.config == model.config
    assert twin.head.embedding is twin.wte and twin.head_loss.head is twin.head
    np.testing.assert_array_equal(twin.flat().grads, model.flat().grads)
    assert list(twin.flat().layout) == list(model.flat().layout) and twin.flat().n_matrix == model.flat().n_matrix


@copies
@pytest.mark.parametrize("way", ["loss", "forward"])
def test_a_copy_has_no_loss_to_go_back_from(make, way):
    model = gpt()
    getattr(model, way)(*batch())
    twin = make(model)
    with pytest.raises(RuntimeError, match="loss"):
        twin.backward()
    model.backward()  # the original has
    assert model.flat().grads.any()


def test_a_pickle_holds_parameters_and_gradients_and_no_activations():
    model = GPT(vocab_size=50, max_len=64, d_model=32, n_heads=2, n_layers=2, seed=1)
    new = len(pickle.dumps(model))
    x, y = np.random.default_rng(0).integers(0, 50, (2, 16, 64))
    model(x, y)
    model.loss(x, y)
    model.backward()
    size = model.flat().params.nbytes
    assert len(pickle.dumps(model)) <= new + size + 10_000  # the gradients, and a few names and shapes
    assert new <= size + 20_000
    assert model.blocks[0].ffn.fc.X is not None, "the model itself keeps what backward needs"


@pytest.mark.parametrize("make", [*COPIES.values(), lambda m: m.replica(), lambda m: m.astype("float64")],
                         ids=[*COPIES, "replica", "astype"])
def test_caches_of_a_users_layer_are_left_out_and_its_state_is_kept(make):
    layer = OldStyle()
    layer(np.ones((5, 3), np.float32))
    layer.note = np.arange(3)  # given from outside: not a cache
    before = {name for name in vars(layer) if not name.startswith("_")}
    twin = make(layer)
    assert twin.X is None and not hasattr(twin, "X2")
    assert twin.calls == 1 and twin.note.tolist() == [0, 1, 2]
    assert isinstance(twin.rng, np.random.Generator) and isinstance(twin.late, Linear)
    assert before - {name for name in vars(twin)} == {"X2"}
    twin(np.ones((5, 3), np.float32))
    twin.backward(np.ones((5, 3)))
    assert twin.dg.tolist() == [5, 5, 5]


def test_a_replica_made_after_a_step_copies_no_cache():
    model = trained(gpt())
    twin = model.replica()
    assert model.wte.ids is not None and not hasattr(twin.wte, "ids")
    assert twin.head_loss.dE is None and twin.params()["wte.W"] is model.wte.W


def test_replicas_of_a_copy_share_the_copys_parameters():
    model = gpt()
    twin = copy.deepcopy(model).replica().replica()
    twin.wte.W += 1
    assert not np.array_equal(twin.wte.W, model.wte.W)


def test_a_copy_in_the_middle_of_a_forward_is_whole():
    class Copies(Linear):
        def forward(self, X):
            Y = super().forward(X)
            self.twin_of = [copy.deepcopy(self)]
            return Y

    layer = Copies(2, 2, rng=0)
    layer(np.ones((1, 2), np.float32))
    twin = layer.twin_of[0]
    twin.kept = np.ones(1)
    assert copy.deepcopy(twin).kept.tolist() == [1]


def test_a_copied_loss_and_dropout_work_again():
    loss, drop = CrossEntropyLoss(), Dropout(0.5, rng=0)
    loss(np.zeros((2, 3), np.float32), np.array([0, 1]))
    drop(np.ones((2, 3), np.float32))
    other, again = copy.deepcopy(loss), copy.deepcopy(drop)
    assert not hasattr(other, "P") and getattr(again, "mask", None) is None
    np.testing.assert_array_equal(again(np.ones((2, 3), np.float32)), drop(np.ones((2, 3), np.float32)))


# -- astype ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [gpt, lambda: trained(gpt()), lambda: FeedForward(8, 16, rng=0)],
                         ids=["new", "trained", "bare"])
def test_params_are_live_after_astype_and_the_model_trains(model):
    model = model()
    assert model.astype("float64") is model
    params = model.params()
    optimizer = SGD(model, 0.1)
    assert all(model.params()[name] is param and param.dtype == np.float64 for name, param in params.items())
    for grad in model.grads().values():
        grad.fill(1)
    before = model.state_dict()
    optimizer.step()
    np.testing.assert_allclose(params["norm_f.beta" if "norm_f.beta" in params else "fc.b"],
                               before["norm_f.beta" if "norm_f.beta" in params else "fc.b"] - 0.1)


def test_astype_to_the_same_type_moves_nothing():
    model = gpt()
    optimizer, params = SGD(model, 0.1), model.params()
    model.astype("float32")
    optimizer.step()
    assert model.params()["wte.W"] is params["wte.W"]


def test_what_was_handed_out_before_astype_refuses_to_be_written():
    model = gpt()
    old = model.params()
    model.astype("float64")
    with pytest.raises(ValueError):
        old["wte.W"] -= 1


def test_astype_drops_the_caches_of_the_other_type():
    model = gpt()
    model.loss(*batch())
    model.astype("float64")
    with pytest.raises(RuntimeError, match="loss"):
        model.backward()
    model.loss(*batch())
    model.backward()
    assert model.blocks[0].ffn.fc.X.dtype == np.float64


def test_a_model_of_two_dtypes_is_refused_with_both():
    wrapper = Wrapper()
    wrapper.out.astype("float64")
    with pytest.raises(ValueError, match=r"(?s)float32.*float64"):
        AdamW(wrapper)
    AdamW(wrapper.astype("float32")).step()


# -- a model inside a larger module ------------------------------------------------------------------------------------


def step(wrapper, optimizer, clipped):
    wrapper.gpt.loss(*batch())
    wrapper.gpt.backward()
    clip_grad_norm(clipped, 1e9)
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("inner", [lambda m: clip_grad_norm(m, 1.0), lambda m: DataParallel(m, 2).close(),
                                   lambda m: m.flat(), lambda m: m.params(), lambda m: m.replica(), AdamW,
                                   lambda m: m.generate([[1]], 2), copy.deepcopy, pickle.dumps],
                         ids=["clip", "parallel", "flat", "params", "replica", "AdamW", "generate", "copy", "pickle"])
def test_using_a_part_moves_nothing_of_the_whole(inner):
    wrapper = Wrapper()
    optimizer = AdamW(wrapper, 1e-2)
    params, part = wrapper.params(), wrapper.gpt.params()
    for module in (wrapper.gpt, wrapper.gpt.blocks[0], wrapper.out):
        if module is wrapper.gpt or inner.__name__ != "<lambda>":
            inner(module)
    before = wrapper.state_dict()
    step(wrapper, optimizer, wrapper.gpt)
    assert all(wrapper.params()[name] is param for name, param in params.items())
    assert all(wrapper.gpt.params()[name] is param for name, param in part.items())
    assert not np.array_equal(before["gpt.wte.W"], part["wte.W"])


def test_the_optimiser_of_a_part_updates_the_part_alone():
    """Fine-tuning of the last block: the whole model's arrays stay contiguous, and clip sees all of them."""
    model, whole = gpt(), gpt()
    optimizer, reference = AdamW(model.blocks[1], 1e-2, weight_decay=0.5), AdamW(whole, 1e-2, weight_decay=0.5)
    before = model.state_dict()
    for _ in range(3):
        for m, opt in ((model, optimizer), (whole, reference)):
            m.load_state_dict({name: p if name.startswith("blocks.1.") else before[name]
                               for name, p in m.state_dict().items()})
            m.zero_grad()
            m.loss(*batch())
            m.backward()
            clip_grad_norm(m, 0.1)
            opt.step()
    for name, param in model.params().items():
        assert name.startswith("blocks.1.") != np.array_equal(param, before[name]) or not model.grads()[name].any()
        if name.startswith("blocks.1."):
            np.testing.assert_array_equal(param, whole.params()[name])
    optimizer.zero_grad()
    assert not any(grad.any() for grad in model.blocks[1].grads().values()) and model.wte.dW.any()


def test_the_norm_of_a_part_is_the_parts():
    wrapper = Wrapper()
    clip_grad_norm(wrapper, 1.0)
    wrapper.out.dW[0, 0], wrapper.gpt.wte.dW[0, 0], wrapper.gpt.norm_f.dbeta[0] = 100, 3, 4
    assert clip_grad_norm(wrapper.gpt, 2.5) == 5
    assert wrapper.gpt.wte.dW[0, 0] == 1.5 and wrapper.gpt.norm_f.dbeta[0] == 2 and wrapper.out.dW[0, 0] == 100


def test_a_part_in_parallel_gives_the_gradients_of_the_part():
    wrapper, alone = Wrapper(), gpt()
    wrapper.gpt.load_state_dict(alone.state_dict())
    AdamW(wrapper)
    for model in (wrapper.gpt, alone):
        with DataParallel(model, 2) as parallel:
            parallel.loss(*batch())
            parallel.backward()
    for name, grad in alone.grads().items():
        np.testing.assert_array_equal(wrapper.gpt.grads()[name], grad)
    assert not wrapper.out.dW.any()


def test_what_the_whole_moved_says_so():
    wrapper = Wrapper()
    optimizer, parallel, old = AdamW(wrapper.gpt), DataParallel(wrapper.gpt, 1), wrapper.gpt.params()
    AdamW(wrapper)
    with pytest.raises(RuntimeError, match="moved"):
        optimizer.step()
    with pytest.raises(RuntimeError, match="moved"):
        parallel.loss(*batch())
    with pytest.raises(ValueError):
        old["wte.W"] += 1
    AdamW(wrapper.gpt).step()  # made again, both work
    DataParallel(wrapper.gpt, 1).loss(*batch())


def test_a_layer_that_was_removed_or_added_is_noticed():
    model = gpt()
    optimizer = AdamW(model)
    last = model.blocks.pop()
    with pytest.raises(RuntimeError, match="moved"):
        optimizer.step()
    AdamW(model).step()
    model.blocks.append(last)
    AdamW(model).step()
    assert model.flat().params.size == model.n_params()
