"""Where did the first NaN or infinity come from?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from numpygpt.inspection.cover import Cover
from numpygpt.models import GPT


class NotFinite(RuntimeError):
    """A loss, a gradient or a parameter is NaN or infinite."""


def first_not_finite(model: GPT, batches: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """Run the batches (x, y) again, watching every module's output and every gradient; name the first not finite."""
    for name, param in model.named_parameters():
        if not np.isfinite(param).all():
            return f"the parameter {name} is not finite"
    found: list[str] = []

    def watched(what: str, method: Any, *args: Any, **kwargs: Any) -> Any:
        out = method(*args, **kwargs)
        if not found and isinstance(out, (np.ndarray, float)) and not np.isfinite(out).all():
            found.append(what)
        return out

    covers: list[Cover] = []
    for name, module in model.named_modules():
        if name:
            what = f"the first layer at fault is {name} ({type(module).__name__}): "
            covers.append(Cover(module, "forward", partial(watched, what + "its output")))
            covers.append(Cover(module, "backward", partial(watched, what + "the gradient that it passes on")))
    try:
        model.train()
        with np.errstate(all="ignore"):
            for x, y in batches:
                model.loss(x, y)
                model.backward()
                found += [f"the first gradient at fault is that of the parameter {name}"
                          for name, grad in model.grads().items() if not found and not np.isfinite(grad).all()]
    finally:
        for cover in reversed(covers):
            cover.remove()
        model.zero_grad()
    return found[0] if found else ("run again with the same tokens, every output and gradient was finite: the cause "
                                   "may be an unlucky dropout mask, or a sum that overflows in another order")
