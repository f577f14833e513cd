"""What users of other libraries type: it works, or an error says in a sentence what to write instead."""

import json
import math

import numpy as np
import pytest

from numpygpt.data import DataLoader, eval_batches
from numpygpt.models import GPT
from numpygpt.nn import (
    GELU,
    CrossEntropyLoss,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    LinearCrossEntropy,
    Module,
    MultiHeadAttention,
    PositionalEmbedding,
    ReLU,
    SinusoidalEncoding,
    Softmax,
    Unembedding,
)
from numpygpt.optim import SGD, Adam, AdamW, clip_grad_norm
from numpygpt.optim.lr_scheduler import WarmupCosineLR
from numpygpt.parallel.threads import DataParallel
from numpygpt.training.checkpoint import load_checkpoint, save_checkpoint

x, y = np.random.default_rng(0).integers(0, 11, (2, 4, 6))
X = np.ones((4, 3), np.float32)
TOKENS = np.arange(50) % 7


def gpt(**changes):
    return GPT(**({"vocab_size": 11, "max_len": 6, "d_model": 8, "n_heads": 2, "n_layers": 1, "seed": 1} | changes))


def linear():
    return Linear(3, 2, rng=0)


def state(**changes):
    return {"W": np.ones((3, 2)), "b": np.ones(2)} | changes


def moments(**changes):
    return {"steps": 1, "m": state(), "v": state()} | changes


