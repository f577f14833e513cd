"""The loss of a text token by token: against the definition, the loss that training reports, and what is printed."""

import math
import re
import tracemalloc

import numpy as np
import pytest

from numpygpt.inspection import score as module
from numpygpt.inspection import score_report
from numpygpt.inspection.probe import next_probabilities
from numpygpt.inspection.score import score, score_text, scores, token_bytes
from numpygpt.inspection.score_report import report
from numpygpt.inspection.surprise import SCALE, background, digit, percent
from numpygpt.parallel.threads import DataParallel
from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer
from numpygpt.training.trainer import evaluate
from numpygpt.utils.colour import signs

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def text_ids(n, vocab_size=11, seed=3):
    return np.random.default_rng(seed).integers(0, vocab_size, n)


def by_definition(model, ids, stride):
    """One window at a time, each prediction from the first window that makes it."""
    N, W = len(ids) - 1, model.max_len
    starts = [*range(0, N - W, stride), N - W] if N > W else [0]
    losses = np.full(N, np.nan)
    for start in starts:
        P = next_probabilities(model, ids[start : min(start + W, N)])
        for t, row in enumerate(P):
            if np.isnan(losses[start + t]):
                losses[start + t] = -np.log(row[ids[start + t + 1]])
    return losses


@pytest.mark.parametrize("n", [2, 4, 7])
def test_a_text_within_the_context_has_the_models_own_loss(make_gpt, n):
    model, ids = make_gpt(), text_ids(n)
    losses = score(model, ids)
    P = next_probabilities(model, ids[:-1])
    np.testing.assert_allclose(losses, -np.log(P[np.arange(n - 1), ids[1:]]), rtol=1e-12)
    assert losses.mean() == pytest.approx(model.loss(ids[None, :-1], ids[None, 1:]), rel=1e-12)


def test_a_text_of_one_window_has_the_loss_that_training_reports(make_gpt):
    model, ids = make_gpt(dtype="float32"), text_ids(7)
    x, y = ids[None, :-1], ids[None, 1:]
    expected = evaluate(DataParallel(model, 1), [(x, y)])
    assert score(model, ids).dtype == np.float32
    assert score(model, ids).mean() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [8, 9, 10, 13, 50])
@pytest.mark.parametrize("stride", [None, 1, 2, 4, 6])
def test_a_long_text_is_read_in_windows_that_overlap(make_gpt, n, stride):
    model, ids = make_gpt(), text_ids(n)
    np.testing.assert_allclose(score(model, ids, stride), by_definition(model, ids, stride or 3), rtol=1e-10)


def test_every_token_is_predicted_from_at_least_half_a_context_and_from_nothing_after_it(make_gpt):
    model, ids = make_gpt(), text_ids(17)
    losses = score(model, ids)
    for p in range(16):
        for place in range(max(0, p - 3), p + 1):  # ids[p] and three before it: more than half of six
            changed = ids.copy()
            changed[place] = (changed[place] + 1) % 11
            assert score(model, changed)[p] != losses[p]
        changed = ids.copy()
        changed[p + 2 :] = 0
        np.testing.assert_array_equal(score(model, changed)[: p + 1], losses[: p + 1])


def test_neither_the_size_of_a_batch_nor_that_of_the_heads_pieces_changes_a_loss(make_gpt, monkeypatch):
    model, ids = make_gpt(), text_ids(101)
    expected = scores(model, ids)
    for at_once, rows in ((1, 1000), (13, 2), (10**6, 7)):
        monkeypatch.setattr(module, "BATCH_TOKENS", at_once)
        monkeypatch.setattr(module, "chunk_rows", lambda vocab_size, rows=rows: rows)
        found = scores(model, ids)
        np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-10)
        np.testing.assert_array_equal(found.likeliest, expected.likeliest)


