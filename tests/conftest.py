"""Shared by the tests: markers by folder, small models with weights of order one, and read-only batches."""

import gc
import signal
from pathlib import Path

import numpy as np
import pytest

from numpygpt import GPT

TESTS = Path(__file__).parent
MARKS = {
    "fast": ["nn", "models", "optim"],
    "slow": ["browser", "docs", "experiments", "fuzz", "mpi", "parallel/test_parallel_failures.py",
             "parallel/test_parallel_processes.py", "parity/test_parity_model_tokenizers.py",
             "parity/test_parity_pretokenize.py", "parity/test_parity_smollm2.py", "parity/test_parity_tokenizers.py",
             "scripts", "tokenizer/test_properties.py", "training/test_checkpoint_from_a_stranger.py",
             "training/test_strangers_run.py", "training/test_start.py"],
}
QUICK = [f"scripts/test_{name}.py" for name in ("advice", "datagen", "sample_inside", "test", "train_and_sample")]


def marks(file):
    path = file.relative_to(TESTS)
    return {mark for mark, places in MARKS.items()
            if any(path.is_relative_to(place) for place in places) and path.as_posix() not in QUICK}


def pytest_collection_modifyitems(items):
    """Mark the tests by their folder or file."""
    for item in items:
        for mark in marks(item.path):
            item.add_marker(mark)


def pytest_ignore_collect(collection_path, config):
    """Do not import files whose tests -m leaves out: that takes seconds."""
    if collection_path.name.startswith("test_"):
        found, wanted = marks(collection_path), config.option.markexpr
        if (wanted in MARKS and wanted not in found) or (wanted == "not slow" and "slow" in found):
            return True
    return None


def lively(module, seed=7):
    """Draw every parameter with entries of order one. With the 0.02 of a new model, attention is almost uniform and
    most gradients are close to 0, so that a wrong gradient would pass."""
    rng = np.random.default_rng(seed)
    for param in module.params().values():
        param[...] = 0.5 * rng.standard_normal(param.shape)
    return module


def small_gpt(fresh=False, **changes):
    sizes = {"vocab_size": 11, "max_len": 6, "d_model": 8, "n_heads": 2, "n_layers": 2, "dtype": "float64"}
    model = GPT(**(sizes | changes))
    return model if fresh else lively(model)


def token_batch(vocab_size=11, shape=(3, 6), seed=0, ignored=()):
    """Read-only x, y; `ignored` are the flat indices of targets that do not count."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, vocab_size, shape), rng.integers(0, vocab_size, shape)
    y.flat[list(ignored)] = -1
    return read_only(x), read_only(y)


def read_only(array):
    array.flags.writeable = False
    return array


def pytest_collection_finish():
    """Keep the garbage collector, which some tests call, from scanning everything that was imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Handle SIGINT as in a terminal. A shell ignores it for a background job, and processes that a test starts would
    inherit that."""
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
    """A factory of GPTs, by default V=11, max_len=6, C=8, H=2, L=2, float64."""
    return small_gpt


@pytest.fixture
def make_batch():
    """A factory of read-only (x, y)."""
    return token_batch


@pytest.fixture
def normal():
    """normal(shape, ...): a read-only array of standard normal numbers, new at each call."""
    rng = np.random.default_rng(1)
    return lambda *shape, dtype="float64": read_only(rng.standard_normal(shape).astype(dtype))
