"""Units of a loss: nats per token, bits per token, bits per byte."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

Number = TypeVar("Number", float, np.ndarray)


def bits_of(nats: Number) -> Number:
    """Convert nats to bits, of one number or of an array."""
    return nats / math.log(2)


def bits_per_byte(loss: float, tokens: int, n_bytes: int) -> float:
    """Convert a loss in nats per token to bits per byte of the text, which compares across tokenizers."""
    return bits_of(loss) * tokens / n_bytes
