"""Mixed precision: large products are computed from numbers of 16 bits, everything else in the model's own dtype."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpygpt.nn.modules.module import Module

AnyModule = TypeVar("AnyModule", bound="Module")

HALVES = ("float16", "bfloat16")
MOST_ROWS = 4096  # of a sum in a product of the head


def mixed_precision(model: AnyModule, dtype: str | None) -> AnyModule:
    """Let the products with weight matrices, in forward and backward of a training step, take numbers of 16 bits:
    "float16" or "bfloat16"; None ends it. Returns the model.

    Both factors are rounded to that dtype, the sums are float32, and the result is rounded to 16 bits once more.
    Weights, gradients and all other layers stay as they are, and so does evaluation. With float16, scale the loss (see
    `LossScale`), or small gradients become 0. On a GPU such products are faster; on a CPU NumPy's are slower than those
    of float32. Micikevicius et al. 2018. RuntimeError if bfloat16 is asked for without ml_dtypes.
    """
    half = None if dtype is None else half_dtype(dtype)
    for _, module in model.named_modules():
        module.mixed = half
    return model


def half_dtype(name: str) -> np.dtype:
    """float16 or bfloat16, which is a dtype of the package ml_dtypes."""
    if name not in HALVES:
        raise ValueError(f"mixed precision has {' or '.join(HALVES)}, got {name!r:.40}")
    if name == "float16":
        return np.dtype(np.float16)
    try:
        return np.dtype(import_module("ml_dtypes").bfloat16)
    except ImportError as error:
        raise RuntimeError('bfloat16 needs the package ml_dtypes: pip install -e ".[cuda]"') from error


class Products:
    """The part of `Module` that multiplies, in mixed precision or not."""

    training: bool
    mixed: np.dtype | None = None  # the dtype of 16 bits that `mixed_precision` has set, if any

    def rounded(self, X: np.ndarray) -> np.ndarray:
        """X in 16 bits in a training step of mixed precision, else X itself."""
        return X if self.mixed is None or not self.training else X.astype(self.mixed, copy=False)

    def summed(self, n: int) -> int:
        """How many of n rows to sum in one product: in mixed precision few enough for float16's 65,504."""
        return n if self.mixed is None else min(n, MOST_ROWS)

    def product(self, A: np.ndarray, B: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """A B, written into `out` if it is given. In a training step of mixed precision both are rounded first."""
        if self.mixed is None or not self.training:
            return np.matmul(A, B, out=out)
        C = (self.rounded(A) @ self.rounded(B)).astype(np.result_type(A.dtype, B.dtype))
        if out is None:
            return C
        out[...] = C
        return out
