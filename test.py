#!/usr/bin/env python3
"""Check every gradient, then run the tests.

First, finite differences check every layer in its configurations and whole GPTs: every entry of every parameter and
input, in float64. Then pytest runs the tests, except the slow ones (documents, browser, scripts in processes of their
own, fuzzing, kills): --slow runs these. Name files or folders to run all of their tests and no others. Arguments after
-- go to pytest: ./test.py tests/nn -- -k attention

--mutants checks the check: it makes every arithmetic line of every backward pass wrong, one change at a time, and the
table of gradients must notice. See docs/GRADIENTS.md.
"""

from numpygpt import startup

if __name__ == "__main__":
    startup.begin("matplotlib", "pytest")  # before the other imports: it reports missing packages in one line

import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from functools import partial

from numpygpt.utils import cli
from numpygpt.utils.paths import ROOT, command
from numpygpt.verify import gradcheck
from numpygpt.verify.cases import gradient_cases

TOLERANCE = 1e-6
# Tests run in two processes. These folders are one half of the work, or a little less; the other process runs the rest.
FIRST_HALF = {"not slow": ("plots", "inspection", "tokenizer"), "slow": ("browser", "docs", "scripts")}


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--slow", action="store_true", help="run only the slow tests")
    mode.add_argument("--gradients", action="store_true", help="check the gradients only")
    mode.add_argument("--mutants", nargs="?", const="", metavar="NAME",
                      help="list the changes of the backward passes, or of one layer or module, that the gradient "
                           "check does not notice")
    parser.add_argument("pytest", nargs="*", metavar="tests/...", help="test files or folders; arguments for pytest "
                        "after --")
    words = sys.argv[1:] if argv is None else argv
    end = words.index("--") if "--" in words else len(words)
    if "-k" in words[:end]:
        parser.error(f"arguments for pytest go after --: {command('test.py', '--', *words)}")
    args = parser.parse_args(words[:end])
    for word in args.pytest:
        if not (word and os.path.exists(ROOT / word.split("::")[0])):
            parser.error(f"no test file or folder {word!r}; to choose tests by a word in their names: "
                         f"{command('test.py', '--', '-k', word)}")
    args.pytest += words[end + 1 :]
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.mutants is not None:
        from numpygpt.verify.mutation import verdicts  # here, because the gradient check alone does not need it

        return 1 if verdicts.table(args.mutants, TOLERANCE, partial(print, flush=True)) else 0
    if args.gradients:
        return 1 if table() else 0
    if args.pytest:  # a file, a folder or a word is named: all tests of that name, in one process
        return 1 if table() else pytest(args.pytest).wait()
    return tests("slow" if args.slow else "not slow")


def tests(mark: str) -> int:
    """Run the tests with this mark in two processes. The output of the second one is printed at the end.

    The gradients are checked first, unless only slow tests are wanted. If one is wrong, no test runs.
    """
    folders = [f"tests/{name}" for name in FIRST_HALF[mark]]
    with tempfile.TemporaryFile() as output:
        second = pytest(["-m", mark, *(f"--ignore={folder}" for folder in folders)], output)
        try:
            if mark != "slow" and table():
                return 1
            status = pytest(["-m", mark, *folders]).wait()
            status = second.wait() or status
        finally:
            second.kill()  # no effect if it has ended
            second.wait()
        output.seek(0)
        print(output.read().decode(errors="replace"), end="", flush=True)
    return status


def pytest(arguments: list[str], output=None) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, stdout=output,
                            stderr=subprocess.STDOUT if output else None)


def table() -> int:
    """Print a row for each case and the errors of those that fail. Returns how many failed."""
    print(f"{'layer':<20} {'configuration':<25} {'checked':<24} {'entries':>7} {'largest error':>14}")
    entries = cases = 0
    failed = []
    for layer, configuration, make, inputs in gradient_cases():
        report = gradcheck(make(), *inputs, tolerance=TOLERANCE)
        kinds = [check.kind for check in report.checks]
        n_inputs, n_params = kinds.count("input"), kinds.count("parameter")
        checked = ", ".join(check.name for check in report.checks)
        if len(checked) > 24:
            checked = f"{n_params} parameters" + (f", {n_inputs} input" if n_inputs else "")
        print(f"{layer:<20} {configuration:<25} {checked:<24} {report.entries:>7,} {report.error:>14.1e}  "
              f"{'pass' if report.ok else 'FAIL'}", flush=True)
        entries, cases = entries + report.entries, cases + 1
        if not report.ok:
            failed.append(f"\n{layer}, {configuration}\n{report}")
    print(f"{entries:,} entries in {cases} cases, largest error allowed {TOLERANCE:.0e} (relative): "
          f"{'all pass' if not failed else f'{len(failed)} FAIL'}", flush=True)
    print("\n".join(failed), end="")
    return len(failed)


if __name__ == "__main__":
    cli.run(main)
