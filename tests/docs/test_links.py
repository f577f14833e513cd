"""Links lead somewhere, every page can be reached from the README, and every picture is shown."""

import re

import pytest
from pages import PAGES, ROOT, anchor, headings, load, name, prose, read

OUTSIDE = re.compile(r"[a-z]+:")


def links(page):
    """The targets of a page's links and pictures, those in code left out."""
    text = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "code", prose(read(page)))
    found = re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", text)
    return [link for link in found if not OUTSIDE.match(link)]


def anchors(page):
    """The names of a page's headings, as GitHub gives them: the second of a name gets -1, the third -2."""
    found = set()
    for title in headings(read(page)):
        plain = named = anchor(title)
        count = 0
        while named in found:
            count += 1
            named = f"{plain}-{count}"
        found.add(named)
    return found


def dead(page, root=ROOT):
    """The links of a page that lead to no file or no heading."""
    found = []
    for link in links(page):
        path, _, part = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or not target.is_relative_to(root):
            found.append(link)
        elif part and (target.suffix != ".md" or part not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page):
    assert dead(page) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_headings_of_a_page_differ_so_that_links_to_them_do_not_move(page):
    anchored = [anchor(title) for title in headings(read(page))]
    assert len(anchored) == len(set(anchored))


def test_every_page_has_its_place_in_the_contents():
    contents = load(ROOT / "docs" / "contents.py", "contents")
    folders = {page for page in PAGES if page.name == "README.md"} - {ROOT / "docs" / "README.md"}
    assert {ROOT / "docs" / page for page in contents.order()} == set(PAGES) - folders


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    text = "# One `two`\n\n## A, b\n\n## A b\n\n```python\n# Code\n```\n\n"
    right = "[1](#one-two) [2](#a-b) [3](#a-b-1) [4](page.md#a-b) [5](https://example.org/x) `[6](none.md)`\n"
    page.write_text(text + right, encoding="utf-8")
    assert dead(page, tmp_path) == []
    for link in ("#a-b-2", "#code", "none.md", "page.md#none", "../page.md", "#One-two"):
        page.write_text(f"{text}[x]({link})\n", encoding="utf-8")
        assert dead(page, tmp_path) == [link]


def test_every_page_can_be_reached_and_every_picture_is_shown():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in links(page) if link[0] != "#"}
        waiting += [target for target in targets - reached if target.suffix == ".md" and target.exists()]
    folders = {page for page in PAGES if page.name == "README.md"}  # a page that a folder shows
    assert set(PAGES) - reached - folders == set()
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(page)}
    assert set((ROOT / "assets" / "pictures").rglob("*.png")) - shown == set()


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "notebooks").rglob("*.ipynb")), ids=name)
def test_a_notebook_links_to_headings_that_exist(page):
    import json

    cells = json.loads(read(page))["cells"]
    for target in re.findall(r"\]\(([^)]+)\)", "".join("".join(cell["source"]) for cell in cells
                                                       if cell["cell_type"] == "markdown")):
        path, _, part = target.partition("#")
        assert (page.parent / path).exists() and (not part or part in anchors(page.parent / path)), target
