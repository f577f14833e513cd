"""What is measured: training steps and decoding at several sizes, and the ratios that are asked of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from numpygpt.utils.text import suggestion


@dataclass(frozen=True)
class Case:
    """One row of the table: B sequences of T tokens, C wide, H heads, L layers, a vocabulary of V."""

    name: str
    B: int
    T: int
    C: int
    H: int
    L: int
    V: int
    peers: tuple[str, ...]
    decode: bool = False
    activation: str = "gelu"
    tied: bool = True  # the head is the token table
    seconds: float = 3.0  # a turn of each peer takes about this long


TRAINING = ("products", "torch", "torch-compile", "torch-bf16", "jax")
CASES = {
    case.name: case
    for case in (
        Case("char", 16, 128, 256, 4, 4, 65, TRAINING),
        Case("quick", 12, 64, 128, 4, 4, 65, TRAINING, seconds=1.5),
        Case("bpe", 16, 128, 256, 4, 4, 6551, TRAINING),
        Case("char-relu", 16, 128, 256, 4, 4, 65, TRAINING, activation="relu", tied=False),
        Case("bpe-relu", 16, 128, 256, 4, 4, 6551, TRAINING, activation="relu", tied=False),
        Case("long", 2, 1024, 256, 4, 4, 65, TRAINING),
        Case("gpt2", 4, 256, 768, 12, 12, 50257, ("products", "torch", "torch-bf16"), seconds=8.0),
        Case("decode", 1, 128, 256, 4, 4, 65, ("huggingface",), decode=True),
        Case("decode-gpt2", 1, 256, 768, 12, 12, 50257, ("huggingface",), decode=True),
    )
}
OURS = "numpygpt"


def check_names(names: Iterable[str], known: Collection[str], what: str = "case") -> None:
    """ValueError for a name that is none of `known`."""
    for name in names:
        if name not in known:
            raise ValueError(f"no {what} {name!r}{suggestion(name, known)} (there are {', '.join(known)})")
