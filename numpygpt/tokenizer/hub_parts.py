"""The parts of a Hugging Face tokenizer.json around its vocabulary: normalizer, pre_tokenizer, post_processor.

Each part is one step, a Sequence of steps, or null. What would give other ids than our encoding is refused by name.
"""

from __future__ import annotations

from typing import Any

from numpygpt.tokenizer import storage
from numpygpt.tokenizer.pretokenize import PATTERNS
from numpygpt.utils.text import shorten

Fields = dict[str, Any]
OFF = (None, False, "", 0, 0.0)  # values of an option that is not in use
UNSUPPORTED = ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


def steps(part: Any, name: str) -> list[Any]:
    """Return the steps of a part of a tokenizer.json. Each is an object; else ValueError."""
    found = part.get(name) if kind(part) == "Sequence" else [] if part is None else [part]
    if not isinstance(found, list):
        raise storage.wrong(name, "a list", found)
    if other := [step for step in found if not isinstance(step, dict)]:
        raise storage.wrong(name, "objects with a type", other[0])
    return found


def kind(step: Any) -> Any:
    """Return the type of a step; None if it is not an object with a type."""
    return step.get("type") if isinstance(step, dict) else None


def refused(found: str, expected: str) -> ValueError:
    return ValueError(f"this tokenizer.json cannot be used with equal ids: {found}, expected {expected}; only "
                      "byte-level BPE, and SentencePiece's BPE with byte fallback, can")


def check_model(model: Fields, *others: str) -> None:
    """Raise ValueError for an option of the model that changes its ids. `others`: further options to refuse."""
    for name in (*UNSUPPORTED, *others):
        if model.get(name) not in OFF:
            raise refused(f"its model has {name} = {shorten(model[name])}", "none")


def pattern(file: Fields) -> str:
    """Return the name of the pattern (see pretokenize.py) that the file's pre_tokenizer cuts text with."""
    splitters = steps(file.get("pre_tokenizer"), "pretokenizers")
    kinds = [kind(step) for step in splitters]
    model = file["model"].get("type", "BPE")
    if model != "BPE" or kinds not in (["ByteLevel"], ["Digits", "ByteLevel"], ["Split", "ByteLevel"]):
        found = f"{shorten(model)} and {', '.join(map(shorten, kinds)) or None}"
        raise refused(f"its model and pre_tokenizer are {found}", "BPE and ByteLevel")
    *before, level = splitters
    if level.get("add_prefix_space") not in OFF or bool(level.get("use_regex", True)) is (kinds[0] == "Split"):
        raise refused("its pre_tokenizer adds a space or leaves out GPT-2's pattern", "neither")
    if not before:
        return "gpt2"
    if kinds[0] == "Digits":
        if before[0].get("individual_digits") is not True:
            raise refused("its pre_tokenizer 'Digits', 'ByteLevel' keeps digits together", "individual_digits")
        return "smollm"
    step = {"invert": False, **before[0]}
    for name in ("llama3", "qwen2"):
        if step == split(name):
            return name
    raise refused(f"its pre_tokenizer is {shorten(before[0])}", "the pattern of GPT-2, SmolLM, Llama 3 or Qwen2")


def split(name: str) -> Fields:
    """Return the step that cuts text with a pattern."""
    return {"type": "Split", "pattern": {"Regex": PATTERNS[name]}, "behavior": "Isolated", "invert": False}


def pre_tokenizer(name: str) -> Fields:
    """Return the pre_tokenizer of a pattern."""
    if name == "gpt2":
        return dict(BYTES)
    both = [DIGITS, BYTES] if name == "smollm" else [split(name), {**BYTES, "use_regex": False}]
    return {"type": "Sequence", "pretokenizers": both}


def nfc(file: Fields) -> bool:
    """Return whether the file's normalizer is NFC; it may have no other."""
    normalizers = steps(file.get("normalizer"), "normalizers")
    for step in normalizers:
        if kind(step) != "NFC":
            raise refused(f"it has the normalizer {shorten(step)}", "none, or NFC")
    return bool(normalizers)


