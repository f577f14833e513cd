"""What the optimisers share: the model's contiguous arrays, walked in pieces that stay in cache."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from numpygpt.nn.flat import cut
from numpygpt.nn.functional import CACHE_ENTRIES
from numpygpt.nn.modules.loading import fitting
from numpygpt.nn.modules.module import Module
from numpygpt.parallel.threads import DataParallel
from numpygpt.utils.checks import integer, number
from numpygpt.utils.signals import signals_wait


class Optimizer:
    """Base: `step()` updates the parameters from the gradients, `zero_grad()` clears these, `lr` can be set.

    `model` is a Module, or a DataParallel, whose threads then share the work. A subclass names its running arrays
    (`moments`) and writes `update(s)` for a slice `s` of the flat arrays.
    """

    moments: tuple[str, ...] = ()

    def __init__(self, model: Module | DataParallel, lr: float):
        self.parallel, self.model = workers_and_module(model, type(self).__name__)
        self.flat, self.steps = self.model.flat(), 0
        self.unfinished = False  # whether a step failed after it had changed some of the parameters
        self.check_dtype()
        self.lr = lr
        self.make_moments()

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        lr = number("lr", lr)
        check("lr", lr, 0 <= lr < math.inf, "at least 0 and finite")
        self.check_rounded("lr", lr, 0)
        self.check_lr(lr)
        self._lr = lr

    def check_lr(self, lr: float) -> None:
        """ValueError if the other hyper-parameters do not go with this learning rate."""

    def check_dtype(self) -> None:
        """ValueError for parameters that cannot be trained: in float16 most updates and gradients round to 0."""
        if self.flat.params.dtype == np.float16:
            raise ValueError("a float16 model cannot be trained: gradients below 6e-8, and updates below 0.05 % of a "
                             "parameter, are lost. Train in float32, with model.astype('float32'), and convert the "
                             "trained model with astype('float16')")

    def check_rounded(self, name: str, value: float, least: float, below: float = math.inf) -> None:
        """ValueError unless `value`, in the parameters' dtype, is at least `least` and below `below`."""
        dtype = self.flat.params.dtype
        with np.errstate(all="ignore"):
            rounded = float(dtype.type(value))
        if not least <= rounded < below:
            raise ValueError(f"{name} {value} is {rounded:.3g} in {dtype}, and must be at least {least:.3g}"
                             + f" and {f'below {below:.3g}' if below < math.inf else 'finite'}"
                             + ": change it, or use model.astype('float64')")

    def make_moments(self) -> None:
        """The running arrays, as long as the flat ones: memory is taken for the entries that are written."""
        for name in self.moments:
            setattr(self, name, np.zeros(self.flat.params.shape, self.flat.params.dtype))

    def update(self, s: slice) -> None:
        raise NotImplementedError

    def step(self) -> None:
        """One update of all parameters. A signal, such as Ctrl-C, waits until the update is complete."""
        self.check_in_place()
        if self.unfinished:
            raise RuntimeError("an earlier step() failed half-way, so some parameters are updated and others are not: "
                               "load the model's and the optimiser's state (load_state_dict), or make both again")
        with signals_wait():
            self.steps += 1
            try:
                share(self.parallel, self.changed, list(self.slices()))
            except BaseException:
                self.steps -= not self.unfinished  # nothing has changed
                raise
            self.unfinished = False

    def changed(self, s: slice) -> None:
        self.unfinished = True
        self.update(s)

    def check_in_place(self) -> None:
        """RuntimeError if the model's arrays are not those that this optimiser was made for."""
        if not self.flat.holds(self.model.named_parameters()):
            raise RuntimeError("the model's parameters were moved (astype, other layers, or another optimiser of a "
                               "larger module) since this optimiser was made: make a new optimiser")

    def slices(self) -> Iterator[slice]:
        """Cache-sized slices of the flat arrays; none crosses from the matrices to the vectors."""
        n = self.flat.n_matrix
        for run in self.flat.runs():
            yield from cut(run.start, min(run.stop, n), CACHE_ENTRIES)
            yield from cut(max(run.start, n), run.stop, CACHE_ENTRIES)

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for run in self.flat.runs():
            self.flat.grads[run].fill(0)

    def __getstate__(self) -> dict[str, Any]:
        """A copy gets the moments by the names of the parameters: its model's arrays may have another order."""
        self.check_in_place()
        moments = {moment: self.flat.views(getattr(self, moment)) for moment in self.moments}
        return {key: value for key, value in vars(self).items() if key not in ("flat", *moments)} | {"_copied": moments}

    def __getattr__(self, name: str) -> Any:
        """The arrays of a copy, which are made when one of them is first needed: by then its model is complete."""
        if "_copied" not in vars(self) or name not in ("flat", *self.moments):
            hint = ": set optimizer.lr for another learning rate" if name == "param_groups" else ""
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}")
        copied = vars(self).pop("_copied")
        self.flat = self.model.flat()
        self.make_moments()
        for moment, arrays in copied.items():
            for key, view in self.flat.views(getattr(self, moment)).items():
                view[...] = arrays[key]
        return getattr(self, name)

    def __copy__(self) -> Self:
        """A deep copy, with a model of its own: two optimisers must not share moments."""
        return copy.deepcopy(self)

    def state_dict(self) -> dict[str, Any]:
        """{"steps": int, moment: {dotted name: array}}: copies."""
        state: dict[str, Any] = {"steps": self.steps}
        for moment in self.moments:
            state[moment] = {k: v.copy() for k, v in self.flat.views(getattr(self, moment)).items()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave. Raises ValueError where it is of another optimiser or another model."""
        if not isinstance(state, Mapping) or set(state) != {"steps", *self.moments}:
            keys = sorted(map(str, state)) if isinstance(state, Mapping) else [f"the type {type(state).__name__}"]
            raise ValueError(f"the state has {', '.join(keys)}, and {type(self).__name__} needs "
                             f"{', '.join(sorted(('steps', *self.moments)))}: it is of another optimiser")
        steps = integer("the state's steps", state["steps"])
        check("the state's steps", steps, steps >= 0, "at least 0")
        params, arrays = self.flat.views(self.flat.params), {}
        for moment in self.moments:  # all are looked at before one is taken over
            try:
                arrays[moment] = fitting(moment, params, state[moment])
            except ValueError as error:
                raise ValueError(f"the state's {moment} does not fit this model's parameters: {error}") from error
            for name, array in arrays[moment].items():
                if not np.isfinite(array).all() or (moment == "v" and (array < 0).any()):
                    raise ValueError(f"the state's {moment} of {name} is not a moment of finite gradients: the "
                                     "training diverged, or the state is damaged")
        for moment in self.moments:
            for name, view in self.flat.views(getattr(self, moment)).items():
                view[...] = arrays[moment][name]
        self.steps, self.unfinished = steps, False


def workers_and_module(model: Any, user: str) -> tuple[DataParallel | None, Module]:
    """(the DataParallel if there is one, the Module), or ValueError for anything else, such as `model.params()`."""
    module = model.model if isinstance(model, DataParallel) else model
    if not isinstance(module, Module):
        raise ValueError(f"{user} needs the model itself, a Module or a DataParallel, not its parameters; it got "
                         f"{type(model).__name__}: write {user}(model, ...)")
    return (model if isinstance(model, DataParallel) else None), module


def share(parallel: DataParallel | None, function: Callable[[slice], Any], slices: list[slice]) -> list[Any]:
    """[function(s) for s in slices], on the workers' threads if there are any. A signal waits until all are done."""
    with signals_wait():
        return parallel.share(function, slices) if parallel else [function(s) for s in slices]


def check(name: str, value: float, right: bool, rule: str) -> float:
    """`value`, or ValueError with the rule that it breaks."""
    if not right:
        raise ValueError(f"{name} must be {rule}, got {value}")
    return value
