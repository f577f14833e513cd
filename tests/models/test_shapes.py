"""The shapes that a model will have are known without making it."""

from itertools import product

import pytest

from numpygpt import GPT
from numpygpt.models.shapes import check_fits, shapes

CHOICES = list(product(("learned", "sinusoidal"), (True, False), (True, False), (None, 3), (None, 7)))


@pytest.mark.parametrize(("positions", "tied", "bias", "d_k", "d_ff"), CHOICES)
def test_the_shapes_are_those_of_the_model(positions, tied, bias, d_k, d_ff):
    model = GPT(11, 6, 8, 2, 2, d_ff, d_k=d_k, d_v=d_k and 5, positions=positions, tie_weights=tied, bias=bias)
    assert dict(shapes(**model.config)) == {name: param.shape for name, param in model.named_parameters()}
    check_fits(model.config, model.params())
