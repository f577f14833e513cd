"""The loss scale: it halves when a gradient overflows, grows after many good steps, and its state is exact."""

import pytest

from numpygpt.optim import LossScale
from numpygpt.optim.loss_scale import GROW_EVERY, MOST


def test_it_halves_and_grows():
    scale = LossScale()
    assert scale.scale == 65536
    for finite, expected in ((True, 65536), (False, 32768), (False, 16384)):
        scale.update(finite)
        assert scale.scale == expected
    for _ in range(GROW_EVERY - 1):
        scale.update(True)
    assert (scale.scale, scale.skipped) == (16384, 2)
    scale.update(True)
    assert (scale.scale, scale.good) == (32768, 0)


def test_an_overflow_starts_the_count_of_good_steps_again():
    scale = LossScale()
    for finite in [True] * (GROW_EVERY - 1) + [False] + [True] * (GROW_EVERY - 1):
        scale.update(finite)
    assert scale.scale == 32768


def test_its_bounds():
    scale = LossScale(2.0)
    assert scale.can_fall()
    scale.update(False)
    assert scale.scale == 1 and not scale.can_fall()
    scale.update(False)
    assert scale.scale == 1 and scale.skipped == 2
    scale = LossScale(MOST)
    scale.good = GROW_EVERY - 1
    scale.update(True)
    assert scale.scale == MOST


def test_its_state():
    scale, other = LossScale(), LossScale()
    for finite in (True, False, True, True):
        scale.update(finite)
    other.load_state_dict(scale.state_dict())
    assert vars(other) == vars(scale) and scale.state_dict() == {"scale": 32768.0, "good": 2, "skipped": 1}


@pytest.mark.parametrize("change", [{"scale": 0.5}, {"scale": 3.0}, {"scale": float("nan")}, {"scale": 2.0**60},
                                    {"scale": "1"},
                                    {"good": -1}, {"skipped": 1.5}, {"good": None}, {"skipped": True}], ids=str)
def test_a_damaged_state_is_refused(change):
    scale = LossScale()
    with pytest.raises(ValueError, match="loss scale"):
        scale.load_state_dict(scale.state_dict() | change)
    assert vars(scale) == vars(LossScale())
