"""NumpyGPT: a GPT in NumPy in which every gradient is written by hand.

Names are imported when they are first used, so that importing the package needs nothing and has no effect.
"""

TYPE_CHECKING = False  # type checkers read this name as true; importing `typing` for it would take milliseconds
if TYPE_CHECKING:
    from numpygpt.inspection import summary, trace
    from numpygpt.models import GPT, ModelConfig
    from numpygpt.verify import gradcheck

__version__ = "0.1.0"
__all__ = ["GPT", "ModelConfig", "gradcheck", "summary", "trace"]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Import a name of `__all__` or a subpackage: after `import numpygpt`, `numpygpt.nn` works."""
        from importlib import import_module
        from importlib.util import find_spec

        homes = {"GPT": "models", "ModelConfig": "models", "gradcheck": "verify", "summary": "inspection",
                 "trace": "inspection"}
        if name in homes:
            from numpygpt.startup import fault

            if fault(()):
                raise ImportError(fault(()))  # an old Python
            globals()[name] = getattr(import_module("numpygpt." + homes[name]), name)
            return globals()[name]
        if not name.startswith("_") and find_spec("numpygpt." + name):
            return import_module("numpygpt." + name)
        raise AttributeError("module 'numpygpt' has no attribute " + repr(name))

    def __dir__():
        return sorted({*globals(), *__all__})
