#!/usr/bin/env python3
"""Draw what a run did, and what a trained model looks at.

    ./plot.py                          the newest run's curves, into runs/NAME/curves.png
    ./plot.py runs/a runs/b --x time   two runs in one picture, into runs/compare.png
    ./plot.py attention --prompt "ROMEO:"
    ./plot.py WHAT --help              the flags of one of them
"""

from __future__ import annotations

import numpygpt  # noqa: F401 - first of all: it says in one line what is not installed

# isort: split

import sys
from argparse import Namespace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import matplotlib
from matplotlib.figure import Figure

from numpygpt.plots import style
from numpygpt.utils import cli

WHAT = {
    "curves": "loss, gradients, learning rate and speed of one run or of several (what is drawn if WHAT is left out)",
    "compare": "several runs in bits a byte against steps, tokens and time, and as a table",
    "attention": "what each token attends to, in every layer and head",
    "gradients": "how gradients and activations go through the depth of a model",
    "tokens": "a text coloured by its loss",
    "embeddings": "the token vectors in two dimensions, and nearest neighbours",
    "architecture": "the model as blocks, with shapes and parameters",
    "explore": "a page to click through: attention, predictions and gradients of a text",
}


def parse(argv: list[str] | None = None) -> Namespace:
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = cli.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    chosen = argv[0] if argv and argv[0] in WHAT else "" if argv[:1] in (["-h"], ["--help"]) else "curves"
    if chosen and argv[:1] != [chosen]:
        argv.insert(0, chosen)
    for what, words in WHAT.items():
        command = commands.add_parser(what, help=words, description=words[0].upper() + words[1:] + ".")
        if what == chosen:
            command_of(what).add_arguments(command)
            suffixes = ", ".join(suffixes_of(command_of(what)))
            command.add_argument("--out", metavar="FILE", type=Path, help=f"what to write, ending in one of {suffixes}")
            command.add_argument("--show", action="store_true", help="open a window too, to zoom in")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    command = command_of(args.what)
    if args.out is not None:
        check_out(args.out, suffixes_of(command))
    drawn = command.make(args, window if args.show else style.new_figure)
    out = args.out or drawn.out
    check_out(out, suffixes_of(command))
    drawn.write(out)
    print("\n".join([*drawn.lines, f"wrote {cli.shown(out)}"]))
    if args.show:
        import matplotlib.pyplot as plt

        plt.show()


def command_of(what: str) -> ModuleType:
    """The module that draws it."""
    return import_module(f"numpygpt.plots.commands.{what}")


def suffixes_of(command: ModuleType) -> tuple[str, ...]:
    return getattr(command, "SUFFIXES", style.SUFFIXES)


def check_out(out: Path, suffixes: tuple[str, ...]) -> None:
    """What cannot be written is said before anything is drawn."""
    style.check_suffix(out, suffixes)
    if not out.resolve().parent.is_dir():
        raise FileNotFoundError(f"--out {out}: there is no folder {cli.shown(out.resolve().parent)}; make it first")


def window(size: tuple[float, float]) -> Figure:
    """A figure with a window: only here does pyplot come in, with its global state and its need of a screen."""
    import matplotlib.pyplot as plt

    try:
        figure = plt.figure(figsize=size)
    except ImportError as error:
        raise RuntimeError(f"--show: no window can be opened ({error}); leave --show out") from None
    if matplotlib.get_backend().lower() in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template"):
        raise RuntimeError("--show: no window can be opened here (no screen or no window toolkit); leave --show out")
    style.prepare(figure)
    return figure


if __name__ == "__main__":
    cli.run(main)
