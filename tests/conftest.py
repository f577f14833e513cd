"""Shared by the tests: small models whose weights are of order one, and batches that nobody may write to."""

import gc
import signal

import numpy as np
import pytest

from numpygpt import GPT


def lively(module, seed=7):
    """Draw every parameter with entries of order one. With the 0.02 of a fresh model attention is close to uniform and
    most gradients are close to 0, so that a wrong one would pass."""
    rng = np.random.default_rng(seed)
    for param in module.params().values():
        param[...] = 0.5 * rng.standard_normal(param.shape)
    return module


def small_gpt(fresh=False, **changes):
    sizes = {"vocab_size": 11, "max_len": 6, "d_model": 8, "n_heads": 2, "n_layers": 2, "dtype": "float64"}
    model = GPT(**(sizes | changes))
    return model if fresh else lively(model)


def token_batch(vocab_size=11, shape=(3, 6), seed=0, ignored=()):
    """Read-only x, y; `ignored` are the flat places of targets that do not count."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, vocab_size, shape), rng.integers(0, vocab_size, shape)
    y.flat[list(ignored)] = -1
    return read_only(x), read_only(y)


def read_only(array):
    array.flags.writeable = False
    return array


def pytest_collection_finish():
    """What has been imported stays: the collector, which some tests call, need not look through it each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """SIGINT as a terminal's programs have it: a shell that starts the tests in the background has it ignored, and the
    processes that a test starts would inherit that."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(name="lively")
def _lively():
    return lively


@pytest.fixture
def make_gpt():
    """A factory of GPTs: V=11, max_len=6, C=8, H=2, L=2, float64, unless told otherwise."""
    return small_gpt


@pytest.fixture
def make_batch():
    """A factory of read-only (x, y)."""
    return token_batch


@pytest.fixture
def normal():
    """normal(shape, ...): a read-only array of standard normal numbers, others at each call."""
    rng = np.random.default_rng(1)
    return lambda *shape, dtype="float64": read_only(rng.standard_normal(shape).astype(dtype))
