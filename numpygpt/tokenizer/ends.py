"""The tokens that begin and end a text in the vocabulary of another program: optional fields of our file.

`bos_id` and `eos_id` are None in a vocabulary that was trained here, and where the other program names none. `add_bos`:
its model expects `bos_id` before every text; `add_eos`: `eos_id` after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpygpt.tokenizer import storage

if TYPE_CHECKING:
    from numpygpt.tokenizer.base import Tokenizer

IDS = ("bos_id", "eos_id")
FLAGS = ("add_bos", "add_eos")
FIELDS = (*IDS, *FLAGS)


def to_fields(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return those of the fields that are set."""
    values = {name: getattr(tokenizer, name) for name in FIELDS}
    return {name: value for name, value in values.items() if value is not None and value is not False}


def from_fields(tokenizer: Tokenizer, fields: dict[str, Any]) -> None:
    """Set what `fields` has. Raises ValueError for an id outside the vocabulary, or a flag without its id."""
    for name, flag in zip(IDS, FLAGS, strict=True):
        id, add = fields.get(name), fields.get(flag, False)
        if id is not None and (type(id) is not int or not 0 <= id < tokenizer.vocab_size):
            raise storage.wrong(name, f"an id below {tokenizer.vocab_size}, the size of the vocabulary", id)
        if not isinstance(add, bool) or (add and id is None):
            raise storage.wrong(flag, f"true or false, and false without {name}", add)
        setattr(tokenizer, name, id)
        setattr(tokenizer, flag, add)
