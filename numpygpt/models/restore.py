"""A model and its tokenizer from a checkpoint alone."""

from __future__ import annotations

from pathlib import Path

from numpygpt.models.gpt import GPT
from numpygpt.tokenizer import Tokenizer
from numpygpt.utils.checkpoint import MODEL_KEYS, Checkpoint, find_checkpoint, load_checkpoint
from numpygpt.utils.cli import shown


def restore(run: str | Path) -> tuple[GPT, Tokenizer, Checkpoint]:
    """(model in evaluation mode, tokenizer, checkpoint) of a run folder (its best checkpoint) or a checkpoint file.

    Raises FileNotFoundError or ValueError that names the file and what is wrong with it.
    """
    checkpoint = load_checkpoint(find_checkpoint(run), only="model/", needs=MODEL_KEYS)
    try:
        model = GPT(**checkpoint.header["model"])
        tokenizer = Tokenizer.from_dict(checkpoint.header["tokenizer"])
        model.load_state_dict(checkpoint.group("model"))
    except (KeyError, TypeError, ValueError, MemoryError) as error:
        raise ValueError(f"{shown(checkpoint.path)} does not hold a whole model: {error}") from error
    model.eval()
    return model, tokenizer, checkpoint
