"""Whether the gradient cases notice each mutant, and the table of the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from numpygpt.verify import cases as gradient_cases
from numpygpt.verify.check import Comparison
from numpygpt.verify.mutation.equivalent import EQUIVALENT, entry
from numpygpt.verify.mutation.mutants import Mutant, in_place, mutants
from numpygpt.verify.mutation.targets import Target, targets

WRONG, CRASHED, SAME, SURVIVED = "wrong numbers", "crashed", "equivalent", "survived"
VERDICTS = (WRONG, CRASHED, SAME, SURVIVED)
OUTPUT = "wrong output"  # a change of the forward pass itself, not of a gradient: not counted


class Judge:
    """Holds the finite differences of each gradient case, so that a mutant costs one forward and backward pass."""

    def __init__(self, tolerance: float):
        self.tolerance = tolerance
        self.comparisons: dict[str, list[tuple[Comparison, Any]]] = {}

    def cases(self, layer: str) -> list[tuple[Comparison, Any]]:
        """(case, correct output) of each case of the layer, with its finite differences."""
        if layer not in self.comparisons:
            found = [Comparison(make(), *inputs) for name, _, make, inputs in gradient_cases.gradient_cases()
                     if name == layer]
            for comparison in found:
                comparison.expected  # noqa: B018 -- computed now, before a mutant is in place
            self.comparisons[layer] = [(comparison, comparison.run()) for comparison in found]
        return self.comparisons[layer]

    def verdict(self, mutant: Mutant) -> str:
        """WRONG if a case of the layer finds wrong numbers; CRASHED if none does, but NumPy or Python raises."""
        crashed = False
        for comparison, output in self.cases(mutant.target.layer):
            try:
                verdict = self.tried(comparison, output, mutant)
            except Exception:  # whatever a wrong line may raise: wrong shapes, read-only arrays, None
                crashed = True
            else:
                if verdict:
                    return verdict
        if crashed:
            return CRASHED
        return SAME if entry(mutant.target.layer, mutant.before, mutant.after) else SURVIVED

    def tried(self, comparison: Comparison, output: Any, mutant: Mutant) -> str:
        """WRONG, OUTPUT, or an empty string if this case does not notice the mutant."""
        with np.errstate(all="ignore"):
            if not mutant.target.forward:
                report = comparison.report(self.tolerance, partial(in_place, mutant), causes=False)
                return "" if report.ok else WRONG
            with in_place(mutant):
                if not right_output(comparison, output):
                    return OUTPUT
                return "" if comparison.report(self.tolerance, causes=False).ok else WRONG


def right_output(comparison: Comparison, output: Any) -> bool:
    """Whether the forward pass, with a mutant in it, still gives the correct output."""
    try:
        return bool(np.allclose(comparison.run(), output, rtol=1e-12, atol=0))
    except Exception:  # as above
        return False


def judged(chosen: Iterable[Target], tolerance: float) -> Iterator[tuple[Target, list[tuple[Mutant, str]]]]:
    """Each function, and its mutants with their verdicts."""
    judge = Judge(tolerance)
    for target in chosen:
        verdicts = [(mutant, judge.verdict(mutant)) for mutant in mutants(target)]
        yield target, [(mutant, verdict) for mutant, verdict in verdicts if verdict != OUTPUT]


def table(name: str, tolerance: float, line: Callable[[str], Any]) -> int:
    """Pass `line` a row for each function, the sums, and every mutant that survived. Returns how many did."""
    chosen = targets(name)
    line(f"{'function':<44} {'mutants':>8}" + "".join(f" {verdict:>14}" for verdict in VERDICTS))
    sums: Counter[str] = Counter()
    survivors, used = [], set()
    for target, found in judged(chosen, tolerance):
        counts = Counter(verdict for _, verdict in found)
        line(row(target.name, counts))
        sums += counts
        survivors += [mutant for mutant, verdict in found if verdict == SURVIVED]
        used |= {entry(target.layer, mutant.before, mutant.after) for mutant, verdict in found if verdict == SAME}
    line(row("all", sums))
    for mutant in survivors:
        line(f"SURVIVED {mutant}")
    unused = [] if name else stale(used)
    for key in unused:
        line(f"STALE {key}: this mutant is noticed or does not exist; remove it from mutation/equivalent.py")
    return len(survivors) + len(unused)


def stale(used: Collection[Any]) -> list[tuple[str, str, str]]:
    """The keys of EQUIVALENT that no mutant of a complete run has used."""
    return [key for key in EQUIVALENT if key not in used]


def row(name: str, counts: Counter[str]) -> str:
    return f"{name:<44} {counts.total():>8,}" + "".join(f" {counts[verdict]:>14,}" for verdict in VERDICTS)
