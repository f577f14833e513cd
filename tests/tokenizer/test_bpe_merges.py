"""The two algorithms against slow ones that are plainly right: recount everything at every step."""

import random
from collections import Counter
from itertools import chain, pairwise

import numpy as np
import pytest

from numpygpt.tokenizer import long_pieces, merges
from numpygpt.tokenizer.long_pieces import LongPieces, in_order
from numpygpt.tokenizer.merge_table import MergeTable
from numpygpt.tokenizer.merges import apply_merges, learn_merges


def replace(ids, pair, new):
    """Every `pair` in `ids` as `new`, from left to right."""
    out = []
    i = 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def naive_learn(pieces, n_merges, min_freq):
    words = [(list(piece), count) for piece, count in pieces.items()]
    merges: list[tuple[int, int]] = []
    while len(merges) < n_merges:
        counts: Counter[tuple[int, int]] = Counter()
        for ids, count in words:
            for pair in pairwise(ids):
                counts[pair] += count
        if not counts or max(counts.values()) < min_freq:
            break
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        words = [(replace(ids, pair, 256 + len(merges)), count) for ids, count in words]
        merges.append(pair)
    return merges


def naive_apply(ids, merged):
    for pair, new in sorted(merged.items(), key=lambda item: item[1]):
        ids = replace(ids, pair, new)
    return ids


def applied(ids, merged):
    """`ids` with the merges in `merged`, pair -> id, whose ranks are the order of the ids."""
    pairs = sorted(merged, key=lambda pair: merged[pair])
    return apply_merges(ids, {pair: rank for rank, pair in enumerate(pairs)}, [merged[pair] for pair in pairs])


def random_pieces(rng):
    letters = rng.choice([b"a", b"ab", b"abc", b"abcdefgh"])  # few letters: many overlaps such as aaaa and abab
    words = [bytes(rng.choices(letters, k=rng.randrange(1, 25))) for _ in range(rng.randrange(1, 12))]
    return {word: rng.randrange(1, 6) for word in words}


def test_a_small_example_worked_by_hand():
    # hug x10, pug x5, pun x12, bun x4, hugs x5: ug 20, then un 16, then h+ug 15, then p+un 12 (p+ug 5, b+un 4, hug+s 5)
    pieces = {b"hug": 10, b"pug": 5, b"pun": 12, b"bun": 4, b"hugs": 5}
    h, u, g, n, p, b, s = b"hugnpbs"
    ug, un, hug, pun = 256, 257, 258, 259
    assert learn_merges(pieces, 4) == [(u, g), (u, n), (h, ug), (p, un)]
    # p+ug and hug+s both occur five times: the smaller pair of ids goes first, and p is smaller than hug
    assert learn_merges(pieces, 6)[4:] == [(p, ug), (hug, s)]
    assert learn_merges(pieces, 99)[6:] == [(b, un)]
    merged = {(u, g): ug, (u, n): un, (h, ug): hug, (p, un): pun}
    assert applied(list(b"hugs"), merged) == [hug, s]
    assert applied(list(b"bug"), merged) == [b, ug]
    assert applied(list(b"unhug"), merged) == [un, hug]


def test_overlapping_pairs():
    assert learn_merges({b"aaaa": 1}, 9) == [(97, 97)]  # aa occurs at three places; then aa aa is left, once
    assert learn_merges({b"aaaaa": 1}, 9, min_freq=1) == [(97, 97), (256, 97), (256, 257)]
    merged = {(97, 97): 256}
    assert applied(list(b"aaaaa"), merged) == [256, 256, 97]
    assert applied(list(b"baaab"), merged) == [98, 256, 97, 98]


def test_learning_equals_the_naive_algorithm():
    rng = random.Random(0)
    for _ in range(400):
        pieces, min_freq = random_pieces(rng), rng.choice([1, 2, 3])
        assert learn_merges(pieces, 30, min_freq) == naive_learn(pieces, 30, min_freq)


@pytest.mark.parametrize("many", [1, 4])
def test_learning_with_numpy_equals_the_naive_algorithm(many, monkeypatch):
    monkeypatch.setattr(merges, "MIN_VECTORISED", many)  # 4: now the one way, now the other
    test_overlapping_pairs()
    test_learning_equals_the_naive_algorithm()


