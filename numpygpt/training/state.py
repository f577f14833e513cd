"""What a run goes on from, looked at before it is believed."""

from __future__ import annotations

import numpy as np

from numpygpt.training.checkpoint import RUN_KEYS, Checkpoint


def check_state(checkpoint: Checkpoint, optimizer: str, generators: list[str]) -> None:
    """ValueError where the checkpoint does not hold, beside its model, what a run with this optimiser and these random
    generators goes on from."""
    header = checkpoint.header
    if missing := [name for name in RUN_KEYS if name not in header]:
        raise ValueError(f"it holds a model alone (it lacks {', '.join(missing)}): a run goes on from its "
                         "ckpt.npz, and --init-from begins a new one with this model")
    for name, array in checkpoint.arrays.items():
        if name.startswith("optimizer/") and (np.isnan(array).any() or (name.startswith("optimizer/v/")
                                                                        and (array < 0).any())):
            raise ValueError(f"it is damaged: {name} is no moment of an optimiser")
    if header["optimizer"]["steps"] > header["step"]:
        raise ValueError("it is damaged: its optimiser has done more steps than the run")
    if header["optimizer"]["name"] != optimizer:
        raise ValueError(f"it is damaged: its optimiser is not the {optimizer} of its configuration")
    if missing := [name for name in generators if name not in header["generators"]]:
        raise ValueError(f"it is damaged: it lacks the random generators {', '.join(missing)}")
