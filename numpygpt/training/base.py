"""The model that a run starts from: that of another run, or a pretrained model. Checkpoints of LoRA runs name it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from numpygpt.data import TokenDataset
from numpygpt.models.config import ModelConfig
from numpygpt.models.gpt import GPT
from numpygpt.nn.modules.rotary import parse_scaling
from numpygpt.nn.skeleton import skeleton
from numpygpt.tokenizer import Tokenizer, load_tokenizer
from numpygpt.training.adapter import adapt
from numpygpt.training.checkpoint import MODEL_KEYS, Checkpoint, find_checkpoint, load_checkpoint
from numpygpt.training.config import SETTINGS, Config
from numpygpt.training.model_check import check_model
from numpygpt.utils.colour import printable
from numpygpt.utils.fetch import Progress
from numpygpt.utils.paths import ROOT, command, display_path

FREE = ("context", "rope_scaling", "dtype")  # settings of its model that a run need not take from its base
MAY_DIFFER = ("max_len", "rope_scaling", "dtype", "dropout", "attn_dropout")  # fields of ModelConfig that may differ
NAME = r"[\w.-]{1,96}(/[\w.-]{1,96})?"  # of a pretrained model
NOT_IDS = ("bos_id", "eos_id", "add_bos")  # fields of a tokenizer that change no id of a text


@dataclass(frozen=True)
class Base:
    """A model on this disk. `name` is the run's `init_from`; `path` is a checkpoint file, or the folder of a pretrained
    model. Weights are read when a method needs them, and are not stored here."""

    name: str
    path: Path
    config: ModelConfig
    checkpoint: Checkpoint | None = None  # without its arrays

    @classmethod
    def find(cls, name: str, progress: Progress | None = None) -> Base:
        """Find the model of a run folder, a checkpoint file, a model folder, a GGUF file or a name. A model that only
        its name describes is fetched, with `progress`. Raises FileNotFoundError, ValueError or RuntimeError in one
        sentence."""
        if not is_pretrained(name):
            checkpoint = load_checkpoint(find_checkpoint(name), only="model/", needs=MODEL_KEYS)
            check_model(checkpoint)
            config = ModelConfig.from_dict(checkpoint.header["model"])
            return cls(name, checkpoint.path, config, replace(checkpoint, arrays={}))
        return cls.pretrained(name, progress)

    @classmethod
    def pretrained(cls, name: str, progress: Progress | None = None) -> Base:
        """Find a pretrained model by its folder, its GGUF file or its name."""
        from numpygpt.models import pretrained  # here: its formats need packages that other runs do without

        folder = pretrained.find(name, progress)
        return cls(name, folder, pretrained.config_of(folder))

    def model(self, c: Config | None = None, int8: bool = False) -> GPT:
        """Return the model with its parameters, for a pretrained model with `int8` in 8 bits. With `c`, it has the
        configuration and the seed of that run."""
        if self.checkpoint is None:
            from numpygpt.models import pretrained

            return pretrained.load(self.path, make=lambda config: GPT(c.model, seed=c.seed) if c else GPT(config),
                                   int8=int8)
        from numpygpt.training.restore import load_model  # whose checkpoints may name a base in turn

        found = load_model(self.path)[0]
        if c is None:
            return found
        with skeleton() as made:
            model = GPT(c.model, seed=c.seed)
        made.complete(model, draw=False)
        given = found.params()
        for name, param in model.params().items():
            param[...] = given[name][: len(param)]  # a shorter context has the first positions only
        return model

    def tokenizer(self) -> Tokenizer:
        """Return its tokenizer. ValueError if the tokenizer has more entries than the model."""
        if self.checkpoint:
            return Tokenizer.from_dict(self.checkpoint.header["tokenizer"])
        found = load_tokenizer(self.path)
        try:
            check_sizes(found, self.config, rounded_up=True)
        except ValueError as error:
            raise ValueError(f"{display_path(self.path)} cannot be used: {error}") from error
        return found

    def sha256(self) -> str:
        """Return the SHA-256 of the checkpoint, or of the weights; shards are hashed one after the other."""
        digest = hashlib.sha256()
        for path in [self.path] if self.checkpoint else sorted(self.path.glob("model*.safetensors")):
            with path.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)  # continues with this digest
        return digest.hexdigest()

    def check_tokenizer(self, dataset: TokenDataset) -> None:
        """Raise ValueError unless the data folder has the tokenizer of this model, or one with the same ids."""
        shown = display_path(self.path)
        if ids_of(self.tokenizer()) != ids_of(dataset.tokenizer):
            tokenizer = f"{self.checkpoint.header['config'].get('data', 'DATA')}/tokenizer.json" if (
                self.checkpoint) else self.name
            make = command("datagen.py", "--input", "FILE", "--tokenizer", tokenizer, "--out", "DIR")
            raise ValueError(f"the data folder {display_path(dataset.folder)} was not made with the tokenizer of "
                             f"{shown}, so its token ids mean other text to the model: make one with {make}")


def is_pretrained(name: str | Path) -> bool:
    """Return whether this is a pretrained model and not a run: a folder in Hugging Face's layout, a GGUF file, or a
    name. It is a name if no such file exists and it is not a path into an existing folder."""
    path = Path(name)
    if path.exists():
        return (path / "config.json").is_file() or path.suffix.lower() == ".gguf"
    in_a_folder = path.is_absolute() or path.parts[:1] in (("..",), ("runs",)) or (
        len(path.parts) > 1 and path.parent.is_dir())
    run = in_a_folder or path.suffix in (".npz", ".json") or (ROOT / "runs" / path).is_dir()
    return path.suffix == ".gguf" or not (run or re.fullmatch(NAME, str(name)) is None)


def ids_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the parts of a tokenizer that decide the ids of a text."""
    return {name: value for name, value in tokenizer.to_dict().items() if name not in NOT_IDS}


