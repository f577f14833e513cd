"""The loop of a training run: update, evaluate, save and sample, until the last step or Ctrl-C."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from numpygpt.inspection.step import TracedStep
from numpygpt.training.clock import MIN_STEPS, Clock
from numpygpt.training.failures import DataFiles, explained, lower_lr, stop_signals
from numpygpt.training.folder import RunFiles
from numpygpt.training.loggers import Logger
from numpygpt.training.metrics import MetricsLog, read_metrics
from numpygpt.training.report import diverged, evaluation_line, overfitting, past_evaluations, result
from numpygpt.training.runs import curves_command
from numpygpt.training.spikes import MAX_IN_A_ROW, MIN_NORMS
from numpygpt.training.trainer import Trainer
from numpygpt.training.validation import Validation, comparable
from numpygpt.utils.colour import harmless
from numpygpt.utils.console import note, progress_bar, say
from numpygpt.utils.paths import command, display_path
from numpygpt.utils.text import duration
from numpygpt.utils.units import bits_per_byte

STEP_COLUMNS = len("step ------  ")


class RunLoop:
    """A run in its folder `out`. Metrics go to `log` and to each of `loggers`; `draw_curves`, if there is one, draws
    the run in a folder for the loggers and returns the picture."""

    def __init__(self, trainer: Trainer, out: Path, log: MetricsLog, loggers: Sequence[Logger] = (),
                 draw_curves: Callable[[Path], Path] | None = None):
        self.trainer, self.config = trainer, trainer.config
        self.out, self.log, self.loggers, self.draw_curves = out, log, loggers, draw_curves
        self.files, self.data = RunFiles(trainer, out, log), DataFiles(trainer.dataset)
        self.validation = Validation(trainer, self.data)
        self.clock = Clock(self.config.batch_size * self.config.model.max_len * self.config.accumulate)
        self.stopping = False
        self.began = time.perf_counter() - trainer.seconds  # earlier sessions count
        self.step_times: list[float] = []
        self.losses: list[float] = []  # since the last evaluation
        self.history: list[tuple[int, float, float]] = []  # step, validation loss, mean training loss before it
        self.has_diverged = False  # at the last evaluation

    def run(self) -> None:
        """Train until the last step or a signal, save, and print how it went."""
        t, c = self.trainer, self.config
        old = {s: signal.signal(s, self.stop) for s in stop_signals()}
        bar = progress_bar(c.steps, t.step)
        self.validation.bar = None if bar.disable else bar
        try:
            with explained(self.files, c):
                self.steps(bar)
        except KeyboardInterrupt:
            bar.close()
            words = f"stopped at once. {self.files.state()}: {self.files.advice()}"
            say(f"\n{words}")
            raise KeyboardInterrupt(words) from None
        finally:
            bar.close()
            for s, handler in old.items():
                signal.signal(s, handler)
        self.finish()

    def steps(self, bar: tqdm) -> None:
        t, c = self.trainer, self.config
        if t.step == 0:
            self.files.save()  # from here on there is a checkpoint to resume from
        while True:
            due = t.step % c.eval_every == 0 or t.step == c.steps
            if due and t.last.get("step") != t.step and not self.stops():
                self.evaluate()
            if t.step >= c.steps or self.stops():
                break
            self.data.check()
            self.update(bar)
        if not self.complete():
            self.files.save()

    def stops(self) -> bool:
        """Whether a rank was told to stop. All ranks must ask at the same time, and get the same answer: ranks that
        train apart do not ask each other, and stop when they are together again."""
        stops = self.trainer.together() and self.trainer.group.any(self.stopping)
        if stops:  # assigned only here: a signal may set it at any moment
            self.stopping = True
        return stops

    def complete(self) -> bool:
        return self.trainer.step == self.config.steps == self.trainer.last.get("step")

    def remember(self) -> None:
        """Read the metrics of earlier sessions, for the next line and for the warnings."""
        last = self.trainer.last.get("step", -1)
        self.history, self.losses = past_evaluations(read_metrics(self.out / "metrics.jsonl"), last)

    def stop(self, signum: int, frame: Any) -> None:
        """Stop after this step, or when ranks that train apart are together again. A second Ctrl-C stops at once. An
        evaluation is abandoned: a resumed run repeats it."""
        self.stopping = True
        if sys.stderr.isatty():  # not through Python's buffers, which this may have interrupted
            when = "after this step" if not self.config.sync_every else "when the models are next averaged"
            os.write(sys.stderr.fileno(), f"\nstopping {when}; press Ctrl-C again to stop at once\n".encode())
        if signal.SIGINT in stop_signals():
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def update(self, bar: tqdm) -> None:
        """Train one step, record it, and show it on the progress bar."""
        t, c, every, start = self.trainer, self.config, self.config.trace_every, time.perf_counter()
        traced = every and (t.step == 0 or (t.step + 1) % every == 0)
        watched = TracedStep(t) if traced else None
        numbers = watched.apply() if watched else t.update()
        now = time.perf_counter()
        t.seconds = now - self.began
        self.step_times.append(now - start)
        self.losses.append(numbers["loss"])
        self.record("train", **numbers, step_seconds=self.step_times[-1])
        if watched:
            self.record("trace", **watched.row())
        if t.skipping.spikes and t.skipping.spikes.gave_up:
            note(f"step {t.step:,} is the {MAX_IN_A_ROW}th in a row that was skipped, so the gradient has grown for "
                 f"good: the next {MIN_NORMS} steps are taken, to measure it again")
        self.clock.step(time.perf_counter() - start)
        left = self.left()
        bar.set_postfix_str(f"loss {numbers['loss']:.3f}" + (f", {duration(left)} left" if left else ""), refresh=False)
        bar.update()
        if len(self.step_times) == MIN_STEPS and left and t.step < c.steps:
            say(f"{1e3 * median(self.clock.recent):,.0f} ms per step, about {duration(left)} left")

    def record(self, kind: str, **values: float) -> None:
        """Add a row for this step to metrics.jsonl and to every logger."""
        t = self.trainer
        if self.log.last[kind] >= t.step:
            return  # written by a session that was killed before the checkpoint that would have counted it
        self.log.log(kind, t.step, tokens=t.tokens, seconds=t.seconds, **values)
        for logger in self.loggers:
            logger.metrics(kind, t.step, {"tokens": t.tokens, "seconds": t.seconds, **values})

    def evaluate(self) -> None:
        """Measure the validation loss, save checkpoints, print a line and a sample. If stopped meanwhile, do nothing.

        Every evaluation reads the same tokens, so their losses compare and the lowest is the best. The last evaluation
        also reads the whole validation split: that is the run's validation loss."""
        t, c, d, start = self.trainer, self.config, self.trainer.dataset, time.perf_counter()
        losses = self.validation.losses(self.stops, whole=t.step == c.steps)
        if self.stops():
            return
        (read, loss), seconds = losses[-1], time.perf_counter() - start
        bits = bits_per_byte(loss, len(d.val) - 1, d.val_bytes)
        sampled = {"sampled_loss": losses[0][1]} if len(losses) > 1 else {}
        t.last = {"step": t.step, "val_loss": loss, **sampled}
        best = not t.best or comparable(t.last) < comparable(t.best)
        t.best = t.last if best else t.best
        t.seconds = time.perf_counter() - self.began
        self.record("eval", val_loss=loss, bits_per_byte=bits, perplexity=math.exp(min(loss, 700)),
                    tokens_evaluated=read, **sampled)
        text = self.sample() if c.sample_tokens and t.group.rank == 0 else ""
        self.files.save(best)  # after the sample, which the checkpoint counts too
        self.clock.evaluation(sum(tokens for tokens, _ in losses), seconds, time.perf_counter() - start - seconds)
        train = sum(self.losses) / len(self.losses) if self.losses else math.nan
        self.history.append((t.step, comparable(t.last), train))
        self.losses.clear()
        self.print_evaluation(train, bits, best, text)

    def print_evaluation(self, train: float, bits: float, best: bool, text: str) -> None:
        """Print the line of an evaluation, warnings about the losses so far, and the sample."""
        t = self.trainer
        line = evaluation_line(t.step, train, t.last, bits, duration(t.seconds), self.left())
        skipped = t.skipping.skipped
        line += f"  {skipped:,} step{'s' * (skipped > 1)} skipped" if skipped else ""
        note(f"{line[STEP_COLUMNS:]}{'  best' if best else ''}", line[:STEP_COLUMNS])
        if warning := overfitting(self.history):
            note(warning)
        warning = diverged(self.history, t.dataset.vocab_size)
        if warning and not self.has_diverged:  # once
            note(f"{warning}. {lower_lr(self.config)}. best.npz has the parameters of step {t.best['step']:,}")
        self.has_diverged = bool(warning)
        if text:
            say("\n".join(f"    | {harmless(line)}" for line in text.split("\n")))

    def sample(self) -> str:
        """Generate a short text, and add it to samples.txt and to the loggers."""
        text = self.trainer.sample()
        self.files.add_sample(text)
        for logger in self.loggers:
            logger.sample(self.trainer.step, text)
        return text

    def left(self) -> float | None:
        """Return the estimated seconds until the run is done, or None."""
        step, c = self.trainer.step, self.config
        return self.clock.left(c.steps - step, *self.validation.remaining(step)) if step < c.steps else None

    def finish(self) -> None:
        """Print the result and the next commands. If this session trained, give the loggers a picture of the run."""
        t, run = self.trainer, display_path(self.out)
        if self.draw_curves and self.loggers and self.step_times:
            picture = self.draw_curves(self.out)
            for logger in self.loggers:
                logger.picture("curves", t.step, picture)
        if not self.complete():
            where = (f"after step {t.step:,} of {self.config.steps:,} and saved" if t.step < self.config.steps else
                     f"and saved: all {t.step:,} steps are done, only the last evaluation is missing")
            say(f"stopped {where}. Resume with:\n    {self.files.resume()}")
            return
        speed = f", {1e3 * median(self.step_times):,.0f} ms per step" if self.step_times else ""
        note(f"{t.step:,} steps in {duration(t.seconds)}{speed}; "
             f"{result(t.last, t.best, self.validation.tokens)} ({display_path(self.out / 'best.npz')})",
             "done, but the run has diverged: " if diverged(self.history, t.dataset.vocab_size) else "done: ")
        if not self.step_times:
            say(f"nothing was left to train; to train longer: {self.files.resume()} --steps N")
        say(f"next: {command('sample.py', run)}   and   {curves_command(self.out)}")
