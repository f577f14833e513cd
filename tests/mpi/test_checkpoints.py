"""A run that was saved on some number of ranks resumes on any other."""

import numpy as np
import pytest
from mpi.launch import needs_mpi
from mpi.runs import STEPS, case, on_ranks
from mpi.train_cases import train
from tiny import make_data

from numpygpt.data import TokenDataset
from numpygpt.training.checkpoint import load_checkpoint

pytestmark = needs_mpi
HALF = STEPS // 2
KINDS = {"adamw": {"batch_size": 7}, "momentum": {"optimizer": "sgd", "momentum": 0.9, "lr": 1e-2},
         "dropout": {"dropout": 0.2, "attn_dropout": 0.1}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return TokenDataset.load(make_data(tmp_path_factory.mktemp("checkpoints") / "data"))


@pytest.fixture(scope="module")
def saved(data):
    """The runs on four ranks, which were saved half-way, and the folder of their checkpoints."""
    folder = data.folder.parent
    cases = [case(name, saves=[(HALF, folder / f"{name}.npz")], **changes) for name, changes in KINDS.items()]
    resumed = [case(f"{name} again", load=folder / f"{name}.npz", **changes) for name, changes in KINDS.items()]
    return on_ranks(4, [*cases, *resumed], data, folder), folder


@pytest.mark.parametrize("name", KINDS)
def test_on_as_many_ranks_it_is_the_same_run_to_the_last_bit(name, saved):
    whole, again = saved[0][name][0], saved[0][f"{name} again"][0]
    np.testing.assert_array_equal(again["loss"], whole["loss"][HALF:])
    np.testing.assert_array_equal(again["params"], whole["params"])


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_on_other_numbers_of_ranks_it_is_the_same_run_to_rounding(ranks, saved, data, tmp_path):
    whole, folder = saved
    cases = [case(name, load=folder / f"{name}.npz", **KINDS[name]) for name in ("adamw", "momentum")]
    found = on_ranks(ranks, cases, data, tmp_path) if ranks > 1 else {
        case["name"]: [train(case, data)] for case in cases}
    for name, results in found.items():
        for key in ("loss", "grad_norm"):
            np.testing.assert_allclose(results[0][key], whole[name][0][key][HALF:], rtol=5e-5, err_msg=(name, key))


@pytest.mark.parametrize("name", KINDS)
def test_the_file_is_that_of_one_process(name, saved, data, tmp_path):
    """The same arrays to rounding, and the same header but for the times."""
    workers = 4 if name == "dropout" else 1
    train(case(name, HALF, saves=[(HALF, tmp_path / "ckpt.npz")], **KINDS[name], workers=workers), data)
    one, four = load_checkpoint(tmp_path / "ckpt.npz"), load_checkpoint(saved[1] / f"{name}.npz")
    assert one.arrays.keys() == four.arrays.keys()
    for key, array in one.arrays.items():
        # AdamW turns the rounding of a gradient that is almost 0 into steps of the size of the learning rate.
        assert np.isclose(array, four.arrays[key], rtol=1e-3, atol=1e-6).mean() > 0.9, key
    assert one.header.keys() == four.header.keys()
    for key in ("step", "tokens", "model", "loader", "optimizer", "data"):
        assert one.header[key] == four.header[key], key
    if name == "dropout":
        assert one.header["generators"] == four.header["generators"]


def test_a_run_of_one_process_resumes_on_ranks(data, tmp_path):
    path = tmp_path / "ckpt.npz"
    whole = train(case("one", saves=[(HALF, path)]), data)
    ranks = on_ranks(3, [case("three", load=path)], data, tmp_path)["three"]
    np.testing.assert_allclose(ranks[0]["loss"], whole["loss"][HALF:], rtol=1e-6)
