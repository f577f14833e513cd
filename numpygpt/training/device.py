"""The device of a run."""

from __future__ import annotations

from numpygpt.nn.backend import CPU, Device, choose
from numpygpt.parallel.group import LOCAL, Group
from numpygpt.training.config import Config


def device_of(c: Config, group: Group = LOCAL) -> tuple[Device, str]:
    """Return (the device that the configuration asks for, why it is this one). Threads and processes share the cores of
    a CPU: with them, "auto" is the CPU. ValueError for a GPU with several workers or ranks, RuntimeError for a device
    that cannot be used."""
    several = f"{group.size} processes" if group.size > 1 else f"{c.workers} workers" if c.workers > 1 else ""
    if several and c.device == "auto" and c.precision == "float32":
        return CPU, f"{several} share the cores of a CPU"
    try:
        place, why = choose(c.device)
    except RuntimeError as error:
        raise RuntimeError(f"`device` {c.device}: {error}. To use the CPU, give `device=cpu`") from error
    if c.precision != "float32" and place is CPU:
        raise ValueError(f"`precision` {c.precision} needs a GPU, and this run is on the CPU: {why}. There products of "
                         "16 bits are slower than those of float32: give `precision=float32`")
    if several and place is not CPU:
        raise ValueError(f"{several} share the cores of a CPU, and one thread uses `device` {c.device}: leave one of "
                         "the two out")
    return place, why
