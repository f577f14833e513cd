"""docs/BACKPROP.md and its chapters are true: examples print what stands under them, quoted code is the code."""

import ast
import contextlib
import io
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOC = ROOT / "docs" / "BACKPROP.md"
CHAPTERS = sorted((ROOT / "docs" / "backprop").glob("*.md"))
QUOTE = "python source="
KINDS = {"math", "python", "text", "bash"}
WIDTH = 120
TEMPLATE = ["Formula and shapes", "One entry", "All entries", "What is kept", "The code", "By hand", "Free invariants",
            "The classic bug"]
LAYERS = {  # the sections of each chapter that follow the template
    "products": ["Residual", "Linear", "Bias", "Embedding", "Positions"],
    "softmax": ["ReLU", "GELU", "Softmax", "Cross-entropy"],
    "normalize": ["LayerNorm", "Dropout"],
    "attention": ["Attention", "Feed-forward", "Block"],
    "model": ["Tied head"],
}


class Block(NamedTuple):
    """A fenced block: the words after its ```, its text, and the line of the document on which the text starts."""

    info: str
    text: str
    line: int


def fenced(document):
    """The blocks of a document in order."""
    found, lines = [], document.splitlines()
    starts = (i for i, line in enumerate(lines) if line.startswith("```"))
    for start in starts:
        end = next(starts)  # every second fence closes; one that never does raises StopIteration
        found.append(Block(lines[start][3:].strip(), "\n".join(lines[start + 1 : end]), start + 2))
    return found


def words(text):
    """The lines that hold anything, with every run of white space made one space."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def places(text, source):
    """The indices among the lines of `source` that hold anything at which `text` starts, all of it, line after line."""
    quote, lines = words(text), words(source)
    return [i for i in range(len(lines)) if quote and lines[i : i + len(quote)] == quote]


def quoted_from(text, source):
    """Does `text` stand in `source`, all of it, line after line?"""
    return bool(places(text, source))


def parts(document, level):
    """(title, text) of each part that starts with a heading of this level, up to the next; code is no heading."""
    found, inside, mark = [], False, "#" * level + " "
    for line in document.splitlines():
        inside ^= line.startswith("```")
        if not inside and line.startswith(mark):
            found.append((line.removeprefix(mark).strip(), []))
        elif found:
            found[-1][1].append(line)
    return [(title, "\n".join(lines)) for title, lines in found]


def sections(document):
    """Title -> text of each section of the second level."""
    return dict(parts(document, 2))


def prose(document):
    """The document without its fenced blocks, line for line: theirs are empty."""
    lines, inside = [], False
    for line in document.splitlines():
        fence = line.startswith("```")
        lines.append("" if fence or inside else line)
        inside ^= fence
    return "\n".join(lines)


def headings(document):
    """The titles of all levels, in order."""
    return re.findall(r"^#{1,6} +(.+?) *$", prose(document), flags=re.MULTILINE)


def anchor(title):
    """The name by which GitHub links to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def examples(document):
    """(python block, the block after it) of each block that is run."""
    blocks = fenced(document)
    pairs = zip(blocks, [*blocks[1:], Block("", "", 0)], strict=True)
    return [(block, after) for block, after in pairs if block.info == "python"]


def quotes(document):
    return [block for block in fenced(document) if block.info.startswith(QUOTE)]


def formulas(document):
    """(line, formula) of the displayed and of the inline ones."""
    lines = prose(document).splitlines()
    inline = [(i, text) for i, line in enumerate(lines, 1) for text in re.findall(r"\$`([^`]*)`\$", line)]
    return [(block.line, block.text) for block in fenced(document) if block.info == "math"] + inline


def read(path):
    return path.read_text(encoding="utf-8")


@cache
def printed(path):
    """What each example of a document printed, by its line, run in order with names shared, as for a reader; and the
    error of the one that ended it."""
    outputs, names = {}, {"__name__": path.stem}
    with np.printoptions():
        for block, _ in examples(read(path)):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                try:
                    exec(compile("\n" * (block.line - 1) + block.text, str(path), "exec"), names)
                except Exception as error:
                    outputs[block.line] = error
                    break
            outputs[block.line] = out.getvalue()
    return outputs


def functions(source):
    """(name, first line, last line) of each function of a source text."""
    return [(node.name, node.lineno, node.end_lineno) for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef)]


def quoted_functions(block):
    """The names of the functions in which a quote stands."""
    source = read(ROOT / block.info.removeprefix(QUOTE))
    numbers = [i for i, line in enumerate(source.splitlines(), 1) if line.strip()]
    held = set()
    for start in places(block.text, source):
        first, last = numbers[start], numbers[start + len(words(block.text)) - 1]
        held |= {name for name, top, end in functions(source) if top <= last and first <= end}
    return held


DOCUMENTS = [DOC, *CHAPTERS]
OF_EXAMPLES = [(path, block, after) for path in DOCUMENTS for block, after in examples(read(path))]
OF_QUOTES = [(path, block) for path in DOCUMENTS for block in quotes(read(path))]
OF_LAYERS = [(path, title) for path in CHAPTERS for title in LAYERS.get(path.stem, [])]


