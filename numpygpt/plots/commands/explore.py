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
    loaded = load_model(args)
    ids, notes = given_prompt(loaded.tokenizer, args)
    target = None if args.target is None else find_tokens(loaded.tokenizer, [args.target])[0]
    with blas_for(loaded.model):
        found = explore(loaded.model, loaded.tokenizer, ids, target)
    left_out = left_out_of(found["layers"], len(loaded.model.blocks))
    text = page(f"Inside {loaded.name}", found | about(loaded, left_out))
    content = text.encode()
    count = f"{len(ids):,} token{'s' * (len(ids) != 1)}"
    size = f"a page of {count}, {len(content) / 1e6:.2f} MB; open it in a browser"
    out = loaded.place("explore.html")
    return Output(lambda path: write_file(path, content), out, [loaded.line, size, *left_out, *notes])


def left_out_of(layers: list[int], n_layers: int) -> list[str]:
    """Return a sentence on the layers that the page does not show, if there are any."""
    if len(layers) == n_layers:
        return []
    return [f"the page shows {len(layers)} of {n_layers} layers ({', '.join(map(str, layers))}), so that it stays "
            "small: a shorter text has room for more"]


def about(loaded: LoadedModel, left_out: list[str]) -> dict[str, list[str]]:
    """Return the words of the page's head: which model this is, and what the signs of tokens mean."""
    sizes, tokenizer = loaded.model.config, loaded.tokenizer
    trained = []
    if loaded.checkpoint:
        last = loaded.checkpoint.header["last"]
        loss = f", validation loss {last['val_loss']:.3f} nats per token" if last else ""
        trained = [f"trained on {corpus_name(loaded.checkpoint)}{loss}"]
    shared = f" ({sizes.n_kv_heads} of keys and values)" if sizes.n_kv_heads else ""
    return {
        "facts": [
            f"{sizes.n_layers} layers, {sizes.n_heads} heads{shared}, width {sizes.d_model}, context "
            f"{sizes.max_len:,}, {loaded.model.n_params():,} parameters",
            *trained,
            f"{tokenizer.kind} tokenizer with {tokenizer.vocab_size:,} tokens",
            *left_out,
        ],
        "signs": [LEGEND, *LEGENDS[tokenizer.kind]],
    }
