"""Several threads compute what one does: loss, gradients, the same bits at each run; and clean up behind them."""

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from numpygpt.optim import AdamW, clip_grad_norm
from numpygpt.parallel.threads import DataParallel
from numpygpt.utils.cores import cores


def blas_threads():
    return sorted((pool["filepath"], pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas")


BATCHES = {
    "even": ((4, 6), ()),
    "uneven": ((5, 6), ()),
    "targets ignored unevenly": ((5, 6), [0, 1, 2, 3, 4, 5, 6, 9, 25]),
    "a shard without targets": ((4, 6), range(12)),
    "no target at all": ((3, 6), range(18)),
    "fewer rows than workers": ((1, 6), [2]),
}


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(("shape", "ignored"), BATCHES.values(), ids=BATCHES)
def test_loss_and_gradients_are_those_of_one_worker(shape, ignored, workers, make_gpt, make_batch):
    x, y = make_batch(shape=shape, ignored=ignored)
    alone, model = make_gpt(), make_gpt()
    loss = alone.loss(x, y)
    alone.backward(0.7)
    with DataParallel(model, workers) as parallel:
        assert parallel.loss(x, y) == pytest.approx(loss, rel=1e-13)
        parallel.backward(0.7)
    for name, grad in alone.grads().items():
        # Float64 sums in another order: a few units of rounding of the largest term.
        np.testing.assert_allclose(model.grads()[name], grad, rtol=1e-10, atol=1e-13, err_msg=name)
    assert any(grad.any() for grad in alone.grads().values()) == (np.size(y) > len(list(ignored)))


def test_gradients_accumulate_over_micro_batches(make_gpt, make_batch):
    x, y = make_batch(shape=(4, 6))
    alone, model = make_gpt(), make_gpt()
    alone.loss(x, y)
    alone.backward()
    with DataParallel(model, 2) as parallel:
        for half in (slice(0, 2), slice(2, 4)):
            parallel.loss(x[half], y[half])
            parallel.backward(0.5)
    for name, grad in alone.grads().items():
        np.testing.assert_allclose(model.grads()[name], grad, rtol=1e-10, atol=1e-13, err_msg=name)


def train(make_gpt, make_batch, steps=3):
    model = make_gpt(dropout=0.3, dtype="float32")
    optimizer, losses = AdamW(model, lr=0.01), []
    with DataParallel(model, 2) as parallel:
        for step in range(steps):
            x, y = make_batch(shape=(5, 6), seed=step)
            optimizer.zero_grad()
            losses.append(parallel.loss(x, y))
            parallel.backward()
            clip_grad_norm(model, 1.0)
            optimizer.step()
    return losses, model.state_dict()


def test_a_run_repeats_to_the_last_bit_with_dropout(make_gpt, make_batch):
    (losses, state), (losses_again, state_again) = (train(make_gpt, make_batch) for _ in range(2))
    assert losses == losses_again and len(set(losses)) == 3
    for name, param in state.items():
        np.testing.assert_array_equal(param, state_again[name], err_msg=name)


def test_workers_draw_different_dropout(make_gpt, make_batch):
    x, y = make_batch(shape=(1, 6))
    with DataParallel(make_gpt(dropout=0.5), 2) as parallel:
        parallel.loss(np.repeat(x, 2, axis=0), np.repeat(y, 2, axis=0))
        one, two = (replica.dropout.mask for replica in parallel.replicas)
    assert one.shape == two.shape and not np.array_equal(one, two)


def test_the_models_mode_is_that_of_every_replica(make_gpt, make_batch):
    x, y = make_batch(shape=(4, 6))
    model = make_gpt(dropout=0.5)
    with DataParallel(model, 2) as parallel:
        model.eval()
        assert parallel.loss(x, y) == pytest.approx(make_gpt().loss(x, y), rel=1e-13)
        model.train()
        assert parallel.loss(x, y) != pytest.approx(make_gpt().loss(x, y), rel=1e-3)
        assert all(replica.blocks[1].ffn.dropout.mask is not None for replica in parallel.replicas)


def test_every_generator_of_every_replica_is_named(make_gpt):
    model = make_gpt(dropout=0.5)
    with DataParallel(model, 3) as parallel:
        names = parallel.generators()
    assert len(names) == 3 * len(model.generators()) == 3 * (1 + 2 * 2)
    assert "0.dropout.rng" in names and "2.blocks.1.attn.dropout.rng" in names
    assert len({id(rng) for rng in names.values()}) == len(names)


def test_blas_has_one_thread_in_a_worker_and_gets_its_own_back(make_gpt, make_batch):
    before = blas_threads()
    assert before, "this NumPy's BLAS is one that threadpoolctl does not know"
    with DataParallel(make_gpt(), 2) as parallel:
        inside = parallel.map(lambda _: blas_threads(), [0, 1])
        assert {count for pools in inside for _, count in pools} == {1}
        assert blas_threads() == before
        parallel.loss(*make_batch())
        parallel.backward()
        assert blas_threads() == before


def test_an_error_in_a_worker_comes_out_and_the_rest_goes_on(make_gpt, make_batch):
    x, y = make_batch(shape=(4, 6))
    wrong = x.copy()
    wrong[3, 2] = 99
    before = blas_threads()
    with DataParallel(make_gpt(), 2) as parallel:
        with pytest.raises(ValueError, match="id.*99"):
            parallel.loss(wrong, y)
        assert blas_threads() == before
        assert parallel.loss(x, y) == pytest.approx(make_gpt().loss(x, y), rel=1e-13)


def test_an_interrupted_worker_is_not_swallowed(make_gpt):
    def interrupt(_):
        raise KeyboardInterrupt

    with DataParallel(make_gpt(), 2) as parallel, pytest.raises(KeyboardInterrupt):
        parallel.map(interrupt, [0, 1])


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [0, 1, 5, 100])
def test_shared_work_is_done_once_and_comes_back_in_order(size, workers, make_gpt):
    done = []

    def work(i):
        done.append(i)
        return i * i

    with DataParallel(make_gpt(), workers) as parallel:
        assert parallel.map_slices(work, list(range(size))) == [i * i for i in range(size)]
    assert sorted(done) == list(range(size))


def test_every_worker_has_ended_when_an_error_comes_out(make_gpt):
    ended = threading.Event()

    def work(first):
        if first:
            raise ValueError("first")
        threading.Event().wait(0.05)
        ended.set()

    with DataParallel(make_gpt(), 2) as parallel, pytest.raises(ValueError, match="first"):
        try:
            parallel.map(work, [True, False])
        finally:
            assert ended.is_set()


def test_workers_have_the_callers_errstate(make_gpt):
    with DataParallel(make_gpt(), 2) as parallel, np.errstate(over="raise"):
        assert {state["over"] for state in parallel.map(lambda _: np.geterr(), [0, 1])} == {"raise"}


def test_workers_default_to_the_cores(make_gpt):
    with DataParallel(make_gpt()) as parallel:
        assert parallel.workers == cores() == len(parallel.replicas) >= 1


def test_at_least_one_worker(make_gpt):
    with pytest.raises(ValueError, match="workers.*1.*0"):
        DataParallel(make_gpt(), 0)


def test_backward_needs_a_loss(make_gpt):
    with DataParallel(make_gpt(), 2) as parallel, pytest.raises(RuntimeError, match="loss"):
        parallel.backward()


def test_replicas_whose_parameters_were_moved_are_an_error(make_gpt, make_batch):
    model = make_gpt()
    with DataParallel(model, 2) as parallel:
        model.astype("float32")
        with pytest.raises(RuntimeError, match="moved"):
            parallel.loss(*make_batch())


def test_closing_ends_the_threads(make_gpt, make_batch):
    parallel = DataParallel(make_gpt(), 2)
    parallel.close()
    with pytest.raises(RuntimeError, match="closed"):
        parallel.loss(*make_batch())
