"""Byte-level BPE files of other programs: GPT-2's two files, Hugging Face's tokenizer.json, the arrays of a GGUF file.

Each is translated to and from the fields of our own file (`storage.py`), so that one reader checks them all. All write
tokens in GPT-2's byte alphabet (alphabet.py). A special token is found in a text as it is written, also if the file
says `normalized`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from numpygpt.tokenizer import hub_parts, hub_sentencepiece, hub_vocabulary, storage
from numpygpt.tokenizer.alphabet import byte_alphabet, latin_1, spelled
from numpygpt.utils.text import shorten

Fields = dict[str, Any]
GGUF_PATTERNS = {"gpt-2": "gpt2", "smollm": "smollm", "llama-bpe": "llama3", "qwen2": "qwen2"}  # tokenizer.ggml.pre
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # tokenizer.ggml.token_type


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


def ids_of(file: Fields) -> dict[str, int]:
    """Return every token's id, from a tokenizer.json that `from_huggingface` accepts."""
    return {**file["model"]["vocab"], **{token["content"]: token["id"] for token in file.get("added_tokens") or ()}}


def from_huggingface(file: Fields) -> Fields:
    """Return our fields from a tokenizer.json: byte-level BPE or SentencePiece's (see hub_sentencepiece.py), without
    anything that would change its ids.

    Special tokens and other added tokens (see added.py) are taken over. `truncation` and `padding` concern batches and
    are left out.
    """
    if hub_sentencepiece.recognised(file):
        return hub_sentencepiece.from_huggingface(file)
    model = file["model"]
    pattern = hub_parts.pattern(file)
    hub_parts.check_model(model, "byte_fallback")
    rules = _rules(pattern, hub_parts.nfc(file), model.get("ignore_merges") not in hub_parts.OFF)
    ids = hub_vocabulary.vocab(model)
    merges = hub_vocabulary.merges(model)
    special, added = hub_vocabulary.read_added(file.get("added_tokens"), _made(merges) & ids.keys())
    own = hub_vocabulary.own(ids, added)
    every = {**ids, **special, **own}
    return {**_fields(every, merges, special, added), **rules, **hub_parts.ends(file, every)}


def from_gguf(
    *,
    model: str,
    pre: str,
    tokens: Sequence[str],
    merges: Sequence[str],
    token_types: Sequence[int] | None = None,
    bos_id: int | None = None,
    eos_id: int | None = None,
    add_bos: bool | None = None,
) -> Fields:
    """Return our fields from the arrays of a GGUF file: its tokenizer.ggml.model, pre, tokens, merges, token_type, ...

    `BPETokenizer.from_dict` makes the tokenizer. Control tokens become special, user-defined tokens become added ones.
    Without `add_bos` it is as in llama.cpp: true for Llama 3's pattern, false for the others.
    Raises ValueError for another model than "gpt2", and for a `pre` (the pattern) that is not in GGUF_PATTERNS.
    """
    if model != "gpt2":
        raise ValueError(f"the GGUF file has a tokenizer of the model {shorten(model)}, expected 'gpt2', which is "
                         "byte-level BPE; use the model's tokenizer.json")
    if not isinstance(pre, str) or pre not in GGUF_PATTERNS:
        raise ValueError(f"the GGUF file cuts text with the pattern {shorten(pre)}, expected one of "
                         f"{', '.join(map(repr, GGUF_PATTERNS))}; use the model's tokenizer.json")
    arrays: list[tuple[str, Any, type]] = [("tokens", tokens, str), ("merges", merges, str)]
    arrays += [] if token_types is None else [("token_type", token_types, int)]
    for array, values, kind in arrays:
        if not isinstance(values, (list, tuple)) or not all(isinstance(value, kind) for value in values):
            raise storage.wrong(f"tokenizer.ggml.{array}", f"a list of {kind.__name__}", values)
    types = [NORMAL] * len(tokens) if token_types is None else token_types
    if len(types) != len(tokens) or len(set(tokens)) < len(tokens):
        raise storage.wrong("tokens", f"different strings, as many as there are types ({len(types):,})", len(tokens))
    pairs = [merge.split(" ") for merge in merges]
    merged = _made(pairs)
    special, added = {}, []
    for id, (token, type) in enumerate(zip(tokens, types, strict=True)):
        if type in (CONTROL, UNKNOWN):
            special[token] = id
        elif type == USER_DEFINED:
            added.append({"content": token, "id": id, "normalized": False, "own": token not in merged})
    ids = {token: id for id, token in enumerate(tokens)}
    name = GGUF_PATTERNS[pre]
    add_bos = name == "llama3" if add_bos is None else add_bos
    ends = {"bos_id": bos_id, "eos_id": eos_id, "add_bos": add_bos if bos_id is not None else False}
    return {**_fields(ids, pairs, special, added), **_rules(name, nfc=name == "qwen2", ignore_merges=name == "llama3"),
            **ends}


