"""The memory that a run announces is what its steps ask for."""

import gc
import tracemalloc

import pytest

from numpygpt.training import Trainer
from numpygpt.training.report import HOLES, INTERPRETER, memory
from numpygpt.utils.config import Config
from numpygpt.utils.data import Corpus, prepare

SIZES = {"n_layers": 3, "n_heads": 4, "d_model": 64, "context": 64, "batch_size": 12, "steps": 2, "warmup": 1}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    corpus = Corpus.of("pangram", "the quick brown fox jumps over the lazy dog. " * 60, "a test")
    return prepare(corpus, tmp_path_factory.mktemp("data") / "pangram", context=64)


@pytest.mark.parametrize("changes", [
    {"workers": 1}, {"workers": 2}, {"workers": 2, "dropout": 0.0, "activation": "relu"}, {"workers": 2, "d_ff": 1024},
    {"workers": 3, "optimizer": "sgd", "d_k": 40}, {"workers": 2, "dtype": "float64", "tie_weights": False}], ids=str)
def test_the_announced_memory_is_that_of_two_steps(changes, dataset):
    gc.collect()
    tracemalloc.start()
    try:
        t = Trainer(Config(**(SIZES | changes)), dataset)
        with t.parallel:
            t.update()
            t.update()  # beside what the first has left
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (memory(t) - INTERPRETER) / HOLES == pytest.approx(peak, rel=0.12)
