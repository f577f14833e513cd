"""The base of every layer: finds parameters, gradients and sub-modules, so that no layer has plumbing of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from numpygpt.nn.backend import Device, device, on_host, to_host, write
from numpygpt.nn.flat import Flat, Storage, arranged, gradient
from numpygpt.nn.mixed import Products
from numpygpt.nn.modules.checks import check_array, check_dtype
from numpygpt.nn.modules.copies import convert, in_forward, without_caches
from numpygpt.nn.modules.loading import fitting, found, missing
from numpygpt.nn.modules.tree import Tree, is_lasting
from numpygpt.utils.checks import boolean


class Module(Tree, Products):
    """A piece of a network with a hand-written gradient.

    A subclass writes `forward`, which caches on `self` what the gradient needs, and `backward`, which takes dL/doutput,
    adds dL/dW to `dW` for each parameter `W`, and returns dL/dinput. It registers each parameter once with `param`.
    Modules are found in attributes, and in lists and dicts that are attributes. An attribute that is None or missing
    until `forward` sets it is a cache: copies and pickles leave it out. With `formula` and `cost` (nn/cost.py) a class
    describes itself to trace, summary and the pictures.

        class Scale(Module):
            def __init__(self, size):
                self.param("g", np.ones(size, np.float32))   # makes self.g, and self.dg when it is first used
            def forward(self, X):
                self.X = X
                return X * self.g
            def backward(self, dY):
                self.dg += (dY * self.X).sum(axis=0)
                return dY * self.g
    """

    _params: tuple[str, ...] = ()  # names of parameters; the gradient of W is dW
    _constants: tuple[str, ...] = ()  # names of arrays that follow the dtype but are not learned
    _owned: frozenset[str] = frozenset()  # parameters and gradients: assigning to one writes into its array
    _frozen: frozenset[str] = frozenset()  # parameters that do not learn
    _storage: Storage | None = None  # the contiguous arrays that the parameters are views of
    _flat: Flat | None = None  # what `flat` returned last
    _caches: Mapping[str, bool] = {}  # attributes that `forward` made -> whether they were None before

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # -- registration ------------------------------------------------------------------------------------------------

    def param(self, name: str, value: np.ndarray) -> None:
        """Register a parameter: `self.<name>` holds `value`. Its gradient `self.d<name>`, zeros at first, takes no
        memory until something uses it."""
        if name in self._params:
            raise ValueError(f"{type(self).__name__} has a parameter {name!r} already")
        check_array(f"{type(self).__name__}.{name}", value, floats=True)
        self._params += (name,)
        self._owned |= {name, "d" + name}
        vars(self)[name] = value.view()  # an array of the module's own, which `_replace` may make read-only

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
        elif name[1:] not in self._frozen and value is not (array := getattr(self, name)):  # `layer.dW += ...` is dW
            if np.shape(value) != array.shape:
                raise ValueError(f"{type(self).__name__}.{name} has shape {array.shape}, got {np.shape(value)}")
            write(array, value)

    if not TYPE_CHECKING:  # a type checker should still find misspelt attributes

        def __getattr__(self, name: str) -> Any:
            if name[:1] == "d" and name[1:] in self._params:
                return gradient(self, name[1:])
            raise AttributeError(missing(type(self).__name__, name))

    # -- parameters ---------------------------------------------------------------------------------------------------

    def _owners(self) -> Iterator[tuple[str, Module, str]]:
        """(dotted name, module that holds it, name of the attribute) of each parameter."""
        for prefix, module in self.named_modules():
            for name in module._params:
                yield (f"{prefix}.{name}" if prefix else name), module, name

    def _learned(self) -> Iterator[tuple[str, Module, str]]:
        """Those of `_owners` that are not frozen."""
        return (item for item in self._owners() if item[2] not in item[1]._frozen)

    def named_parameters(self) -> Iterator[tuple[str, np.ndarray]]:
        """(dotted name, array) of each parameter."""
        return ((name, getattr(owner, own)) for name, owner, own in self._owners())

    def named_gradients(self) -> Iterator[tuple[str, np.ndarray]]:
        """(dotted name of the parameter, array of its gradient) of each parameter that is not frozen."""
        return ((name, getattr(owner, "d" + own)) for name, owner, own in self._learned())

    def params(self) -> dict[str, np.ndarray]:
        """The parameters by dotted name: live arrays, so that `param -= lr * grad` trains.

        They stay the same until `astype`, or until a larger module is made contiguous (by its `params()`, `flat()` or
        optimiser): then they become read-only, so that no update goes unnoticed to an array that nobody uses.
        """
        self._settle()
        return dict(self.named_parameters())

    def grads(self) -> dict[str, np.ndarray]:
        """The gradients under the names of their parameters: live arrays, as in `params`; none of a frozen one."""
        self._settle()
        return dict(self.named_gradients())

    def n_params(self) -> int:
        """How many numbers are learned."""
        return sum(param.size for _, param in self.named_parameters())

    # -- state -------------------------------------------------------------------------------------------------------

    def zero_grad(self) -> None:
        """Clear the gradients. `backward` adds to them."""
        for _, owner, own in self._learned():
            if (grad := gradient(owner, own, make=False)) is not None:
                grad.fill(0)

    def trains(self, name: str) -> bool:
        """Whether this layer's parameter `name` learns. If not, `backward` need not compute its gradient."""
        return name not in self._frozen

    def requires_grad_(self, requires_grad: bool = True, *names: str) -> Self:
        """Freeze parameters with `requires_grad_(False)`, or let them learn again. Returns self.

        `names` are dotted names of parameters or of modules inside; without names all parameters are meant. A frozen
        parameter has no gradient and no moments, and no optimiser changes it. Make optimisers and workers afterwards:
        those that were made before raise an error. Raises ValueError for an unknown name.
        """
        requires_grad = boolean("requires_grad", requires_grad)
        for owner, own in found(self, names):
            if not requires_grad and (grad := gradient(owner, own, make=False)) is not None:
                grad.fill(0)  # its place in the flat array, should it learn again
                del vars(owner)["d" + own]
            owner._frozen = owner._frozen - {own} if requires_grad else owner._frozen | {own}
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the parameters by dotted name: NumPy's arrays, wherever the module is."""
        return {name: to_host(param.copy()) for name, param in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy `state` into the parameters. Raises ValueError that lists every key that is missing, unknown, of
        another shape or not numbers; then nothing was copied."""
        params = self.params()
        for name, array in fitting(type(self).__name__, params, state).items():
            write(params[name], array)

    def astype(self, dtype: np.typing.DTypeLike) -> Self:
        """Convert parameters, gradients and constants, and drop the caches. Returns self.

        Optimisers and workers that were made before must be made again. Raises ValueError unless `dtype` is float16,
        float32 or float64.
        """
        kind = check_dtype(dtype)
        convert(self, lambda array: array.astype(kind), lambda array: array.dtype.kind != "f" or array.dtype == kind)
        return self

    def to(self, place: str | Device) -> Self:
        """Move parameters, gradients and constants to a device, "cpu", "cuda" or "cuda:N", and drop the caches. Returns
        self.

        Optimisers and workers that were made before must be made again. ValueError for an unknown device name,
        RuntimeError that says why a device cannot be used.
        """
        target = device(place)
        convert(self, target.put, target.holds)
        return self

    # -- contiguous storage and workers ------------------------------------------------------------------------------

    def flat(self) -> Flat:
        """What this module learns, as two contiguous arrays (see `Flat`); it is moved there if need be.

        The arrays of a part of a contiguous module stay where they are, in the arrays of the whole.
        """
        if self._flat is None or not self._flat.holds(self):
            self._flat = arranged(self)
        return self._flat

    def _settle(self) -> None:
        """Make the arrays contiguous before they are handed out, so that the first optimiser need not move them."""
        if len({getattr(owner, own).dtype for _, owner, own in self._learned()}) == 1:
            self.flat()

    def _replace(self, name: str, array: np.ndarray) -> None:
        """Let an attribute be another array. The old one becomes read-only: a write to it would change nothing."""
        if on_host(old := getattr(self, name)):
            old.flags.writeable = False
        vars(self)[name] = array

    # -- copies ------------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        for name in self._params:
            gradient(self, name, make=False)  # the storage is not copied: its gradients travel as attributes
        return without_caches(self) | {"_flat": self._flat is not None, "_storage": None}

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
        from numpygpt.nn.replica import replica  # which knows modules

        return replica(self, spawn=True)
