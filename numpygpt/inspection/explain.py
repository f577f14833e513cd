"""Sampling, explained: at each step what the model expected, what was left to draw from, and what was drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from numpygpt.inspection.surprise import bits_of, brief, padded, painted, percent, scale, sign_rows
from numpygpt.models.generate import Sampling, probabilities
from numpygpt.nn.functional import softmax_lse
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import token_signs
from numpygpt.utils.colour import faint, listed, width

COLUMNS = 90
MOST = 5  # tokens of a step
LEFT, LABEL, CELL = 20, 8, 10  # columns: what was drawn; "before" and "after"; each token


@dataclass(frozen=True)
class Candidate:
    """A token that might have come: its probability `before`, the model's own, and `after`, that of being drawn."""

    id: int
    before: float
    after: float
    cut: str  # what cut it off: "top-k", "top-p", or nothing


@dataclass(frozen=True)
class Step:
    """One token drawn. `rank` 1 is the model's likeliest; the surprises are -log2 of its probabilities."""

    id: int
    rank: int
    bits: float  # by the model's own probability
    drawn_bits: float  # by the probability that it was drawn with
    candidates: list[Candidate]  # the likeliest before, in that order, and the token drawn where it is none of them


def explain(logits: np.ndarray, id: int, how: Sampling, most: int = MOST) -> Step:
    """What led to token `id`, which was drawn by these logits (V,)."""
    exact = logits.astype(np.float64)
    before, lse = softmax_lse(exact.copy())  # (V,), (1,)
    order = np.argsort(-exact, kind="stable")  # (V,)
    warm = replace(how, top_k=None, top_p=None)
    by_temperature, by_top_k, after = (probabilities(logits[None], rule)[0]
                                       for rule in (warm, replace(how, top_p=None), how))  # (V,) each

    def candidate(at: int) -> Candidate:
        cut = "top-k" if by_top_k[at] == 0 < by_temperature[at] else "top-p" if after[at] == 0 < by_top_k[at] else ""
        return Candidate(at, float(before[at]), float(after[at]), cut)

    rank = int((order == id).argmax()) + 1
    shown = [*order[:most].tolist(), *([id] if rank > most else [])]
    surprise = bits_of(float(lse[0] - exact[id]))  # from the logits, so that it is finite where the probability is 0
    return Step(id, rank, surprise, max(0.0, -math.log2(after[id])), [candidate(at) for at in shown])


class Explanation:
    """The words for each step of a sample, which `say` gets as they come, and the sums for its end."""

    def __init__(self, tokenizer: Tokenizer, how: Sampling, say: Callable[[str], None], colour: bool = False):
        self.tokenizer, self.how, self.say, self.colour = tokenizer, how, say, colour
        self.drawn, self.bits, self.drawn_bits = 0, 0.0, 0.0

    def watch(self, steps: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[np.ndarray]:
        """The ids (1,) of `generate.steps` for one sequence, each after the words that explain it."""
        for ids, logits in steps:
            step = explain(logits[0], int(ids[0]), self.how)
            self.drawn += 1
            self.bits += step.bits
            self.drawn_bits += step.drawn_bits
            self.say(block(step, self.drawn, self.tokenizer, self.colour))
            yield ids

    def summary(self) -> str:
        """The sample in one line."""
        if not self.drawn:
            return "no token was drawn"
        own, drawn = self.bits / self.drawn, self.drawn_bits / self.drawn
        return (f"{self.drawn:,} token{'s' * (self.drawn != 1)}, average surprise {own:.2f} bits a token "
                f"({drawn:.2f} by the probabilities after)")


def legend(tokenizer: Tokenizer, how: Sampling, colour: bool = False) -> str:
    """What the blocks show."""
    cuts = {"top-k": how.top_k, "top-p": how.top_p}
    rules = [f"temperature {how.temperature:g}", *(f"{name} {n}" for name, n in cuts.items() if n is not None)]
    names = " or ".join(name for name, n in cuts.items() if n is not None)
    cut = f'; {names} in place of one says what cut a token off' if names else ""
    rows = [
        ("left", "the token drawn, its rank among the model's likeliest, and its surprise: -log2 of its probability "
                 "before, in bits"),
        ("right", f"the {MOST} likeliest tokens, the drawn one in [brackets]; behind them where it is none of them"),
        ("before", "the model's own probabilities"),
        ("after", f"those that it was drawn from: {', '.join(rules)}{cut}"),
        *sign_rows(tokenizer),
    ]
    return listed(rows, COLUMNS) + (f"\n{'surprise':<12} {scale()}" if colour else "")


def block(step: Step, number: int, tokenizer: Tokenizer, colour: bool = False) -> str:
    """Three lines: the tokens, their probabilities before, and after."""
    drawn = brief(token_signs(tokenizer, step.id), LEFT - 7)
    lines = [f"{number:>4}  {padded(drawn, LEFT - 6)}{'':{LABEL}}",
             f"{'':6}{f'rank {step.rank:,}':<{LEFT - 6}}{'before':<{LABEL}}",
             f"{'':6}{f'{step.bits:.2f} bits':<{LEFT - 6}}{'after':<{LABEL}}"]
    for candidate in step.candidates:
        name = brief(token_signs(tokenizer, candidate.id), CELL - 3)
        name = f"[{name}]" if candidate.id == step.id else f"{name} "
        cells = [name, f"{percent(candidate.before)} ", f"{candidate.cut or percent(candidate.after)} "]
        shown = list(cells)
        if colour and candidate.id == step.id:
            shown[0] = painted(name, step.bits)
        if colour and candidate.cut:
            shown[2] = faint(cells[2])
        for at, cell in enumerate(cells):
            lines[at] += " " * (CELL - width(cell)) + shown[at]
    return "\n".join(line.rstrip() for line in lines)
