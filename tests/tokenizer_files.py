"""The content of small tokenizer.json files as the files of real models are made."""

from numpygpt.tokenizer.alphabet import byte_alphabet
from numpygpt.tokenizer.pretokenize import PATTERNS

LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}
TEXT = {"Sequence": {"id": "A", "type_id": 0}}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
PREFIXED = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, REPLACE]}
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
LETTERS = [chr(code) for code in byte_alphabet().values()]


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def split(name):
    return {"type": "Split", "pattern": {"Regex": PATTERNS[name]}, "behavior": "Isolated", "invert": False}


SPLITTERS = {
    "gpt2": LEVEL,
    "smollm": sequence(DIGITS, LEVEL),
    "llama3": sequence(split("llama3"), {**LEVEL, "use_regex": False}),
    "qwen2": sequence(split("qwen2"), {**LEVEL, "use_regex": False}),
}


def added(id, content, special=True, normalized=False):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    return {"id": id, "content": content, "special": special, "normalized": normalized, **flags}


def template(before=(), after=()):
    """The post_processor with these tokens, name -> id, around a text."""
    def part(name):
        return {"SpecialToken": {"id": name, "type_id": 0}}

    known = {name: {"id": name, "ids": [id], "tokens": [name]} for name, id in {**dict(before), **dict(after)}.items()}
    single = [*map(part, dict(before)), TEXT, *map(part, dict(after))]
    return {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": known}


def byte_level(pattern="gpt2", merges=("1 2", "a b", "Ġ ab", "Ġ Ġ"), tokens=(), special=("<s>", "</s>"), model=(),
               **parts):  # fmt: skip
    """Byte-level BPE: the bytes, what `merges` make, more tokens, special tokens."""
    vocab = [*LETTERS, *("".join(merge.split(" ")) for merge in merges), *tokens]
    ids = {token: id for id, token in enumerate(vocab)}
    names = [added(len(vocab) + place, name) for place, name in enumerate(special)]
    return {"added_tokens": names, "normalizer": None, "pre_tokenizer": SPLITTERS[pattern], "post_processor": None,
            "decoder": LEVEL, "model": {"type": "BPE", "vocab": ids, "merges": list(merges), **dict(model)},
            **parts}  # fmt: skip


def sentencepiece(merges=("▁ a", "a b", "▁a b", "▁ ▁"), tokens=("▁", "a", "b", "é"), metaspace=None):
    """A vocabulary as Llama 2 has it; `metaspace`: (prepend_scheme, split), else the normalizer adds the prefix."""
    special = ("<unk>", "<s>", "</s>")
    vocab = [*special, *BYTES, *tokens, *("".join(merge.split(" ")) for merge in merges)]
    splitter = metaspace and {"type": "Metaspace", "replacement": "▁", "prepend_scheme": metaspace[0],
                              "split": metaspace[1]}  # fmt: skip
    model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
             "vocab": {token: id for id, token in enumerate(vocab)}, "merges": list(merges)}  # fmt: skip
    return {"added_tokens": [added(id, name) for id, name in enumerate(special)],
            "normalizer": None if metaspace else PREFIXED, "pre_tokenizer": splitter,
            "post_processor": template({"<s>": 1}), "decoder": None, "model": model}  # fmt: skip
