"""docs/ARCHITECTURE.md is true: its tour runs, what it names exists, what it says of imports and places is what is."""

import ast
import builtins
import keyword
import re
import subprocess
import sys
from collections import defaultdict

import pytest
from doc_math import faults
from test_backprop_doc import (
    ROOT,
    examples,
    fenced,
    formulas,
    headings,
    parts,
    printed,
    prose,
    quoted_from,
    quotes,
    read,
)

DOC = ROOT / "docs" / "ARCHITECTURE.md"
TEXT = read(DOC)
PACKAGE = ROOT / "numpygpt"
SCRIPTS = ("datagen", "train", "sample", "plot", "test")
LIBRARY = ("nn", "optim", "tokenizer")
GROUPS = (*LIBRARY, "models", "utils", "utils.data", "training", "inspection", "plots", "mutation", "gradient_cases",
          "gradient_wrappers")


def id_of(block):
    return f"line{block.line}"


@pytest.mark.parametrize(("block", "after"), examples(TEXT), ids=id_of)
def test_an_example_prints_what_stands_under_it(block, after):
    found = printed(DOC).get(block.line, "not reached: an example before it failed")
    if isinstance(found, Exception):
        raise found
    expected = after.text.splitlines() if after.info == "text" else []
    assert [line.rstrip() for line in found.splitlines()] == [line.rstrip() for line in expected]


@pytest.mark.parametrize("block", quotes(TEXT), ids=id_of)
def test_quoted_code_is_the_code(block):
    source = block.info.removeprefix("python source=")
    assert quoted_from(block.text, read(ROOT / source)), f"{source} no longer has these lines"


def test_the_page_has_its_form():
    assert {block.info for block in fenced(TEXT) if not block.info.startswith("python")} <= {"text", "math", "bash"}
    assert all(after.info == "text" and after.text for _, after in examples(TEXT))
    assert not [line for line in TEXT.splitlines() if len(line) > 120 and not line.startswith("|")]
    assert len(set(headings(TEXT))) == len(headings(TEXT))
    assert [formula for _, formula in formulas(TEXT) if faults(formula)] == []


# -- every station has what it promises --------------------------------------------------------------------------------

STATIONS = ["Pieces", "Counting", "Vocabulary", "train.bin", "The batch", "The model forward", "The loss",
            "The model backward", "Shards and their reduction", "Contiguous parameters", "Clipping", "The optimiser",
            "The schedule", "One update, and its numbers", "Metrics", "The checkpoint", "Going on",
            "Sampling with the KV cache", "Plots and inspection"]


def stations():
    """Title -> text of the stations of the tour, of whichever level."""
    tour = TEXT.split("## What imports what")[0]
    titles = re.findall(r"^###? (.+)$", prose(tour), flags=re.MULTILINE)
    found = {title: text for level in (2, 3) for title, text in parts(tour, level)}
    return {title: found[title].split("\n## ")[0] for title in titles if title != "From a text to token ids"}


def test_the_tour_has_its_stations_in_order():
    assert list(stations()) == STATIONS


@pytest.mark.parametrize("title", STATIONS)
def test_a_station_names_a_function_to_read_in_a_file_that_has_it_and_prints_something(title):
    text = stations()[title]
    line = " ".join(re.search(r"\*\*Read\*\* (.+?)(?=\n\n)", text, re.S)[1].split())
    pairs = re.findall(r"`([A-Za-z_.]+)`(?: and `([A-Za-z_.]+)`)? in\s`(numpygpt/[\w/]+\.py)`", line)
    pairs += [(name, "", path) for path, name in re.findall(r"`(numpygpt/[\w/]+\.py)`: `([A-Za-z_.]+)`", line)]
    assert pairs, line
    for *names, path in pairs:
        for name in filter(None, names):
            assert name in defined(path), f"{path} has no {name}"
    assert examples(text), "a station prints nothing"
    assert len(prose(text).split()) > 35, "a station without a reason"


def defined(path):
    """The names of functions and classes in a file, methods as Class.method."""
    found = set()
    for node in ast.parse(read(ROOT / path)).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inside.name}" for inside in node.body if isinstance(inside, ast.FunctionDef)}
    return found


# -- names -------------------------------------------------------------------------------------------------------------

CODE = re.findall(r"(?<!\$)`([^`\n]+)`", prose(TEXT))
PATHS = sorted({text for text in CODE if re.fullmatch(r"(?:numpygpt|tests|docs|configs)/[\w/.]*|\w+\.py", text)})
OTHER = {"grad_norm", "new_figure", "parser", "args"}  # arguments, and a column of metrics.jsonl


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists(path):
    assert (ROOT / path).exists()


def test_every_name_in_the_text_is_one_of_the_code():
    known = {*dir(builtins), *OTHER, *keyword.kwlist, *(part for module in MODULES for part in module.split("."))}
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / f"{name}.py" for name in SCRIPTS)]:
        for node in ast.walk(ast.parse(read(path))):
            known |= {getattr(node, field) for field in ("id", "attr", "arg", "name") if hasattr(node, field)}
    names = {re.sub(r"\(.*\)", "", text) for text in CODE}
    names = {part for name in names if re.fullmatch(r"[A-Za-z_][\w.]*", name) and not name.endswith((".py", ".md"))
             and not name.endswith((".json", ".jsonl", ".npz", ".bin")) for part in name.split(".")}
    assert len(names) > 60
    assert sorted(name for name in names - known if len(name) > 1) == []