def name(value):
    return value.stem if isinstance(value, Path) else f"line{value.line}" if isinstance(value, Block) else value


@pytest.mark.parametrize(("path", "block", "after"), OF_EXAMPLES, ids=name)
def test_an_example_prints_what_stands_under_it(path, block, after):
    found = printed(path).get(block.line, "not reached: an example before it failed")
    if isinstance(found, Exception):
        raise found
    expected = after.text.splitlines() if after.info == "text" else []
    assert [line.rstrip() for line in found.splitlines()] == [line.rstrip() for line in expected]


@pytest.mark.parametrize(("path", "block"), OF_QUOTES, ids=name)
def test_quoted_code_is_the_code(path, block):
    source = block.info.removeprefix(QUOTE)
    assert quoted_from(block.text, read(ROOT / source)), f"{source} no longer has these lines"


@pytest.mark.parametrize("quote", ["", "dX = dY\nreturn dX", "dX=dY @ W.T", "dW += X.T @ dY\nreturn dX"])
def test_code_that_is_not_there_is_not_found(quote):
    source = "    dX = dY @ W.T\n    dW += X.T @ dY\n\n    db += dY.sum(axis=0)\n    return dX\n"
    assert quoted_from("dW += X.T  @ dY\n  db += dY.sum(axis=0)", source)
    assert not quoted_from(quote, source)


@pytest.mark.parametrize(("path", "title"), OF_LAYERS, ids=name)
def test_a_layer_has_the_eight_parts_each_with_what_belongs_in_it(path, title):
    section = parts(sections(read(path))[title], 3)
    assert [part for part, _ in section] == TEMPLATE
    text = dict(section)
    assert all(len(prose(text[part]).split()) >= 8 for part in TEMPLATE)
    for part in ("Formula and shapes", "One entry", "All entries"):
        assert "math" in [block.info for block in fenced(text[part])], f"{part} has no formula"
    assert re.search(r"\d", text["What is kept"]), "what is kept costs no number of bytes"
    held = set().union(*map(quoted_functions, quotes(text["The code"])))
    assert any("backward" in name for name in held), "no backward is quoted"
    assert any("backward" not in name for name in held), "no forward is quoted"
    for part in ("By hand", "Free invariants", "The classic bug"):
        assert any(after.info == "text" for _, after in examples(text[part])), f"{part} prints nothing"
    bugs = [(block.text, after.text) for block, after in examples(text["The classic bug"]) if after.info == "text"]
    assert any("gradcheck(" in code and "wrong" in shown.lower() for code, shown in bugs), "no check finds the bug"


def steps():
    """Section -> the number of the exercise that has it as what to read."""
    lines = read(ROOT / "docs" / "EXERCISES.md").splitlines()
    rows = [line.split(" | ") for line in lines if "(exercises/solutions" in line]
    return {place: int(row[0].split("_")[0].strip("| [")) for row in rows
            for place in re.findall(r"\(backprop/([^)]+)\)", row[3])}


def test_each_section_ends_with_the_exercise_that_asks_for_it():
    asked = steps()
    assert len(asked) >= 15
    for path in CHAPTERS:
        for title, text in sections(read(path)).items():
            said = re.findall(r"^Write it yourself: \[step (\d+)\]\(\.\./EXERCISES\.md#the-steps\)\.$", text, re.M)
            number = asked.get(f"{path.name}#{anchor(title)}")
            assert number is None or said == [str(number)], title
            assert not said or text.rstrip().splitlines()[-1].startswith("Write it yourself"), title


def test_every_chapter_is_there_with_its_layers():
    assert {path.stem for path in CHAPTERS} == {*LAYERS, "bugs"}
    for path in CHAPTERS:
        assert set(LAYERS.get(path.stem, [])) <= set(sections(read(path)))


def test_small_numbers_in_the_text_of_the_first_page_are_printed_there():
    said = set(re.findall(r"\b(\d)e-0?(\d+)", prose(read(DOC))))
    shown = "\n".join(after.text for _, after in examples(read(DOC)) if after.info == "text")
    assert said and said <= set(re.findall(r"\b(\d)e-0?(\d+)", shown))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_the_headings_are_unique_and_hold_no_formula(path):
    titles = [title for title in headings(read(path)) if title not in TEMPLATE]
    anchors = [anchor(title) for title in titles]
    assert sorted(set(anchors)) == sorted(anchors)
    assert not [title for title in titles if "$" in title]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_each_block_is_of_a_known_kind_and_each_output_has_what_made_it(path):
    blocks = fenced(read(path))
    for before, block in zip([Block("", "", 0), *blocks], blocks, strict=False):
        assert block.info in KINDS or block.info.startswith(QUOTE), block
        if block.info == "text":
            assert before.info in ("python", "bash"), f"line {block.line}: nothing made this output"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_no_line_is_too_long(path):
    lines = enumerate(read(path).splitlines(), 1)
    assert not [i for i, line in lines if len(line) > WIDTH and not line.startswith("|") and "](" not in line]
