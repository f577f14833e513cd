"""Sampling explained: numbers by hand, the same tokens as without an explanation, and what the blocks show."""

import math
import re

import numpy as np
import pytest

from numpygpt.inspection.explain import Explanation, block, explain, legend
from numpygpt.inspection.surprise import background, fitted, padded, percent
from numpygpt.models.generate import Sampling, probabilities, sample, steps
from numpygpt.tokenizer import BPETokenizer, CharTokenizer
from numpygpt.utils.colour import width

SHARES = np.array([0.02, 0.4, 0.03, 0.25, 0.2, 0.1])
LOGITS = np.log(SHARES) + 5.0  # a constant changes nothing
TOKENIZER = CharTokenizer().train("\n abcd")  # ids in the order of these characters


def test_the_models_own_numbers_are_those_of_the_softmax():
    step = explain(LOGITS, 3, Sampling())
    assert [c.id for c in step.candidates] == [1, 3, 4, 5, 2]
    np.testing.assert_allclose([c.before for c in step.candidates], [0.4, 0.25, 0.2, 0.1, 0.03], rtol=1e-12)
    np.testing.assert_allclose([c.after for c in step.candidates], [0.4, 0.25, 0.2, 0.1, 0.03], rtol=1e-12)
    assert (step.id, step.rank) == (3, 2)
    assert step.bits == pytest.approx(2) and step.drawn_bits == pytest.approx(2)
    assert not any(c.cut for c in step.candidates)


def test_a_token_beyond_the_likeliest_comes_last_with_its_rank():
    step = explain(LOGITS, 0, Sampling())
    assert [c.id for c in step.candidates] == [1, 3, 4, 5, 2, 0]
    assert step.rank == 6 and step.candidates[-1].before == pytest.approx(0.02)
    assert step.bits == pytest.approx(-math.log2(0.02))


def test_temperature_comes_first_then_top_k_then_top_p():
    step = explain(LOGITS, 1, Sampling(0.5, top_k=3, top_p=0.8))
    left = np.array([0.4, 0.25, 0.2]) ** 2  # 0.61, 0.24, 0.15 of what top-k leaves: the first two hold 0.8
    np.testing.assert_allclose([c.after for c in step.candidates], [*left[:2] / left[:2].sum(), 0, 0, 0], rtol=1e-12)
    assert [c.cut for c in step.candidates] == ["", "", "top-p", "top-k", "top-k"]
    np.testing.assert_allclose([c.before for c in step.candidates], [0.4, 0.25, 0.2, 0.1, 0.03], rtol=1e-12)
    assert step.bits == pytest.approx(-math.log2(0.4))
    assert step.drawn_bits == pytest.approx(-math.log2(left[0] / left[:2].sum()))


def test_temperature_zero_leaves_one_token_and_cuts_none():
    step = explain(LOGITS, 1, Sampling(0, top_k=2, top_p=0.5))
    assert [c.after for c in step.candidates] == [1, 0, 0, 0, 0]
    assert not any(c.cut for c in step.candidates) and step.drawn_bits == 0 and step.rank == 1


def test_equal_tokens_keep_the_order_of_their_ids():
    logits = np.arange(500, dtype=np.float32) % 2  # of so many an unstable sort changes the order
    step = explain(logits, 11, Sampling(top_k=2))
    assert [c.id for c in step.candidates] == [1, 3, 5, 7, 9, 11] and step.rank == 6
    assert not any(c.cut for c in step.candidates)  # all tie for the second place


def test_a_surprise_is_finite_where_the_probability_is_none():
    step = explain(np.array([0.0, 3000.0], np.float32), 0, Sampling(1000.0))
    assert step.bits == pytest.approx(3000 / math.log(2)) and step.candidates[1].before == 0
    assert step.drawn_bits == pytest.approx(math.log2(1 + math.exp(3)), rel=1e-5)


@pytest.mark.parametrize("how", [Sampling(0.8), Sampling(1.3, 4), Sampling(1.0, None, 0.7), Sampling(0)])
def test_after_is_what_the_tokens_are_drawn_from(how):
    rng = np.random.default_rng(1)
    for seed in range(20):
        logits = 3 * rng.standard_normal((1, 11)).astype(np.float32)
        id = int(sample(logits, how, [np.random.default_rng(seed)])[0])
        step = explain(logits[0], id, how)
        P = probabilities(logits, how)[0]
        assert [c.after for c in step.candidates] == [float(P[c.id]) for c in step.candidates]
        assert step.drawn_bits >= 0 and math.isfinite(step.drawn_bits)


@pytest.mark.parametrize(("slide", "temperature"), [(1, 1.0), (3, 1.0), (1, 0)])
def test_the_steps_of_a_sample_are_its_stream_with_the_logits(make_gpt, slide, temperature):
    model, context, how = make_gpt(), np.array([[1, 2, 3]]), Sampling(temperature)
    ids = np.array(list(model.stream(context, 15, temperature, seed=4, slide=slide)))  # past the context of 6
    found = list(steps(model, context, 15, how, 4, None, slide))
    np.testing.assert_array_equal([step for step, _ in found], ids)
    assert all(logits.shape == (1, 11) for _, logits in found)
    text = np.concatenate([[1, 2, 3], ids[:, 0]])
    for n in range(3):  # within the context, the logits are those of the whole text so far
        np.testing.assert_allclose(found[n][1], model(text[None, : 3 + n])[0][:, -1], rtol=1e-9)


