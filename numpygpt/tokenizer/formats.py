"""Byte-level BPE files of other programs: GPT-2's two files, and the tokenizer.json of Hugging Face's `tokenizers`.

Each is translated to and from the fields of our own file (`storage.py`), so that one reader checks them all. Both write
tokens in GPT-2's byte alphabet: a byte that is a visible character of Latin-1 is that character, and the 68 others are,
in order, the characters from U+0100 on. A space is `Ġ`. (GPT-2, encoder.py, bytes_to_unicode.)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from numpygpt.tokenizer import storage
from numpygpt.utils.text import shorten

Fields = dict[str, Any]
OFF = (None, False, "", 0, 0.0)  # values of an option that is not in use
STRICT = ("single_word", "lstrip", "rstrip")  # flags that change where an added token is found
UNSUPPORTED = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")


@cache
def byte_alphabet() -> dict[int, int]:
    """Return byte -> code point of its character, for str.translate; `latin_1` is the inverse."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in visible)
    return {**{byte: byte for byte in visible}, **{byte: 256 + k for k, byte in enumerate(others)}}


@cache
def latin_1() -> dict[int, int]:
    """Return code point in GPT-2's byte alphabet -> byte."""
    return {code: byte for byte, code in byte_alphabet().items()}


def from_gpt2(vocab_bpe: str | os.PathLike[str], encoder_json: str | os.PathLike[str]) -> Fields:
    """Return our fields from `vocab.bpe`, one merge per line, and `encoder.json`, token -> id."""
    ids = storage.read(encoder_json)
    try:
        lines = storage.read_bytes(vocab_bpe).decode("utf-8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(vocab_bpe)} is not UTF-8 ({error}); copy GPT-2's vocab.bpe again") from error
    merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    made = {chr(code) for code in byte_alphabet().values()} | {"".join(merge) for merge in merges}
    if not isinstance(ids, dict):
        raise storage.wrong("encoder.json", "an object from tokens to ids", ids)
    return _fields(ids, merges, {token: id for token, id in ids.items() if token not in made})


def is_huggingface(fields: Any) -> bool:
    """Return whether this is the content of a tokenizer.json of Hugging Face, not of ours."""
    return isinstance(fields, dict) and "format" not in fields and isinstance(fields.get("model"), dict)


def from_huggingface(file: Fields) -> Fields:
    """Return our fields from a tokenizer.json: byte-level BPE as in GPT-2, without anything that would change its ids.

    Special tokens and other added tokens (see added.py) are taken over. `truncation` and `padding` concern batches and
    are left out.
    """
    model = file["model"]
    _check_parts(file, model)
    ids = model.get("vocab")
    if not isinstance(ids, dict):
        raise storage.wrong("model.vocab", "an object from tokens to ids", ids)
    merges = model.get("merges")
    if isinstance(merges, list):  # "a b" in older files, ["a", "b"] in newer ones
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    special, added = _added(file.get("added_tokens"), _merged(merges) & ids.keys())
    own = {token["content"]: token["id"] for token in added if token["own"]}
    for token in added:
        if not token["own"] and ids.get(token["content"]) != token["id"]:
            raise storage.wrong("added_tokens", "tokens with the ids that they have in vocab", token["content"])
    return _fields({**ids, **special, **own}, merges, special, added)


def _check_parts(file: Fields, model: Fields) -> None:
    """Raise ValueError for a part of a tokenizer.json that gives other ids than our encoding."""
    splitters = _steps(file.get("pre_tokenizer"), "pretokenizers")
    if model.get("type", "BPE") != "BPE" or [_type(step) for step in splitters] != ["ByteLevel"]:
        kinds = f"{shorten(model.get('type'))} and {', '.join(map(shorten, map(_type, splitters))) or None}"
        raise _not_ours(f"its model and pre_tokenizer are {kinds}", "BPE and ByteLevel")
    for name in UNSUPPORTED:
        if model.get(name) not in OFF:
            raise _not_ours(f"its model has {name} = {shorten(model[name])}", "none")
    if splitters[0].get("add_prefix_space") not in OFF or not splitters[0].get("use_regex", True):
        raise _not_ours("its pre_tokenizer adds a space or leaves out GPT-2's pattern", "neither")
    if normalizers := _steps(file.get("normalizer"), "normalizers"):
        raise _not_ours(f"it has the normalizer {shorten(normalizers[0])}", "none")
    for step in _steps(file.get("post_processor"), "processors"):
        if _type(step) != "ByteLevel" and not _adds_nothing(step):
            raise _not_ours(f"its post_processor {shorten(_type(step))} adds tokens to each text{_names(step)}",
                            "one that adds none")  # fmt: skip


def _steps(part: Any, name: str) -> list[Any]:
    """Return the steps of a part of a tokenizer.json, which may be one step, a Sequence of steps, or null."""
    if _type(part) != "Sequence":
        return [] if part is None else [part]
    steps = part.get(name)
    if not isinstance(steps, list):
        raise storage.wrong(name, "a list", steps)
    return steps


def _type(step: Any) -> Any:
    return step.get("type") if isinstance(step, dict) else step


def _adds_nothing(step: Any) -> bool:
    """Return whether this is a template that adds nothing to a single text."""
    single = step.get("single") if _type(step) == "TemplateProcessing" else None
    return isinstance(single, list) and len(single) == 1 and isinstance(single[0], dict) and "Sequence" in single[0]


