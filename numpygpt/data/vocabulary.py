"""Where a data folder's tokenizer comes from: trained on the training part, or loaded and used as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.data.counting import Counts, characters
from numpygpt.data.meta import existing_folder
from numpygpt.data.recipes import TOKENIZERS
from numpygpt.data.split import SplitCorpus
from numpygpt.data.streams import END
from numpygpt.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer, load_tokenizer
from numpygpt.tokenizer.bpe import MAX_PIECE
from numpygpt.tokenizer.stream import Special
from numpygpt.tokenizer.word import MAX_WORD, UNKNOWN
from numpygpt.utils.colour import printable
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import suggestion

GPT2 = "gpt2"
TOKENIZER_FILE = "tokenizer.json"  # in a folder
GPT2_FILES = {"vocab.bpe": "merges.txt", "encoder.json": "vocab.json"}  # OpenAI's names, and Hugging Face's
GPT2_SOURCE = ("OpenAI published them in https://openaipublic.blob.core.windows.net/gpt-2/models/124M/, and "
               "https://huggingface.co/openai-community/gpt2 has them as merges.txt and vocab.json")
DEFAULTS = {"char": (None, None), "word": (None, 1), "bpe": (6551, 2)}  # vocab_size (None: no limit), min_freq
MIN_TOKENS = 20  # training tokens per vocabulary entry: with fewer, most embeddings hardly change
MIN_SIZE = 256  # a BPE vocabulary starts with 256 bytes, and a word vocabulary below that is of no use
TRAINED_ONLY = ("tokenizer_files", "vocab_size", "min_freq")  # settings that a char vocabulary does not take

Say = Callable[[str], None]
Advise = Callable[[dict[str, Any]], str]


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer that is used as it is, meta.json's record of where it comes from, and whether a model belongs to it,
    which knows its tokens already."""

    tokenizer: Tokenizer
    origin: dict[str, str]
    of_model: bool = False


def load_by_name(name: str, files: Path | None) -> LoadedTokenizer | None:
    """Return the tokenizer that `name` stands for: gpt2, a file, or a folder such as a model's. Return None if it must
    be trained.

    `files`: the folder with GPT-2's two files as they were published. Raises ValueError if the name is unknown.
    """
    if files is not None and name != GPT2:
        raise ValueError(f'`tokenizer_files` belongs to `tokenizer="{GPT2}"`; {name} takes none')
    if name in TOKENIZERS:
        return None
    if name == GPT2:
        return _gpt2(files)
    path = existing_folder(Path(name).parent) / Path(name).name
    if not name or not path.exists():
        known = (*TOKENIZERS, GPT2)
        raise ValueError(f"there is no tokenizer {name!r}{suggestion(name, known)}: give {', '.join(known)}, or the "
                         "path of a tokenizer.json or of a model's folder")
    tokenizer = load_tokenizer(path)
    whole = path / TOKENIZER_FILE if path.is_dir() else path
    parts = [whole] if whole.is_file() else [path / name for name in GPT2_FILES.values()]
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()
    origin = printable("/".join(path.resolve().parts[-2:]))  # meta.json is UTF-8, and a name may be other bytes
    return LoadedTokenizer(tokenizer, {"from": origin, "from_sha256": digest}, (path / "config.json").is_file())


def _gpt2(folder: Path | None) -> LoadedTokenizer:
    if folder is None:
        raise ValueError(f'`tokenizer="{GPT2}"` needs `tokenizer_files`, the folder with GPT-2\'s files '
                         f"{' and '.join(GPT2_FILES)}; {GPT2_SOURCE}")
    paths = [folder / (other if (folder / other).is_file() and not (folder / name).is_file() else name)
             for name, other in GPT2_FILES.items()]  # fmt: skip
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{display_path(path)} is missing: `tokenizer_files` is the folder with "
                                    f"{' and '.join(GPT2_FILES)}; {GPT2_SOURCE}")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
    return LoadedTokenizer(BPETokenizer.from_gpt2(*paths), {"from": GPT2, "from_sha256": digest})


def vocabulary_settings(kind: str, loaded: LoadedTokenizer | None, given: dict[str, Any]) -> dict[str, Any]:
    """Return what the vocabulary is trained with, defaults filled in. `given`: vocab_size, min_freq and lowercase.

    Raises ValueError for a setting that the tokenizer does not take.
    """
    for name, value in given.items():
        if value and loaded:
            raise ValueError(f"`{name}` does not apply: the vocabulary of {loaded.origin['from']} is used as it is")
        if value and kind == "char" and name != "lowercase":
            raise ValueError(f"a char vocabulary is the text's own characters and takes no `{name}`; "
                             '`tokenizer="bpe"` and `tokenizer="word"` do')
    size, min_freq = (None, None) if loaded else DEFAULTS[kind]
    return {"vocab_size": given["vocab_size"] or size, "min_freq": given["min_freq"] or min_freq,
            "lowercase": given["lowercase"]}  # fmt: skip


