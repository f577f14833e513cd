#!/usr/bin/env python3
"""Turn a text into a data folder for train.py: token ids, a vocabulary, and a record of where they came from.

Without arguments: Tiny Shakespeare, one token per character, in data/shakespeare_char.
"""

from numpygpt import startup

if __name__ == "__main__":
    startup.begin()  # before the other imports: it says in one line what is not installed

import argparse
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

from numpygpt.data import Corpus, Recipe, TokenDataset, load_corpus, prepare, read_corpus, statistics
from numpygpt.data.corpora import CORPORA
from numpygpt.data.recipes import INSTEAD, TOKENIZERS, train_command
from numpygpt.data.split import SPLITS
from numpygpt.data.statistics import inspection
from numpygpt.data.streams import CLEANINGS
from numpygpt.data.vocabulary import GPT2
from numpygpt.tokenizer.prompts import escaped
from numpygpt.utils import console
from numpygpt.utils.arguments import as_typed
from numpygpt.utils.cli import ArgumentParser, clean_stop, run, with_flags
from numpygpt.utils.colour import colours
from numpygpt.utils.paths import ROOT, command
from numpygpt.utils.progress import ProgressBars
from numpygpt.utils.text import suggestion

OPTIONAL = ("input", "separator", "tokenizer_files", "vocab_size", "min_freq", "clean", "workers", "out", "inspect",
            "text")  # fmt: skip
RECIPE = tuple(Recipe.__dataclass_fields__)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    add, text = parser.add_argument, parser.add_mutually_exclusive_group()
    unset = argparse.SUPPRESS  # flags without one fixed default: their help says what happens without them
    # fmt: off
    text.add_argument("--input", nargs="+", action="extend", metavar="FILE", type=as_typed, default=unset,
        help="your own text: files, folders (every file below), patterns such as 'books/**/*.txt', or - for standard "
        "input; each file is a document; if there are several, <|endoftext|> ends each, so that the model learns where "
        "texts start and end")
    text.add_argument("--dataset", choices=CORPORA, default="default",
        help="a text by name, fetched once into a cache folder; default is tinyshakespeare or, if that cannot be "
        "fetched, the plays (shakespeare), or Python's own help texts (pydoc)")
    add("--separator", metavar="TEXT", default=unset,
        help="the text between documents inside a file, such as '<|endoftext|>' in some data sets; it is removed, "
        "together with a line end directly behind it (write --separator=--- if it starts with a dash)")
    add("--encoding", metavar="NAME", default="utf-8",
        help="the encoding of the files of --input, such as utf-16 or cp1252; with a wrong one, letters come out wrong")
    add("--tokenizer", metavar="NAME", type=as_typed, default="char",
        help="char learns fastest on a small text; bpe fits more text into a context; word cannot misspell, but knows "
        "no new word; gpt2, the path of a tokenizer.json (ours or Hugging Face's), or a pretrained model (a folder, a "
        ".gguf file, or a name such as smollm2-135m-instruct) is used as it is and keeps its ids")
    add("--tokenizer-files", type=Path, metavar="DIR", default=unset,
        help="for gpt2: the folder with vocab.bpe and encoder.json as OpenAI published them in "
        "https://openaipublic.blob.core.windows.net/gpt-2/models/124M/ (or Hugging Face's merges.txt and vocab.json, "
        "the same files); they are not part of this project")
    add("--vocab-size", type=int, metavar="N", default=unset,
        help="entries in the vocabulary (default: 6551 for bpe, every word for word); fewer train faster, more make "
        "sequences shorter")
    add("--min-freq", type=int, metavar="N", default=unset,
        help="what occurs less often gets no entry, because it is too rare to be learned (default: 2 for bpe, 1 for "
        "word)")
    add("--lowercase", action="store_true", help="make the text lower case: fewer entries, each seen more often")
    add("--clean", choices=CLEANINGS, default=unset,
        help="alnum keeps letters, digits and single white space: fewer entries, for a first try with a messy text")
    add("--split", choices=SPLITS, default="position",
        help="position holds out the end of the text for validation; document holds out every n-th document, so that "
        "both parts contain all kinds of text")
    add("--val-fraction", type=float, metavar="F", default=0.1,
        help="the fraction held out for validation, to detect overfitting")
    add("--context", type=int, metavar="T", default=128,
        help="the context you will train with; a text too short for it is refused here")
    add("--workers", type=int, metavar="N", default=unset,
        help="processes that count words and encode (default: one per core for a text of 8 MB or more, else one)")
    add("--out", type=Path, metavar="DIR", default=unset,
        help="the folder to write (default: data/CORPUS_TOKENIZER next to this script)")
    add("--force", action="store_true",
        help="replace a data folder that holds other data; without it, the folder is kept for the runs that use it")
    add("--inspect", type=Path, metavar="DIR", default=unset,
        help="make nothing; show a data folder's text, counts, tokens by frequency, and how the text is split into "
        "tokens")
    add("--text", nargs="+", action="extend", metavar="TEXT", default=unset,
        help="with --inspect: show how these texts are split into tokens, instead of the start of the folder's text")
    # fmt: on
    return parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(OPTIONAL)))


