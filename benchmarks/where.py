#!/usr/bin/env python3
"""Measure where the time of a training step goes: per kind of layer, and the effect of each tuning constant.

    python benchmarks/where.py parts char quick       time per kind of layer, for the shard of one worker
    python benchmarks/where.py ideas                  a step with each value of each tuning constant, in turn
    python benchmarks/where.py ideas long             the constants of one case
    python benchmarks/where.py rates                  speed of matrix products on one thread, in NumPy and in PyTorch
    python benchmarks/where.py batches                time to draw a batch from 1 million and from 300 million tokens

Let nothing else run meanwhile.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cases import CASES, Case, check_names
from benchmarks.common import markdown, row, seconds, show
from benchmarks.peers import missing, timed, training
from numpygpt.data import DataLoader
from numpygpt.nn import causal_attention
from numpygpt.nn.modules import loss
from numpygpt.optim import optimizer
from numpygpt.parallel.threads import blas_threads
from numpygpt.utils import cli
from numpygpt.utils.cores import cores

IDEAS: tuple[tuple[str, ModuleType, str, tuple[int, ...]], ...] = (  # case, module, constant, values (ours is last)
    ("char", causal_attention, "SCORE_ENTRIES", (1, 1 << 30, causal_attention.SCORE_ENTRIES)),
    ("quick", causal_attention, "SCORE_ENTRIES", (1, 1 << 30, causal_attention.SCORE_ENTRIES)),
    ("long", causal_attention, "ROWS", (1024, 32, 128, 256, causal_attention.ROWS)),
    ("long", causal_attention, "KEEP_WEIGHTS", (512, causal_attention.KEEP_WEIGHTS)),
    ("bpe", loss, "LOGIT_ROWS", (1, 2048, loss.LOGIT_ROWS)),
    ("gpt2", loss, "LOGIT_ROWS", (1, loss.LOGIT_ROWS)),
    ("char", optimizer, "CACHE_ENTRIES", (1 << 15, 1 << 26, optimizer.CACHE_ENTRIES)),
)


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("parts", "ideas", "rates", "batches"), help="what to measure, as above")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"any of {', '.join(CASES)}")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    check_names(args.cases, CASES)
    if args.what == "parts":
        for name in args.cases or ["char"]:
            parts(CASES[name])
    elif args.what == "rates":
        rates(CASES["char"])
    elif args.what == "batches":
        show(markdown(["batches", "tokens", "ms per batch", "of a step"]))
        for name in args.cases or ["quick", "char"]:
            batches(CASES[name], (1_000_000, 300_000_000))
    else:
        show(markdown(["case", "setting", "time"]))
        for case, module, constant, values in IDEAS:
            if not args.cases or case in args.cases:
                compare(CASES[case], module, constant, values)
    return 0


def parts(case: Case, steps: int = 30) -> None:
    """Print the ms per step in each kind of layer, without the layers inside it."""
    shard = replace(case, B=max(1, case.B // cores()))
    parallel, step = training(shard, workers=1)
    spent: dict[str, float] = defaultdict(float)
    inside = [0.0]  # a stack: seconds spent in calls that the running call has made

    def watched(name: str, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            inside.append(0.0)
            start = time.perf_counter()
            result = function(*args, **kwargs)
            took = time.perf_counter() - start
            spent[name] += took - inside.pop()
            inside[-1] += took
            return result
        return call

    plain = [(layer, method, vars(layer)[method]) for layer in {type(m): m for _, m in parallel.model.named_modules()}
             for method in ("forward", "backward") if method in vars(layer)]
    for layer, method, function in plain:
        setattr(layer, method, watched(f"{layer.__name__}.{method}", function))
    try:
        with blas_threads(1):
            step()
            spent.clear()
            total = seconds(lambda: [step() for _ in range(steps)])
    finally:
        for layer, method, function in plain:
            setattr(layer, method, function)
    spent["clipping, optimiser step, zero_grad"] = total - sum(spent.values())
    lines = markdown([f"{case.name}, {shard.B} of {case.B} sequences, one thread", "ms per step", "of the step"])
    for name, took in sorted(spent.items(), key=lambda item: -item[1]):
        if took > 0.005 * total:
            lines.append(row([name, f"{1e3 * took / steps:.1f}", f"{took / total:.0%}"]))
    show([*lines, row(["all", f"{1e3 * total / steps:.1f}", ""])])


def batches(case: Case, sizes: tuple[int, ...], turns: int = 1000) -> None:
    """Print the time to draw a batch, in ms and as a fraction of a training step, for texts of several sizes."""
    _, step = training(case, workers=cores())
    step()
    whole_step = median(timed(step, case.seconds))
    for size in sizes:
        loader = DataLoader(np.zeros(size, dtype=np.uint16), case.B, case.T)
        loader.next_batch()  # the first batch of an epoch shuffles its windows
        took = 1e3 / turns * seconds(lambda loader=loader: [loader.next_batch() for _ in range(turns)])
        show([row([case.name, f"{size:,}", f"{took:.4f}", f"{took / whole_step:.3%}"])])


def compare(case: Case, module: ModuleType, constant: str, values: tuple[int, ...], rounds: int = 5) -> None:
    """Print the median ms per step for each value of a constant; the values take turns."""
    ours = getattr(module, constant)
    steps, times = [training(case)[1] for _ in values], [[] for _ in values]
    for _ in range(rounds):
        for value, step, found in zip(values, steps, times, strict=True):
            setattr(module, constant, value)
            step()
            found.extend(timed(step, case.seconds / 3))
    setattr(module, constant, ours)
    for value, found in zip(values, times, strict=True):
        show([row([case.name, f"{constant} = {value:,}", f"{median(found):.1f} {case.unit}"])])


def rates(case: Case, repeats: int = 30) -> None:
    """Print the GFLOP/s of a Linear's products and the GB/s of reading all weights in decoding, on one thread."""
    rng, N, C = np.random.default_rng(0), case.B * case.T // cores(), case.C
    show(markdown(["product, one thread", "NumPy", "PyTorch"]))
    with blas_threads(1):
        for m, n in ((C, 3 * C), (C, C), (C, 4 * C), (4 * C, C)):
            arrays = [rng.standard_normal(shape, dtype=np.float32) for shape in ((N, m), (m, n), (N, n))]
            tensors: list[Any] = []
            if not missing("torch"):
                import torch
                torch.set_num_threads(1)
                tensors = [torch.from_numpy(array) for array in arrays]
            for name, product in (("X W", lambda X, W, dY: X @ W), ("dY W^T", lambda X, W, dY: dY @ W.T),
                                  ("X^T dY", lambda X, W, dY: X.T @ dY)):
                speeds = [2e-9 * N * m * n / typical(product, of, repeats) for of in (arrays, tensors) if of]
                show([row([f"{name}, {m} to {n}", *(f"{speed:.0f} GFLOP/s" for speed in speeds)])])
        weights = [rng.standard_normal(shape, dtype=np.float32)
                   for _ in range(case.L) for shape in ((C, 3 * C), (C, C), (C, 4 * C), (4 * C, C))]
        rows = {m: rng.standard_normal((1, m), dtype=np.float32) for m in (C, 4 * C)}
        took = typical(lambda: [rows[len(W)] @ W for W in weights], [], repeats)
        size = sum(W.nbytes for W in weights)
        speed = f"{1e3 * took:.2f} ms, {size / took / 1e9:.0f} GB/s"
        show([row([f"one row times {size / 1e6:.1f} MB of weights", speed, ""])])


def typical(function: Callable, arguments: list, repeats: int) -> float:
    """Return the median seconds of a call, after one warm-up call."""
    function(*arguments)
    return median(seconds(function, *arguments) for _ in range(repeats))


if __name__ == "__main__":
    cli.run(main)
