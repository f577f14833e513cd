#!/usr/bin/env python3
"""./datagen.py on a text larger than one would like to hold: seconds, and the peak memory of all its processes.

    python benchmarks/large_text.py                      1 GB of Python source code, by each kind of tokenizer
    python benchmarks/large_text.py --text FILE bpe      a text of yours, one kind
    python benchmarks/large_text.py --markdown FILE      the table as Markdown too

Memory is the sum of the resident sizes of datagen.py and its workers, looked at twenty times a second; pages that they
share count in each. Reads /proc, so it runs on Linux alone. Let nothing else run meanwhile.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.cases import check_names  # noqa: E402
from benchmarks.tokenization import LARGE, where, write_source_code  # noqa: E402
from numpygpt.utils import cli  # noqa: E402

KINDS = {"char": [], "word": ["--vocab-size", "20000"], "bpe": ["--vocab-size", "8192"]}
SIZE = 1_000_000_000


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all where none is given")
    parser.add_argument("--text", type=Path, metavar="FILE", help="instead of 50 MB of source code 20 times over")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there, for the documents")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    check_names(args.kinds, KINDS, "kind")
    lines = ["| datagen.py | text | seconds | peak memory |", "|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        text = args.text or repeated(Path(folder), SIZE)
        for name in args.kinds or KINDS:
            took, peak = measured(text, Path(folder) / name, name)
            lines.append(f"| {name} | {text.stat().st_size / 1e6:,.0f} MB | {took:.0f} s | {peak / 1e6:,.0f} MB |")
            print(lines[-1], flush=True)
    if args.markdown:
        Path(args.markdown).write_text("\n".join([where(), "", *lines, ""]), encoding="utf-8", newline="")
    return 0


def repeated(folder: Path, size: int) -> Path:
    """A file of source code, over and over."""
    part, whole = folder / "part.txt", folder / "text.txt"
    write_source_code(part, LARGE)
    with open(whole, "wb") as out:
        while out.tell() + part.stat().st_size <= size:
            out.write(part.read_bytes())
    return whole


def measured(text: Path, out: Path, kind: str) -> tuple[float, int]:
    """Seconds, and the largest sum of resident bytes."""
    command = [sys.executable, str(ROOT / "datagen.py"), "--input", str(text), "--tokenizer", kind, *KINDS[kind]]
    start, peak = time.perf_counter(), 0
    with subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(resident, family(process.pid))))
            time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"datagen.py ended with status {process.returncode}; its message is above")
    return time.perf_counter() - start, peak


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    try:
        children = [child for task in Path(f"/proc/{pid}/task").iterdir() for child in read(task / "children").split()]
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in family(int(child)))]


def resident(pid: int) -> int:
    lines = read(Path(f"/proc/{pid}/status")).splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def read(path: Path) -> str:
    """The file's text; nothing where the process has ended."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


if __name__ == "__main__":
    cli.run(main)
