"""A model and its tokenizer: from a checkpoint alone, or from the folder of a pretrained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.models.config import ModelConfig
from numpygpt.models.gpt import GPT
from numpygpt.nn.modules.int8 import to_int8
from numpygpt.nn.modules.lora import merge_lora
from numpygpt.nn.skeleton import skeleton
from numpygpt.tokenizer import Tokenizer
from numpygpt.training.adapter import saved_params
from numpygpt.training.archive import Stored
from numpygpt.training.base import Base, base_of, check_sizes, is_pretrained, make_model
from numpygpt.training.checkpoint import MODEL_KEYS, Checkpoint, find_checkpoint, load_checkpoint
from numpygpt.training.model_check import fitting_model, run_config
from numpygpt.training.runs import newest_run
from numpygpt.utils.colour import printable
from numpygpt.utils.fetch import Progress
from numpygpt.utils.paths import display_path


@dataclass(frozen=True)
class Source:
    """Where a model comes from: a checkpoint and its file, or the folder of a pretrained model and no checkpoint."""

    path: Path
    checkpoint: Checkpoint | None = None
    name: str = ""  # of the pretrained model, as the user gave it
    about: str = ""  # its family and sizes
    device: str = ""  # where the model runs, and why there

    def pretrained(self) -> Path | None:
        """The folder of the pretrained model, or of the one that the run started from; None if there is none. Raises
        FileNotFoundError, ValueError or RuntimeError if the run's cannot be opened."""
        if self.checkpoint is None:
            return self.path
        name = self.checkpoint.header["config"].get("init_from", "")
        return Base.pretrained(name).path if isinstance(name, str) and name and is_pretrained(name) else None

    def describe(self, tokenizer: Tokenizer) -> str:
        """Return one line about the model: its file and tokenizer. A run also has its step, loss and training text, a
        pretrained model its family and sizes."""
        vocabulary = f"{tokenizer.kind} tokenizer with {tokenizer.vocab_size:,} tokens"
        if self.checkpoint is None:
            shown = display_path(self.path)
            return f"{shown if self.name in ('', shown) else f'{self.name} ({shown})'}: {self.about}, {vocabulary}"
        h = self.checkpoint.header
        loss = f"validation loss {h['last']['val_loss']:.3f}" if h["last"] else "not evaluated"
        if h["last"] and h["last"]["step"] != h["step"]:
            loss += f" at step {h['last']['step']:,}"
        text = corpus_name(self.checkpoint)
        if "base" in h:
            text += f", with LoRA on {printable(h['base']['name'])}"
        return f"{display_path(self.path)}: step {h['step']:,}, {loss}, trained on {text}, {vocabulary}"


def restore(run: str | Path | None = None, pretrained: str | Path | None = None, *, int8: bool = False,
            progress: Progress | None = None) -> tuple[GPT, Tokenizer, Source]:
    """Return (model in evaluation mode, tokenizer, source) of a run, a checkpoint file, or a pretrained model.

    `run`: a run folder (its best checkpoint), a checkpoint file, or a folder or a GGUF file with a pretrained model; by
    default the run under runs/ that was saved most recently. `pretrained`: such a folder or file, or a name, which
    `models.pretrained.find` fetches with `progress`. A run that was stopped early has only evaluated its untrained
    model: then its last checkpoint is used instead of the best. Raises FileNotFoundError, ValueError or RuntimeError
    that names the file and what is wrong with it.

    With `int8` large matrices have 8 bits: see `to_int8`. The adapter of a LoRA run is added to its base, so
    `model.save_pretrained(folder, tokenizer)` exports any run.
    """
    if run is not None and pretrained is not None:
        raise ValueError(f"{display_path(run)} and `pretrained={pretrained}` are two models: give one of them")
    if pretrained is not None:
        if any((Path(pretrained) / name).is_file() for name in ("best.npz", "ckpt.npz")):
            raise ValueError(f"{display_path(pretrained)} is a run, not a pretrained model: give it "
                             "without `pretrained`")
        return load_pretrained(pretrained, progress, int8)
    run = Path(run or newest_run("ckpt.npz"))
    if run.exists() and is_pretrained(run):
        return load_pretrained(run, progress, int8)
    if not run.exists():
        from numpygpt.models.pretrained.find import CATALOGUE

        if str(run) in CATALOGUE:
            raise ValueError(f"{run} is a pretrained model, not a run: give it as `pretrained={run}`")
    model, tokenizer, checkpoint = load_model(find_checkpoint(run))
    if checkpoint.header["step"] == 0 and (run / "ckpt.npz").is_file():
        later = load_model(run / "ckpt.npz")
        if not (later[2].header["last"] or {}).get("step"):
            model, tokenizer, checkpoint = later
    if int8:
        to_int8(model)
    return model, tokenizer, Source(checkpoint.path, checkpoint)


def load_pretrained(name: str | Path, progress: Progress | None = None,
                    int8: bool = False) -> tuple[GPT, Tokenizer, Source]:
    """Return the same for a pretrained model. ValueError if its tokenizer has ids that the model does not have."""
    from numpygpt.models import pretrained

    base = Base.pretrained(str(name), progress)
    tokenizer, model = base.tokenizer(), base.model(int8=int8).eval()
    family = pretrained.described(base.path)[0].model_type
    about = f"{family} with {size_of(base.config):,} parameters and a context of {model.max_len:,} tokens"
    return model, tokenizer, Source(base.path, name=str(name), about=about)


def size_of(config: ModelConfig) -> int:
    """The number of parameters, whatever their dtype."""
    with skeleton():
        return GPT(config).n_params()


def load_model(path: Path) -> tuple[GPT, Tokenizer, Checkpoint]:
    """Return (model in evaluation mode, tokenizer, checkpoint) of one checkpoint file. The parameters are read straight
    into the model, and the checkpoint shares its arrays. The adapter of a LoRA run is merged into its base."""
    parts: list[tuple[GPT, Tokenizer]] = []

    def place(header: dict[str, Any], stored: Mapping[str, Stored]) -> dict[str, np.ndarray]:
        try:
            parts.append(model_for(path, header, {name.removeprefix("model/"): stored[name] for name in stored}))
        except (ValueError, MemoryError) as error:
            raise ValueError(f"{display_path(path)} does not hold a whole model: {error}") from error
        return {f"model/{name}": param for name, param in saved_params(parts[0][0]).items()}

    checkpoint = load_checkpoint(path, only="model/", needs=MODEL_KEYS, place=place)
    model, tokenizer = parts[0]
    if "base" in checkpoint.header:
        merge_lora(model)
    return model.eval(), tokenizer, checkpoint


def model_for(path: Path, header: dict[str, Any], stored: Mapping[str, Stored]) -> tuple[GPT, Tokenizer]:
    """Return a model for these parameters, which are still zeros, and its tokenizer. ValueError if header and arrays do
    not fit each other; no memory is taken before that for the sizes that the header claims."""
    config, tokenizer = ModelConfig.from_dict(header["model"]), Tokenizer.from_dict(header["tokenizer"])
    base = base_of(header)
    run = replace(run_config(Checkpoint(path, header, {})), model=config) if base else None
    with skeleton() as made:
        model = fitting_model(config, stored, run)
    check_sizes(tokenizer, config, rounded_up=bool(header["config"].get("init_from")))
    if base and run:
        return make_model(run, base), tokenizer
    made.complete(model, draw=False)
    return model, tokenizer


def corpus_name(checkpoint: Checkpoint) -> str:
    """The name of the text that the model was trained on, in printable characters."""
    return printable(str((checkpoint.header["data"] or {}).get("corpus", "a text without a name")))
