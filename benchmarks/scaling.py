#!/usr/bin/env python3
"""Measure how the time and the memory of a training step grow with the model, one size at a time.

    python benchmarks/scaling.py                     the tables of docs/PERFORMANCE.md
    python benchmarks/scaling.py --large             one row: GPT-2 medium (355M parameters), about 8 GB

Each row is a process of its own. It reports the median time of the steps in a few seconds, the peak memory of the
process, and the activations cached between forward and backward. Let nothing else run meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import common
from benchmarks.cases import CASES, Case
from benchmarks.peers import batch, timed, training
from numpygpt.inspection.tracer import cached_arrays
from numpygpt.nn.modules.module import Module
from numpygpt.utils import cli
from numpygpt.utils.cores import cores

COLUMNS = ("varied", "value", "parameters", "ms per step", "thousand tokens per second", "peak memory",
           "activation memory")
BASE = CASES["char"]
SWEEPS = {  # what is varied, and its values; everything else is as in `char`
    "C": (64, 128, 256, 512), "T": (64, 128, 256, 512, 1024), "L": (2, 4, 8), "V": (65, 1024, 8192, 32768),
    "B": (4, 8, 16, 32), "workers": tuple(range(1, cores() + 2)),
}
GPT2_MEDIUM = Case("gpt2-medium", 2, 256, 1024, 16, 24, 50257, ())


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="measure GPT-2 medium only")
    parser.add_argument("--one", metavar="JSON", help="internal: measure this case in this process")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.one:
        values = json.loads(args.one)
        workers = values.pop("workers")
        print(json.dumps(one(Case(**values), workers)))
        return 0
    if args.large:
        print(row(GPT2_MEDIUM.name, "", GPT2_MEDIUM, cores()))
        return 0
    common.show(common.markdown(COLUMNS))
    for name, values in SWEEPS.items():
        for value in values:
            case = BASE if name == "workers" else replace(BASE, **{name: value})
            print(row(name, str(value), case, value if name == "workers" else cores()), flush=True)
    return 0


def row(name: str, value: str, case: Case, workers: int) -> str:
    """Measure one line of the table in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps({**asdict(case), "workers": workers})]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout)
    speed = case.B * case.T / found["ms"]
    return common.row([name, value, f"{found['params'] / 1e6:.2f}M", f"{found['ms']:,.1f}", f"{speed:.2f}",
                       f"{found['MB']:,.0f} MB", f"{found['cached']:,.0f} MB"])


def one(case: Case, workers: int) -> dict[str, float]:
    """Return the median ms per step, this process's peak memory and cached activations in MB, and parameter count."""
    parallel, step = training(case, workers)
    for _ in range(2):
        step()
    times = timed(step, case.seconds, min_calls=3)
    parallel.loss(*batch(case))
    cached = sum(cached_bytes(replica) for replica in parallel.replicas)
    return {"ms": median(times), "MB": common.peak_memory(), "cached": cached / 1e6,
            "params": parallel.model.n_params()}


def cached_bytes(model: Module) -> int:
    """Count the bytes of all arrays in the modules, without parameters, gradients and constants; shared ones once."""
    found: dict[int, int] = {}
    for _, module in model.named_modules():
        found |= cached_arrays(module)
    return sum(found.values())


if __name__ == "__main__":
    cli.run(main)
