"""The tokenizer files of a model folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpygpt.models.config import ModelConfig
from numpygpt.tokenizer import Tokenizer, formats
from numpygpt.utils.files import write_whole
from numpygpt.utils.text import shorten

GGUF: Mapping[str, tuple[str, type, Any]] = {  # our argument -> GGUF's name, its type, and what is meant without it
    "model": ("model", str, ""), "pre": ("pre", str, ""), "tokens": ("tokens", list, []),
    "merges": ("merges", list, []), "token_types": ("token_type", list, None), "bos_id": ("bos_token_id", int, None),
    "eos_id": ("eos_token_id", int, None), "add_bos": ("add_bos_token", bool, None),
}  # fmt: skip
ITEMS = {"tokens": str, "merges": str, "token_types": int}  # of the lists


@runtime_checkable
class HuggingFace(Protocol):
    """A tokenizer that can be written as tokenizer.json."""

    def save_huggingface(self, path: str | os.PathLike[str]) -> None: ...


def write_tokenizer(fields: Mapping[str, Any], folder: Path, config: ModelConfig) -> dict[str, int | None]:
    """Write tokenizer.json and tokenizer_config.json from the metadata of a GGUF file; return what config.json says
    about special tokens. ValueError for a tokenizer that is not supported, or does not fit the model."""
    given: dict[str, Any] = {}
    for ours, (name, kind, default) in GGUF.items():
        given[ours] = value = fields.get(f"tokenizer.ggml.{name}", default)
        items = value if isinstance(value, list) else []
        if value is not default and not (type(value) is kind and all(type(item) is ITEMS[ours] for item in items)):
            raise ValueError(f"tokenizer.ggml.{name} is {shorten(value)}, expected {kind.__name__}")
    template = fields.get("tokenizer.chat_template")
    if template is not None and not isinstance(template, str):
        raise ValueError(f"tokenizer.chat_template is {shorten(template)}, expected a text")
    return write_files(Tokenizer.from_dict(formats.from_gguf(**given)), folder, config, template)


def write_files(tokenizer: Tokenizer, folder: Path, config: ModelConfig,
                template: str | None = None) -> dict[str, int | None]:  # fmt: skip
    """Write a tokenizer's two files, with a chat template if there is one; return what config.json says about it."""
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.vocab_size:,} entries, and the model {config.vocab_size:,}: it "
                         "is the tokenizer of another model")
    if not isinstance(tokenizer, HuggingFace):
        raise ValueError(f"a {tokenizer.kind} tokenizer cannot be written for other programs: give none, or a BPE one")
    tokenizer.save_huggingface(folder / "tokenizer.json")
    ids = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id}
    names = {id: name for name, id in tokenizer.special_tokens.items()}
    content = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": config.max_len,
               "clean_up_tokenization_spaces": False}  # fmt: skip
    content |= {f"{kind}_token": names[id] for kind, id in ids.items() if id in names}
    content |= {} if template is None else {"chat_template": template}
    write_whole(folder / "tokenizer_config.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return {f"{kind}_token_id": id for kind, id in ids.items()}
