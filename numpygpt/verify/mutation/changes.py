"""The ways in which one expression or statement of a backward pass can be wrong, as changes of its syntax tree."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from numpygpt.verify.mutation.syntax import attribute, last_axes_exchanged, root, symbol, transposed

SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Gt: (ast.GtE, ast.LtE), ast.Lt: (ast.LtE, ast.GtE), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,)}
MATRIX_PRODUCTS = frozenset({"matmul", "product"})  # NumPy's, and that of a layer
PRODUCTS = MATRIX_PRODUCTS | {"einsum", "vecdot", "multiply", "subtract"}  # the arguments are factors


@dataclass(frozen=True)
class Change:
    """A node of a function and its replacement."""

    node: ast.AST
    instead: ast.AST
    kind: str


@dataclass(frozen=True)
class Names:
    """What a function's arithmetic is made of."""

    operands: list[str]  # names, and attributes of self
    products: frozenset[str]  # functions whose arguments are factors
    slicers: frozenset[str]  # functions that cut rows into slices: how they cut has no effect on a gradient


def changes(function: ast.FunctionDef, products: Iterable[str] = (), slicers: Iterable[str] = ()) -> Iterator[Change]:
    """Every change of a function. `products` and `slicers` are the names of its own functions of these kinds."""
    functions = PRODUCTS | frozenset(products), frozenset(slicers)
    names = Names(operand_names(function, functions[0]), *functions)
    cuts = {id(inside) for node in ast.walk(function) if isinstance(node, ast.Call) and called(node) in names.slicers
            for inside in ast.walk(node)}
    for statement in ast.walk(function):
        if isinstance(statement, ast.stmt) and statement is not function:
            yield from in_statement(statement, names)
            for node in expressions(statement):
                if id(node) not in cuts:
                    yield from in_expression(node, names)


def expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """The expressions of a statement, without those of statements inside it."""
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.expr):
            yield from ast.walk(child)


def in_statement(node: ast.stmt, names: Names) -> Iterator[Change]:
    if isinstance(node, ast.AugAssign):
        target = copy.deepcopy(node.target)
        yield Change(node, ast.Pass(), "line dropped")
        yield Change(node, ast.Assign([target], node.value), f"= for {symbol(node.op)}=")
        if type(node.op) in SWAPPED:
            yield Change(node, ast.AugAssign(target, SWAPPED[type(node.op)](), node.value), "sign or scale inverted")
        yield from another_operand(node.value, names)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and not called(node.value).startswith("check"):
        yield Change(node, ast.Pass(), "line dropped")
    elif isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple)):
        if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str | type(None))):
            yield Change(node, ast.Pass(), "line dropped")
    elif isinstance(node, ast.If) and not any(isinstance(inside, ast.Raise) for inside in node.body):
        yield Change(node.test, ast.UnaryOp(ast.Not(), node.test), "condition inverted")
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Tuple):
        yield Change(node.value, ast.UnaryOp(ast.USub(), node.value), "sign flipped")


def in_expression(node: ast.AST, names: Names) -> Iterator[Change]:
    if isinstance(node, ast.BinOp):
        yield from in_operation(node)
        for side in (node.left, node.right):
            yield from another_operand(side, names)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield Change(node, node.operand, "sign flipped")
    elif isinstance(node, ast.Subscript) and not ast.unparse(node.value).endswith(".shape"):
        whole = copy.copy(node.value)
        if isinstance(whole, (ast.Name, ast.Attribute, ast.Subscript)):
            whole.ctx = node.ctx  # what was read, to take a part of it, may now be what is written to
        yield Change(node, whole, "index left out")
        if isinstance(node.ctx, ast.Store) and isinstance(node.slice, (ast.Name, ast.Attribute)):
            yield Change(node.slice, ast.BinOp(node.slice, ast.Sub(), ast.Constant(1)), "index shifted")
    elif isinstance(node, ast.IfExp):
        yield Change(node, ast.IfExp(node.test, node.orelse, node.body), "condition inverted")
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
        for other in COMPARED[type(node.ops[0])]:
            yield Change(node, ast.Compare(node.left, [other()], node.comparators), "another comparison")
    elif isinstance(node, ast.Call):
        yield from in_call(node, names)


