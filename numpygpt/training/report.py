"""The lines that a run prints before, during and after training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from numpygpt.data import TokenDataset
from numpygpt.data.meta import plain
from numpygpt.parallel.group import LOCAL, Group
from numpygpt.parallel.launch import missing
from numpygpt.training.baselines import bigram_loss, unigram_loss
from numpygpt.training.config import Config
from numpygpt.training.device import device_of
from numpygpt.training.memory import memory, parameters
from numpygpt.training.metrics import Metrics, comparable_losses
from numpygpt.training.trainer import workers_of
from numpygpt.training.validation import comparable, tokens_read
from numpygpt.utils.console import WIDTH, hanging
from numpygpt.utils.cores import cores
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import duration

NAME_COLUMNS = 10  # columns of a row's name
DIVERGED_BY = 0.5  # nats per token: both losses must be this far above their lowest values, or above ln V
LEGEND = ("train: mean loss since the previous line. val: loss on the validation split. Both in nats per token. "
          "perplexity: e^val. Use bits/byte to compare tokenizers.")


def introduction(c: Config, d: TokenDataset, width: int = WIDTH, notes: Iterable[str] = (),
                 resumed: bool = False, group: Group = LOCAL) -> str:
    """Describe the run in a block of at most `width` columns: data, model, training, machine, and where it is saved.

    Everything is computed from sizes, so a model of any size can be described.
    """
    m, V, targets = c.model, d.vocab_size, len(d.val) - 1
    place, why = device_of(c, group)
    known = m.vocab_size or V  # a pretrained model may know more tokens than its tokenizer has
    per_step, workers, read = c.batch_size * m.max_len * c.accumulate, workers_of(c, group), tokens_read(c, targets)
    batches = f"{c.batch_size} x {m.max_len}" + (f" x {c.accumulate}" if c.accumulate > 1 else "")
    passes = c.steps * per_step / len(d.train)
    apart = "ranks train apart and average their models" if group.size > 1 else "an outer step of Nesterov's momentum"
    warmup = f"rises from 0 to {c.lr:g} in {counted(c.warmup, 'warm-up step')}" if c.warmup else f"starts at {c.lr:g}"
    rows = [
        ("data", f"{display_path(c.data)}: {plain(d.meta['corpus'])}, vocabulary of {V:,} {d.tokenizer.kind} tokens"),
        ("", f"{len(d.train):,} tokens to train on, {len(d.val):,} for validation"),
        ("model", f"{parameters(replace(c, lora_rank=0), known):,} parameters: {counted(m.n_layers, 'layer')}, "
                  f"{counted(m.n_heads, 'head')}, width {m.d_model}, context {m.max_len}"),
        *start_rows(c, known),
        ("training", f"{counted(c.steps, 'step')} of {per_step:,} tokens ({batches}), which is "
                     f"{passes:{',.1f' if passes >= 1 else '.2g'}} times the training text"),
        ("", f"learning rate {warmup}, then falls to {c.min_lr:g}"),
        *([("", f"{apart} every {counted(c.sync_every, 'step')}")] if c.sync_every else []),
        ("", f"evaluated every {counted(c.eval_every, 'step')} on {read:,} validation tokens"
             + (f", at the end on all {targets:,}" if read < targets else "")),
        ("device", f"{place.name} ({why})"),
        ("machine", f"{sharing(workers, group)}; about {memory(c, known, resumed, group) / 1e6:,.0f} MB of memory"
                    f"{' per process' if group.size > 1 else ''}; the time is estimated after the first steps"),
        ("saved in", f"{display_path(c.out)}; seed {c.seed}"),
        ("baselines", f"uniform {math.log(V):.2f} (ln V), unigram {unigram_loss(d.train, d.val, V):.2f}, bigram "
                      f"{bigram_loss(d.train, d.val, V):.2f} nats per token"),
    ]
    unknown = d.tokenizer.special_tokens.get("<unk>")
    fraction = 0.0 if unknown is None else float((np.asarray(d.val) == unknown).mean())
    if fraction:
        rows.append(("note", f"{fraction:.1%} of the validation tokens are <unk>, which is easy to guess: bits/byte "
                             "looks better than it is"))
    rows += [("note", text) for text in notes]
    block = "\n".join(hanging(f"{name:<{NAME_COLUMNS}}", text, width) for name, text in rows)
    return f"{block}\n\n{hanging('', LEGEND, width)}"


def sharing(workers: int, group: Group) -> str:
    """Return what shares a batch, and why."""
    if group.size > 1:
        return f"{group.size} processes of {counted(workers, 'worker')} each, through MPI"
    shared = f"{counted(workers, 'worker')} on {counted(cores(), 'core')}"
    why = missing() or f"--processes {workers} would be processes"
    return f"{shared}, as threads ({why})" if workers > 1 else shared


def start_rows(c: Config, vocab_size: int) -> list[tuple[str, str]]:
    """The rows about the model that a run starts from."""
    if not c.init_from:
        return []
    name = display_path(c.init_from) if Path(c.init_from).exists() else c.init_from
    rows = [("", f"starts from {name}")]
    if c.lora_rank:
        learned = parameters(c, vocab_size, learned=True)
        rows.append(("", f"LoRA of rank {c.lora_rank} on {c.lora_targets}: only {learned:,} parameters learn"))
    return rows


def counted(n: int, noun: str) -> str:
    """Return `1 layer`, `2 layers`."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def evaluation_line(step: int, train: float, last: Mapping[str, float], bits: float, took: str,
                    left: float | None) -> str:
    """Return the line of an evaluation. `last` holds its losses."""
    loss, perplexity = last["val_loss"], math.exp(min(last["val_loss"], 700))
    trained = f"{train:.3f}" if step else "    -"
    both = f" ({last['sampled_loss']:.3f} on the sampled tokens)" if "sampled_loss" in last else ""
    return (f"step {step:>6,}  train {trained}  val {loss:.3f}{both}  perplexity "
            f"{f'{perplexity:,.2f}' if perplexity < 1e6 else f'{perplexity:.1e}'}  {bits:.3f} bits/byte  {took}"
            f"{'' if left is None else f', {duration(left)} left'}")