ARRAYS = {
    "loss, lists": (lambda: gpt().loss(x.tolist(), y.tolist()), "list.*np.array"),
    "loss, targets in a list": (lambda: gpt().loss(x, y.tolist()), "targets.*list.*np.array"),
    "call, list": (lambda: gpt()([[1, 2]]), "list.*np.array"),
    "call, targets in a list": (lambda: gpt()(x, y.tolist()), "targets.*list.*np.array"),
    "loss, no targets": (lambda: gpt().loss(x, None), "targets.*NoneType"),
    "float ids": (lambda: gpt().loss(x * 1.0, y), "float64.*int64"),
    "bool ids": (lambda: gpt().loss(x > 3, y), "bool"),
    "float targets": (lambda: gpt().loss(x, y * 1.0), "float64.*int64"),
    "ids of one axis": (lambda: gpt().loss(x[0], y[0]), r"\(B, T\).*\(6,\)"),
    "targets of another batch": (lambda: gpt().loss(x, y[:2]), r"\(2, 6\).*\(4, 6, 11\)"),
    "one-hot targets": (lambda: gpt().loss(x, np.eye(11, dtype=int)[y]), "one-hot.*argmax"),
    "probabilities as targets": (lambda: gpt()(x, np.eye(11)[y]), "one-hot.*argmax"),
    "Linear, list": (lambda: linear()([[1.0, 2, 3]]), "Linear.*list.*np.array"),
    "Linear, number": (lambda: linear()(1.0), "Linear.*float"),
    "Linear, strings": (lambda: linear()(np.full((2, 3), "a")), "Linear.*<U1"),
    "Linear, complex": (lambda: linear()(X.astype(complex)), "Linear.*complex128"),
    "Linear, objects": (lambda: linear()(X.astype(object)), "Linear.*object"),
    "LayerNorm, list": (lambda: LayerNorm(3)([1.0, 2, 3]), "LayerNorm.*list"),
    "GELU, integers": (lambda: GELU()(np.ones(3, int)), "GELU.*int64.*float32"),
    "Softmax, integers": (lambda: Softmax()(np.ones(3, int)), "Softmax.*int64.*float32"),
    "ReLU, list": (lambda: ReLU()([1.0]), "ReLU.*list"),
    "Dropout, list": (lambda: Dropout(0.5)([1.0]), "Dropout.*list"),
    "Dropout, integers": (lambda: Dropout(0.5)(np.ones(3, int)), "Dropout.*int64.*float32"),
    "attention, two axes": (lambda: MultiHeadAttention(4, 2)(np.ones((3, 4), np.float32)), r"\(B, T, C\).*\(3, 4\)"),
    "attention, list": (lambda: MultiHeadAttention(4, 2)([[1.0]]), "MultiHeadAttention.*list"),
    "positions, one axis": (lambda: PositionalEmbedding(5, 2)(np.ones(2, np.float32)), r"\(T, C\).*\(2,\)"),
    "Embedding, list": (lambda: Embedding(5, 2)([1, 2]), "list.*np.array"),
    "Embedding, negative id": (lambda: Embedding(5, 2)(np.array([-1])), "-1.*5"),
    "Unembedding, list": (lambda: Unembedding(5, 2)([1.0]), "Unembedding.*list"),
    "Unembedding, width": (lambda: Unembedding(5, 2)(X), r"2.*\(4, 3\)"),
    "Unembedding, tied to another size": (lambda: Unembedding(5, 2, tied=Embedding(5, 3)), "5.*2.*3"),
    "Unembedding, tied to an array": (lambda: Unembedding(5, 2, tied=np.ones((5, 2))), "Embedding.*5.*2"),
    "loss of logits, list": (lambda: CrossEntropyLoss()([[1.0, 2]], np.zeros(1, int)), "CrossEntropyLoss.*list"),
    "loss of logits, integers": (lambda: CrossEntropyLoss()(np.ones((2, 3), int), np.zeros(2, int)), "int64"),
    "loss of states, width": (lambda: LinearCrossEntropy(Unembedding(5, 2))(X, np.zeros(4, int)), r"2.*\(4, 3\)"),
    "param, integers": (lambda: Module().param("g", np.ones(3, int)), "Module.g.*int64.*float32"),
    "param, list": (lambda: Module().param("g", [1.0, 2]), "Module.g.*list"),
    "DataLoader, floats": (lambda: DataLoader(TOKENS * 1.0, 2, 3), "float64"),
    "DataLoader, two axes": (lambda: DataLoader(TOKENS.reshape(5, 10), 2, 3), r"\(5, 10\)"),
}
NUMBERS = {
    "float size": (lambda: gpt(vocab_size=11.0), "vocab_size.*11.0.*11"),
    "size in a string": (lambda: gpt(d_model="8"), "d_model.*'8'"),
    "True as a size": (lambda: gpt(n_layers=True), "n_layers.*True"),
    "no size": (lambda: gpt(n_layers=None), "n_layers.*None"),
    "half a head": (lambda: gpt(n_heads=0.5), "n_heads.*0.5"),
    "seed None": (lambda: gpt(seed=None), "seed.*None"),
    "seed below 0": (lambda: gpt(seed=-1), "seed.*-1"),
    "seed a float": (lambda: gpt(seed=1.0), "seed.*1.0"),
    "1 for True": (lambda: gpt(bias=1), "bias.*1"),
    "None for False": (lambda: gpt(tie_weights=None), "tie_weights.*None"),
    "activation None": (lambda: gpt(activation=None), "activation.*None"),
    "activation in a list": (lambda: gpt(activation=["gelu"]), "activation.*gelu"),
    "activation a class": (lambda: gpt(activation=GELU), "activation.*GELU"),
    "positions in a list": (lambda: gpt(positions=["learned"]), "positions.*learned"),
    "dropout a percentage": (lambda: gpt(dropout=10), "dropout.*10"),
    "Linear of a float": (lambda: Linear(3.0, 2), "d_in.*3.0.*3"),
    "Linear bias None": (lambda: Linear(3, 2, None), "bias.*None"),
    "Embedding of a float": (lambda: Embedding(5.0, 2), "n .*5.0.*5"),
    "Embedding of nothing": (lambda: Embedding(0, 2), "n .*0"),
    "LayerNorm of a shape": (lambda: LayerNorm((3,)), r"d_model.*\(3,\)"),
    "LayerNorm eps 0 in its type": (lambda: LayerNorm(3, eps=1e-60), "eps.*float32.*1e-60"),
    "LayerNorm eps below 0": (lambda: LayerNorm(3, eps=-1e-5), "eps.*-1e-05"),
    "positions of a float": (lambda: PositionalEmbedding(5.0, 2), "max_len.*5.0"),
    "sinusoids of a float": (lambda: SinusoidalEncoding(5, 2.0), "d_model.*2.0"),
    "heads of a float": (lambda: MultiHeadAttention(4, 2.0), "n_heads.*2.0"),
    "Dropout 1.0": (lambda: Dropout(1.0), "1.0"),
    "Dropout in a string": (lambda: Dropout("0.1"), "'0.1'"),
    "Dropout None": (lambda: Dropout(None), "None"),
    "rng below 0": (lambda: Dropout(0.1, rng=-1), "non-negative"),
    "lr in a string": (lambda: AdamW(gpt(), lr="1e-3"), "lr.*'1e-3'"),
    "lr None": (lambda: SGD(gpt(), lr=None), "lr.*None"),
    "one beta": (lambda: AdamW(gpt(), betas=0.9), "betas.*0.9"),
    "three betas": (lambda: AdamW(gpt(), betas=(0.9, 0.99, 0.999)), "betas.*0.999"),
    "momentum True": (lambda: SGD(gpt(), momentum=True), "momentum.*True"),
    "max_norm None": (lambda: clip_grad_norm(gpt(), None), "max_norm.*None"),
    "workers a float": (lambda: DataParallel(gpt(), 2.0), "workers.*2.0.*2"),
    "DataLoader, swapped": (lambda: DataLoader(2, TOKENS, 3), "batch_size"),
    "DataLoader, float": (lambda: DataLoader(TOKENS, 2.0, 3), "batch_size.*2.0"),
    "DataLoader, seed None": (lambda: DataLoader(TOKENS, 2, 3, seed=None), "seed.*None"),
    "evaluation, float": (lambda: eval_batches(TOKENS, 2, 3.0), "context.*3.0"),
    "warm-up and decay swapped": (lambda: WarmupCosineLR(AdamW(gpt()), 1000, 100), "100 .*1000.*warmup, decay"),
    "warm-up a share": (lambda: WarmupCosineLR(AdamW(gpt()), 0.1, 100), "warmup.*0.1"),
    "decay None": (lambda: WarmupCosineLR(AdamW(gpt()), 10, None), "decay.*None"),
    "tokens to write, a float": (lambda: gpt().generate([[1]], 2.0), "max_new_tokens.*2.0"),
    "writing with seed None": (lambda: gpt().generate([[1]], 2, seed=None), "seed.*None"),
    "top_k a float": (lambda: gpt().generate([[1]], 2, top_k=2.5), "top_k.*2.5"),
    "temperature in a string": (lambda: gpt().generate([[1]], 2, "1"), "temperature.*'1'"),
    "prompts in a further list": (lambda: gpt().generate([[[1]], [1, 2]], 2), r"context.*\(1, 1\)"),
    "stop a text": (lambda: gpt().generate([[1]], 2, stop="a"), "stop.*'a'"),
}
MODELS = {
    "optimiser of params()": (lambda: AdamW(gpt().params()), r"dict.*AdamW\(model"),
    "optimiser of named_parameters()": (lambda: Adam(gpt().named_parameters()), r"generator.*Adam\(model"),
    "optimiser of a list": (lambda: SGD(list(gpt().params().values()), lr=1e-3), r"list.*SGD\(model"),
    "optimiser of a class": (lambda: AdamW(GPT), r"AdamW\(model"),
    "clip of params()": (lambda: clip_grad_norm(gpt().params(), 1.0), r"dict.*clip_grad_norm\(model"),
    "clip of an optimiser": (lambda: clip_grad_norm(AdamW(gpt()), 1.0), r"AdamW.*clip_grad_norm\(model"),
    "workers for params()": (lambda: DataParallel(gpt().params(), 2), "dict"),
    "schedule of a model": (lambda: WarmupCosineLR(gpt(), 10, 100), "GPT.*optimizer, warmup, decay"),
    "schedule, optimiser last": (lambda: WarmupCosineLR(10, 100, AdamW(gpt())), "int.*optimizer, warmup, decay"),
    "parameters()": (lambda: AdamW(gpt().parameters()), r"parameters.*params\(\).*AdamW\(model\)"),
    "to(dtype)": (lambda: gpt().to("float16"), "float16"),
    "cuda()": (lambda: gpt().cuda(), "cuda"),
    "half()": (lambda: gpt().half(), "half.*astype"),
    "param_groups": (lambda: AdamW(gpt()).param_groups, "param_groups.*lr"),
    "backward first": (lambda: linear().backward(X), "X.*call the layer first"),
    "a misspelt name": (lambda: gpt().laoss, "laoss"),
}
STATES = {
    "list": (lambda: linear().load_state_dict([1]), "list"),
    "None": (lambda: linear().load_state_dict(None), "NoneType"),
    "strings": (lambda: linear().load_state_dict(state(W=np.full((3, 2), "a"))), "W .*<U1.*float32"),
    "complex": (lambda: linear().load_state_dict(state(W=np.ones((3, 2), complex))), "W .*complex128"),
    "ragged": (lambda: linear().load_state_dict(state(W=[[1, 2], [3]])), "W "),
    "beyond float32": (lambda: linear().load_state_dict(state(W=np.full((3, 2), 1e300))), "W .*float32"),
    "PyTorch's names": (lambda: linear().load_state_dict({"weight": np.ones((2, 3)), "bias": np.ones(2)}),
                        "missing W.*weight.*transpose"),
    "optimiser, list": (lambda: Adam(linear()).load_state_dict([1]), "list.*m, steps, v"),
    "optimiser, PyTorch's": (lambda: Adam(linear()).load_state_dict({"state": {}, "param_groups": []}), "param_groups"),
    "optimiser, NaN": (lambda: Adam(linear()).load_state_dict(moments(m=state(b=[math.nan, 0]))), "m of b"),
    "optimiser, v below 0": (lambda: Adam(linear()).load_state_dict(moments(v=state(b=[-1, 0]))), "v of b"),
    "optimiser, steps": (lambda: Adam(linear()).load_state_dict(moments(steps=1.5)), "steps.*1.5"),
    "optimiser, steps below 0": (lambda: Adam(linear()).load_state_dict(moments(steps=-1)), "steps.*-1"),
    "schedule, PyTorch's": (lambda: WarmupCosineLR(AdamW(gpt()), 1, 2).load_state_dict({"last_epoch": 3}),
                            "last_epoch"),
    "loader, list": (lambda: DataLoader(TOKENS, 2, 3).load_state_dict([1]), "epoch.*position"),
}
ALL = {f"{kind}: {name}": case for kind, cases in (("arrays", ARRAYS), ("numbers", NUMBERS), ("models", MODELS),
                                                  ("states", STATES)) for name, case in cases.items()}


