"""The loop of a training run: update, now and then evaluate, save and sample, until the last step or Ctrl-C."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tqdm import tqdm

from numpygpt.inspection.step import TracedStep
from numpygpt.models.generate import blas_for
from numpygpt.tokenizer.prompts import prompt_ids
from numpygpt.training.clock import SURE, Clock
from numpygpt.training.failures import DataFiles, explained, lower, stop_signals
from numpygpt.training.folder import RunFiles, draw_curves
from numpygpt.training.loggers import Logger
from numpygpt.training.metrics import MetricsLog, comparable_losses, read_metrics
from numpygpt.training.report import diverged, evaluation_line, overfitting, result
from numpygpt.training.runs import curves_command
from numpygpt.training.spikes import IN_A_ROW, LEAST
from numpygpt.training.trainer import Trainer
from numpygpt.training.validation import Validation, comparable
from numpygpt.utils.colour import harmless
from numpygpt.utils.console import note, progress_bar, say
from numpygpt.utils.paths import command, display_path
from numpygpt.utils.text import duration
from numpygpt.utils.units import bits_per_byte


class Run:
    """One run in its folder `out`. What it measures and writes goes to `log`, and a copy of it to each of `loggers`."""

    def __init__(self, trainer: Trainer, out: Path, log: MetricsLog, loggers: Sequence[Logger] = ()):
        self.trainer, self.config, self.out, self.log, self.loggers = trainer, trainer.config, out, log, loggers
        self.files = RunFiles(trainer, out, log)
        self.data = DataFiles(trainer.dataset)
        self.validation = Validation(trainer, self.data)
        self.clock = Clock(self.config.batch_size * self.config.model.max_len * self.config.accumulate)
        self.stopping = False
        self.began = time.perf_counter() - trainer.seconds  # earlier sessions count
        self.step_times: list[float] = []
        self.losses: list[float] = []  # since the last evaluation
        self.history: list[tuple[int, float, float]] = []  # step, validation loss, mean training loss before it
        self.told = ""  # that the run has diverged, as of the last evaluation

    def go(self) -> None:
        t, c = self.trainer, self.config
        old = {s: signal.signal(s, self.stop) for s in stop_signals()}
        bar = progress_bar(c.steps, t.step)
        self.validation.bar = None if bar.disable else bar
        try:
            with explained(self.files, c):
                self.steps(bar)
        except KeyboardInterrupt:
            bar.close()
            say(f"\nstopped at once. {self.files.kept()}: {self.files.how()}")
            raise KeyboardInterrupt("stopped at once") from None
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
        for step, val_loss in zip(metrics.eval["step"], comparable_losses(metrics), strict=True):
            if step > self.trainer.last.get("step", -1):
                break  # a kill came before the checkpoint: this evaluation is made again
            between = losses[(steps > before) & (steps <= step)]
            self.history.append((int(step), float(val_loss), float(between.mean()) if len(between) else math.nan))
            before = step
        self.losses = losses[steps > before].tolist()

    def stop(self, signum: int, frame: Any) -> None:
        """The first Ctrl-C, and SIGTERM, let the step finish; a Ctrl-C after that stops at once. An evaluation, which
        may take minutes, is given up: the resumed run begins with it."""
        self.stopping = True
        if sys.stderr.isatty():  # written past Python's buffers, which this may have interrupted
            os.write(sys.stderr.fileno(), b"\nstopping as soon as this step is done; Ctrl-C again stops at once\n")
        if signal.SIGINT in stop_signals():
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def update(self, bar: tqdm) -> None:
        t, c, every, start = self.trainer, self.config, self.config.trace_every, time.perf_counter()
        look = every and (t.step == 0 or (t.step + 1) % every == 0)
        watched = TracedStep(t) if look else None
        numbers = watched.apply() if watched else t.update()
        now = time.perf_counter()
        t.seconds = now - self.began
        self.step_times.append(now - start)
        self.losses.append(numbers["loss"])
        self.record("train", **numbers, step_seconds=self.step_times[-1])
        if watched:
            self.record("trace", **watched.row())
        if t.spikes and t.spikes.gave_up:
            note(f"step {t.step:,} is the {IN_A_ROW}th in a row that was skipped, so the gradient is this large now "
                 f"and no longer a spike: the next {LEAST} steps are taken, and measure it again")
        self.clock.step(time.perf_counter() - start)
        left = self.left()
        bar.set_postfix_str(f"loss {numbers['loss']:.3f}" + (f", {duration(left)} left" if left else ""), refresh=False)
        bar.update()
        if len(self.step_times) == SURE and left and t.step < c.steps:
            say(f"{1e3 * median(self.clock.recent):,.0f} ms a step, {duration(left)} left")

    def record(self, kind: str, **values: float) -> None:
        """A row of metrics of this step: to metrics.jsonl and to every logger."""
        t = self.trainer
        if self.log.last[kind] >= t.step:
            return  # a session wrote it, and was killed before the checkpoint that would have counted it
        self.log.log(kind, t.step, tokens=t.tokens, seconds=t.seconds, **values)
        for logger in self.loggers:
            logger.metrics(kind, t.step, {"tokens": t.tokens, "seconds": t.seconds, **values})

    def evaluate(self) -> None:
        """Validation loss, checkpoints, one line, a short sample. Nothing of that if the run is told to stop meanwhile.

        Each evaluation reads the same tokens, so that their losses compare: the best is the lowest of these. The one
        after the last step then reads the whole validation part as well, and that is the run's validation loss.
        """
        t, c, d, start = self.trainer, self.config, self.trainer.dataset, time.perf_counter()
        losses = self.validation.losses(lambda: self.stopping, whole=t.step == c.steps)
        if self.stopping:
            return
        (read, loss), seconds = losses[-1], time.perf_counter() - start
        bits = bits_per_byte(loss, len(d.val) - 1, d.val_bytes)
        sampled = {"sampled_loss": losses[0][1]} if len(losses) > 1 else {}
        t.last = {"step": t.step, "val_loss": loss, **sampled}
        best = not t.best or comparable(t.last) < comparable(t.best)
        if best:
            t.best = t.last
        t.seconds = time.perf_counter() - self.began
        self.record("eval", val_loss=loss, bits_per_byte=bits, perplexity=math.exp(min(loss, 700)),
                    tokens_evaluated=read, **sampled)
        text = self.sample() if c.sample_tokens else ""
        self.files.save(best)  # the sample too is counted by the checkpoint
        self.clock.evaluation(sum(tokens for tokens, _ in losses), seconds, time.perf_counter() - start - seconds)
        train = sum(self.losses) / len(self.losses) if self.losses else math.nan
        self.history.append((t.step, comparable(t.last), train))
        self.losses.clear()
        self.tell(train, bits, best, text)

    def tell(self, train: float, bits: float, best: bool, text: str) -> None:
        """Print the line of an evaluation, warnings about the losses so far, and the sample."""
        t = self.trainer
        line = evaluation_line(t.step, train, t.last, bits, duration(t.seconds), self.left())
        note(f"{line[len('step ------  '):]}{self.skipped()}{'  best' if best else ''}", line[:len("step ------  ")])
        if warning := overfitting(self.history):
            note(warning)
        before, self.told = self.told, self.diverged()
        if self.told and not before:  # once
            note(f"{self.told}. {lower(self.config)}. best.npz has the parameters of step {t.best['step']:,}")
        if text:
            say("\n".join(f"    | {harmless(line)}" for line in text.split("\n")))

    def diverged(self) -> str:
        return diverged(self.history, self.trainer.dataset.vocab_size)

    def skipped(self) -> str:
        count = self.trainer.spikes.skipped if self.trainer.spikes else 0
        return f"  {count:,} step{'s' * (count > 1)} skipped" if count else ""

    def sample(self) -> str:
        """A short text in the model's present words, also in samples.txt. Its seed is the step's own."""
        t, tokenizer = self.trainer, self.trainer.dataset.tokenizer
        context, seed = prompt_ids(tokenizer, ""), self.config.seed + t.step
        with blas_for(t.model), np.errstate(all="ignore"):  # a run that diverges has scores beyond all bounds
            ids = t.model.generate([context], self.config.sample_tokens, temperature=0.8, seed=seed)
        text = tokenizer.decode(ids[0, len(context):])
        self.files.add_sample(text)
        for logger in self.loggers:
            logger.sample(t.step, text)
        return text

    def left(self) -> float | None:
        """Seconds until the run is done, as far as they can be told."""
        step, c = self.trainer.step, self.config
        return self.clock.left(c.steps - step, *self.validation.remaining(step)) if step < c.steps else None

    def finish(self) -> None:
        """The last words, and where this session has trained, the loggers' picture of the run."""
        t, run = self.trainer, display_path(self.out)
        if self.loggers and self.step_times:
            picture = draw_curves(self.out)
            for logger in self.loggers:
                logger.picture("curves", t.step, picture)
        if not self.complete():
            say(f"stopped after step {t.step:,} of {self.config.steps:,} and saved. Go on with:\n"
                f"    {self.files.resume()}")
            return
        speed = f", {1e3 * median(self.step_times):,.0f} ms a step" if self.step_times else ""
        done = "done, but the run has diverged" if self.diverged() else "done"
        note(f"{t.step:,} steps in {duration(t.seconds)}{speed}; "
             f"{result(t.last, t.best, self.validation.tokens)} ({display_path(self.out / 'best.npz')})", f"{done}: ")
        if not self.step_times:
            say(f"nothing was left to train; to train longer: {self.files.resume()} --steps N")
        say(f"next: {command('sample.py', run)}   and   {curves_command(self.out)}")
