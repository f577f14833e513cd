"""What is changed: every function that a backward pass runs, and those that make a gradient in the forward pass."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from numpygpt.nn import backend, mixed
from numpygpt.nn import functional as F
from numpygpt.nn.modules import copies, tree
from numpygpt.nn.modules.loss import LinearCrossEntropy
from numpygpt.nn.modules.module import Module
from numpygpt.verify import cases as gradient_cases
from numpygpt.verify.check import Comparison

# These compute the gradient together with the output; backward only scales it. (layer, function)
FORWARD = (("GELU", F.gelu), ("SiLU", F.silu), ("LinearCrossEntropy", LinearCrossEntropy.forward),
           ("LinearCrossEntropy", LinearCrossEntropy.zeros))
# Finds modules, deletes caches, and chooses between array libraries and dtypes that no gradient case has.
PLUMBING = (Module, tree.Tree, tree, copies, backend, mixed, mixed.Products)
ROOMS = ("numpygpt.nn.", "numpygpt.models.")


@dataclass(frozen=True)
class Target:
    """A function to change. The gradient cases of `layer` must notice every change."""

    layer: str
    function: Any  # a FunctionType: mypy does not accept a method as one
    forward: bool = False  # changed in the forward pass as well: there only changes that keep the output count

    @property
    def name(self) -> str:
        inside = self.function.__qualname__
        return inside if "." in inside else f"{self.function.__module__.rsplit('.', 1)[-1]}.{inside}"


def targets(name: str = "") -> list[Target]:
    """Every function to change, or those of one layer, module or function. ValueError if the name is unknown."""
    found = find()
    chosen = [target for target in found if name.lower() in (
        "", target.layer.lower(), target.name.lower(), target.function.__module__.rsplit(".", 1)[-1])]
    if not chosen:
        known = ", ".join(dict.fromkeys(target.layer for target in found))
        raise ValueError(f"there is no layer or module {name!r} with a backward pass; there are: {known}")
    return chosen


def find() -> list[Target]:
    """The functions that the backward passes of the gradient cases call, each with the first layer that calls it.

    The cases go from simple to composed layers, so the first layer is the one a function belongs to. A backward that
    no case runs has the layer "": nothing notices a change of it.
    """
    forward = tuple(inspect.unwrap(function) for _, function in FORWARD)
    layers: dict[CodeType, str] = {}
    for layer, _, make, inputs in gradient_cases.gradient_cases():
        for code in called_by_backward(Comparison(make(), *inputs)):
            layers.setdefault(code, layer)
    found = [Target(layer, inspect.unwrap(function), forward=True) for layer, function in FORWARD]
    for function in own_functions():
        code = function.__code__
        if function not in forward and (code in layers or function.__name__.endswith("backward")):
            if function.__annotations__.get("return") != "Iterator[slice]":  # how rows are cut has no effect
                found.append(Target(layers.get(code, ""), function))
    return sorted(found, key=lambda target: (target.function.__module__, target.layer, target.name))


def own_functions() -> Iterator[Any]:
    """The functions and methods of numpygpt's layers and models, without decorators, and without those of Module."""
    for name, namespace in sorted(sys.modules.items()):
        if name.startswith(ROOMS):
            for value in list(vars(namespace).values()):
                if getattr(value, "__module__", "") == name and value is not Module:
                    inside = vars(value).values() if isinstance(value, type) else [value]
                    yield from (inspect.unwrap(f) for f in inside if inspect.isfunction(f))


def called_by_backward(comparison: Comparison) -> set[CodeType]:
    """Every `backward` of numpygpt that runs in the module's backward pass, and the functions called from these."""
    found: set[CodeType] = set()
    plumbing = {f.__code__ for place in PLUMBING for f in vars(place).values() if inspect.isfunction(f)}

    def watch(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code not in plumbing and module(frame).startswith(ROOMS):
            caller = frame.f_back
            while caller and not module(caller).startswith("numpygpt."):  # a decorator's frame, for example
                caller = caller.f_back
            if code.co_name.endswith("backward") or (caller and caller.f_code in found):
                found.add(code)

    @contextmanager
    def watching() -> Iterator[None]:
        before = sys.getprofile()
        sys.setprofile(watch)
        try:
            yield
        finally:
            sys.setprofile(before)

    comparison.got(watching)
    return found


def module(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "")
