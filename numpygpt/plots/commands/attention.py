"""./plot.py attention: what each token attends to, in every layer and head or in some of them."""

from __future__ import annotations

import argparse
from argparse import Namespace
from functools import partial

from numpygpt.inspection.probe import attention_weights
from numpygpt.plots import style
from numpygpt.plots.attention import draw_attention, layout
from numpygpt.plots.drawn import Drawn, NewFigure
from numpygpt.plots.glyphs import one_line, token_labels
from numpygpt.plots.source import add_prompt, add_run, given_prompt, open_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_prompt(parser, "the text whose tokens look at each other")
    parser.add_argument("--layer", type=int, metavar="N", help="one layer, counted from 0: its heads, larger")
    parser.add_argument("--head", type=int, metavar="N", help="one head, counted from 0: in every layer, or in --layer")


def make(args: Namespace, new_figure: NewFigure) -> Drawn:
    source = open_source(args.run)
    model, tokenizer = source.model, source.tokenizer
    layers = chosen("layer", args.layer, len(model.blocks))
    heads = chosen("head", args.head, model.config.n_heads)
    ids, notes = given_prompt(tokenizer, args)
    if len(ids) > model.max_len:
        notes.append(f"note: the text has {len(ids):,} tokens; drawn are the first {model.max_len:,}, "
                     "all that the model sees at once")  # fmt: skip
        ids = ids[: model.max_len]
    weights = attention_weights(model, ids)
    plan = layout(len(layers), len(heads))
    figure = new_figure(plan.size)
    text = style.shorten_middle(one_line(tokenizer.decode(ids).rstrip("\ufffd")), 50)
    labels = token_labels(tokenizer, ids, most=10)
    draw_attention(figure, weights, labels, layers, heads, f"Attention: {source.name}; “{text}”")
    return Drawn(partial(style.save, figure), source.out("attention"), [source.line, *notes])


def chosen(name: str, given: int | None, count: int) -> list[int]:
    """All of them, or the one that was asked for."""
    if given is None:
        return list(range(count))
    if not 0 <= given < count:
        raise ValueError(f"--{name} {given}: this model's {name}s are 0 to {count - 1}")
    return [given]
