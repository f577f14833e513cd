"""Mutants: functions with one change. A mutant replaces the code object of its function, so that every name by which
the function is known leads to the mutant."""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType
from typing import Any

from numpygpt.verify.mutation.changes import changes, expressions
from numpygpt.verify.mutation.targets import Target


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


def mutants(target: Target) -> Iterator[Mutant]:
    """Every change of the target that alters it, each once, in the order of the lines."""
    source = textwrap.dedent(inspect.getsource(target.function))
    (tree,) = ast.parse(source).body
    if not isinstance(tree, ast.FunctionDef):
        raise ValueError(f"{target.name} is not a function with source code")
    tree.decorator_list.clear()
    ast.increment_lineno(tree, target.function.__code__.co_firstlineno - 1)
    seen = {ast.unparse(tree)}
    home = {id(node): statement for statement in ast.walk(tree) if isinstance(statement, ast.stmt)
            for node in (statement, *expressions(statement))}
    found = changes(tree, returning("np.ndarray", target.function), returning("Iterator[slice]", target.function))
    for change in sorted(found, key=lambda change: home[id(change.node)].lineno):
        statement = home[id(change.node)]
        changed = copied(tree, change.node, change.instead)
        text = ast.unparse(changed)
        if text not in seen:
            seen.add(text)
            after = copied(statement, change.node, change.instead)
            yield Mutant(target, statement.lineno, change.kind, first_line(statement), first_line(after),
                         code_of(changed, target.function))


def returning(kind: str, function: Any) -> set[str]:
    """The names of the functions in this function's module that return this type."""
    return {name for name, value in function.__globals__.items()
            if inspect.isfunction(value) and value.__annotations__.get("return") == kind}


def copied(tree: ast.AST, node: ast.AST, instead: ast.AST) -> ast.AST:
    """A copy of the tree with `instead` in place of `node`: deepcopy takes what it finds in its memo."""
    ast.fix_missing_locations(ast.copy_location(instead, node))
    return copy.deepcopy(tree, {id(node): instead})


def first_line(statement: ast.AST) -> str:
    return ast.unparse(statement).split("\n")[0]


def code_of(tree: ast.AST, function: Any) -> CodeType:
    """The compiled function, taken from the constants of a compiled module: nothing is executed."""
    body = ast.fix_missing_locations(ast.Module([tree], type_ignores=[]))  # type: ignore[list-item]
    compiled = compile(body, function.__code__.co_filename, "exec", dont_inherit=True)
    return next(code for code in compiled.co_consts
                if isinstance(code, CodeType) and code.co_name == function.__name__)


@contextmanager
def in_place(mutant: Mutant) -> Iterator[None]:
    """Within this context the mutant runs instead of the correct function."""
    function = mutant.target.function
    correct, function.__code__ = function.__code__, mutant.code
    try:
        yield
    finally:
        function.__code__ = correct
