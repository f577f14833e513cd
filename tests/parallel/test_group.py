"""How ranks share out an array: each owns one piece of every run, and sends it in buckets."""

import numpy as np
import pytest

from numpygpt.parallel import group
from numpygpt.parallel.group import Group

RUNS = [slice(3, 4), slice(10, 10), slice(20, 3_000_020), slice(3_000_030, 3_000_037)]


def ranks(size):
    found = [Group() for _ in range(size)]
    for rank, one in enumerate(found):
        one.rank, one.size = rank, size
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 8, 100])
def test_every_entry_of_the_runs_belongs_to_one_rank_and_is_in_one_bucket(size):
    owned, sent = np.zeros((2, 3_000_040), int)
    for one in ranks(size):
        pieces = one.own(RUNS)
        assert len(pieces) <= len(RUNS) and pieces == sorted(pieces, key=lambda s: s.start)
        for piece in pieces:
            owned[piece] += 1
            assert piece.stop - piece.start <= 3_000_000 // size + 1
        mine = np.concatenate([np.r_[shares[one.rank]] for shares in one.shares(RUNS)])
        np.testing.assert_array_equal(mine, np.concatenate([np.r_[piece] for piece in pieces] or [[]]))
        sent[mine] += 1
    wanted = np.zeros_like(owned)
    for run in RUNS:
        wanted[run] = 1
    np.testing.assert_array_equal(owned, wanted)
    np.testing.assert_array_equal(sent, wanted)


@pytest.mark.parametrize("size", [2, 3, 100])
def test_a_bucket_has_a_part_of_each_rank_and_a_bounded_size(size):
    buckets = list(Group.shares(ranks(size)[0], RUNS))
    assert len(buckets) > 3
    for shares in buckets:
        assert len(shares) == size
        assert sum(s.stop - s.start for s in shares) <= max(group.BUCKET, group.PART * size)
