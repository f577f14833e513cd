#!/usr/bin/env python3
"""Peak memory of writing text with a model of GPT-2's size (124M parameters in float32, random weights).

    python benchmarks/memory.py

The weights are 0.5 GB. A model that only writes has no gradients, and its weights are never held twice.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.speed import peak_memory  # noqa: E402
from numpygpt.models import GPT  # noqa: E402

TOKENS = 100


def main() -> None:
    model = GPT(vocab_size=50257, max_len=1024, d_model=768, n_heads=12, n_layers=12)
    made = peak_memory()
    model.generate([[0]], TOKENS)
    print(f"{model.n_params() / 1e6:.0f}M parameters, {4e-9 * model.n_params():.2f} GB")
    print(f"peak memory: {made / 1e3:.2f} GB after making it, {peak_memory() / 1e3:.2f} GB after {TOKENS} tokens")


if __name__ == "__main__":
    main()
