"""Figures of softmax.md: slopes of the activations, softmax's Jacobian and temperature, the gradient of a loss."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure

from chapters.canvas import BACKWARD, FORWARD, SIGNED, SMALL, TEXT, WIDTH, figure, key, plot
from numpygpt import GPT
from numpygpt.nn import CrossEntropyLoss
from numpygpt.nn import functional as F
from numpygpt.optim import AdamW
from numpygpt.plots.heat import dark
from numpygpt.plots.style import BLUE, GREY, INK, VERMILLION, new_figure

STORY = "the cat sat on the mat. a dog ran at the cat. the rat ate the oat. " * 40
LETTERS = sorted(set(STORY))
SPACE = "\u2294"


def activations(X: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the values and the slopes of three activations."""
    return {"ReLU": (F.relu(X), F.relu_backward(np.ones_like(X), F.relu(X))), "GELU": F.gelu(X), "SiLU": F.silu(X)}


@figure
def gelu() -> Figure:
    """ReLU, GELU and SiLU, and their slopes."""
    page = new_figure((WIDTH, 3.6))
    panels = page.subplots(1, 2)
    X = np.linspace(-4, 4, 801)
    lines = []
    for (name, curves), colour in zip(activations(X).items(), (GREY, BLUE, VERMILLION), strict=True):
        for ax, curve in zip(panels, curves, strict=True):
            curve = np.where(X == 0, np.nan, curve) if name == "ReLU" and ax is panels[1] else curve  # it jumps there
            lines.append((*ax.plot(X, curve, color=colour, linewidth=2), name))
    for ax, title, words in zip(panels, ("forward: Y", "backward: slope"), ("Y", "slope"), strict=True):
        plot(ax, title, "X", words)
    panels[0].set_ylim(-0.6, 4)
    key(panels[0], lines[::2], loc="upper left")
    return page


def jacobian() -> tuple[np.ndarray, np.ndarray]:
    """Return a row of softmax, and its Jacobian from five backward passes."""
    Y = F.softmax(np.log([[4.0, 2, 1, 2, 1]]))
    return Y[0], F.softmax_backward(np.eye(5), np.repeat(Y, 5, axis=0))


@figure
def softmax_jacobian() -> Figure:
    """The Jacobian of one row of softmax."""
    page = new_figure((WIDTH, 3.8))
    left, right = page.subplots(1, 2, width_ratios=(1, 1.7), sharey=True)
    Y, J = jacobian()
    left.barh(range(5), Y, color=FORWARD, height=0.65)
    for i, value in enumerate(Y):
        left.annotate(f"{value:.1f}", (value, i), (5, 0), textcoords="offset points", va="center", fontsize=SMALL)
    plot(left, "one row Y", "Y", "")
    left.set_xlim(0, 0.55)
    left.set_yticks(range(5), [f"$Y_{i}$" for i in range(5)])
    left.tick_params(axis="y", labelsize=TEXT)
    top = np.abs(J).max()
    image = right.imshow(J, cmap=SIGNED, vmin=-top, vmax=top, aspect="auto")
    for (i, j), value in np.ndenumerate(J):
        right.text(j, i, f"{value:.2f}".replace("-", "\u2212"), ha="center", va="center", fontsize=SMALL,
                   color="white" if dark(image.cmap(image.norm(value))) else INK)
    plot(right, "Jacobian: change of $Y_i$ per change of $X_j$", "", "")
    right.grid(False)
    right.set_xticks(range(5), [f"$X_{j}$" for j in range(5)])
    right.tick_params(axis="x", labelsize=TEXT)
    return page


@lru_cache
def trained(steps: int) -> GPT:
    """Return a small GPT after some steps on the characters of a story; it knows much of it, not all."""
    model = GPT(vocab_size=len(LETTERS), max_len=24, d_model=16, n_heads=2, n_layers=2, seed=0, dtype="float64")
    ids, update, rng = encoded(STORY), AdamW(model, lr=3e-3), np.random.default_rng(0)
    for _ in range(steps):
        window = ids[rng.integers(0, len(ids) - 25, (8, 1)) + np.arange(25)]
        model.loss(window[:, :-1], window[:, 1:])
        model.backward()
        update.step()
        update.zero_grad()
    return model.eval()


def encoded(text: str) -> np.ndarray:
    """Return the ids of a text's characters."""
    return np.array([LETTERS.index(letter) for letter in text])


def logits(text: str, steps: int = 150) -> np.ndarray:
    """Return the trained model's logits after each character: (T, n_vocab)."""
    return trained(steps)(encoded(text)[None])[0][0]


def printable(text: str) -> list[str]:
    """Return the characters, a space as an open box that is as high as a letter."""
    return [SPACE if letter == " " else letter for letter in text]


