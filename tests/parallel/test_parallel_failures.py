"""An error or an interrupt in the middle of anything leaves nothing that the next step would see."""

import threading

import numpy as np
import pytest
from interrupts import interrupted
from threadpoolctl import threadpool_info

from numpygpt.optim import AdamW, clip_grad_norm
from numpygpt.optim.optimizer import one_thread
from numpygpt.parallel.threads import DataParallel

PLACES = ["dropout", "blocks.0", "blocks.1.attn.proj", "blocks.1.ffn.act", "wpe", "head_loss", "wte"]


def blas():
    return sorted((pool["filepath"], pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas")


def gradients(runner, model, x, y):
    model.zero_grad()
    loss = runner.loss(x, y)
    runner.backward()
    return loss, model.flat().grads.copy()


def same(found, right):
    return found[0] == right[0] and np.array_equal(found[1], right[1])


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("method", ["forward", "backward"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_a_layer_that_fails_once_does_not_disturb_the_next_batch(workers, place, method, error, make_gpt, make_batch):
    model, (x, y) = make_gpt(dtype="float32"), make_batch(shape=(5, 6), seed=1)
    fresh = make_gpt(dtype="float32")
    with DataParallel(fresh, workers or 1) as parallel:
        right = gradients(parallel if workers else fresh, fresh, x, y)
    parallel = DataParallel(model, workers) if workers else None
    runner, before = parallel or model, blas()

    def fail(*args):
        raise error

    for replica in parallel.replicas if parallel else [model]:
        layer = dict(replica.named_modules())[place]
        vars(layer)[method] = fail
        with pytest.raises(error):
            gradients(runner, model, *make_batch(shape=(4, 6), seed=2))
        del vars(layer)[method]
        with pytest.raises(RuntimeError):  # what failed cannot go back again
            runner.backward()
        assert same(gradients(runner, model, x, y), right) and blas() == before
    if parallel:
        assert not any(grads.any() for grads in parallel.grads[1:])
        parallel.close()


def test_a_failure_in_the_reduction_is_cleared_too(make_gpt, make_batch, monkeypatch):
    model, (x, y) = make_gpt(dtype="float32"), make_batch(shape=(4, 6))
    with DataParallel(model, 3) as parallel:
        right = gradients(parallel, model, x, y)
        with monkeypatch.context() as patch:
            patch.setattr("numpygpt.parallel.threads.add_and_clear", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                gradients(parallel, model, x, y)
        assert same(gradients(parallel, model, x, y), right)


def test_a_thread_that_cannot_be_started_leaves_no_work_behind(make_gpt, monkeypatch):
    started, ran = [], []
    start = threading.Thread.start

    def first_only(thread):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    def work(i):
        threading.Event().wait(0.02)  # so that the second item needs a second thread
        ran.append(i)

    with DataParallel(make_gpt(), 2) as parallel:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", first_only)
            with pytest.raises(RuntimeError):
                parallel.map(work, [0, 1])
        assert not any(thread.is_alive() for thread in started)
        ran.clear()
        assert parallel.map(lambda i: i, [0, 1]) == [0, 1] and ran == []


@pytest.mark.parametrize("workers", [0, 2])
def test_interrupts_at_random_moments_leave_no_gradient_no_thread_and_no_limit(workers, make_gpt, make_batch):
    sizes = {"d_model": 32, "dtype": "float32"}
    model, batch, other = make_gpt(**sizes), make_batch(shape=(8, 6), seed=1), make_batch(shape=(8, 6), seed=2)
    parallel, before = DataParallel(model, workers) if workers else None, blas()
    runner = parallel or model
    right = gradients(runner, model, *batch)
    wrong, hits = [], 0
    for i in range(40):
        hits += interrupted(lambda: gradients(runner, model, *other), seed=i)
        if not same(gradients(runner, model, *batch), right):
            wrong.append(i)
    assert wrong == [] and hits > 5 and blas() == before
    if parallel:
        parallel.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupt_never_tears_an_update(workers, make_gpt, make_batch):
    """Whatever number of steps was taken, parameters, moments and their count belong together."""
    def start():
        model = make_gpt(d_model=32, dtype="float32")
        parallel = DataParallel(model, workers) if workers else None
        gradients(parallel or model, model, *make_batch())
        return model, parallel, AdamW(model, lr=0.01), parallel.map_slices if parallel else one_thread

    model, parallel, optimizer, shared = start()
    hits = 0
    for i in range(30):
        hits += interrupted(lambda: [optimizer.step(shared) for _ in range(20)], seed=i, longest=0.003)
    again, others, repeated, shared = start()
    for _ in range(optimizer.steps):
        repeated.step(shared)
    assert hits > 5 and optimizer.steps == repeated.steps
    for one, two in ((model.flat().params, again.flat().params), (optimizer.m, repeated.m), (optimizer.v, repeated.v)):
        np.testing.assert_array_equal(one, two)
    for each in (parallel, others):
        if each:
            each.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupt_never_scales_a_part_of_the_gradients(workers, make_gpt):
    model = make_gpt(d_model=64, dtype="float32")
    parallel, hits, sizes = DataParallel(model, workers) if workers else None, 0, set()
    shared = parallel.map_slices if parallel else one_thread
    for i in range(30):
        model.flat().grads.fill(1)
        hits += interrupted(lambda: [clip_grad_norm(model, 1 / (n + 1), shared) for n in range(30)], i, 0.003)
        sizes.add(len(np.unique(model.flat().grads)))
    assert hits > 5 and sizes == {1}
    if parallel:
        parallel.close()


def test_an_empty_batch_gives_no_gradient_and_rows_that_do_not_match_are_refused(make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch(shape=(4, 6))
    with DataParallel(model, 3) as parallel:
        assert gradients(parallel, model, x[:0], y[:0])[0] == 0 and not model.flat().grads.any()
        for wrong_x, wrong_y in ((x[:2], y[:3]), (x[:1], y), (x, None), ("text", y)):
            with pytest.raises(ValueError):
                parallel.loss(wrong_x, wrong_y)
        assert same(gradients(parallel, model, x, y), gradients(parallel, model, x, y))


def test_a_function_in_place_of_a_method_needs_one_worker(make_gpt, make_batch):
    """A replica would call the same function, which works on the first model's layer."""
    model, (x, y) = make_gpt(), make_batch()
    right = gradients(model, model, x, y)
    forward = model.blocks[0].attn.forward
    model.blocks[0].attn.forward = lambda X, cache=None: forward(X, cache)
    with pytest.raises(ValueError, match="workers.*1"):
        DataParallel(model, 2)
    with DataParallel(model, 1) as parallel:
        assert same(gradients(parallel, model, x, y), right)
