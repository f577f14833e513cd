#!/usr/bin/env python3
"""Train a GPT on a data folder. Presets are in configs/, and every setting is also a flag.

    ./train.py                    train the preset shakespeare_char
    ./train.py quick              train a smaller model: first results in one to three minutes
    ./train.py --resume RUN       resume a stopped run, exactly where it was
    ./train.py --trace --dry-run  print one step with all its numbers, from token ids to changed weights
"""

from numpygpt import startup

if __name__ == "__main__":
    startup.begin()  # before the other imports: it reports missing packages in one line

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from numpygpt.inspection.walk import walk
from numpygpt.parallel import blas_threads
from numpygpt.parallel.group import LOCAL, Group, started
from numpygpt.parallel.launch import MAX_PROCESSES, Job, adopt_streams
from numpygpt.parallel.together import Together
from numpygpt.training import Trainer
from numpygpt.training.flags import add_flags, given, presets
from numpygpt.training.folder import clear_leftovers
from numpygpt.training.loggers import Logger, check_logger, open_loggers
from numpygpt.training.memory import check_memory
from numpygpt.training.metrics import MetricsLog
from numpygpt.training.presets import read_preset
from numpygpt.training.report import introduction
from numpygpt.training.run import RunLoop
from numpygpt.training.same import beginning, check_same, program, training
from numpygpt.training.start import changes, check_free, new_run, open_data, read_run, resume_run
from numpygpt.training.validation import eval_tokens
from numpygpt.utils import cli
from numpygpt.utils.colour import colours, room
from numpygpt.utils.console import WIDTH, note, say
from numpygpt.utils.files import write_whole, writing
from numpygpt.utils.lock import locked
from numpygpt.utils.paths import ROOT, command, display_path
from numpygpt.utils.progress import ProgressBars


def parse(argv: list[str] | None = None) -> Namespace:
    names = "".join(f"    {name:<18}{what}\n" for name, what in presets())
    parser = cli.ArgumentParser(description=__doc__, epilog=f"presets:\n{names}")
    parser.add_argument("preset", nargs="?", type=cli.name,
                        help="a name in configs/ or a .toml file (default: shakespeare_char)")
    parser.add_argument("--resume", metavar="RUN", type=cli.name,
                        help="resume the run in this folder, with its data, model and seed")
    parser.add_argument("--processes", type=int, metavar="N", default=1,
                        help="share each batch among N processes of this machine (needs MPI: pip install -e '.[mpi]'); "
                             "one process shares it among threads")
    parser.add_argument("--trace", action="store_true",
                        help="first print one step with its numbers: forward, backward and update")
    parser.add_argument("--dry-run", action="store_true",
                        help="print what would be trained and how much memory it takes; write nothing")
    add_flags(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    group = started()
    if group.rank == 0:
        adopt_streams()
    with muted(group) as folder, cli.clean_stop(), Together(group) as ranks, blas_threads(group.cores):
        args = parse(argv)
        if not 1 <= args.processes <= MAX_PROCESSES:
            raise ValueError(f"`processes` must be from 1 to {MAX_PROCESSES}, got {args.processes}")
        if group is LOCAL and args.processes > 1:
            words = [str(ROOT / "train.py"), *(sys.argv[1:] if argv is None else argv)]
            return Job(args.processes, words).run(advice(args))
        start(args, ranks, folder)
    return 0


def advice(args: Namespace) -> str:
    """What to do when a process of the run has been killed."""
    out = args.resume or given(args).get("out") or read_preset(args.preset or "shakespeare_char").out
    return f"Resume the run with {command('train.py', '--resume', display_path(out))} if it has been saved"


@contextmanager
def muted(group: Group) -> Iterator[Path | None]:
    """Rank 0 prints, and writes to the run folder. The others print nothing, and write to a folder that is removed at
    the end, which the block is given."""
    if group.rank == 0:
        yield None
        return
    with TemporaryDirectory() as folder, open(os.devnull, "w", encoding="utf-8", errors="ignore") as nowhere, \
            redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield Path(folder)


def start(args: Namespace, ranks: Together, folder: Path | None) -> None:
    """Train as one of the ranks. The files of a run go to `folder` if there is one."""
    group = ranks.group
    check_same(group, program, args)
    checkpoint = read_run(args, group) if args.resume else None
    with ranks.in_turn(), ProgressBars() as bars:
        config, checkpoint, base, notes = (
            resume_run(args, checkpoint, group) if checkpoint else new_run(args, bars))
    notes += ranks.notes()
    if group.rank:
        config = replace(config, log="none")
    out = folder or Path(config.out)
    check_logger(config.log)  # before any work is done
    with ranks.in_turn():
        dataset = open_data(config, make=not args.dry_run, say=lambda text: say(cli.with_flags(text)))
    # The data folder is another text's if Tiny Shakespeare could not be fetched.
    found = {"data": str(dataset.folder), "eval_tokens": eval_tokens(config, len(dataset.val) - 1)}
    config = config.changed(found)
    if base:
        base.check_tokenizer(dataset)
    check_same(group, training, config, dataset)
    resumed = checkpoint is not None
    notes = [cli.with_flags(text) for text in notes]
    print(introduction(config, dataset, room(sys.stdout, WIDTH), notes, resumed, group), flush=True)
    check_memory(config, config.model.vocab_size or dataset.vocab_size, resumed, group)
    if args.dry_run and not (checkpoint or args.trace):
        return  # before the model takes memory
    trainer = Trainer(config, dataset, base, group)
    if checkpoint:
        try:
            trainer.load(checkpoint)
        except ValueError as error:
            raise ValueError(f"{display_path(checkpoint.path)}: {error}") from error
        checkpoint = replace(checkpoint, arrays={})  # the trainer has copied them: free their memory
    check_same(group, beginning, trainer)
    if args.resume:
        print(f"resumed at step {trainer.step:,} of {config.steps:,}" + changes(checkpoint, config), flush=True)
    if args.trace:
        print(walk(trainer, colours(sys.stdout)), flush=True)
    if args.dry_run:
        return
    ranks.agree()
    with trainer.parallel, locked(out) as unlocked:
        if unlocked:
            note(unlocked)
        if checkpoint:  # again: now no other run can interfere
            checkpoint.check_unchanged()
        else:
            check_free(out)
        with open_loggers(config, out, trainer.step) as loggers:  # before anything is written
            train(trainer, out, loggers, bool(args.resume), ranks)


def train(trainer: Trainer, out: Path, loggers: list[Logger], resume: bool, ranks: Together) -> None:
    """Train in the folder `out`, which is locked."""
    for logger in loggers:
        print(f"logged: {logger.where}", flush=True)
    clear_leftovers(out)
    state = "Nothing was trained, and the run is unchanged" if resume else "Nothing was trained"
    with writing(out / "metrics.jsonl", state):
        metrics = MetricsLog(out / "metrics.jsonl", trainer.step if resume else None)
    with metrics as log:
        loop = RunLoop(trainer, out, log, loggers, draw_curves)
        if resume:
            loop.remember()
        with writing(out / "config.toml", state):
            write_whole(out / "config.toml", trainer.config.to_toml())
        ranks.agree()
        loop.run()


def draw_curves(out: Path) -> Path:
    """Draw the run's curves as plot.py does. Only this needs matplotlib."""
    from numpygpt.plots.commands import curves

    return curves.save_curves(out)


if __name__ == "__main__":
    cli.run(main)
