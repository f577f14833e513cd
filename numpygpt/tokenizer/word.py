"""One token for each word and punctuation mark: short sequences, a large vocabulary, and words it does not know."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np

from numpygpt.tokenizer import checks, spacing, storage
from numpygpt.tokenizer.base import Parts, StreamDecoder, Tokenizer
from numpygpt.tokenizer.spacing import JOIN, JOIN_ID, MARKERS, SPACE_ID

UNKNOWN = "<unk>"


class WordTokenizer(Tokenizer):
    r"""Words, punctuation and white space; a single space between two words has no token of its own.

    >>> tok = WordTokenizer().train("To be, or not to be: that is the question.\n")
    >>> [tok.token_text(id) for id in tok.encode("not  to be.\n")]
    ['not', ' ', ' ', 'to', 'be', '.', '\n']
    >>> tok.decode(tok.encode("not  to be.\n"))
    'not  to be.\n'

    One space is implied after a word or closing punctuation where a word or opening punctuation follows. Where the
    text has something else, the spaces are tokens, or the token <join> says that there is none; so known words decode
    exactly (with `lowercase`, to lower case). An unknown word becomes `<unk>` where there is one, else ValueError.
    """

    kind = "word"
    fields = ("lowercase", "vocab")

    def __init__(self, lowercase: bool = False) -> None:
        super().__init__()
        self.lowercase = bool(lowercase)

    def train(
        self, text: str, vocab_size: int | None = None, min_freq: int = 1, special_tokens: Iterable[str] = ()
    ) -> Self:
        """Take the most frequent words of `text`, of equally frequent ones the first in the order of code points.

        `vocab_size` bounds the whole vocabulary, `min_freq` drops rarer words; either adds `<unk>` if it drops any.
        """
        names = checks.special_names(special_tokens)
        checks.at_least("min_freq", min_freq, 1)
        if vocab_size is not None:
            least = len(MARKERS) + len({*names, UNKNOWN}) + 1
            checks.at_least("vocab_size", vocab_size, least, " (white space, special tokens, <unk> and one word)")
        checks.text(text)
        counts = Counter(word for _, _, word in spacing.elements(self._cased(text)))
        for marker in MARKERS:
            counts.pop(marker, None)
        if not counts:
            raise ValueError("the text has no words to learn, only white space or nothing; pass the corpus")
        words = sorted((word for word in counts if counts[word] >= min_freq), key=lambda word: (-counts[word], word))
        size = len(MARKERS) + len(words) + len(names)
        if UNKNOWN not in names and (len(words) < len(counts) or (vocab_size or size) < size):
            names = [UNKNOWN, *names]
        if vocab_size is not None:
            words = words[: vocab_size - len(MARKERS) - len(names)]
        self._set_vocab(MARKERS + words, names)
        return self

    def stream(self) -> StreamDecoder:
        """A decoder that takes one id at a time; a space comes with the word behind it."""
        return WordStreamDecoder(self._ready())

    def _set_vocab(self, tokens: list[str], names: list[str]) -> None:
        self._define(tokens, names, names)
        self._ids = {token: id for id, token in enumerate(tokens)}
        # <unk> stands for a word and is spaced like one; other special tokens stand for no text and have no spaces.
        spaced = tokens + [name if name == UNKNOWN else JOIN for name in names]
        self._space_after = [spacing.space_after(token) for token in spaced]
        self._space_before = [spacing.space_before(token) for token in spaced]

    def _cased(self, text: str) -> str:
        return text.lower() if self.lowercase else text

    def _encode(self, text: str, parts: Parts) -> np.ndarray:
        ids = array("I")
        last = JOIN_ID  # the start of the text implies no space
        for spaces, id in self._spaced_ids(text, parts):
            implied = self._implied(last, id)
            if spaces != implied:
                ids.extend([SPACE_ID] * spaces or [JOIN_ID])
            ids.append(id)
            last = id
        return np.array(ids, dtype=np.uint32)

    def _spaced_ids(self, text: str, parts: Parts) -> Iterator[tuple[int, int]]:
        """(number of spaces before, id) for each element and special token."""
        unknown = self.special_tokens.get(UNKNOWN)
        for start, part in parts:
            if isinstance(part, int):
                yield 0, part
                continue
            for spaces, place, element in spacing.elements(self._cased(part)):
                id = self._ids.get(element, unknown)
                if id is None:
                    raise ValueError(
                        f"the word {checks.brief(element)} at {checks.place(text, start + place)} is not in the "
                        f"vocabulary of {self.vocab_size} tokens; remove it, or train on a text that has it, "
                        f"or with special_tokens=('<unk>',)"
                    )
                yield spaces, id

    def _implied(self, left: int, right: int) -> int:
        """The number of spaces that go without saying between two neighbouring ids, 0 or 1."""
        return self._space_after[left] and self._space_before[right]

    def _decode(self, ids: list[int]) -> str:
        gaps = map(self._implied, [JOIN_ID, *ids], ids)
        return "".join(" " + self._tokens[id] if gap else self._tokens[id] for gap, id in zip(gaps, ids, strict=True))

    def _shown(self, id: int) -> str:
        return "<join>" if id == JOIN_ID else self._tokens[id]

    def _to_fields(self) -> dict[str, Any]:
        return {"lowercase": self.lowercase, "vocab": self._ordinary()}

    def _from_fields(self, fields: dict[str, Any]) -> None:
        if not isinstance(fields["lowercase"], bool):
            raise storage.wrong("lowercase", "true or false", fields["lowercase"])
        vocab = storage.check_vocab(fields["vocab"])
        if vocab[: len(MARKERS)] != MARKERS:
            raise storage.wrong("vocab", f"a list that starts with the {len(MARKERS)} white-space tokens", vocab)
        self.lowercase = fields["lowercase"]
        self._set_vocab(vocab, storage.check_special(fields["special_tokens"], len(vocab)))


class WordStreamDecoder(StreamDecoder):
    """Remembers the last id: whether a space stands between two tokens depends on both."""

    def __init__(self, tokenizer: WordTokenizer) -> None:
        super().__init__(tokenizer)
        self.words = tokenizer
        self.left = JOIN_ID

    def _text(self, id: int) -> str:
        gap = " " if self.words._implied(self.left, id) else ""
        self.left = id
        return gap + self.words._tokens[id]

    def _rest(self) -> str:
        self.left = JOIN_ID
        return ""
