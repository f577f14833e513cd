"""A model and its tokenizer: from a checkpoint alone, or from the folder of a pretrained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.models.config import ModelConfig
from numpygpt.models.gpt import GPT
from numpygpt.nn.skeleton import skeleton
from numpygpt.tokenizer import Tokenizer, load_tokenizer
from numpygpt.training.archive import Stored
from numpygpt.training.checkpoint import MODEL_KEYS, Checkpoint, find_checkpoint, load_checkpoint
from numpygpt.training.config import SETTINGS, Config
from numpygpt.training.runs import newest_run
from numpygpt.utils.colour import printable
from numpygpt.utils.fetch import Progress
from numpygpt.utils.paths import display_path

MAX_TABLE, MAX_TABLE_PER_PARAMETER = 1 << 22, 8  # entries of arrays that are not learned


@dataclass(frozen=True)
class Source:
    """Where a model comes from: the file of a checkpoint, or the folder of a pretrained model, which has none."""

    path: Path
    checkpoint: Checkpoint | None = None
    name: str = ""  # of the pretrained model, as the user gave it

    def describe(self, tokenizer: Tokenizer) -> str:
        """Return one line about the model: its file and tokenizer, and of a run also step, loss and training text."""
        told = f"{tokenizer.kind} tokenizer with {tokenizer.vocab_size:,} tokens"
        if self.checkpoint is None:
            shown = display_path(self.path)
            return f"{shown if self.name in ('', shown) else f'{self.name} ({shown})'}: a pretrained model, {told}"
        h = self.checkpoint.header
        loss = f"validation loss {h['last']['val_loss']:.3f}" if h["last"] else "not evaluated"
        if h["last"] and h["last"]["step"] != h["step"]:
            loss += f" at step {h['last']['step']:,}"
        text = corpus_name(self.checkpoint)
        return f"{display_path(self.path)}: step {h['step']:,}, {loss}, trained on {text}, {told}"


def restore(run: str | Path | None = None, pretrained: str | Path | None = None, *,
            progress: Progress | None = None) -> tuple[GPT, Tokenizer, Source]:
    """(model in evaluation mode, tokenizer, source) of a run, of a checkpoint file, or of a pretrained model.

    `run`: a run folder (its best checkpoint), a checkpoint file, or a folder or a GGUF file with a pretrained model; by
    default the run under runs/ that was saved most recently. `pretrained`: such a folder or file, or a name, which
    `models.pretrained.find` fetches with `progress`. A run that was stopped early has only evaluated its untrained
    model: then its last checkpoint is used instead of the best. Raises FileNotFoundError, ValueError or RuntimeError
    that names the file and what is wrong with it.
    """
    if run is not None and pretrained is not None:
        raise ValueError(f"{display_path(run)} and `pretrained={pretrained}` are two models: give one of them")
    if pretrained is not None:
        return load_pretrained(pretrained, progress)
    run = Path(run or newest_run("ckpt.npz"))
    if is_pretrained(run):
        return load_pretrained(run, progress)
    model, tokenizer, checkpoint = load_model(find_checkpoint(run))
    if checkpoint.header["step"] == 0 and (run / "ckpt.npz").is_file():
        later = load_model(run / "ckpt.npz")
        if not (later[2].header["last"] or {}).get("step"):
            model, tokenizer, checkpoint = later
    return model, tokenizer, Source(checkpoint.path, checkpoint)


def is_pretrained(path: Path) -> bool:
    """Whether there is a pretrained model at `path`: a folder in Hugging Face's layout, or a GGUF file."""
    return (path / "config.json").is_file() or (path.suffix == ".gguf" and path.is_file())


