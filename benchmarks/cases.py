"""The benchmark cases: training steps and decoding, at several model sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from numpygpt.utils.text import suggestion


@dataclass(frozen=True)
class Case:
    """One row of the table: B sequences of T tokens; width C, H heads, L layers, vocabulary size V."""

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
    tied: bool = True  # the output head shares the token embedding's matrix
    seconds: float = 3.0  # approximate duration of one turn

    @property
    def unit(self) -> str:
        return "ms per token" if self.decode else "ms per step"


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
    """Raise ValueError for a name that is not in `known`."""
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}{suggestion(name, known)} (choose from {', '.join(known)})")
