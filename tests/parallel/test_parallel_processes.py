"""A DataParallel in other processes, copies and threads, and at the interpreter's end: a loss or an error, no hang."""

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from numpygpt.optim import AdamW
from numpygpt.parallel.threads import DataParallel

ROOT = Path(__file__).resolve().parents[2]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

BEGIN = """
import multiprocessing, os, sys, threading
import numpy as np
from numpygpt import GPT
from numpygpt.parallel.threads import DataParallel

def batch():
    return np.random.default_rng(0).integers(0, 11, (2, 4, 6))

def step(parallel):
    loss = parallel.loss(*batch())
    parallel.backward()
    return loss

def of(parallel, results):
    results.put(step(parallel))

"""


def program(text, tmp_path, seconds=60):
    """Run a program with BEGIN before it; subprocess.TimeoutExpired if it hangs."""
    path = tmp_path / "program.py"
    path.write_text(BEGIN + text, encoding="utf-8")
    return subprocess.run([sys.executable, path], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=seconds,
                          capture_output=True, text=True)


@pytest.mark.parametrize("start", [pytest.param("fork", marks=forks), "spawn", pytest.param("forkserver", marks=forks)])
def test_in_a_process_of_multiprocessing_it_gives_the_same_loss(start, tmp_path):
    done = program(f"""
if __name__ == "__main__":
    parallel = DataParallel(GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=2), 2)
    expected = step(parallel)
    context = multiprocessing.get_context("{start}")
    results = context.Queue()
    child = context.Process(target=of, args=(parallel, results))
    child.start()
    print(results.get(timeout=50) == expected, child.join(10), child.exitcode, step(parallel) == expected)
""", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True None 0 True\n", "")


@forks
def test_after_a_fork_amid_the_work_of_other_threads_the_child_trains(tmp_path):
    """The fork may come while a thread is in a backward, holds the BLAS limit, or waits for the workers."""
    done = program("""
parallel, end, bad = DataParallel(GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=2),
                                  2), threading.Event(), 0
expected = step(DataParallel(GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=2), 2))

def train():
    while not end.is_set():
        step(parallel)

thread = threading.Thread(target=train)
thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        parallel.model.zero_grad()
        right = step(parallel) == expected and all(not g.any() for g in parallel.grads[1:])
        os._exit(0 if right else 1)
    bad += os.waitpid(child, 0)[1] != 0
end.set()
thread.join()
print(bad)
""", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_the_interpreter_ends_with_live_threads_and_work_after_its_end_is_an_error(tmp_path):
    done = program("""
import atexit
parallel = DataParallel(GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=2), 2)
step(parallel)

def late():
    try:
        step(parallel)
    except RuntimeError as error:
        print(type(error).__name__)

atexit.register(late)
""", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "RuntimeError\n", "")


@pytest.mark.parametrize("how", [copy.deepcopy, lambda parallel: pickle.loads(pickle.dumps(parallel))],
                         ids=["deepcopy", "pickle"])
def test_a_copy_goes_on_as_the_original_does(how, make_gpt, make_batch):
    def steps(parallel):
        optimizer = AdamW(parallel.model, 0.01)
        losses = []
        for seed in range(3):
            losses.append(parallel.loss(*make_batch(shape=(4, 6), seed=seed)))
            optimizer.zero_grad()
            parallel.backward()
            optimizer.step(parallel.map_slices)
        return losses

    with DataParallel(make_gpt(dropout=0.3, dtype="float32"), 2) as parallel:
        steps(parallel)
        parallel.loss(*make_batch(shape=(4, 6)))
        with how(parallel) as other:
            assert not np.shares_memory(other.model.wte.W, parallel.model.wte.W)
            assert other.replicas[1].wte.W.base is other.model.flat().params
            with pytest.raises(RuntimeError):  # the loss is the original's
                other.backward()
            before = other.model.state_dict()
            expected = steps(parallel)
            assert all(np.array_equal(param, before[name]) for name, param in other.model.params().items())
            assert steps(other) == expected


def test_a_closed_one_and_its_copy_say_so(make_gpt, make_batch):
    parallel = DataParallel(make_gpt(), 2)
    parallel.loss(*make_batch())
    parallel.close()
    parallel.close()
    optimizer = AdamW(parallel.model)
    for call in (lambda: parallel.loss(*make_batch()), parallel.backward, lambda: optimizer.step(parallel.map_slices),
                 lambda: copy.deepcopy(parallel).loss(*make_batch())):
        with pytest.raises(RuntimeError, match="closed"):
            call()
    assert optimizer.steps == 0


def test_two_threads_in_one_are_refused(make_gpt, make_batch):
    entered, leave, found = threading.Event(), threading.Event(), []

    def wait(i):
        entered.set()
        leave.wait(30)

    with DataParallel(make_gpt(), 2) as parallel:
        thread = threading.Thread(target=lambda: found.append(parallel.map(wait, [0, 1])))
        thread.start()
        entered.wait(30)
        with pytest.raises(RuntimeError, match="thread"):
            parallel.loss(*make_batch())
        leave.set()
        thread.join()
        assert found == [[None, None]]
        assert parallel.loss(*make_batch()) == pytest.approx(make_gpt().loss(*make_batch()), rel=1e-13)
