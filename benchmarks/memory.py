#!/usr/bin/env python3
"""Measure the peak memory of decoding with GPT-2 124M: float32, random weights.

    python benchmarks/memory.py

The weights take 0.5 GB. A model that only decodes needs no gradients, and its weights are never held twice.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import peak_memory
from numpygpt.models import GPT
from numpygpt.utils import cli

TOKENS = 100


def main() -> None:
    cli.ArgumentParser(description=__doc__).parse_args()
    model = GPT(vocab_size=50257, max_len=1024, d_model=768, n_heads=12, n_layers=12)
    made = peak_memory()
    model.generate([[0]], TOKENS)
    print(f"{model.n_params() / 1e6:.0f}M parameters, {4e-9 * model.n_params():.2f} GB")
    print(f"peak memory: {made / 1e3:.2f} GB after making it, {peak_memory() / 1e3:.2f} GB after {TOKENS} tokens")


if __name__ == "__main__":
    cli.run(main)