def _names(step: Any) -> str:
    """Return the tokens that the template adds, as far as the file names them."""
    single = step.get("single") if isinstance(step, dict) else None
    parts = [part.get("SpecialToken") for part in single if isinstance(part, dict)] if isinstance(single, list) else []
    names = [shorten(part["id"]) for part in parts if isinstance(part, dict) and "id" in part]
    return f" ({', '.join(names)})" if names else ""


def to_huggingface(fields: Fields) -> Fields:
    """Return a tokenizer.json from our fields of a BPE tokenizer. Raises ValueError if it lower-cases."""
    if fields["lowercase"]:
        raise ValueError("this tokenizer lower-cases text by Python's rules, which tokenizer.json cannot express; "
                         "train one without lowercase, on lower-case text")
    special: dict[str, int] = fields["special_tokens"]
    tokens: list[Fields] = [{"id": id, "content": name, "normalized": False, "special": True}
                            for name, id in special.items()]  # fmt: skip
    tokens += [{key: token[key] for key in ("id", "content", "normalized")} | {"special": False}
               for token in fields.get("added_tokens", ())]  # fmt: skip
    own = {**special, **{token["content"]: token["id"] for token in fields.get("added_tokens", ()) if token["own"]}}
    free = storage.ordinary_ids(len(fields["vocab"]), own.values())
    ids = {token.translate(byte_alphabet()): id for token, id in zip(fields["vocab"], free, strict=True)}
    if taken := sorted(set(ids) & set(own)):
        raise ValueError(f"in tokenizer.json the special token {taken[0]!r} would be the same as an ordinary token in "
                         "GPT-2's byte alphabet; give the special token another name")
    flags = dict.fromkeys(STRICT, False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{**token, **flags} for token in sorted(tokens, key=lambda token: token["id"])],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            **dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")),
            **dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False),
            "vocab": dict(sorted({**ids, **own}.items(), key=lambda item: item[1])),
            "merges": [" ".join(part.translate(byte_alphabet()) for part in merge) for merge in fields["merges"]],
        },
    }


def _fields(ids: dict[str, int], merges: Any, special: dict[str, int], added: Sequence[Fields] = ()) -> Fields:
    """Return our fields from a vocabulary and merges in the byte alphabet."""
    if not all(type(id) is int for id in ids.values()) or sorted(ids.values()) != list(range(len(ids))):
        raise storage.wrong("vocab", f"{len(ids):,} tokens with the ids from 0 on, each once", sorted(map(str, ids)))
    named = {*special, *(token["content"] for token in added if token["own"])}
    vocab = [_spelled(token) for token, id in sorted(ids.items(), key=lambda item: item[1]) if token not in named]
    if not isinstance(merges, list) or not all(isinstance(merge, list) for merge in merges):
        raise storage.wrong("merges", "a list of pairs of tokens", merges)
    pairs = [[_spelled(part) if isinstance(part, str) else part for part in merge] for merge in merges]
    header = {"format": storage.FORMAT, "version": storage.VERSION, "kind": "bpe", "lowercase": False}
    more = {"added_tokens": list(added)} if added else {}
    return {**header, "special_tokens": special, "vocab": vocab, "merges": pairs, **more}


def _spelled(token: str) -> str:
    """Return the token in Latin-1, as in our file."""
    if not all(ord(character) in latin_1() for character in token):
        raise storage.wrong("vocab", "tokens in GPT-2's byte alphabet", token)
    return token.translate(latin_1())


def _merged(merges: Any) -> set[str]:
    """Return the bytes' tokens, and all tokens that are part or result of a merge."""
    pairs = [merge for merge in merges if isinstance(merge, list)] if isinstance(merges, list) else []
    pairs = [pair for pair in pairs if all(isinstance(part, str) for part in pair)]
    return {*map(chr, latin_1()), *(token for pair in pairs for token in (*pair, "".join(pair)))}


def _added(tokens: Any, merged: set[str]) -> tuple[dict[str, int], list[Fields]]:
    """Return name -> id of the special tokens, and the other added tokens as in our file."""
    if not isinstance(tokens or [], list):
        raise storage.wrong("added_tokens", "a list", tokens)
    special: dict[str, Any] = {}  # wrong ids are found later, with all others
    added: list[Fields] = []
    for token in tokens or []:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise storage.wrong("added_tokens", "a list of objects with content and id", token)
        content, id = token["content"], token.get("id")
        for flag in STRICT:
            if token.get(flag):
                raise _not_ours(f"its added token {shorten(content)} has {flag}", "no such flag")
        if token.get("special", True):
            special[content] = id
        else:
            added.append({"content": content, "id": id, "normalized": bool(token.get("normalized", True)),
                          "own": content not in merged})  # fmt: skip
        if content in merged and (content in special or not content.isascii()):
            raise _not_ours(f"its added token {shorten(content)} is also an ordinary token", "another name for it")
    return special, added


def _not_ours(found: str, expected: str) -> ValueError:
    return ValueError(f"this tokenizer.json cannot be used with equal ids: {found}, expected {expected}; "
                      f"only byte-level BPE as in GPT-2 can")
