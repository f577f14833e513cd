"""The numbers that stand in tables by hand are correct: merges counted by hand, cuts, optimiser steps, bytes."""

import ast
import math
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from pages import ROOT, examples, read, rows, sections

from numpygpt.tokenizer import WordTokenizer, merges
from numpygpt.tokenizer.pretokenize import pretokenize

TOKENIZERS = sections(read(ROOT / "docs" / "TOKENIZERS.md"))
OPTIMIZERS = sections(read(ROOT / "docs" / "OPTIMIZERS.md"))
MEMORY = sections(sections(read(ROOT / "docs" / "backprop" / "model.md"))["Memory"], 3)


def code(cell):
    """The Python value in a cell of the form `value`."""
    return ast.literal_eval(cell.strip("`"))


def by_hand(pieces):
    """The merges of BPE training and the words after each one, made by counting every pair at each step."""
    words, tokens, found = {word: list(word) for word in pieces}, [bytes([b]) for b in range(256)], []
    while True:
        counts = Counter()
        for word, ids in words.items():
            for pair in pairwise(ids):
                counts[pair] += pieces[word]
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            return found
        words = {word: merged(ids, best, len(tokens)) for word, ids in words.items()}
        tokens.append(tokens[best[0]] + tokens[best[1]])
        found.append((best, [shown(pair, tokens) + f" {counts[pair]}" for pair in sorted(
            counts, key=lambda pair: (-counts[pair], pair))], [shown(ids, tokens) for ids in words.values()]))


def merged(ids, pair, new):
    """`ids` with `pair` replaced from left to right."""
    out, at = [], 0
    while at < len(ids):
        out.append(new if tuple(ids[at : at + 2]) == pair else ids[at])
        at += 1 + (out[-1] == new)
    return out


def shown(ids, tokens):
    return f"`{b' '.join(tokens[id] for id in ids).decode()}`"


def test_the_merges_are_those_of_counting_by_hand():
    section = TOKENIZERS["BPE by hand"]
    pieces = ast.literal_eval(re.search(r"^pieces = (.*)", section, re.M)[1])
    steps = by_hand(pieces)
    assert merges.learn_merges(pieces, 10) == [pair for pair, _, _ in steps]
    table = [row for row in rows(section) if len(row) == 5]
    assert len(table) == len(steps) and [row[1] for row in table] == [", ".join(pairs) for _, pairs, _ in steps]
    assert all(word in row[4] for row, (_, _, words) in zip(table, steps, strict=True) for word in words)


def test_texts_are_cut_as_the_tables_say():
    cuts = [row for row in rows(TOKENIZERS["Where words are cut"]) if len(row) == 4]
    assert cuts and all(pretokenize(code(text)) == code(pieces) for _, _, text, pieces in cuts)
    words = [row for row in rows(TOKENIZERS["Words"]) if len(row) == 3]
    tok = WordTokenizer().train("\n".join(code(text) for text, _, _ in words))
    for text, tokens, _ in words:
        ids = tok.encode(code(text))
        assert [tok.token_text(id) for id in ids] == code(tokens) and tok.decode(ids) == code(text)


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


def steps(title):
    """The rows of a section's first table of steps, and the numbers that its first example prints."""
    table = [row for row in rows(OPTIMIZERS[title]) if re.fullmatch(r"\d", row[0])]
    return table, [numbers(line)[1:] for line in examples(OPTIMIZERS[title])[0][1].splitlines()]


@pytest.mark.parametrize(("title", "lr", "mu"), [("SGD", 0.15, 0.0), ("Momentum", 0.1, 0.5)])
def test_steps_by_hand_are_correct_and_printed(title, lr, mu):
    p, v = np.array([1.0, 1.0]), np.zeros(2)
    table, printed = steps(title)
    for (_, gradient, *velocity, place), line in zip(table, printed, strict=True):
        g = p * [1, 10]
        v = mu * v + g
        p = p - lr * v
        assert numbers(gradient) == pytest.approx(g)
        assert not velocity or numbers(velocity[0])[-2:] == pytest.approx(v)
        assert numbers(place)[-2:] == pytest.approx(p) == line


def test_adam_by_hand_is_correct_and_printed():
    p, m, v = 1.0, 0.0, 0.0
    table, printed = steps("Adam")
    for t, (row, line) in enumerate(zip(table, printed, strict=False), 1):
        g, last = p, [numbers(cell)[-1] for cell in row[1:]]
        m, v = 0.5 * m + 0.5 * g, 0.75 * v + 0.25 * g * g
        mhat, vhat = m / (1 - 0.5**t), v / (1 - 0.75**t)
        p -= 0.1 * mhat / math.sqrt(vhat)
        assert last == pytest.approx([g, m, v, mhat, vhat, p], abs=6e-6)
        assert line == pytest.approx([p, p], abs=1e-6)


SIZES = {"quick": {"B": 12, "T": 64, "C": 128}, "shakespeare_char": {"B": 16, "T": 128, "C": 256}}


@pytest.mark.parametrize("preset", SIZES)
def test_the_bytes_that_a_layer_caches_are_those_of_its_formula(preset):
    """The numbers themselves are generated; here the formulas beside them are worked out."""
    B, T, C = SIZES[preset].values()
    sizes = SIZES[preset] | {"N": B * T, "F": 4 * C, "H": 4, "n_vocab": 65}
    table = [row for row in rows(MEMORY["Memory: cached"]) if len(row) == 5]
    assert len(table) > 10
    for module, _, formula, *cells in table:
        product = re.sub(r"(?<=[\w)]) +(?=[\w(])", "*", formula.strip("$`").replace(r"n_{\text{vocab}}", "n_vocab"))
        held = int(cells[list(SIZES).index(preset)].replace(",", ""))
        assert held == eval(product, {}, sizes) or (held == 0 and "dropout" in module and preset == "quick"), module
