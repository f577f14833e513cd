"""What is changed: the backward passes, the functions that they call, and the lines of a forward pass that make one.

A mutant is a function with one change; it takes the place of the right one by its code object, so that every name by
which the function is known leads to the mutant.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any

from numpygpt import nn
from numpygpt.models import GPT
from numpygpt.nn import causal_attention
from numpygpt.nn import functional as F
from numpygpt.nn.modules import attention, normalization
from numpygpt.verify.mutation.changes import changes, expressions


@dataclass(frozen=True)
class Target:
    """A function to change. `layer` is that of the gradient cases which must catch it.

    It is changed while a backward pass runs, or in the forward pass too, where that makes gradients on the way. Where
    not every line has to do with gradients, `lines` are the names that the lines to change write to.
    """

    layer: str
    function: Any  # a FunctionType, for which mypy does not take a method
    forward: bool = False
    lines: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        inside = self.function.__qualname__
        return inside if "." in inside else f"{self.function.__module__.rsplit('.', 1)[-1]}.{inside}"


@dataclass(frozen=True)
class Mutant:
    """One change of one line: the line before and after, and the code of the whole function with it."""

    target: Target
    line: int
    kind: str
    before: str
    after: str
    code: CodeType

    def __str__(self) -> str:
        return f"{self.target.name}, line {self.line}, {self.kind}: {self.before}  ->  {self.after}"


def targets(name: str = "") -> list[Target]:
    """Every function to change, or those of one layer or module. Raises ValueError for a name that is none."""
    layers = [value for value in vars(nn).values() if isinstance(value, type) and issubclass(value, nn.Module)]
    found = [Target(layer.__name__, vars(layer)["backward"]) for layer in [*layers, GPT]
             if layer is not nn.Module and "backward" in vars(layer)]
    found += [
        Target("Softmax", F.softmax_backward),
        Target("ReLU", F.relu_backward),
        Target("GELU", F.gelu_backward),
        Target("GELU", F.gelu, forward=True, lines=("w", "d")),
        Target("CrossEntropyLoss", F.cross_entropy_backward),
        Target("LinearCrossEntropy", nn.LinearCrossEntropy.forward, forward=True,
               lines=("dlogits", "dX[s]", "dE[v]")),
        Target("LinearCrossEntropy", nn.LinearCrossEntropy.zeros, forward=True),
        Target("LayerNorm", normalization.row_mean),
        Target("MultiHeadAttention", causal_attention.causal_attention_backward),
        Target("MultiHeadAttention", causal_attention.scores),
        Target("MultiHeadAttention", causal_attention.tiles, lines=("rows", "seen")),
        Target("MultiHeadAttention", causal_attention.sum_heads),
        Target("MultiHeadAttention", nn.MultiHeadAttention.split),
        Target("MultiHeadAttention", attention.split_heads),
    ]
    found = [replace(target, function=inspect.unwrap(target.function)) for target in found]  # without decorators
    found.sort(key=lambda target: (target.function.__module__, target.layer))
    chosen = [target for target in found if name.lower() in (
        "", target.layer.lower(), target.name.lower(), target.function.__module__.rsplit(".", 1)[-1])]
    if not chosen:
        known = ", ".join(dict.fromkeys(target.layer for target in found))
        raise ValueError(f"there is no layer or module {name!r} with a backward pass to change; there are: {known}")
    return chosen


def mutants(target: Target) -> Iterator[Mutant]:
    """Every change of the target that alters it, each once, in the order of the lines."""
    source = textwrap.dedent(inspect.getsource(target.function))
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.FunctionDef)
    tree.decorator_list.clear()
    ast.increment_lineno(tree, target.function.__code__.co_firstlineno - 1)
    seen = {ast.unparse(tree)}
    home = {id(node): statement for statement in ast.walk(tree) if isinstance(statement, ast.stmt)
            for node in (statement, *expressions(statement))}
    for change in sorted(changes(tree), key=lambda change: home[id(change.node)].lineno):
        statement = home[id(change.node)]
        if target.lines and not writes(statement, target.lines):
            continue
        changed = copied(tree, change.node, change.instead)
        text = ast.unparse(changed)
        if text not in seen:
            seen.add(text)
            after = copied(statement, change.node, change.instead)
            yield Mutant(target, statement.lineno, change.kind, first_line(statement), first_line(after),
                         code_of(changed, target.function))


def copied(tree: ast.AST, node: ast.AST, instead: ast.AST) -> ast.AST:
    """A copy of the tree with `instead` in the place of `node`: deepcopy takes what it finds in its memo."""
    ast.fix_missing_locations(ast.copy_location(instead, node))
    return copy.deepcopy(tree, {id(node): instead})


def writes(statement: ast.stmt, names: tuple[str, ...]) -> bool:
    """Whether a statement stores into one of the names, by assignment or by `out=`."""
    if isinstance(statement, ast.Assign):
        written = [ast.unparse(target) for target in statement.targets]
    elif isinstance(statement, ast.AugAssign):
        written = [ast.unparse(statement.target)]
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        written = [ast.unparse(word.value) for word in statement.value.keywords if word.arg == "out"]
    else:
        return False
    return any(name in names for name in written)


def first_line(statement: ast.AST) -> str:
    return ast.unparse(statement).split("\n")[0]


def code_of(tree: ast.AST, function: Any) -> CodeType:
    assert isinstance(tree, ast.FunctionDef)
    names: dict[str, Any] = {}
    module = ast.fix_missing_locations(ast.Module([tree], type_ignores=[]))
    exec(compile(module, function.__code__.co_filename, "exec"), dict(function.__globals__), names)
    return names[tree.name].__code__


@contextmanager
def in_place(mutant: Mutant) -> Iterator[None]:
    """The mutant stands where the right function stood."""
    function = mutant.target.function
    right, function.__code__ = function.__code__, mutant.code
    try:
        yield
    finally:
        function.__code__ = right
