#!/usr/bin/env python3
"""Training steps and decoding against PyTorch, JAX and Hugging Face, in one run and in turn on this machine.

    python benchmarks/speed.py                       every case
    python benchmarks/speed.py char quick            some of them
    python benchmarks/speed.py --markdown FILE       the table as Markdown too

Each peer is a process of its own, so that its memory can be told and no library's threads disturb another's. All of a
case are started and warmed up; then they take turns of a few seconds, several rounds, one at a time while the others
wait. Let nothing else run meanwhile. Peers that are not installed are named and left out: pip install -e ".[bench]".
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.cases import CASES, OURS, Case, check_names  # noqa: E402
from benchmarks.peers import MAKERS, missing, timed  # noqa: E402
from numpygpt.utils import cli  # noqa: E402


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all where none is given")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each peer; the median counts")
    parser.add_argument("--peers", nargs="+", metavar="PEER", help="only these, beside numpygpt")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there, for the documents")
    parser.add_argument("--worker", nargs=2, metavar=("CASE", "PEER"), help="what this script starts for each peer")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.worker:
        return work(*args.worker)
    check_names(args.cases, CASES)
    rows: list[str] = []
    for case in [CASES[name] for name in args.cases or CASES]:
        wanted = [peer for peer in case.peers if not args.peers or peer in args.peers]
        absent = [peer for peer in wanted if missing(peer)]
        if absent:
            print(f"{case.name}: left out, not installed: {', '.join(absent)}", flush=True)
        results = measure(case, [OURS, *(peer for peer in wanted if peer not in absent)], args.rounds)
        for row in table(case, results):
            print(row, flush=True)
            rows.append(row)
    if args.markdown:
        Path(args.markdown).write_text(document(rows), encoding="utf-8", newline="")
    return 0


def work(case_name: str, peer: str) -> int:
    """One peer: warm up, then a turn for each line on standard input: how many seconds, answered with ms a step."""
    step = MAKERS[peer][1](CASES[case_name])
    for _ in range(1 if CASES[case_name].decode else 3):
        step()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps({"ms": median(timed(step, float(line))), "MB": peak_memory()}), flush=True)
    return 0


def peak_memory() -> float:
    """The largest resident size of this process so far, in MB."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(case: Case, peers: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Medians of each peer over the rounds: ms a step, and peak memory in MB."""
    workers = {peer: start(case, peer) for peer in peers}
    for peer, worker in list(workers.items()):
        if not answer(worker):
            print(f"{case.name}: {peer} failed to start, left out", flush=True)
            del workers[peer]
    turns: dict[str, list[dict[str, float]]] = {peer: [] for peer in workers}
    for _ in range(rounds):
        for peer, worker in workers.items():
            time.sleep(0.3)  # threads of the one before that still spin come to rest
            worker.stdin.write(f"{case.seconds}\n")
            worker.stdin.flush()
            turns[peer].append(answer(worker))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return {peer: {key: median(turn[key] for turn in found) for key in ("ms", "MB")} for peer, found in turns.items()}


def start(case: Case, peer: str) -> subprocess.Popen:
    errors = None if os.environ.get("NUMPYGPT_TRACEBACK") else subprocess.DEVNULL
    return subprocess.Popen([sys.executable, __file__, "--worker", case.name, peer], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8")


def answer(worker: subprocess.Popen):
    """The next JSON line of a worker; None when it ended. Libraries may print other things in between."""
    for line in worker.stdout:
        try:
            return json.loads(line)
        except ValueError:
            continue
    return None


def table(case: Case, results: dict[str, dict[str, float]]) -> list[str]:
    """Rows of Markdown: what, who, ms, how many times ours, MB, times ours."""
    ours = results[OURS]
    unit = "token" if case.decode else "step"
    rows = []
    for peer, result in results.items():
        rows.append(f"| {case.name} | {peer} | {result['ms']:.4g} ms a {unit} | {result['ms'] / ours['ms']:.2f} | "
                    f"{result['MB']:,.0f} MB | {result['MB'] / ours['MB']:.2f} |")
    return rows


def summary(rows: list[str]) -> list[str]:
    """The same as one line a case: our time, and every other's time in ours (above 1: we are faster)."""
    cells = [[cell.strip() for cell in row.strip("| ").split("|")] for row in rows]
    others = list(dict.fromkeys(who for _, who, *_ in cells if who != OURS))
    lines = [f"| case | {OURS} | {' | '.join(others)} | {OURS} memory | theirs |",
             "|---|---|" + "---|" * (len(others) + 2)]
    for case in dict.fromkeys(case for case, *_ in cells):
        of = {who: rest for name, who, *rest in cells if name == case}
        ratios = [f"{of[who][1]}x" if who in of else "" for who in others]
        memory = next((f"{of[who][3]}x" for who in ("torch", "huggingface") if who in of), "")
        lines.append(f"| {case} | {of[OURS][0]} | {' | '.join(ratios)} | {of[OURS][2]} | {memory} |")
    return lines


def document(rows: list[str]) -> str:
    head = ["| case | who | time | in ours | peak memory | in ours |", "|---|---|---|---|---|---|"]
    found = [(name, version(name)) for name in ("numpy", "torch", "jax", "transformers")]
    versions = ", ".join(f"{name} {number}" for name, number in found if number)
    where = f"Measured on {processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}."
    return "\n".join([where, "", *summary(rows), "", *head, *rows, ""])


def version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    cli.run(main)
