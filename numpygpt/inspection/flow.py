"""What one batch sends through the depth of a model: the residual stream, and the gradients that come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numpygpt.inspection.probe import eval_twin, in_stream, stream_names
from numpygpt.inspection.trace import trace
from numpygpt.models import GPT


@dataclass(frozen=True)
class ResidualFlow:
    """One batch, forward and back. The L + 1 places are the input of the first block, then the output of each block.

    loss: mean nats per token; stream: X (L + 1, B, T, C); gradients: dL/dX, the same shape; middle: for each block, the
    output of its feed-forward activation, (B, T, d_ff).
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
    acts = [f"blocks.{i}.ffn.act" for i in range(len(model.blocks))]
    with eval_twin(model) as reader, trace(reader, keep=lambda name: in_stream(name) or name in acts) as t:
        _, loss = reader(x, targets=y)
        reader.backward()
    records = {record.name: record for record in t}
    places = [records[name] for name in stream_names(model)]
    gradients = np.stack([record.gradients[0] for record in places])
    if loss is None or not np.isfinite(loss) or not np.isfinite(gradients).all():
        raise ValueError(f"the loss of this batch is {loss}, and not all of its gradients are finite: it diverged")
    stream = np.stack([record.outputs[0] for record in places])
    return ResidualFlow(loss, stream, gradients, [records[name].outputs[0] for name in acts])


def common_range(arrays: Sequence[np.ndarray], outside: float = 0.005) -> tuple[float, float]:
    """An interval that excludes at most this fraction of any of the arrays, half of it at either end."""
    low, high = zip(*(np.quantile(array, [outside / 2, 1 - outside / 2]) for array in arrays), strict=True)
    return float(min(low)), float(max(high))
