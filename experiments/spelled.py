#!/usr/bin/env python3
"""Measure what the words behind `<unk>` would cost: the bits that a model of characters needs for their letters.

    python experiments/spelled.py runs/char runs/word > assets/outputs/spelled.md

A model of words does not have to predict which word an `<unk>` is, so its bits per byte look better than they are.
The model of characters scores the validation text, in full windows as in an evaluation. Its bits for the letters of
unknown words are added to the bits of the model of words, which include those for `<unk>` itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import markdown
from experiments.runs import load_data
from numpygpt.inspection.score import score
from numpygpt.plots.runs import load_run
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.spacing import elements
from numpygpt.tokenizer.word import UNKNOWN
from numpygpt.training.restore import restore
from numpygpt.utils import cli
from numpygpt.utils.units import bits_of

COLUMNS = ("run", "bits per byte", "unknown bytes", "bits per character in unknown words", "elsewhere",
           "bits per byte, spelled out")


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("characters", type=Path, help="run folder of a model of characters")
    parser.add_argument("words", type=Path, help="run folder of a model of words on the same text")
    args = parser.parse_args()
    print("\n".join(table(args.characters, args.words)))


def table(characters: Path, words: Path) -> list[str]:
    """Return a Markdown table with one row.

    Raises ValueError if `characters` is not a run of characters on the text of `words`, or `words` has no `<unk>`.
    """
    model, run = restore(characters)[0], load_run(words)
    data, by_word = map(load_data, (characters, words))
    if data.tokenizer.kind != "char" or data.meta["sha256"] != by_word.meta["sha256"]:
        raise ValueError(f"{characters} is not a run of characters on the same text as {words}")
    bits = bits_of(score(model, data.val, model.max_len).astype(np.float64))
    unknown = in_unknown_words(data.tokenizer.decode(data.val), by_word.tokenizer)[1:]  # nothing predicts the first
    paid = float(run.metrics.eval["bits_per_byte"][run.best()])
    fraction, inside, outside = unknown.mean(), bits[unknown].mean(), bits[~unknown].mean()
    return markdown(COLUMNS, [[run.name, f"{paid:.3f}", f"{fraction:.1%}", f"{inside:.2f}", f"{outside:.2f}",
                               f"{paid + fraction * inside:.3f}"]])


def in_unknown_words(text: str, tokenizer: Tokenizer) -> np.ndarray:
    """Return for each character whether it is in a word that `tokenizer` encodes as `<unk>`: (len(text),).

    Raises ValueError if the tokenizer has no such token.
    """
    mark, known, flags = tokenizer.special_tokens.get(UNKNOWN), {}, []
    if mark is None:
        raise ValueError(f"the {tokenizer.kind} tokenizer has no <unk> token, so it has no unknown words")
    for spaces, word in elements(text):
        if word not in known:
            known[word] = mark not in tokenizer.encode(word)
        flags += [False] * len(spaces) + [not known[word]] * len(word)
    return np.array(flags)


if __name__ == "__main__":
    cli.run(main)
