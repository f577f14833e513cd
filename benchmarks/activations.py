#!/usr/bin/env python3
"""Would it pay to cache activations in 16 bits on a CPU? Memory, time and gradient error of a training step.

    python benchmarks/activations.py              GPT-2 124M, 4 sequences of 256 tokens
    python benchmarks/activations.py char         another case of benchmarks/cases.py
    python benchmarks/activations.py --markdown FILE

A patched copy of the layers stores the inputs of Linear, the slope of the activation and LayerNorm's Xhat as bfloat16:
the upper 16 bits of a float32, rounded to nearest. Backward shifts them back. Everything else stays in float32. The two
forms take turns in one process; the median of the turns counts, and memory is that of NumPy's arrays. Let nothing else
run meanwhile.
"""

from __future__ import annotations

import sys
import tracemalloc
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.cases import CASES, Case, check_names
from benchmarks.common import markdown, measured_on, seconds, show, write
from benchmarks.peers import batch, training
from numpygpt.nn import GELU, LayerNorm, Linear
from numpygpt.nn.functional import row_slices
from numpygpt.nn.modules.module import Module
from numpygpt.utils import cli

STORED = ((Linear, "X"), (GELU, "slope"), (LayerNorm, "Xhat"))  # layer, what its backward reads


class Packed:
    """An array in 16 bits."""

    def __init__(self, X: np.ndarray):
        self.shape, self.half = X.shape, np.empty(X.size, np.uint16)
        flat = np.ascontiguousarray(X).reshape(-1).view(np.uint32)
        for s in row_slices(len(flat), 1):  # pieces that stay in the cache
            bits = flat[s] >> 16
            bits &= 1
            bits += 0x7FFF
            bits += flat[s]
            bits >>= 16
            self.half[s] = bits

    def unpacked(self) -> np.ndarray:
        bits = np.empty(self.half.size, np.uint32)
        for s in row_slices(len(bits), 1):
            bits[s] = self.half[s]
            bits[s] <<= 16
        return bits.view(np.float32).reshape(self.shape)


@contextmanager
def packed() -> Iterator[None]:
    """A block in which the layers of STORED cache 16 bits."""
    def forward(kind: type[Module], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(self: Module, X: np.ndarray) -> np.ndarray:
            Y = method(self, X)
            vars(self)[name] = Packed(vars(self)[name])
            return Y
        return run

    def backward(kind: type[Module], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(self: Module, dY: np.ndarray) -> np.ndarray:
            vars(self)[name] = vars(self)[name].unpacked()
            dX = method(self, dY)
            del vars(self)[name]
            return dX
        return run

    with ExitStack() as stack:
        for kind, name in STORED:
            stack.enter_context(patch.object(kind, "forward", forward(kind, name, kind.forward)))
            stack.enter_context(patch.object(kind, "backward", backward(kind, name, kind.backward)))
        yield


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="of benchmarks/cases.py; without one, gpt2")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each form")
    parser.add_argument("--markdown", metavar="FILE", help="write the table to this file")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    trained = {name: case for name, case in CASES.items() if not case.decode}
    check_names(args.cases, trained)
    lines = show(markdown(("case", "cached in", "time", "relative", "memory of a step", "relative",
                           "error of the gradient")))
    for name in args.cases or ["gpt2"]:
        lines += show(rows(trained[name], args.rounds))
    if args.markdown:
        write(args.markdown, [measured_on("numpy"), "", *lines])
    return 0


def rows(case: Case, rounds: int) -> list[str]:
    """The lines of one case."""
    parallel, step = training(case)
    with parallel:
        times: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(rounds + 1):
            for half, found in times.items():
                with packed() if half else ExitStack():
                    found.append(seconds(step))
        took = {half: median(found[1:]) for half, found in times.items()}  # the first turn warms up
        grads, peaks = {}, {}
        for half in times:
            with packed() if half else ExitStack():
                peaks[half], grads[half] = memory_and_gradient(parallel, case)
    error = np.linalg.norm(grads[True] - grads[False]) / np.linalg.norm(grads[False])
    return [f"| {case.name} | {'bfloat16' if half else 'float32'} | {1e3 * took[half]:,.0f} ms | "
            f"{took[half] / took[False]:.2f} | {peaks[half] / 1e6:,.0f} MB | {peaks[half] / peaks[False]:.2f} | "
            f"{f'{error:.1e}' if half else '-'} |" for half in times]


def memory_and_gradient(parallel: Any, case: Case) -> tuple[float, np.ndarray]:
    """The largest sum of arrays that a loss and its backward pass make, and the gradient."""
    x, y = batch(case)
    tracemalloc.start()
    try:
        parallel.loss(x, y)
        parallel.backward()
        peak = float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    grads = parallel.model.flat().grads.copy()
    parallel.model.zero_grad()
    return peak, grads


if __name__ == "__main__":
    cli.run(main)
