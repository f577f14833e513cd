"""Several ranks compute what one process computes."""

import numpy as np
import pytest
from mpi.launch import needs_mpi
from mpi.runs import CALM, STEPS, case, on_ranks
from mpi.train_cases import train
from tiny import make_data

from numpygpt.data import TokenDataset
from numpygpt.training import Trainer
from numpygpt.training.config import Config

pytestmark = needs_mpi

CASES = {
    "plain": {},
    "uneven": {"batch_size": 7},
    "fewer rows than ranks": {"batch_size": 2},
    "accumulation": {"accumulate": 3, "batch_size": 5},
    "ignored targets": {"batch_size": 5},  # and a row, of the first rank, in which none counts
    "recompute": {"recompute": True},
    "LoRA": {"lora_rank": 2, "lr": 1e-2},
    "momentum": {"optimizer": "sgd", "momentum": 0.9, "lr": 1e-2},
    "skipped steps": {"skip_spikes": 1.05},
    "float64": {"dtype": "float64", "batch_size": 7},
    "dropout": {"batch_size": 7, "dropout": 0.2, "attn_dropout": 0.1},
    "dropout of LoRA": {"lora_rank": 2, "lr": 1e-2, "lora_dropout": 0.2, "accumulate": 2},
}
# Only the order of the sums differs: relative rounding is 6e-8 in float32 and 1e-16 in float64, and 50 steps add to it.
# A gradient is a sum with cancellation, so its norm has fewer digits than a loss.
TOLERANCE = {"float32": {"loss": 1e-6, "val": 1e-6, "grad_norm": 2e-4},
             "float64": {"loss": 1e-14, "val": 1e-14, "grad_norm": 1e-13}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return TokenDataset.load(make_data(tmp_path_factory.mktemp("exact") / "data"))


@pytest.fixture(scope="module")
def base(data):
    path = data.folder.with_name("base.npz")
    Trainer(Config.of(**CALM), data).save_model(path)
    return str(path)


def described(name, base, **more):
    return case(name, ignored=name == "ignored targets", **CASES[name] | more
                | ({"init_from": base} if "lora_rank" in CASES[name] else {}))


@pytest.fixture(scope="module", params=[2, 3, 4])
def n(request):
    return request.param


@pytest.fixture(scope="module")
def found(n, data, base, tmp_path_factory):
    cases = [described(name, base) for name in CASES]
    return on_ranks(n, [*cases, cases[-2] | {"name": "again"}], data, tmp_path_factory.mktemp("found"))


@pytest.mark.parametrize("name", CASES)
def test_losses_and_norms_are_those_of_one_process(name, n, found, data, base):
    dropout = any("dropout" in key for key in CASES[name])
    for workers in (n,) if dropout else (n, 1):
        expected = train(described(name, base, workers=workers), data)
        assert len(expected["loss"]) == STEPS and expected["loss"][-1] < expected["loss"][0]
        for key, rtol in TOLERANCE[CASES[name].get("dtype", "float32")].items():
            np.testing.assert_allclose(found[name][0][key], expected[key], rtol=rtol, err_msg=f"{key}, {workers}")
        if "skipped" in expected:
            assert 0 < expected["skipped"].sum() < STEPS
            np.testing.assert_array_equal(found[name][0]["skipped"], expected["skipped"])


@pytest.mark.parametrize("name", CASES)
def test_all_ranks_have_the_same_bits(name, found):
    for rank in found[name][1:]:
        for key, values in found[name][0].items():
            np.testing.assert_array_equal(rank[key], values, err_msg=key)


def test_a_run_repeats_to_the_last_bit(found):
    for key, values in found["dropout"][0].items():
        np.testing.assert_array_equal(found["again"][0][key], values, err_msg=key)


def test_two_ranks_of_two_workers_are_one_process_of_four(data, base, tmp_path):
    name = "dropout"
    ranks = on_ranks(2, [described(name, base, workers=2)], data, tmp_path)[name]
    expected = train(described(name, base, workers=4), data)
    for key, rtol in TOLERANCE["float32"].items():
        np.testing.assert_allclose(ranks[0][key], expected[key], rtol=rtol, err_msg=key)
