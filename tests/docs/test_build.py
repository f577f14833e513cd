"""docs/build.py finds what is stale in a page and rewrites it. Its --check checks the pages themselves."""

import pytest
from pages import ROOT, load

build = load(ROOT / "docs" / "build.py", "build")


@pytest.fixture(autouse=True)
def same_folder(monkeypatch):
    """The build changes to the folder of a page; each test goes back."""
    monkeypatch.chdir(ROOT)


PAGE = """# A page

```python
print(1 + 1)
```

<!-- output -->
```text
{output}
```

<!-- quote {source} f -->
```python
{quote}
```

<!-- rows {table} + mine -->

| name | mine | b |
|---|---|---|
| y | kept | {cell} |
"""
RIGHT = {"output": "2", "quote": "def f(x):\n    return x", "cell": "4", "source": "source.py", "table": "./table.md"}


@pytest.fixture
def page(tmp_path, monkeypatch):
    """page(**changes) builds a small page with these changes: (its problems, whether it is then correct)."""
    monkeypatch.setattr(build, "ROOT", tmp_path)
    (tmp_path / "source.py").write_text('def f(x):\n    """Doc."""\n    return x\n', encoding="utf-8")
    (tmp_path / "table.md").write_text("| name | a | b |\n|---|---|---|\n| x | 1 | 2 |\n| y | 3 | 4 |\n",
                                       encoding="utf-8")

    def run(text=PAGE, **changes):
        path = tmp_path / "page.md"
        path.write_text(text.format(**(RIGHT | changes)), encoding="utf-8")
        found, new = build.build(path)
        return [(result.line, result.error) for result in found if result.problem], new == PAGE.format(**RIGHT)

    return run


@pytest.mark.parametrize("name", ["assets/text.txt", "text.txt"])
def test_a_missing_line_of_a_made_file_names_the_command_that_makes_it(name, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    (tmp_path / "assets").mkdir()
    (tmp_path / name).write_text("a\n", encoding="utf-8")
    with pytest.raises(LookupError) as error:
        build.excerpts(name, "/b/")
    assert name in str(error.value) and ("assets/make.sh" in str(error.value)) == name.startswith("assets/")


def test_a_page_that_is_up_to_date_is_left_alone(page):
    assert page() == ([], True)


@pytest.mark.parametrize(("changes", "line"), [
    ({"output": "3"}, 7), ({"output": ""}, 7), ({"quote": "def f(x):\n    return 2 * x"}, 12), ({"cell": "5"}, 18)])
def test_a_stale_region_is_reported_and_rewritten(page, changes, line):
    (problem,), right = page(**changes)
    assert problem == (line, False) and right


def test_a_marker_is_added_below_an_example_that_prints(page):
    problems, right = page(PAGE.replace("\n\n<!-- output -->\n```text\n{output}\n```", ""))
    assert problems == [(3, False)] and right


def test_a_block_that_fails_is_reported_alone(page):
    problems, _ = page(PAGE.replace("print(1 + 1)", "print(1 / 0)") + "\n```python\nx = 1\n```\n")
    assert problems == [(3, True)]


@pytest.mark.parametrize("marker", ["quote source.py g", "quote none.py f", "rows ./none.md", "table none"])
def test_a_marker_without_a_source_fails_and_leaves_its_region(page, marker):
    problems, right = page(PAGE.replace("quote {source} f", marker))
    assert problems == [(12, True)] and not right


def test_a_function_that_was_renamed_is_named_with_a_suggestion(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    (tmp_path / "a.py").write_text("class Linear:\n    def backward(self):\n        pass\n", encoding="utf-8")
    with pytest.raises(LookupError, match=r"a\.py.*Linear\.backwards.*Linear\.backward"):
        build.quote("a.py", "Linear.backwards")


@pytest.mark.parametrize(("check", "status", "text"), [(True, 1, "3"), (False, 0, "2")])
def test_the_command_checks_or_rewrites(check, status, text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text("```python\nprint(2)\n```\n\n<!-- output -->\n```text\n3\n```\n", encoding="utf-8")
    assert build.main([str(path), *["--check"] * check]) == status
    assert "page.md:5" in capsys.readouterr().out and path.read_text(encoding="utf-8").splitlines()[6] == text