def result(last: Mapping[str, float], best: Mapping[str, float], tokens: int) -> str:
    """Return the final validation loss and the best step. Each evaluation read the same `tokens` tokens."""
    if best == last or "sampled_loss" not in last:
        return f"best validation loss {best['val_loss']:.4f} at step {best['step']:,}"
    return (f"validation loss {last['val_loss']:.4f}; on the {tokens:,} tokens of each evaluation it is "
            f"{last['sampled_loss']:.4f}, and the best is {comparable(best):.4f} at step {best['step']:,}")


def past_evaluations(metrics: Metrics, last: float) -> tuple[list[tuple[int, float, float]], list[float]]:
    """Return the history, as `overfitting` takes it, up to step `last`, and the training losses after it.

    A kill may have come between an evaluation and its checkpoint: that evaluation will be made again.
    """
    steps, losses = metrics.train["step"], metrics.train["loss"]
    history, before = [], 0
    for step, val_loss in zip(metrics.eval["step"], comparable_losses(metrics), strict=True):
        if step <= last:
            between = losses[(steps > before) & (steps <= step)]
            history.append((int(step), float(val_loss), float(between.mean()) if len(between) else math.nan))
            before = step
    return history, losses[steps > before].tolist()


def diverged(history: Sequence[tuple[int, float, float]], vocab_size: int) -> str:
    """Return a warning if the run has diverged, else "". `history` is as in `overfitting`.

    Diverged means that validation and training loss are both far above their lowest values, or both far above ln V, the
    loss of a model that knows nothing. (When a model overfits, its training loss is low.)
    """
    trained = [item for item in history if not math.isnan(item[2])]
    if not trained:
        return ""
    step, val, train = trained[-1]
    best, uniform = min(history, key=lambda item: item[1]), math.log(vocab_size)
    above = min(val - best[1], train - min(item[2] for item in trained))
    if max(above, min(val, train) - uniform) < DIVERGED_BY:
        return ""
    return (f"the run has diverged: the validation loss is {val:.3f} at step {step:,}; it was {best[1]:.3f} at step "
            f"{best[0]:,}. A model that knows nothing has {uniform:.2f} (ln V)")


def overfitting(history: list[tuple[int, float, float]]) -> str:
    """Return a warning if the validation loss has been rising while the training loss falls, else "".

    `history` holds (step, validation loss, mean training loss since the previous evaluation) of each evaluation. Rising
    means that the last three evaluations are all above the best one, and the last is above the first of the three.
    """
    if len(history) < 4:
        return ""
    best = min(history, key=lambda item: item[1])
    last = history[-3:]
    if best in last or last[-1][1] <= last[0][1] or not last[-1][2] < best[2]:  # nan: nothing was trained before
        return ""
    return (f"the validation loss has risen from {best[1]:.3f} (step {best[0]:,}) to {last[-1][1]:.3f} while the "
            f"training loss fell from {best[2]:.3f} to {last[-1][2]:.3f}: the model memorises the text. best.npz keeps "
            f"step {best[0]:,}. More text, more dropout or fewer steps would help")
