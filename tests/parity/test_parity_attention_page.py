"""The batched backward of docs/backprop/attention.md against the PyTorch lines beside it, both run from the page."""

import math
import re

import numpy as np
import pytest

from numpygpt.nn import functional
from numpygpt.utils.paths import ROOT

torch = pytest.importorskip("torch")
PAGE = (ROOT / "docs" / "backprop" / "attention.md").read_text(encoding="utf-8")
FORWARD = re.search(r"^```py\n(.*?)^```", PAGE, re.M | re.S).group(1)
BACKWARD = next(code for code in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
                if "def attention_backward(" in code)


@pytest.mark.parametrize("H", [1, 2, 3])
@pytest.mark.parametrize("causal", [True, False])
def test_the_batched_backward_of_the_page_is_pytorchs(H, causal):
    rng, (B, T, C) = np.random.default_rng(0), (2, 5, 6)
    X, dY = rng.standard_normal((2, B, T, C))
    params = [rng.standard_normal(shape) for shape in ((C, 3 * C), (3 * C,), (C, C), (C,))]
    M = np.where(np.tri(T) > 0, 0, -np.inf) if causal else np.zeros((T, T))

    page = {"np": np, "functional": functional}
    exec(BACKWARD, page)
    Y, cached = page["attention"](X, *params, H, M)
    gradients = page["attention_backward"](dY, cached, params[0], params[2])

    theirs = [torch.tensor(array, requires_grad=True) for array in (X, *params)]
    names = dict(zip(("X", "W", "b", "W_o", "b_o"), theirs, strict=True))
    names |= {"math": math, "B": B, "T": T, "C": C, "H": H, "M": torch.tensor(M), "dY": torch.tensor(dY)}
    exec(FORWARD, names)

    np.testing.assert_allclose(Y, names["Y"].detach().numpy(), rtol=0, atol=1e-12)
    for got, expected in zip(gradients, theirs, strict=True):
        np.testing.assert_allclose(got, expected.grad.numpy(), rtol=0, atol=1e-12 * np.abs(got).max())
