"""Inside the first block's attention: queries, keys and values, the mask, and who looks at whom."""

from __future__ import annotations

from numpygpt.inspection.stats import Stats, add
from numpygpt.inspection.step import WatchedStep
from numpygpt.inspection.walk.lines import SHOWN, Lines, aligned, number, token_texts
from numpygpt.nn.causal_attention import causal_mask, scores
from numpygpt.nn.functional import softmax

CORNER = 5  # rows and columns of the mask and of the weights
HEADS = 4


def show_attention(lines: Lines, step: WatchedStep) -> None:
    """Queries, keys, values; the scale, a corner of the mask and of the weights, and rows of these."""
    layers = [replica.blocks[0].attn for replica in step.trainer.parallel.replicas]
    first = layers[0]
    H, d_k, scale = first.n_heads, first.d_k, first.scale
    for name, what, times in (("Q", "what a token asks for", 1 / scale), ("K", "what a token offers", 1),
                              ("V", "what it gives", 1)):
        arrays = [getattr(layer, name) for layer in layers]
        stats: Stats | None = None
        for array in arrays:
            stats = add(stats, Stats.of(array))
        sizes = (sum(map(len, arrays)), *arrays[0].shape[1:])
        what += f": {H} head{'s' * (H > 1)}" if name == "Q" else ""
        lines.numbers(f"  {name}", sizes, stats, what, times)
    lines.row("  scale", [], f"1/sqrt(d_k) = 1/sqrt({d_k}) = {number(scale)}: for scores of one size at any d_k")
    n = min(CORNER, first.Q.shape[2])
    P = softmax(scores(first.Q[0, 0, :n], first.K[0, 0, :n]))  # of x[0], in head 0
    lines.row("  P", [], "softmax(Q K^T scale + mask): attention weights. First rows of mask; of P, head 0 of x[0]:")
    for masked, weights in zip(causal_mask(n, P.dtype), P, strict=True):
        lines.row("", [*(f"{value:>5.0f}" for value in masked), "      ", *(f"{value:7.4f}" for value in weights)])
    show_row(lines, step, min(SHOWN, step.batches[-1][0].shape[1]) - 1)


def show_row(lines: Lines, step: WatchedStep, t: int) -> None:
    """What the token at place t of the first sequence attends to, in the first heads."""
    attn = step.trainer.model.blocks[0].attn
    ids = step.batches[-1][0][0, : t + 1]
    texts = token_texts(step.trainer.dataset.tokenizer, ids, 7)
    P = softmax(scores(attn.Q[0, :, t : t + 1], attn.K[0, :, : t + 1]))[:, 0]  # (H, t + 1)
    lines.row(f"  token {t} sees", [aligned(text, 7) for text in texts])
    for head, weights in enumerate(P[:HEADS]):
        lines.row(f"    head {head}", [f"{value:7.4f}" for value in weights], f"sum {weights.sum():.4f}")
