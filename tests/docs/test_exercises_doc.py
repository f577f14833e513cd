"""docs/EXERCISES.md names every exercise, its code is the code, and the layers it makes work in the GPT."""

import contextlib
import copy
import io
import re

import numpy as np
import pytest
from doc_math import faults
from exercise_files import BLANKS, DOC, FOLDER, NAMES, SHOWN, SOLVED, TEXT, load
from test_backprop_doc import (
    ROOT,
    anchor,
    examples,
    formulas,
    headings,
    parts,
    prose,
    quoted_from,
    quotes,
    read,
    sections,
)
from tiny import make_data

from numpygpt import GPT, gradcheck, nn
from numpygpt.data import TokenDataset

IDS = np.array([[2, 0, 2], [1, 3, 0]])
TARGETS = np.array([[1, -1, 0], [-1, 3, 3]])


@pytest.fixture(scope="module")
def swap():
    return load(FOLDER / "swap.py", "exercises_swap")


@pytest.mark.parametrize("names", [["rmsnorm"], ["swiglu"], ["smoothing"], ["rmsnorm", "swiglu", "smoothing"]])
def test_the_gpt_with_a_layer_of_the_exercises_has_right_gradients(names, swap, monkeypatch):
    monkeypatch.setattr(swap, "SIZES", {"max_len": 3, "d_model": 6, "n_heads": 2, "n_layers": 2})
    model = GPT(4, **swap.SIZES)
    before = copy.deepcopy(model)
    for name in names:
        swap.SWAPS[name](model, SOLVED)
    kinds = {type(layer).__name__ for _, layer in model.named_modules()}
    assert ("RMSNorm" in kinds, "LayerNorm" in kinds) == ("rmsnorm" in names, "rmsnorm" not in names)
    assert ("SwiGLU" in kinds, "FeedForward" in kinds) == ("swiglu" in names, "swiglu" not in names)
    assert isinstance(model.criterion, nn.CrossEntropyLoss) == ("smoothing" not in names)
    assert (model.n_params() < before.n_params()) == (names != ["smoothing"])
    assert gradcheck(model, IDS, TARGETS)


def test_swap_trains_and_makes_its_table(swap, tmp_path, monkeypatch):
    data = TokenDataset.load(make_data(tmp_path / "data"))
    monkeypatch.setattr(swap, "SIZES", {"max_len": 8, "d_model": 8, "n_heads": 2, "n_layers": 1})
    monkeypatch.setattr(swap, "LR", 1e-2)
    text = swap.table(data, steps=40, seeds=(0, 1))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    assert [row[0] for row in rows] == list(swap.ROWS)
    assert all(0 < float(cell) < np.log(data.vocab_size) - 0.3 for row in rows for cell in row[2:])
    assert len({row[2] for row in rows}) == len(rows) == 7
    assert len({row[1] for row in rows}) == 4 and rows[0][1] == rows[1][1] == rows[5][1]


def test_swap_says_which_blank_is_left(swap, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(swap, "DEFAULT_FOLDER", make_data(tmp_path / "data"))
    monkeypatch.setattr("sys.argv", ["swap.py", "rmsnorm"])
    with pytest.raises(SystemExit) as stop:
        swap.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err.endswith(f"RMSNorm.forward:\n  {BLANKS['13_rmsnorm.py', 'RMSNorm.forward']}\n")


def test_the_page_names_every_file_and_its_solution_in_order():
    links = dict.fromkeys(re.findall(r"\]\(exercises/((?:solutions/)?\d\d_\w+\.py)\)", TEXT))
    assert [link for link in links if not link.startswith("solutions/")] == NAMES
    assert [link for link in links if link.startswith("solutions/")] == [f"solutions/{name}" for name in NAMES]
    for name in ("marker.py", "swap.py"):
        assert f"](exercises/{name})" in TEXT


def test_the_page_shows_the_table_that_swap_wrote():
    printed = (ROOT / "assets" / "outputs" / "exercises.md").read_text(encoding="utf-8")
    assert printed.strip() in TEXT and printed.count("\n") == 9


def test_the_page_shows_what_the_marker_says():
    assert any(text.endswith(f"Embedding.backward:\n  {BLANKS['03_embedding.py', 'Embedding.backward']}\n")
               for text in SHOWN)  # and what it says of a wrong body: test_exercises.py


def test_the_blocks_print_what_stands_under_them():
    names = {}
    assert len(examples(TEXT)) >= 1
    for block, after in examples(TEXT):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile("\n" * (block.line - 1) + block.text, str(DOC), "exec"), names)
        assert after.info == "text" and out.getvalue().splitlines() == after.text.splitlines()


