"""Every layer on a device: forward, backward and update run on arrays that refuse what CuPy refuses, and give the
numbers of the CPU."""

import numpy as np
import pytest
import strict

from numpygpt.nn import backend
from numpygpt.verify.cases import gradient_cases
from numpygpt.verify.devices import difference
from numpygpt.verify.wrappers import AfterALargerTable

CASES = [(make, inputs, f"{layer}: {name}") for layer, name, make, inputs in gradient_cases()]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-5)])
@pytest.mark.parametrize(("make", "inputs"), [case[:2] for case in CASES], ids=[case[2] for case in CASES])
def test_a_layer_gives_on_a_device_what_it_gives_on_the_cpu(make, inputs, dtype, tolerance):
    if isinstance(make(), AfterALargerTable):
        pytest.skip("this wrapper makes a layer on the CPU in its forward")
    assert difference(make, inputs, strict.DEVICE, dtype) < tolerance


@pytest.mark.parametrize(("make", "inputs"), [case[:2] for case in CASES[::9]], ids=[case[2] for case in CASES[::9]])
def test_a_wrong_number_on_the_device_is_noticed(make, inputs, monkeypatch):
    """If not, the test above would prove nothing. One entry of the output is off."""
    call = type(make()).forward

    def wrong(self, *args):
        out = call(self, *args)
        last = out[-1] if isinstance(out, tuple) else out
        return last + 1e-3 if isinstance(last, strict.ndarray) else out

    monkeypatch.setattr(type(make()), "forward", wrong)
    assert difference(make, inputs, strict.DEVICE) > 1e-5


def test_forward_and_backward_copy_nothing_to_the_host():
    for make, inputs, name in CASES:
        module = make()
        if isinstance(module, AfterALargerTable):
            continue
        module.to(strict.DEVICE)
        strict.transfers.clear()
        out = module(*(strict.asarray(x.astype(np.float32)) if x.dtype.kind == "f" else x for x in inputs))
        out = out[-1] if isinstance(out, tuple) else out
        module.backward(strict.asarray(np.ones(out.shape, np.float32)) if out.shape else 1.0)
        assert not strict.transfers, name


@pytest.mark.parametrize("refused", [
    lambda x: np.asarray(x), lambda x: x + np.ones(3), lambda x: np.vecdot(x, x), lambda x: np.ones(3) * x,
    lambda x: x.sum(where=x > 0), lambda x: np.maximum.reduce(x), lambda x: x[np.array([0, 1])],
    lambda x: np.concatenate([x, np.ones(2)]), lambda x: np.add.reduceat(x, [0, 1]), lambda x: x.ctypes,
    lambda x: np.add(x, x, where=x > 0), lambda x: x.__setitem__(slice(None), np.ones(3))])
def test_the_stand_in_refuses(refused):
    """If it accepted these, the tests above would prove less than they seem to."""
    with pytest.raises((TypeError, AttributeError)):
        refused(strict.asarray(np.arange(3.0)))


def test_the_stand_in_counts_copies_to_the_host():
    x = strict.asarray(np.arange(3.0))
    strict.transfers.clear()
    assert float(x.sum()) == 3 and bool((x >= 0).all()) and backend.to_host(x).tolist() == [0, 1, 2]
    assert len(x[x > 0]) == 2
    assert strict.transfers == [8, 1, 24, 8]


@pytest.mark.parametrize("seed", [0, 1, 2**62 - 1])
def test_random_numbers_of_a_device_are_uniform_and_depend_on_the_generator_alone(seed):
    X = strict.asarray(np.empty((300, 401), np.float32))
    draws = [backend.to_host(backend.uniform(np.random.default_rng(seed), X)) for _ in range(2)]
    np.testing.assert_array_equal(*draws)
    u = draws[0]
    assert u.dtype == np.float32 and u.shape == X.shape and 0 <= u.min() and u.max() < 1
    counts = np.histogram(u, 64, (0, 1))[0]
    expected = u.size / 64
    assert ((counts - expected) ** 2 / expected).sum() < 63 + 5 * np.sqrt(2 * 63)  # chi-squared, five sigma
    for shift in (1, 2, 401):  # neighbours are independent
        flat = u.ravel() - 0.5
        assert abs((flat[shift:] * flat[:-shift]).mean() * 12) < 5 / np.sqrt(u.size)
    other = backend.to_host(backend.uniform(np.random.default_rng(seed + 1), X)) - 0.5
    assert abs((other * (u - 0.5)).mean() * 12) < 5 / np.sqrt(u.size)


def test_halves_of_a_device_depend_on_the_whole_seed():
    X = strict.asarray(np.empty((50, 40)))
    draws = {seed: backend.to_host(backend.random_halves(list(seed), X)) for seed in ((3, 0), (3, 1), (4, 0))}
    assert all(d.min() >= 0 and d.max() < 2**16 and d.max() > 65_000 for d in draws.values())
    assert not any((draws[a] == draws[b]).mean() > 0.01 for a in draws for b in draws if a != b)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:0", "cuda:-1", "", 3, None])
def test_a_name_that_is_no_device_is_refused(name):
    with pytest.raises(ValueError, match="device"):
        backend.device(name)


def test_what_cupy_has_is_as_the_file_says():
    """A newer CuPy may have more: run `python tests/strict.py` then."""
    cupy = pytest.importorskip("cupy")
    if cupy.__version__ != strict.VERSION:
        pytest.skip(f"the file is of CuPy {strict.VERSION}")
    assert list(strict.names_of(cupy)) == strict.FILE.read_text(encoding="utf-8").splitlines()
