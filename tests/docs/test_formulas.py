"""The formula sheet: its invariants hold, every layer is on it, and the printed one shows what the page shows."""

import sys

import numpy as np
import pytest
from pages import ROOT, load

from numpygpt import nn

formulas = load(ROOT / "docs" / "formulas.py", "formulas")
sheet = load(ROOT / "docs" / "figures" / "sheet.py", "figure_sheet")


@pytest.fixture(scope="module")
def rows():
    return formulas.rows()


def run_of(name):
    """One forward and backward of a layer in float64, with random numbers everywhere."""
    entry, rng = formulas.SHEET[name], np.random.default_rng(1)
    layer = entry.make().astype("float64")
    for param in layer.params().values():
        param[...] = rng.standard_normal(param.shape)
    inputs = [X.astype("float64") if X.dtype.kind == "f" else X for X in formulas.given(entry, rng)]
    Y = layer(*inputs)
    dY = rng.standard_normal(Y.shape) if np.shape(Y) else 1.3
    dX = layer.backward(dY)
    return formulas.Run(layer, inputs[0], Y, dY, dX)


@pytest.mark.parametrize("name", formulas.SHEET)
def test_the_invariant_holds(name):
    assert formulas.SHEET[name].holds(run_of(name))


@pytest.mark.parametrize("name", sorted(set(formulas.SHEET) - {"SinusoidalEncoding"}))
def test_a_gradient_that_is_too_large_in_one_place_breaks_an_invariant_that_names_it(name):
    run = run_of(name)
    arrays = [run.dX, *run.layer.grads().values()]
    broken = 0
    for array in (array for array in arrays if array is not None):
        place = np.unravel_index(np.abs(array).argmax(), array.shape)
        before = array[place]
        array[place] = 2 * before + 1
        broken += not formulas.SHEET[name].holds(run)
        array[place] = before
    assert broken


def test_every_layer_is_on_the_sheet(rows):
    layers = {name for name in nn.__all__ if hasattr(getattr(nn, name), "formula")}
    assert {row.name for row in rows} == layers


def test_flops_that_are_not_the_layers_are_refused(monkeypatch):
    monkeypatch.setitem(formulas.SHEET, "ReLU", formulas.SHEET["ReLU"]._replace(flops=("N C", "N C")))
    with pytest.raises(ValueError):
        formulas.row("ReLU")


def test_the_printed_sheet_is_complete_and_inside_its_page(rows):
    parts = sheet.split(rows)
    assert sum(map(len, parts)) == len(rows) and len(parts) == sheet.PAGES
    for number, part in enumerate(parts, 1):
        figure = sheet.page(part, number)
        names = [row.name for row in part]
        assert [text.get_text() for text in figure.texts if text.get_text() in formulas.SHEET] == names
        renderer = figure.canvas.get_renderer()
        boxes = [text.get_window_extent(renderer).transformed(figure.transFigure.inverted()) for text in figure.texts]
        assert min(box.x0 for box in boxes) > 0.03 and max(box.x1 for box in boxes) < 0.97
        assert min(box.y0 for box in boxes) > 0.02 and max(box.y1 for box in boxes) < 0.98
        edges = [*sheet.COLUMNS[1:], 1]
        below = list(zip(figure.texts, boxes, strict=True))[2 + len(sheet.KEY) :]
        for text, box in below:  # a column does not run into the next
            column = sheet.COLUMNS.index(text.get_position()[0])
            assert box.x1 < edges[column], text.get_text()


def test_the_committed_sheet_is_up_to_date(rows):
    content = (ROOT / "assets" / "formulas.pdf").read_bytes()
    assert sheet.digest(rows).encode() in content, "run python docs/figures/sheet.py"


@pytest.mark.parametrize(("formula", "expected"), [
    ("dX = dY Wᵀ", r"$dX\ =\ dY\ W^{\mathsf{T}}$"),
    ("Q Kᵀ / √d_k", r"$Q\ K^{\mathsf{T}}\ /\ \sqrt{d_{\mathrm{k}}}$"),
    ("√(2/π) X³", r"$\sqrt{2/\pi }\ X^{3}$"),
    ("dgamma = dXhat", r"$d\gamma \ =\ d\hat{X}$"),
])
def test_formulas_are_typeset(formula, expected):
    assert sheet.typeset(formula) == expected


def test_each_element_wise_product_of_the_list_is_in_a_formula(rows):
    formulas_of_all = " | ".join(text for row in rows for text in (*row.forward, *row.backward))
    assert [product for product in sheet.ELEMENTWISE if product not in formulas_of_all] == []


def test_the_committed_cards_are_those_of_the_page(monkeypatch):
    monkeypatch.setitem(sys.modules, "sheet", sheet)
    cards = load(ROOT / "docs" / "figures" / "cards.py", "figure_cards")
    board, texts = cards.tables()
    assert (len(board), len(texts)) == (3, 8)
    assert cards.digest().encode() in (ROOT / "assets" / "cards.pdf").read_bytes(), "run python docs/figures/cards.py"
    drawn = [text.get_text() for text in cards.page().texts]
    assert all(sheet.typeset(text) in drawn for text in texts)
