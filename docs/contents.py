"""The order of the documentation. The pages' navigation, docs/README.md and the site are made from this list."""

import posixpath
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent

CONTENTS = {  # part -> its pages in reading order
    "Backpropagation": ["START.md", "BACKPROP.md", "backprop/products.md", "backprop/softmax.md",
                        "backprop/normalize.md", "backprop/attention.md", "backprop/model.md", "backprop/checking.md",
                        "backprop/bugs.md"],
    "Modern models": ["backprop/modern.md", "backprop/finetune.md", "backprop/precision.md"],
    "Practice and teaching": ["EXERCISES.md", "OPTIMIZERS.md", "TOKENIZERS.md", "TEACHING.md", "FORMULAS.md"],
    "Using the library": ["DATA.md", "EXPERIMENTS.md", "MODELS.md", "INSIDE.md", "RELIABILITY.md", "PERFORMANCE.md",
                          "SCALING.md", "DEVICES.md"],
    "How it is built": ["ARCHITECTURE.md", "GRADIENTS.md"],
}


def order():
    """All pages in reading order, docs/README.md first."""
    return ["README.md", *(page for pages in CONTENTS.values() for page in pages if (DOCS / page).exists())]


def title(page):
    """The first heading of a page."""
    return next(line[2:] for line in read(page).splitlines() if line.startswith("# "))


def navigation(page):
    """A line of links: the page before, the contents, the page after. `page` is relative to docs/."""
    pages, here = order(), posixpath.dirname(page)
    at = pages.index(page)

    def link(text, target):
        return f"[{text}]({posixpath.relpath(target, here or '.')})"

    before = [link(f"&larr; {title(pages[at - 1])}", pages[at - 1])] if at > 1 else []
    up = [link("Contents", "README.md")] if at else []
    after = [link(f"{title(pages[at + 1])} &rarr;", pages[at + 1])] if at + 1 < len(pages) else []
    return " | ".join(before + up + after)


def contents():
    """docs/README.md: the parts and their pages."""
    table = [("part", "pages")]
    for part, pages in CONTENTS.items():
        links = [f"[{title(page)}]({page})" for page in pages if (DOCS / page).exists()]
        table.append((part, "<br>".join(links)))
    return table


def chapters():
    """docs/BACKPROP.md: the chapters in backprop/ and their sections, in reading order."""
    table = [("chapter", "sections")]
    for page in order():
        if page.startswith("backprop/"):
            names = re.findall(r"^## (.+)$", prose(read(page)), re.M)
            links = [f"[{name}]({page}#{slug(name)})" for name in names if not name.startswith("Summary")]
            few = len(links) < 10
            table.append((f"[{title(page)}]({page})", ", ".join(links) if few else f"{len(links)} sections"))
    return table


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def prose(text):
    """A page's text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def read(page):
    return (DOCS / page).read_text(encoding="utf-8")
