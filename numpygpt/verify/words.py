"""What gradcheck says of places, shapes and dtypes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

Shape = tuple[int, ...]
# NumPy's words where `db += dY` has too many rows, and Module's where `db = db + dY` has.
UNFIT = re.compile(r"output operand with shape \(([\d, ]*)\) doesn't match the broadcast shape \(([\d, ]*)\)")
UNASSIGNED = re.compile(r"\.d(\w+) has shape \(([\d, ]*)\), got \(([\d, ]*)\)")


def where(wrong: np.ndarray) -> str:
    """"3 of 12 entries are wrong, those of index 1 on axis 0": what they have in common, where they are not all."""
    count = f"{np.count_nonzero(wrong)} of {wrong.size} entries are wrong"
    if wrong.all() or np.count_nonzero(wrong) < 2:
        return count
    for axis, size in enumerate(wrong.shape):
        hit = np.flatnonzero(wrong.any(axis=tuple(a for a in range(wrong.ndim) if a != axis)))
        if wrong.take(hit, axis).all() and len(hit) < size:
            run = len(hit) > 2 and hit[-1] - hit[0] == len(hit) - 1
            places = f"{hit[0]} to {hit[-1]}" if run else ", ".join(map(str, hit))
            return f"{count}, all those of index {places} on axis {axis}"
    if wrong.ndim == 2 and wrong.shape[0] == wrong.shape[1]:
        diagonal = np.eye(len(wrong), dtype=bool)
        for place, mask in (("on", diagonal), ("off", ~diagonal), ("above", np.triu(mask_like(wrong), 1)),
                            ("below", np.tril(mask_like(wrong), -1))):
            if np.array_equal(wrong, mask):
                return f"{count}, all those {place} the diagonal"
    return count


def mask_like(wrong: np.ndarray) -> np.ndarray:
    return np.ones(wrong.shape, dtype=bool)


@contextmanager
def explained(call: str, params: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Around a call of a layer's: an error of NumPy's whose reason is known is raised again in words that say it."""
    try:
        yield
    except ValueError as error:
        said = unfit(call, error, params)
        if "read-only" in str(error):
            said = (f"{call} changes an array that it was given: dY and inputs may not be changed in place, as others "
                    "use them too (they are read-only here); make a new array")
        if said:
            raise ValueError(said) from error
        raise


def unfit(call: str, error: ValueError, params: Mapping[str, np.ndarray]) -> str | None:
    """What `call`, a backward pass, did wrong that ended in this error, where it put an array of another shape into a
    gradient; None where it did something else."""
    if found := UNASSIGNED.search(str(error)):
        named, has, got = found[1], shape_of(found[2]), shape_of(found[3])
    elif found := UNFIT.search(str(error)):
        named, has, got = "", shape_of(found[1]), shape_of(found[2])
    else:
        return None
    names = [name for name, param in params.items() if param.shape == has and named in ("", name.split(".")[-1])]
    if not names:
        return None  # an array of the layer's own
    return (f"{call} puts an array of shape {got} into the gradient of {' or '.join(names)}, of shape "
            f"{has}: a gradient has the shape of its array{missing_sum(got, has)}")


def shape_of(text: str) -> Shape:
    return tuple(map(int, re.findall(r"\d+", text)))


def missing_sum(got: Shape, wanted: Shape) -> str:
    """", and the sum over axis 0 is missing": the axes that broadcasting added or stretched, where it was that."""
    added = len(got) - len(wanted)
    if added < 0 or any(a not in (b, 1) for a, b in zip(wanted, got[added:], strict=True)):
        return ""
    stretched = [added + i for i, (a, b) in enumerate(zip(wanted, got[added:], strict=True)) if a != b]
    return f", and the sum over {axes([*range(added), *stretched])}, along which it was broadcast, is missing"


def axes(numbers: Iterable[int]) -> str:
    *first, last = map(str, numbers)
    return f"the axes {', '.join(first)} and {last}" if first else f"axis {last}"


def promoted(name: str, dtype: str) -> str:
    """The cause where an input's gradient is right but for its dtype."""
    return (f"backward returned d{name} in {dtype} for a float64 {name}: dtype in, dtype out (look for a cast, or an "
            "array that is made without the dtype of its operand)")
