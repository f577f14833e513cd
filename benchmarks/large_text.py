#!/usr/bin/env python3
"""Measure ./datagen.py on a text that should not be held in memory: time, and peak memory of all its processes.

    python benchmarks/large_text.py                      1 GB of Python source code, with each kind of tokenizer
    python benchmarks/large_text.py --text FILE bpe      your own text, one kind
    python benchmarks/large_text.py --markdown FILE      also write the table as Markdown

Memory is the sum of the resident sizes of datagen.py and its workers, sampled twenty times per second. Memory pages
that processes share count once for each. Reads /proc, so it runs on Linux only. Let nothing else run meanwhile.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cases import check_names
from benchmarks.common import markdown, measured_on, row, show, write
from benchmarks.tokenization import PACKAGES, SOURCE_BYTES, write_source_code
from numpygpt.utils import cli
from numpygpt.utils.paths import ROOT

KINDS = {"char": [], "word": ["--vocab-size", "20000"], "bpe": ["--vocab-size", "8192"]}
TEXT_BYTES = 1_000_000_000


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"any of {', '.join(KINDS)}; without one, all")
    parser.add_argument("--text", type=Path, metavar="FILE", help="text to use, instead of repeated source code")
    parser.add_argument("--markdown", metavar="FILE", help="write the table to this file")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    check_names(args.kinds, KINDS, "kind")
    lines = show(markdown(["tokenizer", "text", "time", "peak memory"]))
    with tempfile.TemporaryDirectory() as folder:
        text = args.text or repeated(Path(folder), TEXT_BYTES)
        for kind in args.kinds or KINDS:
            seconds, peak = measured(text, Path(folder) / kind, kind)
            cells = [kind, f"{text.stat().st_size / 1e6:,.0f} MB", f"{seconds:.0f} s", f"{peak / 1e6:,.0f} MB"]
            lines += show([row(cells)])
    if args.markdown:
        write(args.markdown, [measured_on(*PACKAGES), "", *lines])
    return 0


def repeated(folder: Path, size: int) -> Path:
    """Write a file of about `size` bytes: the same source code, repeated."""
    part, text = folder / "part.txt", folder / "text.txt"
    write_source_code(part, SOURCE_BYTES)
    with open(text, "wb") as out:
        while out.tell() + part.stat().st_size <= size:
            out.write(part.read_bytes())
    return text


def measured(text: Path, out: Path, kind: str) -> tuple[float, int]:
    """Run datagen.py; return the seconds it took and the largest sum of resident bytes."""
    command = [sys.executable, str(ROOT / "datagen.py"), "--input", str(text), "--tokenizer", kind, *KINDS[kind]]
    start, peak = time.perf_counter(), 0
    with subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(resident, process_tree(process.pid))))
            time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"datagen.py failed with exit status {process.returncode}; see its message above")
    return time.perf_counter() - start, peak


def process_tree(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    try:
        children = [child for task in Path(f"/proc/{pid}/task").iterdir() for child in read(task / "children").split()]
    except OSError:
        return [pid]
    return [pid, *(descendant for child in children for descendant in process_tree(int(child)))]


def resident(pid: int) -> int:
    """Return the resident bytes of a process."""
    lines = read(Path(f"/proc/{pid}/status")).splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def read(path: Path) -> str:
    """Return the text of a file in /proc, or an empty string if the process has ended."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


if __name__ == "__main__":
    cli.run(main)
