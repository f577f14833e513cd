#!/usr/bin/env python3
"""Compare the ways to use all cores: threads of one process, ranks of MPI, and PyTorch's processes (DDP over gloo).

    python benchmarks/ranks.py                       quick, char and gpt2 (124M parameters)
    python benchmarks/ranks.py quick --rounds 9
    python benchmarks/ranks.py --markdown FILE       also write the table as Markdown

Each form gets one thread per core: one process with N workers, or N processes with one thread each. All forms of a case
start and warm up first. Then they take turns of a few seconds, for several rounds, while the others sleep. A ratio is
the median over the rounds of two turns next to each other, so that drift cancels. Memory is the peak of the largest
process. Communication is the reduce-scatter and the all-gather of one step, measured when no rank has to wait for
another. Let nothing else run meanwhile. Forms that are not installed are skipped: pip install -e ".[mpi,bench]".
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cases import CASES, Case, check_names
from benchmarks.common import markdown, measured_on, peak_memory, row, show, write
from benchmarks.peers import Step, batch, torch_training, training
from numpygpt.parallel import blas_threads, launch
from numpygpt.parallel.group import started
from numpygpt.utils import cli
from numpygpt.utils.cores import cores

THREADS, RANKS, DDP = "threads", "ranks", "torch DDP"
FORMS = (THREADS, RANKS, DDP)
COLUMNS = ("case", "form", "time", "relative to threads", "relative to DDP", "communication", "peak memory per process",
           "memory relative to threads")
WARMUP = 3
PATIENCE = 300.0  # seconds for a form to start
Turn = dict[str, float]  # {"ms": per step, "MB": peak memory, "communication": ms per step}


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"any of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each form; the median is reported")
    parser.add_argument("--markdown", metavar="FILE", help="write the table to this file")
    parser.add_argument("--serve", nargs=3, metavar=("JSON", "FORM", "SOCKET"), help="internal: be a process of a form")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.serve:
        case, form, address = args.serve
        serve(Case(**json.loads(case)), form, address)
        return 0
    check_names(args.cases, CASES)
    lines = show([measured_on("numpy", "mpi4py", "mpich", "torch"), "", *markdown(COLUMNS)])
    for name in args.cases or ("quick", "char", "gpt2"):
        lines += show(table(CASES[name], measure(CASES[name], args.rounds)))
    if args.markdown:
        write(args.markdown, lines)
    return 0


def installed(form: str) -> bool:
    return not launch.missing() if form == RANKS else form == THREADS or find_spec("torch") is not None


def measure(case: Case, rounds: int) -> dict[str, list[Turn]]:
    """Start the processes of every form that is installed, and let the forms take turns."""
    with cli.clean_stop(), tempfile.TemporaryDirectory() as folder, forms(case, Path(folder)) as running:
        steps = {form: max(1, round(1e3 * case.seconds / turn(at, WARMUP)["ms"])) for form, at in running.items()}
        turns: dict[str, list[Turn]] = {form: [] for form in running}
        for _ in range(rounds):
            for form, at in running.items():
                turns[form].append(turn(at, steps[form]))
    return turns


@contextmanager
def forms(case: Case, folder: Path) -> Iterator[dict[str, list[Any]]]:
    """Start every form's processes; yield the streams to them, by form. All have ended afterwards."""
    processes: list[subprocess.Popen] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen()
    listener.settimeout(1)
    running: dict[str, list[Any]] = {}
    try:
        for form in filter(installed, FORMS):
            processes += start(case, form, folder)
            running[form] = [accepted(listener, processes) for _ in range(1 if form == THREADS else cores())]
        yield running
    finally:
        for streams in running.values():
            for stream in streams:
                stream.close()  # they end
        for process in processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        listener.close()


def start(case: Case, form: str, folder: Path) -> list[subprocess.Popen]:
    """Start the processes of one form; each connects to the socket in `folder`."""
    command = [sys.executable, __file__, "--serve", json.dumps(asdict(case)), form, str(folder / "socket")]
    one = {"OMP_NUM_THREADS": "1"} if form == DDP else {}
    count = cores() if form == DDP else 1
    if form == RANKS:
        command = [str(launch.mpiexec()), "-n", str(cores()), *command]
    errors = None if os.environ.get("NUMPYGPT_TRACEBACK") else subprocess.DEVNULL
    return [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                             env=os.environ | one | {"RANK": str(rank), "WORLD_SIZE": str(count)})
            for rank in range(count)]


