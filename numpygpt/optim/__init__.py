"""Optimisers: from gradients to the next parameters."""

from numpygpt.optim.adam import Adam, AdamW
from numpygpt.optim.clip import clip_grad_norm
from numpygpt.optim.loss_scale import LossScale
from numpygpt.optim.optimizer import Optimizer
from numpygpt.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "LossScale", "Optimizer", "clip_grad_norm"]
