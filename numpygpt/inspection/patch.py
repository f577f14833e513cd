"""Temporarily replace a method of one module instance. Layers need no hook and run at full speed otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpygpt.nn.modules.module import Module


class MethodPatch:
    """Stands in for one method of one module: `around(method, *args, **kwargs)` makes the call itself.

    The patch is an attribute of the instance, which hides the class's method until `remove`. Patches can be stacked;
    remove the last one first. If a user replaces a patch meanwhile, `remove` leaves the replacement in place. A copy of
    the module has no patch. A `twin` has it, so a trace of a model also sees the texts that the model generates.
    """

    def __init__(self, module: Module, name: str, around: Callable[..., Any]):
        self.module, self.name, self.around = module, name, around
        self.method = getattr(module, name)
        self.beneath = vars(module).get(name)  # another patch, or a user's function; usually nothing
        if self.beneath is None or hasattr(self.beneath, "__func__"):  # it hides a method, so it looks like one
            self.__self__, self.__func__ = module, self
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

    def __get__(self, module: Module, kind: type | None = None) -> MethodPatch:
        """The same patch on a twin of the module. It calls the twin's own method."""
        other = object.__new__(MethodPatch)
        vars(other).update(vars(self))
        other.module = other.__self__ = module
        below = self.beneath
        if below is None:
            other.method = getattr(type(module), self.name).__get__(module)
        elif below.__self__ is self.module:  # else it is another module's method, the same for both
            other.method = below.__func__.__get__(module)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """A deep copy or a pickle gets the copied module's own method, not this patch."""
        return getattr, (self.module, self.name)


def has_patch(module: Module) -> bool:
    return any(isinstance(value, MethodPatch) for value in vars(module).values())
