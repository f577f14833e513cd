"""./plot.py gradients: how gradients and activations go through the depth of a model."""

from __future__ import annotations

import argparse
from argparse import Namespace
from functools import partial

import numpy as np

from numpygpt.data import DataLoader
from numpygpt.inspection.flow import flow
from numpygpt.plots import style
from numpygpt.plots.drawn import Drawn, NewFigure
from numpygpt.plots.glyphs import drawable
from numpygpt.plots.gradients import draw_gradients, size
from numpygpt.plots.source import Source, add_run, given_ids, open_source
from numpygpt.utils import cli

MOST = 256  # sequences: all that the layers keep of them is in memory at once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--text", metavar="FILE", type=cli.name,
        help="take the batch from this text, - for standard input (default: the validation part of the run's data)",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=8, metavar="N",
                        help=f"sequences, at most {MOST}: more are a steadier picture")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draws the places in the text")


def make(args: Namespace, new_figure: NewFigure) -> Drawn:
    if not 1 <= args.batch_size <= MOST:
        raise ValueError(f"--batch-size must be between 1 and {MOST}, got {args.batch_size}")
    if args.seed < 0:
        raise ValueError(f"--seed must be at least 0, got {args.seed}")
    source = open_source(args.run)
    tokens, where, notes = text_of(source, args.text)
    x, y = batch(tokens, source.model.max_len, args.batch_size, args.seed)
    found = flow(source.model, x, y)
    if not found.norms.all():
        raise ValueError("a gradient of this model is 0 everywhere, so there is no norm to draw on a logarithmic axis")
    figure = new_figure(size(len(found.middle)))
    of = f"{len(x):,} x {x.shape[1]:,} tokens of {where}, loss {found.loss:.3f}"
    draw_gradients(figure, found, f"Gradients: {source.name}; {drawable(of)}")
    names = ["embedding", *(f"block {i}" for i in range(len(found.middle)))]
    lines = [f"{name:<10} norm of dL/dX {norm:.3e}" for name, norm in zip(names, found.norms, strict=True)]
    lines = [source.line, *notes, f"{of} nats a token", *lines]
    return Drawn(partial(style.save, figure), source.out("gradients"), lines)


def text_of(source: Source, path: str | None) -> tuple[np.ndarray, str, list[str]]:
    """The ids to take a batch from, whose they are, and notes for the user."""
    if path is not None:
        ids, notes = given_ids(source.tokenizer, path)
        return ids, "standard input" if path == "-" else path, notes
    try:
        return source.dataset().val, "the validation part", []
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{error}; or take the batch from a text of your own with --text FILE") from error


def batch(tokens: np.ndarray, context: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x, y (B, T): windows as long as the context, none of them twice; fewer or a shorter one of a short text."""
    if len(tokens) < 2:
        raise ValueError("the text has a single token, and a loss needs one that follows another: give a longer one")
    loader = DataLoader(tokens, 1, min(context, len(tokens) - 1), seed)
    loader.batch_size = min(size, len(loader.order))
    return loader.next_batch()
