"""The state of a trainer in a checkpoint. It does not depend on the number of ranks and workers.

Rank 0 alone writes and reads the file. The optimiser's moments come from the ranks that own them, and go to them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from numpygpt.data import TokenDataset
from numpygpt.nn.backend import write
from numpygpt.nn.modules.loading import fitting
from numpygpt.optim.optimizer import Optimizer
from numpygpt.parallel.sharded import Sharded
from numpygpt.training.adapter import saved_params
from numpygpt.training.checkpoint import RUN_KEYS, Checkpoint, save_checkpoint
from numpygpt.utils.text import shorten

if TYPE_CHECKING:
    from numpygpt.training.trainer import Trainer

VELOCITY = "outer/velocity"  # the arrays of the outer optimiser begin with this


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


def outer_velocity(checkpoint: Checkpoint, optimizer: Optimizer) -> np.ndarray | None:
    """The velocity of the outer optimiser, with the places of the flat arrays. None if the checkpoint has none, because
    its run had no `sync_every`. ValueError if it does not fit the parameters."""
    found = checkpoint.group(VELOCITY)
    if not found:
        return None
    whole = np.zeros(optimizer.flat.params.shape, optimizer.flat.params.dtype)
    views = optimizer.views(whole)
    for name, array in fitting(VELOCITY, views, found).items():
        if not np.isfinite(array).all():
            raise ValueError(f"it is damaged: its {VELOCITY}/{name} is not finite")
        views[name][...] = array
    return whole


def save_state(t: Trainer, path: Any) -> None:
    """What `Trainer.save` does once the parameters are known to be finite."""
    if t.outer:
        t.outer.average(getattr(t.optimizer, moment) for moment in t.optimizer.moments)
    states = {name: rng.bit_generator.state for name, rng in t.parallel.generators().items()}
    generators = {name: state for of_rank in t.group.share(states) for name, state in of_rank.items()}
    header = {**t.header(), "generators": generators, "loader": t.loader.state_dict(),
              "optimizer": {"name": t.config.optimizer, "steps": t.optimizer.steps},
              "sample_bytes": t.sample_bytes}
    header |= t.skipping.state_dict()
    if t.group.rank == 0:
        save_checkpoint(path, header, saved_arrays(t))
    else:
        deque(saved_arrays(t), maxlen=0)
    if t.group.size > 1:
        t.optimizer.zero_grad()


def saved_arrays(t: Trainer) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a checkpoint by name. Of those that the ranks share, each is whole only until the next one."""
    yield from t.saved_arrays().items()
    shared: list[tuple[str, Sharded, np.ndarray]] = [
        (f"optimizer/{name}", t.parallel, getattr(t.optimizer, name)) for name in t.optimizer.moments]
    if t.outer:
        shared.append((VELOCITY, t.outer, t.outer.velocity))
    for prefix, sharded, array in shared:
        for name, view in t.optimizer.views(sharded.whole(array)).items():
            yield f"{prefix}/{name}", view


def load_state(t: Trainer, checkpoint: Checkpoint) -> None:
    """What `Trainer.load` does."""
    header, flat = checkpoint.header, t.model.flat()
    if header["data"] != identity(t.dataset):
        was = shorten(header["data"].get("corpus")) if header["data"] else "of an unknown name"
        raise ValueError(f"the run was made with other data or another tokenizer ({was}) than this folder's "
                         f"({t.dataset.meta['corpus']}): resume it with its own data folder")
    check_state(checkpoint, t.config.optimizer, [f"0.{name}" for name in t.model.generators()])
    velocity = load_arrays(t, checkpoint) if t.group.rank == 0 else None
    if t.group.rank:
        for run in flat.runs():
            flat.params[run] = 0
        t.optimizer.make_moments()
        t.optimizer.steps = header["optimizer"]["steps"]
    t.group.sum(flat.params, flat.runs())
    for name in t.optimizer.moments:
        setattr(t.optimizer, name, t.parallel.handed_out(getattr(t.optimizer, name)))
    if t.outer:
        t.outer.start(t.outer.handed_out(np.zeros(flat.params.shape, flat.params.dtype)
                                         if velocity is None else velocity))
    t.schedule.load_state_dict({"step": header["step"]})
    t.loader.load_state_dict(header["loader"])
    for name, rng in t.parallel.generators().items():
        if name in header["generators"]:  # with more shards than before, the new ones start fresh
            rng.bit_generator.state = header["generators"][name]
    t.step, t.tokens, t.seconds = header["step"], header["tokens"], header["seconds"]
    t.last, t.best = header["last"] or {}, header["best"] or {}
    size = header.get("sample_bytes")
    t.sample_bytes = size if type(size) is int and size >= 0 else None  # earlier versions do not say
    t.skipping.load_state_dict(header)


def load_arrays(t: Trainer, checkpoint: Checkpoint) -> np.ndarray | None:
    """Copy the parameters and the moments to the trainer, and return the outer velocity if there is one."""
    velocity = outer_velocity(checkpoint, t.optimizer)
    params = saved_params(t.model)
    for name, array in fitting("GPT", params, checkpoint.group("model")).items():
        write(params[name], array)
    moments = {m: checkpoint.group(f"optimizer/{m}") for m in t.optimizer.moments}
    t.optimizer.load_state_dict({"steps": checkpoint.header["optimizer"]["steps"], **moments})
    return velocity


def identity(dataset: TokenDataset) -> dict[str, str]:
    """Equal for two data folders that hold the same text in the same tokens."""
    return {"corpus": dataset.meta["corpus"], "sha256": dataset.meta["sha256"],
            "tokenizer_sha256": dataset.meta["tokenizer"]["sha256"]}
