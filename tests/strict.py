"""A stand-in for CuPy where there is no GPU: arrays that refuse what CuPy refuses. This module plays the module cupy.

`ndarray` is no subclass of NumPy's. It refuses to be mixed with NumPy's arrays, to become one unasked, and functions,
arguments and attributes that CuPy lacks. Each copy to the host is counted in `transfers`, with its number of bytes.

What CuPy has is in cupy_names.txt. `python tests/strict.py` writes that file where CuPy is installed; no GPU is needed.
"""

import inspect
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("cupy_names.txt")
VERSION, *LINES = FILE.read_text(encoding="utf-8").splitlines() if FILE.exists() else ["none"]
NAMES = {name: words for name, *words in map(str.split, LINES)}  # function or method -> its parameters
ATTRIBUTES = set(NAMES.get("ndarray", ()))
UFUNC = ("out", "casting", "dtype")  # what a ufunc of CuPy takes besides its operands
REDUCE = {"add", "multiply"}  # ufuncs that have reduce and accumulate


def names_of(cupy):
    """The lines of the file: the version, then each function of NumPy that CuPy has, with its parameters."""
    yield cupy.__version__
    for name in sorted(set(dir(np)) & set(dir(cupy))):
        ours, theirs = getattr(np, name), getattr(cupy, name)
        if name.startswith("_") or not callable(theirs) or isinstance(ours, type):
            continue
        words = ["ufunc"] if isinstance(ours, np.ufunc) and type(theirs).__name__ == "ufunc" else parameters(theirs)
        yield " ".join([name, *words])
    yield " ".join(["ndarray", *(name for name in dir(cupy.ndarray) if not name.startswith("_"))])


def parameters(function):
    kinds = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    try:
        return [kinds.get(p.kind, "") + p.name for p in inspect.signature(function).parameters.values()]
    except (ValueError, TypeError):  # not written in Python
        return ["*args", "**kwargs"]


transfers = []  # bytes of each copy to the host


class ndarray:
    __array_priority__ = 100

    def __init__(self, array, base=None):
        self._array, self.base = array, base

    # -- what is refused -----------------------------------------------------------------------------------------------

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed: use asnumpy")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if ufunc.__name__ not in NAMES:
            raise TypeError(f"CuPy has no {ufunc.__name__}")
        if method not in ("__call__", "at", "outer") and ufunc.__name__ not in REDUCE:
            raise TypeError(f"CuPy has no {ufunc.__name__}.{method}")
        if method == "reduceat":
            raise TypeError("CuPy's reduceat is inexact in float32: use add.at")
        known = UFUNC if method == "__call__" else ("axis", "dtype", "out", "keepdims")
        if wrong := set(kwargs) - set(known):
            raise TypeError(f"CuPy's {ufunc.__name__}.{method} has no {', '.join(wrong)}")
        return called(getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        name = function.__name__
        check_call(name, args, kwargs)
        if name in ("unique", "nonzero", "flatnonzero", "argwhere"):
            transfers.append(8)  # the size of the result
        if name in ("shape", "ndim", "size"):
            return function(args[0]._array, *args[1:], **kwargs)
        return called(function, args, kwargs)

    # -- what waits for the device -------------------------------------------------------------------------------------

    def scalar(self):
        if self._array.ndim:
            raise TypeError("only an array without axes is a number")
        transfers.append(self._array.nbytes)
        return self._array

    def __float__(self):
        return float(self.scalar())

    def __int__(self):
        return int(self.scalar())

    def __bool__(self):
        return bool(self.scalar())

    def __format__(self, how):
        return format(self.scalar(), how)

    def item(self):
        return self.scalar().item()

    def get(self):
        transfers.append(self._array.nbytes)
        return self._array.copy()

    # -- views and entries ---------------------------------------------------------------------------------------------

    def __getitem__(self, key):
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, ndarray) and part.dtype == bool for part in parts):
            transfers.append(8)  # the size of the result
        return wrapped(self._array[unwrapped(key)], (self,))

    def __setitem__(self, key, value):
        self._array[unwrapped(key)] = unwrapped(value)

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    @property
    def data(self):
        return Pointer(self._array.ctypes.data)

    @property
    def flags(self):
        return Flags(self._array.flags)

    def __getattr__(self, name):
        if name not in ATTRIBUTES:
            raise AttributeError(name)
        found = getattr(self._array, name)
        if not callable(found):
            return wrapped(found, (self,)) if isinstance(found, np.ndarray) else found

        def method(*args, **kwargs):
            if name in NAMES and kwargs:
                check_call(name, (self,), kwargs)
            if name in ("tolist", "tobytes"):
                transfers.append(self._array.nbytes)
            result = found(*unwrapped(args), **unwrapped(kwargs))
            return result if name in ("tolist", "tobytes") else wrapped(result, (self,))

        return method

    def __copy__(self):
        return ndarray(self._array.copy())

    def __deepcopy__(self, memo):
        return ndarray(self._array.copy())

    def __repr__(self):
        return f"strict{self._array.shape}"