def test_watching_changes_no_token_and_sums_the_surprises(make_gpt):
    model, how, said = make_gpt(vocab_size=6), Sampling(0.9, 4, 0.95), []
    watch = Explanation(TOKENIZER, how, said.append)
    found = list(steps(model, np.array([[2]]), 9, how, 1, None, 1))
    ids = list(watch.watch(iter(found)))
    np.testing.assert_array_equal(ids, [step for step, _ in found])
    told = [explain(logits[0], int(id[0]), how) for id, logits in found]
    assert said == [block(step, n, TOKENIZER) for n, step in enumerate(told, 1)]
    own, drawn = np.mean([step.bits for step in told]), np.mean([step.drawn_bits for step in told])
    assert re.findall(r"[\d.]+", watch.summary()) == ["9", f"{own:.2f}", f"{drawn:.2f}"]
    assert not re.search(r"\d", Explanation(TOKENIZER, how, said.append).summary())  # nothing drawn, no average


def test_each_block_comes_before_the_next_token_is_drawn():
    order = []

    def drawing():
        for n in range(3):
            order.append(f"draw {n}")
            yield np.array([1]), LOGITS[None]

    for _ in Explanation(TOKENIZER, Sampling(), lambda words: order.append("say")).watch(drawing()):
        order.append("text")
    assert order == [word for n in range(3) for word in (f"draw {n}", "say", "text")]


def test_a_block_reads_like_this():
    assert block(explain(LOGITS, 1, Sampling(0.5, 3, 0.8)), 7, TOKENIZER) == (
        "   7  ·                            [·]        b         c         d         a\n"
        "      rank 1        before      40.0%     25.0%     20.0%     10.0%      3.0%\n"
        "      1.32 bits     after       71.9%     28.1%     top-p     top-k     top-k")
    assert block(explain(LOGITS, 0, Sampling()), 12345, TOKENIZER).splitlines()[0].split() == [
        "12345", "⏎", "·", "b", "c", "d", "a", "[⏎]"]


def test_long_tokens_are_cut_and_columns_stand_under_each_other():
    tokenizer = BPETokenizer().train("Shakespeares 漢字漢字漢字漢字\x1b[2J " * 40, vocab_size=290)
    size = tokenizer.vocab_size
    longest = max(range(size), key=lambda id: len(tokenizer.decode([id])))
    logits = np.linspace(0, 1, size)
    logits[[longest, 0]] = 3, 2
    for id in (longest, 0, size - 1):
        lines = block(explain(logits, id, Sampling(top_k=3)), 1, tokenizer).splitlines()
        assert max(map(width, lines)) <= 90 and "\x1b" not in "".join(lines)
        ends = [[match.end() for match in re.finditer(r"\S+", line) if match.start() > 27] for line in lines[1:]]
        assert ends[0] == ends[1] == [37 + 10 * n for n in range(len(ends[0]))]
    assert "…" in lines[0]


def test_colour_marks_the_drawn_token_and_what_was_cut():
    step = explain(LOGITS, 3, Sampling(top_k=2))
    plain, coloured = block(step, 1, TOKENIZER), block(step, 1, TOKENIZER, colour=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == plain.split()
    assert f"\x1b[48;5;{background(2.0 + 1e-9)}m\x1b[38;5;16m[b]\x1b[0m" in coloured
    assert coloured.count("\x1b[2mtop-k") == 3


def test_the_legend_says_how_tokens_are_drawn():
    words = " ".join(legend(TOKENIZER, Sampling(0.7, 40, 0.9)).split())
    assert all(rule in words for rule in ("temperature 0.7", "top-k 40", "top-p 0.9"))
    words = legend(TOKENIZER, Sampling(0.7))
    assert "top-" not in words and "⏎" in words and max(map(width, words.splitlines())) <= 90
    assert "\x1b" not in words and "\x1b[48;5;" in legend(TOKENIZER, Sampling(), colour=True)


@pytest.mark.parametrize(("p", "words"), [
    (0, "0%"), (1e-9, "<0.01%"), (0.00012, "0.01%"), (0.0345, "3.5%"), (0.5, "50.0%"), (1, "100.0%")])
def test_percentages_are_short(p, words):
    assert percent(p) == words


def test_signs_are_cut_at_either_end_by_their_width():
    signs = list("abc漢字")
    assert fitted(signs, 7) == "abc漢字"
    assert fitted(signs, 6) == "abc漢…" and fitted(signs, 5) == "abc…" and fitted(signs, 5, end=True) == "…漢字"
    assert padded("漢", 4) == "漢  " and padded("漢", 4, right=True) == "  漢"
