#!/usr/bin/env python
"""Regenerates what README.md, docs/**/*.md and the notebooks show of the code, in place.

    python docs/build.py                     all pages
    python docs/build.py docs/INSIDE.md      one page
    python docs/build.py --check             change nothing; list what is stale and exit with status 1

An HTML comment marks a region. The build rewrites what follows it:

    <!-- quote numpygpt/nn/modules/linear.py Linear.forward Linear.backward -->
        A ```python block: the source of these functions, without docstrings. A name may also be a class, a constant, or
        a statement in a function: `learn_merges/while` is its first `while`, `learn_merges/for2` its second `for`.
    <!-- output -->
        A ```text block: what the ```python block above prints. The blocks of a page run in order and share their names.
        The marker is added to a block that prints and has none.
    <!-- shell ./train.py --help -->
        A ```text block: what the command prints, run in the root of the project. $TMP is an empty folder.
    <!-- table layers -->
        A table: the rows of the function `layers` in docs/tables.py. Words after the name are its arguments.
    <!-- rows assets/outputs/speed.md -->
        A table with some of the rows and columns of a table in a file (or of a function in docs/tables.py). The page
        chooses rows by their first cells and columns by their header. Columns named after a `+` are the page's own.
    <!-- lines assets/outputs/trace.txt '/^Forward/,/^y/' '/^loss/' -->
        A ```text block with excerpts of a file, `...` between them: from one pattern to another, or (`/^loss/,+3`) a
        line and three more.
    <!-- file assets/outputs/levels.md --> ... <!-- end -->
        A whole file.
    <!-- navigation --> ... <!-- end -->
        Links to the page before and after, in the order of docs/contents.py.

A region that fails (an example raises, a function was renamed) is reported and left alone; the others are built.
Numbers that were measured on a machine (times, losses of real runs) are not regenerated: their scripts write them to
assets/outputs/, and `rows`, `lines` and `file` copy them from there.
"""

import argparse
import ast
import contextlib
import difflib
import io
import multiprocessing
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs"), str(ROOT / "docs" / "backprop")]

MARKER = re.compile(r"<!-- (quote|output|shell|table|rows|lines|file|navigation)\b ?(.*?) -->$")
WHOLE = ("file", "navigation")  # the kinds of regions that end with <!-- end -->
STATEMENTS = {"if": ast.If, "for": ast.For, "while": ast.While, "with": ast.With, "return": ast.Return}


class Region(NamedTuple):
    """A part of a page. `start` and `stop` bound its lines, counted from 0; `line` is where its marker is, from 1."""

    kind: str  # of a marker, or "example" for a Python block
    argument: str
    line: int
    start: int
    stop: int


class Result(NamedTuple):
    """What the build found: `problem` is empty for a region that is up to date, `error` true for one that failed."""

    line: int
    marker: str
    problem: str
    error: bool


def pages():
    """README.md, every page of docs/, and the notebooks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "docs").rglob("*.ipynb"))]


# -- finding the regions -----------------------------------------------------------------------------------------------


def regions(lines):
    """The regions of a page in order. Raises ValueError for a marker with nothing to rewrite under it."""
    found, i = [], 0
    while i < len(lines):
        marker = MARKER.match(lines[i])
        if marker:
            kind, argument = marker.groups()
            start, stop = extent(lines, i, kind)
            found.append(Region(kind, argument, i + 1, start, stop))
            i = stop + (lines[stop : stop + 1] == ["```"])
        elif lines[i].startswith("```"):
            stop = closing(lines, i)
            if lines[i] == "```python":
                found.append(Region("example", "", i + 1, i + 1, stop))
            i = stop + 1
        else:
            i += 1
    return found


def extent(lines, i, kind):
    """(first, one past the last) of the lines that the marker at `i` rewrites."""
    if kind in WHOLE:
        end = next((k for k in range(i + 1, len(lines)) if lines[k] == "<!-- end -->"), None)
        if end is None:
            raise ValueError(f"line {i + 1}: no <!-- end --> follows {lines[i]}")
        return i + 1, end
    start = i + 1 + (lines[i + 1 : i + 2] == [""])
    if kind in ("table", "rows"):
        stop = start
        while stop < len(lines) and lines[stop].startswith("|"):
            stop += 1
        return start, stop
    fence = "```python" if kind == "quote" else "```text"
    if lines[start : start + 1] != [fence]:
        raise ValueError(f"line {i + 1}: {lines[i]} must be followed by a {fence} block")
    return start + 1, closing(lines, start)


def closing(lines, i):
    """The index of the fence that closes the one at `i`."""
    for k in range(i + 1, len(lines)):
        if lines[k].startswith("```"):
            return k
    raise ValueError(f"line {i + 1}: this block has no closing fence")


# -- what belongs into a region ----------------------------------------------------------------------------------------


def quote(path, *names):
    """The source of functions, classes, constants or statements of a file, without docstrings."""
    source = (ROOT / path).read_text(encoding="utf-8")
    nodes = [named(ast.parse(source), name, path) for name in names]
    gap = "\n\n" if any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in nodes) else "\n"
    return gap.join(textwrap.dedent(source_of(node, source)) for node in nodes)


def named(tree, name, path):
    """The syntax node of `Class.method`, `function/while` or `CONSTANT`."""
    node, known = tree, []
    name, *statements = name.split("/")
    for part in name.split("."):
        children = {key: child for child in node.body for key in names_of(child)}
        if part not in children:
            close = difflib.get_close_matches(part, children, 1)
            raise LookupError(f"{path} has no {name}" + (f"; did you mean {'.'.join([*known, *close])}?" * bool(close)))
        node = children[part]
        known.append(part)
    for statement in statements:
        kind, number = re.fullmatch(r"([a-z]+)(\d*)", statement).groups()
        inside = [child for child in ast.walk(node) if isinstance(child, STATEMENTS[kind])]
        inside.sort(key=lambda child: child.lineno)
        if int(number or 1) > len(inside):
            raise LookupError(f"{name} in {path} has {len(inside)} statements `{kind}`, not {number or 1}")
        node = inside[int(number or 1) - 1]
    return node


def names_of(node):
    """The names that a statement of a module or class defines."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [word.id for target in targets for word in ast.walk(target) if isinstance(word, ast.Name)]
    return [node.name] if hasattr(node, "name") else []


