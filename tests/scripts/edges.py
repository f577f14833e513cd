"""What every script is asked at the edges of its flags, and how its answer is judged."""

import argparse
import runpy
from unittest.mock import patch

from running import script

from numpygpt.utils.paths import ROOT

TEXT = "To be, or not to be: that is the question.\n" * 40
TINY = ["--n-layers", 1, "--n-heads", 1, "--d-model", 8, "--context", 8, "--batch-size", 2, "--steps", 2, "--warmup", 1,
        "--eval-every", 2, "--sample-tokens", 3, "--lr", "3e-3", "--workers", 1]
OK = ""  # the sentence of a value that is taken

# What the types alone refuse: (value, what the message must contain).
NO_WHOLE = [(value, repr(value)) for value in ("", " ", "nan", "1.5", "1e3", "many")]
NO_WHOLE += [(2**63, "9223372036854775808"), (-(10**400), "0 does"), ("9" * 9999, "9999")]
NO_NUMBER = [(value, repr(value)) for value in ("", " ", "nan", "inf", "-inf", "1e400", "0x1")]
NO_NUMBER += [(10**400, "00'"), ("1e-400", "1e-400")]
NO_NAME = [("", "empty")]

# Names of files as no one has them who means well.
ESCAPE, NEWLINE, LONG, BYTES = "a\x1b[31mb", "a\nb", "x" * 300, "caf\udce9"
ODD_NAMES = [ESCAPE, NEWLINE, LONG, BYTES, " ", "\u202etxt"]


class Caught(Exception):
    pass


def parser_of(name, *words):
    """The argparse parser of a script, as it is when these words are to be parsed."""

    def catch(parser, *arguments):
        raise Caught(parser)

    parse = runpy.run_path(str(ROOT / name))["parse"]
    with patch.object(argparse.ArgumentParser, "parse_args", catch):
        try:
            parse(list(words))
        except Caught as caught:
            return caught.args[0]
    raise AssertionError(f"{name} parses nothing")


def actions(parser):
    """{--flag or positional: its action}, all but --help and --version."""
    return {(action.option_strings or [action.dest])[0]: action for action in parser._actions
            if action.dest not in ("help", "version")}


def given(flag, value):
    """The words of a command line that give the value."""
    return [f"{flag}={value}"] if flag.startswith("-") else [str(value)]


def kind_cases(parser):
    """(flag, value, sentence) of what the type of each flag refuses, and of each choice misspelt."""
    wrong = {int: NO_WHOLE, float: NO_NUMBER}
    for flag, action in actions(parser).items():
        cases = wrong.get(action.type, [])
        if getattr(action.type, "__name__", "") in ("name", "Path"):
            cases = NO_NAME
        if action.choices:
            cases = [("", "invalid choice: ''"), ("x\x1b[2J", r"invalid choice: 'x\x1b[2J'")]
        yield from ((flag, *case) for case in cases)


def files(folder):
    """Every file below the folder, with its content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def judged(name, arguments, sentence, **options):
    """Call the script. Where there is a sentence: status 2, this one line and not a file written; else status 0."""
    before = files(options["cwd"]) if sentence else {}
    done = script(name, *arguments, **options)
    if not sentence:
        assert done.returncode == 0 and "error" not in done.stderr, done.stderr
        return done
    assert done.returncode == 2, done
    last = done.stderr.splitlines()[-1:]
    assert done.stderr.endswith("\n") and last[0].startswith(f"{name}: error: "), done.stderr
    assert sentence in last[0] and done.stderr.count(": error: ") == 1, done.stderr
    assert len(last[0]) < 1000 and last[0].isprintable(), last[0]
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert files(options["cwd"]) == before
    return done


def refused_by_parser(parser, capsys, flag, value, sentence, *needed):
    """The parser alone says it, with the flag's name."""
    try:
        parser.parse_args([*map(str, needed), *given(flag, value)])
    except SystemExit as stop:
        assert stop.code == 2
    else:
        raise AssertionError(f"{flag} takes {value!r}")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said[:-1].isprintable() and len(said) < 1000, said
    shown = flag if flag.startswith("-") else actions(parser)[flag].metavar or flag
    assert f"argument {shown}" in said and sentence in said, said


def table(cases):
    """(flag, value, sentence) of a {flag: [(value, sentence)]}."""
    return [(flag, *case) for flag, found in cases.items() for case in found]
