"""Standing before a module's methods for a while, so that layers hold no hook and pay for none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpygpt.nn.modules.module import Module


class Cover:
    """Called in place of one method of one module: `around(method, *args, **kwargs)` makes the call itself.

    It is an attribute of that instance, which hides the method of its class until `remove`. Covers may lie on one
    another; the last is removed first. What a user has put in its place meanwhile stays. A copy of the module is not
    covered. A `twin` is covered as its module is: a trace of a model sees the texts that the model writes.
    """

    def __init__(self, module: Module, name: str, around: Callable[..., Any]):
        self.module, self.name, self.around = module, name, around
        self.method = getattr(module, name)
        self.beneath = vars(module).get(name)  # another cover, or what a user has put there; mostly nothing
        if self.beneath is None or hasattr(self.beneath, "__func__"):  # else it hides a function, and passes for one
            self.__self__, self.__func__ = module, self  # as a method has them
        vars(module)[name] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.around(self.method, *args, **kwargs)

    def remove(self) -> None:
        if vars(self.module).get(self.name) is not self:
            return
        if self.beneath is None:
            del vars(self.module)[self.name]
        else:
            vars(self.module)[self.name] = self.beneath

    def __get__(self, module: Module, kind: type | None = None) -> Cover:
        """This cover on a twin of its module, whose own method it calls."""
        other = object.__new__(Cover)
        vars(other).update(vars(self))
        other.module = other.__self__ = module
        below = self.beneath
        if below is None:
            other.method = getattr(type(module), self.name).__get__(module)
        elif below.__self__ is self.module:  # else it is another module's method, and the same for both
            other.method = below.__func__.__get__(module)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """In a deep copy or a pickle: the copied module's own method. This cover would call the first module's."""
        return getattr, (self.module, self.name)


def is_covered(module: Module) -> bool:
    return any(isinstance(value, Cover) for value in vars(module).values())