def source_of(node, source):
    """The lines of a node, decorators included and docstrings left out."""
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    lines, left_out = source.splitlines(), set()
    for inner in ast.walk(node):
        if isinstance(inner, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(inner) is not None:
            last = inner.body[0].end_lineno
            left_out |= set(range(inner.body[0].lineno, last + 1 + (not lines[last].strip())))  # a blank line too
    kept = [lines[i - 1] for i in range(first, node.end_lineno + 1) if i not in left_out]
    return "\n".join(kept)


def shell(command):
    """What a command prints."""
    with tempfile.TemporaryDirectory() as folder:
        folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        variables = {**os.environ, "TMP": folder, "COLUMNS": "100", "NO_COLOR": "1", "PATH": folders}
        done = subprocess.run(command, shell=True, cwd=ROOT, env=variables, capture_output=True, encoding="utf-8")
        if done.returncode:
            raise RuntimeError(f"{command} ended with status {done.returncode}: {done.stderr.strip()}")
        return done.stdout.replace(folder, "$TMP")


def tables(source, *arguments):
    """The tables of a file, or of a function in docs/tables.py, as {header: rows}; each row a tuple of cells."""
    if "/" not in source:
        import tables

        header, *rows = getattr(tables, source)(*arguments)
        return {tuple(header): [tuple(map(str, row)) for row in rows]}
    found, rows, lines = {}, [], (ROOT / source).read_text(encoding="utf-8").splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("|") and re.fullmatch(r"[|\- :]+", following):
            rows = found.setdefault(cells(line), [])
        elif line.startswith("|") and not re.fullmatch(r"[|\- :]+", line):
            rows.append(cells(line))
    return found


def cells(line):
    return tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1])


