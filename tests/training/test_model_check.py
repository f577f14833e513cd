"""The shapes that a model will have are known without making it."""

import time
import tracemalloc
from itertools import product

import numpy as np
import pytest

from numpygpt import GPT
from numpygpt.models import ModelConfig
from numpygpt.training.model_check import fitting_model

CHOICES = list(product(("learned", "sinusoidal"), (True, False), (True, False), (None, 3), (None, 7), (None, 1)))


@pytest.mark.parametrize(("positions", "tied", "bias", "d_k", "d_ff", "n_kv_heads"), CHOICES)
def test_a_model_fits_its_own_configuration_and_no_other(positions, tied, bias, d_k, d_ff, n_kv_heads):
    model = GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=2, d_ff=d_ff, d_k=d_k, d_v=d_k and 5,
                n_kv_heads=n_kv_heads, positions=positions, tie_weights=tied, bias=bias)
    params = dict(model.named_parameters())
    fitting_model(model.config, params)
    for name, param in params.items():
        with pytest.raises(ValueError, match=name):
            fitting_model(model.config, {n: p for n, p in params.items() if n != name})
        with pytest.raises(ValueError, match=name):
            fitting_model(model.config, params | {name: np.zeros((*param.shape, 1), param.dtype)})
    with pytest.raises(ValueError, match="more"):
        fitting_model(model.config, params | {"more": params["wte.W"]})


@pytest.mark.parametrize("sizes", [{"n_layers": 10_000}, {"d_model": 1 << 38, "n_heads": 1}, {"vocab_size": 1 << 40},
                                   {"n_heads": 1 << 40, "d_k": 1 << 30, "d_v": 1}, {"max_len": 1 << 40}], ids=str)
def test_sizes_of_any_kind_take_neither_time_nor_memory(sizes):
    model = GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=2)
    config = ModelConfig(**(model.config.to_dict() | sizes))
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises((ValueError, MemoryError)):
            fitting_model(config, model.params())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2e6 and time.perf_counter() - start < 1
