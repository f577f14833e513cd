"""What a run says of itself before, during and after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from numpygpt.data import TokenDataset
from numpygpt.data.meta import plain
from numpygpt.training.baselines import bigram_loss, unigram_loss
from numpygpt.training.config import Config
from numpygpt.training.memory import memory, parameters
from numpygpt.training.trainer import workers_of
from numpygpt.training.validation import comparable, tokens_read
from numpygpt.utils.console import WIDTH, hanging
from numpygpt.utils.cores import cores
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import duration

NAMES = 9  # columns of a row's name, as in the other lines that a run begins with
WORSE = 0.5  # nats per token, by which both losses of a run that diverges are above where they were


def introduction(c: Config, d: TokenDataset, width: int = WIDTH, notes: Sequence[str] = ()) -> str:
    """The run in a few lines of at most `width` columns: data, model, step, machine, memory, and what its loss means.

    All of it is worked out from sizes, so that a model of any size can be described.
    """
    m, V, targets = c.model, d.vocab_size, len(d.val) - 1
    per_step = c.batch_size * m.max_len * c.accumulate
    batches = f"{c.batch_size} x {m.max_len}" + (f" x {c.accumulate} batches" if c.accumulate > 1 else "")
    workers, read, passes = workers_of(c), tokens_read(c, targets), c.steps * per_step / len(d.train)
    rows = [
        ("run", f"{display_path(c.out)}, seed {c.seed}"),
        ("data", f"{display_path(c.data)}: {plain(d.meta['corpus'])}, {d.tokenizer.kind} tokens, vocabulary {V:,}; "
                 f"{len(d.train):,} tokens for training, {len(d.val):,} for validation"),
        ("model", f"{parameters(c, V):,} parameters: {counted(m.n_layers, 'layer')}, {counted(m.n_heads, 'head')}, "
                  f"width {m.d_model}, context {m.max_len}, {m.activation}, {m.positions} positions, "
                  f"{'tied' if m.tie_weights else 'untied'} head"),
        ("steps", f"{c.steps:,} of {per_step:,} tokens ({batches}): {passes:{',.1f' if passes >= 1 else '.2g'}} times "
                  "through the training text"),
        ("rate", f"learning rate from 0 to {c.lr:g} in {counted(c.warmup, 'step')} (warm-up), then to {c.min_lr:g} "
                 "(cosine)" if c.warmup else f"learning rate from {c.lr:g} to {c.min_lr:g} (cosine)"),
        ("val", f"every {counted(c.eval_every, 'step')} on {read:,} tokens"
                + (f", always the same ones; at the end on all {targets:,}" if read < targets else ", which are all")),
        ("machine", f"{counted(workers, 'worker')} on {cores()} cores, "
                    f"{'one BLAS thread each' if workers > 1 else 'with all BLAS threads'}; about "
                    f"{memory(c, V) / 1e6:,.0f} MB of memory"),
        ("baseline", f"uniform {math.log(V):.2f} (ln V), unigram {unigram_loss(d.train, d.val, V):.2f}, bigram "
                     f"{bigram_loss(d.train, d.val, V):.2f}"),
        ("lines", "train: mean loss since the previous line. val: validation loss. Both in nats per token. "
                  "perplexity: e^val. Use bits/byte to compare tokenizers."),
    ]
    unknown = d.tokenizer.special_tokens.get("<unk>")
    share = 0.0 if unknown is None else float((np.asarray(d.val) == unknown).mean())
    if share:
        rows.append(("note", f"{share:.1%} of the validation tokens are <unk>, which is easily guessed, so bits/byte "
                             "looks better than it is"))
    rows += [("note", text) for text in notes]
    return "\n".join(hanging(f"{name:<{NAMES}}", text, width) for name, text in rows)


def counted(n: int, what: str) -> str:
    """`1 layer`, `2 layers`."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def evaluation_line(step: int, train: float, last: Mapping[str, float], bits: float, took: str,
                    left: float | None) -> str:
    """The line of the evaluation `last`."""
    loss, perplexity = last["val_loss"], math.exp(min(last["val_loss"], 700))
    shown = f"{train:.3f}" if step else "    -"
    both = f" ({last['sampled_loss']:.3f} on the sampled tokens)" if "sampled_loss" in last else ""
    return (f"step {step:>6,}  train {shown}  val {loss:.3f}{both}  perplexity "
            f"{f'{perplexity:,.2f}' if perplexity < 1e6 else f'{perplexity:.1e}'}  {bits:.3f} bits/byte  {took}"
            f"{'' if left is None else f', {duration(left)} left'}")


def result(last: Mapping[str, float], best: Mapping[str, float], tokens: int) -> str:
    """How far a run came, and which step is the best on the `tokens` of each evaluation."""
    if best == last or "sampled_loss" not in last:
        return f"best validation loss {best['val_loss']:.4f} at step {best['step']:,}"
    return (f"validation loss {last['val_loss']:.4f}; on the {tokens:,} tokens of each evaluation it is "
            f"{last['sampled_loss']:.4f}, and the best validation loss {comparable(best):.4f} at step {best['step']:,}")


def diverged(history: Sequence[tuple[int, float, float]], vocab_size: int) -> str:
    """A sentence if the run has diverged, else nothing. `history` is that of `overfitting`.

    Diverged means that validation and training loss are both far above their lowest, or both far above ln V, which a
    model reaches that knows nothing. (In overfitting the training loss is low.)
    """
    trained = [item for item in history if not math.isnan(item[2])]
    if not trained:
        return ""
    step, val, train = trained[-1]
    best, blind = min(history, key=lambda item: item[1]), math.log(vocab_size)
    above = min(val - best[1], train - min(item[2] for item in trained))
    if max(above, min(val, train) - blind) < WORSE:
        return ""
    return (f"the run has diverged: the validation loss is {val:.3f} at step {step:,}, and was {best[1]:.3f} at step "
            f"{best[0]:,}. A model that knows nothing has {blind:.2f} (ln V)")


def overfitting(history: list[tuple[int, float, float]]) -> str:
    """A sentence if the validation loss has been rising while the training loss falls, else nothing.

    `history` holds (step, validation loss, mean training loss since the previous one) of each evaluation.
    Rising means that the last three evaluations are all above the best one, and the last above the first of them.
    """
    if len(history) < 4:
        return ""
    best = min(history, key=lambda item: item[1])
    last = history[-3:]
    if best in last or last[-1][1] <= last[0][1] or not last[-1][2] < best[2]:  # nan: none was trained before
        return ""
    return (f"validation has risen from {best[1]:.3f} (step {best[0]:,}) to {last[-1][1]:.3f} while training fell from "
            f"{best[2]:.3f} to {last[-1][2]:.3f}: the model memorises the text. best.npz keeps step "
            f"{best[0]:,}; more text, more --dropout or fewer --steps would help")
