"""Low-rank adaptation: a frozen Linear, and a small trained update of its matrix (LoRA, Hu et al. 2021)."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from numpygpt.nn import init
from numpygpt.nn.backend import like
from numpygpt.nn.cost import Call, Child, Cost, Formula
from numpygpt.nn.functional import rows, tiny_is_zero
from numpygpt.nn.modules.dropout import Dropout
from numpygpt.nn.modules.linear import Linear
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.tree import modules_in
from numpygpt.utils.checks import integer, number
from numpygpt.utils.signals import signals_wait


class LoRALinear(Module):
    """Y = base(X) + alpha/rank dropout(X) A B: a frozen Linear `base`, and an update of rank `rank` that learns.

    X: (..., in), A: (in, rank), B: (rank, out), Y: (..., out). A starts as N(0, 1/in) and B as zeros, so that training
    starts at the frozen layer. `alpha` scales the update, by default with alpha/rank = 1. A and B have (in + out) rank
    numbers instead of the in * out of W. Caches X after dropout, and its product with A; the base caches nothing. Hu et
    al. 2021, section 4.1. Raises ValueError for a rank beyond min(in, out), where the update would be no smaller.
    """

    A: np.ndarray
    dA: np.ndarray
    B: np.ndarray
    dB: np.ndarray

    def __init__(self, linear: Linear, rank: int, alpha: float | None = None, dropout: float = 0.0,
                 rng: np.random.Generator | int | None = None):
        if not isinstance(linear, Linear):
            raise ValueError(f"LoRALinear needs a Linear, got {type(linear).__name__}")
        self.d_in, self.d_out, self.bias = linear.d_in, linear.d_out, linear.bias
        self.rank = check_rank(rank, linear)
        self.alpha = check_alpha(self.rank if alpha is None else alpha)
        self.scale = self.alpha / self.rank
        rng = np.random.default_rng(rng)
        self.base = linear
        A, B = (self.d_in, self.rank), (self.rank, self.d_out)
        self.param("A", like(init.normal(rng, A, self.d_in**-0.5, linear.W.dtype), linear.W))
        self.param("B", like(init.zeros(B, linear.W.dtype), linear.W))
        self.dropout = Dropout(dropout, rng=rng.spawn(1)[0])
        linear.requires_grad_(False)  # last: an argument that does not fit changes nothing

    @tiny_is_zero
    def forward(self, X: np.ndarray) -> np.ndarray:  # X: (..., in)
        Y = self.base(X)  # (..., out)
        self.X = self.dropout(X)  # (..., in)
        self.U = rows(self.X) @ self.A  # (N, rank)
        Y += (self.scale * self.U @ self.B).reshape(Y.shape)
        return Y  # (..., out)

    @tiny_is_zero
    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (..., out)
        dY2 = rows(dY)  # (N, out)
        if self.trains("B"):
            self.dB += self.scale * self.U.T @ dY2  # forward: Y = .. + scale U B  so  dB = scale U^T dY
        dU = self.scale * (dY2 @ self.B.T)  # (N, rank)                            and dU = scale dY B^T
        if self.trains("A"):
            self.dA += rows(self.X).T @ dU  # forward: U = dropout(X) A            so  dA = dropout(X)^T dU
        dX = self.base.backward(dY)  # (..., in). forward: Y = base(X) + .., so X has two paths: add both
        dX += self.dropout.backward((dU @ self.A.T).reshape(dX.shape))
        return dX  # (..., in)

    formula: ClassVar[Formula] = Formula(
        ("U = dropout(X) A,  Y = base(X) + s U B,  s = alpha / rank",),
        ("dB = s Uᵀ dY,  dU = s dY Bᵀ,  dA = dropout(X)ᵀ dU", "dX = base.backward(dY) + dropout.backward(dU Aᵀ)"))

    def cost(self, call: Call) -> Cost:
        call.check(self, self.d_in)
        n, r = call.rows, self.rank
        product = 2 * n * r * (self.d_in + self.d_out)  # X A and U B; twice as many for their gradients
        X = call.nbytes if call.training and self.dropout.p > 0 else call.input_bytes  # else X is not a new array
        return Cost(call.wide(self.d_out), product + n * (r + self.d_out), 2 * product + n * (r + self.d_in),
                    X + n * r * call.itemsize,
                    children=(Child("base", self.base, call), Child("dropout", self.dropout, call)))

    def update(self) -> np.ndarray:
        """alpha/rank A B (in, out): what the adapter adds to the base's matrix."""
        return self.scale * self.A @ self.B

    def extra_repr(self) -> str:
        return f"rank={self.rank}, alpha={self.alpha:g}"


