"""docs/OPTIMIZERS.md is true: examples print what stands under them, tables are those that its scripts wrote."""

import importlib.util
import math
import re
import sys

import numpy as np
import pytest
from doc_math import faults
from test_backprop_doc import (
    ROOT,
    examples,
    fenced,
    formulas,
    headings,
    printed,
    prose,
    quoted_from,
    quotes,
    read,
    sections,
)

from numpygpt import GPT
from numpygpt.data import Corpus, prepare
from numpygpt.training.config import read_preset

DOC = ROOT / "docs" / "OPTIMIZERS.md"
TEXT = read(DOC)
OUTPUT = ROOT / "assets" / "outputs" / "optimizers.md"
PLAIN = " ".join(prose(TEXT).split())


def script(name):
    """docs/figures/NAME.py as a module; nothing in it runs."""
    spec = importlib.util.spec_from_file_location(f"figure_{name}", ROOT / "docs" / "figures" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its classes look their module up
    spec.loader.exec_module(module)
    return module


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
    assert {block.info.split("=")[0] for block in fenced(TEXT)} == {"python", "python source", "text", "math", "bash"}
    assert not [line for line in TEXT.splitlines() if len(line) > 120 and not line.startswith("|") and "](" not in line]
    assert len(set(headings(TEXT))) == len(headings(TEXT))
    assert [formula for _, formula in formulas(TEXT) if faults(formula)] == []


@pytest.mark.parametrize("title", ["SGD", "Momentum", "Adam", "AdamW", "Warm-up", "Cosine", "Clipping"])
def test_a_rule_has_its_formula_its_numbers_and_what_comes_next(title):
    section = sections(TEXT)[title]
    kinds = [block.info for block in fenced(section)]
    assert "math" in kinds or "$`" in section
    assert any(after.info == "text" for _, after in examples(section)), "nothing is printed"
    if title in ("SGD", "Momentum", "Adam", "AdamW"):
        assert "math" in kinds and "By hand" in section
        assert title == "AdamW" or "**What it lacks.**" in section
    quoted = {block.info.rpartition("/")[2] for block in quotes(TEXT)}
    assert quoted == {"sgd.py", "adam.py", "warmup_cosine_lr.py", "clip.py"}


# -- what is worked by hand --------------------------------------------------------------------------------------------


def outputs(title):
    """What the examples of a section print, as they stand there (each is compared with what they do)."""
    return [after.text for _, after in examples(sections(TEXT)[title]) if after.info == "text"]


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


def hand(title):
    """The rows of numbers in a section's first table."""
    rows = [line.split("|")[1:-1] for line in sections(TEXT)[title].splitlines() if re.match(r"\| \d ", line)]
    return [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize(("title", "lr", "mu"), [("SGD", 0.15, 0.0), ("Momentum", 0.1, 0.5)])
def test_the_tables_by_hand_are_right_and_what_is_printed(title, lr, mu):
    p, v = np.array([1.0, 1.0]), np.zeros(2)
    shown = [numbers(line)[1:] for line in outputs(title)[0].splitlines()]
    assert len(hand(title)) == len(shown) == 3
    for (_, gradient, *velocity, place), line in zip(hand(title), shown, strict=True):
        g = p * [1, 10]
        v = mu * v + g
        p = p - lr * v
        assert numbers(gradient) == pytest.approx(g)
        assert not velocity or numbers(velocity[0])[-2:] == pytest.approx(v)
        assert numbers(place)[-2:] == pytest.approx(p) == line


def test_momentum_is_stable_up_to_the_limit_that_is_said():
    for mu in (0.0, 0.5, 0.9):
        for share, stable in ((0.999, True), (1.001, False)):
            rate = share * 2 * (1 + mu)  # eta h
            assert (max(abs(np.roots([1, -(1 + mu - rate), mu]))) < 1) == stable
    assert "whose limit rises to $`2 (1 + \\mu) / h`$" in PLAIN
    assert "up to $`\\eta h = 2 (1 + \\mu)`$, where one is -1" in PLAIN


def test_the_first_step_of_quick_is_as_large_as_is_said():
    quick = read_preset("quick")
    start = 0.02 / math.sqrt(2 * quick.n_layers)
    assert (quick.n_layers, quick.lr) == (4, 0.003)
    (_, wide), (_, narrow) = (numbers(line)[-2:] for line in outputs("Warm-up")[1].splitlines())  # what is printed
    assert (f"by {100 * quick.lr / wide:.0f} % of that and, in this model of two blocks, each of the second by "
            f"{100 * quick.lr / narrow:.0f} %") in PLAIN
    assert f"(by {100 * quick.lr / start:.0f} % of {start:.4f} in `quick`, which has four)" in PLAIN


def test_adam_by_hand_is_right_and_what_is_printed():
    p, m, v = 1.0, 0.0, 0.0
    shown = [numbers(line)[1:] for line in outputs("Adam")[0].splitlines()]
    rows = hand("Adam")
    assert len(rows) == 2
    for t, (row, line) in enumerate(zip(rows, shown, strict=False), 1):
        g, last = p, [numbers(cell)[-1] for cell in row[1:]]
        m, v = 0.5 * m + 0.5 * g, 0.75 * v + 0.25 * g * g
        mhat, vhat = m / (1 - 0.5**t), v / (1 - 0.75**t)
        p -= 0.1 * mhat / math.sqrt(vhat)
        assert last == pytest.approx([g, m, v, mhat, vhat, p], abs=6e-6)
        assert line == pytest.approx([p, p], abs=1e-6)


def test_the_step_without_bias_correction_is_as_wrong_as_is_said():
    table = [numbers(line) for line in outputs("Adam")[1].splitlines()[1:]]
    assert [row[0] for row in table] == [1, 2, 5, 12, 100, 1000, 5000]
    for t, *factors in table:
        wanted = [(1 - b1**t) / math.sqrt(1 - b2**t) for b1, b2 in ((0.9, 0.999), (0.9, 0.99), (0, 0.999))]
        assert factors == pytest.approx(wanted, abs=0.006)
    early = [factor for t, first, _, without in table if t <= 100 for factor in (first, without)]
    assert 3 < min(early) and max(early) < 32 and "Between 3 and 32 times too large" in TEXT
    assert "the twelfth is twice as long as it should be" in PLAIN and round(table[3][2]) == 2


def test_weight_decay_by_hand():
    rows = re.findall(r"^\| (Adam|Adam with L2|AdamW) \|.*\| \(([^|]*)\) \|$", sections(TEXT)["AdamW"], re.M)
    p, found = {}, {}
    for name, cell in rows:
        found[name] = numbers(cell)[-2:]
    for name, l2, decay in (("Adam", 0, 0), ("Adam with L2", 0.1, 0), ("AdamW", 0, 0.1)):
        g = np.array([0.0, 10.0]) + l2
        p[name] = (np.ones(2) * (1 - 0.1 * decay) - 0.1 * np.sign(g)).tolist()
    assert found == {name: pytest.approx(value) for name, value in p.items()}


# -- the valley --------------------------------------------------------------------------------------------------------


def test_the_paths_in_the_valley_do_what_the_text_says():
    valley = script("valley")
    assert "\\tfrac12 \\left((x - 1)^2 + 50\\, (y - 0.4)^2\\right)" in TEXT
    assert valley.CURVATURE.tolist() == [[1, 50]] and valley.LOWEST.tolist() == [[1, 0.4]] and valley.STEPS == 40
    sgd, momentum, adam, adamw = (valley.path(make) for _, make in valley.OPTIMIZERS.values())
    assert np.sign(np.diff(sgd[:6, 1])).tolist() == [-1, 1, -1, 1, -1]  # across the valley at each step
    assert sgd[-1, 0] < 0.85 and abs(momentum[-1] - [1, 0.4]).max() < 0.05
    assert np.abs(adam[1] - adam[0]) == pytest.approx([0.1, 0.1]) and adam[:, 0].max() > 1.2
    assert adamw[:, 0].max() < adam[:, 0].max() - 0.1  # overshoots less
    assert "Momentum swings in longer waves" in PLAIN and sgd[:, 1].min() < momentum[:, 1].min()  # and not wider ones
    crossings = [np.count_nonzero(np.diff(np.sign(places[:, 1] - 0.4))) for places in (sgd, momentum)]
    assert crossings[0] == 40 and crossings[1] < 20
    long = valley.path(valley.OPTIMIZERS["AdamW, lr 0.1, decay 0.3"][1], 400)
    assert np.array_equal(long[:41], adamw)
    assert f"stands {1 - long[40, 0]:.2f} short" in PLAIN
    assert f"after 400 steps {1 - long[400, 0]:.2f} are left" in PLAIN
    point = valley.Point()
    point.backward()
    W, h = point.W.copy(), 1e-6
    for i in range(2):
        point.W = W + h * np.eye(2)[i]
        up = point.loss()
        point.W = W - h * np.eye(2)[i]
        assert (up - point.loss()) / (2 * h) == pytest.approx(point.dW[0, i])


# -- what was measured -------------------------------------------------------------------------------------------------


def table_rows(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def measured():
    """(optimiser, variant) -> {rate: validation loss}, and the rows of the first table."""
    best, grid, name = {}, {}, ""
    for line in read(OUTPUT).splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 5 and cells[0] in script("optimizers").MAKERS:
            best[cells[0]] = cells[1:]
        elif len(cells) == 6 and cells[0] in script("optimizers").MAKERS:
            name, rates = cells[0], [float(cell) for cell in cells[1:]]
        elif len(cells) == 6 and not cells[0].startswith("-"):
            values = [math.nan if cell == "diverged" else float(cell) for cell in cells[1:]]
            grid[name, cells[0]] = dict(zip(rates, values, strict=True))
    return best, grid


def test_the_tables_are_those_that_the_script_wrote():
    assert table_rows(sections(TEXT)["Measured"]) == table_rows(read(OUTPUT))


def test_the_script_has_the_sizes_that_the_text_names():
    s = script("optimizers")
    size = s.SIZES
    n_params = GPT(65, **size).n_params()
    for words in (f"{size['n_layers']} layers of {size['d_model']} numbers, context {size['max_len']}, {n_params:,} "
                  "parameters", f"batches of {s.BATCH} sequences, {s.STEPS} steps", f"warm-up ({s.WARMUP} steps)",
                  f"clipping (at {s.CLIP:g})", f"first {s.EVALUATED:,} tokens", f"beta = {s.BETAS}",
                  f"{sum(map(len, s.RATES.values())) * len(s.VARIANTS)} runs"):
        assert words in PLAIN, words


def test_what_the_text_reads_from_the_tables_stands_in_them():
    best, grid = measured()
    both = {name: grid[name, "warm-up and clipping"] for name in best}
    assert {name: float(row[0]) for name, row in best.items()} == {
        name: min(rates, key=rates.get) for name, rates in both.items()}
    losses = {name: [float(row[2]), *numbers(row[3])] for name, row in best.items()}
    sgd, momentum, adam, adamw = losses.values()
    gain = [a - b for a, b in zip(sgd, adam, strict=True)]
    assert f"Adam is {min(gain):.2f} to {max(gain):.2f} below SGD" in PLAIN
    gain = [a - b for a, b in zip(sgd, momentum, strict=True)]
    assert f"Momentum gains {min(gain):.2f} to {max(gain):.2f}" in PLAIN
    assert abs(np.mean(adam) - np.mean(adamw)) < np.ptp(adam)
    assert np.ptp(adam) < 0.04 and np.ptp(adamw) < 0.04
    rates = both["Adam"]
    assert f"Three times below the best costs Adam {rates[0.003] - rates[0.01]:.2f}, three" in PLAIN
    assert f"three times above it {rates[0.03] - rates[0.01]:.2f}" in PLAIN
    assert all(math.isnan(grid["SGD", variant][lr]) for variant in ("warm-up alone", "neither") for lr in (3, 10))
    assert f"{both['SGD'][1]:.3f} against {grid['SGD', 'warm-up alone'][1]:.3f}" in PLAIN
    assert f"it gains {grid['SGD', 'warm-up alone'][1] - both['SGD'][1]:.2f} (" in PLAIN
    assert all(abs(both["SGD"][lr] - grid["SGD", "warm-up alone"][lr]) < 0.04 for lr in (0.1, 0.3))
    at = {variant: grid["Adam", variant] for variant in script("optimizers").VARIANTS}
    assert (f"At 0.01 they end at {rates[0.01]:.3f}, one of them alone at {at['warm-up alone'][0.01]:.2f} and "
            f"{at['clipping alone'][0.01]:.2f}, neither at {at['neither'][0.01]:.3f}") in PLAIN
    assert np.ptp([found[0.003] for found in at.values()]) < 0.05
    assert f"without them is {min(at['neither'].values()):.3f}" in PLAIN


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "small"
    prepare(Corpus.of("small", "a line of text, and another line.\n" * 80, "here"), out, context=32)
    return out


def test_the_script_trains_and_says_where_a_run_diverged(folder, tmp_path):
    s = script("optimizers")
    runs = {variant: s.trained(s.Task("Adam", 3e-3, variant), folder, steps=60) for variant in s.VARIANTS}
    assert all(np.isfinite(run.losses).all() and run.losses[-1] < run.losses[0] for run in runs.values())
    assert len({run.val for run in runs.values()}) == 4  # each variant is another run
    again = s.trained(s.Task("Adam", 3e-3, s.BOTH), folder, steps=60)
    assert np.array_equal(again.losses, runs[s.BOTH].losses) and again.val == runs[s.BOTH].val
    lost = s.trained(s.Task("SGD", 1e20, "neither"), folder, steps=5)
    assert math.isnan(lost.val) and np.isnan(lost.losses[-1])
    tasks = [s.Task(name, lr, variant) for name in s.MAKERS for variant in s.VARIANTS for lr in s.RATES[name]]
    found = {task: again if task.lr < max(s.RATES[task.optimizer]) else lost for task in tasks}
    found |= {s.best(found, name)._replace(seed=seed): again for name in s.MAKERS for seed in (1, 2)}
    rows = table_rows(s.tables(found))
    assert len(rows) == 6 + 4 * 6 and sum(line.endswith("| diverged |") for line in rows) == 16
    s.draw(found, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
