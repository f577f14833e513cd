"""What one batch sends through the depth of a model: the residual stream, and the gradients that come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numpygpt.inspection.probe import eval_twin, in_stream
from numpygpt.inspection.trace import trace
from numpygpt.inspection.tree import is_idle
from numpygpt.models import GPT


@dataclass(frozen=True)
class ResidualFlow:
    """One batch, forward and back. The L + 1 places are the input of the first block, then the output of each block.

    loss: mean nats per token; stream: X (L + 1, B, T, C); gradients: dL/dX, the same shape; middle: for each block, the
    widest output of a layer without parameters, (B, T, d_ff): the feed-forward activation.
    """

    loss: float
    stream: np.ndarray
    gradients: np.ndarray
    middle: list[np.ndarray]

    @property
    def norms(self) -> np.ndarray:
        """(L + 1,): the norm of dL/dX at each place, over the whole batch."""
        return np.sqrt((self.norms_by_position**2).sum(axis=-1))

    @property
    def norms_by_position(self) -> np.ndarray:
        """(L + 1, T): the norm of dL/dX at each place and position, over all sequences."""
        return np.sqrt((self.gradients.astype(np.float64) ** 2).sum(axis=(1, 3)))


def flow(model: GPT, x: np.ndarray, y: np.ndarray) -> ResidualFlow:
    """x, y: ids and targets (B, T). The model is left as it was. Raises ValueError if one is not finite."""
    inner = {name: module for name, module in model.named_modules() if name.startswith("blocks.") and not module._params
             and not any(module.children())}
    def needed(name: str) -> bool:
        return in_stream(name) or name in inner

    with eval_twin(model) as twin, trace(twin, keep=needed, watch=needed) as t:
        loss = twin.loss(x, y)
        twin.backward()
    places = [record for record in t if in_stream(record.name)]
    gradients = np.stack([record.gradients[0] for record in places])
    if not np.isfinite(loss) or not np.isfinite(gradients).all():
        raise ValueError(f"the loss of this batch is {loss}, and not all of its gradients are finite: it diverged")
    found = [record for record in t if record.name in inner
             and not is_idle(inner[record.name], record.input_shape, training=False)]  # without dropout
    middle = [max((record for record in found if record.name.startswith(f"{block.name}.")),
                  key=lambda record: record.output_shape[-1], default=block).outputs[0] for block in places[1:]]
    return ResidualFlow(loss, np.stack([record.outputs[0] for record in places]), gradients, middle)


def common_range(arrays: Sequence[np.ndarray], outside: float = 0.005) -> tuple[float, float]:
    """An interval that excludes at most this fraction of any of the arrays, half of it at either end."""
    low, high = zip(*(np.quantile(array, [outside / 2, 1 - outside / 2]) for array in arrays), strict=True)
    return float(min(low)), float(max(high))
