"""Learning rates over time."""

from numpygpt.optim.lr_scheduler.warmup_cosine_lr import WarmupCosineLR, warmup_cosine

__all__ = ["WarmupCosineLR", "warmup_cosine"]
