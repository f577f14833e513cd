"""Mutants that are not mistakes, each with the reason why no check can tell it from the correct line.

The lines are compared without their names, so that renaming a variable or an attribute needs no edit here.
"""

from __future__ import annotations

import keyword
import re

SAME_ARRAY = "the softmax overwrites the logits and its gradient the softmax, so logits, P and dlogits are one array"
ALL_SEEN = "in a backward pass the tokens that are seen, S, are those of the batch, T: there is no cache"
TILE_SIZE = "the number of heads only decides how many sequences one tile holds"
ANY_RANK = "a product with a matrix acts on the last axis, whatever axes come before it"
FREED = "the caches of a block are deleted after its backward to free their memory"
OWN_GENERATOR = "a generator serves one block: after the second forward it is where it was after the first"
CORNER = "they differ at the corner alone, where the function has no derivative that a finite difference could give"
EQUIVALENT: dict[tuple[str, str, str], str] = {  # (layer, line before, line after) -> reason
    ("LeakyReLU", "return np.where(Y > 0, dY, a * dY)", "return np.where(Y >= 0, dY, a * dY)"): CORNER,
    ("MultiHeadAttention", "if rows > 1:", "if rows >= 1:"):
        "for a block of one row the first entry of the mask is added, which is 0",
    ("MultiHeadAttention", "seen = slice(0, S - T + rows.stop)", "seen = slice(0, rows.stop)"): ALL_SEEN,
    ("MultiHeadAttention", "seen = slice(0, S - T + rows.stop)", "seen = slice(0, T - T + rows.stop)"): ALL_SEEN,
    ("MultiHeadAttention", "seen = slice(0, S - T + rows.stop)", "seen = slice(0, S - S + rows.stop)"): ALL_SEEN,
    ("MultiHeadAttention", "B, T, heads = (shape[0], shape[-2], shape[1] * shape[2])",
     "B, T, heads = (shape[0], shape[-2], shape[1])"): TILE_SIZE,
    ("MultiHeadAttention", "B, T, heads = (shape[0], shape[-2], shape[1] * shape[2])",
     "B, T, heads = (shape[0], shape[-2], shape[2])"): TILE_SIZE,
    ("Linear", "dX = self.product(dY2, self.W.T)", "dX = self.product(dY, self.W.T)"): ANY_RANK,
    ("Unembedding", "return self.product(dY2, self.embedding.W).reshape(self.X.shape)",
     "return self.product(dY, self.embedding.W).reshape(self.X.shape)"): ANY_RANK,
    ("LinearCrossEntropy", "dlogits = F.cross_entropy_backward(P, t[s], self.ignore_index)",
     "dlogits = F.cross_entropy_backward(logits, t[s], self.ignore_index)"): SAME_ARRAY,
    ("LinearCrossEntropy", "self.product(dlogits, E, dX[s])", "self.product(P, E, dX[s])"): SAME_ARRAY,
    ("LinearCrossEntropy", "dE[v] += self.product(dlogits[:, v].T, X2[s])",
     "dE[v] += self.product(P[:, v].T, X2[s])"): SAME_ARRAY,
    ("GPT", "forget(layer)", "pass"): FREED,
    ("GPT", "rng.bit_generator.state = state", "pass"): OWN_GENERATOR,
}


def entry(layer: str, before: str, after: str) -> tuple[str, str, str] | None:
    """The key of EQUIVALENT with this layer and these lines, up to names; None if there is none."""
    wanted = nameless(before, after)
    return next((key for key in EQUIVALENT if key[0] == layer and nameless(*key[1:]) == wanted), None)


def nameless(before: str, after: str) -> str:
    """Both lines with every name numbered in the order of its first use: "a = a * b" and "x = x * y" become equal."""
    numbers: dict[str, str] = {}

    def number(name: re.Match[str]) -> str:
        return name[0] if keyword.iskeyword(name[0]) else numbers.setdefault(name[0], f"n{len(numbers)}")

    return re.sub(r"[^\W\d]\w*", number, f"{before} -> {after}")
