"""Every layer on a device: forward, backward and update run on arrays that refuse what CuPy refuses, and give the
numbers of the CPU."""

import copy

import numpy as np
import pytest
import strict

from numpygpt.nn import backend, causal_attention
from numpygpt.nn.modules import dropout
from numpygpt.optim import AdamW, clip_grad_norm
from numpygpt.verify.cases import gradient_cases
from numpygpt.verify.check import Comparison
from numpygpt.verify.wrappers import AfterALargerTable

CASES = [(make, inputs, f"{layer}: {name}") for layer, name, make, inputs in gradient_cases()]


@pytest.fixture(autouse=True)
def masks_of_the_host(monkeypatch):
    """Devices draw other masks than the CPU. Here they get the same ones, so that all numbers can be compared."""
    uniform, halves = backend.uniform, backend.random_halves
    monkeypatch.setattr(dropout, "uniform", lambda rng, X: backend.like(uniform(rng, np.empty(X.shape)), X))
    monkeypatch.setattr(causal_attention, "random_halves",
                        lambda seed, X: backend.like(halves(seed, np.empty(X.shape)), X))


def run(module, arrays, G, noise, device):
    """(output, gradients of the inputs, gradients and updated parameters by name), as NumPy's arrays."""
    module = copy.deepcopy(module).to(device)
    inputs = [device.put(x) if x.dtype.kind == "f" else x for x in arrays]
    for name, grad in module.grads().items():
        backend.write(grad, noise[name])
    strict.transfers.clear()
    out = module(*inputs)
    out = out[-1] if isinstance(out, tuple) else out
    returned = module.backward(device.put(G) if isinstance(G, np.ndarray) else G)
    assert not strict.transfers
    grads = {name: backend.to_host(grad).copy() for name, grad in module.grads().items()}
    if grads:
        clip_grad_norm(module, 1.0)
        AdamW(module, lr=0.1, eps=1e-2).step()
    returned = [g for g in (returned if isinstance(returned, tuple) else (returned,)) if g is not None]
    return backend.to_host(out), [backend.to_host(g) for g in returned], grads, module.state_dict()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-5)])
@pytest.mark.parametrize(("make", "inputs"), [case[:2] for case in CASES], ids=[case[2] for case in CASES])
def test_a_layer_gives_on_a_device_what_it_gives_on_the_cpu(make, inputs, dtype, tolerance, monkeypatch, request):
    module = make()
    if "weights dropped" in request.node.callspec.id:  # each tile has a mask of its own
        monkeypatch.setattr(causal_attention, "entries", lambda x, n: n)
    if isinstance(module, AfterALargerTable):
        pytest.skip("this wrapper makes a layer on the CPU in its forward")
    comparison = Comparison(module, *inputs)
    fresh = comparison.fresh.astype(dtype)
    arrays = [x.astype(dtype) if x.dtype.kind == "f" else x for x in comparison.arrays]
    G = np.array(comparison.G, dtype) if isinstance(comparison.G, np.ndarray) else comparison.G
    expected, found = (run(fresh, arrays, G, comparison.noise, device) for device in (backend.CPU, strict.DEVICE))

    def close(a, b):
        assert a.dtype == b.dtype or not a.ndim
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance * max(np.abs(a).max(initial=0), 1))

    close(expected[0], found[0])
    assert len(expected[1]) == len(found[1])
    for a, b in zip(expected[1], found[1], strict=True):
        close(a, b)
    for theirs, ours in zip(expected[2:], found[2:], strict=True):
        assert theirs.keys() == ours.keys()
        for name in theirs:
            close(theirs[name], ours[name])


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
