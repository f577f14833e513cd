"""What train.py is made of: the trainer, evaluation, what a run says of itself, and what went wrong when it did."""

from numpygpt.training.trainer import Trainer

__all__ = ["Trainer"]