def linked(pieces, merged):
    """The ids of each of the pieces, all merged together rank by rank."""
    pairs, vocab_size = sorted(merged, key=lambda pair: merged[pair]), 256 + len(merged)
    ranks, made = {pair: rank for rank, pair in enumerate(pairs)}, [merged[pair] for pair in pairs]
    assert in_order(ranks, made, vocab_size)
    table = MergeTable(ranks, made, np.arange(256), vocab_size)
    symbols = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    ids, lengths = LongPieces(table, symbols, np.array(list(map(len, pieces)))).merged(ranks, made)
    return [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])]


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_long_pieces_equal_the_naive_algorithm(block, monkeypatch):
    monkeypatch.setattr(long_pieces, "CHUNK", block)
    rng = random.Random(8)
    for _ in range(300):
        pieces = random_pieces(rng)
        merged = {pair: 256 + rank for rank, pair in enumerate(learn_merges(pieces, 30, 1))}
        others = [*pieces, *random_pieces(rng), b"a", b"a" * 40, b"ab" * 20]
        assert linked(others, merged) == [naive_apply(list(piece), merged) for piece in others]


def test_a_vocabulary_whose_merges_come_out_of_order_takes_the_loop():
    a, b, c = b"abc"
    learned = {(a, b): 256, (256, c): 257}
    assert in_order({pair: k for k, pair in enumerate(learned)}, [256, 257], 258)
    assert not in_order({(256, c): 0, (a, b): 1}, [257, 256], 258)
    assert not in_order({(b, c): 0, (256, c): 1, (a, b): 2}, [258, 257, 256], 259)
    assert in_order({}, [], 256)


def test_applying_equals_the_naive_algorithm():
    rng = random.Random(1)
    for _ in range(400):
        merged = {pair: 256 + k for k, pair in enumerate(learn_merges(random_pieces(rng), 40, min_freq=1))}
        ids = list(bytes(rng.choices(b"abcd", k=rng.randrange(60))))
        before = list(ids)
        assert applied(ids, merged) == naive_apply(ids, merged)
        assert ids == before


def test_many_pieces_at_once_equal_one_at_a_time():
    rng = random.Random(5)
    for _ in range(200):
        pairs = learn_merges(random_pieces(rng), 40, min_freq=1)
        merged = {pair: 256 + k for k, pair in enumerate(pairs)}
        pieces = [list(bytes(rng.choices(b"abcd", k=rng.randrange(1, 30)))) for _ in range(rng.randrange(1, 20))]
        ranks = {pair: rank for rank, pair in enumerate(pairs)}
        table = MergeTable(ranks, list(merged.values()), np.arange(256), 256 + len(pairs))
        before = np.array([len(piece) for piece in pieces])
        ids, lengths = table.apply(np.array([*chain(*pieces)], dtype=np.uint8), before)
        expected = [applied(piece, merged) for piece in pieces]
        assert ids.tolist() == list(chain(*expected)) and lengths.tolist() == [len(piece) for piece in expected]
        assert before.tolist() == [len(piece) for piece in pieces]


def test_no_two_merges_make_the_same_bytes():
    rng = random.Random(2)
    for _ in range(200):
        tokens = [bytes([byte]) for byte in range(256)]
        for first, second in learn_merges(random_pieces(rng), 60, min_freq=1):
            tokens.append(tokens[first] + tokens[second])
        assert len(set(tokens)) == len(tokens)


def test_the_order_of_the_pieces_does_not_matter():
    rng = random.Random(3)
    pieces = {bytes(rng.choices(b"abc", k=8)): rng.randrange(1, 4) for _ in range(50)}
    shuffled = rng.sample(list(pieces.items()), len(pieces))
    assert learn_merges(dict(shuffled), 50) == learn_merges(pieces, 50)


def test_nothing_to_merge():
    assert learn_merges({}, 5) == learn_merges({b"a": 9}, 5) == learn_merges({b"ab": 9}, 0) == []
    assert applied([], {(97, 98): 256}) == []
    assert applied([97], {(97, 98): 256}) == [97]


def test_progress_is_told_and_ends_with_the_truth():
    calls = []
    pieces = {bytes(random.Random(4).choices(b"abcdefgh", k=400)): 2}
    merges = learn_merges(pieces, 100, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(64, 100), (100, 100)] and len(merges) == 100
    calls.clear()
    learn_merges({b"abab": 1}, 100, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 100)]
