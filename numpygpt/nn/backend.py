"""Where arrays live: NumPy's in this computer's memory, or CuPy's on an NVIDIA GPU. All that differs is in this file.

The layers are written in NumPy. NumPy passes a call on to CuPy if an argument is one of CuPy's arrays (NEP 13, NEP 18,
and NEP 35 for `like=`), so the same lines run on a GPU. Nothing is copied between host and device unless a line asks
for it: by `like`, `write` or `to_host` here, or by `float` of a number on the device, which waits for it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

DEVICE_ENTRIES = 1 << 26  # of a tile on a GPU: enough to fill it, and 256 MB in float32

# -- arrays ------------------------------------------------------------------------------------------------------------


def xp_of(x: Any) -> ModuleType:
    """The module that the array's functions are in: numpy or cupy."""
    return np if on_host(x) else sys.modules[type(x).__module__]


def gpu_of(x: Any) -> int:
    """The number of the GPU that the array is on; 0 on the host."""
    return getattr(getattr(x, "device", None), "id", 0)


def is_array(x: Any) -> bool:
    """Whether x is an array, of any device."""
    return hasattr(type(x), "__array_function__")


def on_host(x: Any) -> bool:
    """Whether an array, or a number that a reduction gave, is in this computer's memory."""
    return isinstance(x, (np.ndarray, np.generic))


def to_host(x: Any) -> np.ndarray:
    """The array in this computer's memory: itself if it is there. A list or a number becomes an array."""
    return xp_of(x).asnumpy(x) if is_array(x) and not on_host(x) else np.asarray(x)


def like(array: np.ndarray, x: Any) -> Any:
    """The array where x is: itself if it is there."""
    return array if on_host(x) or not on_host(array) else xp_of(x).asarray(array)


def write(target: Any, source: Any) -> None:
    """target[...] = source, from any device to any other."""
    target[...] = to_host(source) if on_host(target) else like(source if is_array(source) else to_host(source), target)


def number_of(x: Any) -> Any:
    """A result of a reduction as a Python float. On a device it stays an array without axes, because reading it would
    wait for all work before it."""
    return float(x) if on_host(x) else x


def address(x: Any) -> int:
    """The address of the first entry."""
    return x.ctypes.data if on_host(x) else x.data.ptr


def entries(x: Any, n: int) -> int:
    """How many entries of x to work on at once: `n` on the CPU, so that they stay in the processor's cache."""
    return n if on_host(x) else DEVICE_ENTRIES


def rounded_up(n: int) -> int:
    """The next power of 2: for tables that are stored for each size."""
    return 1 << (n - 1).bit_length()


# -- functions that the libraries have in different forms --------------------------------------------------------------


def ones(n: int, X: Any) -> Any:
    """n ones where X is, in its dtype. (NumPy's `ones(like=X)` passes arguments on that CuPy's `ones` refuses.)"""
    return xp_of(X).ones(n, X.dtype)


def sum_rows(X: Any) -> Any:
    """The sum of the rows: (N, C) -> (C,). On the CPU a product with ones takes half the time of `sum`."""
    return np.ones(len(X), X.dtype) @ X if on_host(X) else X.sum(axis=0)


def row_sums(X: Any) -> Any:
    """The sum of each row: (..., C) -> (...). On the CPU a product with ones takes a third of the time of `sum`."""
    return X @ np.ones(X.shape[-1], X.dtype) if on_host(X) else X.sum(axis=-1)


def row_dot(A: Any, B: Any) -> Any:
    """The sum of A * B over the last axis: (..., C) -> (...)."""
    return np.vecdot(A, B) if on_host(A) else (A * B).sum(axis=-1)


def add_rows(W: Any, ids: Any, X: Any) -> None:
    """W[ids] += X, where an id that occurs several times gets the sum of its rows. ids: (N,), X: (N, C).

    On the CPU sorting brings the rows of each id together, and one reduceat sums every run, in a fixed order. On a
    device the sums are atomic: their order, and so their rounding, differs from call to call.
    """
    if not on_host(W):
        np.add.at(W, ids, X)
    elif len(ids):
        order = ids.argsort(kind="stable")
        found, starts = np.unique(ids[order], return_index=True)
        W[found] += np.add.reduceat(X[order], starts, axis=0)


def uniform(rng: np.random.Generator, X: Any) -> Any:
    """Random numbers from [0, 1) in float32, in the shape of X."""
    if on_host(X):
        return rng.random(X.shape, dtype=np.float32)
    bits = hashed(int(rng.integers(1 << 62)), X)
    bits >>= 8
    return (bits.astype(np.float32) * 2**-24).reshape(X.shape)


