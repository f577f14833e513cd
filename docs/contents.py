"""The order of the documentation. The pages' navigation, docs/README.md and the site are made from this list."""

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
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    return next(line[2:] for line in lines if line.startswith("# "))


def navigation(page):
    """A line of links: the page before, the contents, the page after. `page` is relative to docs/."""
    up, pages = "../" * page.count("/"), order()
    at = pages.index(page)
    links = [f"[&larr; {title(pages[at - 1])}]({up}{pages[at - 1]})"] if at > 1 else []
    links += [f"[Contents]({up}README.md)"] if at else []
    links += [f"[{title(pages[at + 1])} &rarr;]({up}{pages[at + 1]})"] if at + 1 < len(pages) else []
    return " | ".join(links)


def contents():
    """docs/README.md: the parts and their pages."""
    table = [("part", "pages")]
    for part, pages in CONTENTS.items():
        links = [f"[{title(page)}]({page})" for page in pages if (DOCS / page).exists()]
        table.append((part, "<br>".join(links)))
    return table
