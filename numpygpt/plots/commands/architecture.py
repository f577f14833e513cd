"""./plot.py architecture: the model as nested boxes, with shapes, parameters and formulas."""

from __future__ import annotations

import argparse
from argparse import Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path

from numpygpt.data.meta import existing_folder, read_meta
from numpygpt.inspection.blueprint import Blueprint, blueprint
from numpygpt.models import GPT
from numpygpt.plots import style
from numpygpt.plots.architecture import WIDTH, draw_architecture, height
from numpygpt.plots.glyphs import drawable
from numpygpt.plots.loaded import add_run, load_model
from numpygpt.plots.output import NewFigure, Output
from numpygpt.training.presets import read_preset
from numpygpt.training.restore import run_config
from numpygpt.utils import cli


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--preset", metavar="NAME", type=cli.name,
                        help="an untrained model with this preset's sizes")
    parser.add_argument(
        "--vocab-size", type=int, metavar="N",
        help="with --preset: vocabulary size (default: that of the preset's data)"
    )
    parser.add_argument("--batch-size", type=int, metavar="N",
                        help="sequences per batch (default: as in training; 1 if pretrained)")


def make(args: Namespace, new_figure: NewFigure) -> Output:
    if args.batch_size is not None and args.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, got {args.batch_size}")
    model, batch_size, name, out = of_preset(args) if args.preset else of_run(args)
    plan = blueprint(model, args.batch_size or batch_size)
    figure = new_figure((WIDTH, height(plan)))
    draw_architecture(figure, plan, f"Architecture: {name}")
    return Output(partial(style.save, figure), out, table(plan))


def of_run(args: Namespace) -> tuple[GPT, int, str, Path]:
    """(model, batch size in training, name, path of the picture)"""
    if args.vocab_size is not None:
        raise ValueError("--vocab-size needs --preset: a trained model has its own vocabulary")
    source = load_model(args)
    batch_size = run_config(source.checkpoint).batch_size if source.checkpoint else 1
    return source.model, batch_size, source.name, source.place("architecture.png")


def of_preset(args: Namespace) -> tuple[GPT, int, str, Path]:
    """The same for a model made for this picture."""
    if args.run is not None or args.pretrained is not None:
        raise ValueError("give a model or a --preset, not both")
    config = read_preset(args.preset)
    vocab_size = args.vocab_size
    if vocab_size is None:
        try:
            vocab_size = read_meta(existing_folder(Path(config.data)))["vocab_size"]
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"{error}; or give the number of tokens with --vocab-size") from error
    model = GPT(replace(config.model, vocab_size=vocab_size))
    return model, config.batch_size, f"preset {drawable(Path(args.preset).stem)}", Path("architecture.png")


def table(plan: Blueprint) -> list[str]:
    total = sum(plan.counts.values())
    rows = {**plan.counts, "all": total}
    wide = len(f"{total:,}")
    lines = [f"  {name:<8} {size:>{wide},}  {size / total:6.1%}" for name, size in rows.items()]
    return ["parameters:", *lines]