def apply_lora(model: Module, targets: Iterable[str] = ("attn.qkv", "ffn"), rank: int = 8, alpha: float | None = None,
               dropout: float = 0.0, seed: int = 0) -> list[str]:
    """Put a LoRALinear in place of each Linear that has a target in its name, freeze everything else, and return the
    names. `ffn` means blocks.0.ffn.fc, blocks.0.ffn.proj and so on: a target is one or more parts of a dotted name.

    Make optimisers and workers afterwards. Raises ValueError for a target that no Linear has, a rank that does not fit
    one of them, and a model that has adapters already; then nothing was changed.
    """
    targets = (targets,) if isinstance(targets, str) else tuple(targets)
    if adapters_of(model):
        raise ValueError("this model has LoRA adapters already: fold them in with merge_lora, or load the model again")
    linears = {name: module for name, module in model.named_modules() if isinstance(module, Linear)}
    if not linears:
        raise ValueError(f"this {type(model).__name__} has no Linear to adapt; weights in 8 bits cannot be trained")
    if unknown := [target for target in targets if not any(has_part(name, target) for name in linears)]:
        raise ValueError(f"no Linear of this {type(model).__name__} is named {' or '.join(map(repr, unknown))}; there "
                         f"are: {', '.join(dict.fromkeys(map(without_numbers, linears)))}")
    chosen = {name: linear for name, linear in linears.items() if any(has_part(name, target) for target in targets)}
    if not chosen:
        raise ValueError("`targets` is empty: name the layers to adapt, for example 'attn.qkv'")
    for linear in chosen.values():  # before anything changes
        check_rank(rank, linear)
    rng = np.random.default_rng(integer("seed", seed))
    adapters = {name: LoRALinear(linear, rank, alpha, dropout, rng).train(linear.training)
                for name, linear in chosen.items()}
    model.requires_grad_(False)
    put_in_place(model, {id(adapter.base): adapter for adapter in adapters.values()})
    return list(adapters)


def merge_lora(model: Module) -> dict[str, LoRALinear]:
    """Add every adapter's update to its base, W += alpha/rank A B, and put the plain Linears back: the model computes
    the same function, without the cost of the adapters. All its parameters learn again.

    Returns the adapters by name, which `unmerge_lora` needs. Raises ValueError if the model has none.
    """
    adapters = adapters_of(model)
    if not adapters:
        raise ValueError(f"this {type(model).__name__} has no LoRA adapters to merge")
    with signals_wait():  # half a merge would be another model
        for adapter in adapters.values():
            adapter.base.W += adapter.update()
        put_in_place(model, {id(adapter): adapter.base for adapter in adapters.values()})
        model.requires_grad_(True)
    return adapters


def unmerge_lora(model: Module, adapters: dict[str, LoRALinear]) -> None:
    """Undo `merge_lora`, which returned `adapters`: subtract each update from its base, W -= alpha/rank A B, put the
    adapters back, and freeze everything else. W is as before the merge up to one rounding of each entry. Raises
    ValueError if the model has adapters now, or lacks one of the layers."""
    if adapters_of(model):
        raise ValueError("this model has LoRA adapters, so there is no merge to undo: call merge_lora first")
    inside = {id(module) for _, module in model.named_modules()}
    if lost := [name for name, adapter in adapters.items() if id(adapter.base) not in inside]:
        raise ValueError(f"{lost[0]} is no longer a layer of this {type(model).__name__}")
    with signals_wait():
        for adapter in adapters.values():
            adapter.base.W -= adapter.update()
        model.requires_grad_(False)
        put_in_place(model, {id(adapter.base): adapter for adapter in adapters.values()})


def lora_params(model: Module) -> dict[str, np.ndarray]:
    """The arrays of all adapters by dotted name, as in `Module.params`: live, so that writing to them trains."""
    params = model.params()
    return {f"{name}.{own}": params[f"{name}.{own}"] for name in adapters_of(model) for own in ("A", "B")}


def adapters_of(model: Module) -> dict[str, LoRALinear]:
    """The adapters of a model by dotted name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


def has_part(name: str, target: str) -> bool:
    """Whether the parts of `target` follow one another in a dotted name."""
    return f".{target}." in f".{name}."


def without_numbers(name: str) -> str:
    """The part of a dotted name after its last number: blocks.0.attn.qkv -> attn.qkv."""
    parts = name.split(".")
    last = max((i for i, part in enumerate(parts) if part.isdigit()), default=-1)
    return ".".join(parts[last + 1 :])


def put_in_place(model: Module, new: dict[int, Module]) -> None:
    """Replace layers, given by identity, in every attribute of the model, and in lists, tuples and dicts there."""
    def exchanged(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            items = [exchanged(item) for item in value]
            return value if all(map(operator.is_, items, value)) else type(value)(items)
        if isinstance(value, dict):
            return {key: exchanged(item) for key, item in value.items()}
        return new.get(id(value), value)

    for _, module in list(model.named_modules()):
        for name, value in list(vars(module).items()):
            if any(id(inside) in new for _, inside in modules_in(name, value)):
                setattr(module, name, exchanged(value))


def check_rank(rank: int, linear: Linear) -> int:
    """The rank as an int. ValueError unless 1 <= rank <= min(in, out)."""
    rank, largest = integer("rank", rank), min(linear.d_in, linear.d_out)
    if not 1 <= rank <= largest:
        raise ValueError(f"rank must be between 1 and {largest} for a Linear of {linear.d_in} x {linear.d_out}, "
                         f"got {rank}")
    return rank


def check_alpha(alpha: float) -> float:
    """alpha as a float. ValueError unless it is finite and above 0."""
    alpha = number("alpha", alpha)
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha must be a finite number above 0, got {alpha}")
    return alpha
