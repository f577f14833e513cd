#!/usr/bin/env python3
"""What the words behind `<unk>` would cost: as many bits as a model of characters needs for their letters.

    python experiments/spelled.py runs/char runs/word > assets/outputs/spelled.md

A model of words need not say which word it was where its vocabulary ends, so its bits a byte look better than they are.
The validation text is scored by the model of characters, in whole windows like an evaluation, and what it pays for
the letters of the unknown words is added to what the model of words pays for everything else and for `<unk>` itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from experiments.runs import data_of, markdown
from numpygpt.inspection.score import score
from numpygpt.plots.runs import load_run
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.spacing import elements
from numpygpt.tokenizer.word import UNKNOWN
from numpygpt.training.restore import restore
from numpygpt.utils import cli
from numpygpt.utils.units import bits_of

COLUMNS = ("run", "bits a byte", "unknown bytes", "characters in unknown words", "elsewhere", "spelled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("characters", type=Path, help="run folder of a model of characters")
    parser.add_argument("words", type=Path, help="run folder of a model of words on the same text")
    args = parser.parse_args()
    print("\n".join(table(args.characters, args.words)))


def table(characters: Path, words: Path) -> list[str]:
    """A Markdown table with one row. ValueError where `characters` is no run of characters on the text of `words`, or
    `words` has no `<unk>`."""
    model, run = restore(characters)[0], load_run(words)
    data, by_word = map(data_of, (characters, words))
    if data.tokenizer.kind != "char" or data.meta["sha256"] != by_word.meta["sha256"]:
        raise ValueError(f"{characters} is no run of characters on the text of {words}")
    bits = bits_of(score(model, data.val, model.max_len).astype(np.float64))
    unknown = in_unknown_words(data.tokenizer.decode(data.val), by_word.tokenizer)[1:]  # the first is not predicted
    paid = float(run.metrics.eval["bits_per_byte"][run.best()])
    share, inside, outside = unknown.mean(), bits[unknown].mean(), bits[~unknown].mean()
    return markdown(COLUMNS, [[run.name, f"{paid:.3f}", f"{share:.1%}", f"{inside:.2f}", f"{outside:.2f}",
                               f"{paid + share * inside:.3f}"]])


def in_unknown_words(text: str, tokenizer: Tokenizer) -> np.ndarray:
    """(len(text),): whether a character is in a word that `tokenizer` has `<unk>` for. ValueError where it has no
    such token."""
    mark, known, flags = tokenizer.special_tokens.get(UNKNOWN), {}, []
    if mark is None:
        raise ValueError(f"the {tokenizer.kind} tokenizer has no <unk>, so no word is behind it")
    for spaces, word in elements(text):
        if word not in known:
            known[word] = mark not in tokenizer.encode(word)
        flags += [False] * len(spaces) + [not known[word]] * len(word)
    return np.array(flags)


if __name__ == "__main__":
    cli.run(main)
