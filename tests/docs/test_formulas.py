"""The formulas of the textbook are ones that GitHub renders, as far as doc_math.py reads them."""

import re

import pytest
from doc_math import faults
from test_backprop_doc import DOCUMENTS, ROOT, formulas, name, prose, read

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_the_formulas_are_ones_that_render(path):
    text = read(path)
    assert [(line, formula, faults(formula)) for line, formula in formulas(text) if faults(formula)] == []
    tables = [line for line in prose(text).splitlines() if line.startswith("|")]
    assert not [line for line in tables if any("|" in formula for formula in re.findall(r"\$`([^`]*)`\$", line))]
    bare = re.sub(r"`[^`]*`", "", re.sub(r"\$`[^`]*`\$", "", prose(text)))
    assert not [line for line in bare.splitlines() if "$" in line or re.search(r"\\[A-Za-z]", line)]


def misplaced(text):
    """The links whose words, and the bold passages that, hold a formula: GitHub leaves it as it is written there."""
    plain = re.sub(r"`+[^`]*`+", "code", re.sub(r"\$`[^`]*`\$", "\N{EMPTY SET}", prose(text)))
    found = re.findall(r"\[[^\[\]]*\N{EMPTY SET}[^\[\]]*\]\(", plain)
    for paragraph in re.split(r"\n(?=\s*(?:\n|[-|] |\d+\. ))", plain):
        found += [bold for bold in re.findall(r"\*\*(.+?)\*\*", paragraph, re.DOTALL) if "\N{EMPTY SET}" in bold]
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_formula_stands_in_the_words_of_a_link_or_in_bold(path):
    assert misplaced(read(path)) == []


def test_a_formula_in_the_words_of_a_link_or_in_bold_is_found():
    right = "**One** $`1[i = j]`$ ([two](a.md), `**`) **three**\n\n- **four** $`x`$\n- $`y`$ **five**\n"
    assert misplaced(right) == []
    for wrong in ("[the $`x`$](a.md)", "[of\n$`x`$ it](a.md)", "**for $`x`$**", "**for\nall $`x`$ here**"):
        assert len(misplaced(right + "\n" + wrong)) == 1


@pytest.mark.parametrize("formula", [
    "", " ", "{a", "a}", r"\frob", "a_b_c", "x'^2", r"\frac{1}", "a & b", r"a \\ b", r"\begin{aligned} a",
    r"\begin{aligned} a \end{cases}", r"\begin{align} a \end{align}", r"\left( a", r"a \right)", r"\left a \right)",
    r"\begin{aligned} \left( a & b \right) \end{aligned}", r"\begin{aligned} {a & b} \end{aligned}", "50%", "∂", "x_",
    r"\operatorname{x}", r"\text{a", "$x$"])
def test_a_formula_that_does_not_render_is_found(formula):
    assert faults(formula)


@pytest.mark.parametrize("formula", [
    r"\mathrm{d}W = X^\top \mathrm{d}Y", r"f'(x) = \frac12 \sqrt[3]{x}", r"\{a_i^2\} \text{ for } i \le n",
    r"\begin{aligned} a &= \frac{1}{2} \\ b_{ij}^2 &= \left( \sum_i x_i \right) \end{aligned}",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\left\{ \begin{array}{lr} a & b \end{array} \right."])
def test_a_formula_that_renders_is_let_through(formula):
    assert faults(formula) == []
