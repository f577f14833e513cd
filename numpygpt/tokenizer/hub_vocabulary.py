"""The vocabulary of a Hugging Face tokenizer.json: tokens, merges, special and added tokens."""

from __future__ import annotations

from typing import Any

from numpygpt.tokenizer import storage
from numpygpt.tokenizer.hub_parts import refused
from numpygpt.utils.text import shorten

Fields = dict[str, Any]
STRICT = ("single_word", "lstrip", "rstrip")  # flags that change where an added token is found


def vocab(model: Fields) -> dict[str, int]:
    ids = model.get("vocab")
    if not isinstance(ids, dict):
        raise storage.wrong("model.vocab", "an object from tokens to ids", ids)
    return ids


def merges(model: Fields) -> Any:
    """Return the merges, if they are a list, as pairs: "a b" in older files, ["a", "b"] in newer ones."""
    found = model.get("merges")
    return [pair.split(" ") if isinstance(pair, str) else pair for pair in found] if isinstance(found, list) else found


def merged(merges: Any) -> set[str]:
    """Return all tokens that are part or result of a merge."""
    pairs = [merge for merge in merges if isinstance(merge, list)] if isinstance(merges, list) else []
    pairs = [pair for pair in pairs if all(isinstance(part, str) for part in pair)]
    return {token for pair in pairs for token in (*pair, "".join(pair))}


def in_order(ids: dict[str, int]) -> list[str]:
    """Return the tokens in the order of their ids, which must be all ids from 0 on."""
    if not all(type(id) is int for id in ids.values()) or sorted(ids.values()) != list(range(len(ids))):
        raise storage.wrong("vocab", f"{len(ids):,} tokens with the ids from 0 on, each once", sorted(map(str, ids)))
    return sorted(ids, key=ids.__getitem__)


def own(ids: dict[str, int], added: list[Fields]) -> dict[str, int]:
    """Return name -> id of the added tokens that no merges make. The others must have their ids in the vocabulary."""
    for token in added:
        if not token["own"] and ids.get(token["content"]) != token["id"]:
            raise storage.wrong("added_tokens", "tokens with the ids that they have in vocab", token["content"])
    return {token["content"]: token["id"] for token in added if token["own"]}


def read_added(tokens: Any, merged: set[str], ascii_only: bool = True) -> tuple[dict[str, int], list[Fields]]:
    """Return name -> id of the special tokens, and the other added tokens as in our file.

    `merged`: tokens that merges make or use. With `ascii_only` their spelling is not that of the text for others.
    """
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
                raise refused(f"its added token {shorten(content)} has {flag}", "no such flag")
        if token.get("special", True):
            special[content] = id
        else:
            added.append({"content": content, "id": id, "normalized": bool(token.get("normalized", True)),
                          "own": content not in merged})  # fmt: skip
        if content in merged and (content in special or (ascii_only and not content.isascii())):
            raise refused(f"its added token {shorten(content)} is also an ordinary token", "another name for it")
    return special, added


def added_tokens(fields: Fields) -> tuple[dict[str, int], list[Fields]]:
    """Return name -> id of the tokens that are not ordinary, and all added_tokens as a tokenizer.json lists them."""
    special, added = fields["special_tokens"], fields.get("added_tokens", ())
    tokens = [{"id": id, "content": name, "normalized": False, "special": True} for name, id in special.items()]
    tokens += [{key: token[key] for key in ("id", "content", "normalized")} | {"special": False} for token in added]
    flags = dict.fromkeys(STRICT, False)
    own = {**special, **{token["content"]: token["id"] for token in added if token["own"]}}
    return own, [{**token, **flags} for token in sorted(tokens, key=lambda token: token["id"])]
