"""Does a layer give on a device what it gives on the CPU? Its output, its gradients and its parameters after an update.

    for layer, name, make, inputs in gradient_cases():
        print(layer, name, difference(make, inputs, "cuda", "float32"))
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np

from numpygpt.nn import backend, causal_attention
from numpygpt.nn.modules import dropout
from numpygpt.nn.modules.module import Module
from numpygpt.optim import AdamW, clip_grad_norm
from numpygpt.verify.check import Comparison


def difference(make: Callable[[], Module], inputs: Sequence[Any], device: str | backend.Device,
               dtype: str = "float64") -> float:
    """The largest difference between a layer on the CPU and on a device, of all that `run` returns, each relative to
    its largest entry (at least 1). Both draw the same dropout masks."""
    comparison = Comparison(make(), *inputs)
    module = comparison.fresh.astype(dtype)
    arrays = [x.astype(dtype) if x.dtype.kind == "f" else x for x in comparison.arrays]
    G = np.array(comparison.G, dtype) if isinstance(comparison.G, np.ndarray) else comparison.G
    with masks_of_the_host(module):
        expected, found = (run(module, arrays, G, comparison.noise, place) for place in (
            backend.CPU, backend.device(device)))
    if [np.shape(a) for a in expected] != [np.shape(b) for b in found]:
        return float("inf")
    errors = [np.abs(b - a).max(initial=0) / max(np.abs(a).max(initial=0), 1)
              for a, b in zip(expected, found, strict=True)]
    return float(np.max(errors))


def run(module: Module, arrays: Sequence[np.ndarray], G: Any, noise: dict[str, np.ndarray],
        place: backend.Device) -> list[np.ndarray]:
    """Output, gradients of the inputs, gradients of the parameters added to `noise`, and the parameters after a step of
    AdamW, all as NumPy's arrays."""
    module = copy.deepcopy(module).to(place)
    for name, grad in module.grads().items():
        backend.write(grad, noise[name])
    out = module(*(place.put(x) if x.dtype.kind == "f" else x for x in arrays))
    out = out[-1] if isinstance(out, tuple) else out
    returned = module.backward(place.put(G) if isinstance(G, np.ndarray) else G)
    found = [out, *(g for g in (returned if isinstance(returned, tuple) else (returned,)) if g is not None)]
    found += [grad.copy() for grad in module.grads().values()]
    if module.grads():
        clip_grad_norm(module, 1.0)
        AdamW(module, lr=0.1, eps=1e-2).step()
    return [backend.to_host(array) for array in (*found, *module.state_dict().values())]


@contextmanager
def masks_of_the_host(module: Module) -> Iterator[None]:
    """A block in which a device gets the CPU's dropout masks, so that all numbers can be compared. With dropout on its
    weights, attention works in the CPU's tiles, because each tile has a mask of its own."""
    uniform, halves = backend.uniform, backend.random_halves
    places: list[tuple[ModuleType, str, Any]] = [
        (dropout, "uniform", lambda rng, X: backend.like(uniform(rng, np.empty(X.shape)), X)),
        (causal_attention, "random_halves", lambda seed, X: backend.like(halves(seed, np.empty(X.shape)), X))]
    if any(getattr(part, "attn_dropout", 0) for _, part in module.named_modules()):
        places.append((causal_attention, "entries", lambda x, n: n))
    with ExitStack() as stack:
        for file, name, function in places:
            stack.enter_context(patch.object(file, name, function))
        yield
