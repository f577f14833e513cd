"""The LoRA adapter of a run: the matrices that learn while the model that it started from is frozen."""

from __future__ import annotations

import numpy as np

from numpygpt.models.gpt import GPT
from numpygpt.nn.modules.lora import adapters_of, apply_lora
from numpygpt.training.config import Config


def adapt(model: GPT, c: Config) -> None:
    """Give the model the adapter of a LoRA run, and freeze everything else."""
    if c.lora_rank:
        targets = [target.strip() for target in c.lora_targets.split(",") if target.strip()]
        if not targets:
            raise ValueError("`lora_targets` names no layer: give parts of names, such as attn,ffn or attn.qkv")
        apply_lora(model, targets, c.lora_rank, c.lora_alpha, c.lora_dropout, c.seed)


def saved_params(model: GPT) -> dict[str, np.ndarray]:
    """The parameters that a checkpoint holds, by name: the adapter alone if there is one, else all."""
    params = dict(model.named_parameters())
    return {f"{name}.{own}": params[f"{name}.{own}"] for name in adapters_of(model) for own in ("A", "B")} or params
