"""The mutants that are no mistakes, each with the reason why no check could tell it from the right line."""

from __future__ import annotations

SAME_ARRAY = "cross_entropy_backward overwrites P and returns it, so that dlogits and P are one array"
ALL_SEEN = "in a backward pass the tokens that are seen, S, are those of the batch, T: there is no cache before them"
EQUIVALENT: dict[tuple[str, str, str], str] = {  # (function, line before, line after) -> reason
    ("functional.cross_entropy_backward",
     "if len(counted) < len(targets):", "if len(counted) <= len(targets):"):
        "where every target counts, the line below sets no row to 0: the condition only saves the time to look",
    ("causal_attention.scores", "if rows > 1:", "if rows >= 1:"):
        "to a block of one row the mask's first entry is added, and that is 0",
    ("causal_attention.tiles",
     "seen = slice(0, S - T + rows.stop)", "seen = slice(0, rows.stop)"): ALL_SEEN,
    ("causal_attention.tiles",
     "seen = slice(0, S - T + rows.stop)", "seen = slice(0, T - T + rows.stop)"): ALL_SEEN,
    ("causal_attention.tiles",
     "seen = slice(0, S - T + rows.stop)", "seen = slice(0, S - S + rows.stop)"): ALL_SEEN,
    ("LinearCrossEntropy.forward", "np.matmul(dlogits, E, out=dX[s])", "np.matmul(P, E, out=dX[s])"): SAME_ARRAY,
    ("LinearCrossEntropy.forward", "dE[v] += dlogits[:, v].T @ X2[s]", "dE[v] += P[:, v].T @ X2[s]"): SAME_ARRAY,
}