def in_operation(node: ast.BinOp) -> Iterator[Change]:
    kind = "term dropped" if isinstance(node.op, (ast.Add, ast.Sub)) else "factor dropped"
    if isinstance(node.op, (ast.Mult, ast.Add, ast.Sub, ast.Div, ast.MatMult)):
        yield Change(node, node.left, kind)
    if isinstance(node.op, (ast.Mult, ast.Add, ast.Sub, ast.MatMult)):
        yield Change(node, node.right, kind)
    if type(node.op) in SWAPPED:
        yield Change(node, ast.BinOp(node.left, SWAPPED[type(node.op)](), node.right), "sign or scale inverted")
    if isinstance(node.op, ast.MatMult):
        yield Change(node, ast.BinOp(node.right, ast.MatMult(), node.left), "factors exchanged")
        for side in (node.left, node.right):
            yield Change(side, transposed(side), "transposed")
    for side in (node.left, node.right):
        if isinstance(side, ast.Constant) and isinstance(side.value, (int, float)):
            yield Change(side, ast.Constant(2 * side.value), "scale doubled")


def in_call(node: ast.Call, names: Names) -> Iterator[Change]:
    name = called(node)
    if name == "sum" and isinstance(node.func, ast.Attribute):
        yield from in_sum(node, node.func.value)
    elif name == "backward" or name.endswith("_backward"):
        if node.args:
            yield Change(node, node.args[0], "layer skipped")
        else:
            yield Change(node, ast.Constant(0), "dropped")
    elif name == "reduceat":
        yield Change(node, ast.Subscript(node.args[0], node.args[1], ast.Load()), "sum left out")
    elif name == "reversed":
        yield Change(node, node.args[0], "order left out")
    elif name == "argsort":
        yield Change(node, ast.Call(attribute("np", "arange"), [ast.Call(ast.Name("len", ast.Load()), [
            node.func.value if isinstance(node.func, ast.Attribute) else node.args[0]], [])], []), "order left out")
    if name.endswith("backward"):
        for argument in node.args:
            yield from another_operand(argument, names)
    if name in names.products:
        for argument in node.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield Change(argument, ast.Constant(last_axes_exchanged(argument.value)), "transposed")
            elif isinstance(argument, ast.Constant):
                yield Change(argument, ast.Constant(2 * argument.value), "scale doubled")  # type: ignore[operator]
            else:
                yield Change(argument, ast.Call(attribute("np", "ones_like"), [argument], []), "factor dropped")
                yield from another_operand(argument, names)
    if name in MATRIX_PRODUCTS:
        left, right, *more = node.args
        yield Change(left, transposed(left), "transposed")
        yield Change(right, transposed(right), "transposed")
        yield Change(node, ast.Call(node.func, [right, left, *more], node.keywords), "factors exchanged")


def in_sum(node: ast.Call, summed: ast.expr) -> Iterator[Change]:
    """No sum, one row instead of the sum, a mean, another axis."""
    yield Change(node, summed, "sum left out")
    axis = next((word.value for word in node.keywords if word.arg == "axis"), None)
    keeps = [word for word in node.keywords if word.arg != "axis"]
    if axis is None:
        return
    first = ast.Call(attribute("np", "take"), [summed, ast.List([ast.Constant(0)], ast.Load())] if keeps
                     else [summed, ast.Constant(0)], [ast.keyword("axis", axis)])
    yield Change(node, first, "one row for the sum")
    yield Change(node.func, ast.Attribute(summed, "mean", ast.Load()), "mean for the sum")
    other = ast.Constant(1) if ast.unparse(axis) == "0" else ast.UnaryOp(ast.USub(), ast.Constant(2))
    yield Change(axis, other, "sum over another axis")


# -- the operands of a function ----------------------------------------------------------------------------------------


def called(node: ast.Call) -> str:
    """The name of the function or method that is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def operands(function: ast.FunctionDef, products: frozenset[str]) -> Iterator[ast.AST]:
    for node in ast.walk(function):
        if isinstance(node, ast.BinOp):
            yield from (root(node.left), root(node.right))
        elif isinstance(node, ast.AugAssign):
            yield root(node.value)
        elif isinstance(node, ast.Call):
            if called(node) in products or called(node).endswith("backward"):
                yield from map(root, node.args)


def operand_names(function: ast.FunctionDef, products: frozenset[str]) -> list[str]:
    """The names and attributes in the arithmetic of a function."""
    return list(dict.fromkeys(ast.unparse(node) for node in operands(function, products)
                              if isinstance(node, (ast.Name, ast.Attribute))))


def another_operand(side: ast.expr, names: Names) -> Iterator[Change]:
    """The operand X of an operation, replaced by each other operand of the function."""
    node = root(side)
    if isinstance(node, (ast.Name, ast.Attribute)):
        for name in names.operands:
            if name != ast.unparse(node):
                yield Change(node, ast.parse(name, mode="eval").body, "another operand")