def test_what_was_expected_is_the_likeliest_token_with_its_probability(make_gpt):
    model, ids = make_gpt(), text_ids(7)
    found, P = scores(model, ids), next_probabilities(model, ids[:-1])
    np.testing.assert_array_equal(found.likeliest, P.argmax(axis=1))
    np.testing.assert_allclose(found.probability, P.max(axis=1), rtol=1e-12)
    assert found.loss == pytest.approx(found.losses.mean(), rel=1e-12)


def test_memory_grows_by_the_results_alone(make_gpt):
    model = make_gpt(vocab_size=64, max_len=32, d_model=16)
    peaks = []
    for n in (4_000, 40_000):
        ids = text_ids(n, 64)
        tracemalloc.start()
        score(model, ids)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 36_000 < 64  # bytes a token: the logits alone would be 512


def test_the_model_is_left_as_it_was(make_gpt):
    model, ids = make_gpt(dropout=0.5).train(), text_ids(9)
    first = score(model, ids)
    np.testing.assert_array_equal(score(model, ids), first)  # no dropout
    assert model.training and model.blocks[0].training


@pytest.mark.parametrize(("ids", "stride", "words"), [
    ([3], None, "at least 2 tokens"), ([[1, 2, 3]], None, "one axis"), ([1, 11], None, "11"),
    ([1, 2, 3], 0, "stride must be between 1 and the context length 6"), ([1, 2, 3], 7, "got 7"),
])
def test_what_cannot_be_scored_is_said(make_gpt, ids, stride, words):
    with pytest.raises(ValueError, match=words):
        score(make_gpt(), np.array(ids), stride)


# -- a text


def scored(make_gpt, tokenizer, text):
    model = make_gpt(vocab_size=tokenizer.vocab_size)
    return model, score_text(model, tokenizer, text, tokenizer.encode_array(text))


def test_the_first_token_of_a_text_is_not_predicted(make_gpt):
    text = "éa bad cab\nabé"
    model, found = scored(make_gpt, CharTokenizer().train(text), text)
    assert np.isnan(found.bits[0]) and len(found.bits) == len(text)
    losses = score(model, found.ids)
    np.testing.assert_allclose(found.bits[1:], losses / np.log(2), rtol=1e-12)
    assert found.n_bytes == len(text.encode()) - 2  # é has two bytes
    assert found.bits_per_byte == pytest.approx(found.bits[1:].sum() / found.n_bytes, rel=1e-12)


def test_a_token_for_the_end_of_a_text_stands_before_it(make_gpt):
    text = "a bad cab\nab"
    tokenizer = CharTokenizer().train(text, special_tokens=("<|endoftext|>",))
    model, found = scored(make_gpt, tokenizer, text)
    P = next_probabilities(model, np.array([tokenizer.special_tokens["<|endoftext|>"]]))[0]
    assert found.bits[0] == pytest.approx(-np.log2(P[found.ids[0]]), rel=1e-10)
    assert len(found.bits) == len(found.ids) == len(text) and found.n_bytes == len(text)
    one = score_text(model, tokenizer, "a", tokenizer.encode_array("a"))
    assert len(one.bits) == 1 and np.isfinite(one.bits).all()


@pytest.mark.parametrize("text", ["", "a"])
def test_a_text_with_nothing_to_predict_is_refused(make_gpt, text):
    with pytest.raises(ValueError, match=f"a text of {len(text)} token.* longer text"):
        scored(make_gpt, CharTokenizer().train("ab"), text)


WORDS = WordTokenizer().train("the King", special_tokens=("<unk>",))