def train(
    kind: str, source: SplitCorpus, counts: Counts, settings: dict[str, Any], workers: int, say: Say
) -> Tokenizer:
    """Train the tokenizer on the training part only."""
    special = (END.name,) if counts.several else ()
    if kind == "char":
        return _train_char(counts, special, settings["lowercase"], say)
    size = {name: settings[name] for name in ("vocab_size", "min_freq")}
    text = source.part("train", "counting", counts.several)
    tokenizer: WordTokenizer | BPETokenizer
    if kind == "word":
        tokenizer = WordTokenizer(settings["lowercase"])
        tokenizer.train(text, special_tokens=(UNKNOWN, *special), workers=workers, **size)
    else:
        progress = source.progress
        report = None if progress is None else lambda done, total: progress("learning merges", done, total)
        tokenizer = BPETokenizer(settings["lowercase"])
        tokenizer.train(text, special_tokens=special, progress=report, workers=workers, **size)
    if cut := getattr(tokenizer, "cut", 0):
        say(f"note: stretches of {MAX_PIECE:,} characters and more without white space were cut for training ({cut:,} "
            "of full length)")
    if overlong := getattr(tokenizer, "overlong", 0):
        say(f"note: {overlong:,} words of more than {MAX_WORD:,} characters were left out of the vocabulary")
    if tokenizer.dropped:
        say(f"note: too many different words to count them all: a rare word was dropped {tokenizer.dropped:,} times")
    return tokenizer


def document_end(coder: Tokenizer) -> Special | None:
    """Return the token that ends each document: <|endoftext|>, or the end of a text as the tokenizer's model knows it.
    None if the tokenizer has neither."""
    if END.name in coder.special_tokens:
        return END
    return next((Special(name) for name, id in coder.special_tokens.items() if id == coder.eos_id), None)


def _train_char(counts: Counts, special: tuple[str, ...], lowercase: bool, say: Say) -> CharTokenizer:
    train, val = counts.tallied["train"], counts.tallied["val"]
    unseen = np.where(train == 0, val, 0)
    if places := int(unseen.sum()):
        names = characters(unseen)
        some = " ".join(map(repr, names[:5])) + (" ..." if len(names) > 5 else "")
        many = f"{len(names):,} characters" if len(names) > 1 else "1 character"
        say(f"note: {many} of the validation part {'are' if len(names) > 1 else 'is'} not in the training part "
            f"({some}): {UNKNOWN} is used instead, {places:,} time{'s' * (places > 1)} in total")
    counts.tallied.clear()  # 18 MB
    # Each character once makes the same vocabulary as the text, which need not be read again.
    return CharTokenizer(lowercase).train("".join(characters(train)), (UNKNOWN, *special) if places else special)


def check_vocabulary(coder: Tokenizer, loaded: bool, tokens: dict[str, int], unknown: dict[str, int],
                     asked: int | None, say: Say, advise: Advise | None = None) -> None:  # fmt: skip
    """Report a vocabulary that is smaller than `asked`, that lacks much of the text, or that is too large for it.

    `tokens`, `unknown`: how many each part has. `advise` returns the command that makes the folder with other settings.
    """
    entries, train = coder.vocab_size, tokens["train"]
    if coder.kind == "bpe" and asked and entries < asked:
        say(f"note: no other pair occurs often enough: {entries:,} entries, not {asked:,}")
    if any(unknown.values()) and (coder.kind == "word" or loaded):
        parts = {part: f"{unknown[part]:,} {name} tokens ({unknown[part] / tokens[part]:.1%})"
                 for part, name in (("val", "validation"), ("train", "training"))}  # fmt: skip
        say(f"note: {parts['val']} and {parts['train']} are not in the vocabulary and become {UNKNOWN}")
    if train >= MIN_TOKENS * entries:
        return
    settings = _smaller(coder, loaded, train)
    say(f"warning: {entries:,} vocabulary entries for {train:,} training tokens: {train / entries:.1f} tokens per "
        f"entry. Below {MIN_TOKENS}, most entries are too rare to be learned; use a longer text"
        + (f", or {advise(settings)}" if advise and settings else ""))  # fmt: skip


def _smaller(coder: Tokenizer, loaded: bool, train: int) -> dict[str, Any]:
    """Return the settings of a vocabulary that fits `train` tokens."""
    fitting = train // MIN_TOKENS // 100 * 100
    if fitting <= MIN_SIZE:
        return {} if coder.kind == "char" else {"tokenizer": "char", **dict.fromkeys(TRAINED_ONLY)}
    if loaded or coder.kind == "char":
        return {"tokenizer": "bpe", **dict.fromkeys(TRAINED_ONLY), "vocab_size": fitting}
    return {"vocab_size": fitting}
