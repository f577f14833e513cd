"""The links of README.md and of docs/ lead to files and headings that exist, and every chapter can be reached."""

import re
from pathlib import Path

import pytest
from test_backprop_doc import CHAPTERS, DOC, ROOT, anchor, headings, prose, read, sections

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OUTSIDE = re.compile(r"[a-z]+:")


def links(document):
    """The targets of a document's links and pictures, those in code left out."""
    text = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "code", prose(document))
    return re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", text)


def anchors(document):
    """The names of a document's headings, as GitHub gives them: the second of a name gets -1, the third -2."""
    found = set()
    for title in headings(document):
        plain = name = anchor(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title))
        count = 0
        while name in found:
            count += 1
            name = f"{plain}-{count}"
        found.add(name)
    return found


def dead(page):
    """The links of a page that lead nowhere, each with the reason."""
    found = []
    for link in links(read(page)):
        if OUTSIDE.match(link):
            continue
        path, _, part = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or not target.is_relative_to(ROOT):
            found.append((link, "no such file"))
        elif part and (target.suffix != ".md" or part not in anchors(read(target))):
            found.append((link, "no such heading"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert dead(page) == []


def test_a_dead_link_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("test_links.ROOT", tmp_path)
    page = tmp_path / "page.md"
    text = "# One `two`\n\n## A, b\n\n## A b\n\n```python\n# Code\n```\n\n"
    right = "[1](#one-two) [2](#a-b) [3](#a-b-1) [4](page.md#a-b) [5](https://example.org/x) `[6](none.md)`\n"
    page.write_text(text + right, encoding="utf-8")
    assert dead(page) == []
    for link in ("#a-b-2", "#code", "none.md", "page.md#none", "../page.md", "#One-two"):
        page.write_text(f"{text}[x]({link})\n", encoding="utf-8")
        assert [found for found, _ in dead(page)] == [link]


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_every_section_of_a_chapter_is_in_the_list_of_chapters(page):
    wanted = {f"backprop/{page.name}#{anchor(title)}" for title in sections(read(page))}
    assert wanted - set(links(read(DOC))) == set()


def test_every_page_can_be_reached_from_the_readme():
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(read(page))
                   if not OUTSIDE.match(link) and not link.startswith("#")]
        waiting += [target for target in set(targets) - reached if target.suffix == ".md" and target.exists()]
    assert set(PAGES) - reached == set()


def test_every_picture_is_shown_on_some_page():
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(read(page)) if not OUTSIDE.match(link)}
    assert set((ROOT / "assets" / "pictures").iterdir()) - shown == set()
