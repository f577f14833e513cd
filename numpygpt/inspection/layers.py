"""What goes through the depth of a model for one batch: the residual stream, and the gradients that come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numpygpt.inspection.probe import in_stream, stream_names, undisturbed
from numpygpt.inspection.trace import trace
from numpygpt.models import GPT


@dataclass(frozen=True)
class Flow:
    """One batch on its way down and back. Places are what flows into the first block, then what comes out of each.

    loss: mean nats a token; stream: X (L + 1, B, T, C); gradients: dL/dX, the same; middle: for each block, what its
    feed-forward activation put out, (B, T, d_ff).
    """

    loss: float
    stream: np.ndarray
    gradients: np.ndarray
    middle: list[np.ndarray]

    @property
    def norms(self) -> np.ndarray:
        """(L + 1,): the norm of dL/dX at each place, all entries of the batch together."""
        return np.sqrt((self.norms_by_position**2).sum(axis=-1))

    @property
    def norms_by_position(self) -> np.ndarray:
        """(L + 1, T): the norm of dL/dX at each place and position, all sequences of the batch together."""
        return np.sqrt((self.gradients.astype(np.float64) ** 2).sum(axis=(1, 3)))


def flow(model: GPT, x: np.ndarray, y: np.ndarray) -> Flow:
    """x, y: (B, T) ids and targets. The model is left as it was. ValueError where a loss or gradient is not finite."""
    acts = [f"blocks.{i}.ffn.act" for i in range(len(model.blocks))]
    with undisturbed(model) as reader, trace(reader, keep=lambda name: in_stream(name) or name in acts) as t:
        _, loss = reader(x, targets=y)
        reader.backward()
    records = {record.name: record for record in t}
    places = [records[name] for name in stream_names(model)]
    gradients = np.stack([record.gradients[0] for record in places])
    if loss is None or not np.isfinite(loss) or not np.isfinite(gradients).all():
        raise ValueError(f"the loss of this batch is {loss}, and not all of its gradients are finite")
    stream = np.stack([record.outputs[0] for record in places])
    return Flow(loss, stream, gradients, [records[name].outputs[0] for name in acts])


def common_range(arrays: Sequence[np.ndarray], outside: float = 0.005) -> tuple[float, float]:
    """An interval that leaves out at most this share of any of the arrays, half of it at either end."""
    low, high = zip(*(np.quantile(array, [outside / 2, 1 - outside / 2]) for array in arrays), strict=True)
    return float(min(low)), float(max(high))
