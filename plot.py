#!/usr/bin/env python3
"""Draw how a run trained, and what a trained model does.

    ./plot.py                          the curves of the newest run, in runs/NAME/curves.png
    ./plot.py runs/quick --x time      the curves of one run, against training time
    ./plot.py compare runs/a runs/b    two runs in bits per byte and in a table, in runs/compare.png
    ./plot.py attention --prompt "ROMEO:"
    ./plot.py WHAT --help              the flags of one command
"""

from numpygpt import startup

if __name__ == "__main__":
    startup.begin("matplotlib")  # before the other imports: it reports missing packages in one line

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
except ValueError as error:  # an invalid matplotlibrc
    cli.end(2, cli.refusal(f"matplotlib cannot start: {error}"))

from matplotlib.figure import Figure

from numpygpt.plots import style

WHAT = {
    "curves": "loss, gradients, learning rate and speed of a run (the default)",
    "compare": "several runs in bits per byte and in a table",
    "attention": "what each token attends to, in every layer and head",
    "gradients": "gradients and activations through the layers",
    "tokens": "a text, each token coloured by its loss",
    "embeddings": "the token vectors in two dimensions, and nearest neighbours",
    "architecture": "the model's layers, with shapes and parameters",
    "explore": "an HTML page to click through: attention, predictions, gradients",
}


def parse(argv: list[str] | None = None) -> Namespace:
    """Parse the arguments of the command that comes first, or of `curves`. Only its module is imported."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] in (["-h"], ["--help"]):
        overview().parse_args(argv)
    named = argv[:1] != [] and argv[0] in WHAT
    what = argv.pop(0) if named else "curves"
    if not named:
        check_words(argv[:1], argv)  # before argparse complains about its flags
    command = command_of(what)
    words = WHAT[what].removesuffix(" (the default)")
    parser = cli.ArgumentParser(prog=f"{script()} {what}", description=f"{words[0].upper()}{words[1:]}.")
    command.add_arguments(parser)
    suffixes = suffixes_of(command)
    ending = " or ".join(suffixes)
    parser.add_argument("--out", metavar="FILE", type=Path, help=f"the file to write, ending in {ending}")
    if set(suffixes) & set(style.SUFFIXES):
        parser.add_argument("--show", action="store_true", help="also open a window, to zoom in")
    args = parser.parse_args(argv, Namespace(what=what, show=False))
    if not named:
        check_words(map(str, args.runs), argv)
    return args


def script() -> str:
    return Path(sys.argv[0]).name


def overview() -> cli.ArgumentParser:
    """Return the parser of `./plot.py --help`, which lists the commands."""
    commands = [f"  {what:<13} {words}" for what, words in WHAT.items()]
    last = "If a run folder has the name of a command, write ./curves."
    return cli.ArgumentParser(
        usage=f"{script()} [WHAT] ...", description=__doc__,
        epilog="\n".join(["WHAT to draw:", *commands, "", last]),
    )  # fmt: skip


def check_words(words: Iterable[str], argv: list[str]) -> None:
    """Without a command, every argument must be a run. If one is not, but resembles a command, suggest that command."""
    for word in words:
        if word.startswith("-") or Path(word).exists():
            continue
        if word in WHAT:
            first = command("plot.py", word, *(other for other in argv if other != word))
            raise ValueError(f"{word}: no such run folder; a command comes first: {first}")
        if near := suggestion(word, WHAT):
            raise ValueError(f"{word}: not a run folder and not a command{near} (commands: {', '.join(WHAT)})")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    command = command_of(args.what)
    if args.out is not None:
        check_out(args.out, suffixes_of(command))
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc may set fonts, sizes or LaTeX that do not fit these pictures
        output = command.make(args, window if args.show else style.new_figure)
        out = args.out or output.path
        check_out(out, suffixes_of(command))
        output.write(out)
    print("\n".join([*output.lines, f"wrote {display_path(out)}"]))
    if args.show:
        import matplotlib.pyplot as plt

        plt.show()


def command_of(what: str) -> ModuleType:
    """Import the module of a command."""
    return import_module(f"numpygpt.plots.commands.{what}")


def suffixes_of(command: ModuleType) -> tuple[str, ...]:
    return getattr(command, "SUFFIXES", style.SUFFIXES)


def check_out(out: Path, suffixes: tuple[str, ...]) -> None:
    """Raise an error before anything is drawn if the picture cannot be written."""
    style.check_suffix(out, suffixes)
    folder = out.resolve().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"--out {out}: the folder {display_path(folder)} does not exist; make it first")


def window(size: tuple[float, float]) -> Figure:
    """Make a figure with a window. Only this uses pyplot, which has global state and needs a screen."""
    import matplotlib.pyplot as plt

    try:
        if startup.backend:
            matplotlib.use(startup.backend)
        figure = plt.figure(figsize=size)
    except (ImportError, ValueError) as error:
        raise RuntimeError(f"--show: cannot open a window ({error}); leave --show out") from None
    if matplotlib.get_backend().lower() in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template"):
        raise RuntimeError("--show: cannot open a window (no screen or no window toolkit); leave --show out")
    style.prepare(figure)
    return figure


if __name__ == "__main__":
    cli.run(main)
