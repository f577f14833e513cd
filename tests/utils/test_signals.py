"""Signals wait for the end of a block, arrive all and in order, and the handlers are then what they were."""

import os
import signal
import threading

import pytest
from interrupts import interrupted

from numpygpt.utils.signals import signals_wait


@pytest.fixture
def handled():
    """Signals that arrived, in order; SIGINT's handler raises too, as Python's own does."""
    came = []

    def interrupt(number, frame):
        came.append(number)
        raise KeyboardInterrupt

    before = {signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
              signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))}
    yield came
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_signal_is_delivered_at_the_end_of_the_block(handled):
    before, inside = handlers(), []
    with pytest.raises(KeyboardInterrupt), signals_wait():
        signal.raise_signal(signal.SIGINT)
        inside.append(list(handled))
    assert (inside, handled) == ([[]], [signal.SIGINT]) and handlers() == before


def test_every_signal_is_delivered_in_order_although_the_first_handler_raises(handled):
    with pytest.raises(KeyboardInterrupt), signals_wait():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
    assert handled == [signal.SIGINT, signal.SIGTERM, signal.SIGINT]


def test_a_block_inside_a_block_ends_with_the_outer_one(handled):
    with pytest.raises(KeyboardInterrupt), signals_wait():
        with signals_wait():
            signal.raise_signal(signal.SIGINT)
        assert handled == []
    assert handled == [signal.SIGINT]


def test_an_error_in_the_block_is_the_context_of_the_interrupt(handled):
    before = handlers()
    with pytest.raises(KeyboardInterrupt) as raised, signals_wait():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("inside")
    assert isinstance(raised.value.__context__, ValueError) and handlers() == before
    with pytest.raises(ValueError, match="inside"), signals_wait():
        raise ValueError("inside")
    assert handlers() == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals_wait():
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_the_block_changes_nothing(handled):
    before, found = handlers(), []

    def work():
        with signals_wait():
            found.append(handlers())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_signals_at_random_moments_never_tear_a_block():
    """Also those that arrive while the handlers are being exchanged, after which they are what they were."""
    pair, torn = [0, 0], []

    def work():
        for _ in range(300):
            with signals_wait():
                pair[0] += 1
                sum(range(50))
                pair[1] += 1

    hits = 0
    for seed in range(100):
        hits += interrupted(work, seed, longest=0.005)
        if pair[0] != pair[1]:
            torn.append(seed)
    assert torn == [] and hits > 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_by_another_thread_does_not_leave_the_childs_signals_waiting(handled):
    status = []

    def fork():
        child = os.fork()
        if child == 0:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                os._exit(7)
            os._exit(1)
        status.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    with signals_wait():
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join(30)
    assert status == [7]
