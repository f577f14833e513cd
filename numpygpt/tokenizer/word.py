"""One token for each word and punctuation mark: short sequences, a large vocabulary, and words it does not know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Self

import numpy as np

from numpygpt.tokenizer import checks, spacing, storage
from numpygpt.tokenizer.added import Parts
from numpygpt.tokenizer.base import Tokenizer, Where
from numpygpt.tokenizer.decoding import WordStreamDecoder
from numpygpt.tokenizer.spacing import JOIN, MARKERS
from numpygpt.tokenizer.stream import Pieces, count
from numpygpt.utils.text import shorten

UNKNOWN = "<unk>"
MAX_WORD = 1024  # characters of a word: longer ones come from a text without spaces and occur once


class WordTokenizer(Tokenizer):
    r"""Words, punctuation and white space; a single space between two words has no token of its own.

    >>> tok = WordTokenizer().train("To be, or not to be: that is the question.\n")
    >>> [tok.token_text(id) for id in tok.encode("not  to be.\n")]
    ['not', ' ', ' ', 'to', 'be', '.', '\n']
    >>> tok.decode(tok.encode("not  to be.\n"))
    'not  to be.\n'

    One space is implied after a word or closing punctuation if a word or opening punctuation follows. If the text has
    something else, its spaces are tokens, or the token <join> says that there is none. So known words decode exactly
    (with `lowercase`, to lower case). An unknown word becomes `<unk>` if there is one; otherwise it raises ValueError.
    """

    kind = "word"
    overlong = 0
    fields = ("vocab",)

    def train(
        self,
        text: str | Pieces,
        vocab_size: int | None = None,
        min_freq: int = 1,
        special_tokens: Iterable[str] = (),
        workers: int = 1,
    ) -> Self:
        """Take the most frequent words of `text`; of equally frequent words the first in the order of code points.

        `text` may come in pieces. `vocab_size` limits the whole vocabulary, `min_freq` drops rarer words; each adds
        `<unk>` if it drops any. `dropped` is how many times a rare word was dropped to save memory (see `count`), and
        `overlong` how many words were longer than MAX_WORD and left out.
        """
        names = checks.special_names(special_tokens)
        checks.at_least("min_freq", min_freq, 1)
        if vocab_size is not None:
            least = len(MARKERS) + len({*names, UNKNOWN}) + 1
            checks.at_least("vocab_size", vocab_size, least, " (white space, special tokens, <unk> and one word)")
        counts = count(partial(_words, lowercase=self.lowercase), text, workers)
        self.dropped = counts.dropped
        self.overlong = sum(times for word, times in counts.items() if len(word) > MAX_WORD)
        if all(word.isspace() or len(word) > MAX_WORD for word in counts):
            long = f"{self.overlong:,} of more than {MAX_WORD:,} characters" if self.overlong else ""
            raise ValueError(f"the text has no words to learn, only {long or 'white space or nothing'}: give a text "
                             "with words, or use another kind of tokenizer for a text without spaces")
        for marker in MARKERS:
            counts.pop(marker, None)
        learned = (word for word in counts if counts[word] >= min_freq and len(word) <= MAX_WORD)
        words = sorted(learned, key=lambda word: (-counts[word], word))
        size = len(MARKERS) + len(words) + len(names)
        lost = len(words) < len(counts) or counts.dropped or (vocab_size or size) < size
        if lost and UNKNOWN not in names:
            names = [UNKNOWN, *names]
        if vocab_size is not None:
            words = words[: vocab_size - len(MARKERS) - len(names)]
        vocab = MARKERS + words
        self._set_vocab(vocab, {name: len(vocab) + i for i, name in enumerate(names)})
        return self

    def stream(self) -> WordStreamDecoder:
        """Return a decoder that takes one id at a time; a space comes with the next word."""
        return WordStreamDecoder(self._ready())

    def _set_vocab(self, vocab: list[str], special: dict[str, int]) -> None:
        self._define(vocab, special)
        self._ids = {token: id for id, token in enumerate(self._tokens) if token not in special}
        self._join, self._space = self._ids[JOIN], self._ids[" "]
        # <unk> replaces a word and is spaced like one; other special tokens represent no text and have no spaces.
        spaced = [JOIN if token in special and token != UNKNOWN else token for token in self._tokens]
        self._space_after = np.array([spacing.space_after(token) for token in spaced])
        self._space_before = np.array([spacing.space_before(token) for token in spaced])

    def _encode(self, text: str, parts: Parts, where: Where = checks.at) -> np.ndarray:
        known, unknown = self._ids, self.special_tokens.get(UNKNOWN, -1)
        spaces: list[int] = []  # the number of spaces before each element
        found: list[int] = []  # and its id
        for start, part in parts:
            if isinstance(part, int):
                spaces.append(0)
                found.append(part)
                continue
            elements = spacing.elements(part)
            spaces += [len(before) for before, _ in elements]
            found += [known.get(element, unknown) for _, element in elements]
            if unknown < 0 and -1 in found:
                self._refuse(text, start, elements, where)
        ids = np.array(found, dtype=np.uint32)
        return self._with_spaces(np.array(spaces, dtype=np.int64), ids) if found else ids

    def _with_spaces(self, spaces: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Return `ids` with tokens for the spaces that are not implied. Both (N,)."""
        implied = self._implied(np.append(np.uint32(self._join), ids[:-1]), ids)  # the text's start implies no space
        extra = np.where(spaces == implied, 0, np.maximum(spaces, 1))  # tokens before each: the spaces, or one <join>
        place = np.arange(len(ids)) + np.cumsum(extra)
        spaced = np.full(place[-1] + 1, self._space, dtype=np.uint32)
        joined = (spaces == 0) & (extra == 1)
        spaced[place[joined] - 1] = self._join
        spaced[place] = ids
        return spaced

    def _continued(self, last: int, ids: np.ndarray) -> np.ndarray:
        """As in an uncut text: an implied space between the two has no token."""
        space = ids[:1] == self._space
        if len(ids) > 1 and space and self._implied(last, int(ids[1])):
            return ids[1:]
        if len(ids) and not space and self._implied(last, int(ids[0])):
            return np.append(np.uint32(self._join), ids)
        return ids

    def _refuse(self, text: str, start: int, elements: list[tuple[str, str]], where: Where) -> None:
        """Raise for the first unknown element of the part of `text` that starts at `start`."""
        for before, element in elements:
            start += len(before)
            if element not in self._ids:
                raise ValueError(f"the word {shorten(element)} {where(text, start)} is not in the vocabulary of "
                                 f"{self.vocab_size} tokens; remove it, train on a text that has it or with the "
                                 "special token <unk>, or use bpe, which can encode every text")
            start += len(element)

    def _implied(self, left: Any, right: Any) -> Any:
        """Return the number of implied spaces between two neighbouring ids, 0 or 1; also for arrays of ids."""
        return self._space_after[left] & self._space_before[right]

    def _decode(self, ids: list[int]) -> str:
        gaps = self._implied([self._join, *ids[:-1]], ids) if ids else ()
        return "".join(" " + self._tokens[id] if gap else self._tokens[id] for gap, id in zip(gaps, ids, strict=True))

    def _shown(self, id: int) -> str:
        return "<join>" if id == self._join else self._tokens[id]

    def _to_fields(self) -> dict[str, Any]:
        return {"vocab": self._ordinary()}

    def _from_fields(self, fields: dict[str, Any]) -> None:
        vocab = storage.check_vocab(fields["vocab"])
        if vocab[: len(MARKERS)] != MARKERS:
            raise storage.wrong("vocab", f"a list that starts with the {len(MARKERS)} white-space tokens", vocab)
        self._set_vocab(vocab, storage.check_special(fields["special_tokens"], len(vocab)))


def _words(text: str, lowercase: bool) -> Iterator[str]:
    """Yield the words to count. An overlong word is cut to MAX_WORD + 1 characters and still counts as overlong."""
    return (word if len(word) <= MAX_WORD else word[: MAX_WORD + 1] for word in spacing.words(text, lowercase))
