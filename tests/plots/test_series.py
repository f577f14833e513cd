"""The numbers behind the lines: the average against its definition, the frame."""

import numpy as np
import pytest

from numpygpt.plots.series import frame, medians, smooth, time_unit


def line(y):
    return np.arange(1.0, len(y) + 1), np.asarray(y, dtype=float)


def test_smooth_is_the_weighted_mean_of_all_values_so_far():
    values = np.random.default_rng(0).normal(size=30)
    beta = 1 - 1 / 5
    expected = [np.average(values[: t + 1], weights=beta ** np.arange(t, -1, -1)) for t in range(30)]
    np.testing.assert_allclose(smooth(values, span=5), expected, rtol=1e-12)


def test_smooth_keeps_a_constant_and_its_first_value_and_span_1_changes_nothing():
    np.testing.assert_allclose(smooth(np.full(50, 4.2), span=20), 4.2, rtol=1e-12)  # no pull towards a start at 0
    values = np.array([4.0, 1.0, 2.0])
    np.testing.assert_array_equal(smooth(values, span=1), values)
    np.testing.assert_array_equal(smooth(values, span=0), values)


def test_smooth_leaves_a_gap_at_nan_and_goes_on_after_it():
    out = smooth(np.array([2.0, np.nan, np.inf, 2.0]), span=3)
    np.testing.assert_allclose(out, [2.0, np.nan, np.nan, 2.0])


def test_medians_of_stretches_and_of_the_shorter_last_one():
    x, y = line([1, 5, 3, 100, 4, 5, 2, 8])
    assert [values.tolist() for values in medians(x, y, span=3)] == [[3, 6, 8], [3, 5, 5]]
    assert [values.tolist() for values in medians(x, y, span=0)] == [x.tolist(), y.tolist()]
    assert [values.tolist() for values in medians(x, y, span=99)] == [[8], [4.5]]


def test_frame_leaves_out_the_start_but_not_a_later_rise():
    y = np.full(1000, 1.5)
    y[:15] = 4.2
    assert frame([], [line(y)]) == (1.5, 1.5)
    y[900:] = 3.0
    assert frame([], [line(y)]) == (1.5, 3.0)
    y[3] = 0.5  # the bottom is shown wherever it is
    assert frame([], [line(y)]) == (0.5, 3.0)


def test_frame_does_not_cut_off_a_sliver():
    x, y = line(np.linspace(4.0, 2.0, 100))
    y[0] = 4.2
    assert frame([], [(x, y)]) == (2.0, 4.2)
    y[0] = 9.0
    assert frame([], [(x, y)])[1] < 4.0


def test_frame_lets_single_raw_spikes_stick_out_and_holds_the_noise():
    noise = np.random.default_rng(0).normal(1.0, 0.1, size=2000)
    spiky = noise.copy()
    spiky[::200] = 30.0
    low, high = frame([line(spiky)], [])
    assert np.mean((noise < low) | (noise > high)) < 0.002 and 0.5 < low < high < 1.5


def test_frame_of_little_or_nothing():
    assert frame([], []) is None
    assert frame([line([np.nan, np.nan])], [line([])]) is None
    assert frame([line([2.0])], []) == (2.0, 2.0)
    few = frame([line([4.0, 3.0, 2.0])], [])
    assert few == (2.0, 4.0)  # a run of three steps is all start, and shown whole


@pytest.mark.parametrize(("seconds", "unit"), [(5, "seconds"), (600, "minutes"), (20_000, "hours")])
def test_time_unit_fits_the_run(seconds, unit):
    scale, name = time_unit(seconds)
    assert name == unit and 1 <= seconds / scale < 200
