"""train.py as a rank of mpiexec, with a fault on one rank: faulty.py FAULT RANK STEP ARGUMENTS..."""

import os
import signal
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[n]) for n in (1, 2)]

from tiny import train_module  # noqa: E402

import numpygpt.parallel.together  # noqa: E402
from numpygpt.training.run import RunLoop  # noqa: E402
from numpygpt.utils import cli  # noqa: E402

fault, rank, step, sys.argv[1:] = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
sys.argv[0] = "train.py"


def signalled(number):
    return lambda trainer: os.kill(os.getpid(), number)


def raised(error):
    def act(trainer):
        raise error
    return act


def not_finite(trainer):
    trainer.model.flat().params[0] = float("nan")


FAULTS = {
    "SIGKILL": signalled(signal.SIGKILL), "SIGSTOP": signalled(signal.SIGSTOP), "SIGTERM": signalled(signal.SIGTERM),
    "SIGINT": signalled(signal.SIGINT), "SIGHUP": signalled(signal.SIGHUP), "SIGSEGV": signalled(signal.SIGSEGV),
    "error": raised(OSError("the disk is gone")), "bug": raised(KeyError("a bug")),
    "memory": raised(MemoryError("no room")), "nan": not_finite, "exit": lambda trainer: os._exit(5),
    "busy": lambda trainer: time.sleep(30),
}
update = RunLoop.update


def updated(self, bar):
    update(self, bar)
    if self.trainer.step == step and self.trainer.group.rank == rank:
        FAULTS[fault](self.trainer)


def before_training(self):
    if self.group.rank == rank:
        FAULTS[fault](None)
    agree(self)


agree = numpygpt.parallel.together.Together.agree
if step:
    RunLoop.update = updated
else:
    numpygpt.parallel.together.Together.agree = before_training
cli.run(train_module().main)
