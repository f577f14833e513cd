"""train.py as a rank of mpiexec, with a fault on one rank: faulty.py FAULT RANK STEP ARGUMENTS... At step 0 the fault
comes before training. A watch waits for PATIENCE seconds only."""

import os
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np
from tiny import train_module

from numpygpt.parallel import together, watch
from numpygpt.training import failures
from numpygpt.training.run import RunLoop
from numpygpt.utils import cli

PATIENCE = 4


def raised(error):
    def act(trainer):
        raise error
    return act


def signalled(name):
    return lambda trainer: os.kill(os.getpid(), getattr(signal, name))


def busy(trainer):
    """Hold the interpreter for longer than a watch waits."""
    until = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < until:
        pass


def full(name, more):
    """From now on, no file may grow beyond the size that this file of the run has now, and `more` bytes."""

    def act(trainer):
        size = (Path(trainer.config.out) / name).stat().st_size + more
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    return act


def not_finite(trainer):
    trainer.model.flat().params[0] = np.nan


FAULTS = {
    "error": raised(OSError("the disk is gone")), "memory": raised(MemoryError("no room")),
    "data": raised(failures.DataGone("train.bin has changed")), "bug": raised(KeyError("a bug")),
    "nan": not_finite, "busy": busy, "exit": lambda trainer: os._exit(5),
    "ckpt.npz": full("ckpt.npz", -300), "metrics.jsonl": full("metrics.jsonl", 300),
}
FAULTS |= {name: signalled(name) for name in ("SIGKILL", "SIGSTOP", "SIGTERM", "SIGINT", "SIGHUP")}


def main(fault, rank, step):
    act, update, agree = FAULTS[fault], RunLoop.update, together.Together.agree

    def updated(self, bar):
        update(self, bar)
        if (self.trainer.step, self.trainer.group.rank) == (step, rank):
            act(self.trainer)

    def agreed(self):
        if self.group.rank == rank:
            act(None)
        agree(self)

    watch.PATIENCE = PATIENCE
    if step:
        RunLoop.update = updated
    else:
        together.Together.agree = agreed
    cli.run(train_module().main)


if __name__ == "__main__":
    fault, rank, step, *arguments = sys.argv[1:]
    sys.argv[:] = ["train.py", *arguments]
    main(fault, int(rank), int(step))
