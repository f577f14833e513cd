"""One training step with measurements, for `train.py --trace` and `--trace-every`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from numpygpt.inspection.stats import Stats
from numpygpt.inspection.trace import Record, merge, trace
from numpygpt.parallel.group import Group
from numpygpt.utils.signals import signals_wait

if TYPE_CHECKING:
    from numpygpt.training.trainer import Trainer


class TracedStep:
    """The trainer's next step in two halves: the constructor computes the gradients, `apply()` changes the parameters.

    records: those of a `trace`, by name, of every module but the model itself and the loss. backward_order: their names
    in the order of the backward pass. grads, weights: norms of the gradients and of the parameters that learn. Those in
    the records are of `scale` times the loss. After `apply()`, steps: norms of what was added to the parameters, and
    numbers: what `Trainer.update` returns. Both halves together do exactly what `Trainer.update` does.

    All ranks of a group must make one at the same step. The numbers are those of the whole batch, but kept arrays are
    those of the rank's rows; with `sync_every`, ranks train apart, and everything is of the rank's rows.
    """

    def __init__(self, trainer: Trainer, keep: bool | Callable[[str], bool] = False):
        self.trainer = trainer
        self.batches = trainer.next_batches()
        with trace(trainer.parallel, keep) as t:
            self.loss = trainer.gradients(self.batches)
        self.scale = trainer.skipping.scale
        self.records = {record.name: record for record in t if record.output_shape}  # a loss has no shape
        if trainer.parallel.owners.size > 1:
            self.records = of_all(trainer.group, self.records)
            trainer.parallel.collect()
        self.backward_order = [record.name for record in t.backward_order if record.output_shape]
        params, grads = trainer.model.params(), trainer.model.grads()  # frozen parameters have no gradient
        self.grads = {name: norm / self.scale for name, norm in norms(grads).items()}
        self.weights = norms({name: params[name] for name in grads})
        self.steps: dict[str, float] = {}
        self.numbers: dict[str, float] = {}

    def apply(self) -> dict[str, float]:
        """Update the parameters. Raises NotFinite if the loss or a gradient is not finite."""
        flat = self.trainer.model.flat()
        step = flat.params.copy()
        self.numbers = self.trainer.apply(self.batches, self.loss)
        np.subtract(flat.params, step, out=step)
        self.steps = norms(flat.views(step))
        return self.numbers

    def ratio(self, name: str) -> float:
        """How far a parameter moved, relative to its size: |step| / |weights|. NaN if the weights were all 0."""
        return self.steps[name] / self.weights[name] if self.weights[name] else math.nan

    def row(self) -> dict[str, float]:
        """All numbers by name, as in the rows of kind trace in metrics.jsonl."""
        found = {f"grad/{name}": norm for name, norm in self.grads.items()}
        found |= {f"weight/{name}": norm for name, norm in self.weights.items()}
        found |= {f"update/{name}": self.ratio(name) for name in self.steps}
        for name, record in self.records.items():
            if record.output and record.gradient:
                found |= {f"out_std/{name}": record.output.std, f"dout_norm/{name}": record.gradient.norm / self.scale}
        return found


def of_all(group: Group, records: dict[str, Record]) -> dict[str, Record]:
    """The records of all ranks, merged as those of several workers are. Kept arrays stay where they are."""
    found: dict[str, Record] = {}
    for of_rank in group.share({name: replace(record, outputs=[], gradients=[]) for name, record in records.items()}):
        for name, record in of_rank.items():
            found[name] = merge(found[name], record) if name in found else record
    return {name: replace(record, outputs=records[name].outputs, gradients=records[name].gradients)
            if name in records else record for name, record in found.items()}


def norms(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """The Euclidean norm of each array; empty arrays are left out."""
    found = {name: Stats.of(array) for name, array in arrays.items()}
    return {name: stats.norm for name, stats in found.items() if stats}


@contextmanager
def restored(trainer: Trainer) -> Iterator[None]:
    """Afterwards the trainer is exactly as it was, whatever steps it takes inside the block."""
    flat, optimizer, outer = trainer.model.flat(), trainer.optimizer, trainer.outer
    arrays = [flat.params, *trainer.parallel.grads, *(getattr(optimizer, moment) for moment in optimizer.moments)]
    arrays += [outer.anchor, outer.velocity] if outer else []
    copies = [array.copy() for array in arrays]
    generators = trainer.parallel.generators()
    draws = {name: rng.bit_generator.state for name, rng in generators.items()}
    loader, schedule = trainer.loader.state_dict(), trainer.schedule.state_dict()
    counts = trainer.step, trainer.tokens, optimizer.steps
    skipping = trainer.skipping.state_dict()
    same_moments = outer is None or outer.same_moments
    try:
        yield
    finally:
        with signals_wait():
            for array, before in zip(arrays, copies, strict=True):
                array[...] = before
            for name, rng in generators.items():
                rng.bit_generator.state = draws[name]
            trainer.loader.load_state_dict(loader)
            trainer.schedule.load_state_dict(schedule)
            trainer.step, trainer.tokens, optimizer.steps = counts
            if outer:
                outer.same_moments = same_moments
            trainer.skipping.load_state_dict(skipping)
