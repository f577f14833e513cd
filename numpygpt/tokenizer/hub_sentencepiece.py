"""SentencePiece's BPE in a Hugging Face tokenizer.json, as the converters of Llama 2 and TinyLlama write it.

The SPACE in front of a text is written in one of two ways: by a normalizer (Prepend and Replace), or by the
pre_tokenizer Metaspace.
"""

from __future__ import annotations

from typing import Any

from numpygpt.tokenizer import hub_parts, hub_vocabulary, storage
from numpygpt.tokenizer.hub_parts import kind, refused, steps
from numpygpt.utils.text import shorten

Fields = dict[str, Any]
SPACE = "▁"
PREPEND = {"type": "Prepend", "prepend": SPACE}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
SCHEMES = {"never": "none", "first": "first", "always": "missing"}  # Metaspace's name -> ours


def recognised(file: Fields) -> bool:
    """Return whether a tokenizer.json is of this kind, and not of byte-level BPE."""
    splitters = [kind(step) for step in steps(file.get("pre_tokenizer"), "pretokenizers")]
    normalizers = [kind(step) for step in steps(file.get("normalizer"), "normalizers")]
    model = file["model"]
    marks = model.get("byte_fallback") is True or "Metaspace" in splitters or "Prepend" in normalizers
    return marks and model.get("type", "BPE") == "BPE" and "ByteLevel" not in splitters


def from_huggingface(file: Fields) -> Fields:
    """Return our fields. Refuses what would give other ids, and a vocabulary without byte fallback."""
    model = file["model"]
    hub_parts.check_model(model, "ignore_merges")
    if model.get("byte_fallback") is not True:
        raise refused(f"its model has byte_fallback = {shorten(model.get('byte_fallback'))}", "true")
    ids, merges = hub_vocabulary.vocab(model), hub_vocabulary.merges(model)
    merged = hub_vocabulary.merged(merges) | {token for token in ids if len(token) == 1}
    special, added = hub_vocabulary.read_added(file.get("added_tokens"), merged & ids.keys(), ascii_only=False)
    own = hub_vocabulary.own(ids, added)
    every = {**ids, **special, **own}
    vocab = [token for token in hub_vocabulary.in_order(every) if token not in special and token not in own]
    header = {"format": storage.FORMAT, "version": storage.VERSION, "kind": "sentencepiece", "lowercase": False}
    more = {"added_tokens": added} if added else {}
    return {**header, "special_tokens": special, "vocab": vocab, "merges": merges, **_spaces(file), **more,
            **hub_parts.ends(file, every)}


def _spaces(file: Fields) -> Fields:
    """Return how spaces are treated: the fields prefix and split."""
    normalizers = steps(file.get("normalizer"), "normalizers")
    splitters = steps(file.get("pre_tokenizer"), "pretokenizers")
    if not splitters and normalizers in ([PREPEND, REPLACE], [REPLACE]):
        return {"prefix": "every" if len(normalizers) == 2 else "none", "split": False}
    if normalizers:
        raise refused(f"it has the normalizer {shorten(normalizers)} and the pre_tokenizer {shorten(splitters)}",
                      "Prepend and Replace for spaces without a pre_tokenizer, or Metaspace alone")
    if len(splitters) != 1 or kind(splitters[0]) != "Metaspace":
        raise refused(f"its pre_tokenizer is {shorten(splitters)}", "Metaspace, or normalizers for spaces")
    step = splitters[0]
    scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) is True else "never")
    split = step.get("split", True)
    if step.get("replacement") != SPACE or not isinstance(split, bool) or str(scheme) not in SCHEMES:
        found = ", ".join(map(shorten, (step.get("replacement"), scheme, split)))
        raise refused(f"its pre_tokenizer is Metaspace with {found}",
                      f"{SPACE}, a prepend_scheme of {', '.join(SCHEMES)}, and true or false for split")
    return {"prefix": SCHEMES[str(scheme)], "split": split}


def to_huggingface(fields: Fields) -> Fields:
    """Return a tokenizer.json from our fields."""
    prefix, split = fields["prefix"], fields["split"]
    own, tokens = hub_vocabulary.added_tokens(fields)
    free = storage.ordinary_ids(len(fields["vocab"]), own.values())
    ids = {**dict(zip(fields["vocab"], free, strict=True)), **own}
    normalizer: Fields | None = None
    metaspace: Fields | None = None
    if prefix == "every":
        normalizer = {"type": "Sequence", "normalizers": [PREPEND, REPLACE]}
    elif prefix == "none" and not split:
        normalizer = dict(REPLACE)
    else:
        scheme = next(theirs for theirs, ours in SCHEMES.items() if ours == prefix)
        metaspace = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": split}
    decoders: list[Fields] = [{"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                              {"type": "ByteFallback"}, {"type": "Fuse"}]  # fmt: skip
    if prefix != "none":
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return hub_parts.tokenizer_json(
        fields, tokens, ids, fields["merges"],
        normalizer=normalizer,
        pre_tokenizer=metaspace,
        decoder={"type": "Sequence", "decoders": decoders},
        byte_fallback=True, fuse_unk=True, unk_token="<unk>" if "<unk>" in fields["special_tokens"] else None,
    )  # fmt: skip
