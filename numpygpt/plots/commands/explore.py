"""./plot.py explore: one HTML file to click through what a model does with a text."""

from __future__ import annotations

import argparse
from argparse import Namespace

import numpy as np

from numpygpt.inspection.explore import explore
from numpygpt.inspection.vocabulary import find_tokens
from numpygpt.models.generate import blas_for
from numpygpt.plots.drawn import Drawn, NewFigure, write_file
from numpygpt.plots.explore import page
from numpygpt.plots.source import Source, add_prompt, add_run, given_prompt, open_source
from numpygpt.tokenizer.display import LEGENDS
from numpygpt.training.restore import corpus_name
from numpygpt.utils.colour import LEGEND

SUFFIXES = (".html",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_prompt(parser, "the text that the model reads")
    parser.add_argument(
        "--target", metavar="TOKEN",
        help=r"what should follow the text, as the page shows it or as '\n': the gradients of the last position are "
        "those of its loss (default: what the model finds likeliest)",
    )  # fmt: skip


def make(args: Namespace, new_figure: NewFigure) -> Drawn:
    source = open_source(args.run)
    ids, notes = given_prompt(source.tokenizer, args)
    check_length(ids, source.model.max_len)
    target = None if args.target is None else find_tokens(source.tokenizer, [args.target])[0]
    with blas_for(source.model):
        found = explore(source.model, source.tokenizer, ids, target)
    text = page(f"Inside {source.name}", found | about(source))
    content = text.encode()
    count = f"{len(ids):,} token{'s' * (len(ids) != 1)}"
    size = f"a page of {count}, {len(content) / 1e6:.2f} MB; open it in a browser"
    out = source.checkpoint.path.parent / "explore.html"
    return Drawn(lambda path: write_file(path, content), out, [source.line, size, *notes])


def check_length(ids: np.ndarray, most: int) -> None:
    """ValueError unless the model sees all of the text at once."""
    if len(ids) > most:
        raise ValueError(f"the text has {len(ids):,} tokens, but this model sees {most:,} at once: give a shorter one")


def about(source: Source) -> dict[str, list[str]]:
    """The words of the page's head: which model this is, and the signs that its tokens are shown in."""
    header, sizes, tokenizer = source.checkpoint.header, source.model.config, source.tokenizer
    loss = f", validation loss {header['last']['val_loss']:.3f} nats a token" if header["last"] else ""
    return {
        "facts": [
            f"{sizes.n_layers} layers, {sizes.n_heads} heads, {sizes.d_model} wide, context "
            f"{sizes.max_len:,}, {source.model.n_params():,} parameters",
            f"trained on {corpus_name(source.checkpoint)}{loss}",
            f"{tokenizer.kind} tokenizer with {tokenizer.vocab_size:,} tokens",
        ],
        "signs": [LEGEND, *LEGENDS[tokenizer.kind]],
    }
