"""Prompts of chat models. A template is a program in a file; ours are recognised by their text, and none is run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpygpt.models.pretrained.needed import MAX_JSON_BYTES, read_object
from numpygpt.tokenizer import Tokenizer
from numpygpt.utils.paths import display_path

START, END = "<|im_start|>", "<|im_end|>"
OTHERS = {"<|start_header_id|>": "Llama 3", "[INST]": "Llama 2 or Mistral", "<start_of_turn>": "Gemma",
          "<|user|>": "Zephyr", "<|assistant|>": "Zephyr", "GPT4 Correct": "OpenChat"}  # fmt: skip
MAX_TEMPLATE = 1 << 16  # characters: the time of a search grows with the square of a template that is made for it
LINE = r"(?:\\n|\n)"  # in a template, a line end is escaped or not


@dataclass(frozen=True)
class Chat:
    """ChatML: `<|im_start|>role`, a line end, the text, `<|im_end|>` and a line end, for each message.

    `system` is the message that the template puts first if there is none; None if it puts nothing. `bos`: whether the
    template starts with the token that begins a text.
    """

    system: str | None = None
    bos: bool = False

    @classmethod
    def of(cls, folder: str | os.PathLike[str]) -> Chat:
        """The chat form of a model folder. ValueError if it has no chat template, or one of another form."""
        folder = Path(folder)
        template = template_of(folder)
        if template is not None and len(template) > MAX_TEMPLATE:
            raise ValueError(f"{display_path(folder)} has a chat template of {len(template):,} characters: expected at "
                             f"most {MAX_TEMPLATE:,}")
        if template is None:
            raise ValueError(f"{display_path(folder)} has no chat template: it is not a model for chats; give it the "
                             "beginning of a text")
        if other := next((name for mark, name in OTHERS.items() if mark in template), ""):
            raise ValueError(f"{display_path(folder)} has the chat template of {other}, and only ChatML is supported")
        turn = rf"{re.escape(START)}['\"]?\s*\+?\s*message"  # '<|im_start|>' + message['role'] or message.role
        if not re.search(turn, template) or not re.search(rf"{re.escape(START)}assistant{LINE}", template) \
                or END not in template or re.search(r"\|\s*(trim|upper|lower|replace)\b", template):
            raise ValueError(f"{display_path(folder)} has a chat template of an unknown form, and only ChatML is "
                             "supported")
        found = re.search(rf"{re.escape(START)}system{LINE}([^'\"{{}}]+?){re.escape(END)}", template)
        return cls(found[1].replace("\\n", "\n") if found else None, "bos_token" in template)

    @property
    def stops(self) -> set[str]:
        """The special tokens that end an answer."""
        return {END}

    def ids(self, tokenizer: Tokenizer, text: str, system: str | None = None) -> list[int]:
        """The prompt for an answer to `text`. The text is plain text: it cannot forge a special token."""
        if missing := [name for name in (START, END) if name not in tokenizer.special_tokens]:
            raise ValueError(f"the tokenizer has no special token {', '.join(missing)}, which ChatML needs")
        if self.bos and tokenizer.bos_id is None:
            raise ValueError("the chat template starts with bos_token, and the tokenizer names none")
        system = self.system if system is None else system
        start, end = tokenizer.special_tokens[START], tokenizer.special_tokens[END]
        ids = [tokenizer.bos_id] if self.bos and tokenizer.bos_id is not None else []
        for role, content in (("system", system), ("user", text)):
            if content is not None:
                ids += [start, *tokenizer.encode(f"{role}\n{content}"), end, *tokenizer.encode("\n")]
        return [*ids, start, *tokenizer.encode("assistant\n")]


def template_of(folder: Path) -> str | None:
    """The text of a folder's chat template, or None."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"{display_path(path)} is too large for a chat template")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{display_path(path)} is not UTF-8 ({error})") from error
    found = optional(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):  # several templates with names
        found = next((entry.get("template") for entry in found
                      if isinstance(entry, dict) and entry.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def generation_stops(folder: str | os.PathLike[str], tokenizer: Tokenizer) -> tuple[int, ...]:
    """The ids that end a text, in the order of generation_config.json, config.json and tokenizer_config.json."""
    found: list[Any] = []
    for name in ("generation_config.json", "config.json"):
        ids = optional(Path(folder) / name).get("eos_token_id")
        found += ids if isinstance(ids, list) else [ids]
    token = optional(Path(folder) / "tokenizer_config.json").get("eos_token")
    token = token.get("content") if isinstance(token, dict) else token
    found.append(tokenizer.special_tokens.get(token) if isinstance(token, str) else None)
    valid = [id for id in found if type(id) is int and 0 <= id < tokenizer.vocab_size]
    return tuple(dict.fromkeys(valid))


def optional(path: Path) -> Mapping[str, Any]:
    """The object in a file, or an empty one if the file is missing."""
    return read_object(path) if path.exists() else {}
