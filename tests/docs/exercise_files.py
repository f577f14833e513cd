"""The files of docs/exercises: read, taken apart, and run by their marker."""

import ast
import sys

from pages import ROOT, load

FOLDER = ROOT / "docs" / "exercises"
SOLVED = FOLDER / "solutions"
NAMES = sorted(path.name for path in SOLVED.glob("[0-9]*.py"))
NUMBER = {name: int(name[:2]) for name in NAMES}
MARKER = load(FOLDER / "marker.py", "exercises_marker_for_tests")
sys.modules["marker"] = MARKER  # what the exercises import


def functions(source):
    """Class.function -> its node, for the functions of the classes in a file."""
    return {f"{top.name}.{node.name}": node for top in ast.parse(source).body if isinstance(top, ast.ClassDef)
            for node in top.body if isinstance(node, ast.FunctionDef)}


def body(node):
    """The lines of a function's body, from 0: (first, one past the last)."""
    return node.body[0].lineno - 1, node.body[-1].end_lineno


def hint(node):
    """The text of a body that is `raise NotImplementedError("...")` alone, else None."""
    match node.body:
        case [ast.Raise(exc=ast.Call(func=ast.Name(id="NotImplementedError"), args=[ast.Constant(value=str(text))]))]:
            return text
    return None


def source(folder, name):
    return (folder / name).read_text(encoding="utf-8")


BLANKS = {(name, function): hint(node) for name in NAMES
          for function, node in functions(source(FOLDER, name)).items() if hint(node) is not None}


def solved(name):
    """The solution of an exercise, as a module."""
    return MARKER.step(SOLVED / "x", NUMBER[name])
