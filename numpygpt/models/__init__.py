"""The model, and writing with it."""

from numpygpt.models.config import ModelConfig
from numpygpt.models.gpt import GPT

__all__ = ["GPT", "ModelConfig"]
