"""Where did the first NaN or infinity come from?"""

from __future__ import annotations

from typing import Any

import numpy as np

from numpygpt.models import GPT


class NotFinite(RuntimeError):
    """A loss, a gradient or a parameter is NaN or infinite."""


def first_not_finite(model: GPT, batches: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """Run the batches (x, y) again, watching every module's output and every gradient; name the first not finite.

    The modules are watched by covering `forward` and `backward` of this one model for the time of the call, so that
    the layers need no check of their own.
    """
    for name, param in model.named_parameters():
        if not np.isfinite(param).all():
            return f"the parameter {name} is not finite"
    found: list[str] = []

    def watch(method: Any, what: str) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            out = method(*args, **kwargs)
            if not found and isinstance(out, (np.ndarray, float)) and not np.isfinite(out).all():
                found.append(what)
            return out
        return watched

    modules = [(name, module) for name, module in model.named_modules() if name]
    for name, module in modules:
        kind = type(module).__name__
        vars(module)["forward"] = watch(module.forward, f"the first layer at fault is {name} ({kind}): its output")
        vars(module)["backward"] = watch(module.backward, f"the first layer at fault is {name} ({kind}): the gradient "
                                                          "that it passes on")
    try:
        model.train()
        with np.errstate(all="ignore"):
            for x, y in batches:
                model.loss(x, y)
                model.backward()
    finally:
        for _, module in modules:
            del vars(module)["forward"], vars(module)["backward"]
        model.zero_grad()
    return found[0] if found else "run again, every layer's output and gradient was finite"
