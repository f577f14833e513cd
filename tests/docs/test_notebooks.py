"""The notebooks print and draw what is stored in them: each is run here cell by cell, without Jupyter."""

import ast
import base64
import contextlib
import io
import json
import os
import re
import socket
import struct
import sys

import matplotlib
import numpy as np
import pytest

from numpygpt.utils.paths import ROOT

FOLDER = ROOT / "docs" / "notebooks"
NAMES = ["attention_forward_and_backward", "layernorm_gradient", "training_to_text"]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
# How far a number may be from the stored one, (relative, absolute), in cells with this tag; equal in those with none.
# "rounded": single precision differs between machines. "trained": and training for 600 steps makes more of it.
TOLERANCES = {"rounded": (0.02, 2e-4), "trained": (0.4, 0.05)}


def stored(name):
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def joined(text):
    return text if isinstance(text, str) else "".join(text)


def outputs(cell):
    """(what a cell printed, the repr of its last expression, the PNGs that it drew), as stored."""
    printed = "".join(joined(out["text"]) for out in cell["outputs"] if out["output_type"] == "stream")
    results = [joined(out["data"]["text/plain"]) for out in cell["outputs"] if out["output_type"] == "execute_result"]
    pictures = [base64.b64decode(joined(out["data"]["image/png"])) for out in cell["outputs"]
                if out["output_type"] == "display_data"]
    return printed, "".join(results), pictures


def execute(source, names):
    """Run a cell as Jupyter does: (what it printed, the repr of its last expression, how many figures it drew)."""
    from matplotlib import pyplot as plt

    tree, result = ast.parse(source), None
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "<cell>", "exec"), names)
        if last is not None:
            result = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    figures = len(plt.get_fignums())
    plt.close("all")
    return printed.getvalue(), "" if result is None or source.endswith(";") else repr(result), figures


@contextlib.contextmanager
def as_in_jupyter():
    """In the notebooks' folder, with matplotlib drawing into memory; all as before afterwards."""
    here, path, backend = os.getcwd(), sys.path.copy(), matplotlib.get_backend()
    with matplotlib.rc_context(), np.printoptions():
        matplotlib.use("Agg")
        os.chdir(FOLDER)
        try:
            yield
        finally:
            os.chdir(here)
            sys.path[:] = path
    matplotlib.use(backend)


def run(notebook):
    """[(cell, printed, result, figures)] of its code cells, run in order in one namespace; and that namespace."""
    names = {"__name__": "__main__"}
    with as_in_jupyter():
        import matplotlib.pyplot as plt

        plt.close("all")  # another test's
        return [(cell, *execute(joined(cell["source"]), names)) for cell in code_cells(notebook)], names


def close(got, expected, relative, absolute):
    """Are two texts the same but for their numbers, and those close?"""
    if NUMBER.sub("#", got).split() != NUMBER.sub("#", expected).split():
        return False
    pairs = zip(map(float, NUMBER.findall(got)), map(float, NUMBER.findall(expected)), strict=True)
    return all(abs(a - b) <= absolute + relative * abs(b) for a, b in pairs)


@pytest.fixture(scope="module", params=NAMES)
def ran(request):
    return request.param, *run(stored(request.param))


def test_every_cell_prints_and_draws_what_is_stored(ran):
    name, cells, _ = ran
    for cell, printed, result, figures in cells:
        expected, expected_result, pictures = outputs(cell)
        tags = cell["metadata"].get("tags", [])
        where = f"{name}, cell [{cell['execution_count']}]"
        assert (result, figures) == (expected_result, len(pictures)), where
        if tags == ["generated"]:
            assert printed.count("\n") == expected.count("\n"), where
        elif tags:
            assert close(printed, expected, *TOLERANCES[tags[0]]), f"{where}\n{printed}\n---- stored:\n{expected}"
        else:
            assert printed == expected, where


def test_what_was_written_is_of_the_grammar(ran):
    name, cells, names = ran
    texts = [text for cell, printed, *_ in cells if cell["metadata"].get("tags") == ["generated"]
             for text in (printed, outputs(cell)[0])]
    assert len(texts) == 2 * (name == "training_to_text")
    for text in texts:  # the one of this run and the stored one
        right = [names["grammar"].fullmatch(line) is not None for line in text.splitlines()]
        assert len(right) == 10 and sum(right) >= 7, text


def test_nothing_disagrees(ran):
    """The word that a notebook prints where two ways to a gradient do not meet."""
    name, cells, _ = ran
    printed = "".join(printed for _, printed, *_ in cells)
    assert "DIFFER" not in printed
    assert printed.count("agree") == {"attention_forward_and_backward": 16, "layernorm_gradient": 6}.get(name, 0)


def test_all_notebooks_are_tested():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_a_notebook_that_was_run_from_top_to_bottom(name):
    notebook = stored(name)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"] == {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                                    "language_info": {"name": "python"}}
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) for one in ids)
    assert notebook["cells"][0]["cell_type"] == "markdown" and joined(notebook["cells"][0]["source"]).startswith("# ")
    assert {cell["cell_type"] for cell in notebook["cells"]} == {"markdown", "code"}
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert set(cell["metadata"]) <= {"tags"} and cell["metadata"].get("tags", ["generated"])[0] in {
            *TOLERANCES, "generated"}  # no times of execution
        for out in cell["outputs"]:
            assert out["output_type"] in {"stream", "execute_result", "display_data"}  # no error
            assert out.get("name", "stdout") == "stdout"


@pytest.mark.parametrize("name", NAMES)
def test_outputs_say_nothing_of_the_machine(name):
    for cell in code_cells(stored(name)):
        printed, result, _ = outputs(cell)
        text = printed + result
        assert "\x1b" not in text and " at 0x" not in text and socket.gethostname() not in text.split()
        assert not re.search(r"(?<![\w.])/\w+/\w+|[A-Za-z]:\\|\.py\b", text), text


@pytest.mark.parametrize("name", NAMES)
def test_files_and_pictures_are_small_and_legible(name):
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 300_000
    pictures = [picture for cell in code_cells(stored(name)) for picture in outputs(cell)[2]]
    assert pictures
    for picture in pictures:
        assert picture.startswith(b"\x89PNG\r\n\x1a\n") and 3_000 < len(picture) < 100_000
        width, height = struct.unpack(">II", picture[16:24])
        assert 600 <= width <= 900 and 200 <= height <= 400


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    text = "".join(joined(cell["source"]) for cell in stored(name)["cells"] if cell["cell_type"] == "markdown")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        headings = re.findall(r"^#+ (.+)$", (FOLDER / path).read_text(encoding="utf-8"), re.M)
        assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("name", NAMES)
def test_jupyter_takes_it(name):
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.read(FOLDER / f"{name}.ipynb", as_version=4))


def test_a_wrong_number_is_found():
    assert close("loss 0.36\nof (16, -4)", "loss 0.37\nof   (16, -4)", 0.05, 0)
    for other in ("loss 0.36\nof (16, 4)", "loss 0.36\nof (12, -4)", "loss 0.36", "lose 0.36\nof (16, -4)",
                  "loss 0.40\nof (16, -4)", "loss nan\nof (16, -4)"):
        assert not close("loss 0.36\nof (16, -4)", other, 0.05, 0)
