#!/usr/bin/env python3
"""Draw what a run did, and what a trained model looks at.

    ./plot.py                          the newest run's curves, into runs/NAME/curves.png
    ./plot.py runs/quick --x time      one run's curves, against its training time
    ./plot.py compare runs/a runs/b    two runs in bits a byte and as a table, into runs/compare.png
    ./plot.py attention --prompt "ROMEO:"
    ./plot.py WHAT --help              what one of them takes
"""

from numpygpt import startup

if __name__ == "__main__":
    startup.begin("matplotlib")  # before the other imports: it says in one line what is not installed

import sys
from argparse import Namespace
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from numpygpt.utils import cli
from numpygpt.utils.paths import command, display_path
from numpygpt.utils.text import suggestion

try:
    import matplotlib
except ValueError as error:  # a matplotlibrc that cannot be read
    cli.refuse(ValueError(f"matplotlib does not start: {error}"))

from matplotlib.figure import Figure

from numpygpt.plots import style

WHAT = {
    "curves": "loss, gradients, learning rate, speed; without WHAT it is this",
    "compare": "runs in bits a byte against steps, tokens and time, and a table",
    "attention": "what each token attends to, in every layer and head",
    "gradients": "gradients and activations through the depth of a model",
    "tokens": "a text coloured by its loss",
    "embeddings": "the token vectors in two dimensions, and nearest neighbours",
    "architecture": "the model as blocks, with shapes and parameters",
    "explore": "a page to click through: attention, predictions, gradients",
}


def parse(argv: list[str] | None = None) -> Namespace:
    """The arguments of the command that comes first, or of `curves` where none does. Only its module is imported."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] in (["-h"], ["--help"]):
        overview().parse_args(argv)
    named = argv[:1] != [] and argv[0] in WHAT
    what = argv.pop(0) if named else "curves"
    if not named:
        check_words(argv[:1], argv)  # before its flags are found to be unknown ones
    command = command_of(what)
    words = WHAT[what].split(";")[0]
    parser = cli.ArgumentParser(prog=f"{script()} {what}", description=f"{words[0].upper()}{words[1:]}.")
    command.add_arguments(parser)
    suffixes = suffixes_of(command)
    parser.add_argument("--out", metavar="FILE", type=Path, help=f"what to write, ending in {' or '.join(suffixes)}")
    if set(suffixes) & set(style.SUFFIXES):
        parser.add_argument("--show", action="store_true", help="open a window too, to zoom in")
    args = parser.parse_args(argv, Namespace(what=what, show=False))
    if not named:
        check_words(map(str, args.runs), argv)
    return args


def script() -> str:
    return Path(sys.argv[0]).name


def overview() -> cli.ArgumentParser:
    """What `./plot.py --help` shows: the commands, a line each."""
    commands = [f"  {what:<13} {words}" for what, words in WHAT.items()]
    last = "A run folder that has the name of a command is written ./curves."
    return cli.ArgumentParser(
        usage=f"{script()} [WHAT] ...", description=__doc__,
        epilog="\n".join(["WHAT, and what it draws:", *commands, "", last]),
    )  # fmt: skip


def check_words(words: Iterable[str], argv: list[str]) -> None:
    """ValueError if one of the `words` of `argv`, which should be runs, is or looks like a command."""
    for word in words:
        if word.startswith("-") or Path(word).exists():
            continue
        if word in WHAT:
            first = command("plot.py", word, *(other for other in argv if other != word))
            raise ValueError(f"{word}: no such run folder; as a command it comes first: {first}")
        if near := suggestion(word, WHAT):
            raise ValueError(f"{word}: no such run folder, and no command{near} (there are {', '.join(WHAT)})")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    command = command_of(args.what)
    if args.out is not None:
        check_out(args.out, suffixes_of(command))
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc may set fonts, sizes or LaTeX that these pictures cannot have
        drawn = command.make(args, window if args.show else style.new_figure)
        out = args.out or drawn.out
        check_out(out, suffixes_of(command))
        drawn.write(out)
    print("\n".join([*drawn.lines, f"wrote {display_path(out)}"]))
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
        raise FileNotFoundError(f"--out {out}: there is no folder {display_path(out.resolve().parent)}; make it first")


def window(size: tuple[float, float]) -> Figure:
    """A figure with a window: only here does pyplot come in, with its global state and its need of a screen."""
    import matplotlib.pyplot as plt

    try:
        if startup.backend:
            matplotlib.use(startup.backend)
        figure = plt.figure(figsize=size)
    except (ImportError, ValueError) as error:
        raise RuntimeError(f"--show: no window can be opened ({error}); leave --show out") from None
    if matplotlib.get_backend().lower() in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template"):
        raise RuntimeError("--show: no window can be opened here (no screen or no window toolkit); leave --show out")
    style.prepare(figure)
    return figure


if __name__ == "__main__":
    cli.run(main)
