"""A model and its tokenizer from a checkpoint alone."""

from __future__ import annotations

from pathlib import Path

from numpygpt.models.gpt import GPT
from numpygpt.models.shapes import check_fits
from numpygpt.tokenizer import Tokenizer
from numpygpt.training.checkpoint import MODEL_KEYS, Checkpoint, find_checkpoint, load_checkpoint, newest_run
from numpygpt.training.config import Config
from numpygpt.utils.colour import printable
from numpygpt.utils.paths import ROOT, command, display_path


def restore(run: str | Path | None = None) -> tuple[GPT, Tokenizer, Checkpoint]:
    """(model in evaluation mode, tokenizer, checkpoint) of a run folder (its best checkpoint), of a checkpoint file, or
    of the run under runs/ that was saved last.

    The best checkpoint of a run that was stopped before its first evaluation but the one at the start is untrained:
    then it is the last one. Raises FileNotFoundError or ValueError that names the file and what is wrong with it.
    """
    run = Path(run or newest())
    checkpoint = load_checkpoint(find_checkpoint(run), only="model/", needs=MODEL_KEYS)
    last = run / "ckpt.npz"
    if checkpoint.header["step"] == 0 and last.is_file():
        later = load_checkpoint(last, only="model/", needs=MODEL_KEYS)
        checkpoint = checkpoint if (later.header["last"] or {}).get("step") else later
    config, params = checkpoint.header["model"], checkpoint.group("model")
    try:
        tokenizer = Tokenizer.from_dict(checkpoint.header["tokenizer"])
        check_fits(config, params)  # before GPT takes memory for the sizes that the header claims
        if tokenizer.vocab_size != config["vocab_size"]:
            raise ValueError(f"its tokenizer has {tokenizer.vocab_size:,} entries, and its model has "
                             f"{config['vocab_size']:,}")
        model = GPT(**config)
        model.load_state_dict(params)
    except (ValueError, MemoryError) as error:
        raise ValueError(f"{display_path(checkpoint.path)} does not hold a whole model: {error}") from error
    model.eval()
    return model, tokenizer, checkpoint


def check_model(checkpoint: Checkpoint) -> None:
    """ValueError unless the parameters in the file are those of the model that its header and its configuration speak
    of: what goes on with that configuration then takes no more memory than the file bears out."""
    where, config = display_path(checkpoint.path), checkpoint.header["model"]
    said = run_config(checkpoint).model(config.get("vocab_size", 0))
    try:
        check_fits(config, checkpoint.group("model"))
        if wrong := [name for name, value in said.items() if config[name] != value and name not in ("dropout", "seed")]:
            raise ValueError(f"its configuration's {wrong[0]} is not its model's")
    except ValueError as error:
        raise ValueError(f"{where} does not hold a whole model: {error}") from error


def run_config(checkpoint: Checkpoint) -> Config:
    """The configuration of the checkpoint's run; what its header does not say has its default. ValueError for a value
    that no run has."""
    return Config().changed(checkpoint.header["config"], display_path(checkpoint.path))


def corpus_name(checkpoint: Checkpoint) -> str:
    """What the text is called that the model was trained on, in characters that show."""
    return printable(str((checkpoint.header["data"] or {}).get("corpus", "a text without a name")))


def newest() -> Path:
    """The run folder under runs/ that was saved last."""
    found = newest_run(ROOT / "runs", "ckpt.npz")
    if found is None:
        raise FileNotFoundError(f"there is no trained model yet; train one first: {command('train.py', 'quick')}")
    return found
