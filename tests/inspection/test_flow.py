"""What goes through the depth: the probes' numbers together, and their norms by definition."""

import numpy as np
import pytest

from numpygpt.inspection.flow import common_range, flow
from numpygpt.inspection.probe import residual_stream, stream_gradients


def test_a_flow_is_what_the_probes_find(make_gpt, make_batch):
    model, (x, y) = make_gpt(activation="relu"), make_batch()
    found = flow(model, x, y)
    np.testing.assert_array_equal(found.gradients, stream_gradients(model, x, y))
    np.testing.assert_allclose(found.stream[:, 1], residual_stream(model, x[1]), atol=1e-12)
    assert found.loss == pytest.approx(model.eval().loss(x, y))
    assert [middle.shape for middle in found.middle] == [(3, 6, 32)] * 2
    # What the last block adds to the stream ends with these, through its last layer.
    block = model.blocks[1]
    middle = np.maximum(block.ffn.fc(block.norm2(found.stream[1] + block.attn(block.norm1(found.stream[1])))), 0)
    np.testing.assert_allclose(found.middle[1], middle, atol=1e-12)


def test_norms_are_roots_of_sums_of_squares(make_gpt, make_batch):
    found = flow(make_gpt(), *make_batch())
    for place in range(3):
        whole = sum(float(entry) ** 2 for entry in found.gradients[place].flat) ** 0.5
        assert found.norms[place] == pytest.approx(whole)
        for t in range(6):
            here = sum(float(entry) ** 2 for entry in found.gradients[place, :, t].flat) ** 0.5
            assert found.norms_by_position[place, t] == pytest.approx(here)


def test_small_gradients_do_not_underflow_in_float32(make_gpt, make_batch):
    found = flow(make_gpt(dtype="float32"), *make_batch())
    tiny = type(found)(found.loss, found.stream, (found.gradients * 1e-30).astype(np.float32), found.middle)
    np.testing.assert_allclose(tiny.norms, 1e-30 * found.norms, rtol=1e-3)


def test_a_model_whose_gradients_are_not_finite_is_refused(make_gpt, make_batch):
    model = make_gpt()
    model.wte.W[0, 0] = np.nan
    with pytest.raises(ValueError):
        flow(model, *make_batch())


def test_the_common_range_leaves_out_little_of_any_array():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=20_000), 3 * rng.normal(size=(100, 200)), np.full(7, 5.0)]
    low, high = common_range(arrays, outside=0.01)
    assert [np.mean((array < low) | (array > high)) for array in arrays] == pytest.approx([0, 0.01, 0], abs=0.001)
    assert high == pytest.approx(3 * 2.576, rel=0.05) and low == pytest.approx(-3 * 2.576, rel=0.05)