def markdown(header, rows):
    """A table as text."""
    lines = ["|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in [header, *rows]]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def refreshed(shown, *words):
    """The table `shown` with the cells of the source that `words` name; columns named after a `+` stay as they are."""
    words, own = (list(words), []) if "+" not in words else (words[: words.index("+")], words[words.index("+") + 1 :])
    header, _, *rows = map(cells, shown)
    width = next(k for k in range(1, len(header) + 1) if len({row[:k] for row in rows}) == len(rows))  # of the key
    for other, others in tables(*words).items():
        at = places(header, other)
        if any(i is None and name not in own for i, name in zip(at, header, strict=True)):
            continue
        known = {tuple(row[i] for i in at[:width]): row for row in reversed(others)}
        if all(row[:width] in known for row in rows):
            return markdown(header, [[cell if i is None else known[row[:width]][i]
                                      for i, cell in zip(at, row, strict=True)] for row in rows])
    raise LookupError(f"{words[0]} has no table with all columns and rows of this one")


def places(header, other):
    """Where each column stands in another table: its index, or None. Columns of one name are told apart by order."""
    places = {}
    for i, name in enumerate(other):
        places.setdefault(name, []).append(i)
    return [places[name].pop(0) if places.get(name) else None for name in header]


def excerpts(path, *addresses):
    """Parts of a file, each from a line that matches one pattern to the next that matches another."""
    lines, at, parts = (ROOT / path).read_text(encoding="utf-8").splitlines(), 0, []
    for address in addresses:
        start, pattern, more = re.fullmatch(r"/(.*?)/(?:,/(.*)/|,[+](\d+))?", address).groups()
        first = index_of(lines, at, start, path)
        last = first + int(more or 0) if pattern is None else index_of(lines, first + 1, pattern, path)
        parts.append("\n".join(lines[first : last + 1]))
        at = last + 1
    return "\n...\n".join(parts)


def index_of(lines, at, pattern, path):
    for i in range(at, len(lines)):
        if re.search(pattern, lines[i]):
            return i
    made = "; assets/make.sh makes this file" if path.startswith("assets/") else ""
    raise LookupError(f"{path} has no line that matches /{pattern}/ after line {at}{made}")


def content(region, shown, page):
    """The new text of a region of a page, other than an example and its output."""
    words = shlex.split(region.argument)
    match region.kind:
        case "quote":
            return quote(*words)
        case "shell":
            return shell(region.argument)
        case "table":
            ((header, rows),) = tables(*words).items()
            return markdown(header, rows)
        case "rows":
            return refreshed(shown, *words)
        case "lines":
            return excerpts(*words)
        case "navigation":
            from contents import navigation

            return "\n" + navigation(page.relative_to(ROOT / "docs").as_posix()) + "\n\n"
        case "file":
            return "\n" + (ROOT / words[0]).read_text(encoding="utf-8").strip() + "\n\n"


# -- building a page ---------------------------------------------------------------------------------------------------


def run(code, page, line, names):
    """Run an example; (what it printed, its error or "")."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)
        except Exception as error:
            at = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(page)]
            return out.getvalue(), f"line {at[-1] if at else line}: {type(error).__name__}: {error}"
    return out.getvalue(), ""


def tidy(text):
    """Lines without blanks at their ends, and without empty lines at the end of all."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


def build(page):
    """(a Result for each region, the new text of the page). Runs the page's examples in this process."""
    os.chdir(ROOT)
    if page.suffix == ".ipynb":
        from notebook import build_notebook

        return build_notebook(page)
    text = page.read_text(encoding="utf-8")
    lines, results, changes, names = text.splitlines(), [], [], {"__name__": page.stem}
    printed, failed = None, ""
    try:
        found = regions(lines)
    except ValueError as error:
        return [Result(1, "page", str(error), True)], text
    for region, after in zip(found, [*found[1:], None], strict=False):
        shown, marker, problem, new = lines[region.start : region.stop], lines[region.line - 1], "", None
        if region.kind == "example":
            printed, failed = run("\n".join(shown), page, region.line + 1, names)
            problem = failed
            if printed and not failed and (after is None or after.kind != "output"):
                problem, new = "prints, but no <!-- output --> follows", [*shown, "```", "", "<!-- output -->",
                                                                          "```text", *tidy(printed)]
            results.append(Result(region.line, marker, problem, bool(failed)))
        elif region.kind == "output":
            if printed is None:
                problem, failed = "no example above it", "no example"
            elif not failed and tidy(printed) != shown:
                problem, new = difference(shown, tidy(printed)), tidy(printed)
            results.append(Result(region.line, marker, problem, failed == "no example"))
            printed = None
        else:
            try:
                made = content(region, shown, page)
                new = made.splitlines() if region.kind in WHOLE else tidy(made)
            except Exception as error:
                results.append(Result(region.line, marker, f"{type(error).__name__}: {error}", True))
                continue
            if not shown and lines[region.stop : region.stop + 1] not in ([], [""], ["```"], ["<!-- end -->"]):
                new.append("")  # a new table ends before the text that follows
            problem = difference(shown, new) if new != shown else ""
            results.append(Result(region.line, marker, problem, False))
        if problem and new is not None:
            changes.append((region.start, region.stop, new))
    for start, stop, new in reversed(changes):
        lines[start:stop] = new
    return results, "\n".join(lines) + "\n"


def difference(old, new):
    """The first lines that differ, for the report."""
    lines = [line for line in difflib.unified_diff(old, new, lineterm="", n=0) if not line.startswith(("---", "+++"))]
    return "stale\n" + textwrap.indent("\n".join(lines[:8]), "    ")


def built(paths):
    """(page, results, new text) of each page, each page in a process of its own, two at a time."""
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}  # sums in the same order on every machine
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        yield from ((page, *made) for page, made in zip(paths, pool.map(build, paths), strict=True))


def main(argv=None):
    parser = argparse.ArgumentParser(description="Regenerate the quotes, outputs and tables of the documentation.")
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help="the pages to build (default: all)")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with status 1 if a region is stale")
    args = parser.parse_args(argv)
    status, stale = 0, 0
    for page, results, text in built([page.resolve() for page in args.pages] or pages()):
        name = page.relative_to(ROOT)
        for result in results:
            if result.problem:
                print(f"{name}:{result.line}: {result.marker}: {result.problem}", flush=True)
                status |= result.error or args.check
                stale += not result.error
        if not args.check and text != page.read_text(encoding="utf-8"):
            page.write_text(text, encoding="utf-8")
    if stale:
        print(f"{stale} stale regions" + ("; run python docs/build.py" if args.check else " rewritten"))
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
