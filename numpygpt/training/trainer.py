"""One update of the parameters, and everything that changes from one update to the next."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from numpygpt.data import DataLoader, TokenDataset
from numpygpt.models import GPT
from numpygpt.models.generate import blas_for
from numpygpt.nn.backend import CPU
from numpygpt.nn.finite import NotFinite, not_finite
from numpygpt.nn.mixed import mixed_precision
from numpygpt.nn.replica import evaluation
from numpygpt.optim import SGD, Adam, AdamW, clip_grad_norm
from numpygpt.optim.lr_scheduler import WarmupCosineLR
from numpygpt.optim.optimizer import Optimizer
from numpygpt.parallel.group import LOCAL, Group
from numpygpt.parallel.outer import Outer
from numpygpt.parallel.threads import DataParallel
from numpygpt.tokenizer.prompts import prompt_ids
from numpygpt.training.adapter import saved_params
from numpygpt.training.base import Base, make_model
from numpygpt.training.checkpoint import Checkpoint, save_checkpoint
from numpygpt.training.config import Config
from numpygpt.training.device import device_of
from numpygpt.training.diagnose import first_not_finite
from numpygpt.training.skipping import Skipping
from numpygpt.training.state import identity, load_state, save_state
from numpygpt.utils.signals import signals_wait


def make_optimizer(model: GPT, c: Config) -> Optimizer:
    """The optimiser that the configuration names."""
    if c.optimizer == "sgd":
        return SGD(model, c.lr, c.momentum)
    if c.optimizer == "adam":
        return Adam(model, c.lr, (c.beta1, c.beta2))
    return AdamW(model, c.lr, (c.beta1, c.beta2), weight_decay=c.weight_decay)


def workers_of(c: Config, group: Group = LOCAL) -> int:
    """How many threads each rank has: no more than there are sequences for, and one on a GPU."""
    return 1 if device_of(c, group)[0] is not CPU else min(c.workers or group.cores, -(-c.batch_size // group.size))


def moments_of(c: Config) -> int:
    """How many numbers the optimiser remembers per parameter."""
    return int(c.momentum > 0) if c.optimizer == "sgd" else len(Adam.moments)


class Trainer:
    """A model in training. `update()` is one step. `save` and `load` store and restore all that the next one needs.

    `step`, `tokens` and `seconds` count the work so far, including earlier sessions. `last` and `best` are the last and
    the best evaluation so far, each as {"step", "val_loss"}, or empty before the first one; if it read more tokens than
    the others, it also has "sampled_loss" (see `Validation`). `skipping` decides which steps to skip.
    `sample_bytes` is the size of samples.txt at `step`. `base` is the model that the run starts from; of a LoRA run, a
    checkpoint holds only the adapter, and says which base belongs to it.

    With a `group`, every rank makes the same calls and trains the same model: each takes its rows of the same batches,
    and updates its own part of the parameters (see `DataParallel`). With `sync_every` in the configuration, each rank
    updates a model of its own from its rows, and `outer` brings the models together every so many steps (see `Outer`).
    The loss and the gradient's norm of a step are then those of the rank's rows.
    """

    def __init__(self, config: Config, dataset: TokenDataset, base: Base | None = None, group: Group = LOCAL):
        if not config.model.vocab_size:
            config = replace(config, model=replace(config.model, vocab_size=dataset.vocab_size))
        self.config, self.dataset = config, dataset
        self.model = make_model(config, base).to(device_of(config, group)[0])
        self.base = {"name": base.name, "sha256": base.sha256()} if base and config.lora_rank else None
        if config.precision != "float32":
            mixed_precision(self.model, config.precision)
        self.group, self.workers = group, workers_of(config, group)
        if config.sync_every and config.batch_size < group.size:
            raise ValueError(f"with `sync_every`, each rank trains on sequences of its own: {group.size} ranks need a "
                             f"`batch_size` of at least {group.size}, got {config.batch_size}")
        self.parallel = DataParallel(self.model, self.workers, group, apart=config.sync_every > 0)
        self.outer = Outer(self.parallel) if config.sync_every else None
        self.optimizer = make_optimizer(self.model, config)
        self.schedule = WarmupCosineLR(self.optimizer, config.warmup, config.steps, config.min_lr)
        self.loader = DataLoader(dataset.train, config.batch_size, config.model.max_len, config.seed,
                                 shuffle=config.batches == "random")
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.last: dict[str, float] = {}
        self.best: dict[str, float] = {}
        self.skipping = Skipping(config)
        self.sample_bytes: int | None = 0

    def update(self) -> dict[str, float]:
        """One step: gradients of `accumulate` batches, clipping, the optimiser, the next learning rate.

        Returns the numbers of the step. Raises NotFinite if the loss or the gradient is not finite; it names the first
        layer at fault, and the parameters are those of the step before.
        """
        batches = self.next_batches()
        return self.apply(batches, self.gradients(batches))

    def next_batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The batches of the coming step, each (x, y), both (B, T)."""
        return [self.loader.next_batch() for _ in range(self.config.accumulate)]

    def gradients(self, batches: list[tuple[np.ndarray, np.ndarray]]) -> float:
        """The mean loss of the batches. Afterwards the gradients that this rank owns are those of this loss times
        `skipping.scale`."""
        loss = 0.0
        self.optimizer.zero_grad()  # an update that was interrupted may have left some
        with np.errstate(all="ignore"):  # what is not finite is looked for in `apply`, and named
            for x, y in batches:
                loss += self.parallel.loss(x, y) / len(batches)
                self.parallel.backward(self.skipping.scale / len(batches))
            self.parallel.reduce()
        return loss

    def apply(self, batches: list[tuple[np.ndarray, np.ndarray]], loss: float) -> dict[str, float]:
        """Update the parameters from the gradients, which came from `batches` and their `loss`. A skipped step changes
        no parameter and no moment, and counts like any other."""
        c = self.config
        with np.errstate(all="ignore"):
            norm = clip_grad_norm(self.model, c.clip or math.inf, self.parallel.map_own, self.parallel.total,
                                  self.skipping.scale)
        loss = float(loss)  # on a GPU, float() waits for all earlier work, so the loss is read last
        overflow = self.skipping.is_overflow(norm)
        if not math.isfinite(loss) or not (math.isfinite(norm) or overflow):
            what = f"the {'gradient' if math.isfinite(loss) else 'loss'} of step {self.step + 1}"
            raise NotFinite(f"{what} is not finite; {first_not_finite(self.model, batches)}")
        most = np.finfo(c.model.dtype).max
        squares = "v" in self.optimizer.moments and not c.clip  # v holds squares of the gradient
        if squares and not overflow and norm > math.sqrt(most):
            raise NotFinite(f"the gradient of step {self.step + 1} has the norm {norm:.1e}, whose square is above the "
                            f"largest {c.model.dtype}, {most:.1e}: Adam would never move its parameters again. Clip it")
        lr = self.optimizer.lr
        with signals_wait():  # a step is taken and counted, or neither
            skipped = self.skipping.skips(norm)
            if not skipped:
                with np.errstate(all="ignore"):  # parameters that overflow are found by the next step, and named
                    self.optimizer.step(self.parallel.map_own)
                    self.parallel.spread()
            self.optimizer.zero_grad()
            self.schedule.step()
            self.step += 1
            self.tokens += c.batch_size * c.model.max_len * c.accumulate
            if self.outer and self.together():
                self.outer.step()
        numbers = {"loss": loss, "grad_norm": norm, "lr": lr}
        return numbers | {"skipped": int(skipped)} if self.skipping else numbers

    def together(self) -> bool:
        """Whether all ranks have the same parameters after this step, so that they may be evaluated and saved."""
        c = self.config
        return not c.sync_every or self.step % c.sync_every == 0 or self.step == c.steps

    def sample(self) -> str:
        """Generate a short text. The seed depends on the step."""
        c, tokenizer = self.config, self.dataset.tokenizer
        context, seed = prompt_ids(tokenizer, ""), c.seed + self.step
        with blas_for(self.model), np.errstate(all="ignore"):  # the logits of a diverging run may overflow
            ids = self.model.generate([context], c.sample_tokens, temperature=0.8, seed=seed)[0, len(context):]
        return tokenizer.decode(ids[ids < tokenizer.vocab_size])  # a pretrained model may have more, which are no text

    def header(self) -> dict[str, Any]:
        """The facts about the run in a checkpoint, without its arrays. Sampling needs some of them."""
        facts = {"step": self.step, "tokens": self.tokens, "seconds": self.seconds, "last": self.last,
                 "best": self.best, "config": self.config.to_dict(), "model": self.model.config.to_dict(),
                 "tokenizer": self.dataset.tokenizer.to_dict(), "data": identity(self.dataset)}
        return facts | {"base": self.base} if self.base else facts

    def save(self, path: Any) -> None:
        """Save everything that the next update depends on. Every rank must call it, while all are `together`; only
        rank 0 writes. Raises NotFinite if a parameter is not finite."""
        if (name := not_finite(self.model.named_parameters())) is not None:
            raise NotFinite(f"the parameters after step {self.step} are not finite ({name}), so they were not saved")
        save_state(self, path)

    def saved_arrays(self) -> dict[str, np.ndarray]:
        """The parameters as a checkpoint holds them."""
        return {f"model/{name}": param for name, param in saved_params(self.model).items()}

    def save_bytes(self) -> int:
        """The approximate size of the file that `save` writes."""
        return self.model.flat().params.nbytes * (1 + len(self.optimizer.moments))

    def save_model(self, path: Any) -> None:
        """Save the parameters only: enough to sample, or to start another run from. Only rank 0 writes."""
        if self.group.rank:
            return
        save_checkpoint(path, self.header(), self.saved_arrays())

    def load(self, checkpoint: Checkpoint) -> None:
        """Continue exactly where `save` was called. Every rank must call it; only rank 0 needs the checkpoint's arrays.
        Raises ValueError if the checkpoint belongs to another run."""
        load_state(self, checkpoint)


def evaluate(parallel: DataParallel, batches: Any) -> float:
    """The mean loss in nats per token over all of `batches`, without dropout; nan if there are none. Ranks share the
    rows of each batch, and add up at the end what they have found.

    Afterwards every module is in its previous mode. Raises NotFinite if a loss is not finite.
    """
    total, count = 0.0, 0
    with evaluation(parallel.model), np.errstate(all="ignore"):
        for x, y in batches:
            targets = sum(int(np.count_nonzero(rows != parallel.model.ignore_index)) for rows in parallel.own_rows(y))
            loss = float(parallel.loss(x, y, apart=True))
            if not math.isfinite(loss):
                raise NotFinite(f"the validation loss is not finite; {first_not_finite(parallel.model, [(x, y)])}")
            total += loss * targets
            count += targets
    everywhere = parallel.group.sum_scalar(count)
    return parallel.group.sum_scalar(total) / everywhere if everywhere else math.nan