def test_what_the_page_quotes_is_the_code():
    assert len(quotes(TEXT)) >= 6
    for block in quotes(TEXT):
        assert quoted_from(block.text, read(ROOT / block.info.removeprefix("python source="))), block


def test_the_formulas_render_and_the_lines_fit():
    assert [(line, faults(formula)) for line, formula in formulas(TEXT) if faults(formula)] == []
    bare = re.sub(r"`[^`]*`", "", re.sub(r"\$`([^`]*)`\$", "", prose(TEXT)))
    assert not [line for line in bare.splitlines() if "$" in line]
    assert not [line for line in TEXT.splitlines() if len(line) > 120 and "|" not in line and "](" not in line]
    assert len({anchor(title) for title in headings(TEXT)}) == len(headings(TEXT))


@pytest.mark.parametrize("title", ["RMSNorm", "SwiGLU", "Label smoothing"])
def test_each_open_exercise_has_its_task_hints_derivation_and_place_in_the_gpt(title):
    section = sections(TEXT)[title]
    name = title if title != "Label smoothing" else title.lower()
    task, link, place = map(section.index, ("**The task.**", f"(#{anchor(f'Solution: {name}')})", "**In the GPT.**"))
    hints = section[task:link]
    assert task < link < place and re.search(r"\([A-Z][^()]* 20\d\d[^()]*\)\. Write", " ".join(hints.split()))
    assert hints.count("<summary>") == hints.count("hint: ") == 3 and "```math" in hints
    solution = dict(parts(sections(TEXT)["The derivations of the open three"], 3))[f"Solution: {name}"]
    assert solution.count("```math") >= 2 and "python source=docs/exercises/solutions/" in solution
    assert "python source=docs/exercises/swap.py" in section[place:]
    assert f"python docs/exercises/swap.py {title.split()[-1].lower()}" in section[place:]


def test_what_folds_away_holds_no_formula():
    """GitHub does not reliably render formulas inside <details>."""
    folded = re.findall(r"<details>(.*?)</details>", TEXT, re.S)
    assert len(folded) == TEXT.count("<details>") == TEXT.count("</details>") == 9
    assert not [text for text in folded if "$" in text or "```" in text or "<summary>" not in text]


def table():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TEXT.splitlines() if line.count("|") == 6]
    return {name: [float(cell) for cell in cells] for name, _, *cells in rows if re.match(r"\d\.\d{3}$", cells[0])}


def test_what_the_text_reads_from_the_table_stands_in_it():
    rows, plain = table(), " ".join(TEXT.split())
    assert len(rows) == 7 and all(len(losses) == 3 for losses in rows.values())
    stuck = [name for name, (*others, last) in rows.items() if abs(last - 2.4) < 0.05 and max(others) < last - 0.1]
    assert stuck == ["nothing", "RMSNorm", "label smoothing 0.1"]
    assert ("nothing, RMSNorm and label smoothing are there on a plateau near 2.4 that they had left with the other "
            "seeds") in plain
    mean = {name: np.mean(losses) for name, losses in rows.items()}
    plain_start, wide, swiglu, small = (mean[name] for name in rows if name.startswith(("nothing", "SwiGLU")))
    assert swiglu < plain_start - 0.1 and abs(swiglu - wide) < 0.02 and small > swiglu + 0.2
    assert 0.05 < mean["label smoothing 0.1"] - plain_start < 0.1 and abs(mean["RMSNorm"] - plain_start) < 0.05