def random_halves(seed: list[int], X: Any) -> Any:
    """Random integers from 0 to 2^16 - 1, in the shape of X. Equal seeds give equal ones."""
    if on_host(X):
        return np.random.SFC64(seed).random_raw(-(-X.size // 4)).view(np.uint16)[: X.size].reshape(X.shape)
    key = int(np.random.SFC64(seed).random_raw()) >> 2
    return (hashed(key, X) >> 16).reshape(X.shape)


def hashed(key: int, X: Any) -> Any:
    """X.size random uint32 on X's device: a hash of 0, 1, 2, ... and the key. So the device has no random state of its
    own. The host's generator draws the key."""
    bits = xp_of(X).arange(X.size, dtype=np.uint32)
    for word in (key & 0xFFFFFFFF, key >> 32):
        bits ^= np.uint32(word)
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):  # the constants of lowbias32
            bits ^= bits >> shift
            bits *= np.uint32(factor)
        bits ^= bits >> 16
    return bits


# -- devices -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """A place for arrays. `put` moves an array there, and `holds` says whether it is there. `about` describes the
    machine, and `free` says how many bytes of its memory are not in use; None if unknown."""

    name: str
    put: Callable[[Any], Any]
    holds: Callable[[Any], bool]
    about: str = ""
    free: Callable[[], int | None] = lambda: None


CPU = Device("cpu", to_host, on_host)


def cuda(index: int) -> Device:
    """An NVIDIA GPU. RuntimeError says why it cannot be used. It becomes the current device of this thread."""
    found = usable(index)
    sys.modules["cupy"].cuda.Device(index).use()
    return found


@functools.cache
def usable(index: int) -> Device:
    """What `cuda` returns. The search takes some milliseconds, so it is done once."""
    try:
        import cupy
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise RuntimeError('CuPy is not installed; with an NVIDIA GPU: pip install -e ".[cuda]"') from error
        raise RuntimeError(f"CuPy cannot be imported ({last_line(error)})") from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        if not count:
            raise RuntimeError("there is none")
        if index >= count:
            raise ValueError(f"device cuda:{index} does not exist: this computer has {count}, counted from 0")
        cupy.cuda.Device(index).use()
        probe = cupy.ones((2, 2), np.float32)
        float((probe @ probe).sum())  # kernels and a product: the driver and the CUDA libraries must fit CuPy
        properties = cupy.cuda.runtime.getDeviceProperties(index)
    except ValueError:
        raise
    except Exception as error:  # CuPy's own, of many kinds
        raise RuntimeError(f"CuPy finds no GPU that it can use: {last_line(error)}. nvidia-smi shows the "
                           "driver") from error

    def free() -> int:
        return cupy.cuda.runtime.memGetInfo()[0] + cupy.get_default_memory_pool().free_bytes()

    def put(x: Any) -> Any:
        with cupy.cuda.Device(index):
            return cupy.asarray(to_host(x))

    def holds(x: Any) -> bool:
        return not on_host(x) and x.device.id == index

    return Device(f"cuda:{index}", put, holds, f"{properties['name'].decode()}, CuPy {cupy.__version__}", free)


DEVICES: dict[str, Callable[[int], Device]] = {"cpu": lambda index: CPU, "cuda": cuda}


def device(name: str | Device) -> Device:
    """The device "cpu", "cuda" or "cuda:N". ValueError for another name, RuntimeError if it cannot be used."""
    if isinstance(name, Device):
        return name
    kind, index = parse(name)
    return DEVICES[kind](index)


def parse(name: str) -> tuple[str, int]:
    """(kind, number) of a device's name. ValueError for another name; nothing is looked for."""
    kind, _, index = name.partition(":") if isinstance(name, str) else ("", "", "")
    if kind not in DEVICES or (":" in name and (kind == "cpu" or not index.isdecimal() or len(index) > 3)):
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {name!r:.40}")
    return kind, int(index or 0)


def choose(name: str) -> tuple[Device, str]:
    """(the device, why it is this one). "auto" is the first GPU that can be used, or else the CPU. Raises what `device`
    raises."""
    if name != "auto":
        found = device(name)
        return found, found.about or "as `device` says"
    try:
        found = device("cuda")
        return found, found.about
    except RuntimeError as error:
        return CPU, str(error)


def last_line(error: BaseException) -> str:
    """The last line of a message that is more than a rule."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" =")]
    return lines[-1][:200] if lines else type(error).__name__
