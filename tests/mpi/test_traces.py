"""A traced step of several ranks has the numbers of the whole batch."""

import numpy as np
import pytest
from mpi.launch import needs_mpi
from mpi.runs import case, on_ranks
from mpi.train_cases import train
from tiny import make_data

from numpygpt.data import TokenDataset

pytestmark = needs_mpi
CASES = {"uneven": {"batch_size": 7}, "a rank without rows": {"batch_size": 2}, "micro-batches": {"accumulate": 2}}


def described(name, traced=True, **more):
    return case(name, 5, traced=traced, dtype="float64", **CASES[name], **more)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return TokenDataset.load(make_data(tmp_path_factory.mktemp("traces") / "data"))


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    plain = described("uneven", traced=False) | {"name": "plain"}
    return on_ranks(3, [*map(described, CASES), plain], data, tmp_path_factory.mktemp("found"))


@pytest.mark.parametrize("name", CASES)
def test_the_row_is_that_of_one_process_on_every_rank(name, found, data):
    expected = train(described(name), data)
    assert {key.split("/")[0] for key in expected} >= {"grad", "weight", "update", "out_std", "dout_norm"}
    for rank in found[name]:
        assert rank.keys() == expected.keys()
        for key in expected.keys() - {"params"}:  # the gradients of some biases are 0 but for rounding
            np.testing.assert_allclose(rank[key], expected[key], rtol=1e-9, atol=1e-9, err_msg=key)


def test_tracing_changes_nothing(found):
    for key, values in found["plain"][0].items():
        np.testing.assert_array_equal(found["uneven"][0][key], values, err_msg=key)
