"""Every entry of a flat array belongs to one rank, and what one rank owns of a run is in one place."""

from itertools import pairwise

import numpy as np
import pytest

from numpygpt.parallel.group import BUCKET, Group

RUNS = {"one": [slice(0, 3 * BUCKET + 5)], "several": [slice(3, 10), slice(12, 13), slice(20, 2 * BUCKET)],
        "fewer entries than ranks": [slice(4, 6)], "none": []}


def ranks(size):
    for rank in range(size):
        group = Group()
        group.rank, group.size = rank, size
        yield group


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("runs", RUNS.values(), ids=RUNS)
def test_every_entry_has_one_owner_and_a_bucket_has_a_slice_for_each_rank(runs, size):
    owners = np.zeros(max((run.stop for run in runs), default=0), int)
    for group in ranks(size):
        own = group.own(runs)
        assert [s.start for s in own] == sorted(s.start for s in own)
        for s in own:
            owners[s] += 1
        for run in runs:  # neighbours
            mine = [s for s in own if run.start <= s.start < run.stop]
            assert all(a.stop == b.start for a, b in pairwise(mine))
            assert abs(sum(s.stop - s.start for s in mine) - (run.stop - run.start) / size) < 1
        assert list(group.shares(runs)) == list(next(ranks(size)).shares(runs))
        assert all(len(bucket) == size for bucket in group.shares(runs))
    expected = np.zeros_like(owners)
    for run in runs:
        expected[run] = 1
    np.testing.assert_array_equal(owners, expected)
