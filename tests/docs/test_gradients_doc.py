"""docs/GRADIENTS.md is true: its tables are those of the code, its example prints what stands under it."""

import contextlib
import io
import re
import runpy
import shlex

import pytest

from numpygpt.utils.paths import ROOT
from numpygpt.verify.cases import gradient_cases
from numpygpt.verify.mutation.equivalent import EQUIVALENT
from numpygpt.verify.mutation.mutants import mutants, targets
from numpygpt.verify.mutation.verdicts import key

TEXT = (ROOT / "docs" / "GRADIENTS.md").read_text(encoding="utf-8")
CASES, MUTANTS, EXAMPLE = re.findall(r"```text\n(.*?)\n```", TEXT, re.S)


def test_the_table_of_cases_is_that_of_the_cases():
    header, *rows, sums = CASES.splitlines()
    assert header.split() == ["layer", "configuration", "checked", "entries", "largest", "error"]
    entries, cases = 0, list(gradient_cases())
    for row, (layer, configuration, make, inputs) in zip(rows, cases, strict=True):
        size = make().n_params() + sum(x.size for x in inputs if x.dtype.kind == "f")
        assert (row[:20].strip(), row[21:46].strip()) == (layer, configuration)
        *_, count, error, verdict = row.split()
        assert (int(count.replace(",", "")), verdict) == (size, "pass") and float(error) < 1e-6
        entries += size
    assert sums.startswith(f"{entries:,} entries in {len(cases)} cases;") and sums.endswith(": all pass")
    worst = max((row.split()[-2] for row in rows), key=float)
    assert f"The worst seen is {worst}." in " ".join(TEXT.split())


@pytest.fixture(scope="module")
def made():
    """Every mutant, by the name of its function."""
    return {target.name: list(mutants(target)) for target in targets()}


def test_the_table_of_mutants_has_as_many_as_are_made(made):
    header, *rows, sums = MUTANTS.splitlines()
    assert header.split() == ["function", "mutants", "wrong", "numbers", "crashed", "equivalent", "survived"]
    table = {name: list(map(int, counts)) for name, *counts in map(str.split, rows)}
    assert {name: counts[0] for name, counts in table.items()} == {name: len(found) for name, found in made.items()}
    for name, (total, *verdicts) in table.items():
        assert total == sum(verdicts) and verdicts[3] == 0, name
        assert verdicts[2] == sum(function == name for function, _, _ in EQUIVALENT)
    columns = [sum(column) for column in zip(*table.values(), strict=True)]
    assert sums.split() == ["all", *map(str, columns)]
    total, wrong, crashed, same, survived = columns
    assert f"{total} ways" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert (f"Of {total} mutants {wrong} are caught by their numbers, {crashed} crash, none survive, and {same} are no "
            "mistakes" in " ".join(TEXT.split())) and not survived


def test_the_equivalent_ones_are_listed_with_their_reasons_and_exist(made):
    rows = re.findall(r"^\| `(.*?)` \| `(.*?)` \| `(.*?)` \| (.*?) \|$", TEXT, re.M)
    assert {(function, before, after): reason for function, before, after, reason in rows} == EQUIVALENT
    assert set(EQUIVALENT) <= {key(mutant) for found in made.values() for mutant in found}


def test_the_example_prints_what_stands_under_it():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "GRADIENTS.md", "exec"), {})
    assert printed.getvalue().rstrip() == EXAMPLE
    assert EXAMPLE.count("WRONG at") == code.count("# wrong:") == 3


def test_the_commands_are_taken():
    commands = re.findall(r"^\./test\.py ([^#\n]*)", TEXT, re.M)
    parse = runpy.run_path(str(ROOT / "test.py"))["parse"]
    assert [vars(parse(shlex.split(command))) for command in commands] == [
        {"gradients": True, "mutants": None, "pytest": []},
        {"gradients": False, "mutants": "", "pytest": []},
        {"gradients": False, "mutants": "LayerNorm", "pytest": []},
    ]


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)", TEXT) + re.findall(r"`((?:tests|numpygpt)/[\w/.]+)`", TEXT):
        assert (ROOT / "docs" / link).exists() or (ROOT / link).exists(), link
