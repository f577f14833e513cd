"""The description of a model: everything that its layers, shapes and parameter names follow from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any

from numpygpt.models.build import ACTIVATIONS, FFNS, NORMS, POSITIONS, ROPE
from numpygpt.nn.modules.attention import check_heads
from numpygpt.nn.modules.checks import check_dtype
from numpygpt.nn.modules.dropout import check_probability
from numpygpt.nn.modules.normalization import check_eps
from numpygpt.nn.modules.rotary import check_rotary
from numpygpt.utils.checks import boolean, integer, number

MAX_SIZE = 1 << 40  # no size of a model is beyond it, and products of a few sizes are still quick to compute
MAX_LAYERS = 10_000  # layers are made one by one: many more would take hours before anything is found too large


def setting(default: Any, why: str, choices: Iterable[str] = (), key: str = "", fixed: bool | None = None) -> Any:
    """A field with what files and flags need: the help text, the choices, the name of the flag if it differs, and
    whether the value is `fixed` for a resumed run, as those of a model are by default."""
    return field(default=default, metadata={"why": why, "choices": tuple(choices), "key": key, "fixed": fixed})


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The architecture of a GPT; `GPT(ModelConfig(...))` builds it. Raises ValueError for values that do not fit.

    None means a default: n_heads for `n_kv_heads`, 4 d_model for `d_ff` (8/3 d_model if gated, which gives as many
    parameters), d_model / n_heads for `d_k` and `d_v`. The vocabulary may be unknown at first: `vocab_size` 0.
    """

    vocab_size: int
    n_layers: int = setting(MISSING, "blocks: more see more abstract patterns, each costs the same time")
    n_heads: int = setting(MISSING, "attention heads: how many things a position can look at in each block")
    n_kv_heads: int | None = setting(None, "heads of keys and values, which groups of heads share; 0 means n_heads")
    d_model: int = setting(MISSING, "width of the model: time and parameters grow with its square")
    d_ff: int | None = setting(None, "width of the hidden layer in each feed-forward network; 0 means 4 d_model, as in "
                                     "GPT-2, or 8/3 d_model if it is gated")
    d_k: int | None = setting(None, "size of a head's queries and keys; 0 means d_model / n_heads")
    d_v: int | None = setting(None, "size of a head's values; 0 means d_model / n_heads")
    max_len: int = setting(MISSING, "tokens that the model sees at once", key="context")
    norm: str = setting("layernorm", "the layer that normalises the input of attention and feed-forward", NORMS)
    norm_eps: float = setting(1e-5, "what the norms add to the mean square before its root is taken")
    ffn: str = setting("mlp", "the feed-forward network; gated multiplies two hidden layers, as in Llama", FFNS)
    activation: str = setting("gelu", "activation of the feed-forward layers; relu is cheaper, Llama has silu",
                              ACTIVATIONS)
    positions: str = setting("learned", "how the model knows the position of a token; rope turns queries and keys",
                             POSITIONS)
    rope_theta: float = setting(10000.0, "base of the angles of rope: a larger one turns more slowly")
    rope_scaling: str = setting("", "how rope covers a context longer than trained: linear:FACTOR, or "
                                    "llama3:FACTOR:LOW:HIGH:ORIGINAL_MAX_LEN")
    tie_weights: bool = setting(True, "one table for token vectors and head: fewer parameters")
    bias: bool = setting(True, "biases in linear layers and normalisation, as in GPT-2")
    qkv_bias: bool = setting(False, "biases of queries, keys and values even without other biases, as in Qwen2")
    dropout: float = setting(0.0, "fraction of activations set to 0 in training, against overfitting", fixed=False)
    attn_dropout: float = setting(0.0, "fraction of attention weights set to 0 in training", fixed=False)
    dtype: str = setting("float32", "float64 is for studies and twice as slow", ("float32", "float64"))

    def __post_init__(self) -> None:
        for f in fields(self):
            object.__setattr__(self, f.name, checked(f, getattr(self, f.name)))
        if self.n_layers > MAX_LAYERS:
            raise ValueError(f"n_layers must be at most {MAX_LAYERS:,}, got {self.n_layers}")
        for name, choices in (("norm", NORMS), ("ffn", FFNS), ("activation", ACTIVATIONS), ("positions", POSITIONS)):
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r:.80}")
        check_probability("dropout", self.dropout)
        check_probability("attn_dropout", self.attn_dropout)
        check_eps(self.norm_eps, self.dtype)
        check_heads(self.d_model, self.n_heads, self.n_kv_heads, self.d_k, self.d_v)
        check_rotary(self.d_k or self.d_model // self.n_heads if self.positions == ROPE else 2, self.rope_theta,
                     self.rope_scaling)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The configuration in the header of a checkpoint, whoever wrote it. Raises ValueError that names what does not
        fit. Files of older versions also hold the model's `seed`, and lack fields that came later."""
        known = {f.name for f in fields(cls)}
        if wrong := sorted(set(values) - known - {"seed"}):
            raise ValueError(f"unknown value {wrong[0]:.40}")
        if missing := sorted(OLDEST - set(values)):
            raise ValueError(f"no {missing[0]}")
        return cls(**{name: values[name] for name in known & set(values)})


REQUIRED = tuple(f.name for f in fields(ModelConfig) if f.default is MISSING)
LATER = {"n_kv_heads", "norm", "norm_eps", "ffn", "rope_theta", "rope_scaling", "qkv_bias", "attn_dropout"}
OLDEST = {f.name for f in fields(ModelConfig)} - LATER  # the fields that every checkpoint has


def complete(config: ModelConfig | None, fields: dict[str, Any]) -> ModelConfig:
    """The given configuration, or the one that `fields` describe. ValueError unless its vocabulary is known."""
    if config is None:
        if missing := [name for name in REQUIRED if name not in fields]:
            raise ValueError(f"GPT needs {', '.join(REQUIRED)}; {', '.join(missing)} not given")
        config = ModelConfig(**fields)
    elif fields or not isinstance(config, ModelConfig):
        raise ValueError("GPT takes a ModelConfig, or the fields of one by name: GPT(vocab_size=65, max_len=128, "
                         f"d_model=256, n_heads=4, n_layers=4); got {config!r:.80}")
    if config.vocab_size < 1:
        raise ValueError(f"vocab_size must be at least 1, got {config.vocab_size}")
    return config


def checked(f: Field[Any], value: Any) -> Any:
    """The value of a field as a plain Python value of its type."""
    name, kind = f.name, str(f.type)
    if name == "dtype":
        return check_dtype(value).name
    if kind == "str":
        return str(value) if isinstance(value, str) else value
    if kind in ("bool", "float"):
        return (boolean if kind == "bool" else number)(name, value)
    if value is None and "None" in kind:
        return None
    least = 0 if name == "vocab_size" else 1
    name += f" ({key})" if (key := f.metadata.get("key")) else ""
    size = integer(name, value)
    if size < least:
        raise ValueError(f"{name} must be at least {least}, got {size!s:.40}")
    if size > MAX_SIZE:
        raise ValueError(f"{name} must be at most {MAX_SIZE:,}, got {size!s:.40}")
    return size