@pytest.mark.parametrize(("call", "values"), ALL.values(), ids=ALL)
def test_the_error_names_what_came_and_what_to_write(call, values):
    with pytest.raises((ValueError, AttributeError), match=f"(?s){values}") as error:
        call()
    assert len(str(error.value)) < 600


WORKS = {
    "non-contiguous ids": lambda: gpt().loss(np.asfortranarray(x), y.T.copy().T),
    "small integers": lambda: gpt().loss(x.astype(np.uint8), y.astype(np.uint16)),
    "unsigned 64 bits": lambda: gpt().loss(x.astype(np.uint64), y.astype(np.int32)),
    "logits and loss": lambda: gpt()(x, y)[1],
    "workers and lists": lambda: DataParallel(gpt(), 1).loss(x.tolist(), y.tolist()),
    "sizes of NumPy": lambda: gpt(vocab_size=np.int64(11), max_len=np.int64(6), seed=np.int64(1)).loss(x, y),
    "workers of NumPy": lambda: DataParallel(gpt(), np.int64(2)).loss(x, y),
}


@pytest.mark.parametrize("call", WORKS.values(), ids=WORKS)
def test_what_works_gives_the_same_loss(call):
    assert call() == pytest.approx(gpt().loss(x, y), rel=1e-6)


