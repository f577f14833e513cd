"""The configuration of a run: every setting with its default and its reason, and its form in TOML files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from numpygpt.models.config import ModelConfig, setting
from numpygpt.nn import backend
from numpygpt.nn.mixed import HALVES
from numpygpt.nn.modules.dropout import check_probability
from numpygpt.utils.text import shorten, suggestion

MAX_INTEGER = 1 << 63  # a whole number must fit NumPy's integers
MAX = {"workers": 256, "accumulate": 65_536}  # made one by one: a false value would fill the memory
MAX_TOKENS = 1 << 48  # per batch
MAX_DECAY = 2  # of lr times weight_decay: from there on |1 - lr weight_decay| is 1 or more
DEFAULT_MODEL = ModelConfig(vocab_size=0, n_layers=4, n_heads=4, d_model=256, max_len=128, dropout=0.1)


@dataclass(frozen=True)
class Config:
    """One run. Raises ValueError for values that contradict each other. The defaults are the preset `shakespeare_char`.

    In files and flags all settings stand side by side under their keys, the model's among them (see `SETTINGS`).
    `Config.of(d_model=64, steps=100)` makes a configuration from such keys.
    """

    data: str = setting("data/shakespeare_char", "the data folder that datagen.py made")
    out: str = setting("", "the run folder; the default is runs/PRESET")

    model: ModelConfig = DEFAULT_MODEL

    init_from: str = setting("", "start from the parameters and the architecture of this run or checkpoint, or of a "
                                 "pretrained model: a folder, a .gguf file or a name", fixed=True)
    lora_rank: int = setting(0, "freeze the model of init_from and train matrices of this rank that are added to its "
                                "own (LoRA), which takes far less memory; 0 trains the model itself", fixed=True)
    lora_alpha: float | None = setting(None, "LoRA's update is scaled by lora_alpha / lora_rank; 0 means lora_rank",
                                       fixed=True)
    lora_targets: str = setting("attn,ffn", "the layers that get LoRA matrices, by parts of their names (attn.qkv, "
                                            "ffn.fc); more layers come closer to training the model itself", fixed=True)
    lora_dropout: float = setting(0.0, "fraction of LoRA's inputs set to 0 in training, against overfitting")
    recompute: bool = setting(False, "cache only the input of each block, and run the block again in the backward "
                                     "pass: less memory, a third more time")

    steps: int = setting(8000, "updates of the parameters")
    batch_size: int = setting(16, "sequences in a batch: more make a steadier gradient and a slower step", fixed=True)
    batches: str = setting("random", "random windows, each once per epoch, or sequential: the text from start to end",
                           ("random", "sequential"), fixed=True)
    accumulate: int = setting(1, "batches per update (gradient accumulation): a larger batch in the same memory",
                              fixed=True)
    optimizer: str = setting("adamw", "adamw decays weights; sgd is for study", ("adamw", "adam", "sgd"), fixed=True)
    lr: float = setting(3e-4, "peak learning rate: too high diverges, too low is slow")
    min_lr: float = setting(3e-5, "learning rate at the end of the cosine: a tenth of lr, or less; scaled down if lr "
                                  "is below it")
    warmup: int = setting(800, "steps in which the learning rate rises from 0, while Adam's averages fill; scaled "
                               "with steps")
    beta1: float = setting(0.9, "decay of Adam's average of the gradient")
    beta2: float = setting(0.99, "decay of Adam's average of its square; lower than usual, as small batches are noisy")
    weight_decay: float = setting(0.1, "adamw shrinks matrices by this times the learning rate: a mild regulariser")
    momentum: float = setting(0.0, "momentum of sgd", fixed=True)
    clip: float = setting(1.0, "maximum norm of the gradient, against rare huge steps; 0 never clips")
    skip_spikes: float = setting(0.0, "skip a step whose gradient norm is above this times the median of the last 100; "
                                 "0 never skips")

    sync_every: int = setting(0, "ranks train apart for this many steps and then average their models (DiLoCo), for "
                                 "slow networks; 0: they share every step. More sends less, and learns a little less")
    eval_every: int = setting(500, "steps between evaluations; each of them also saves")
    eval_tokens: int = setting(0, "validation tokens per evaluation, always the same ones; 0: a tenth of the tokens "
                                  "trained on between two evaluations (3 % of the time); -1: all tokens. The last "
                                  "evaluation always reads all")
    sample_tokens: int = setting(120, "tokens of the sample printed at each evaluation; 0 prints none")
    trace_every: int = setting(0, "steps between traces, which write numbers of every layer to metrics.jsonl; 0: never")
    log: str = setting("none", "also send metrics, samples and pictures there; each needs its package",
                       ("none", "tensorboard", "wandb"))
    device: str = setting("auto", "cpu, cuda or cuda:N (an NVIDIA GPU, through CuPy); auto: a GPU if it can be used")
    precision: str = setting("float32", "products of a training step on a GPU: float16 and bfloat16 are faster and "
                                        "less exact; float16 scales the loss", ("float32", *HALVES))
    workers: int = setting(0, "threads that share a batch; 0 means one per core")
    seed: int = setting(1337, "seed of the weights, the batches, the dropout masks and the samples", fixed=True)

    def __post_init__(self) -> None:
        for s in SETTINGS:
            check_value(s, s.value(self))
        for least, names in MIN.items():
            for name in names:
                if not least <= getattr(self, name) < float("inf"):
                    raise ValueError(f"{name} must be at least {least}, got {shorten(getattr(self, name))}")
        for name, most in MAX.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most:,}, got {shorten(getattr(self, name))}")
        if self.batch_size * self.model.max_len > MAX_TOKENS:
            raise ValueError(f"batch_size {self.batch_size} times context {self.model.max_len} is more tokens than any "
                             "machine holds")
        for name in ("beta1", "beta2", "momentum", "lora_dropout"):
            check_probability(name, getattr(self, name))
        if self.device != "auto":
            backend.parse(self.device)
        if self.sync_every and self.eval_every % self.sync_every:
            raise ValueError(f"eval_every {self.eval_every} must be a multiple of sync_every {self.sync_every}: only "
                             "then do the ranks have one model, which can be evaluated and saved")
        if self.sync_every and self.skip_spikes:
            raise ValueError(f"skip_spikes {self.skip_spikes} cannot go with sync_every {self.sync_every}: ranks that "
                             "train apart know no gradient of the whole batch; set one of them to 0")
        if not (self.skip_spikes == 0 or 1 < self.skip_spikes < float("inf")):
            raise ValueError(f"skip_spikes must be above 1, or 0 to skip no step, got {self.skip_spikes}")
        if not self.min_lr <= self.lr < float("inf"):
            raise ValueError(f"lr {self.lr} must be finite and at least min_lr {self.min_lr}: lower min_lr with it")
        if self.warmup > self.steps:
            raise ValueError(f"warmup {self.warmup} is more than the run's {self.steps} steps: give a smaller warmup")
        if self.optimizer == "adamw" and self.lr * self.weight_decay >= MAX_DECAY:
            decay = self.lr * self.weight_decay
            raise ValueError(f"lr {self.lr:g} times weight_decay {self.weight_decay:g} is {decay:g}, and must be below "
                             f"{MAX_DECAY}: each step of AdamW multiplies matrices by 1 minus this, so they would "
                             "grow without end; lower one of the two")

    @classmethod
    def of(cls, **values: Any) -> Config:
        """The default configuration with the settings `values`, by key."""
        return cls().changed(values)

    def to_dict(self) -> dict[str, Any]:
        """Every setting by key."""
        return {s.key: s.value(self) for s in SETTINGS}

    def changed(self, values: dict[str, Any], where: str = "") -> Config:
        """A copy with other settings, by key; `where` names their origin in a message. Raises ValueError for an unknown
        key or a value of the wrong type."""
        where, known = where and f"{where}: ", {s.key: s for s in SETTINGS}
        parts: dict[bool, dict[str, Any]] = {True: {}, False: {}}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"{where}unknown key {shorten(name)}{suggestion(name, known)}")
            s = known[name]
            if s.kind == "float" and type(value) is int and abs(value) < MAX_INTEGER:
                value = float(value)
            elif type(value).__name__ != s.kind:
                raise ValueError(f"{where}{name} must be {ARTICLES[s.kind]}, got {shorten(value)}")
            if s.zero_is_none and value < 0:
                raise ValueError(f"{where}{name} must be positive, or 0 for its default, got {shorten(value)}")
            parts[s.of_model][s.field] = None if s.zero_is_none and value == 0 else value
        try:
            return replace(self, model=replace(self.model, **parts[True]), **parts[False])
        except ValueError as error:
            raise ValueError(f"{where}{error}") from None

    def to_toml(self) -> str:
        """Every field as TOML, with its reason as a comment."""
        values = ((s, json.dumps(s.value(self), ensure_ascii=False)) for s in SETTINGS)  # JSON writes them like TOML
        return "".join(f"{s.key} = {value}  # {s.why}\n" for s, value in values)


@dataclass(frozen=True)
class Setting:
    """What files and flags know of one field of Config, or of the ModelConfig inside."""

    key: str  # in files; the flag is --key with dashes
    field: str
    of_model: bool
    kind: str  # "int", "float", "str" or "bool"
    zero_is_none: bool  # files and flags write 0 for None
    why: str
    choices: tuple[str, ...]
    fixed: bool

    def value(self, config: Config) -> Any:
        """Its value in files."""
        found = getattr(config.model if self.of_model else config, self.field)
        return 0 if found is None else found


def _settings() -> Iterator[Setting]:
    for owner in fields(Config):
        for f in fields(ModelConfig) if owner.name == "model" else (owner,):
            if f.metadata:
                kind, of_model, fixed = str(f.type).removesuffix(" | None"), owner.name == "model", f.metadata["fixed"]
                yield Setting(f.metadata["key"] or f.name, f.name, of_model, kind, kind != f.type,
                              f.metadata["why"], f.metadata["choices"], of_model if fixed is None else fixed)


SETTINGS = tuple(_settings())
MIN = {1: ("steps", "batch_size", "accumulate", "eval_every"),
       0: ("lora_rank", "warmup", "min_lr", "weight_decay", "clip", "sample_tokens", "trace_every", "workers", "seed",
           "sync_every"),
       -1: ("eval_tokens",)}
ARTICLES = {"int": "a whole number", "float": "a number", "str": "a text in quotes", "bool": "true or false"}


def check_value(s: Setting, value: Any) -> None:
    """ValueError unless the value is one of the choices, and can be kept in config.toml."""
    if s.choices and value not in s.choices:
        raise ValueError(f"{s.key} must be one of {', '.join(s.choices)}, got {value!r}")
    if type(value) is int and value >= MAX_INTEGER:
        raise ValueError(f"{s.key} must be below 2^63, got {shorten(value)}")
    if type(value) is str and any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError(f"{s.key} is stored in config.toml, which is UTF-8, and {shorten(value)} is not: rename that "
                         "folder")
    if type(value) is str and not value.isprintable():
        raise ValueError(f"{s.key} must not contain control characters, got {shorten(value)}")
