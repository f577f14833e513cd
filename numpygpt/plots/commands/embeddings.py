"""./plot.py embeddings: the token vectors in two dimensions, and the nearest neighbours of some of them."""

from __future__ import annotations

import argparse
from argparse import Namespace
from functools import partial

import numpy as np

from numpygpt.data.statistics import token_counts
from numpygpt.inspection.neighbours import nearest, principal_components
from numpygpt.inspection.vocabulary import CLASSES, find_tokens, token_class
from numpygpt.plots import style
from numpygpt.plots.drawn import Drawn, NewFigure
from numpygpt.plots.embeddings import Plane, Row, draw_embeddings, size
from numpygpt.plots.glyphs import token_label, token_labels
from numpygpt.plots.source import Source, add_run, open_source
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import token_cell

MOST = 20  # tokens whose neighbours the table has room for, and neighbours of each


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--neighbours", metavar="TOKEN", nargs="+", action="extend",
        help=r"tokens to list the nearest of, as the picture shows them: ⏎ or '\n' is a new line, ' ' or · a space "
        "(default: the most frequent of each kind)",
    )  # fmt: skip
    parser.add_argument("--nearest", type=int, default=5, metavar="N", help=f"neighbours of each, at most {MOST}")
    parser.add_argument("--tokens", type=int, default=120, metavar="N", help="how many, the most frequent, to draw")


def make(args: Namespace, new_figure: NewFigure) -> Drawn:
    if not 1 <= args.nearest <= MOST:
        raise ValueError(f"--nearest must be between 1 and {MOST}, got {args.nearest}")
    if args.tokens < 3:
        raise ValueError(f"--tokens must be at least 3, got {args.tokens}")
    source = open_source(args.run)
    tokenizer, W = source.tokenizer, source.model.wte.W
    order, by = ranked(source)
    ids = order[: args.tokens]
    classes = [token_class(tokenizer, id) for id in ids]
    wanted = find_tokens(tokenizer, args.neighbours) if args.neighbours else typical(ids, classes)
    if len(wanted) > MOST:
        raise ValueError(f"--neighbours takes at most {MOST} tokens, got {len(wanted)}")
    near = {id: nearest(W, id, args.nearest) for id in wanted}
    rows = [Row(token_label(tokenizer, id), named(tokenizer, *near[id])) for id in wanted]
    plane = Plane(*principal_components(W[ids]), token_labels(tokenizer, ids, most=12), classes)
    figure = new_figure(size(rows))
    of = f"all {len(ids)} tokens" if len(ids) == len(W) else f"{len(ids):,} of {len(W):,} tokens: {by}"
    draw_embeddings(figure, plane, rows, f"Token vectors (wte): {source.name}", of)
    return Drawn(partial(style.save, figure), source.out("embeddings"), [source.line, *table(tokenizer, near)])


def ranked(source: Source) -> tuple[list[int], str]:
    """The ids, the most frequent of the training part first, and in words by what; those that never occur are left out.

    Where the data folder is gone or another, the ids as they are.
    """
    try:
        dataset = source.dataset()
    except (FileNotFoundError, ValueError):
        return list(range(source.tokenizer.vocab_size)), "the lowest ids"
    counts = token_counts(dataset.train, dataset.vocab_size)  # (V,)
    order = np.argsort(-counts, kind="stable")
    return order[: max(3, (counts > 0).sum())].tolist(), "the most frequent"


def typical(ids: list[int], classes: list[str]) -> list[int]:
    """The most frequent of each class; of small letters two."""
    found: list[int] = []
    for kind in CLASSES[:-1]:
        found += [id for id, its in zip(ids, classes, strict=True) if its == kind][: 2 if kind == CLASSES[0] else 1]
    return found


def named(tokenizer: Tokenizer, ids: np.ndarray, cosines: np.ndarray) -> list[tuple[str, float]]:
    return list(zip(token_labels(tokenizer, ids, most=12), cosines.tolist(), strict=True))


def table(tokenizer: Tokenizer, near: dict[int, tuple[np.ndarray, np.ndarray]]) -> list[str]:
    """A line for each token: those nearest to it, and the cosines of their vectors."""
    lines = ["nearest by cosine:"]
    for id, (ids, cosines) in near.items():
        cells = [f"{token_cell(tokenizer, int(other), 12)} {cosine:.2f}"
                 for other, cosine in zip(ids, cosines, strict=True)]  # fmt: skip
        lines.append(f"  {token_cell(tokenizer, id, 12):<12} {'   '.join(cells)}")
    return lines
