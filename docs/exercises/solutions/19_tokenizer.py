"""Step 19. Byte pair encoding: count pairs, merge them, train, encode, decode; then two changes of the rules."""

from collections import Counter

from marker import equal, main

from numpygpt.tokenizer.merges import apply_merges, learn_merges


class BPE:
    """Ids 0 to 255 are bytes. Merge number k, a pair of ids, makes the id 256 + k."""

    def __init__(self, merges=()):
        self.merges = list(merges)

    def pairs(self, ids):  # how often each pair of neighbours occurs in a list of ids: {(first, second): count}
        return Counter((ids[i], ids[i + 1]) for i in range(len(ids) - 1))

    def merge(self, ids, pair, new):  # a list of ids in which `new` replaces the pair, from left to right
        out, i = [], 0
        while i < len(ids):
            found = tuple(ids[i : i + 2]) == tuple(pair)
            out.append(new if found else ids[i])
            i += 2 if found else 1
        return out

    def train(self, pieces, n_merges, tie=min):  # pieces: {bytes: count}; tie(pairs) chooses one of the most frequent
        words, self.merges = [(list(piece), count) for piece, count in pieces.items()], []
        while len(self.merges) < n_merges:  # or until no pair occurs twice
            counts = Counter()
            for ids, count in words:
                for pair, n in self.pairs(ids).items():
                    counts[pair] += n * count
            most = max(counts.values(), default=0)
            if most < 2:
                break
            pair = tie(pair for pair, n in counts.items() if n == most)
            words = [(self.merge(ids, pair, 256 + len(self.merges)), count) for ids, count in words]
            self.merges.append(pair)

    def encode(self, data):  # bytes -> ids
        ids, ranks = list(data), {pair: rank for rank, pair in enumerate(self.merges)}
        while known := [pair for pair in self.pairs(ids) if pair in ranks]:
            pair = min(known, key=ranks.get)
            ids = self.merge(ids, pair, 256 + ranks[pair])
        return ids

    def decode(self, ids):  # ids -> bytes
        tokens = [bytes([byte]) for byte in range(256)]
        for first, second in self.merges:
            tokens.append(tokens[first] + tokens[second])
        return b"".join(tokens[i] for i in ids)

    def longest(self, data):  # bytes -> ids: at each place, from the left, the longest token that fits
        tokens = {self.decode([i]): i for i in range(256 + len(self.merges))}
        ids = []
        while data:
            length = max(n for n in range(1, len(data) + 1) if data[:n] in tokens)
            ids.append(tokens[data[:length]])
            data = data[length:]
        return ids

    def not_back(self):  # a list of ids that encode(decode(ids)) does not give back
        return list(self.merges[0])


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
