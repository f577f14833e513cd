"""Checks of a checkpoint before a run resumes from it."""

from __future__ import annotations

from numpygpt.training.checkpoint import RUN_KEYS, Checkpoint


def check_state(checkpoint: Checkpoint, optimizer: str, generators: list[str]) -> None:
    """ValueError unless the checkpoint holds, besides its model, everything from which a run with this optimiser and
    these random generators can resume."""
    header = checkpoint.header
    if missing := [name for name in RUN_KEYS if name not in header]:
        raise ValueError(f"it holds a model only (it lacks {', '.join(missing)}): a run resumes from its ckpt.npz. To "
                         "start a new run from this model, give it as `init_from`")
    if header["optimizer"]["steps"] > header["step"]:
        raise ValueError("it is damaged: its optimiser has done more steps than the run")
    if header["optimizer"]["name"] != optimizer:
        raise ValueError(f"it is damaged: its optimiser is not the {optimizer} of its configuration")
    if missing := [name for name in generators if name not in header["generators"]]:
        raise ValueError(f"it is damaged: it lacks the random generators {', '.join(missing)}")
