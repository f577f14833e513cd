"""What a run says of itself before, during and after."""

from __future__ import annotations

import math
import os

from numpygpt.inspection import summary
from numpygpt.nn.modules.loss import chunk_rows
from numpygpt.training.baselines import bigram_loss, unigram_loss
from numpygpt.training.trainer import Trainer
from numpygpt.utils.cli import shown
from numpygpt.utils.cores import cores
from numpygpt.utils.data.meta import plain

INTERPRETER = 60e6  # bytes that Python, NumPy and the buffers of BLAS take before there is a model
HOLES = 1.1  # what the allocator takes from the system, by what is asked of it; measured


def introduction(trainer: Trainer, out: str) -> str:
    """The run in a few lines: data, model, step, machine, memory, and what its loss will mean."""
    c, d, model = trainer.config, trainer.dataset, trainer.model
    per_step = c.batch_size * c.context * c.accumulate
    V, tied = d.vocab_size, "tied" if c.tie_weights else "untied"
    batches = f"{c.batch_size} x {c.context}" + (f" x {c.accumulate} batches" if c.accumulate > 1 else "")
    unknown = d.tokenizer.special_tokens.get("<unk>")
    share = 0.0 if unknown is None else float((d.val == unknown).mean())
    rows = [
        ("run", f"{shown(out)}, seed {c.seed}"),
        ("data", f"{shown(c.data)}: {plain(d.meta['corpus'])}, {d.tokenizer.kind} tokens, vocabulary {V:,}, "
                 f"{len(d.train):,} tokens to train on, {len(d.val):,} to validate"),
        ("model", f"{model.n_params():,} parameters: {c.n_layers} layers, {c.n_heads} heads, {c.d_model} wide, context "
                  f"{c.context}, {c.activation}, {c.positions} positions, {tied} head"),
        ("step", f"{per_step:,} tokens ({batches}); {c.steps:,} steps read the training part "
                 f"{c.steps * per_step / len(d.train):.1f} times"),
        ("machine", f"{trainer.workers} worker{'s' * (trainer.workers > 1)} on {cores()} cores, "
                    f"{'one BLAS thread each' if trainer.workers > 1 else 'with all BLAS threads'}; about "
                    f"{memory(trainer) / 1e6:,.0f} MB of memory{too_much(memory(trainer))}"),
        ("loss", f"{math.log(V):.2f} is ln V, knows nothing; {unigram_loss(d.train, d.val, V):.2f} knows how often "
                 f"each token occurs (unigram), {bigram_loss(d.train, d.val, V):.2f} the token before it too (bigram)"),
    ]
    rows.append(("lines", "train is the mean since the line before and val the whole validation part, in nats a token; "
                 "perplexity is e^val; bits/byte, val by the byte, compares across tokenizers"))
    if share:
        rows.append(("note", f"{share:.1%} of the validation tokens are <unk>, which is easily guessed: bits a byte "
                             "look better than they are"))
    return "\n".join(f"{name:<8} {text}" for name, text in rows)


def memory(trainer: Trainer) -> float:
    """Bytes expected at the peak of a step: Python, parameters, gradients and moments, what the layers keep, and what
    is made while the arrays of the step before are still there."""
    costs = summary(trainer.model, trainer.config.batch_size)
    table, workers = trainer.model.head.embedding.W, trainer.workers
    arrays = costs.parameter_bytes * (1 + len(trainer.optimizer.moments)) + costs.gradient_bytes * workers
    arrays += (workers - 1) * table.nbytes  # each worker collects the gradient of the head in an array of its own
    rows = trainer.config.batch_size * trainer.config.context
    logits = table.itemsize * len(table) * min(rows, workers * chunk_rows(len(table)))
    layers = (table.itemsize * (math.prod(row.input_shape or ()) + math.prod(row.output_shape or ()))
              + (row.cached or 0) for row in costs.rows if row.name != "head_loss")
    made = 3 * table.itemsize * rows * trainer.config.d_model + max(logits, *layers)  # the stream, and the widest layer
    return INTERPRETER + HOLES * (arrays + costs.cached + made)


def too_much(expected: float) -> str:
    """A word of warning where that is more than the machine has, as far as it tells."""
    try:
        has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return ""
    return f", MORE THAN THE {has / 1e6:,.0f} MB THAT THIS MACHINE HAS" if expected > has else ""


def overfitting(history: list[tuple[int, float, float]]) -> str:
    """A sentence where validation has been rising while training falls, else nothing.

    `history` holds (step, validation loss, mean training loss since the evaluation before), one for each evaluation.
    Rising means that the last three evaluations are all above the best one, and the last above the first of them.
    """
    if len(history) < 4:
        return ""
    best = min(history, key=lambda item: item[1])
    last = history[-3:]
    if best in last or last[-1][1] <= last[0][1] or last[-1][2] >= best[2]:
        return ""
    return (f"validation has risen from {best[1]:.3f} (step {best[0]:,}) to {last[-1][1]:.3f} while training fell from "
            f"{best[2]:.3f} to {last[-1][2]:.3f}: the model is learning the text by heart. best.npz keeps step "
            f"{best[0]:,}; more text, more --dropout or fewer --steps would help")
