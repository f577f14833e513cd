#!/usr/bin/env python
"""Runs a notebook cell by cell, as Jupyter does, and stores what the cells print and draw. For docs/build.py.

    python docs/notebook.py       write the student notebooks, docs/notebooks/student_*.ipynb, from their solutions

A student notebook is its solution with a blank in each line of the form `NAME = EXPRESSION  # fill in: HINT`. It lies
one folder higher, so its links lose one `../`.
"""

import argparse
import ast
import base64
import contextlib
import io
import json
import os
import re
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent / "notebooks"
FILL_IN = re.compile(r"^( *\w+) = .*?(  # fill in: .*)$", re.M)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
# How far a number may be from the stored one, (relative, absolute), in cells with this tag. Cells without a tag print
# the same on every machine. "rounded": single precision. "trained": 600 steps enlarge its differences.
TOLERANCES = {"rounded": (0.02, 2e-4), "trained": (0.4, 0.05)}


def build_notebook(path: Path):
    """(a Result for each code cell, the new text of the notebook)."""
    import matplotlib.pyplot as plt
    import numpy as np
    from build import Result, difference

    notebook, results, names = json.loads(path.read_text(encoding="utf-8")), [], {"__name__": "__main__"}
    os.chdir(path.parent)
    plt.switch_backend("Agg")
    for number, cell in enumerate(code_cells(notebook), 1):
        marker, problem = f"cell [{number}]", ""
        try:
            with np.printoptions():
                printed, result, pictures = execute("".join(cell["source"]), names)
        except Exception as error:
            results.append(Result(number, marker, f"{type(error).__name__}: {error}", True))
            continue
        old, old_result, old_pictures = stored(cell)
        if not same(printed, old, cell["metadata"].get("tags", [])) or result != old_result:
            problem = difference((old + old_result).splitlines(), (printed + result).splitlines())
        elif len(pictures) != len(old_pictures):
            problem = f"draws {len(pictures)} figures, not {len(old_pictures)}"
        if problem:
            cell["outputs"] = outputs(printed, result, pictures, number)
        results.append(Result(number, marker, problem, False))
        cell["execution_count"] = number
    return results, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def execute(source, names):
    """(what a cell prints, the repr of its last expression, the PNGs that it draws)."""
    import matplotlib.pyplot as plt

    tree, result = ast.parse(source), None
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "<cell>", "exec"), names)
        if last is not None:
            result = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    pictures = []
    for number in plt.get_fignums():
        file = io.BytesIO()
        plt.figure(number).savefig(file, format="png", bbox_inches="tight")
        pictures.append(base64.b64encode(file.getvalue()).decode())
    plt.close("all")
    return printed.getvalue(), "" if result is None or source.endswith(";") else repr(result), pictures


def stored(cell):
    """(what a cell printed, the repr of its last expression, its pictures), as the file has them."""
    printed = "".join("".join(out["text"]) for out in cell["outputs"] if out["output_type"] == "stream")
    results = ["".join(out["data"]["text/plain"]) for out in cell["outputs"] if out["output_type"] == "execute_result"]
    return printed, "".join(results), [out for out in cell["outputs"] if out["output_type"] == "display_data"]


def outputs(printed, result, pictures, number):
    """The outputs of a cell in the format of the file."""
    made = [{"name": "stdout", "output_type": "stream", "text": printed.splitlines(keepends=True)}] * bool(printed)
    made += [{"data": {"image/png": picture}, "metadata": {}, "output_type": "display_data"}
             for picture in pictures]
    if result:
        made.append({"data": {"text/plain": result.splitlines(keepends=True)}, "execution_count": number,
                     "metadata": {}, "output_type": "execute_result"})
    return made


def same(got, expected, tags):
    """Are two texts equal, or, in a cell with a tag, as close as the tag allows?"""
    if tags == ["generated"]:  # text that a model wrote: only its length is the same on every machine
        return got.count("\n") == expected.count("\n")
    if not tags:
        return got == expected
    relative, absolute = TOLERANCES[tags[0]]
    if NUMBER.sub("#", got).split() != NUMBER.sub("#", expected).split():
        return False
    pairs = zip(map(float, NUMBER.findall(got)), map(float, NUMBER.findall(expected)), strict=True)
    return all(abs(a - b) <= absolute + relative * abs(b) for a, b in pairs)


def blanked(solution):
    """The notebook that a student gets, as text, without outputs."""
    notebook = json.loads(solution)
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"]).replace("](../", "](").splitlines(keepends=True)
    for cell in code_cells(notebook):
        cell["source"] = FILL_IN.sub(r"\1 = blank\2", "".join(cell["source"])).splitlines(keepends=True)
        cell["outputs"], cell["execution_count"] = [], None
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def reply(solution, name, answer, blank=1):
    """What the notebook prints about an answer, if it is given in the `blank`-th blank of this name."""
    names, seen = {"__name__": "__main__"}, 0
    sys.path.insert(0, str(NOTEBOOKS))
    for cell in code_cells(json.loads(solution.read_text(encoding="utf-8"))):
        source = "".join(cell["source"])
        for found in FILL_IN.finditer(source):
            seen += found[1].strip() == name
            if seen == blank:
                source = source[: found.start()] + f"{found[1]} = {answer}" + source[found.end() :]
                break
        try:
            printed, _, _ = execute(source, names)
        except ValueError as error:
            printed = f"{name}: {type(error).__name__}: {re.sub('matmul: .*[(]', '... (', str(error)).strip()}"
        if seen == blank:
            said = re.search(rf"^{re.escape(name)}: +(.*)$", printed, re.M) or re.search(r"INCORRECT\s+(.*)", printed)
            return said[1] if said else printed
    raise LookupError(f"{solution.name} has no blank {blank} of the name {name}")


def main():
    argparse.ArgumentParser(description="Write the student notebooks from their solutions.").parse_args()
    for solution in sorted((NOTEBOOKS / "solutions").glob("*.ipynb")):
        path = NOTEBOOKS / solution.name
        path.write_text(blanked(solution.read_text(encoding="utf-8")), encoding="utf-8")
        _, text = build_notebook(path)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main()
