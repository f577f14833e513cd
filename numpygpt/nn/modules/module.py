"""The base of every layer: finds parameters, gradients and sub-modules, so that no layer has plumbing of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from numpygpt.nn.flat import Flat, flatten, in_place
from numpygpt.nn.modules.checks import check_array, check_dtype
from numpygpt.nn.modules.copies import convert, in_forward, replica_memo, without_caches
from numpygpt.nn.modules.loading import fitting, missing
from numpygpt.nn.skeleton import blank


class Module:
    """A piece of a network with a hand-written gradient.

    A subclass writes `forward`, which caches on `self` what the gradient needs, and `backward`, which takes dL/doutput,
    adds dL/dW to `dW` for each parameter `W`, and returns dL/dinput. It registers each parameter once with `param`;
    modules held as attributes, or in lists that are attributes, are found by walking the attributes. An attribute
    that is None or missing until `forward` sets it is a cache: copies and pickles leave it out.

        class Scale(Module):
            def __init__(self, size):
                self.param("g", np.ones(size, np.float32))   # makes self.g and self.dg
            def forward(self, X):
                self.X = X
                return X * self.g
            def backward(self, dY):
                self.dg += (dY * self.X).sum(axis=0)
                return dY * self.g
    """

    training: bool = True
    _params: tuple[str, ...] = ()  # names of parameters; the gradient of W is dW
    _constants: tuple[str, ...] = ()  # names of arrays that follow the dtype but are not learned
    _owned: frozenset[str] = frozenset()  # parameters and gradients: assigning to one writes into its array
    _flat: Flat | None = None
    _caches: Mapping[str, bool] = {}  # attributes that `forward` made -> whether they were None before

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # -- registration ------------------------------------------------------------------------------------------------

    def param(self, name: str, value: np.ndarray) -> None:
        """Register a parameter: `self.<name>` holds `value`, and `self.d<name>` its gradient, zeros at first."""
        if name in self._params:
            raise ValueError(f"{type(self).__name__} has a parameter {name!r} already")
        check_array(f"{type(self).__name__}.{name}", value, floats=True)
        self._params += (name,)
        self._owned |= {name, "d" + name}
        vars(self)[name] = value.view()  # an array of the module's own, which `_replace` may make read-only
        vars(self)["d" + name] = np.zeros_like(value) if (paper := blank(value.shape, value.dtype)) is None else paper

    def constant(self, name: str, value: np.ndarray) -> None:
        """Register an array that is not learned and not saved, but follows `astype` (a table of positions)."""
        self._constants += (name,)
        vars(self)[name] = value

    def __setattr__(self, name: str, value: Any) -> None:
        """`layer.W = value` writes into W's array, because optimisers and workers hold views of that array."""
        if name not in self._owned:
            first = value is not None and name not in self._caches and getattr(self, name, None) is None
            if first and not is_lasting(value) and in_forward(self):
                vars(self)["_caches"] = {**self._caches, name: name in vars(self)}
            vars(self)[name] = value
        elif value is not (array := getattr(self, name)):  # `layer.dW += ...` assigns dW to itself
            if np.shape(value) != array.shape:
                raise ValueError(f"{type(self).__name__}.{name} has shape {array.shape}, got {np.shape(value)}")
            array[...] = value

    if not TYPE_CHECKING:  # a type checker should still find misspelt attributes

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(missing(type(self).__name__, name))

    # -- walking -----------------------------------------------------------------------------------------------------

    def children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly inside, also in lists and dicts, in the order of the attributes."""
        for name, value in list(vars(self).items()):  # a list: another thread's forward may add caches
            yield from _modules(name, value)

    def named_modules(self, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module and all inside it; one that is used twice is named once."""
        seen = set() if seen is None else seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def _named_arrays(self, before: str) -> Iterator[tuple[str, np.ndarray]]:
        for prefix, module in self.named_modules():
            for name in module._params:
                yield (f"{prefix}.{name}" if prefix else name), getattr(module, before + name)

    def named_parameters(self) -> Iterator[tuple[str, np.ndarray]]:
        """(dotted name, array) of each parameter."""
        return self._named_arrays("")

    def named_gradients(self) -> Iterator[tuple[str, np.ndarray]]:
        """(dotted name of the parameter, array of its gradient) of each parameter."""
        return self._named_arrays("d")

    def params(self) -> dict[str, np.ndarray]:
        """The parameters by dotted name: live arrays, so that `param -= lr * grad` trains.

        They stay the same until `astype`, or until a larger module is made contiguous (by its `params()`, `flat()` or
        optimiser): then they become read-only, so that no update goes unnoticed to an array that nobody uses.
        """
        self._settle()
        return dict(self._named_arrays(""))

    def grads(self) -> dict[str, np.ndarray]:
        """The gradients under the names of their parameters: live arrays, as in `params`."""
        self._settle()
        return dict(self._named_arrays("d"))

    def n_params(self) -> int:
        """How many numbers are learned."""
        return sum(param.size for _, param in self.named_parameters())

    def generators(self) -> dict[str, np.random.Generator]:
        """The random generators that the modules hold (dropout's), by dotted name; a shared one is named once."""
        found: dict[int, tuple[str, np.random.Generator]] = {}
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, np.random.Generator):
                    found.setdefault(id(value), (f"{prefix}.{name}" if prefix else name, value))
        return dict(found.values())

    # -- state -------------------------------------------------------------------------------------------------------

    def zero_grad(self) -> None:
        """Clear the gradients. `backward` adds to them."""
        for grad in self.grads().values():
            grad.fill(0)

    def train(self, mode: bool = True) -> Self:
        """Training mode: dropout drops. Returns self."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode: dropout passes everything. Returns self."""
        return self.train(False)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the parameters by dotted name."""
        return {name: param.copy() for name, param in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy `state` into the parameters. Raises ValueError that lists every key that is missing, unknown, of
        another shape or not numbers; then nothing was copied."""
        params = self.params()
        for name, array in fitting(type(self).__name__, params, state).items():
            params[name][...] = array

    def astype(self, dtype: np.typing.DTypeLike) -> Self:
        """Convert parameters, gradients and constants, and drop the caches. Returns self.

        Optimisers and workers that were made before must be made again. Raises ValueError unless `dtype` is float16,
        float32 or float64.
        """
        convert(self, check_dtype(dtype))
        return self

    # -- contiguous storage and workers ------------------------------------------------------------------------------

    def flat(self) -> Flat:
        """This module's parameters and gradients as two contiguous arrays (see `Flat`); moved there if need be.

        Those of a part of a contiguous module stay where they are: its `Flat` lies in the arrays of the whole.
        """
        if self._flat is None or not self._flat.holds(self.named_parameters()):
            self._flat = in_place(self) or flatten(self)
        return self._flat

    def _settle(self) -> None:
        """Make the arrays contiguous before they are handed out, so that the first optimiser need not move them."""
        if len({param.dtype for _, param in self.named_parameters()}) == 1:
            self.flat()

    def rehome(self, params: Mapping[str, np.ndarray], grads: Mapping[str, np.ndarray]) -> None:
        """Let each layer's `W` and `dW` be the given arrays (views into larger ones) from now on."""
        for prefix, module in self.named_modules():
            for name in module._params:
                full = f"{prefix}.{name}" if prefix else name
                module._replace(name, params[full])
                module._replace("d" + name, grads[full])

    def _replace(self, name: str, array: np.ndarray) -> None:
        """Let an attribute be another array. The old one becomes read-only: a write to it would change nothing."""
        getattr(self, name).flags.writeable = False
        vars(self)[name] = array

    # -- copies ------------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return without_caches(self) | {"_flat": self._flat is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        contiguous = state.pop("_flat")
        vars(self).update(state)
        if contiguous:
            self._settle()

    def __copy__(self) -> Self:
        """A deep copy: an array belongs to one model, because optimisers move it. `replica` shares parameters."""
        return copy.deepcopy(self)

    def replica(self) -> Self:
        """A twin for another thread: the same parameter arrays, with gradients, caches and generators of its own."""
        return copy.deepcopy(self, replica_memo(self))

    # -- printing ----------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the brackets of this layer's line in `repr`."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.children()]
        head = f"{type(self).__name__}({self.extra_repr()}"
        return head + ("\n  " + "\n  ".join(lines) + "\n)" if lines else ")")


def is_lasting(value: Any) -> bool:
    """Whether a value that `forward` makes is more than a cache: a layer or a random generator."""
    return isinstance(value, np.random.Generator) or any(_modules("", value))


def _modules(name: str, value: Any) -> Iterator[tuple[str, Module]]:
    """The modules that an attribute holds: itself, or those in a list, tuple or dict."""
    if isinstance(value, Module):
        yield name, value
    elif isinstance(value, (list, tuple, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _modules(f"{name}.{key}", item)