# -- imports -----------------------------------------------------------------------------------------------------------


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(path):
    """(module, whether inside a function) of each import that is run, of whatever package."""

    def visit(node, inside):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0
                for alias in child.names:
                    whole = f"{child.module}.{alias.name}"
                    yield (whole if whole in MODULES else child.module), inside
            yield from visit(child, inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))

    yield from visit(ast.parse(read(path)), False)


def group(module):
    """The package of a module, as the table has it."""
    inside = module.removeprefix("numpygpt.")
    found = [name for name in GROUPS if inside == name or inside.startswith(f"{name}.")]
    return max(found, key=len, default="numpygpt")


def measured():
    """package -> {imported package, with a star where it is inside functions alone}"""
    found = defaultdict(lambda: defaultdict(set))
    for module, path in MODULES.items():
        for target, inside in imports(path):
            if target.split(".")[0] == "numpygpt" and group(target) != group(module):
                found[group(module)][group(target)].add(inside)
    return {package: {name + "*" * all(inside) for name, inside in names.items()} for package, names in found.items()}


def test_the_table_of_imports_is_what_the_syntax_trees_say():
    section = dict(parts(TEXT, 2))["What imports what"]
    rows = re.findall(r"^\| `([\w.]+)` \| (.+) \|$", section, flags=re.MULTILINE)
    table = {package: {name + star for name, star in re.findall(r"`([\w.]+)`(\*?)", names)} for package, names in rows}
    assert table == measured()


def test_the_library_takes_nothing_of_utils_but_three_small_modules():
    taken = {target for module, path in MODULES.items() if group(module) in LIBRARY
             for target, _ in imports(path) if target.startswith("numpygpt.utils")}
    assert taken == {"numpygpt.utils.cores", "numpygpt.utils.signals", "numpygpt.utils.strict_json"}
    assert "`cores`" in TEXT and "`signals`" in TEXT and "`strict_json`" in TEXT


def test_no_module_is_needed_to_make_itself():
    graph = {module: {target for target, inside in imports(path) if target in MODULES and not inside}
             for module, path in MODULES.items()}
    done, path = set(), []

    def walk(module):
        assert module not in path, f"a cycle: {' -> '.join([*path[path.index(module):], module])}"
        if module not in done:
            path.append(module)
            for target in sorted(graph[module]):
                walk(target)
            path.pop()
            done.add(module)

    for module in graph:
        walk(module)
    assert done == set(MODULES)


def test_nothing_imports_the_scripts_and_only_the_plots_matplotlib():
    for module, path in MODULES.items():
        tops = {target.split(".")[0] for target, _ in imports(path)}
        assert not tops & {"datagen", "train", "sample", "plot"}, module
        assert "matplotlib" not in tops or group(module) == "plots", module


def test_importing_the_library_prints_nothing_and_loads_no_matplotlib():
    code = "import sys, numpygpt.training, numpygpt.data; sys.exit('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# -- where to put something new ----------------------------------------------------------------------------------------

PLACES = {  # section: the words by which the places are found
    "A new layer": {"GELU", "gelu"},
    "A new optimiser": {"SGD", "sgd"},
    "A new tokenizer": {"WordTokenizer", "word"},
    "A new plot command": {"embeddings"},
}
DEFAULTS = {"numpygpt/models/gpt.py", "numpygpt/nn/modules/transformer.py", "numpygpt/nn/modules/feedforward.py"}


def mentions(path, words):
    """Does the code name one of the words: as a class, an import, a string, a function? A variable `word` does not."""
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.Constant) and node.value in words:
            return True
        named = getattr(node, "id", None) or getattr(node, "name", None)
        if isinstance(node, (ast.Name, ast.alias, ast.ClassDef, ast.FunctionDef)) and named in words - {"word"}:
            return True
    return False


@pytest.mark.parametrize("title", PLACES)
def test_the_places_are_all_those_that_name_the_example(title):
    section = dict(parts(TEXT, 3))[title].split("Then tests fail")[0]
    listed = re.findall(r"^\| `([\w/.]+)`", section, flags=re.MULTILINE)
    files = [*PACKAGE.rglob("*.py"), *(ROOT / f"{name}.py" for name in SCRIPTS)]
    found = {str(path.relative_to(ROOT)) for path in files if mentions(path, PLACES[title])}
    assert len(listed) == len(set(listed))
    assert set(listed) == found - (DEFAULTS if title == "A new layer" else set())
    for word in PLACES[title]:
        assert re.search(rf'`"?{word}"?`|/{word}\.py`', section), word
    if title == "A new layer":
        assert found >= DEFAULTS and all(f"`{path}`" in section for path in DEFAULTS)


def test_what_says_the_activations_and_the_sums_of_the_tables_again_is_listed():
    section = dict(parts(TEXT, 3))["A new layer"].split("Then tests fail")[1].split("The example is")[0]
    listed = {path for row in re.findall(r"^\| (`.*?) \|", section, re.M) for path in re.findall(r"`([^`]+)`", row)}
    cases = re.search(r"^[\d,]+ entries in \d+ cases", read(ROOT / "docs" / "GRADIENTS.md"), re.M)[0]
    again = {"must be one of relu, gelu", "must be one of gelu, relu", cases}
    files = [*(ROOT / "tests").rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    found = {str(path.relative_to(ROOT)) for path in files if any(words in read(path) for words in again)}
    found -= {"docs/ARCHITECTURE.md", "tests/docs/test_architecture_doc.py"}
    assert listed == found | {"tests/inspection/test_costs.py"} and len(found) == 6
    must = dict(re.findall(r"^\| `([\w/.]+)` \|.*\| (\w+)[^|]*\|$", dict(parts(TEXT, 3))["A new layer"], re.M))
    assert must["numpygpt/inspection/formulas.py"] == "must"
