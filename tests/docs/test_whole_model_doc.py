"""The facing columns of docs/backprop/model.md are the model: its lines, their order, and the shapes of what they make;
and its page on memory has the bytes that the layers keep."""

import ast
import re
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_backprop_doc import ROOT, parts, read, sections

from numpygpt import GPT, summary, trace
from numpygpt.nn import Module
from numpygpt.training.config import read_preset

DOC = ROOT / "docs" / "backprop" / "model.md"
# No two products alike, but for d_k and d_v, which a GPT of the default kind has alike.
SIZES = {"B": 2, "T": 3, "C": 8, "H": 2, "d_k": 4, "d_v": 4, "F": 5, "V": 7, "N": 6, "max_len": 9}
LINK = re.compile(r"\[`(.+)`\]\((.+)\)")


def tables(text):
    """The rows of all tables of a text, each a list of its cells, without the heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    heads = {i - 1 for i, row in enumerate(rows) if set("".join(row)) <= set("-|: ")}
    return [row for i, row in enumerate(rows) if i not in heads and i - 1 not in heads]


def facing():
    """The rows of the table: module, file, and of both columns the lines and the shapes."""
    rows = []
    for where, forward, made, backward, back in tables(sections(read(DOC))["The whole model"]):
        module, link = LINK.fullmatch(where).groups()
        rows.append(SimpleNamespace(
            module=module.replace("blocks.i", "blocks.0"), file=(DOC.parent / link).resolve(),
            lines={"forward": re.findall(r"`(.+?)`", forward), "backward": re.findall(r"`(.+?)`", backward)},
            shapes={"forward": made.split("<br>"), "backward": back.split("<br>")}))
    return rows


ROWS = facing()


class Lines:
    """The lines of the package that ran, with what each made, in the order in which they began and ended."""

    def __init__(self, model):
        self.names = {id(module): name or "GPT" for name, module in model.named_modules()}
        self.ran = []
        self.open = {}
        self.clock = 0

    def __call__(self, frame, event, arg):
        path = Path(frame.f_code.co_filename)
        if not path.is_relative_to(ROOT / "numpygpt") or frame.f_code.co_name.startswith("<"):  # a comprehension's
            return None
        self.clock += 1
        if event in ("line", "return") and id(frame) in self.open:
            line = self.open.pop(id(frame))
            line.ended, line.shape = self.clock, shape_made(line.text, frame.f_locals, arg)
        if event == "line":
            text = read_lines(path)[frame.f_lineno - 1].split("  #")[0].strip()
            line = SimpleNamespace(module=self.module(frame), file=path, text=text, began=self.clock)
            self.open[id(frame)] = line
            self.ran.append(line)
        return self

    def module(self, frame):
        """The name of the module whose method this is, or calls it."""
        while frame and not isinstance(frame.f_locals.get("self"), Module):
            frame = frame.f_back
        return self.names.get(id(frame.f_locals["self"])) if frame else None


@cache
def read_lines(path):
    return read(path).splitlines()


def shape_made(text, names, returned):
    """The shape of what a line has assigned, changed, written (`out=`) or returned; None of another line."""
    try:
        statement = ast.parse(text).body[0]
    except (SyntaxError, IndexError):
        return None
    if isinstance(statement, ast.Return):
        return shape(returned)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        target = next((word.value for word in statement.value.keywords if word.arg == "out"), None)
    else:
        target = getattr(statement, "target", None) or next(iter(getattr(statement, "targets", [])), None)
    if isinstance(target, ast.Tuple):
        target = target.elts[0]
    if isinstance(target, ast.Subscript):
        target = target.value
    if isinstance(target, (ast.Name, ast.Attribute)):
        return shape(eval(ast.unparse(target), {}, names))
    return None


def shape(value):
    return value.shape if isinstance(value, np.ndarray) else () if isinstance(value, (int, float)) else None


@pytest.fixture(scope="module")
def ran():
    """Every line of one forward and one backward pass of a small GPT, by phase."""
    model = GPT(SIZES["V"], SIZES["max_len"], SIZES["C"], SIZES["H"], 1, SIZES["F"], dropout=0.1, dtype="float64")
    x, y = np.random.default_rng(0).integers(0, SIZES["V"], (2, SIZES["B"], SIZES["T"]))
    found, before = {}, sys.gettrace()
    for phase in ("forward", "backward"):
        lines = Lines(model)
        sys.settrace(lines)
        try:
            model(x, targets=y) if phase == "forward" else model.backward()
        finally:
            sys.settrace(before)
        found[phase] = lines.ran
    return found


def found(ran, row, phase):
    """The one run of each line of a cell."""
    there = [[line for line in ran[phase] if (line.module, line.file, line.text) == (row.module, row.file, text)]
             for text in row.lines[phase]]
    assert all(len(lines) == 1 for lines in there), f"{row.module}: {row.lines[phase]} did not run once in {row.file}"
    return [lines[0] for lines in there]


@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_every_cell_is_a_line_that_runs_in_that_module(ran, phase):
    for row in ROWS:
        assert row.lines[phase] or phase == "backward"
        found(ran, row, phase)
    assert len(ROWS) > 40


def test_the_left_column_ends_from_top_to_bottom(ran):
    times = [line.ended for row in ROWS for line in found(ran, row, "forward")[-1:]]
    assert times == sorted(times) and len(set(times)) == len(times)


def test_the_right_column_begins_from_bottom_to_top(ran):
    times = [[line.began for line in found(ran, row, "backward")] for row in ROWS if row.lines["backward"]]
    assert all(cell == sorted(cell) for cell in times)
    starts = [cell[0] for cell in times]
    assert starts == sorted(starts, reverse=True)


@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_each_line_makes_an_array_of_the_shape_beside_it(ran, phase):
    for row in ROWS:
        lines = found(ran, row, phase)
        if not lines or row.shapes[phase] == ["nothing: ids have no gradient"]:
            assert len(row.shapes[phase]) == 1 and not row.shapes[phase][0].startswith("(")
            continue
        said = ["()" if shape == "number" else re.sub(r"(\d)([A-Z])", r"\1*\2", shape) for shape in row.shapes[phase]]
        assert [eval(shape, {}, SIZES) for shape in said] == [line.shape for line in lines], row.lines[phase]


def test_every_gradient_is_made_in_some_row():
    model = GPT(7, 9, 8, 2, 1, 5)
    made = {f"{row.module}.{name}" for row in ROWS for line in row.lines["backward"]
            for name in re.findall(r"^self\.d(\w+)", line)}
    assert made == set(model.params())
    assert ["self.embedding.dW += dY2.T @ X2"] == [row.lines["backward"][0] for row in ROWS if row.module == "head"]


@pytest.mark.parametrize("damage", [
    lambda rows: rows[0].lines["forward"].append("X = X"),
    lambda rows: rows[7].lines["backward"].__setitem__(0, "self.dgamma = dgamma"),
    lambda rows: rows[0].__dict__.update(module="wpe"),
    lambda rows: rows[9].__dict__.update(module="head"),
])
def test_a_cell_that_is_not_the_code_is_found(ran, monkeypatch, damage):
    rows = facing()
    damage(rows)
    monkeypatch.setattr(sys.modules[__name__], "ROWS", rows)
    with pytest.raises(AssertionError):
        for phase in ran:
            test_every_cell_is_a_line_that_runs_in_that_module(ran, phase)


def test_rows_in_another_order_and_other_shapes_are_found(ran, monkeypatch):
    rows = facing()
    rows[8], rows[9] = rows[9], rows[8]
    monkeypatch.setattr(sys.modules[__name__], "ROWS", rows)
    for check in (test_the_left_column_ends_from_top_to_bottom, test_the_right_column_begins_from_bottom_to_top):
        with pytest.raises(AssertionError):
            check(ran)
    rows[20].shapes["forward"][0] = "(B, T, C, C)"
    with pytest.raises(AssertionError):
        test_each_line_makes_an_array_of_the_shape_beside_it(ran, "forward")


# -- memory ------------------------------------------------------------------------------------------------------------

PRESETS = ["quick", "shakespeare_char"]


def table_after(title):
    """The rows of the table of a part of the page on memory."""
    return tables(dict(parts(sections(read(DOC))["Memory"], 3))[title])


def setting(name):
    """(model, {letter: size}) of a preset."""
    config = read_preset(name)
    model = GPT(**config.model(65))
    B, T, C = config.batch_size, config.context, config.d_model
    return model, {"B": B, "T": T, "C": C, "H": config.n_heads, "V": 65, "N": B * T, "n": model.n_params()}


def worked_out(formula, sizes):
    """A formula such as 4 N (C + 1), with a space for each product."""
    code = re.sub(r"(?<=[\w)]) +(?=[\w(])", "*", formula.strip("$`").replace("^", "**"))
    return eval(code, {}, sizes)


def number(cell):
    return int(cell.replace(",", ""))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_bytes_that_each_layer_keeps_are_those_of_its_formula_of_summary_and_of_the_arrays(preset):
    model, sizes = setting(preset)
    x = np.zeros((sizes["B"], sizes["T"]), int)
    with trace(model) as t:
        model.loss(x, x)
    held = {record.name: record.cached for record in t}
    planned = {row.name: row.cached for row in summary(model, sizes["B"]).rows}
    rows = table_after("What each layer keeps")
    for module, _, formula, *cells in rows:
        name, said = module.strip("`").replace("blocks.i", "blocks.3"), number(cells[PRESETS.index(preset)])
        off = name.endswith("dropout") and not model.config["dropout"]
        assert said == held[name] == planned[name] == (0 if off else worked_out(formula, sizes)), name
    named = {module.strip("`") for module, *_ in rows}
    keeping = {re.sub(r"blocks\.\d+", "blocks.i", name) for name, size in held.items() if size}
    assert keeping <= named


@pytest.mark.parametrize("preset", PRESETS)
def test_the_bytes_of_parameters_gradients_and_averages(preset):
    _, sizes = setting(preset)
    for _, formula, *cells in table_after("Parameters and what follows them"):
        assert number(cells[PRESETS.index(preset)]) == 4 * worked_out(formula, sizes)


def test_the_sizes_named_are_those_of_the_presets():
    text = " ".join(dict(parts(sections(read(DOC))["Memory"], 3))["What each layer keeps"].split())
    for preset in PRESETS:
        _, sizes = setting(preset)
        assert re.search("`{}` (has )?B = {B}, T = {T}, C = {C}".format(preset, **sizes), text)


def test_how_much_more_is_kept_than_the_model_with_its_averages_weighs():
    memory = " ".join(dict(parts(sections(read(DOC))["Memory"], 3))["What each layer keeps"].split())
    ratios = []
    for preset in PRESETS:
        model, sizes = setting(preset)
        ratios.append(summary(model, sizes["B"]).cached / (4 * 4 * sizes["n"]))
    assert "{:.1f} times as much as the model with its gradients and averages in `quick` and {:.1f} times".format(
        *ratios) in memory
