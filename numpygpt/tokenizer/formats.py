"""Byte-level BPE as others store it: GPT-2's two files, and the tokenizer.json of Hugging Face's `tokenizers`.

Each is translated to and from the fields of our own file (`storage.py`), so that one reader checks them all. In both,
a token is written in GPT-2's byte alphabet: a byte that is a visible character of Latin-1 stands for itself, and the
68 others, in order, for the characters from U+0100 on. A space is `Ġ`. (GPT-2, encoder.py, bytes_to_unicode.)
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from numpygpt.tokenizer import checks, storage

Fields = dict[str, Any]
OFF = (None, False, "", 0, 0.0)  # what an option that is not in use may hold
UNSUPPORTED = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")


@cache
def byte_alphabet() -> dict[int, int]:
    """byte -> code point of its character, for str.translate; `latin_1` is the way back."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in visible)
    return {**{byte: byte for byte in visible}, **{byte: 256 + k for k, byte in enumerate(others)}}


@cache
def latin_1() -> dict[int, int]:
    """Code point in GPT-2's byte alphabet -> byte."""
    return {code: byte for byte, code in byte_alphabet().items()}


def from_gpt2(vocab_bpe: str | os.PathLike[str], encoder_json: str | os.PathLike[str]) -> Fields:
    """Our fields from `vocab.bpe`, a merge a line, and `encoder.json`, token -> id."""
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
    """Whether this is the content of a tokenizer.json of Hugging Face's, and none of ours."""
    return isinstance(fields, dict) and "format" not in fields and isinstance(fields.get("model"), dict)


def from_huggingface(file: Fields) -> Fields:
    """Our fields from a tokenizer.json: byte-level BPE as GPT-2 has it, and nothing that would change its ids.

    Its added tokens become special tokens; `truncation` and `padding` are about batches and are left out.
    """
    model, splitter = file["model"], file.get("pre_tokenizer")
    if model.get("type", "BPE") != "BPE" or not isinstance(splitter, dict) or splitter.get("type") != "ByteLevel":
        kinds = [part.get("type") if isinstance(part, dict) else part for part in (model, splitter)]
        shown = " and ".join(map(checks.brief, kinds))
        raise _not_ours(f"its model and pre_tokenizer are {shown}", "BPE and ByteLevel")
    for name in UNSUPPORTED:
        if model.get(name) not in OFF:
            raise _not_ours(f"its model has {name} = {checks.brief(model[name])}", "none")
    if splitter.get("add_prefix_space") not in OFF or not splitter.get("use_regex", True):
        raise _not_ours("its pre_tokenizer adds a space or leaves out GPT-2's pattern", "neither")
    if file.get("normalizer") is not None:
        raise _not_ours(f"it has the normalizer {checks.brief(file['normalizer'])}", "none")
    processor = file.get("post_processor")
    if processor is not None and (not isinstance(processor, dict) or processor.get("type") != "ByteLevel"):
        raise _not_ours(f"it has the post_processor {checks.brief(processor)}, which adds tokens", "none, or ByteLevel")
    ids, special = model.get("vocab"), _added(file.get("added_tokens"))
    if not isinstance(ids, dict):
        raise storage.wrong("model.vocab", "an object from tokens to ids", ids)
    merges = model.get("merges")
    if isinstance(merges, list):  # "a b" in older files, ["a", "b"] in newer ones
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    return _fields({**ids, **special}, merges, special)


def to_huggingface(fields: Fields) -> Fields:
    """A tokenizer.json from our fields of a BPE tokenizer. ValueError for one that lower-cases."""
    if fields["lowercase"]:
        raise ValueError("this tokenizer makes text lower case by Python's rules, which tokenizer.json cannot say; "
                         "train one without lowercase, on text that is lower case already")
    special: dict[str, int] = fields["special_tokens"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    free = storage.ordinary_ids(len(fields["vocab"]), special.values())
    ids = {token.translate(byte_alphabet()): id for token, id in zip(fields["vocab"], free, strict=True)}
    if taken := sorted(set(ids) & set(special)):
        raise ValueError(f"tokenizer.json cannot tell the special token {taken[0]!r} from the ordinary token that it "
                         "spells in GPT-2's byte alphabet; give the special token another name")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": name, **flags} for name, id in special.items()],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            **dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")),
            **dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False),
            "vocab": dict(sorted({**ids, **special}.items(), key=lambda item: item[1])),
            "merges": [" ".join(part.translate(byte_alphabet()) for part in merge) for merge in fields["merges"]],
        },
    }


def _fields(ids: dict[str, int], merges: Any, special: dict[str, int]) -> Fields:
    """Our fields from a vocabulary and merges that are written in the byte alphabet."""
    if not all(type(id) is int for id in ids.values()) or sorted(ids.values()) != list(range(len(ids))):
        raise storage.wrong("vocab", f"{len(ids):,} tokens with the ids from 0 on, each once", sorted(map(str, ids)))
    vocab = [_spelled(token) for token, id in sorted(ids.items(), key=lambda item: item[1]) if token not in special]
    if not isinstance(merges, list) or not all(isinstance(merge, list) for merge in merges):
        raise storage.wrong("merges", "a list of pairs of tokens", merges)
    pairs = [[_spelled(part) if isinstance(part, str) else part for part in merge] for merge in merges]
    header = {"format": storage.FORMAT, "version": storage.VERSION, "kind": "bpe", "lowercase": False}
    return {**header, "special_tokens": special, "vocab": vocab, "merges": pairs}


def _spelled(token: str) -> str:
    """The token in Latin-1, as our file has it."""
    if not all(ord(character) in latin_1() for character in token):
        raise storage.wrong("vocab", "tokens in GPT-2's byte alphabet", token)
    return token.translate(latin_1())


def _added(tokens: Any) -> dict[str, int]:
    """name -> id of the added tokens."""
    if not isinstance(tokens or [], list):
        raise storage.wrong("added_tokens", "a list", tokens)
    special: dict[str, Any] = {}  # an id that is none is found where all ids are looked at
    for token in tokens or []:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise storage.wrong("added_tokens", "a list of objects with content and id", token)
        for flag in ("single_word", "lstrip", "rstrip"):
            if token.get(flag):
                raise _not_ours(f"its added token {checks.brief(token['content'])} has {flag}", "no such flag")
        special[token["content"]] = token.get("id")
    return special


def _not_ours(found: str, expected: str) -> ValueError:
    return ValueError(f"this tokenizer.json cannot be used with equal ids: {found}, expected {expected}; "
                      f"only byte-level BPE as in GPT-2 can")
