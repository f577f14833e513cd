"""./plot.py tokens: a text coloured by the loss of each token."""

from __future__ import annotations

import argparse
import math
from argparse import Namespace
from functools import partial
from pathlib import Path

from numpygpt.data.user_text import read_ids
from numpygpt.inspection.score import TextScores, score_text
from numpygpt.plots import style
from numpygpt.plots.drawn import Drawn, NewFigure
from numpygpt.plots.glyphs import drawable
from numpygpt.plots.source import add_run, open_source
from numpygpt.plots.tokens import Page, draw_tokens, lay_out, size
from numpygpt.utils import cli
from numpygpt.utils.paths import display_path
from numpygpt.utils.units import bits_of

LINES, MOST = 28, 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=cli.name, help="the text, - for standard input")
    add_run(parser)
    parser.add_argument(
        "--lines", metavar="N", type=int, default=LINES,
        help=f"how many lines of the text to draw, at most {MOST}; more make a taller picture",
    )  # fmt: skip


def make(args: Namespace, new_figure: NewFigure) -> Drawn:
    if not 1 <= args.lines <= MOST:
        raise ValueError(f"--lines must be between 1 and {MOST}, got {args.lines}")
    if Path(args.file).is_dir():
        raise ValueError(f"{display_path(args.file)} is a folder: the text's file comes first, then the run")
    source = open_source(args.run)
    given = read_ids(source.tokenizer, args.file)
    ids = given.ids
    page = lay_out(source.tokenizer, ids, args.lines)
    n_bytes = given.n_bytes
    if page.count < len(ids):
        n_bytes = len(source.tokenizer.decode(ids[: page.count]).encode("utf-8"))
    with given.noted():
        scored = score_text(source.model, source.tokenizer, given.start, ids[: page.count], n_bytes=n_bytes)
    name = "standard input" if args.file == "-" else style.shorten_middle(Path(args.file).name, 40)
    numbers = in_numbers(scored)
    notes = remarks(page, scored, len(ids))
    figure = new_figure(size(page))
    draw_tokens(figure, page, scored, f"{drawable(name)}: {numbers}", f"Model: {source.name}. {' '.join(notes)}")
    lines = [source.line, *(f"note: {note}" for note in given.notes), f"{name}: {numbers}", *notes]
    return Drawn(partial(style.save, figure), source.out("tokens"), lines)


def in_numbers(scored: TextScores) -> str:
    loss = scored.scores.loss
    return f"mean loss {loss:.3f} nats = {bits_of(loss):.2f} bits a token, {scored.bits_per_byte:.2f} bits a byte"


def remarks(page: Page, scored: TextScores, count: int) -> list[str]:
    """What one should know of the picture, a sentence each."""
    lines = "line" if len(page.lines) == 1 else f"{len(page.lines)} lines"
    words = [f"{count:,} tokens."]
    if page.count < count:
        words = [f"The first {lines}: {page.count:,} of {count:,} tokens; the numbers are theirs."]
    if math.isnan(scored.bits[0]):
        words.append("The first was not predicted.")
    if page.numbered:
        words.append("What the font lacks is shown by its number.")
    return words