def ends(file: Fields, ids: dict[str, int]) -> Fields:
    """Return the fields for the tokens that the file's post_processor adds to a text (see ends.py).

    `ids`: every token's id.
    """
    found: Fields = {}
    for step in steps(file.get("post_processor"), "processors"):
        if kind(step) == "ByteLevel":
            continue
        known = step.get("special_tokens") if isinstance(step, dict) else None
        for end, names in zip(("bos", "eos"), _template(step), strict=True):
            if not names:
                continue
            token = known.get(names[0]) if isinstance(known, dict) and len(names) == 1 else None
            if not isinstance(token, dict) or token.get("ids") != [ids.get(names[0])] or f"{end}_id" in found:
                raise _adds(step)
            found |= {f"{end}_id": ids[names[0]], f"add_{end}": True}
    return found


def _template(step: Any) -> tuple[list[str], list[str]]:
    """Return the names of the tokens that a template puts before and after a text."""
    single = step.get("single") if kind(step) == "TemplateProcessing" else None
    if not isinstance(single, list):
        raise _adds(step)
    names = [_name(part) for part in single]
    texts = [place for place, part in enumerate(single) if isinstance(part, dict) and "Sequence" in part]
    added = [name for name in names if name is not None]
    if len(texts) != 1 or len(added) != len(single) - 1:
        raise _adds(step)
    return added[: texts[0]], added[texts[0] :]


def _name(part: Any) -> str | None:
    """Return the name of a special token in a template, as far as it has one."""
    token = part.get("SpecialToken") if isinstance(part, dict) else None
    name = token.get("id") if isinstance(token, dict) else None
    return name if isinstance(name, str) else None


def _adds(step: Any) -> ValueError:
    single = step.get("single") if isinstance(step, dict) else None
    names = [_name(part) for part in single] if isinstance(single, list) else []
    listed = ", ".join(shorten(name) for name in names if name is not None)
    listed = f" ({listed})" if listed else ""
    return refused(f"its post_processor {shorten(kind(step))} adds tokens to each text{listed}",
                   "one that adds none, or one token at the start and one at the end")


def post_processor(fields: Fields, names: dict[int, str]) -> Fields | None:
    """Return the post_processor that adds what the fields say. `names`: every token by its id."""
    before, after = (fields[f"{end}_id"] if fields.get(f"add_{end}") else None for end in ("bos", "eos"))
    added = [id for id in (before, after) if id is not None]
    if not added:
        return None

    def template(*sequences: tuple[str, int]) -> list[Fields]:
        parts: list[Fields] = []
        for letter, number in sequences:
            parts += [{"SpecialToken": {"id": names[before], "type_id": number}}] if before is not None else []
            parts += [{"Sequence": {"id": letter, "type_id": number}}]
            parts += [{"SpecialToken": {"id": names[after], "type_id": number}}] if after is not None else []
        return parts

    known = {names[id]: {"id": names[id], "ids": [id], "tokens": [names[id]]} for id in added}
    return {"type": "TemplateProcessing", "single": template(("A", 0)), "pair": template(("A", 0), ("B", 1)),
            "special_tokens": known}


def tokenizer_json(fields: Fields, added: list[Fields], ids: dict[str, int], merges: list[list[str]], *,
                   normalizer: Any, pre_tokenizer: Any, decoder: Any, **model: Any) -> Fields:  # fmt: skip
    """Return a tokenizer.json. `ids`: every token's id; `model`: options of the model that are in use."""
    options = dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"))
    flags = dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor(fields, {id: token for token, id in ids.items()}),
        "decoder": decoder,
        "model": {
            "type": "BPE",
            **{**options, **flags, **model},
            "vocab": dict(sorted(ids.items(), key=lambda item: item[1])),
            "merges": merges if any(" " in part for pair in merges for part in pair) else [*map(" ".join, merges)],
        },
    }