@figure
def temperature() -> Figure:
    """One row of logits, and its softmax at three temperatures."""
    page = new_figure((WIDTH, 3.4))
    row = logits("a dog ran at the ", steps=250)[-1]
    panels = page.subplots(1, 3, sharey=True)
    for ax, heat in zip(panels, (0.5, 1.0, 2.0), strict=True):
        P = F.softmax(row[None] / heat)[0]
        ax.bar(range(len(P)), P, color=FORWARD)
        plot(ax, f"temperature {heat:g}", f"next character ({SPACE} is a space)" if heat == 1 else "",
             'probability after "at the "' if heat < 1 else "")
        ax.set_xticks(range(len(P)), printable("".join(LETTERS)))
        ax.grid(False, axis="x")
    return page


def gradient(text: str) -> np.ndarray:
    """Return P - onehot at each character of `text` but the last, from the package's loss: (T, n_vocab)."""
    criterion, ids = CrossEntropyLoss(), encoded(text)
    criterion(logits(text[:-1])[None], ids[None, 1:])
    return criterion.backward(scale=len(ids) - 1)[0]  # the scale undoes the mean


@figure
def dlogits() -> Figure:
    """The gradient of the logits on a phrase."""
    page = new_figure((WIDTH, 4.6))
    ax = page.subplots()
    text = "the rat ate the mat. "
    G = gradient(text)
    scale = FuncNorm((lambda x: np.sign(x) * np.abs(x) ** 0.5, lambda x: np.sign(x) * x**2), vmin=-1, vmax=1)
    image = ax.imshow(G.T, cmap=SIGNED, norm=scale, aspect="auto")
    ax.plot(range(len(G)), encoded(text[1:]), "s", markersize=17, markerfacecolor="none", markeredgecolor=INK,
            markeredgewidth=0.8, clip_on=False)
    plot(ax, "", "", "logit of the character")
    ax.grid(False)
    names = [f"{column}\n{now}\n{after}" for column, (now, after)
             in enumerate(zip(printable(text[:-1]), printable(text[1:]), strict=True))]
    ax.set_xticks(range(len(G)), names)
    ax.set_yticks(range(len(LETTERS)), printable("".join(LETTERS)))
    ax.set_xlabel(f"column; the last character read; the target, framed in the picture ({SPACE} is a space)",
                  fontsize=SMALL)
    bar = page.colorbar(image, ax=ax, pad=0.02, ticks=[-1, -0.5, -0.1, 0, 0.1, 0.5, 1])
    bar.ax.set_yticklabels(["\u22121:\npush up", "\u22120.5", "\u22120.1", "0", "0.1", "0.5", "1:\npush down"])
    bar.ax.tick_params(labelsize=SMALL)
    return page


def smoothed(margin: np.ndarray, eps: float, n_vocab: int) -> np.ndarray:
    """Return P - R for the target, whose logit is `margin` above the others', with label smoothing `eps`."""
    X = np.zeros((len(margin), n_vocab))
    X[:, 0] = margin
    return F.softmax(X)[:, 0] - (1 - eps + eps / n_vocab)


def margin_at_zero(eps: float, n_vocab: int) -> float:
    """Return the margin at which `smoothed` is 0: there P = R."""
    return float(np.log(n_vocab * (1 - eps) / eps + 1))


@figure
def smoothing() -> Figure:
    """Label smoothing: the targets, and the gradient of the target's logit."""
    page = new_figure((WIDTH, 3.5))
    left, right = page.subplots(1, 2)
    eps, n_vocab, margin = 0.2, 5, np.linspace(-2, 8, 301)
    target = np.eye(n_vocab)[0]
    bars, lines = [], []
    for name, share, colour, shift in (("one-hot", 0.0, FORWARD, -0.2), ("smoothed", eps, BACKWARD, 0.2)):
        R = (1 - share) * target + share / n_vocab
        bars.append((left.bar(np.arange(n_vocab) + shift, R, 0.38, color=colour), f"{name}, \u03b5 = {share:g}"))
        lines += right.plot(margin, smoothed(margin, share, n_vocab), color=colour, linewidth=2)
    zero = margin_at_zero(eps, n_vocab)
    right.axhline(0, color=INK, linewidth=1)
    right.plot(zero, 0, "o", color=BACKWARD, markersize=7)
    right.annotate("gradient 0 here", (zero, 0), (-8, 8), textcoords="offset points", ha="right", fontsize=SMALL)
    plot(left, "what we ask for: R", "token (0 is the target)", "probability")
    plot(right, "gradient of the target's logit: P \u2212 R", "logit of the target minus the others", "")
    left.grid(False, axis="x")
    key(left, bars, loc="upper right")
    return page
