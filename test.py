#!/usr/bin/env python3
"""Prove the gradients, then run the tests.

First a table: every layer in its configurations, and whole GPTs, against finite differences in float64, every entry of
every parameter and input. Then the pytest suite, or those of its files and folders that are named. Words after -- go
to pytest as they are: ./test.py -- -k attention

With --mutants the check itself is checked: each arithmetic line of each backward pass is made wrong in every way that
is known to happen, and the table must notice. See docs/GRADIENTS.md.
"""

from numpygpt import startup
from numpygpt.utils.paths import ROOT, command

if __name__ == "__main__":
    startup.begin("matplotlib", "pytest")  # before the other imports: it says in one line what is not installed

import os
import subprocess
import sys
from argparse import Namespace

from numpygpt.utils import cli
from numpygpt.verify import gradcheck
from numpygpt.verify.cases import gradient_cases

TOLERANCE = 1e-6


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    alone = parser.add_mutually_exclusive_group()
    alone.add_argument("--gradients", action="store_true", help="the table alone, for a change to one backward")
    alone.add_argument("--mutants", nargs="?", const="", metavar="NAME",
                       help="change every line of the backward passes, or those of one layer or module, in turn, and "
                            "list the changes that the table would not notice")
    parser.add_argument("pytest", nargs="*", help="tests/... to run, or after -- any arguments for pytest")
    words = sys.argv[1:] if argv is None else argv
    end = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:end])
    for word in args.pytest:
        if not (word and os.path.exists(ROOT / word.split("::")[0])):
            parser.error(f"there is no test file or folder {word!r}; for the tests with a word in their names: "
                         f"{command('test.py', '--', '-k', word)}")
    args.pytest += words[end + 1 :]
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.mutants is not None:
        from numpygpt.verify.mutation import verdicts  # here, as the table alone needs none of it

        return 1 if verdicts.table(args.mutants, TOLERANCE) else 0
    wrong = table()
    if args.gradients or wrong:
        return 1 if wrong else 0
    return subprocess.run([sys.executable, "-m", "pytest", *args.pytest], cwd=ROOT).returncode


def table() -> int:
    """Print a row for each case, and what is wrong with those that fail. Returns how many do."""
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
    print(f"{entries:,} entries in {cases} cases; the largest error allowed is {TOLERANCE:.0e} of a tensor's largest "
          f"gradient: {'all pass' if not failed else f'{len(failed)} FAIL'}", flush=True)
    print("\n".join(failed), end="")
    return len(failed)


if __name__ == "__main__":
    cli.run(main)