@pytest.mark.parametrize(("tokenizer", "text", "behind"), [
    (WORDS, "Antidisestablishmentarianism the King", " the King"),
    (WORDS, "été the King", " the King"),
    (WORDS, "<unk> the King", "unk> the King"),
    (WORDS, "the qué King", " qué King"),
    (WORDS, " qué King", "qué King"),
    (CharTokenizer().train("abc", special_tokens=("<unk>",)), "€ab€", "ab€"),
    (CharTokenizer().train("abc", special_tokens=("<unk>",)), "éab", "ab"),
])
def test_a_first_token_that_is_unknown_has_the_bytes_of_what_it_stands_for(make_gpt, tokenizer, text, behind):
    _, found = scored(make_gpt, tokenizer, text)
    assert np.isnan(found.bits[0]) and tokenizer.special_tokens["<unk>"] in found.ids
    assert found.n_bytes == len(behind.encode())


def test_the_bytes_of_a_token():
    bpe = BPETokenizer().train("aé€ aé€ \\x", vocab_size=258)
    for text in ("a", "\\x"):
        assert [token_bytes(bpe, id) for id in bpe.encode(text)] == [1] * len(text)
    for text in ("é€ a", "🙂"):
        assert sum(token_bytes(bpe, id) for id in bpe.encode(text)) == len(text.encode())
    assert max(token_bytes(bpe, id) for id in range(bpe.vocab_size)) >= 2
    assert token_bytes(CharTokenizer().train("€"), 0) == 3


def test_progress_counts_every_prediction_once(make_gpt):
    model, done = make_gpt(), []
    scores(model, np.arange(4000) % 11, progress=done.append)
    assert sum(done) == 3999 and len(done) > 2


# -- and on the terminal


def shown(make_gpt, tokenizer, text, colour=False):
    _, found = scored(make_gpt, tokenizer, text)
    lines = list(report(tokenizer, found, colour))
    return found, lines


def sections(lines):
    """Legend, text, totals, surprises."""
    blank = [at for at, line in enumerate(lines) if not line]
    return lines[: blank[0]], lines[blank[0] + 1 : blank[-2]], lines[blank[-2] + 1 : blank[-1]], lines[blank[-1] + 1 :]


TEXT = "a bad cab\n\nab\x1b[2J dab\n" + "bad cad" * 20


def test_a_narrow_terminal_has_shorter_lines(make_gpt):
    tokenizer = CharTokenizer().train(TEXT)
    _, found = scored(make_gpt, tokenizer, TEXT)
    _, body, _, _ = sections(list(report(tokenizer, found, columns=20)))
    assert "".join(body[::2]) == "".join(signs(TEXT)) and max(map(len, body)) <= 20


def test_without_colour_each_token_has_a_digit_below(make_gpt):
    found, lines = shown(make_gpt, CharTokenizer().train(TEXT), TEXT)
    _, body, _, _ = sections(lines)
    above, below = body[::2], body[1::2]
    assert "".join(above) == "".join(signs(TEXT)) and all(len(line) <= 96 for line in body)
    marks = "".join(below).replace(" ", "")
    assert marks == "".join(digit(bits) for bits in found.bits[1:])
    assert below[0].startswith(" ") and len(below[0]) == len(above[0])  # the first has none
    escape = above[2].index(r"\u001b")
    assert re.fullmatch(r"\d {5}\d", below[2][escape : escape + 7])
    assert above[1] == "⏎" and len(below[1]) == 1


def test_with_colour_each_token_stands_on_its_surprise(make_gpt):
    found, lines = shown(make_gpt, CharTokenizer().train(TEXT), TEXT, colour=True)
    legend, body, _, _ = sections(lines)
    numbers = [int(n) for n in re.findall(r"48;5;(\d+)m", "".join(body))]
    assert numbers == [background(bits) for bits in found.bits[1:]]
    assert len(set(numbers)) > 2
    assert ANSI.sub("", "".join(body)) == "".join(signs(TEXT)).replace("·", " ")
    assert [int(n) for n in re.findall(r"48;5;(\d+)m", legend[-1])] == list(SCALE)


def test_a_stranger_cannot_write_to_the_terminal(make_gpt):
    _, lines = shown(make_gpt, CharTokenizer().train(TEXT), TEXT)
    assert "\x1b" not in "".join(lines)


