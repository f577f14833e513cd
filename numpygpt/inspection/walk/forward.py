"""The walk forward: from token ids, through embedding and blocks, to the loss."""

from __future__ import annotations

import numpy as np

from numpygpt.inspection.stats import Stats, add
from numpygpt.inspection.step import WatchedStep
from numpygpt.inspection.trace import Record
from numpygpt.inspection.walk.attention import show_attention
from numpygpt.inspection.walk.head import Head, show_loss
from numpygpt.inspection.walk.lines import NUMBER, SHAPE, SHOWN, Lines, aligned, number, shape, token_texts
from numpygpt.nn.modules.module import Module

NEAR_0 = 0.01  # an activation that hardly passes anything on
PURPOSE = {  # of the linear layers in a block
    "attn.qkv": "Q, K, V side by side",
    "attn.proj": "mixes the heads",
    "ffn.fc": "wider, place by place",
    "ffn.proj": "back to the stream",
}


def kept(name: str) -> bool:
    """Whose outputs the walk needs: the ends of the residual stream, and what the first block adds to it."""
    return name in ("dropout", "blocks.0.attn", "blocks.0.ffn.act", "norm_f")


def walk_forward(lines: Lines, step: WatchedStep, head: Head) -> None:
    modules = dict(step.trainer.model.named_modules())
    show_batch(lines, step)
    lines.head([f"{'output':<{SHAPE}}", f"{'mean':>{NUMBER}}", f"{'std':>{NUMBER}}"], "what it does")
    for name, record in step.records.items():
        if not name.startswith("blocks."):
            lines.record(name, record, words(name, modules[name], record))
        elif name == "blocks.0":
            show_first_block(lines, step, modules)
        elif name.count(".") == 1:
            for part in (f"{name}.attn", f"{name}.ffn"):
                lines.record(part, step.records[part], "added to the stream")
            lines.record(name, record, "the stream after this block")
    show_loss(lines, step, head)


def words(name: str, module: Module, record: Record) -> str:
    """What a module did, with the numbers that belong to it; of an unknown layer its class."""
    sizes = ",".join(map(str, getattr(module, "W", np.empty(0)).shape))
    if record.kind == "Dropout" and record.output:
        p = getattr(module, "p", 0.0)
        drops = f"{record.output.zero_share:.1%} set to 0, rest times {number(1 / (1 - p))}"
        return f"Dropout: {drops if p else 'off, as it came'}"
    if record.kind == "Linear":
        purpose = next((f": {text}" for end, text in PURPOSE.items() if name.endswith(end)), "")
        return f"Linear {sizes.replace(',', ' -> ')}{purpose}"
    if name == "blocks.0.ffn.act":
        return f"{record.kind}: {silence(record)}"
    return {
        "Embedding": f"Embedding: row id of W, ({sizes})",
        "PositionalEmbedding": f"at place t, + row t of W, ({sizes})",
        "SinusoidalEncoding": "+ sines and cosines of the place",
        "LayerNorm": "LayerNorm: mean 0, std 1; gamma, beta",
    }.get(record.kind, record.kind)


def silence(record: Record) -> str:
    """How much of an activation, whose output was kept, hardly passes anything on."""
    count = sum(A.size for A in record.outputs)
    near = sum(int((np.abs(A) < NEAR_0).sum()) for A in record.outputs) / count
    below = sum(int((A < 0).sum()) for A in record.outputs) / count
    return f"{near:.1%} within {NEAR_0} of 0, {below:.1%} below"


def show_batch(lines: Lines, step: WatchedStep) -> None:
    """Ids, their text, and the targets, which are the same a place later."""
    x, y = step.batches[-1]
    k = len(step.batches)
    lines.row("x", [shape(x)], f"token ids: {len(x)} sequences of {x.shape[1]:,} tokens")
    if k > 1:
        lines.words(f"the last of the {k} batches of this step: shapes, Q, K, V and x[0] are of this one, all other "
                    f"numbers of all {k}", indent=4)
    for name, ids in (("x[0]  ids", x[0, :SHOWN]), ("y[0]  targets", y[0, :SHOWN])):
        lines.row(name, [f"{id:>7}" for id in ids])
        lines.row("      as text", [aligned(token, 7) for token in token_texts(step.trainer.dataset.tokenizer, ids, 7)])
    lines.words("The targets are x shifted by one: from each token the model is to say the next.")
    lines.lines.append("")


def show_first_block(lines: Lines, step: WatchedStep, modules: dict[str, Module]) -> None:
    """The first block with every part of it."""
    dropout = step.trainer.config.model.dropout
    parts = {name: r for name, r in step.records.items() if name.startswith("blocks.0.")}
    lines.heading("blocks.0: H = X + attn(norm1(X)), then Y = H + ffn(norm2(H)), in full; the other blocks do the same")
    for name, record in parts.items():
        if record.kind in ("MultiHeadAttention", "FeedForward") or (record.kind == "Dropout" and not dropout):
            continue  # what they return is shown where it is added
        if name.endswith("norm2"):
            show_sum(lines, step)
        lines.record(name, record, words(name, modules[name], record))
        if name.endswith("attn.qkv"):
            show_attention(lines, step)
    lines.record("blocks.0  Y", step.records["blocks.0"], "Y = H + ffn(..): the stream that goes on")


def show_sum(lines: Lines, step: WatchedStep) -> None:
    """The first residual addition, which no module makes by itself."""
    total: Stats | None = None
    streams, added = step.records["dropout"].outputs, step.records["blocks.0.attn"].outputs
    for X, Y in zip(streams, added, strict=True):
        total = add(total, Stats.of(X + Y))
    what = "H = X + attn(..): X itself goes on too"
    lines.numbers("blocks.0  H", step.records["blocks.0.attn"].output_shape, total, what)
