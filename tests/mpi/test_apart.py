"""Ranks that train apart and come together every few steps, against runs of one process each."""


import numpy as np
import pytest
from mpi.launch import needs_mpi
from mpi.runs import CALM, case, on_ranks
from tiny import make_data

from numpygpt.data import TokenDataset
from numpygpt.parallel.group import Group
from numpygpt.parallel.outer import LR, MOMENTUM
from numpygpt.training import Trainer
from numpygpt.training.config import Config

EVERY, TIMES = 4, 3
APART = {"sync_every": EVERY, "eval_every": EVERY, "dtype": "float64", "batch_size": 7, "dropout": 0.1}


class Lonely(Group):
    """A rank that cannot reach the others."""

    def __init__(self, rank, size):
        super().__init__()
        self.rank, self.size = rank, size

    def reduce_scatter(self, *_):
        raise RuntimeError("a rank that trains apart must not communicate")

    sum = all_gather = sum_scalar = any = share = barrier = reduce_scatter


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return TokenDataset.load(make_data(tmp_path_factory.mktemp("apart") / "data"))


def by_hand(data, n):
    """(losses of each rank, parameters) of n runs, and the outer steps from the paper."""
    never = {"sync_every": 10**6, "eval_every": 10**6}
    ranks = [Trainer(Config.of(**CALM | APART | never), data, None, Lonely(rank, n)) for rank in range(n)]
    params = [t.model.flat().params for t in ranks]
    anchor, velocity, losses = params[0].copy(), np.zeros_like(params[0]), []
    for _ in range(TIMES):
        losses += [[t.update()["loss"] for t in ranks] for _ in range(EVERY)]
        outer_gradient = anchor - np.mean(params, axis=0)
        velocity = MOMENTUM * velocity + outer_gradient
        anchor = anchor - LR * (outer_gradient + MOMENTUM * velocity)
        for of_rank in params:
            of_rank[...] = anchor
    return np.transpose(losses), anchor


@needs_mpi
@pytest.mark.parametrize("n", [2, 3])
def test_ranks_train_alone_and_take_nesterovs_steps_together(n, data, tmp_path):
    steps, path = EVERY * TIMES, tmp_path / "ckpt.npz"
    ranks = on_ranks(n, [case("run", steps, **APART),
                         case("saved", steps, saves=[(EVERY, path)], **APART),
                         case("resumed", steps, load=path, **APART)], data, tmp_path)
    losses, params = by_hand(data, n)
    for rank, found in enumerate(ranks["run"]):
        np.testing.assert_allclose(found["loss"], losses[rank], rtol=1e-12)
        np.testing.assert_array_equal(found["params"], ranks["run"][0]["params"])
    # AdamW turns the rounding of a gradient that is almost 0 into steps of the size of the learning rate.
    far = np.abs(ranks["run"][0]["params"] - params) > 1e-9
    assert far.mean() < 0.02
    assert not np.array_equal(losses[0], losses[1])
    for saved, resumed in zip(ranks["saved"], ranks["resumed"], strict=True):  # to the last bit
        np.testing.assert_array_equal(resumed["loss"], saved["loss"][EVERY:])
        np.testing.assert_array_equal(resumed["params"], saved["params"])


def test_more_ranks_than_sequences_cannot_train_apart(data):
    with pytest.raises(ValueError, match=r"`sync_every`.*\b8\b.*`batch_size`.*\b7\b"):
        Trainer(Config.of(**CALM | APART), data, None, Lonely(0, 8))
