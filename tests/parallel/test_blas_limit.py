"""The limit on BLAS's threads: the smallest of the open ones holds, in whatever order threads leave theirs."""

import threading

import pytest

from numpygpt.parallel.blas import blas, blas_threads


def now():
    return [library.num_threads for library in blas()]


@pytest.fixture
def two():
    """BLAS with two threads, on any machine."""
    before = now()
    for library in blas():
        library.set_num_threads(2)
    yield
    assert now() == [2] * len(before)
    for library, threads in zip(blas(), before, strict=True):
        library.set_num_threads(threads)


def test_blocks_may_end_in_any_order(two):
    one, other = blas_threads(1), blas_threads(1)
    one.__enter__()
    other.__enter__()
    one.__exit__()
    assert set(now()) == {1}
    other.__exit__()
    assert set(now()) == {2}


def test_the_smallest_limit_holds_and_none_raises_the_number(two):
    with blas_threads(64):
        assert set(now()) == {2}
        with blas_threads(1), blas_threads(2):
            assert set(now()) == {1}
        assert set(now()) == {2}


def test_threads_that_overlap_leave_the_number_as_it_was(two):
    wrong = []

    def work():
        for _ in range(100):
            with blas_threads(1):
                if set(now()) != {1}:
                    wrong.append(now())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and set(now()) == {2}


def test_an_error_inside_restores_too(two):
    with pytest.raises(KeyboardInterrupt), blas_threads(1):
        raise KeyboardInterrupt
    assert set(now()) == {2}
