"""./plot.py explore: one HTML file to click through what a model does with a text."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path

import numpy as np

from numpygpt.inspection.explore import explore
from numpygpt.inspection.score import read_text
from numpygpt.plots.drawn import Drawn, NewFigure
from numpygpt.plots.explore import page
from numpygpt.plots.source import Source, add_run, encode, open_source
from numpygpt.tokenizer import Tokenizer
from numpygpt.utils.colour import LEGEND, printable
from numpygpt.utils.data.inspect import LEGENDS, token_signs

SUFFIXES = (".html",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", metavar="TEXT", help="the text that the model reads")
    prompt.add_argument("--prompt-file", metavar="FILE", help="read the text from a file, - for standard input")
    parser.add_argument(
        "--target", metavar="TOKEN",
        help="what should follow the text: the gradients of the last position are those of its loss "
        "(default: what the model finds likeliest)",
    )  # fmt: skip


def make(args: Namespace, new_figure: NewFigure) -> Drawn:
    source = open_source(args.run)
    given_as = "--prompt" if args.prompt_file is None else args.prompt_file
    prompt = args.prompt if args.prompt_file is None else read_text(args.prompt_file)
    ids = encode(source.tokenizer, prompt, given_as)
    check_length(ids, source.model.max_len, given_as)
    target = None if args.target is None else target_id(source.tokenizer, args.target)
    text = page(f"Inside {source.name}", explore(source.model, source.tokenizer, ids, target) | about(source))
    lines = [source.line, f"a page of {len(ids):,} tokens, {len(text.encode()) / 1e6:.2f} MB; open it in a browser"]
    if (read := source.tokenizer.decode(ids)) != prompt:
        lines.append(f"note: to this model the text reads {read[:200]!r}")
    return Drawn(lambda path: write(path, text), source.checkpoint.path.parent / "explore.html", lines)


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def check_length(ids: np.ndarray, most: int, given_as: str) -> None:
    """ValueError unless the model sees all of the text at once."""
    if len(ids) > most:
        raise ValueError(f"{given_as} has {len(ids):,} tokens, but this model sees {most:,} at once: "
                         "give a shorter text")
    if not len(ids):
        raise ValueError(f"{given_as} has no token of this model's tokenizer: give another text")


def target_id(tokenizer: Tokenizer, text: str) -> int:
    """The id of --target. ValueError unless it is one token."""
    ids = tokenizer.encode(text)
    if len(ids) != 1:
        parts = " | ".join("".join(token_signs(tokenizer, id)) for id in ids[:8]) + " ..." * (len(ids) > 8)
        raise ValueError(f"--target {text!r} is {len(ids)} tokens of this model{': ' * bool(ids)}{parts}; give one")
    return ids[0]


def about(source: Source) -> dict[str, list[str]]:
    """The words of the page's head: which model this is, and the signs that its tokens are shown in."""
    header, sizes, tokenizer = source.checkpoint.header, source.model.config, source.tokenizer
    loss = f", validation loss {header['last']['val_loss']:.3f} nats a token" if header["last"] else ""
    return {
        "facts": [
            f"{sizes['n_layers']} layers, {sizes['n_heads']} heads, {sizes['d_model']} wide, context "
            f"{sizes['max_len']:,}, {source.model.n_params():,} parameters",
            f"trained on {printable(str(header['data']['corpus']))}{loss}",
            f"{tokenizer.kind} tokenizer with {tokenizer.vocab_size:,} tokens",
        ],
        "signs": [LEGEND, *LEGENDS[tokenizer.kind]],
    }
