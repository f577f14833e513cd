"""Where a data folder's tokenizer comes from: learned on the training part, or given as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.data.counting import Counts, characters
from numpygpt.data.dataset import at_hand
from numpygpt.data.documents import END
from numpygpt.data.fetch import file_sha256
from numpygpt.data.meta import TOKENIZERS
from numpygpt.data.split import Source
from numpygpt.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer, load_tokenizer
from numpygpt.tokenizer.bpe import LONGEST
from numpygpt.utils.colour import printable
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import suggestion

UNKNOWN = "<unk>"
GPT2 = "gpt2"
GPT2_FILES = {"vocab.bpe": "merges.txt", "encoder.json": "vocab.json"}  # OpenAI's names, and Hugging Face's of the same
GPT2_SOURCE = ("OpenAI published them in https://openaipublic.blob.core.windows.net/gpt-2/models/124M/, and "
               "https://huggingface.co/openai-community/gpt2 has them as merges.txt and vocab.json")
DEFAULTS = {"char": (None, None), "word": (None, 1), "bpe": (6551, 2)}  # vocabulary size (None: no limit), min-freq

Say = Callable[[str], None]


@dataclass(frozen=True)
class Given:
    """A tokenizer that is used as it is, and what meta.json says of where it comes from."""

    tokenizer: Tokenizer
    origin: dict[str, str]


def given_tokenizer(name: str, files: Path | None) -> Given | None:
    """The tokenizer that `name` stands for, gpt2 or a path; None for one that is to be learned. ValueError for none.

    `files`: the folder that has GPT-2's two files as they were published.
    """
    if files is not None and name != GPT2:
        raise ValueError(f"--tokenizer-files belongs to --tokenizer {GPT2}; {name} takes none")
    if name in TOKENIZERS:
        return None
    if name == GPT2:
        return _gpt2(files)
    path = at_hand(Path(name).parent) / Path(name).name
    if not path.is_file():
        known = (*TOKENIZERS, GPT2)
        raise ValueError(f"no tokenizer is called {name!r}{suggestion(name, known)}: there are {', '.join(known)}, and "
                         "the path of a tokenizer.json")
    origin = printable("/".join(path.resolve().parts[-2:]))  # meta.json is UTF-8, and a name may be other bytes
    return Given(load_tokenizer(path), {"from": origin, "from_sha256": file_sha256(path)})


def _gpt2(files: Path | None) -> Given:
    names = " and ".join(GPT2_FILES)
    if files is None:
        raise ValueError(f"--tokenizer {GPT2} needs --tokenizer-files DIR, the folder with the files {names} of "
                         f"GPT-2; {GPT2_SOURCE}")
    paths = [files / (other if (files / other).is_file() and not (files / name).is_file() else name)
             for name, other in GPT2_FILES.items()]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{display_path(path)} is missing: --tokenizer-files names the folder with "
                                    f"{names}; {GPT2_SOURCE}")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
    return Given(BPETokenizer.from_gpt2(*paths), {"from": GPT2, "from_sha256": digest})


def vocabulary_settings(
    kind: str, given: Given | None, vocab_size: int | None, min_freq: int | None, lowercase: bool
) -> dict[str, Any]:
    """What the vocabulary is learned with, the defaults filled in; ValueError for what has no meaning here."""
    if given:
        for flag, value in (("vocab-size", vocab_size), ("min-freq", min_freq), ("lowercase", lowercase or None)):
            if value is not None:
                raise ValueError(f"--{flag} does not apply: the vocabulary of {given.origin['from']} is used as it is")
    elif kind == "char" and (vocab_size is not None or min_freq is not None):
        raise ValueError("a char vocabulary is the text's own characters: it takes no vocabulary size and no min-freq; "
                         "--tokenizer bpe and --tokenizer word do")
    size, least = (None, None) if given else DEFAULTS[kind]
    return {"vocab_size": vocab_size or size, "min_freq": min_freq or least, "lowercase": lowercase}


def learn(kind: str, source: Source, counts: Counts, settings: dict[str, Any], workers: int, say: Say) -> Tokenizer:
    """The tokenizer, trained on the training part only: what validation text has is no business of the vocabulary's."""
    special = (END.name,) if counts.several else ()
    if kind == "char":
        return _characters(counts, special, settings["lowercase"], say)
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
        say(f"note: stretches of {LONGEST:,} characters and more without white space were learned from in parts "
            f"({cut:,} of full length)")
    if overlong := getattr(tokenizer, "overlong", 0):
        say(f"note: {overlong:,} words of more than {LONGEST:,} characters were not learned")
    if tokenizer.dropped:
        say(f"note: too many different words to count them all: {tokenizer.dropped:,} times a rare one had to go")
    return tokenizer


def _characters(counts: Counts, special: tuple[str, ...], lowercase: bool, say: Say) -> CharTokenizer:
    train, val = counts.tallied["train"], counts.tallied["val"]
    unseen = np.where(train == 0, val, 0)
    if places := int(unseen.sum()):
        names = characters(unseen)
        some = " ".join(map(repr, names[:5])) + (" ..." if len(names) > 5 else "")
        say(
            f"note: {UNKNOWN} stands for what only the validation part has: {len(names)} of its characters "
            f"({some}), {places:,} times in all"
        )
    counts.tallied.clear()  # 18 MB
    # Every character once makes the same vocabulary as the text, which need not be read again.
    return CharTokenizer(lowercase).train("".join(characters(train)), (UNKNOWN, *special) if places else special)
