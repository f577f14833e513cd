#!/usr/bin/env python3
"""Where the time of a training step goes: by kind of layer, and what a constant of the layout changes.

    python benchmarks/where.py parts char quick       time by part, for one worker's share of the batch
    python benchmarks/where.py ideas                  the step with and without each idea, in turn
    python benchmarks/where.py ideas long             those of one case
    python benchmarks/where.py rates                  how fast one thread multiplies, in NumPy and in PyTorch
    python benchmarks/where.py batches                what drawing a batch costs, from a million and 300 million tokens

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

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.cases import CASES, Case, check_names  # noqa: E402
from benchmarks.peers import missing, timed, training  # noqa: E402
from numpygpt.data import DataLoader  # noqa: E402
from numpygpt.nn import causal_attention  # noqa: E402
from numpygpt.nn.modules import loss  # noqa: E402
from numpygpt.optim import optimizer  # noqa: E402
from numpygpt.parallel.threads import blas_threads  # noqa: E402
from numpygpt.utils import cli  # noqa: E402
from numpygpt.utils.cores import cores  # noqa: E402

IDEAS: tuple[tuple[str, ModuleType, str, tuple[int, ...]], ...] = (  # case, module, constant, values (the last is ours)
    ("char", causal_attention, "SCORE_ENTRIES", (1, 1 << 30, causal_attention.SCORE_ENTRIES)),
    ("quick", causal_attention, "SCORE_ENTRIES", (1, 1 << 30, causal_attention.SCORE_ENTRIES)),
    ("long", causal_attention, "ROWS", (1024, 32, 64, 256, causal_attention.ROWS)),
    ("long", causal_attention, "KEEP_WEIGHTS", (512, causal_attention.KEEP_WEIGHTS)),
    ("bpe", loss, "LOGIT_ROWS", (1, 2048, loss.LOGIT_ROWS)),
    ("gpt2", loss, "LOGIT_ROWS", (1, loss.LOGIT_ROWS)),
    ("char", optimizer, "CACHE_ENTRIES", (1 << 15, 1 << 26, optimizer.CACHE_ENTRIES)),
)


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("parts", "ideas", "rates", "batches"))
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
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
        print("| batches | tokens | ms a batch | share of a step |\n|---|---|---|---|")
        for name in args.cases or ["quick", "char"]:
            batches(CASES[name], (1_000_000, 300_000_000))
    else:
        for case, module, constant, values in IDEAS:
            if not args.cases or case in args.cases:
                compare(CASES[case], module, constant, values)
    return 0


def parts(case: Case, steps: int = 30) -> None:
    """Milliseconds a step in each kind of layer itself, without the layers inside it."""
    share = replace(case, B=max(1, case.B // cores()))
    parallel, step = training(share, workers=1)
    spent: dict[str, float] = defaultdict(float)
    inside = [0.0]  # seconds that the calls made by the running call have taken

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
            start = time.perf_counter()
            for _ in range(steps):
                step()
            whole = time.perf_counter() - start
    finally:
        for layer, method, function in plain:
            setattr(layer, method, function)
    spent["clipping, update, clearing"] = whole - sum(spent.values())
    print(f"| {case.name}, {share.B} of {case.B} sequences, one thread | ms a step | share |\n|---|---|---|")
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        if seconds > 0.005 * whole:
            print(f"| {name} | {1e3 * seconds / steps:.1f} | {seconds / whole:.0%} |")
    print(f"| all | {1e3 * whole / steps:.1f} | |", flush=True)


def batches(case: Case, sizes: tuple[int, ...], turns: int = 1000) -> None:
    """Milliseconds that a batch takes, and what part of a training step that is, for texts of several sizes."""
    _, step = training(case, workers=cores())
    step()
    whole = median(timed(step, case.seconds))
    for size in sizes:
        loader = DataLoader(np.zeros(size, dtype=np.uint16), case.B, case.T)
        loader.next_batch()  # the first of an epoch puts its windows in order
        start = time.perf_counter()
        for _ in range(turns):
            loader.next_batch()
        took = 1e3 * (time.perf_counter() - start) / turns
        print(f"| {case.name} | {size:,} | {took:.4f} | {took / whole:.3%} |", flush=True)


def compare(case: Case, module: ModuleType, constant: str, values: tuple[int, ...], rounds: int = 5) -> None:
    """Median ms a step for each value of a constant, the values taking turns."""
    ours = getattr(module, constant)
    steps, times = [], [[] for _ in values]
    for value in values:
        setattr(module, constant, value)  # a mask is made with the layer
        steps.append(training(case)[1])
    for _ in range(rounds):
        for value, step, found in zip(values, steps, times, strict=True):
            setattr(module, constant, value)
            step()
            found.extend(timed(step, case.seconds / 3))
    setattr(module, constant, ours)
    for value, found in zip(values, times, strict=True):
        print(f"| {case.name} | {constant} = {value:,} | {median(found):.1f} ms a step |", flush=True)


def rates(case: Case, repeats: int = 30) -> None:
    """GFLOP/s of the products of a Linear on one thread, and GB/s at which decoding reads all weights of the blocks."""
    rng, N, C = np.random.default_rng(0), case.B * case.T // cores(), case.C
    print("| product, one thread | NumPy | PyTorch |\n|---|---|---|")
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
                print(f"| {name}, {m} to {n} | {' | '.join(f'{speed:.0f} GFLOP/s' for speed in speeds)} |", flush=True)
        weights = [rng.standard_normal(shape, dtype=np.float32)
                   for _ in range(case.L) for shape in ((C, 3 * C), (C, C), (C, 4 * C), (4 * C, C))]
        row = {m: rng.standard_normal((1, m), dtype=np.float32) for m in (C, 4 * C)}
        seconds = typical(lambda: [row[len(W)] @ W for W in weights], [], repeats)
        size = sum(W.nbytes for W in weights)
        speed = f"{1e3 * seconds:.2f} ms, {size / seconds / 1e9:.0f} GB/s"
        print(f"| one row by {size / 1e6:.1f} MB of weights | {speed} | |")


def typical(function: Callable, arguments: list, repeats: int) -> float:
    """Median seconds of a call, after one to warm up."""
    function(*arguments)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return median(times)


if __name__ == "__main__":
    cli.run(main)
