"""Pieces of syntax trees, for changes."""

from __future__ import annotations

import ast


def symbol(op: ast.operator) -> str:
    return {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}.get(type(op), "?")


def attribute(name: str, field: str) -> ast.Attribute:
    return ast.Attribute(ast.Name(name, ast.Load()), field, ast.Load())


def transposed(node: ast.expr) -> ast.expr:
    """X for X.T and for X.swapaxes(-1, -2); X.swapaxes(-1, -2) for another X."""
    if isinstance(node, ast.Attribute) and node.attr == "T":
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "swapaxes":
        return node.func.value
    minus = [ast.UnaryOp(ast.USub(), ast.Constant(n)) for n in (1, 2)]
    return ast.Call(ast.Attribute(node, "swapaxes", ast.Load()), list(minus), [])


def last_axes_exchanged(spec: str) -> str:
    """"nc,nc->c" becomes "cn,cn->c": the sum over the other of the last two axes."""
    inputs, output = spec.split("->")
    return ",".join(one[:-2] + one[-1] + one[-2] for one in inputs.split(",")) + "->" + output


def root(node: ast.AST) -> ast.AST:
    """The X of X[s, :, r].swapaxes(-1, -2), of X.T and of X itself."""
    while True:
        if isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and node.attr == "T"):
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "swapaxes":
            node = node.func.value
        else:
            return node
