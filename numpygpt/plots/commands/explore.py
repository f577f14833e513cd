"""./plot.py explore: an HTML page to click through what a model does with a text."""

from __future__ import annotations

import argparse
from argparse import Namespace

from numpygpt.inspection.explore import explore
from numpygpt.inspection.vocabulary import find_tokens
from numpygpt.models.generate import blas_for
from numpygpt.plots.explore import page
from numpygpt.plots.loaded import LoadedModel, add_prompt, add_run, given_prompt, load_model
from numpygpt.plots.output import NewFigure, Output, write_file
from numpygpt.tokenizer.display import LEGENDS
from numpygpt.training.restore import corpus_name
from numpygpt.utils.colour import LEGEND

SUFFIXES = (".html",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_prompt(parser, "the text that the model reads")
    parser.add_argument("--target", metavar="TOKEN",
                        help=r"the token that should follow the text, as the page shows it or as '\n': the gradients "
                             "are of its loss (default: the most likely token)")


def make(args: Namespace, new_figure: NewFigure) -> Output:
    loaded = load_model(args.run)
    ids, notes = given_prompt(loaded.tokenizer, args)
    target = None if args.target is None else find_tokens(loaded.tokenizer, [args.target])[0]
    with blas_for(loaded.model):
        found = explore(loaded.model, loaded.tokenizer, ids, target)
    text = page(f"Inside {loaded.name}", found | about(loaded))
    content = text.encode()
    count = f"{len(ids):,} token{'s' * (len(ids) != 1)}"
    size = f"a page of {count}, {len(content) / 1e6:.2f} MB; open it in a browser"
    out = loaded.checkpoint.path.parent / "explore.html"
    return Output(lambda path: write_file(path, content), out, [loaded.line, size, *notes])


def about(loaded: LoadedModel) -> dict[str, list[str]]:
    """Return the words of the page's head: which model this is, and what the signs of tokens mean."""
    header, sizes, tokenizer = loaded.checkpoint.header, loaded.model.config, loaded.tokenizer
    loss = f", validation loss {header['last']['val_loss']:.3f} nats per token" if header["last"] else ""
    return {
        "facts": [
            f"{sizes.n_layers} layers, {sizes.n_heads} heads, width {sizes.d_model}, context "
            f"{sizes.max_len:,}, {loaded.model.n_params():,} parameters",
            f"trained on {corpus_name(loaded.checkpoint)}{loss}",
            f"{tokenizer.kind} tokenizer with {tokenizer.vocab_size:,} tokens",
        ],
        "signs": [LEGEND, *LEGENDS[tokenizer.kind]],
    }
