"""The ranks of a group end together, whatever ends one of them, and one of them tells why."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from platform import node
from types import TracebackType

from numpygpt.parallel.group import Group, Mpi
from numpygpt.parallel.watch import PATIENCE, Watch
from numpygpt.utils import cli

GRACE = 3.0  # seconds in which a rank that has failed waits for the others, which may fail of the same cause
AT_ONCE = 0.5  # the same after a second Ctrl-C
TICK = 0.01  # seconds between two looks at who has come
LOST = 3  # the exit status if a rank does not answer any more
TOLD = (1, 2, LOST, 130, 143)  # exit statuses of a job after a rank has printed why it ends


class Ended(SystemExit):
    """This rank ends because another one has failed, which tells why."""


class Together:
    """A `with` block that the ranks of a group leave together.

    If all ranks fail, rank 0 tells its error, and the job ends as a single process does. If one rank fails while others
    work on, it tells its error, with its number and the name of its machine, and aborts the job. `agree` is a place in
    the block where the ranks wait for each other: an error of one before it ends all of them in order. A `Watch` ends
    the job if a rank hangs. For a single process the block does nothing.
    """

    def __init__(self, group: Group):
        self.group = group
        self.watch: Watch | None = None
        if isinstance(group, Mpi) and group.size > 1:
            self.comm = group.comm.Dup()  # apart from the messages of the ranks that compute meanwhile
            self.watch = Watch(group, self.lost)

    def agree(self) -> None:
        """Return when all ranks have called this. If one has failed before, end this rank, too."""
        if self.watch:
            self.end(self.meet(None), None)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """A block that rank 0 enters first, then a rank of each other machine, then all others at once. What the first
        one makes, the others find."""
        turn = 0 if self.group.rank == 0 else 1 if self.group.local == 0 else 2
        for _ in range(turn):
            self.agree()
        yield
        for _ in range(turn, 2):
            self.agree()

    def notes(self) -> list[str]:
        """What the user should know about this group."""
        if self.watch and not self.watch.works:
            return ["this MPI does not let several threads communicate, so a rank that hangs is not noticed"]
        return []

    def __enter__(self) -> Together:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self.watch is None:
            return
        if not isinstance(error, Ended):
            patience = inf if error is None else AT_ONCE if isinstance(error, KeyboardInterrupt) else GRACE
            status = None if error is None else cli.status_of(error)
            statuses = self.meet(status, patience)
            if not statuses:
                self.tell(error)
                self.group.abort(status or 0)
            try:
                self.end(statuses, error)
            finally:
                self.watch.close()
        else:
            self.watch.close()

    def meet(self, status: int | None, patience: float = inf) -> list[int | None]:
        """The exit statuses of all ranks, by rank, and None for each one that has not failed. Empty if not all ranks
        have come within `patience` seconds. A rank that waits here leaves its core to others."""
        request, until = self.comm.Ibarrier(), time.monotonic() + patience
        while not request.Test():
            if time.monotonic() > until:
                return []
            time.sleep(TICK)
        return self.comm.allgather(status)

    def end(self, statuses: list[int | None], error: BaseException | None) -> None:
        """End this rank if one has failed. The first one that has tells why: rank 0 by raising its error further."""
        failed = [(rank, status) for rank, status in enumerate(statuses) if status is not None]
        if not failed or failed[0][0] == self.group.rank == 0:
            return
        if failed[0][0] == self.group.rank:
            self.tell(error)
        raise Ended(failed[0][1])

    def tell(self, error: BaseException | None) -> None:
        """Write on stderr why this rank ends the job."""
        words = cli.words_of(error) if error else ""
        if words is None:
            words = "".join(traceback.format_exception(error))
        elif self.group.rank and isinstance(error, KeyboardInterrupt) and error.args:
            words = f"\n{error.args[0]}\n"  # it was printed where nobody sees it
        elif self.group.rank and isinstance(error, SystemExit):
            words = cli.refusal(f"ended with status {cli.status_of(error)}")
        self.write(words)

    def write(self, words: str) -> None:
        if self.group.rank:
            words = words.replace(": error: ", f": error: rank {self.group.rank} on {node()}: ", 1)
            cli.write(sys.__stderr__, words)
        else:
            cli.write(sys.stdout, "")
            cli.write(sys.stderr, words)
        time.sleep(0.1)  # mpiexec passes on only what it has read before an abort

    def lost(self) -> None:
        time.sleep(0.2 * min(self.group.rank, 10))  # the first rank that is left tells it and ends the others
        self.write(cli.refusal(f"a rank has not answered for {PATIENCE:.0f} seconds: it was stopped, or its machine or "
                               "its network is gone. Resume the run from its last checkpoint with --resume"))
        self.group.abort(LOST)