class Pointer:
    def __init__(self, ptr):
        self.ptr = ptr


class Flags:
    def __init__(self, flags):
        self.c_contiguous, self.f_contiguous = flags.c_contiguous, flags.f_contiguous


def check_call(name, args, kwargs):
    """TypeError if CuPy has no such function, or one without these parameters."""
    if name not in NAMES:
        raise TypeError(f"CuPy has no {name}")
    words = NAMES[name]
    if words != ["ufunc"] and not any(word.startswith("**") for word in words):
        if wrong := set(kwargs) - set(words):
            raise TypeError(f"CuPy's {name} has no {', '.join(wrong)}")
        if len(args) > len(words) and not any(word.startswith("*") for word in words):
            raise TypeError(f"CuPy's {name} takes {len(words)} arguments")


def unwrapped(value):
    """The arguments of a call with NumPy's arrays in them. TypeError for an array of the host."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, (tuple, list)):
        return type(value)(map(unwrapped, value))
    if isinstance(value, dict):
        return {key: unwrapped(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("a NumPy array is mixed with one of the device")
    return value


def wrapped(result, sources):
    """NumPy's results as arrays of the device. A view knows the array that owns its memory."""
    if isinstance(result, (tuple, list)):
        return type(result)(wrapped(item, sources) for item in result)
    if isinstance(result, np.ndarray):
        for source in sources:
            if result is source._array:
                return source
            root = source if source.base is None else source.base
            if result.base is not None and np.may_share_memory(result, root._array):
                return ndarray(result, root)
        return ndarray(result)
    return ndarray(np.asarray(result)) if isinstance(result, np.generic) else result


def called(function, args, kwargs):
    sources = [value for value in (*args, *kwargs.get("out", ())) if isinstance(value, ndarray)]
    with np.errstate(all="ignore"):  # a device reports no overflow
        result = function(*unwrapped(args), **unwrapped(kwargs))
    return wrapped(result, sources)


def asarray(array, dtype=None):
    return array if isinstance(array, ndarray) else ndarray(np.array(array, dtype))


def asnumpy(array):
    return array.get()


def __getattr__(name):
    """A creator, such as zeros, or a function of cupy."""
    if name not in NAMES:
        raise AttributeError(name)
    function = getattr(np, name)
    return lambda *args, **kwargs: called(function, args, kwargs)


def _add_operators():
    operators = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "matmul": "matmul",
                 "pow": "power", "floordiv": "floor_divide", "mod": "remainder", "and": "bitwise_and",
                 "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift"}
    for name, ufunc in operators.items():
        u = getattr(np, ufunc)
        setattr(ndarray, f"__{name}__", lambda self, other, u=u: u(self, other))
        setattr(ndarray, f"__r{name}__", lambda self, other, u=u: u(other, self))
        setattr(ndarray, f"__i{name}__", lambda self, other, u=u: u(self, other, out=(self,)))
    for name, ufunc in {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal",
                        "ne": "not_equal"}.items():
        u = getattr(np, ufunc)
        setattr(ndarray, f"__{name}__", lambda self, other, u=u: u(self, other))
    for name, ufunc in {"neg": "negative", "abs": "absolute", "invert": "invert"}.items():
        u = getattr(np, ufunc)
        setattr(ndarray, f"__{name}__", lambda self, u=u: u(self))
    ndarray.__hash__ = object.__hash__


_add_operators()

if __name__ == "__main__":
    import cupy

    FILE.write_text("\n".join(names_of(cupy)) + "\n", encoding="utf-8")
else:
    from numpygpt.nn import backend

    DEVICE = backend.Device("strict", asarray, lambda x: isinstance(x, ndarray))
