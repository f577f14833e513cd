"""Reads the pages of the documentation: their blocks, sections, headings and tables."""

import importlib.util
import re
import sys
from typing import NamedTuple

from numpygpt.utils.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def load(path, name):
    """A script of docs/ as a module; nothing in it runs."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # scripts import each other by name, and dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def name(path):
    """The id of a page's tests."""
    return str(path.relative_to(ROOT))


def read(path):
    return path.read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block: the words after its ```, and its text."""

    info: str
    text: str


def fenced(document):
    found = re.findall(r"^```([^\n]*)\n(.*?)\n?^```$", document, re.M | re.S)
    return [Block(info.strip(), text) for info, text in found]


def prose(document):
    """The document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document, flags=re.M | re.S)


def headings(document):
    return re.findall(r"^#{1,6} +(.+?) *$", prose(document), re.M)


def anchor(title):
    """The name by which GitHub links to a heading."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()).replace(" ", "-")


def sections(document, level=2):
    """Title -> text of each section that starts with a heading of this level. Code is no heading."""
    found, inside, mark = {}, False, "#" * level + " "
    for line in document.splitlines():
        inside ^= line.startswith("```")
        if not inside and line.startswith(mark):
            lines = found.setdefault(line.removeprefix(mark).strip(), [])
        elif found:
            lines.append(line)
    return {title: "\n".join(lines) for title, lines in found.items()}


def examples(document):
    """(Python block, what it prints) of each example with an output."""
    blocks = fenced(document)
    return [(block.text, after.text if after.info == "text" else "")
            for block, after in zip(blocks, [*blocks[1:], Block("", "")], strict=True) if block.info == "python"]


def formulas(document):
    """The displayed formulas and those in the text."""
    shown = [block.text for block in fenced(document) if block.info == "math"]
    return shown + re.findall(r"\$`([^`]*)`\$", prose(document))


def rows(document):
    """The rows of all tables, each a list of cells, without headers."""
    lines = prose(document).splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line, after in zip(lines, [*lines[1:], ""], strict=True)
            if line.startswith("|") and not after.startswith("|--") and not line.startswith("|--")]