@pytest.mark.parametrize("shape", [(0, 6), (4, 0), (0, 0)])
@pytest.mark.parametrize("way", ["loss", "forward"])
def test_an_empty_batch_has_no_loss_and_no_gradient(shape, way):
    model, empty = gpt(), np.zeros(shape, int)
    found = getattr(model, way)(empty, empty)
    assert (found if way == "loss" else found[1]) == 0
    model.backward()
    assert not model.flat().grads.any()


def test_numbers_of_numpy_become_pythons_and_are_saved(tmp_path):
    model = gpt(vocab_size=np.int64(11), n_heads=np.uint8(2), d_ff=np.int32(12), dropout=np.float32(0.5),
                seed=np.int64(3), bias=np.bool_(True), tie_weights=np.bool_(False), max_len=np.array(6),
                activation=np.str_("relu"), dtype=np.float64)
    types = {type(value) for value in model.config.to_dict().values() if not isinstance(value, str)}
    assert types <= {int, float, bool, type(None)}
    values = model.config.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert model.config.dropout == 0.5 and model.config.d_ff == 12 and model.config.tie_weights is False
    assert model.blocks[0].ffn.fc.d_out == 12 and GPT(model.config).n_params() == model.n_params()
    header = {"step": np.int64(3), "loss": np.float32(0.5), "flag": np.bool_(True), "list": [np.int16(1)]}
    save_checkpoint(tmp_path / "a.npz", header, {"a": [1.0, 2.0]})
    found = load_checkpoint(tmp_path / "a.npz")
    assert {name: found.header[name] for name in header} == {"step": 3, "loss": 0.5, "flag": True, "list": [1]}
    assert found.arrays["a"].tolist() == [1, 2]