def test_the_totals_are_those_of_the_losses(make_gpt):
    found, lines = shown(make_gpt, CharTokenizer().train(TEXT), TEXT)
    words = " ".join(sections(lines)[2])
    mean = np.nanmean(found.bits)
    numbers = [f"{len(TEXT) - 1}", f"{mean * math.log(2):.4f}", f"{2**mean:.4g}", f"{mean:.4f}", f"{mean:.4f}"]
    assert re.findall(r"[\d.]*\d", words) == numbers  # count, nats, perplexity, bits per token and per byte: one each


def test_the_largest_surprises_come_with_what_was_expected(make_gpt):
    tokenizer = CharTokenizer().train(TEXT)
    found, lines = shown(make_gpt, tokenizer, TEXT)
    rows = sections(lines)[3][2:]
    order = np.argsort(-found.bits[1:], kind="stable")[:10] + 1
    assert len(rows) == 10
    for row, at in zip(rows, order, strict=True):
        bits, _, before, token, expected, chance = row.split()
        assert float(bits) == pytest.approx(found.bits[at], abs=0.006)
        before_it = "".join(signs(TEXT[:at]))
        assert before_it.endswith(before.lstrip("…")) and (before == before_it or (before[0] == "…" and at > 20))
        assert token == "".join(signs(TEXT[at]))
        likeliest = int(found.scores.likeliest[at - 1])
        assert expected == "".join(signs(tokenizer.decode([likeliest])))
        assert chance == percent(float(found.scores.probability[at - 1]))


def test_a_short_text_has_fewer_surprises_and_an_infinite_one_no_overflow(make_gpt):
    _, lines = shown(make_gpt, CharTokenizer().train("abc"), "abc")
    assert len(sections(lines)[3]) == 2 + 2
    assert score_report.one_in(3) == "8" and score_report.one_in(20) == "1,048,576"
    assert score_report.one_in(5000).startswith("1.1e+301")


def test_a_text_without_new_lines_is_shown_whole(make_gpt, monkeypatch):
    monkeypatch.setattr(score_report, "CHUNK_TOKENS", 50)
    text = "abcab" * 61
    _, lines = shown(make_gpt, CharTokenizer().train(text), text)
    assert "".join(sections(lines)[1][::2]) == text


def test_spaces_that_have_no_token_and_bytes_of_characters_are_shown(make_gpt):
    text = "the cat , and  the cat\nthe cat"
    _, lines = shown(make_gpt, WordTokenizer().train(text), text)
    body = sections(lines)[1]
    assert body[0].startswith("the cat·,") and re.match(r" {4}\d  \d\d", body[1])
    _, lines = shown(make_gpt, BPETokenizer().train("ab", vocab_size=257), "é a")
    assert sections(lines)[1][0] == r"\xc3\xa9·a" and re.fullmatch(r" {4}\d {3}\d\d", sections(lines)[1][1])


def test_a_token_over_two_lines_has_one_digit():
    tokens, bits = [list("ab"), list("c" * 150), list("d")], [np.nan, 4.2, 12.0]
    assert list(score_report.with_digits(tokens, bits, 96)) == [
        "ab" + "c" * 94, "  4", "c" * 56 + "d", " " * 56 + "c"]


@pytest.mark.parametrize(("bits", "sign"), [
    (0.0, "0"), (9.99, "9"), (10.0, "a"), (12.7, "c"), (34.9, "y"), (35.0, "z"), (3000.0, "z"), (math.inf, "z")])
def test_a_sign_for_each_whole_number_of_bits(bits, sign):
    assert digit(bits) == sign


def test_surprises_of_a_large_vocabulary_are_told_apart(make_gpt):
    tokens, bits = [list("ab")] * 4, [9.5, 12.7, 10.2, 14.0]
    assert list(score_report.with_digits(tokens, bits, 96)) == ["abababab", "9 c a e"]
