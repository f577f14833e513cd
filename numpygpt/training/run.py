"""The loop of a training run: update, now and then evaluate, save and sample, until the last step or Ctrl-C."""

from __future__ import annotations

import math
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from numpygpt.inspection.step import WatchedStep
from numpygpt.training.baselines import bits_per_byte
from numpygpt.training.failures import DataFiles, explained, stop_signals
from numpygpt.training.folder import RunFiles
from numpygpt.training.loggers import Logger
from numpygpt.training.report import overfitting
from numpygpt.training.spikes import IN_A_ROW, LEAST
from numpygpt.training.trainer import Trainer, evaluate
from numpygpt.utils import cli
from numpygpt.utils.colour import harmless
from numpygpt.utils.data import eval_batches
from numpygpt.utils.metrics import MetricsLog, read_metrics
from numpygpt.utils.text import duration, prompt_ids


class Run:
    """One run in its folder `out`. What it measures and writes goes to `log`, and a copy of it to each of `loggers`."""

    def __init__(self, trainer: Trainer, out: Path, log: MetricsLog, loggers: Sequence[Logger] = ()):
        self.trainer, self.config, self.out, self.log, self.loggers = trainer, trainer.config, out, log, loggers
        self.files = RunFiles(trainer, out, log)
        self.data = DataFiles(trainer.dataset)
        self.stopping = False
        self.began = time.perf_counter() - trainer.seconds  # earlier sessions count
        self.step_times: list[float] = []
        self.eval_time = 0.0
        self.losses: list[float] = []  # since the last evaluation
        self.history: list[tuple[int, float, float]] = []  # step, validation loss, mean training loss before it

    def go(self) -> None:
        t, c = self.trainer, self.config
        old = {s: signal.signal(s, self.stop) for s in stop_signals()}
        bar = tqdm(total=c.steps, initial=t.step, unit="step", dynamic_ncols=True, leave=False,
                   disable=not sys.stderr.isatty())  # a file has no use for a bar
        try:
            with explained(self.files, c.lr):
                self.steps(bar)
        finally:
            bar.close()
            for s, handler in old.items():
                signal.signal(s, handler)
        self.finish()

    def steps(self, bar: tqdm) -> None:
        t, c = self.trainer, self.config
        if t.step == 0:
            self.files.save()  # from here on there is a checkpoint to go on from
        while True:
            due = t.step % c.eval_every == 0 or t.step == c.steps
            if due and t.last.get("step") != t.step and not self.stopping:
                self.evaluate()
            if t.step >= c.steps or self.stopping:
                break
            self.data.check()
            self.update(bar)
        if not self.complete():
            self.files.save()

    def complete(self) -> bool:
        """Whether all steps are done, and the last one is evaluated."""
        return self.trainer.step == self.config.steps == self.trainer.last.get("step")

    def remember(self) -> None:
        """What the sessions before have measured, for the next line and for the warning against overfitting."""
        metrics = read_metrics(self.out / "metrics.jsonl")
        steps, losses = metrics.train["step"], metrics.train["loss"]
        before = 0
        for step, val_loss in zip(metrics.eval["step"], metrics.eval["val_loss"], strict=True):
            if step > self.trainer.last.get("step", -1):
                break  # a kill came before the checkpoint: this evaluation is made again
            between = losses[(steps > before) & (steps <= step)]
            self.history.append((int(step), float(val_loss), float(between.mean()) if len(between) else math.nan))
            before = step
        self.losses = losses[steps > before].tolist()

    def stop(self, signum: int, frame: Any) -> None:
        """The first Ctrl-C, and SIGTERM, let the step finish; a Ctrl-C after that stops at once. An evaluation, which
        may take minutes, is given up: the run that goes on begins with it."""
        self.stopping = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def update(self, bar: tqdm) -> None:
        t, every, start = self.trainer, self.config.trace_every, time.perf_counter()
        look = every and (t.step == 0 or (t.step + 1) % every == 0)
        watched = WatchedStep(t) if look else None
        numbers = watched.apply() if watched else t.update()
        now = time.perf_counter()
        t.seconds = now - self.began
        self.step_times.append(now - start)
        self.losses.append(numbers["loss"])
        self.record("train", **numbers, step_seconds=self.step_times[-1])
        if watched:
            self.record("trace", **watched.row())
        if t.spikes and t.spikes.gave_up:
            say(f"note: step {t.step:,} is the {IN_A_ROW}th in a row that was skipped, so the gradient is this large "
                f"now and no longer a spike: the next {LEAST} steps are taken, and measure it anew")
        bar.update()
        bar.set_postfix(loss=f"{numbers['loss']:.3f}", refresh=False)
        if len(self.step_times) == 20:
            say(f"{1e3 * self.step_time():,.0f} ms a step, {duration(self.left())} left")

    def record(self, kind: str, **values: float) -> None:
        """A row of metrics of this step: to metrics.jsonl and to every logger."""
        t = self.trainer
        if self.log.last[kind] >= t.step:
            return  # a session wrote it, and was killed before the checkpoint that would have counted it
        self.log.log(kind, t.step, tokens=t.tokens, seconds=t.seconds, **values)
        for logger in self.loggers:
            logger.metrics(kind, t.step, {"tokens": t.tokens, "seconds": t.seconds, **values})

    def evaluate(self) -> None:
        """Validation loss over the whole validation part, checkpoints, one line, a short sample. Nothing of that where
        the run is told to stop meanwhile."""
        t, c, d, start = self.trainer, self.config, self.trainer.dataset, time.perf_counter()
        batches = self.data.checked(eval_batches(d.val, c.batch_size, c.context))
        loss = evaluate(t.parallel, takewhile(lambda _: not self.stopping, batches))
        if self.stopping:
            return
        bits = bits_per_byte(loss, len(d.val) - 1, d.val_bytes)
        t.last = {"step": t.step, "val_loss": loss}
        best = not t.best or loss < t.best["val_loss"]
        if best:
            t.best = t.last
        self.eval_time = time.perf_counter() - start
        t.seconds = time.perf_counter() - self.began
        self.record("eval", val_loss=loss, bits_per_byte=bits, perplexity=math.exp(min(loss, 700)))
        text = self.sample() if c.sample_tokens else ""
        self.files.save(best)  # the sample too is counted by the checkpoint
        train = sum(self.losses) / len(self.losses) if self.losses else math.nan
        self.history.append((t.step, loss, train))
        self.losses.clear()
        left = f", {duration(self.left())} left" if self.step_times and t.step < c.steps else ""
        before = f"{train:.3f}" if t.step else "    -"
        say(f"step {t.step:>6,}  train {before}  val {loss:.3f}  perplexity {math.exp(min(loss, 700)):,.2f}  "
            f"{bits:.3f} bits/byte  {duration(t.seconds)}{left}{self.skipped()}{'  best' if best else ''}")
        if warning := overfitting(self.history):
            say(f"note: {warning}")
        if c.sample_tokens:
            say("\n".join(f"    | {harmless(line)}" for line in text.split("\n")))

    def skipped(self) -> str:
        count = self.trainer.spikes.skipped if self.trainer.spikes else 0
        return f"  {count:,} step{'s' * (count > 1)} skipped" if count else ""

    def sample(self) -> str:
        """A short text in the model's present words, also in samples.txt. Its seed is the step's own."""
        t, tokenizer = self.trainer, self.trainer.dataset.tokenizer
        context = prompt_ids(tokenizer, "")
        ids = t.model.generate([context], self.config.sample_tokens, temperature=0.8, seed=self.config.seed + t.step)
        text = tokenizer.decode(ids[0, len(context):])
        self.files.add_sample(text)
        for logger in self.loggers:
            logger.sample(t.step, text)
        return text

    def step_time(self) -> float:
        """The median time of the last 200 steps, in seconds: what is left is judged by the machine's present speed."""
        return median(self.step_times[-200:])

    def left(self) -> float:
        steps = self.config.steps - self.trainer.step
        return steps * self.step_time() + math.ceil(steps / self.config.eval_every) * self.eval_time

    def picture(self) -> None:
        """The run's curves, as plot.py draws them, into its folder and to the loggers."""
        from numpygpt.plots import style  # here alone does training need matplotlib
        from numpygpt.plots.commands import curves

        parser = ArgumentParser()
        curves.add_arguments(parser)
        drawn = curves.make(parser.parse_args([str(self.out.resolve())]), style.new_figure)
        drawn.write(drawn.out)
        for logger in self.loggers:
            logger.picture("curves", self.trainer.step, drawn.out)

    def finish(self) -> None:
        """The last words, and where this session has trained, the loggers' picture of the run."""
        t, run = self.trainer, cli.shown(self.out)
        if self.loggers and self.step_times:
            self.picture()
        if not self.complete():
            say(f"stopped after step {t.step:,} of {self.config.steps:,} and saved. Go on with:\n"
                f"    {self.files.resume()}")
            return
        speed = f", {1e3 * median(self.step_times):,.0f} ms a step" if self.step_times else ""
        say(f"done: {t.step:,} steps in {duration(t.seconds)}{speed}; best validation loss {t.best['val_loss']:.4f} at "
            f"step {t.best['step']:,} ({cli.shown(self.out / 'best.npz')})")
        say(f"next: {cli.command('sample.py', run)}   and   {cli.drawing(self.out)}")


def say(text: str) -> None:
    """A line on stdout that does not tear the progress bar."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()
