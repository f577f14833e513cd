"""The numbers of an array are those of NumPy in float64, also put together from parts; what is not finite is seen."""

import math

import numpy as np
import pytest

from numpygpt.inspection.stats import Stats, add
from numpygpt.nn.functional import CACHE_ENTRIES


def assert_numbers(stats, values):
    values = np.asarray(values, np.float64)
    assert stats.count == values.size and stats.zeros == (values == 0).sum()
    assert stats.low == values.min() and stats.high == values.max()
    assert stats.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-15)
    assert stats.std == pytest.approx(values.std(), rel=1e-12)
    assert stats.norm == pytest.approx(np.linalg.norm(values), rel=1e-12)
    assert stats.zero_fraction == (values == 0).mean()


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 4, 5), (CACHE_ENTRIES + 3,)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_numbers_are_numpys_in_float64(shape, dtype):
    values = (100 + np.random.default_rng(0).standard_normal(shape)).astype(dtype)  # a mean far from 0: no cancelling
    values.flat[::3] = 0
    assert_numbers(Stats.of(values), values)


def test_a_view_that_is_not_contiguous_and_other_kinds_of_numbers():
    values = np.arange(24.0).reshape(4, 6)
    assert_numbers(Stats.of(values.T[::2]), values.T[::2])
    assert_numbers(Stats.of(np.arange(5)), np.arange(5))
    assert_numbers(Stats.of(np.array([True, False, True])), [1, 0, 1])
    assert_numbers(Stats.of(2.5), [2.5])
    assert Stats.of(np.empty((0, 3))) is None


def test_parts_put_together_are_the_whole():
    values = np.random.default_rng(1).standard_normal(100) * np.arange(100)
    values[[3, 60]] = 0
    assert_numbers(Stats.of(values[:7]) + Stats.of(values[7:50]) + Stats.of(values[50:]), values)
    assert add(None, None) is None
    assert add(None, Stats.of(values)) == add(Stats.of(values), None) == Stats.of(values)
    assert add(Stats.of(values), Stats.of(values)).count == 200


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_mean_and_deviation(bad):
    stats = Stats.of(np.array([1.0, bad, 0.0]))
    assert not math.isfinite(stats.mean) and math.isnan(stats.std) and math.isnan(stats.norm)
    assert (stats.count, stats.zeros) == (3, 1)
    together = stats + Stats.of(np.ones(2))
    assert math.isnan(together.std) and together.zeros == 1
    assert math.isnan((Stats.of(np.ones(2)) + stats).low) == math.isnan(bad)


def test_huge_numbers_overflow_to_infinity_and_raise_nothing():
    huge = Stats.of(np.array([1e200]))
    assert huge.norm == math.inf and (huge + Stats.of(np.array([-1e200]))).std == math.inf
