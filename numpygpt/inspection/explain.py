"""Explain sampling: at each step the model's probabilities, what top-k and top-p leave of them, and what was drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from numpygpt.inspection.surprise import fitted, padded, painted, percent, scale, sign_rows
from numpygpt.models.generate import Sampling, probabilities
from numpygpt.nn.functional import softmax_lse
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import token_signs
from numpygpt.utils.colour import faint, listed, width
from numpygpt.utils.units import bits_of

COLUMNS = 90
CANDIDATES = 5  # tokens shown per step
LEFT, LABEL, CELL = 20, 8, 10  # columns for the drawn token, for "before" and "after", and for each candidate


@dataclass(frozen=True)
class Candidate:
    """A possible next token: its probability `before`, the model's own, and `after`, when it was drawn."""

    id: int
    before: float
    after: float
    cut: str  # what excluded it: "top-k", "top-p", or nothing


@dataclass(frozen=True)
class Step:
    """One drawn token. Rank 1 is the model's likeliest; the surprises are -log2 of its probabilities."""

    id: int
    rank: int
    bits: float  # by the model's own probability
    drawn_bits: float  # by the probability with which it was drawn
    candidates: list[Candidate]  # the likeliest by `before`, then the drawn token if it is not among them


def explain(logits: np.ndarray, id: int, sampling: Sampling, most: int = CANDIDATES) -> Step:
    """Explain why token `id` was drawn from these logits (n_vocab,)."""
    exact = logits.astype(np.float64)
    before, lse = softmax_lse(exact.copy())  # (n_vocab,), (1,)
    order = np.argsort(-exact, kind="stable")  # (n_vocab,)
    warm = replace(sampling, top_k=None, top_p=None)
    by_temperature, by_top_k, after = (probabilities(logits[None], rule)[0]
                                       for rule in (warm, replace(sampling, top_p=None), sampling))  # (n_vocab,) each

    def candidate(at: int) -> Candidate:
        cut = "top-k" if by_top_k[at] == 0 < by_temperature[at] else "top-p" if after[at] == 0 < by_top_k[at] else ""
        return Candidate(at, float(before[at]), float(after[at]), cut)

    rank = int((order == id).argmax()) + 1
    shown = [*order[:most].tolist(), *([id] if rank > most else [])]
    surprise = bits_of(float(lse[0] - exact[id]))  # from the logits, so that it is finite even if the probability is 0
    return Step(id, rank, surprise, max(0.0, -math.log2(after[id])), [candidate(at) for at in shown])


class Explanation:
    """Explains each step of a sample to `say` as it comes, and sums up at the end."""

    def __init__(self, tokenizer: Tokenizer, sampling: Sampling, say: Callable[[str], None], colour: bool = False):
        self.tokenizer, self.sampling, self.say, self.colour = tokenizer, sampling, say, colour
        self.drawn, self.bits, self.drawn_bits = 0, 0.0, 0.0

    def watch(self, steps: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[np.ndarray]:
        """Yield the ids (1,) of `generate.steps` for one sequence, each after its explanation."""
        for ids, logits in steps:
            step = explain(logits[0], int(ids[0]), self.sampling)
            self.drawn += 1
            self.bits += step.bits
            self.drawn_bits += step.drawn_bits
            self.say(block(step, self.drawn, self.tokenizer, self.colour))
            yield ids

    def summary(self) -> str:
        if not self.drawn:
            return "no token was drawn"
        own, drawn = self.bits / self.drawn, self.drawn_bits / self.drawn
        return (f"{self.drawn:,} token{'s' * (self.drawn != 1)}, average surprise {own:.2f} bits per token "
                f"({drawn:.2f} by the probabilities after)")


def legend(tokenizer: Tokenizer, sampling: Sampling, colour: bool = False) -> str:
    cuts = {"top-k": sampling.top_k, "top-p": sampling.top_p}
    rules = [f"temperature {sampling.temperature:g}", *(f"{name} {n}" for name, n in cuts.items() if n is not None)]
    names = " or ".join(name for name, n in cuts.items() if n is not None)
    cut = f'; {names} instead of a probability: that rule excluded the token' if names else ""
    rows = [
        ("left", "the drawn token, its rank (1 is the likeliest), and its surprise: -log2 of its probability before, "
                 "in bits"),
        ("right", f"the {CANDIDATES} likeliest tokens; the drawn one in [brackets], last if it is not among them"),
        ("before", "the model's own probabilities"),
        ("after", f"the probabilities for drawing: {', '.join(rules)}{cut}"),
        *sign_rows(tokenizer),
    ]
    return listed(rows, COLUMNS) + (f"\n{'surprise':<12} {scale()}" if colour else "")


def block(step: Step, number: int, tokenizer: Tokenizer, colour: bool = False) -> str:
    """Three lines: the tokens, their probabilities before, and after."""
    drawn = fitted(token_signs(tokenizer, step.id), LEFT - 7)
    lines = [f"{number:>4}  {padded(drawn, LEFT - 6)}{'':{LABEL}}",
             f"{'':6}{f'rank {step.rank:,}':<{LEFT - 6}}{'before':<{LABEL}}",
             f"{'':6}{f'{step.bits:.2f} bits':<{LEFT - 6}}{'after':<{LABEL}}"]
    for candidate in step.candidates:
        name = fitted(token_signs(tokenizer, candidate.id), CELL - 3)
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
