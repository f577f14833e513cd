#!/usr/bin/env python3
"""How the time and the memory of a training step grow with the model, one size at a time.

    python benchmarks/scaling.py                     the tables of docs/PERFORMANCE.md
    python benchmarks/scaling.py --large             one step of GPT-2 medium (355M parameters), some 8 GB

Each row is a process of its own: median of the steps of a few seconds, peak memory of the process, and what the layers
keep between forward and backward. Let nothing else run meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.cases import CASES, Case  # noqa: E402
from benchmarks.peers import batch, timed, training  # noqa: E402
from benchmarks.speed import peak_memory  # noqa: E402
from numpygpt.inspection.tracer import cached_arrays  # noqa: E402
from numpygpt.nn.modules.module import Module  # noqa: E402
from numpygpt.utils import cli  # noqa: E402
from numpygpt.utils.cores import cores  # noqa: E402

BASE = CASES["char"]
SWEEPS = {  # what changes, and to what; the rest is `char`
    "C": (64, 128, 256, 512), "T": (64, 128, 256, 512, 1024), "L": (2, 4, 8), "V": (65, 1024, 8192, 32768),
    "B": (4, 8, 16, 32), "workers": tuple(range(1, cores() + 2)),
}
LARGE = Case("gpt2-medium", 2, 256, 1024, 16, 24, 50257, ())


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="GPT-2 medium alone")
    parser.add_argument("--one", help="what this script starts for each row: a case as JSON")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.one:
        values = json.loads(args.one)
        workers = values.pop("workers")
        print(json.dumps(one(Case(**values), workers)))
        return 0
    if args.large:
        print(row("gpt2-medium", "", LARGE, cores()))
        return 0
    print("| | | parameters | ms a step | thousand tokens a second | peak memory | kept for backward |")
    print("|---|---|---|---|---|---|---|")
    for name, values in SWEEPS.items():
        for value in values:
            case = BASE if name == "workers" else replace(BASE, **{name: value})
            print(row(name, str(value), case, value if name == "workers" else cores()), flush=True)
    return 0


def row(name: str, value: str, case: Case, workers: int) -> str:
    """One line of the table, measured in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps({**asdict(case), "workers": workers})]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout)
    rate = case.B * case.T / found["ms"]
    return (f"| {name} | {value} | {found['params'] / 1e6:.2f}M | {found['ms']:,.1f} | {rate:.2f} | "
            f"{found['MB']:,.0f} MB | {found['kept']:,.0f} MB |")


def one(case: Case, workers: int) -> dict[str, float]:
    """Median ms a step, peak MB of this process, MB that the layers keep, number of parameters."""
    parallel, step = training(case, workers)
    for _ in range(2):
        step()
    times = timed(step, case.seconds, least=3)
    parallel.loss(*batch(case))
    kept = sum(cached(replica) for replica in parallel.replicas)
    return {"ms": median(times), "MB": peak_memory(), "kept": kept / 1e6, "params": parallel.model.n_params()}


def cached(model: Module) -> int:
    """Bytes of the arrays that the modules hold beside parameters, gradients and constants; shared ones once."""
    found: dict[int, int] = {}
    for _, module in model.named_modules():
        found |= cached_arrays(module)
    return sum(found.values())


if __name__ == "__main__":
    cli.run(main)
