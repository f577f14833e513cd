#!/usr/bin/env python3
"""Train a GPT on a data folder. Presets are in configs/, every setting is also a flag, and all goes to a run folder.

    ./train.py                    the preset shakespeare_char
    ./train.py quick              a smaller model in about a minute
    ./train.py --resume RUN       go on where a run stopped
"""

from __future__ import annotations

import math
import signal
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from numpygpt.training import Trainer
from numpygpt.training.baselines import bits_per_byte
from numpygpt.training.report import duration, introduction, overfitting
from numpygpt.training.trainer import evaluate
from numpygpt.utils import cli
from numpygpt.utils.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from numpygpt.utils.config import Config, add_flags, fixed_names, given, read_preset
from numpygpt.utils.data import DEFAULT_FOLDER, ProgressBars, TokenDataset, eval_batches, load_corpus, prepare
from numpygpt.utils.metrics import MetricsLog
from numpygpt.utils.text import prompt_ids


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("preset", nargs="?", help="a name in configs/ or a .toml file (default: shakespeare_char)")
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder: same data, model and seed")
    parser.add_argument("--init-from", metavar="CHECKPOINT",
                        help="begin with this run's or checkpoint's parameters and a new optimiser, to train on")
    parser.add_argument("--dry-run", action="store_true", help="say what would be trained, and write nothing")
    add_flags(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    config, checkpoint = resumed(args) if args.resume else begun(args)
    out = Path(config.out)
    dataset = open_data(config)
    trainer = Trainer(config, dataset)
    if checkpoint:
        (trainer.load if args.resume else trainer.start_from)(checkpoint)
    print(introduction(trainer, config.out), flush=True)
    if args.dry_run:
        return 0
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.toml").write_text(config.to_toml(), encoding="utf-8", newline="")
    with trainer.parallel, MetricsLog(out / "metrics.jsonl", trainer.step if args.resume else None) as log:
        Run(trainer, out, log).go()
    return 0


def begun(args: Namespace) -> tuple[Config, Checkpoint | None]:
    """The configuration of a new run, and the checkpoint that it takes its parameters from, if any."""
    config = read_preset(args.preset or "shakespeare_char")
    checkpoint = load_checkpoint(find_checkpoint(args.init_from), only="model/") if args.init_from else None
    if checkpoint:  # the shape of the model is the checkpoint's
        shape = {name: checkpoint.header["config"][name] for name in config.model(1).keys() & config.to_dict().keys()}
        shape |= {"context": checkpoint.header["config"]["context"]}
        config = config.changed({**shape, "dropout": config.dropout, "seed": config.seed}, args.init_from)
    config = config.changed(given(args), "flags")
    held = [name for name in ("ckpt.npz", "metrics.jsonl") if (Path(config.out) / name).exists()]
    if held and not args.dry_run:
        out = cli.shown(config.out)
        raise ValueError(f"{out} already holds a run; go on with it by {cli.command('train.py', '--resume', out)}, or "
                         "give another folder with --out")
    return config, checkpoint


def resumed(args: Namespace) -> tuple[Config, Checkpoint | None]:
    """The configuration and the checkpoint of the run that goes on."""
    if args.preset or args.init_from:
        raise ValueError("--resume takes everything from the run: give neither a preset nor --init-from with it")
    checkpoint = load_checkpoint(find_checkpoint(args.resume, prefer=("ckpt.npz",)))
    old = Config().changed(checkpoint.header["config"], cli.shown(checkpoint.path))
    config = old.changed({"out": str(checkpoint.path.parent.resolve())} | given(args), "flags")
    for name in fixed_names():
        if getattr(config, name) != getattr(old, name):
            raise ValueError(f"a resumed run keeps its {name} of {getattr(old, name)}; for another one begin a new run "
                             "(with --init-from to keep what was learned)")
    return config, checkpoint


def open_data(config: Config) -> TokenDataset:
    """The data folder; the default one is made where it is missing, as datagen.py would."""
    folder = Path(config.data)
    if folder.resolve() == DEFAULT_FOLDER.resolve() and not folder.exists():
        print(f"{cli.shown(folder)} is missing: making it, as {cli.command('datagen.py')} would", flush=True)
        with ProgressBars() as progress:
            corpus = load_corpus("default", progress=progress)
            for note in corpus.notes:
                print(note, flush=True)
            prepare(corpus, folder, say=print, progress=progress)
    dataset = TokenDataset.load(folder)
    shortest = min(len(dataset.train), len(dataset.val))
    if config.context >= shortest:
        raise ValueError(f"a context of {config.context:,} needs more than {config.context:,} tokens in each part, and "
                         f"{cli.shown(folder)} has {shortest:,} in the smaller one: give a smaller --context, or a "
                         "longer text to datagen.py")
    return dataset


class Run:
    """The loop: update, now and then evaluate, save and sample, until the last step or Ctrl-C."""

    def __init__(self, trainer: Trainer, out: Path, log: MetricsLog):
        self.trainer, self.config, self.out, self.log = trainer, trainer.config, out, log
        self.stopping = False
        self.began = time.perf_counter() - trainer.seconds  # earlier sessions count
        self.step_times: list[float] = []
        self.eval_time = 0.0
        self.losses: list[float] = []  # since the last evaluation
        self.history: list[tuple[int, float, float]] = []  # step, validation loss, mean training loss before it

    def go(self) -> None:
        t, c, first = self.trainer, self.config, self.trainer.step
        old = {s: signal.signal(s, self.stop) for s in (signal.SIGINT, signal.SIGTERM)}
        slow = 0.5 if sys.stderr.isatty() else 60  # into a file, a line a minute is enough
        bar = tqdm(total=c.steps, initial=first, unit="step", mininterval=slow, dynamic_ncols=True, leave=False)
        try:
            while True:
                due = t.step % c.eval_every == 0 or t.step == c.steps
                if due and (t.step > first or first == 0):
                    self.evaluate()
                if t.step >= c.steps or self.stopping:
                    break
                self.update(bar)
        except RuntimeError as error:
            self.log.flush()
            raise RuntimeError(f"{error}. The last good checkpoint is {cli.shown(self.out / 'ckpt.npz')}. The usual "
                               f"cause is too high a learning rate: try --lr {c.lr / 3:.0e}, or a longer --warmup"
                               ) from error
        finally:
            bar.close()
            for s, handler in old.items():
                signal.signal(s, handler)
        self.finish()

    def stop(self, signum: int, frame: Any) -> None:
        """The first Ctrl-C lets the step finish; the second stops at once."""
        self.stopping = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def update(self, bar: tqdm) -> None:
        t, start = self.trainer, time.perf_counter()
        numbers = t.update()
        now = time.perf_counter()
        t.seconds = now - self.began
        self.step_times.append(now - start)
        self.losses.append(numbers["loss"])
        self.log.log("train", t.step, tokens=t.tokens, seconds=t.seconds, **numbers)
        bar.update()
        bar.set_postfix(loss=f"{numbers['loss']:.3f}", refresh=False)
        if len(self.step_times) == 20:
            say(f"{1e3 * self.step_time():,.0f} ms a step, {duration(self.left())} left")

    def evaluate(self) -> None:
        """Validation loss over the whole validation part, checkpoints, one line, a short sample."""
        t, c, d, start = self.trainer, self.config, self.trainer.dataset, time.perf_counter()
        rows = max(c.batch_size, 2048 // c.context)  # small batches are slow, and evaluation needs no small ones
        loss = evaluate(t.parallel, eval_batches(d.val, rows, c.context))
        bits = bits_per_byte(loss, len(d.val) - 1, d.val_bytes)
        t.last = {"step": t.step, "val_loss": loss}
        best = not t.best or loss < t.best["val_loss"]
        if best:
            t.best = t.last
        self.eval_time = time.perf_counter() - start
        t.seconds = time.perf_counter() - self.began
        self.log.log("eval", t.step, tokens=t.tokens, seconds=t.seconds, val_loss=loss, bits_per_byte=bits,
                     perplexity=math.exp(min(loss, 700)))
        self.save(best)
        train = sum(self.losses) / len(self.losses) if self.losses else math.nan
        self.history.append((t.step, loss, train))
        self.losses.clear()
        left = f", {duration(self.left())} left" if self.step_times and t.step < c.steps else ""
        before = f"{train:.3f}" if t.step else "    -"
        say(f"step {t.step:>6,}  train {before}  val {loss:.3f}  perplexity {math.exp(min(loss, 700)):,.2f}  "
            f"{bits:.3f} bits/byte  {duration(t.seconds)}{left}{'  best' if best else ''}")
        if warning := overfitting(self.history):
            say(f"note: {warning}")
        if c.sample_tokens:
            self.sample()

    def sample(self) -> None:
        """A short text in the model's present words, on the screen and in samples.txt. Its seed is the step's own."""
        t, tokenizer = self.trainer, self.trainer.dataset.tokenizer
        context = prompt_ids(tokenizer, "")
        ids = t.model.generate([context], self.config.sample_tokens, temperature=0.8, seed=self.config.seed + t.step)
        text = tokenizer.decode(ids[0, len(context):])
        say("\n".join(f"    | {line}" for line in text.split("\n")))
        with open(self.out / "samples.txt", "a", encoding="utf-8", newline="") as file:
            file.write(f"--- step {t.step}\n{text}\n")

    def save(self, best: bool = False) -> None:
        """The run's metrics reach the disk before the checkpoint that counts them."""
        self.log.flush()
        self.trainer.save(self.out / "ckpt.npz")
        if best:
            self.trainer.save_model(self.out / "best.npz")

    def step_time(self) -> float:
        """The median time of a step, in seconds."""
        return sorted(self.step_times[-200:])[len(self.step_times[-200:]) // 2]

    def left(self) -> float:
        steps = self.config.steps - self.trainer.step
        return steps * self.step_time() + math.ceil(steps / self.config.eval_every) * self.eval_time

    def finish(self) -> None:
        t, run = self.trainer, cli.shown(self.out)
        if t.step < self.config.steps:
            self.save()
            say(f"stopped after step {t.step:,} of {self.config.steps:,} and saved. Go on with:\n"
                f"    {cli.command('train.py', '--resume', run)}")
            return
        speed = f", {1e3 * self.step_time():,.0f} ms a step" if self.step_times else ""
        say(f"done: {t.step:,} steps in {duration(t.seconds)}{speed}; best validation loss {t.best['val_loss']:.4f} at "
            f"step {t.best['step']:,} ({cli.shown(self.out / 'best.npz')})")
        say(f"next: {cli.command('sample.py', run)}   and   {cli.command('plot.py', run)}")


def say(text: str) -> None:
    """A line on stdout that does not tear the progress bar."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


if __name__ == "__main__":
    cli.run(main)