def _rules(pattern: str, nfc: bool, ignore_merges: bool) -> Fields:
    """Return those of our fields that differ from GPT-2's."""
    rules = {"pattern": pattern, "nfc": nfc, "ignore_merges": ignore_merges}
    return {name: value for name, value in rules.items() if value not in ("gpt2", False)}


def to_huggingface(fields: Fields) -> Fields:
    """Return a tokenizer.json from our fields of a byte-level BPE tokenizer. Raises ValueError if it lower-cases."""
    if fields["kind"] == "sentencepiece":
        return hub_sentencepiece.to_huggingface(fields)
    if fields["lowercase"]:
        raise ValueError("this tokenizer lower-cases text by Python's rules, which tokenizer.json cannot express; "
                         "train one without lowercase, on lower-case text")
    own, tokens = hub_vocabulary.added_tokens(fields)
    free = storage.ordinary_ids(len(fields["vocab"]), own.values())
    ids = {token.translate(byte_alphabet()): id for token, id in zip(fields["vocab"], free, strict=True)}
    if taken := sorted(set(ids) & set(own)):
        raise ValueError(f"in tokenizer.json the special token {taken[0]!r} would be the same as an ordinary token in "
                         "GPT-2's byte alphabet; give the special token another name")
    merges = [[part.translate(byte_alphabet()) for part in merge] for merge in fields["merges"]]
    return hub_parts.tokenizer_json(
        fields, tokens, {**ids, **own}, merges,
        normalizer={"type": "NFC"} if fields.get("nfc") else None,
        pre_tokenizer=hub_parts.pre_tokenizer(fields.get("pattern", "gpt2")),
        decoder=dict(hub_parts.BYTES),
        ignore_merges=fields.get("ignore_merges", False),
    )  # fmt: skip


def _fields(ids: dict[str, int], merges: Any, special: dict[str, int], added: Sequence[Fields] = ()) -> Fields:
    """Return our fields from a vocabulary and merges in the byte alphabet."""
    named = {*special, *(token["content"] for token in added if token["own"])}
    vocab = [spelled(token) for token in hub_vocabulary.in_order(ids) if token not in named]
    if not isinstance(merges, list) or not all(isinstance(merge, list) for merge in merges):
        raise storage.wrong("merges", "a list of pairs of tokens", merges)
    pairs = [[spelled(part) if isinstance(part, str) else part for part in merge] for merge in merges]
    header = {"format": storage.FORMAT, "version": storage.VERSION, "kind": "bpe", "lowercase": False}
    more = {"added_tokens": list(added)} if added else {}
    return {**header, "special_tokens": special, "vocab": vocab, "merges": pairs, **more}


def _made(merges: Any) -> set[str]:
    """Return all tokens that merges make or use, bytes included."""
    return {*map(chr, latin_1()), *hub_vocabulary.merged(merges)}
