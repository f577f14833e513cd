"""A model and its tokenizer from a checkpoint alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from numpygpt.models.config import ModelConfig
from numpygpt.models.gpt import GPT
from numpygpt.tokenizer import Tokenizer
from numpygpt.training.checkpoint import MODEL_KEYS, Checkpoint, find_checkpoint, load_checkpoint, newest_run
from numpygpt.training.config import SETTINGS, Config
from numpygpt.training.model_check import check_fits
from numpygpt.utils.colour import printable
from numpygpt.utils.paths import ROOT, command, display_path


def restore(run: str | Path | None = None) -> tuple[GPT, Tokenizer, Checkpoint]:
    """(model in evaluation mode, tokenizer, checkpoint) of a run folder (its best checkpoint), of a checkpoint file, or
    of the run under runs/ that was saved most recently.

    A run that was stopped early has only evaluated its untrained model: then its last checkpoint is used instead of the
    best. Raises FileNotFoundError or ValueError that names the file and what is wrong with it.
    """
    run = Path(run or newest())
    checkpoint = load_checkpoint(find_checkpoint(run), only="model/", needs=MODEL_KEYS)
    last = run / "ckpt.npz"
    if checkpoint.header["step"] == 0 and last.is_file():
        later = load_checkpoint(last, only="model/", needs=MODEL_KEYS)
        checkpoint = checkpoint if (later.header["last"] or {}).get("step") else later
    try:
        config, params = ModelConfig.from_dict(checkpoint.header["model"]), checkpoint.group("model")
        tokenizer = Tokenizer.from_dict(checkpoint.header["tokenizer"])
        check_fits(config, params)  # before GPT takes memory for the sizes that the header claims
        if tokenizer.vocab_size != config.vocab_size:
            raise ValueError(f"its tokenizer has {tokenizer.vocab_size:,} entries, and its model has "
                             f"{config.vocab_size:,}")
        model = GPT(config)
        model.load_state_dict(params)
    except (ValueError, MemoryError) as error:
        raise ValueError(f"{display_path(checkpoint.path)} does not hold a whole model: {error}") from error
    model.eval()
    return model, tokenizer, checkpoint


def check_model(checkpoint: Checkpoint) -> None:
    """Check that header, configuration and arrays describe the same model, so that building it cannot use more memory
    than the file justifies. Raises ValueError."""
    run = run_config(checkpoint)
    try:
        config = ModelConfig.from_dict(checkpoint.header["model"])
        check_fits(config, checkpoint.group("model"))
        of_file, of_run = replace(run, model=config), run
        if wrong := [s.key for s in SETTINGS if s.of_model and s.fixed and s.value(of_file) != s.value(of_run)]:
            raise ValueError(f"its configuration's {wrong[0]} is not its model's")
    except (ValueError, MemoryError) as error:
        raise ValueError(f"{display_path(checkpoint.path)} does not hold a whole model: {error}") from error


def run_config(checkpoint: Checkpoint) -> Config:
    """The configuration of the checkpoint's run, with defaults for what its header lacks. ValueError for an invalid
    value."""
    return Config().changed(checkpoint.header["config"], display_path(checkpoint.path))


def corpus_name(checkpoint: Checkpoint) -> str:
    """The name of the text that the model was trained on, in printable characters."""
    return printable(str((checkpoint.header["data"] or {}).get("corpus", "a text without a name")))


def newest() -> Path:
    """The run folder under runs/ that was saved most recently."""
    found = newest_run(ROOT / "runs", "ckpt.npz")
    if found is None:
        raise FileNotFoundError(f"there is no trained model yet; train one first: {command('train.py', 'quick')}")
    return found
