"""What the chapters of the textbook say of the numbers that their examples print is what those numbers say."""

import re

import numpy as np
from test_backprop_doc import ROOT, parts, read, sections

from numpygpt.nn import functional


def part(chapter, title, of):
    return dict(parts(sections(read(ROOT / "docs" / "backprop" / f"{chapter}.md"))[title], 3))[of]


def test_how_the_error_of_constant_statistics_falls_with_the_width():
    text = part("normalize", "LayerNorm", "The classic bug")
    shown = re.findall(r"^C = +(\d+): median error (\S+), below 5 %: (\d) of 9$", text, re.M)
    medians = {int(width): float(median) for width, median, _ in shown}
    passed = {int(width): int(draws) for width, _, draws in shown}
    assert list(medians) == [4, 64, 768]
    assert "With 768 numbers a row the error is about a tenth of that with 4" in " ".join(text.split())
    assert abs(medians[768] / medians[4] - 0.1) < 0.03
    assert passed[768] > 9 / 2 > passed[64] >= passed[4] == 0  # a tolerance of 5 % lets most draws of the widest pass


def test_what_scores_that_are_not_scaled_do_to_a_row():
    text = part("attention", "Attention", "Formula and shapes")
    weight, diagonal = map(float, re.search(r"not scaled .*largest weight of a row (\S+) +sum of .* (\S+)$",
                                            text, re.M).groups())
    said = " ".join(text.split())
    assert "puts three quarters of a row on one token" in said and abs(weight - 3 / 4) < 0.05
    assert "falls to a third" in said and abs(diagonal - 1 / 3) < 0.05


def test_the_shapes_do_not_say_which_of_two_matrices_belongs():
    rng = np.random.default_rng(0)
    N, C, F = 3, 4, 5
    W1, W2, dY, dH = (rng.standard_normal(shape) for shape in ((C, F), (F, C), (N, C), (N, F)))
    assert (dY @ W1).shape == (dY @ W2.T).shape and (dH @ W2).shape == (dH @ W1.T).shape


def test_softmax_backward_makes_no_array_larger_than_its_output():
    import tracemalloc

    Y = functional.softmax(np.zeros((100, 300)))
    dY = np.ones_like(Y)
    tracemalloc.start()
    functional.softmax_backward(dY, Y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * Y.nbytes