@pytest.mark.parametrize("value", [{1}, np.ones(2), object()])
def test_what_json_cannot_hold_is_named_and_leaves_no_file(tmp_path, value):
    with pytest.raises(ValueError, match=type(value).__name__):
        save_checkpoint(tmp_path / "a.npz", {"step": value}, {})
    assert list(tmp_path.iterdir()) == []


def test_hyper_parameters_of_numpy_become_pythons():
    optimizer = AdamW(gpt(), np.float32(0.25), [np.float64(0.5), np.float32(0.75)], np.float64(1e-8), np.array(0.5))
    assert (optimizer.lr, optimizer.betas, optimizer.weight_decay) == (0.25, (0.5, 0.75), 0.5)
    assert {type(n) for n in (optimizer.lr, *optimizer.betas, optimizer.eps, optimizer.weight_decay)} == {float}
    assert AdamW(gpt(), betas=np.array([0.5, 0.75])).betas == (0.5, 0.75)
    schedule = WarmupCosineLR(optimizer, np.int64(1), np.int32(4), np.float32(0.125))
    assert json.dumps(schedule.state_dict()) and type(optimizer.lr) is float
    assert clip_grad_norm(gpt(), np.float32(1)) == 0
    optimizer.step()
    assert optimizer.flat.params.dtype == np.float32


def test_states_in_lists_are_loaded_and_what_does_not_fit_changes_nothing():
    layer = linear()
    layer.load_state_dict({"W": np.arange(6).reshape(3, 2).tolist(), "b": [1, 2]})
    assert layer.W.tolist() == [[0, 1], [2, 3], [4, 5]] and layer.b.tolist() == [1, 2]
    with pytest.raises(ValueError, match="b"):
        layer.load_state_dict({"W": np.zeros((3, 2)), "b": np.full(2, "a")})
    assert layer.W.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_tensors_of_torch_are_refused_or_taken():
    torch = pytest.importorskip("torch")
    model = gpt()
    ids, targets = torch.tensor(x), torch.tensor(y)
    for call in (lambda: model.loss(ids, y), lambda: model.loss(x, targets), lambda: linear()(torch.ones(2, 3)),
                 lambda: DataParallel(model, 2).loss(ids, targets)):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(ValueError, match="W"):
        linear().load_state_dict(torch.nn.Linear(3, 2).state_dict())
    for dtype in (torch.float32, torch.float64):
        with pytest.raises(ValueError):
            gpt(dtype=dtype)
    layer = linear()
    layer.load_state_dict({"W": torch.full((3, 2), 2.0), "b": torch.ones(2)})
    assert (layer.W == 2).all()
