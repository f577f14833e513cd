"""Find where the first NaN or infinity came from."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from numpygpt.inspection.patch import MethodPatch
from numpygpt.models import GPT
from numpygpt.nn.backend import is_array
from numpygpt.nn.finite import not_finite
from numpygpt.utils.signals import signals_wait


def first_not_finite(model: GPT, batches: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """Run the batches (x, y) again and name the first output or gradient of any module that is not finite.

    The model stays in its mode. In training mode its gradients are zeros afterwards; in evaluation mode there is no
    backward pass.
    """
    name = not_finite(model.named_parameters())
    if name is not None:
        return f"the parameter {name} is not finite"
    found: list[str] = []

    def watched(what: str, method: Any, *args: Any, **kwargs: Any) -> Any:
        out = method(*args, **kwargs)
        if not found and (is_array(out) or isinstance(out, float)) and not np.isfinite(out).all():
            found.append(what)
        return out

    patches: list[MethodPatch] = []
    try:
        for name, module in model.named_modules():
            if name:
                what = f"the first faulty layer is {name} ({type(module).__name__}): "
                for method, result in (("forward", "its output"), ("backward", "the gradient of its input")):
                    patches.append(MethodPatch(module, method, partial(watched, f"{what}{result} is not finite")))
        with np.errstate(all="ignore"):
            for x, y in batches:
                model.loss(x, y)
                if model.training:
                    model.backward()
                    found += [f"the first faulty gradient is that of the parameter {name}"
                              for name, grad in model.grads().items() if not found and not np.isfinite(grad).all()]
    finally:
        with signals_wait():
            for patch in reversed(patches):
                patch.remove()
            if model.training:
                model.zero_grad()
    return found[0] if found else ("when the same tokens were run again, every output and gradient was finite: the "
                                   "cause may be a rare dropout mask, or a sum that overflows in another order")
