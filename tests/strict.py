"""A stand-in for CuPy where there is no GPU: arrays that refuse what CuPy refuses. This module plays the module cupy.

`ndarray` is no subclass of NumPy's. It refuses to be mixed with NumPy's arrays, to become one unasked, and functions
and arguments that CuPy lacks. Each copy to the host is counted in `transfers`, with its number of bytes.
"""

import numpy as np

from numpygpt.nn import backend

LACKING = {"vecdot", "matvec", "vecmat"}  # functions of NumPy that CuPy lacks
REDUCTIONS = {"sum", "max", "min", "mean", "prod", "all", "any", "argmax", "argmin", "amax", "amin"}
REDUCE = {"add", "multiply"}  # ufuncs that have reduce and accumulate
PLAIN = (int, float, bool, complex, str, bytes, type(None), type(Ellipsis), slice, np.generic, np.dtype, type)

transfers = []  # bytes of each copy to the host


class ndarray:
    __array_priority__ = 100

    def __init__(self, array, base=None):
        self._array, self.base = array, base

    # -- what is refused -----------------------------------------------------------------------------------------------

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed: use asnumpy")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if ufunc.__name__ in LACKING:
            raise TypeError(f"CuPy has no {ufunc.__name__}")
        if method not in ("__call__", "at", "outer") and ufunc.__name__ not in REDUCE:
            raise TypeError(f"CuPy has no {ufunc.__name__}.{method}")
        if method == "reduceat":
            raise TypeError("CuPy's reduceat is inexact in float32: use add.at")
        if wrong := set(kwargs) - {"out", "dtype", "casting", "axis", "keepdims"}:
            raise TypeError(f"CuPy's {ufunc.__name__} has no {', '.join(wrong)}")
        return called(getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        name = function.__name__
        if name in LACKING:
            raise TypeError(f"CuPy has no {name}")
        if name in REDUCTIONS and "where" in kwargs:
            raise TypeError(f"CuPy's {name} has no where")
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

    def __index__(self):
        return self.scalar().__index__()

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
        if name in ("ctypes", "__array_interface__", "__array_struct__", "__buffer__") or name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self._array, name)
        if not callable(found):
            return wrapped(found, (self,)) if isinstance(found, np.ndarray) else found

        def method(*args, **kwargs):
            if name in REDUCTIONS and "where" in kwargs:
                raise TypeError(f"CuPy's {name} has no where")
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
    if name.startswith("_") or name in LACKING:
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
DEVICE = backend.Device("strict", asarray)