def main(argv: list[str] | None = None) -> int:
    config = parse(argv)
    if config.inspect:
        print(inspection(TokenDataset.load(config.inspect), config.text or (), colours(sys.stdout)), end="")
        return 0
    if config.text is not None:
        raise ValueError("--text needs --inspect DIR, the data folder whose tokenizer splits it")
    with clean_stop(), ProgressBars() as bars, corpus_of(config, bars) as corpus:
        bars.close()
        for note in corpus.notes:
            say(f"note: {note}")
        settings = {name: getattr(config, name) for name in RECIPE}
        if start := config.tokenizer if is_model(config.tokenizer) else None:
            from numpygpt.models import pretrained

            settings["tokenizer"] = str(pretrained.find(start, bars))
        recipe = Recipe(**settings)
        dataset = prepare(corpus, config.out or default_folder(config, corpus), recipe, workers=config.workers,
                          force=config.force, say=say, progress=bars, advise=partial(command_with, config))  # fmt: skip
    console.say(statistics(dataset))
    context = None if config.context == Recipe.context else config.context
    if str(dataset.folder.resolve()).isprintable():
        console.say(f"\nnext: {train_command(dataset.folder, context, start)}")
    else:  # a run's config.toml holds the name
        console.say("\nnext: rename the folder, in UTF-8 and without control characters: config.toml stores its name")
    return 0


def say(text: str) -> None:
    console.say(with_flags(text))


def command_with(config: argparse.Namespace, changes: dict[str, Any]) -> str:
    """Return the command that makes the same folder with other settings."""
    settings, defaults, words = {**vars(config), **changes}, vars(parse([])), []
    if config.out or settings["tokenizer"] == config.tokenizer:
        settings["force"] = True  # otherwise the new folder has another name
    for name, value in settings.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif isinstance(value, list):
            words += [flag, *value]
        elif value != defaults[name]:
            words += [f"{flag}={value}"] if str(value).startswith("-") else [flag, value]
    return command("datagen.py", *words)


def corpus_of(config: argparse.Namespace, bars: ProgressBars) -> Corpus:
    if config.separator and (remark := escaped("--separator", config.separator)):
        console.say(f"note: {remark}")
    if config.input:
        return read_corpus(config.input, config.encoding, config.separator)
    for flag, given in (("--separator", config.separator is not None), ("--encoding", config.encoding != "utf-8")):
        if given:
            raise ValueError(f"{flag} needs --input, the files that it describes")
    return load_corpus(config.dataset, progress=bars)


def is_model(name: str) -> bool:
    """Return whether this is a pretrained model, and not a tokenizer of its own."""
    if name in (*TOKENIZERS, GPT2) or (suggestion(name, (*TOKENIZERS, GPT2)) and not Path(name).exists()):
        return False
    from numpygpt.training.base import is_pretrained  # only here: its imports take time

    return is_pretrained(name)


def default_folder(config: argparse.Namespace, corpus: Corpus) -> Path:
    """Return data/CORPUS_TOKENIZER. The default corpus is called shakespeare, unless another text replaced it."""
    path = Path(config.tokenizer)  # for a tokenizer.json, its folder's name says more than its own
    own = path.stem if path.suffix in (".json", ".gguf") else path.resolve().name  # a model's name may have a dot
    tokenizer = path.resolve().parent.name if path.name == "tokenizer.json" else own
    corpus_name = corpus.name
    if not config.input:
        corpus_name = INSTEAD.get(corpus_name, "shakespeare" if config.dataset == "default" else corpus_name)
    return ROOT / "data" / re.sub(r"[^\w.-]+", "_", f"{corpus_name}_{tokenizer}")


if __name__ == "__main__":
    run(main)
