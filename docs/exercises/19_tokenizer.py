"""Step 19. Byte pair encoding: count pairs, merge them, train, encode, decode; then two changes of the rules."""

from collections import Counter

from marker import equal, main

from numpygpt.tokenizer.merges import apply_merges, learn_merges


class BPE:
    """Ids 0 to 255 are bytes. Merge number k, a pair of ids, makes the id 256 + k."""

    def __init__(self, merges=()):
        self.merges = list(merges)

    def pairs(self, ids):  # how often each pair of neighbours occurs in a list of ids: {(first, second): count}
        raise NotImplementedError("count each two neighbours, as a dict from (first, second) to how often")

    def merge(self, ids, pair, new):  # a list of ids in which `new` replaces the pair, from left to right
        raise NotImplementedError("from left to right: where the pair begins, put the new id and skip two places")

    def train(self, pieces, n_merges, tie=min):  # pieces: {bytes: count}; tie(pairs) chooses one of the most frequent
        raise NotImplementedError("count the pairs of all pieces, merge the most frequent one, repeat")

    def encode(self, data):  # bytes -> ids
        raise NotImplementedError("as long as a pair of the ids is a merge, apply the merge that was learned first")

    def decode(self, ids):  # ids -> bytes
        raise NotImplementedError("the bytes of an id from 256 on are those of its two tokens")

    def longest(self, data):  # bytes -> ids: at each place, from the left, the longest token that fits
        raise NotImplementedError("at each place take the longest token that fits")

    def not_back(self):  # a list of ids that encode(decode(ids)) does not give back
        raise NotImplementedError("which ids did no merge make of their bytes, although a merge would?")


PIECES = Counter([b"aaah"] * 3 + [b"aha"] * 3 + [b"ha"] * 2)
MERGES = [(97, 97), (97, 104), (256, 257), (257, 97), (104, 97)]
LARGEST = [(97, 104), (256, 97), (97, 256), (97, 258), (104, 97)]  # of equally frequent pairs the largest


def checks():
    bpe = BPE(MERGES)
    yield "pairs of aaaah", equal("pairs", bpe.pairs(list(b"aaaah")), {(97, 97): 3, (97, 104): 1})
    yield "aaaa and aaa, from the left", equal("merge", [bpe.merge([97] * n, (97, 97), 256) for n in (4, 3)],
                                               [[256, 256], [256, 97]])
    bpe.train(PIECES, 10)
    yield "training on three words", equal("merges", bpe.merges, MERGES)
    text = {b"she sells sea shells by the sea shore, the shells she sells are sea shells": 1}
    bpe.train(text, 20)
    yield "training as the package does", equal("merges", bpe.merges, learn_merges(text, 20))
    yield "encoding, the order of the merges decides", equal("ids", BPE(MERGES).encode(b"ahaah"), [257, 256, 104])
    data, ranks = b"he sees the seashells", {pair: rank for rank, pair in enumerate(learn_merges(text, 20))}
    yield "encoding as the package does", equal("ids", BPE(ranks).encode(data),
                                                apply_merges(list(data), ranks, [256 + k for k in ranks.values()]))
    yield "and back", equal("bytes", BPE(MERGES).decode([104, 259, 258]), b"hahaaaah")
    yield "the longest token from the left", equal("ids", BPE(MERGES).longest(b"haha"), [260, 260])
    bpe.train(PIECES, 10, tie=max)
    yield "of equally frequent pairs the largest", equal("merges", bpe.merges, LARGEST)
    ids = BPE(MERGES).not_back()
    yield f"{ids} does not come back", BPE(MERGES).encode(BPE(MERGES).decode(ids)) != ids or f"{ids} comes back"


if __name__ == "__main__":
    main(checks)
