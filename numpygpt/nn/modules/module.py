"""The base of every layer: finds parameters, gradients and sub-modules, so that no layer has plumbing of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from numpygpt.nn import init
from numpygpt.nn.flat import Flat, flatten


class Module:
    """A piece of a network with a hand-written gradient.

    A subclass writes `forward`, which caches on `self` what the gradient needs, and `backward`, which takes dL/doutput,
    adds dL/dW to `dW` for each parameter `W`, and returns dL/dinput. It registers each parameter once with `param`;
    modules held as attributes, or in lists that are attributes, are found by walking the attributes.

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
        self._params += (name,)
        self._owned |= {name, "d" + name}
        vars(self)[name] = value
        vars(self)["d" + name] = init.zeros(value.shape, value.dtype)

    def constant(self, name: str, value: np.ndarray) -> None:
        """Register an array that is not learned and not saved, but follows `astype` (a table of positions)."""
        self._constants += (name,)
        vars(self)[name] = value

    def __setattr__(self, name: str, value: Any) -> None:
        """`layer.W = value` writes into W's array, because optimisers and workers hold views of that array."""
        if name not in self._owned:
            vars(self)[name] = value
        elif value is not (array := getattr(self, name)):  # `layer.dW += ...` assigns dW to itself
            if np.shape(value) != array.shape:
                raise ValueError(f"{type(self).__name__}.{name} has shape {array.shape}, got {np.shape(value)}")
            array[...] = value

    # -- walking -----------------------------------------------------------------------------------------------------

    def children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly inside, also in lists and dicts, in the order of the attributes."""
        for name, value in vars(self).items():
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

    def params(self) -> dict[str, np.ndarray]:
        """The parameters by dotted name: live arrays, so that `param -= lr * grad` trains.

        A GPT's stay the same for life; those of a bare layer move once, when `flat()` or an optimiser first takes it.
        """
        return dict(self._named_arrays(""))

    def grads(self) -> dict[str, np.ndarray]:
        """The gradients under the names of their parameters: live arrays."""
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

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy `state` into the parameters. Raises ValueError that lists every key that is missing, unknown or of
        another shape; then nothing was copied."""
        params = self.params()
        wrong = [f"missing {name}" for name in params if name not in state]
        wrong += [f"unexpected {name}" for name in state if name not in params]
        wrong += [f"{name} has shape {np.shape(state[name])}, expected {param.shape}"
                  for name, param in params.items() if name in state and np.shape(state[name]) != param.shape]
        if wrong:
            raise ValueError(f"the state does not fit this {type(self).__name__}: " + "; ".join(wrong))
        for name, param in params.items():
            param[...] = state[name]

    def astype(self, dtype: np.typing.DTypeLike) -> Self:
        """Convert parameters, gradients and constants. Returns self. Optimisers made before must be made anew."""
        for _, module in self.named_modules():
            module._flat = None
            for name in (*module._owned, *module._constants):
                vars(module)[name] = getattr(module, name).astype(dtype)
        return self

    # -- contiguous storage and workers ------------------------------------------------------------------------------

    def flat(self) -> Flat:
        """This module's parameters and gradients as two contiguous arrays (see `Flat`); moved there if need be."""
        if self._flat is None or any(param.base is not self._flat.params for _, param in self.named_parameters()):
            self._flat = flatten(self)
        return self._flat

    def rehome(self, params: Mapping[str, np.ndarray], grads: Mapping[str, np.ndarray]) -> None:
        """Let each layer's `W` and `dW` be the given arrays (views into larger ones) from now on."""
        for prefix, module in self.named_modules():
            for name in module._params:
                full = f"{prefix}.{name}" if prefix else name
                vars(module)[name], vars(module)["d" + name] = params[full], grads[full]

    def replica(self) -> Self:
        """A twin for another thread: the same parameter arrays, with gradients, caches and generators of its own."""
        flat = self.flat()
        twin_flat = Flat(flat.params, np.zeros_like(flat.grads), flat.layout, flat.n_matrix)
        shared = [*self.params().values(), flat.params, flat.layout]
        shared += [getattr(m, name) for _, m in self.named_modules() for name in m._constants]
        memo: dict[int, Any] = {id(item): item for item in shared}  # what deepcopy finds here it does not copy
        memo[id(flat)] = twin_flat
        twin_grads = twin_flat.views(twin_flat.grads)
        memo |= {id(grad): twin_grads[name] for name, grad in self.grads().items()}
        memo |= {id(rng): rng.spawn(1)[0] for rng in self.generators().values()}
        return copy.deepcopy(self, memo)

    # -- printing ----------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the brackets of this layer's line in `repr`."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.children()]
        head = f"{type(self).__name__}({self.extra_repr()}"
        return head + ("\n  " + "\n  ".join(lines) + "\n)" if lines else ")")


def _modules(name: str, value: Any) -> Iterator[tuple[str, Module]]:
    """The modules that an attribute holds: itself, or those in a list, tuple or dict."""
    if isinstance(value, Module):
        yield name, value
    elif isinstance(value, (list, tuple, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _modules(f"{name}.{key}", item)
