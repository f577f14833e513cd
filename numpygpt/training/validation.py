"""The validation loss: which tokens an evaluation reads, and how it shows its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile

import numpy as np
from tqdm import tqdm

from numpygpt.data import eval_batches
from numpygpt.data.dataloader import count_targets
from numpygpt.training.config import Config
from numpygpt.training.failures import DataFiles
from numpygpt.training.trainer import Trainer, evaluate
from numpygpt.utils.console import say
from numpygpt.utils.text import duration

FRACTION = 10  # an evaluation reads 1/10 of the tokens trained on since the last one; each takes 1/3 of training's time
MIN_BATCHES = 10  # the loss of fewer is too uncertain
LINE_SECONDS = 10  # between two lines about a long evaluation in a file or a pipe
ASKED = 8  # ranks ask each other only before every eighth batch whether they were told to stop
BAR_SECONDS = 0.1  # between two updates of the bar


def tokens_read(c: Config, targets: int) -> int:
    """How many of the `targets` of the validation split each evaluation reads. The last one reads all of them."""
    batch = c.batch_size * c.model.max_len
    wanted = c.eval_tokens or max(min(c.eval_every, c.steps) * c.accumulate * batch // FRACTION, MIN_BATCHES * batch)
    return targets if wanted < 0 else count_targets(targets, c.model.max_len, wanted)


def eval_tokens(c: Config, targets: int) -> int:
    """The setting of that name for a new run, without the 0 that means automatic: a run that is resumed with another
    `eval_every` still reads the same tokens."""
    read = tokens_read(c, targets)
    return read if read < targets else -1


def comparable(evaluation: Mapping[str, float]) -> float:
    """The loss on those tokens that every evaluation of the run reads."""
    return evaluation.get("sampled_loss", evaluation["val_loss"])


class Validation:
    """Evaluates a run. The validation split has `targets` tokens, of which each evaluation reads `tokens`.

    An evaluation shows its progress: on `bar` if there is one, else in a line every few seconds.
    """

    def __init__(self, trainer: Trainer, data: DataFiles):
        self.trainer, self.data = trainer, data
        self.targets = len(trainer.dataset.val) - 1
        self.tokens = tokens_read(trainer.config, self.targets)
        self.bar: tqdm | None = None

    def remaining(self, step: int) -> tuple[int, int]:
        """How many evaluations follow after `step`, and how many tokens they read in all."""
        c = self.trainer.config
        count = (c.steps - 1) // c.eval_every - step // c.eval_every + 1 if step < c.steps else 0
        whole = self.targets if count and self.tokens < self.targets else 0
        return count, count * self.tokens + whole

    def losses(self, stopping: Callable[[], bool], whole: bool) -> list[tuple[int, float]]:
        """(tokens, mean loss) of the tokens that each evaluation reads, and with `whole` also of all tokens, if there
        are more. A loss that is measured while `stopping` is not complete."""
        every = ASKED if self.trainer.group.size > 1 else 1
        sizes = [self.tokens, self.targets] if whole and self.tokens < self.targets else [self.tokens]
        found = []
        for size in sizes:
            c, d = self.trainer.config, self.trainer.dataset
            batches = self.data.checked(eval_batches(d.val, c.batch_size, c.model.max_len, size))
            numbered = takewhile(lambda item: item[0] % every or not stopping(), enumerate(self.shown(batches, size)))
            found.append((size, evaluate(self.trainer.parallel, (batch for _, batch in numbered))))
        return found

    def shown(self, batches: Iterator[tuple[np.ndarray, np.ndarray]],
              size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches, with a display of how many are done."""
        done, start = 0, time.monotonic()
        shown = start - LINE_SECONDS if self.bar else start
        for x, y in batches:
            now = time.monotonic()
            if now - shown >= (BAR_SECONDS if self.bar else LINE_SECONDS):
                shown = now
                self.show(done / size, now - start)
            yield x, y
            done += y.size
        if self.bar:
            self.bar.set_description_str("")

    def show(self, part: float, seconds: float) -> None:
        if self.bar:
            self.bar.set_description_str(f"evaluating {part:.0%}, step ")
        else:
            say(f"evaluating: {part:.0%}" + (f", {duration(seconds / part - seconds)} left" if part else ""))
