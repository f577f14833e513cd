"""The learning rate at every boundary of warm-up and decay, and the scheduler's state."""

import math

import numpy as np
import pytest

from numpygpt.nn import Linear
from numpygpt.optim import SGD
from numpygpt.optim.lr_scheduler import WarmupCosineLR, warmup_cosine


@pytest.mark.parametrize(("step", "lr"), [
    (0, 0.25), (1, 0.5), (2, 0.75), (3, 1.0),  # (step + 1) / 4: the first update already moves
    (4, 1.0), (6, 0.1 + 0.45 * (1 + math.sqrt(0.5))), (8, 0.55), (10, 0.1 + 0.45 * (1 - math.sqrt(0.5))),
    (11, 0.1 + 0.45 * (1 + math.cos(7 * math.pi / 8))), (12, 0.1), (13, 0.1), (10**9, 0.1),
])
def test_warm_up_then_cosine_then_the_floor(step, lr):
    assert warmup_cosine(step, 1.0, 0.1, warmup=4, decay=12) == pytest.approx(lr, rel=1e-12)


def test_without_warm_up_it_starts_at_the_top():
    assert [warmup_cosine(step, 1.0, 0.0, 0, 4) for step in range(6)] == pytest.approx(
        [1, 0.5 + math.sqrt(0.5) / 2, 0.5, 0.5 - math.sqrt(0.5) / 2, 0, 0], abs=1e-15)


def test_warm_up_up_to_the_end_has_no_cosine():
    assert [warmup_cosine(step, 1.0, 0.2, 4, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 0.2, 0.2]


def test_no_warm_up_and_no_decay_is_the_floor():
    assert [warmup_cosine(step, 1.0, 0.2, 0, 0) for step in (0, 5)] == [0.2, 0.2]


def test_it_rises_then_falls_and_stays_between_floor_and_top():
    lrs = np.array([warmup_cosine(step, 3e-4, 3e-5, 10, 100) for step in range(120)])
    assert (np.diff(lrs[:10]) > 0).all() and (np.diff(lrs[10:101]) < 0).all() and (np.diff(lrs[100:]) == 0).all()
    assert lrs.max() == 3e-4 and lrs[10:].min() == 3e-5


def test_the_scheduler_sets_the_rate_of_the_coming_update():
    optimizer = SGD(Linear(2, 2), lr=1.0)
    schedule = WarmupCosineLR(optimizer, warmup=4, decay=12, min_lr=0.1)
    seen = []
    for _ in range(14):
        seen.append(optimizer.lr)
        optimizer.step()
        schedule.step()
    assert seen == [warmup_cosine(step, 1.0, 0.1, 4, 12) for step in range(14)]


def test_the_top_can_be_given():
    optimizer = SGD(Linear(2, 2), lr=1.0)
    WarmupCosineLR(optimizer, warmup=2, decay=12, max_lr=0.5)
    assert optimizer.lr == 0.25


def test_the_state_goes_on_where_it_stood():
    first, second = SGD(Linear(2, 2), lr=1.0), SGD(Linear(2, 2), lr=1.0)
    schedule = WarmupCosineLR(first, warmup=4, decay=12)
    for _ in range(7):
        schedule.step()
    assert schedule.state_dict() == {"step": 7}
    restored = WarmupCosineLR(second, warmup=4, decay=12)
    restored.load_state_dict(schedule.state_dict())
    assert second.lr == first.lr
    schedule.step()
    restored.step()
    assert second.lr == first.lr == warmup_cosine(8, 1.0, 0.0, 4, 12)


@pytest.mark.parametrize(("values", "message"), [
    ({"warmup": -1, "decay": 5}, "5 .*-1"),
    ({"warmup": 6, "decay": 5}, "5 .*6"),
    ({"warmup": 1, "decay": 5, "min_lr": -0.1}, "min_lr.*1.0.*-0.1"),
    ({"warmup": 1, "decay": 5, "min_lr": 2.0}, "min_lr.*1.0.*2.0"),
    ({"warmup": 1, "decay": 5, "max_lr": math.nan}, "min_lr.*nan"),
])
def test_values_out_of_range_are_errors(values, message):
    optimizer = SGD(Linear(2, 2), lr=1.0)
    with pytest.raises(ValueError, match=message):
        WarmupCosineLR(optimizer, **values)
    assert optimizer.lr == 1.0