def load_pretrained(name: str | Path, progress: Progress | None = None) -> tuple[GPT, Tokenizer, Source]:
    """The same of a pretrained model. ValueError if its tokenizer has ids that the model does not know."""
    from numpygpt.models import pretrained  # its formats need packages that no run needs

    folder = pretrained.find(name, progress)
    tokenizer, model = load_tokenizer(folder), pretrained.load(folder)
    if tokenizer.vocab_size > model.config.vocab_size:  # a model may have more, rounded up
        raise ValueError(f"{display_path(folder)}: the tokenizer has {tokenizer.vocab_size:,} entries, and the model "
                         f"has {model.config.vocab_size:,}")
    return model, tokenizer, Source(folder, name=str(name))


def load_model(path: Path) -> tuple[GPT, Tokenizer, Checkpoint]:
    """(model in evaluation mode, tokenizer, checkpoint) of one checkpoint file. The parameters are read straight into
    the model, whose arrays the checkpoint then has."""
    parts: list[tuple[GPT, Tokenizer]] = []

    def place(header: dict[str, Any], stored: Mapping[str, Stored]) -> dict[str, np.ndarray]:
        try:
            parts.append(model_for(header, {name.removeprefix("model/"): array for name, array in stored.items()}))
        except (ValueError, MemoryError) as error:
            raise ValueError(f"{display_path(path)} does not hold a whole model: {error}") from error
        return {f"model/{name}": param for name, param in parts[0][0].params().items()}

    checkpoint = load_checkpoint(path, only="model/", needs=MODEL_KEYS, place=place)
    model, tokenizer = parts[0]
    return model.eval(), tokenizer, checkpoint


def model_for(header: dict[str, Any], stored: Mapping[str, Stored]) -> tuple[GPT, Tokenizer]:
    """A model for these parameters, which are still zeros, and its tokenizer. ValueError if header and arrays do not
    fit each other: then no memory was taken for the sizes that the header claims."""
    config, tokenizer = ModelConfig.from_dict(header["model"]), Tokenizer.from_dict(header["tokenizer"])
    with skeleton() as made:
        model = fitting_model(config, stored)
    if tokenizer.vocab_size != config.vocab_size:
        raise ValueError(f"its tokenizer has {tokenizer.vocab_size:,} entries, and its model has "
                         f"{config.vocab_size:,}")
    made.complete(model, draw=False)
    return model, tokenizer


def fitting_model(config: ModelConfig, params: Mapping[str, np.ndarray | Stored]) -> GPT:
    """`GPT(config)` as a skeleton. ValueError unless its parameters are `params`: no memory is taken for the sizes that
    a file claims."""
    if config.n_layers > len(params):  # layers are made one by one
        raise ValueError(f"it has {config.n_layers:,} layers, and {len(params)} parameters")
    try:
        with skeleton():
            model = GPT(config)
    except MemoryError as error:
        raise ValueError(f"its sizes are larger than any machine: {error}") from error
    wanted = dict(model.named_parameters())
    if wrong := next((name for name in params if name not in wanted), None):
        raise ValueError(f"{wrong:.80} is not a parameter of its model")
    for name, param in wanted.items():
        found = params.get(name)
        if found is None or found.shape != param.shape:
            has = "is missing" if found is None else f"has the shape {found.shape}"
            raise ValueError(f"{name} {has}, and its model's sizes ask for {param.shape}")
        if found.dtype != param.dtype:
            raise ValueError(f"{name} is {found.dtype}, and its model is {param.dtype}")
    if table_entries(model) > max(MAX_TABLE, MAX_TABLE_PER_PARAMETER * model.n_params()):
        raise ValueError(f"max_len {config.max_len:,} times d_model {config.d_model:,} is implausibly large for its "
                         "parameters")
    return model


def table_entries(model: GPT) -> int:
    """Entries of the arrays that are not learned but follow from the sizes."""
    return sum(getattr(module, name).size for _, module in model.named_modules() for name in module._constants)


def check_model(checkpoint: Checkpoint) -> None:
    """Check that header, configuration and arrays describe the same model, so that building it cannot use more memory
    than the file justifies. Raises ValueError."""
    run = run_config(checkpoint)
    try:
        config = ModelConfig.from_dict(checkpoint.header["model"])
        fitting_model(config, checkpoint.group("model"))
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
