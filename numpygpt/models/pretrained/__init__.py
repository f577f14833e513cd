"""Models of others: found by name, read from their files, and written for other programs."""

from numpygpt.models.pretrained.chat import Chat, generation_stops
from numpygpt.models.pretrained.find import find
from numpygpt.models.pretrained.loading import config_of, described, holds_int8, is_model_folder, load
from numpygpt.models.pretrained.saving import save

__all__ = [
    "Chat", "config_of", "described", "find", "generation_stops", "holds_int8", "is_model_folder", "load", "save",
]