def check_sizes(tokenizer: Tokenizer, config: ModelConfig, rounded_up: bool) -> None:
    """Raise ValueError unless tokenizer and model have the same number of entries. With `rounded_up` the model may have
    more, as pretrained models do."""
    entries, known = tokenizer.vocab_size, config.vocab_size
    if entries > known or (entries < known and not rounded_up):
        raise ValueError(f"its tokenizer has {entries:,} entries, and its model has {known:,}")


def base_of(header: Mapping[str, Any]) -> Base | None:
    """Return the model that the adapter in a LoRA run's checkpoint belongs to, or None for any other run. ValueError if
    the model is missing, or has changed since the start of the run."""
    if not (stored := header.get("base")):
        return None
    name = printable(stored["name"])
    try:
        base = Base.find(stored["name"])
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"it holds LoRA matrices for the model {name}, which cannot be opened ({error}): put that "
                         "model back there") from error
    found = base.sha256()
    if found != stored["sha256"]:
        raise ValueError(f"it holds LoRA matrices for the model {name} with SHA-256 {stored['sha256'][:12]}..., and "
                         f"that model has changed to {found[:12]}...: put the first one back there, or train again")
    of_run = ModelConfig.from_dict(header["model"])
    same = {f.name: getattr(of_run, f.name) for f in fields(ModelConfig) if f.name in MAY_DIFFER}
    longer = of_run.positions == "learned" and of_run.max_len > base.config.max_len
    if longer or of_run != replace(base.config, **same):
        raise ValueError(f"it holds LoRA matrices for the model {name}, and its header describes another "
                         "architecture: the header was changed")
    return base


def adopted(config: Config, base: Base, flags: Mapping[str, Any]) -> Config:
    """Return the configuration with the architecture of its base. ValueError for a flag that asks for another one, and
    for a base with weights in 8 bits.

    The context may be shorter than the base's. It is `context` if that is given. Else it is the base's, or, for a
    pretrained model, the preset's, because published contexts are longer than most machines can train. A pretrained
    model that a flag names keeps its own dropout, since the preset's was chosen for another model.
    """
    from numpygpt.models import pretrained

    if base.checkpoint is None and pretrained.holds_int8(base.path):
        raise ValueError(f"{display_path(base.path)} holds weights in 8 bits, which cannot be trained: start from the "
                         "float32 model")
    of_base = replace(config, model=base.config)
    shape = {s.key: s.value(of_base) for s in SETTINGS if s.of_model and s.fixed and s.key not in FREE}
    for name, value in flags.items():
        if shape.get(name, value) != value:
            raise ValueError(f"`init_from` keeps the model's {name} of {shape[name]}; for another one, train a model "
                             "of your own")
    longest, rope = base.config.max_len, base.config.positions == "rope"
    scaling = flags.get("rope_scaling", base.config.rope_scaling) if rope else ""
    if scaling != base.config.rope_scaling and scaling:
        kind, (factor, *more) = parse_scaling(scaling)
        longest = int(factor * (more[-1] if kind == "llama3" else longest))
    chosen = "init_from" in flags  # else the preset names the model, and its settings suit it
    own = longest if chosen and base.checkpoint else min(config.model.max_len, longest)
    context = flags.get("context", own)
    if chosen and not base.checkpoint:
        shape |= {name: getattr(base.config, name) for name in ("dropout", "attn_dropout")}
    if context > longest:
        cover = f", or cover it with `rope_scaling=linear:{-(-context // base.config.max_len)}`" if rope else ""
        raise ValueError(f"the model of `init_from` has a context of {longest:,}, got {context:,}: give a smaller "
                         f"`context`{cover}")
    found = config.changed(shape | {"context": context, "rope_scaling": scaling}, display_path(base.path))
    return replace(found, model=replace(found.model, vocab_size=base.config.vocab_size))


def make_model(c: Config, base: Base | None) -> GPT:
    """Return the model of a run, with random parameters or with those of `base`. With `lora_rank` only its
    adapter learns."""
    model = base.model(c).train() if base else GPT(c.model, seed=c.seed)
    adapt(model, c)
    model.recompute = c.recompute
    return model
