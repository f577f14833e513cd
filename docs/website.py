"""Prepares the site that `mkdocs build` makes from README.md, docs/ and the docstrings. mkdocs calls the functions.

The pages go to a temporary folder with the layout of the repository, so that a link that works on GitHub works on the
site too. Formulas become MathML, which browsers show without any script.
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import griffe
from contents import CONTENTS, DOCS, prose
from latex2mathml.converter import convert

ROOT = DOCS.parent

REFERENCE = {  # page -> the modules whose public names it describes
    "Layers": ["nn"], "Models": ["models"], "Optimisers": ["optim", "optim.lr_scheduler"], "Gradients": ["verify"],
    "Tokenizers": ["tokenizer"], "Data": ["data"], "Training": ["training"], "Inspection": ["inspection"],
    "Several threads and processes": ["parallel"],
}
MATH = re.compile(r"^```math\n(.*?)^```$|\$`(.+?)`\$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
formulas: dict[str, str] = {}  # a placeholder in a page -> its formula in MathML


def on_config(config):
    """Copy the pages and what they link to; list the pages in the order of docs/contents.py."""
    folder = Path(tempfile.mkdtemp())
    pages = [Path("README.md"), *(path.relative_to(ROOT) for path in sorted(DOCS.rglob("*.md")))]
    for path in sorted({*pages, *(path for page in pages for path in links(page))}):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    shutil.copyfile(DOCS / "website.css", folder / "website.css")
    for name, modules in REFERENCE.items():
        page = folder / reference(name)
        page.parent.mkdir(exist_ok=True)
        page.write_text(f"# {name}\n\n" + "\n".join(f"::: numpygpt.{module}\n" for module in modules), encoding="utf-8")
    parts = [{part: [f"docs/{page}" for page in names]} for part, names in CONTENTS.items()]
    config.docs_dir = str(folder)
    config.nav = [{"NumpyGPT": "README.md"}, {"All pages": "docs/README.md"}, *parts,
                  {"API reference": [{name: reference(name)} for name in REFERENCE]}]
    return config


def on_post_build(config):
    shutil.rmtree(config.docs_dir)


def reference(name):
    return f"reference/{name.lower().replace(' ', '-')}.md"


def links(page):
    """The files of the repository that a page links to."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in LINK.findall(prose(text)):
        path = (ROOT / page.parent / target).resolve()
        if path.is_relative_to(ROOT) and path.is_file():
            yield path.relative_to(ROOT)


def on_page_markdown(markdown, page, config, files):
    """Put a placeholder where a formula is; let Markdown inside <details> be Markdown, as on GitHub."""
    def placeholder(found):
        block, inline = found.groups()
        name = f"formula{len(formulas)}x"
        formulas[name] = mathml(block or inline, "block" if block else "inline")
        return f"\n{name}\n" if block else name

    return MATH.sub(placeholder, markdown).replace("<details>", '<details markdown="1">')


def mathml(formula, display):
    """A formula for browsers. latex2mathml does not know `aligned`, and sets a single upright letter in italics."""
    formula = formula.replace("{aligned}", "{align*}").replace("\\mathrm{", "\\text{")
    return convert(re.sub(r"(\\begin\{[^}]+\}|\\\\)\s*\[", r"\1{}[", formula), display=display)  # no option


def on_page_content(html, page, config, files):
    """Put the formulas in."""
    return re.sub(r"(?:<p>)?\b(formula\d+x)\b(?:</p>)?", whole, html)


def whole(found):
    """The formula of a placeholder. A paragraph of its own is left out; one that holds more text stays."""
    before, after = found.group().startswith("<p>"), found.group().endswith("</p>")
    formula = formulas[found[1]]
    return formula if before and after else "<p>" * before + formula + "</p>" * after


class Examples(griffe.Extension):
    """Make the examples in docstrings code blocks of their page."""

    def on_object(self, *, obj, **kwargs):
        if obj.docstring:
            obj.docstring.value = re.sub(r"^>>>.*(?:\n.+)*", r"```pycon\n\g<0>\n```", obj.docstring.value, flags=re.M)
