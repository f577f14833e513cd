"""Whether the gradient cases catch each mutant, and the table of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

import numpy as np

from numpygpt.verify import cases as gradient_cases
from numpygpt.verify.check import Comparison
from numpygpt.verify.mutation.equivalent import EQUIVALENT
from numpygpt.verify.mutation.mutants import Mutant, Target, in_place, mutants, targets

WRONG, CRASHED, SAME, SURVIVED = "wrong numbers", "crashed", "equivalent", "survived"
VERDICTS = (WRONG, CRASHED, SAME, SURVIVED)


class Judge:
    """Holds the finite differences of each gradient case, so that a mutant costs a forward and a backward pass."""

    def __init__(self, tolerance: float):
        self.tolerance = tolerance
        self.comparisons: dict[str, list[Comparison]] = {}

    def cases(self, layer: str) -> list[Comparison]:
        if layer not in self.comparisons:
            self.comparisons[layer] = [Comparison(make(), *inputs) for name, _, make, inputs
                                       in gradient_cases.gradient_cases() if name == layer]
        return self.comparisons[layer]

    def verdict(self, mutant: Mutant) -> str:
        """WRONG if a case of the layer finds the numbers wrong, CRASHED if none does but NumPy or Python object."""
        crashed = False
        for comparison in self.cases(mutant.target.layer):
            assert comparison.expected  # by the right function, before the mutant takes its place
            try:
                if not self.passes(comparison, mutant):
                    return WRONG
            except Exception:  # whatever a wrong line may raise: shapes, read-only arrays, None
                crashed = True
        if crashed:
            return CRASHED
        return SAME if key(mutant) in EQUIVALENT else SURVIVED

    def passes(self, comparison: Comparison, mutant: Mutant) -> bool:
        with np.errstate(all="ignore"):
            if mutant.target.forward:
                with in_place(mutant):
                    return comparison.report(self.tolerance, causes=False).ok
            return comparison.report(self.tolerance, partial(in_place, mutant), causes=False).ok


def key(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.target.name, mutant.before, mutant.after


def judged(name: str, tolerance: float) -> Iterator[tuple[Target, list[tuple[Mutant, str]]]]:
    """Each function, and its mutants with their verdicts."""
    judge = Judge(tolerance)
    for target in targets(name):
        yield target, [(mutant, judge.verdict(mutant)) for mutant in mutants(target)]


def table(name: str, tolerance: float) -> int:
    """Print a row for each function, the sums, and every mutant that survived. Returns how many did."""
    names = {target.name for target in targets(name)}
    print(f"{'function':<34} {'mutants':>8}" + "".join(f" {verdict:>14}" for verdict in VERDICTS))
    sums: Counter[str] = Counter()
    survivors, used = [], set()
    for target, found in judged(name, tolerance):
        counts = Counter(verdict for _, verdict in found)
        print(row(target.name, counts), flush=True)
        sums += counts
        survivors += [mutant for mutant, verdict in found if verdict == SURVIVED]
        used |= {key(mutant) for mutant, verdict in found if verdict == SAME}
    print(row("all", sums))
    stale = [entry for entry in EQUIVALENT if entry not in used and entry[0] in names]
    for mutant in survivors:
        print(f"SURVIVED {mutant}")
    for entry in stale:
        print(f"STALE {entry}: no such mutant, or it is caught; take it from numpygpt/verify/mutation/equivalent.py")
    return len(survivors) + len(stale)


def row(name: str, counts: Counter[str]) -> str:
    return f"{name:<34} {counts.total():>8,}" + "".join(f" {counts[verdict]:>14,}" for verdict in VERDICTS)
