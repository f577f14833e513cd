"""Run folders by name: the newest one, which one a user may have meant, and the command that draws one."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from numpygpt.utils import paths
from numpygpt.utils.paths import command, display_path

MAX_NAMED = 5  # runs in a message


def newest_run(name: str, runs: Path | None = None) -> Path:
    """Return the run in runs/ whose file `name` was written last. Raises FileNotFoundError if there is none."""
    runs = runs or paths.ROOT / "runs"
    files = sorted(runs.glob(f"*/{name}"), key=lambda file: file.stat().st_mtime)
    if not files:
        raise FileNotFoundError(f"no run in {display_path(runs)} yet; train one first: {command('train.py', 'quick')}")
    return files[-1].parent


def run_suggestion(run: str | Path) -> str:
    """Return what to add to a message if there is no `run`: the run of that name in runs/, else a run with a similar
    name, else the runs that exist, else how to train one."""
    there = paths.ROOT / "runs" / run
    if not Path(run).is_absolute() and there.is_dir():
        return f"; did you mean {display_path(there)}?"
    beside = {folder.resolve() for folder in (Path(run).parent, paths.ROOT / "runs")}
    files = sorted((file for folder in beside for file in folder.glob("*/metrics.jsonl")), key=os.path.getmtime)
    runs = {file.parent.name: display_path(file.parent) for file in reversed(files)}  # the newest first
    if not runs:
        return f"; train one first: {command('train.py', 'quick')}"
    if close := difflib.get_close_matches(Path(run).name, runs, n=1):
        return f"; did you mean {runs[close[0]]}?"
    more = f" and {len(runs) - MAX_NAMED:,} more" if len(runs) > MAX_NAMED else ""
    return f"; there {'is' if len(runs) == 1 else 'are'} {', '.join([*runs.values()][:MAX_NAMED])}{more}"


def curves_command(run: Path) -> str:
    """Return the command that draws the curves of `run`. Its name may also be that of a picture, such as `compare`."""
    word = display_path(run)
    taken = (paths.ROOT / "numpygpt" / "plots" / "commands" / f"{word}.py").is_file()
    return command("plot.py", f"./{word}" if taken else word)