def accepted(listener: socket.socket, processes: Iterable[subprocess.Popen]) -> Any:
    """Return a stream of lines to the next process that connects."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and not any(process.poll() for process in processes):
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection:  # the stream keeps it open
            connection.settimeout(PATIENCE)
            return connection.makefile("rw", encoding="utf-8")
    raise RuntimeError("a process failed to start; NUMPYGPT_TRACEBACK=1 shows the error")


def turn(streams: list[Any], steps: int) -> Turn:
    """Let a form's processes do so many steps; return the time of the first, the memory of the largest, and the time
    to communicate of the slowest."""
    time.sleep(0.3)  # spinning threads of the previous form come to rest
    for stream in streams:
        stream.write(f"{steps}\n")
        stream.flush()
    turns = [json.loads(stream.readline() or "null") for stream in streams]
    if None in turns:
        raise RuntimeError("a process ended in its turn; NUMPYGPT_TRACEBACK=1 shows the error")
    return {"ms": turns[0]["ms"]} | {key: max(of[key] for of in turns) for key in ("MB", "communication")}


def serve(case: Case, form: str, address: str) -> None:
    """Be one process of a form: for each line, do that many steps and write a Turn. MPI would spin while it waits, so
    the processes sleep in this read between their turns."""
    step, communicate = MAKERS[form](case)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        with connection.makefile("rw", encoding="utf-8") as stream, blas_threads(1):
            for line in stream:
                times = [elapsed(step) for _ in range(int(line))]
                spent = [elapsed(communicate) for _ in range(5)]
                stream.write(json.dumps({"ms": median(times), "MB": peak_memory(), "communication": min(spent)}) + "\n")
                stream.flush()


def elapsed(call: Callable[[], Any]) -> float:
    """Return how many ms a call takes."""
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def ours(case: Case, workers: int) -> tuple[Step, Callable[[], None]]:
    """Return a training step, and what its ranks send to each other."""
    parallel, step = training(case, workers, group := started())
    group.barrier()

    def communicate() -> None:
        parallel.reduce()
        parallel.spread()

    return step, communicate


def ddp(case: Case) -> tuple[Step, Callable[[], None]]:
    """PyTorch's DistributedDataParallel over gloo, each process with its rows of the batch. It communicates while
    backward runs, so no time of its own is reported."""
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    where = Path(sys.argv[-1]).with_name("ddp").as_uri()
    distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=size)
    x, y = ([*torch.from_numpy(of).tensor_split(size)][rank] for of in batch(case))
    fastest = {"gradient_as_bucket_view": True, "static_graph": True, "bucket_cap_mb": 100}  # of those that were tried
    return torch_training(case, lambda model: DistributedDataParallel(model, **fastest), x, y), lambda: None


MAKERS: dict[str, Callable[[Case], tuple[Step, Callable[[], None]]]] = {
    THREADS: lambda case: ours(case, cores()), RANKS: lambda case: ours(case, 1), DDP: ddp}


def table(case: Case, turns: dict[str, list[Turn]]) -> list[str]:
    """Return a row for each form."""
    lines = []
    for form, of_form in turns.items():
        ms, mb, spent = (median(turn[key] for turn in of_form) for key in ("ms", "MB", "communication"))
        memory = mb / median(turn["MB"] for turn in turns[THREADS])
        lines.append(row([case.name, form, f"{ms:.4g} ms", relative(of_form, turns[THREADS]),
                          relative(of_form, turns.get(DDP, [])), f"{spent:.1f} ms" if form == RANKS else "",
                          f"{mb:,.0f} MB", f"{memory:.2f}"]))
    return lines


def relative(turns: list[Turn], others: list[Turn]) -> str:
    """Return the median, and the range, of the rounds' ratios of times."""
    ratios = [ours["ms"] / theirs["ms"] for ours, theirs in zip(turns, others, strict=False)]
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios and turns is not others else ""


if __name__ == "__main__":
    cli.run(main)
