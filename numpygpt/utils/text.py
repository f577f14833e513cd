"""Prompts, names of special tokens, and times in words."""

from __future__ import annotations

from numpygpt.tokenizer import Tokenizer

END_OF_TEXT = "<|endoftext|>"
# Names of special tokens in public data sets and models: those that end a document, and all.
ENDS = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "[EOS]", "[SEP]")
SPECIAL = (*ENDS, "<|startoftext|>", "<|begin_of_text|>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>",
           "<|eot_id|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<start_of_turn>", "<end_of_turn>",
           "[INST]", "[CLS]", "<bos>", "<pad>", "[PAD]")  # fmt: skip


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The ids that a model begins with. The name of a special token, such as <|endoftext|>, is that token: a user typed
    it. An empty prompt is the end of a text before, else a new line, else id 0: a model needs one token to predict the
    next from."""
    if prompt:
        return tokenizer.encode(prompt, allowed_special="all")
    if END_OF_TEXT in tokenizer.special_tokens:
        return [tokenizer.special_tokens[END_OF_TEXT]]
    try:
        return tokenizer.encode("\n")[:1]
    except ValueError:
        return [0]


def duration(seconds: float) -> str:
    """43 s, 5 min 20 s, 2 h 05 min."""
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60:02} s"
    return f"{s // 3600} h {s % 3600 // 60:02} min"
