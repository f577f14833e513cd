"""The distribution that the next token is drawn from, against numbers by hand, and the drawing itself."""

import numpy as np
import pytest

from numpygpt.models.generate import Sampling, probabilities, sample

SHARES = np.array([[0.5, 0.25, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4]])
LOGITS = np.log(SHARES) + [[7.0], [-3.0]]  # a row's constant changes nothing


def test_plain_probabilities_are_the_softmax():
    np.testing.assert_allclose(probabilities(LOGITS, Sampling()), SHARES, rtol=1e-14)


@pytest.mark.parametrize(("temperature", "power"), [(0.5, 2.0), (2.0, 0.5), (0.1, 10.0)])
def test_temperature_raises_the_shares_to_a_power(temperature, power):
    expected = SHARES**power / (SHARES**power).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(probabilities(LOGITS, Sampling(temperature)), expected, rtol=1e-12)


def test_temperature_zero_puts_everything_on_the_first_of_the_likeliest():
    expected = [[1, 0, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(probabilities(LOGITS, Sampling(0)), expected)
    np.testing.assert_array_equal(probabilities(np.zeros((1, 3)), Sampling(0)), [[1, 0, 0]])


@pytest.mark.parametrize("temperature", [1e-4, 1e-30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_small_temperature_comes_down_to_zero(temperature, dtype):
    P = probabilities(LOGITS.astype(dtype), Sampling(temperature))
    assert P.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(P, [[1, 0, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize("temperature", [1e-40, 1e-300])
def test_a_temperature_below_float32_comes_down_to_zero(temperature):
    P = probabilities(LOGITS.astype("float32"), Sampling(temperature))
    np.testing.assert_array_equal(P, [[1, 0, 0, 0], [0, 0, 0, 1]])


def test_a_quotient_beyond_float32_is_a_probability_of_zero_without_a_warning():
    logits = np.array([[0.0, 1e10]], np.float32)
    np.testing.assert_array_equal(probabilities(logits, Sampling(1e-30)), [[0, 1]])


def test_a_small_temperature_shares_between_equals():
    P = probabilities(np.array([[3.0, 1.0, 3.0]]), Sampling(1e-4))
    np.testing.assert_array_equal(P, [[0.5, 0, 0.5]])


@pytest.mark.parametrize(("top_k", "expected"), [
    (1, [[1, 0, 0, 0], [0, 0, 0, 1]]),
    (2, [[2 / 3, 1 / 3, 0, 0], [0, 0, 3 / 7, 4 / 7]]),
    (3, [[0.5, 0.25, 0.125, 0.125], [0, 2 / 9, 3 / 9, 4 / 9]]),  # two tie for the third place: both are kept
    (4, SHARES), (5, SHARES), (10**9, SHARES),
])
def test_top_k_keeps_the_k_likeliest_and_those_that_tie(top_k, expected):
    np.testing.assert_allclose(probabilities(LOGITS, Sampling(top_k=top_k)), expected, rtol=1e-14)


@pytest.mark.parametrize(("top_p", "expected"), [
    (1e-9, [[1, 0, 0, 0], [0, 0, 0, 1]]),  # at least one
    (0.4, [[1, 0, 0, 0], [0, 0, 0, 1]]),
    (0.5, [[1, 0, 0, 0], [0, 0, 3 / 7, 4 / 7]]),  # 0.5 alone reaches 0.5
    (0.51, [[2 / 3, 1 / 3, 0, 0], [0, 0, 3 / 7, 4 / 7]]),
    (0.8, [[4 / 7, 2 / 7, 1 / 7, 0], [0, 2 / 9, 3 / 9, 4 / 9]]),  # of two equals the first: the fewest that reach it
    (0.95, [SHARES[0], SHARES[1]]),
    (1, SHARES),
])
def test_top_p_keeps_the_fewest_that_reach_p(top_p, expected):
    # exp and log round, so the shares by hand are exact only up to that: p = 0.5 needs shares that are exactly 1/2.
    logits = np.log(SHARES) if top_p == 0.5 else LOGITS
    np.testing.assert_allclose(probabilities(logits, Sampling(top_p=top_p)), expected, rtol=1e-12)


def test_temperature_comes_before_top_k_and_top_k_before_top_p():
    # At temperature 0.5 the shares are as 16 4 1 1 (of 22); the two likeliest as 0.8 0.2; 0.75 needs only the first.
    how = Sampling(0.5, top_k=2, top_p=0.75)
    np.testing.assert_array_equal(probabilities(LOGITS, how)[0], [1, 0, 0, 0])
    # Without top-k the first holds 16/22 = 0.727, and 0.75 needs two.
    np.testing.assert_allclose(probabilities(LOGITS, Sampling(0.5, top_p=0.75))[0], [0.8, 0.2, 0, 0], rtol=1e-12)


@pytest.mark.parametrize("how", [Sampling(), Sampling(0.7, top_k=2), Sampling(top_p=0.6), Sampling(0)])
def test_the_logits_are_left_as_they_were(how):
    logits = LOGITS.copy()
    logits.flags.writeable = False
    probabilities(logits, how)
    sample(logits, how, [np.random.default_rng(0)] * 2)
    np.testing.assert_array_equal(logits, LOGITS)


@pytest.mark.parametrize("how", [Sampling(), Sampling(0.5), Sampling(top_k=3), Sampling(top_p=0.8)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tokens_are_drawn_as_often_as_they_are_likely(how, dtype):
    n, rng = 20_000, np.random.default_rng(0)
    logits = np.repeat(LOGITS[1:], n, axis=0).astype(dtype)
    counts = np.bincount(sample(logits, how, [rng] * n), minlength=4)
    expected = n * probabilities(LOGITS[1:], how)[0]
    assert not counts[expected == 0].any(), "what was cut off is never drawn"
    kept = expected > 0
    chi2 = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    assert chi2 < 16.27, "the 99.9 % quantile for 3 degrees of freedom"


class Draws:
    """A generator that gives one number."""

    def __init__(self, u):
        self.u = u

    def random(self):
        return self.u


@pytest.mark.parametrize(("u", "token"), [(0.0, 1), (0.2499, 1), (0.25, 2), (0.4999, 2), (0.5, 3), (0.9999, 3)])
def test_a_draw_takes_the_first_token_whose_sum_is_above_it(u, token):
    logits = np.array([[-np.inf, 0.0, 0.0, np.log(2), -np.inf]])
    assert sample(logits, Sampling(), [Draws(u)]).tolist() == [token]


def test_the_highest_draw_still_takes_a_token_that_is_possible():
    logits = np.array([[0.0, 0.0, -5.0]], np.float32)
    assert sample(logits, Sampling(top_k=2), [Draws(1 - 2**-53)]).tolist() == [1]


def test_each_row_is_drawn_with_its_own_generator():
    logits = np.zeros((2, 1000))
    one, two = (int(sample(logits[:1], Sampling(), [np.random.default_rng(seed)])[0]) for seed in (5, 6))
    rngs = [np.random.default_rng(5), np.random.default_rng(6)]
    assert sample(logits, Sampling(), rngs).tolist() == [one, two]


@pytest.mark.parametrize(("values", "message"), [
    ({"temperature": -0.1}, "temperature must be 0 .* above it, got -0.1"),
    ({"temperature": float("nan")}, "temperature must be .* got nan"),
    ({"temperature": float("inf")}, "temperature must be .* got inf"),
    ({"top_k": 0}, "top_k must be at least 1, got 0"),
    ({"top_k": -3}, "top_k must be at least 1, got -3"),
    ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0$"),
    ({"top_p": 1.1}, "top_p must be above 0 and at most 1, got 1.1"),
    ({"top_p": float("nan")}, "top_p must be .* got nan"),
])
def test_values_out_of_range_are_errors(values, message, make_gpt):
    with pytest.raises(ValueError, match=message):
        Sampling(**values)
    with pytest.raises(ValueError, match=message):
        make_gpt().generate([[1]], 1, **values)
