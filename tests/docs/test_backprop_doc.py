"""docs/BACKPROP.md is true: its examples print what stands under them, and the code that it quotes is the code."""

import contextlib
import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOC = ROOT / "docs" / "BACKPROP.md"
QUOTE = "python source="
LAYERS = ["Linear", "Embedding", "Unembedding", "Positions", "LayerNorm", "Softmax", "ReLU and GELU", "Dropout",
          "Attention", "Feed-forward and block", "Cross-entropy", "The whole GPT"]


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


def quoted_from(text, source):
    """Does `text` stand in `source`, all of it, line after line?"""
    quote, lines = words(text), words(source)
    return bool(quote) and any(lines[i : i + len(quote)] == quote for i in range(len(lines)))


def sections(document):
    """Title -> text of each section of the second level."""
    parts = re.split(r"^## (.+)$", document, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def anchor(title):
    """The name by which GitHub links to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


DOCUMENT = DOC.read_text(encoding="utf-8")
BLOCKS = fenced(DOCUMENT)
EXAMPLES = [(block, after) for block, after in zip(BLOCKS, [*BLOCKS[1:], Block("", "", 0)], strict=True)
            if block.info == "python"]
QUOTES = [block for block in BLOCKS if block.info.startswith(QUOTE)]


@pytest.fixture(scope="module")
def printed():
    """What each example printed, by its line; they run in order and share their names, as for a reader."""
    outputs, names = {}, {"__name__": "backprop"}
    with np.printoptions():
        for block, _ in EXAMPLES:
            code = compile("\n" * (block.line - 1) + block.text, str(DOC), "exec")  # an error names the right line
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, names)
            outputs[block.line] = out.getvalue()
    return outputs


@pytest.mark.parametrize(("block", "after"), EXAMPLES, ids=lambda block: f"line{block.line}")
def test_an_example_prints_what_stands_under_it(block, after, printed):
    assert words(printed[block.line]) == (words(after.text) if after.info == "text" else [])


@pytest.mark.parametrize("block", QUOTES, ids=lambda block: f"line{block.line}")
def test_quoted_code_is_the_code(block):
    path = block.info.removeprefix(QUOTE)
    assert quoted_from(block.text, (ROOT / path).read_text(encoding="utf-8")), f"{path} no longer has these lines"


@pytest.mark.parametrize("quote", ["", "dX = dY\nreturn dX", "dX=dY @ W.T", "dW += X.T @ dY\nreturn dX"])
def test_code_that_is_not_there_is_not_found(quote):
    source = "    dX = dY @ W.T\n    dW += X.T @ dY\n\n    db += dY.sum(axis=0)\n    return dX\n"
    assert quoted_from("dW += X.T  @ dY\n  db += dY.sum(axis=0)", source)
    assert not quoted_from(quote, source)


@pytest.mark.parametrize("title", LAYERS)
def test_every_layer_has_its_formula_its_code_its_example_and_its_usual_mistake(title):
    section = sections(DOCUMENT)[title]
    kinds = [block.info for block in fenced(section)]
    assert "" in kinds and any(kind.startswith(QUOTE) for kind in kinds)
    assert kinds.count("python") >= 2 and kinds.count("text") >= 2
    assert section.count("**Usual mistake.**") == 1 and "gradcheck(" in section.split("**Usual mistake.**")[1]


def test_the_blocks_are_of_known_kinds_and_each_output_follows_an_example():
    assert {block.info for block in BLOCKS if block not in QUOTES} == {"", "python", "text"}
    assert sum(block.info == "text" for block in BLOCKS) == sum(after.info == "text" for _, after in EXAMPLES)


def test_the_last_section_tells_how_to_check():
    assert list(sections(DOCUMENT))[1:] == [*LAYERS, "Checking it yourself"]


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda path: path.name)
def test_links_to_the_document_lead_to_its_sections(path):
    text = path.read_text(encoding="utf-8")
    here = r"\]\(#([^)]+)\)" if path == DOC else r"BACKPROP\.md#([^)\s]+)"
    assert set(re.findall(here, text)) <= {anchor(title) for title in sections(DOCUMENT)}
