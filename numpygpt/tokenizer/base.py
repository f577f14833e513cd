"""The base of all tokenizers: interface, special tokens, streaming, and the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np

from numpygpt.tokenizer import checks, ends, reading, storage
from numpygpt.tokenizer.added import AddedToken, Parts, crossing, cut_at, unbroken
from numpygpt.tokenizer.decoding import StreamDecoder
from numpygpt.tokenizer.stream import Breaks, Chunk, Pieces, chunks, resumed
from numpygpt.tokenizer.workers import ordered_map

Where = Callable[[str, int], str]  # describes an index in a text


class Tokenizer:
    """text -> ids -> text. Ids are consecutive from 0. Training puts the special tokens after the ordinary ones.

    A subclass sets `kind` and `fields` and defines `train`, `_encode`, `_decode`, `_to_fields` and `_from_fields`.
    Call `train(text, ...)` or `load(path)` first; before that every use raises RuntimeError.
    With `lowercase` every text is lower-cased before it is encoded, except special tokens.
    A special token represents something that is not text, such as the end of a document. Its name in plain text is
    ordinary text unless the caller lists it in `allowed_special`, so no corpus and no prompt can forge one.
    `bos_id` and `eos_id` begin and end a text for some models (see ends.py). `encode` never adds them.
    """

    kind = ""
    fields: tuple[str, ...] = ()  # the fields of this kind in the file, next to the common header
    optional: tuple[str, ...] = ()  # and those that it may have
    dropped = 0  # after training: how many times a rare word was dropped to save memory
    bos_id: int | None = None
    eos_id: int | None = None
    add_bos, add_eos = False, False
    breaks: Breaks | None = None  # where a long text may be cut (see stream.py)

    def __init__(self, lowercase: bool = False) -> None:
        self.lowercase = bool(lowercase)
        self.special_tokens: dict[str, int] = {}  # name -> id
        self._set_added(())
        self._tokens: list[Any] = []  # id -> str, or bytes for BPE; empty until trained

    @property
    def vocab_size(self) -> int:
        """The number of ids, special tokens included."""
        return len(self._ready()._tokens)

    def __len__(self) -> int:
        return self.vocab_size

    def __repr__(self) -> str:
        return f"{type(self).__name__}({f'vocab_size={len(self._tokens)}' if self._tokens else 'untrained'})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the JSON fields."""
        return type(self).from_dict, (self.to_dict(),)

    # -- text to ids

    def encode(self, text: str, allowed_special: Collection[str] | str = ()) -> list[int]:
        """Return the ids of `text`. `allowed_special`: the special tokens to recognise in it, or "all"."""
        return self.encode_array(text, allowed_special).tolist()

    def encode_array(self, text: str, allowed_special: Collection[str] | str = ()) -> np.ndarray:
        """Return the same ids as a uint32 array. (N,)"""
        checks.text(text)
        names = checks.allowed(allowed_special, self._ready().special_tokens)
        return self._encode(text, self._parts(text, {name: self.special_tokens[name] for name in names}))

    def encode_stream(self, pieces: Pieces, workers: int = 1) -> Iterator[np.ndarray]:
        """Yield the ids of a text that comes in pieces. The arrays together are the ids of the whole text.

        A `Special` among the pieces becomes that token. `workers` processes share the work (see `ordered_map`).
        """
        last = None
        parts = resumed(chunks(pieces, breaks=self._ready().breaks, guard=self._guard()))
        for ids in ordered_map(self._encode_chunk, parts, workers):
            yield ids if last is None else self._continued(last, ids)
            last = int(ids[-1]) if len(ids) else last

    def _encode_chunk(self, chunk: tuple[Chunk, bool]) -> np.ndarray:
        parts: Parts = []
        text = ""
        for place, part in enumerate(chunk[0]):
            if isinstance(part, str):
                parts += self._parts(part, {}, len(text), inside=chunk[1] and place == 0)
                text += part
            else:
                (name,) = checks.allowed([part.name], self.special_tokens, "the text contains")
                parts.append((len(text), self.special_tokens[name]))
        return self._encode(text, parts, checks.near)

    def _guard(self) -> str:
        """Return what must hold at a place where a long text is cut."""
        return unbroken(crossing(token.content for token in self.added_tokens))

    def _parts(self, text: str, special: dict[str, int], start: int = 0, inside: bool = False) -> Parts:
        """Cut `text`, which starts at `start` of a longer text, in two passes: `normalized` added tokens are found in
        what the others leave, once it is normalised. `inside`: the text before it was encoded already."""
        parts = cut_at([(start, text)], {**special, **self._early})
        parts = [(place, self._normal(part) if isinstance(part, str) else part) for place, part in parts]
        parts = cut_at(parts, self._late)
        return [(place, self._cased(part) if isinstance(part, str) else part) for place, part in parts]

    def _normal(self, text: str) -> str:
        return text  # what a vocabulary of another program changes in a text

    def _cased(self, text: str) -> str:
        return text.lower() if self.lowercase else text

    def _encode(self, text: str, parts: Parts, where: Where = checks.at) -> np.ndarray:
        """Return the ids of `text`, which was split into `parts`. `where` describes a place in it."""
        raise NotImplementedError

    def _continued(self, last: int, ids: np.ndarray) -> np.ndarray:
        """Return `ids`, encoded as the start of a text, as they are after the id `last`."""
        return ids

    # -- ids to text

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of `ids`, a list or a 1-D integer array. Raises ValueError for an unknown id."""
        return self._decode(checks.ids(ids, self.vocab_size))

    def token_text(self, id: int) -> str:
        """Return one token for display; bytes of an incomplete character appear as `\\xe2`."""
        (id,) = checks.ids([id], self.vocab_size)
        return self._shown(id)

    def stream(self) -> StreamDecoder:
        """Return a decoder that takes one id at a time, for text that is printed while it is generated."""
        return StreamDecoder(self._ready())

    def _decode(self, ids: list[int]) -> str:
        return "".join(map(self._tokens.__getitem__, ids))

    def _shown(self, id: int) -> str:
        return self._tokens[id]

    # -- the vocabulary and the file

    def to_dict(self) -> dict[str, Any]:
        """Return everything about the tokenizer, ready for JSON; `from_dict` is the inverse."""
        header = {"format": storage.FORMAT, "version": storage.VERSION, "kind": self.kind, "lowercase": self.lowercase}
        fields = {**header, "special_tokens": dict(self.special_tokens), **self._ready()._to_fields()}
        return fields | ends.to_fields(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the tokenizer that `to_dict` described. Raises ValueError if `fields` is not valid."""
        kinds = {known.kind: known for known in Tokenizer.__subclasses__()}
        found = kinds[storage.check_header(fields, kinds)]
        target = cls if issubclass(cls, found) else found  # a subclass of BPETokenizer reads "bpe" as itself
        if not issubclass(target, cls):
            raise ValueError(f"this is a {found.kind} tokenizer, but {cls.__name__} reads kind {cls.kind!r}; use "
                             f"{found.__name__} or load_tokenizer(path)")
        storage.check_keys(fields, target.fields, target.optional)
        if not isinstance(fields["lowercase"], bool):
            raise storage.wrong("lowercase", "true or false", fields["lowercase"])
        tokenizer = target(fields["lowercase"])
        tokenizer._from_fields(fields)
        ends.from_fields(tokenizer, fields)
        return tokenizer

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer to `path` as JSON. An existing file is replaced only by a complete one."""
        storage.write(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote, or a file or folder of another program (see reading.py).

        The file is untrusted: every field is checked, and nothing is executed.
        """
        fields = reading.fields_of(path)
        try:
            return cls.from_dict(fields)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error

    def _to_fields(self) -> dict[str, Any]:
        raise NotImplementedError

    def _from_fields(self, fields: dict[str, Any]) -> None:
        raise NotImplementedError

    def _define(self, ordinary: list[Any], special: dict[str, int], texts: Iterable[Any] | None = None,
                added: dict[int, Any] | None = None) -> None:  # fmt: skip
        """Set the vocabulary: special tokens at their ids (`texts`: what they decode to, if not their names), `added`
        tokens at theirs (which may spell the same as another token), ordinary tokens at the other ids."""
        named = dict(zip(special.values(), texts or special, strict=True))
        checks.distinct([*ordinary, *named.values()])
        named |= added or {}
        others = iter(ordinary)
        self._tokens = [named[id] if id in named else next(others) for id in range(len(ordinary) + len(named))]
        self._named = set(named)
        self.special_tokens = special

    def _set_added(self, added: tuple[AddedToken, ...]) -> None:
        """Set the added tokens (see added.py), and which are found before and after a text is normalised."""
        self.added_tokens = added
        self._early = {token.content: token.id for token in added if not token.normalized}
        self._late = {self._normal(token.content): token.id for token in added if token.normalized}

    def _ordinary(self) -> list[Any]:
        return [token for id, token in enumerate(self._tokens) if id not in self._named]

    def _ready(self) -> Self:
        if not self._tokens:
            raise RuntimeError(f"this {type(self).__name__} has no vocabulary yet: train(text) or load(path) first")
        return self


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Return the tokenizer at `path`, of any kind: a file, or the folder of a run or of a model of another program."""
    return Tokenizer.load(path)
