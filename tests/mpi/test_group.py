"""What the ranks of a group send each other arrives, and its sum has the order of the ranks."""

import pytest
from mpi.launch import mpiexec, needs_mpi

pytestmark = needs_mpi

PROGRAM = """
import numpy as np
from numpygpt.parallel.group import BUCKET, started

group = started()
for size in (6, 1000, BUCKET - 1, 9 * BUCKET + 7):
    of = [np.random.default_rng(rank).standard_normal(size).astype("float32") for rank in range(group.size)]
    wanted = of[0].copy()
    for other in of[1:]:
        wanted += other
    runs = [slice(0, size // 3), slice(size // 2, size)]
    x, expected = of[group.rank].copy(), of[group.rank].copy()
    group.reduce_scatter(x, runs)
    for s in group.own(runs):
        expected[s] = wanted[s]
    np.testing.assert_array_equal(x, expected)
    group.all_gather(x, runs)
    y = of[group.rank].copy()
    group.sum(y, runs)
    for run in runs:
        expected[run] = wanted[run]
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(y, expected)
assert group.sum_scalar(group.rank + 0.5) == sum(rank + 0.5 for rank in range(group.size))
assert group.any(group.rank == group.size - 1) and not group.any(False)
assert group.share(group.rank) == list(range(group.size))
"""


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_sums_and_copies_are_those_of_the_order_of_the_ranks(ranks):
    done = mpiexec(ranks, "-c", PROGRAM, seconds=60)
    assert done.returncode == 0, done.stderr
