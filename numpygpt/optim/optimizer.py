"""What the optimisers share: parameter groups, moments, and updates in slices that fit the cache."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from numpygpt.nn.backend import entries, to_host, write
from numpygpt.nn.flat import cut
from numpygpt.nn.functional import CACHE_ENTRIES
from numpygpt.nn.modules.loading import fitting
from numpygpt.optim.groups import Group, Params, check, grouped
from numpygpt.utils.checks import integer, number
from numpygpt.utils.signals import signals_wait

MapSlices = Callable[[Callable[[Any], Any], list[Any]], list[Any]]  # (function, slices) -> the results, in order


def one_thread(function: Callable[[Any], Any], slices: list[Any]) -> list[Any]:
    """[function(s) for s in slices]. `DataParallel.map_slices` does the same with several threads."""
    return [function(s) for s in slices]


class Optimizer:
    """Base: `step()` updates the parameters from the gradients, `zero_grad()` clears these, `lr` can be set.

    `params` is a Module, a list of modules, or a list of groups such as `{"params": model.wte, "lr": 1e-4}`: see
    `groups.grouped`. Setting `lr`, as schedules do, changes the learning rates of all groups in proportion. Frozen
    parameters are left out. A subclass names its running arrays (`moments`) and the hyper-parameters that a group may
    have (`group_keys`), and writes `update(s, group)` for a slice `s` of the flat arrays.
    """

    moments: tuple[str, ...] = ()
    group_keys: ClassVar[tuple[str, ...]] = ("lr",)
    weight_decay: float = 0.0

    def __init__(self, params: Params, lr: float):
        self.model, self.groups = grouped(params, type(self).__name__, self.group_keys)
        self.flat, self.steps = self.model.flat(), 0
        self.unfinished = False  # whether a step failed after it had changed some of the parameters
        self.check_dtype()
        self.first_lr = number("lr", lr)  # the ratio of a group's lr to it stays the same
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
        self.check_lr(lr)
        self._lr = lr

    def rates(self, group: Group, lr: float | None = None) -> tuple[float, float]:
        """A group's learning rate and weight decay, now or when the optimiser's learning rate is `lr`."""
        lr = self.lr if lr is None else lr
        if group.lr is not None:
            lr *= group.lr / check("lr", self.first_lr, self.first_lr > 0, "above 0 if a group has an lr of its own")
        return lr, self.weight_decay if group.weight_decay is None else group.weight_decay

    def check_lr(self, lr: float) -> None:
        """ValueError if the groups' hyper-parameters do not go with this learning rate of the optimiser."""
        for rate, decay in (self.rates(group, lr) for group in self.groups):
            self.check_rounded("lr", rate, 0)
            self.check_rounded("weight_decay", decay, 0)
            if rate * decay >= 2:  # p is multiplied by 1 - lr weight_decay
                raise ValueError(f"lr {rate} times weight_decay {decay} must be below 2, got {rate * decay:.3g}: each "
                                 "step multiplies the matrices by 1 minus it, so they would grow without end. Usual "
                                 "decays are 0.01 to 0.1")

    def check_dtype(self) -> None:
        """ValueError for parameters that cannot be trained: in float16 most updates and gradients round to 0."""
        if self.flat.params.dtype == np.float16:
            raise ValueError("a float16 model cannot be trained: gradients below 6e-8, and updates below 0.05 % of a "
                             "parameter, are lost. Train it in float32 (model.astype('float32')) and convert it with "
                             "astype('float16') afterwards")

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
        """The running arrays, with the places of the flat ones. Only entries that are written take memory."""
        for name in self.moments:
            params = self.flat.params
            setattr(self, name, np.zeros(params.shape, params.dtype, like=params))

    def update(self, s: slice, group: Group) -> None:
        raise NotImplementedError

    def step(self, map: MapSlices = one_thread) -> None:
        """One update of all parameters. A signal, such as Ctrl-C, waits until the update is complete.

        `map` may share the slices among threads: `optimizer.step(parallel.map_slices)`. The result is the same.
        """
        self.check_in_place()
        if self.unfinished:
            raise RuntimeError("an earlier step() failed half-way, so some parameters are updated and others are not: "
                               "load the model's and the optimiser's state (load_state_dict), or make both again")
        with signals_wait():
            self.steps += 1
            try:
                map(self.changed, self.slices())
            except BaseException:
                self.steps -= not self.unfinished  # nothing has changed
                raise
            self.unfinished = False

    def changed(self, piece: tuple[slice, Group]) -> None:
        self.unfinished = True
        self.update(*piece)

    def check_in_place(self) -> None:
        """RuntimeError if the model no longer learns in the arrays that this optimiser was made for."""
        if not self.flat.holds(self.model):
            raise RuntimeError("the model's parameters were moved (astype, other layers, an optimiser of a larger "
                               "module) or frozen since this optimiser was made: make a new optimiser")

    def slices(self) -> list[tuple[slice, Group]]:
        """Cache-sized slices of the flat arrays with their groups. None crosses from the matrices to the vectors."""
        n, size = self.flat.n_matrix, entries(self.flat.params, CACHE_ENTRIES)
        return [(s, group) for group in self.groups for run in self.flat.runs(group.names)
                for start, stop in ((run.start, min(run.stop, n)), (max(run.start, n), run.stop))
                for s in cut(start, stop, size)]

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for s, _ in self.slices():
            self.flat.grads[s].fill(0)

    def views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """A flat array in named pieces: the parameters that this optimiser updates."""
        views = self.flat.views(flat)
        return {name: views[name] for name in self.flat.layout if any(name in group.names for group in self.groups)}

    def __getstate__(self) -> dict[str, Any]:
        """A copy gets the moments by parameter name, because its model's arrays may have another order."""
        self.check_in_place()
        moments = {moment: self.views(getattr(self, moment)) for moment in self.moments}
        return {key: value for key, value in vars(self).items() if key not in ("flat", *moments)} | {"_copied": moments}

    def __getattr__(self, name: str) -> Any:
        """The arrays of a copy. They are made when one of them is first needed: by then its model is complete."""
        if "_copied" not in vars(self) or name not in ("flat", *self.moments):
            hint = ": set optimizer.lr, or use optimizer.groups" if name == "param_groups" else ""
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}")
        copied = vars(self).pop("_copied")
        self.flat = self.model.flat()
        self.make_moments()
        for moment, arrays in copied.items():
            for key, view in self.views(getattr(self, moment)).items():
                write(view, arrays[key])
        return getattr(self, name)

    def __copy__(self) -> Self:
        """A deep copy, with a model of its own: two optimisers must not share moments."""
        return copy.deepcopy(self)

    def state_dict(self) -> dict[str, Any]:
        """{"steps": int, moment: {dotted name: array}}: copies, as NumPy's arrays."""
        state: dict[str, Any] = {"steps": self.steps}
        for moment in self.moments:
            state[moment] = {k: to_host(v.copy()) for k, v in self.views(getattr(self, moment)).items()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`. Raises ValueError if it belongs to another optimiser or another model."""
        if not isinstance(state, Mapping) or set(state) != {"steps", *self.moments}:
            keys = sorted(map(str, state)) if isinstance(state, Mapping) else [f"the type {type(state).__name__}"]
            raise ValueError(f"the state has {', '.join(keys)}, and {type(self).__name__} needs "
                             f"{', '.join(sorted(('steps', *self.moments)))}: it belongs to another optimiser")
        steps = integer("the state's steps", state["steps"])
        check("the state's steps", steps, steps >= 0, "at least 0")
        params, arrays = self.views(self.flat.params), {}
        for moment in self.moments:  # all are checked before one is restored
            try:
                arrays[moment] = fitting(moment, params, state[moment])
            except ValueError as error:
                raise ValueError(f"the state's {moment} does not fit this model's parameters: {error}") from error
            for name, array in arrays[moment].items():
                if not np.isfinite(array).all() or (moment == "v" and (array < 0).any()):
                    raise ValueError(f"the state's {moment} of {name} is not a moment of finite gradients: the "
                                     "training diverged, or the state is damaged")
        for moment in self.moments:
            for name, view in self.views(getattr(self, moment)).items():
                write(view, arrays[moment][name])
        self.steps, self.unfinished = steps, False
