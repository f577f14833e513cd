#!/usr/bin/env python3
"""Compare the speed and memory of training and decoding with PyTorch, JAX and Hugging Face, or with another checkout.

    python benchmarks/speed.py                       every case
    python benchmarks/speed.py char quick            some of them
    python benchmarks/speed.py --markdown FILE       also write the tables as Markdown
    python benchmarks/speed.py --against TREE        this checkout against the checkout in TREE, numpygpt alone

Each peer is a process of its own, so that its memory can be measured and its threads do not disturb the others. All
peers of a case start and warm up first. Then they take turns of a few seconds, for several rounds, while the others
wait. Let nothing else run meanwhile. Peers that are not installed are reported and skipped: pip install -e ".[bench]".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cases import CASES, OURS, Case, check_names
from benchmarks.common import markdown, measured_on, peak_memory, row, show, write
from benchmarks.peers import MAKERS, missing, timed
from numpygpt.utils import cli
from numpygpt.utils.paths import ROOT

TREE_COLUMNS = ("case", "old", "new", "new / old", "over the rounds", "old peak memory", "new peak memory")
Turns = dict[str, list[dict[str, float]]]  # of each peer: {"ms": per step or token, "MB": peak memory} in each round


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"any of {', '.join(CASES)}; without one, all")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each peer; the median is reported")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables to this file")
    parser.add_argument("--worker", nargs=2, metavar=("CASE", "PEER"), help="internal: run as the process of one peer")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--peers", nargs="+", metavar="PEER", help="compare with these only")
    which.add_argument("--against", type=Path, metavar="TREE", help="compare with another checkout, without peers")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.worker:
        return work(*args.worker)
    check_names(args.cases, CASES)
    cases = [CASES[name] for name in args.cases or CASES]
    if args.against:
        packages, lines = ("numpy",), compare_trees(cases, args.against, args.rounds)
    else:
        packages, lines = ("numpy", "torch", "jax", "transformers"), compare_peers(cases, args.peers, args.rounds)
    if args.markdown:
        write(args.markdown, [measured_on(*packages), "", *lines])
    return 0


def work(case_name: str, peer: str) -> int:
    """Be one peer: warm up, then run for as many seconds as each line of standard input says, and print the result."""
    step = MAKERS[peer][1](CASES[case_name])
    for _ in range(1 if CASES[case_name].decode else 3):
        step()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps({"ms": median(timed(step, float(line))), "MB": peak_memory()}), flush=True)
    return 0


def compare_peers(cases: Iterable[Case], wanted: list[str] | None, rounds: int) -> list[str]:
    """Measure ours and each installed peer, print a row for each, and return both tables."""
    rows: list[str] = []
    for case in cases:
        peers = [peer for peer in case.peers if not wanted or peer in wanted]
        if absent := [peer for peer in peers if missing(peer)]:
            print(f"{case.name}: not installed, skipped: {', '.join(absent)}", flush=True)
        workers = {peer: start(case, peer) for peer in (OURS, *peers) if peer not in absent}
        rows += show(table(case, medians(measure(case, workers, rounds))))
    columns = ("case", "peer", "time", "relative to ours", "peak memory", "memory relative to ours")
    return [*summary(rows), "", *markdown(columns), *rows]


def compare_trees(cases: Iterable[Case], tree: Path, rounds: int) -> list[str]:
    """Measure the checkout in `tree` (old) and this one (new) in turn, print and return a table."""
    if not (tree / "benchmarks" / "speed.py").is_file():
        raise FileNotFoundError(f"{tree} is not a checkout of numpygpt: it has no benchmarks/speed.py")
    lines = show(markdown(TREE_COLUMNS))
    for case in cases:
        turns = measure(case, {"old": start(case, OURS, tree), "new": start(case, OURS)}, rounds)
        if len(turns) < 2:
            raise RuntimeError(f"{case.name} cannot be compared; NUMPYGPT_TRACEBACK=1 shows the error")
        lines += show([tree_row(case, turns)])
    return lines


def tree_row(case: Case, turns: Turns) -> str:
    """One line of the table; a round's ratio is that of two turns next to each other, so that drift cancels."""
    old, new = (medians(turns)[name] for name in ("old", "new"))
    ratios = [b["ms"] / a["ms"] for a, b in zip(turns["old"], turns["new"], strict=True)]
    return row([case.name, f"{old['ms']:.4g} {case.unit}", f"{new['ms']:.4g} {case.unit}", f"{median(ratios):.3f}",
                f"{min(ratios):.3f} to {max(ratios):.3f}", f"{old['MB']:,.0f} MB", f"{new['MB']:,.0f} MB"])


def start(case: Case, peer: str, tree: Path = ROOT) -> subprocess.Popen:
    """Start the process of one peer, with the code of a checkout."""
    errors = None if os.environ.get("NUMPYGPT_TRACEBACK") else subprocess.DEVNULL
    return subprocess.Popen([sys.executable, str(tree / "benchmarks" / "speed.py"), "--worker", case.name, peer],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8")


def answer(worker: subprocess.Popen):
    """Return the next JSON line of a worker, or None if it ended. Libraries may print other lines in between."""
    for line in worker.stdout:
        try:
            return json.loads(line)
        except ValueError:
            continue
    return None


def measure(case: Case, workers: dict[str, subprocess.Popen], rounds: int) -> Turns:
    """Let the workers take turns; a worker that fails to start is reported and skipped."""
    for name, worker in list(workers.items()):
        if not answer(worker):
            print(f"{case.name}: {name} failed to start, skipped", flush=True)
            del workers[name]
    turns: Turns = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            time.sleep(0.3)  # spinning threads of the previous worker come to rest
            worker.stdin.write(f"{case.seconds}\n")
            worker.stdin.flush()
            turns[name].append(answer(worker))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return turns


def medians(turns: Turns) -> dict[str, dict[str, float]]:
    """Return the medians over the rounds: ms per step or token, and peak memory in MB."""
    return {name: {key: median(turn[key] for turn in found) for key in ("ms", "MB")} for name, found in turns.items()}


def table(case: Case, results: dict[str, dict[str, float]]) -> list[str]:
    """Return a row for each peer: time and peak memory, each also relative to ours."""
    ours = results[OURS]
    return [row([case.name, peer, f"{result['ms']:.4g} {case.unit}", f"{result['ms'] / ours['ms']:.2f}",
                 f"{result['MB']:,.0f} MB", f"{result['MB'] / ours['MB']:.2f}"]) for peer, result in results.items()]


def summary(rows: list[str]) -> list[str]:
    """Return the same as one row per case: our time, and the others' time divided by ours (above 1: we are faster)."""
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in rows]
    others = list(dict.fromkeys(peer for _, peer, *_ in cells if peer != OURS))
    lines = []
    for case in dict.fromkeys(case for case, *_ in cells):
        of = {peer: rest for name, peer, *rest in cells if name == case}
        ratios = [f"{of[peer][1]}x" if peer in of else "" for peer in others]
        memory = next((f"{of[peer][3]}x" for peer in ("torch", "huggingface") if peer in of), "")
        lines.append([case, of[OURS][0], *ratios, of[OURS][2], memory])
    return markdown(["case", OURS, *others, f"{OURS} memory", "their memory"], lines)


if __name__ == "__main__":
    cli.run(main)
