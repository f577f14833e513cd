"""Damaged model folders and GGUF files give one line of error or a model that works."""

import json
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("hypothesis")
pytest.importorskip("safetensors")
pytest.importorskip("ml_dtypes")
pytest.importorskip("gguf")

from damage import cases, changed, spoiled, to_json
from gguf_model import fields_of, tensors_of, tokenizer_fields, write
from hypothesis import given
from hypothesis import strategies as st
from model_files import GPT2, LLAMA, arrays_of, safetensors

from numpygpt.models.pretrained import Chat, generation_stops, load
from numpygpt.models.pretrained.convert import convert
from numpygpt.tokenizer import BPETokenizer

TINY = {"llama": LLAMA | {"num_hidden_layers": 1}, "gpt2": GPT2 | {"n_layer": 1}}
WEIGHTS = {kind: safetensors(arrays_of(values)) for kind, values in TINY.items()}
TOKENIZER = BPETokenizer().train("low lower", vocab_size=258, special_tokens=["<|im_start|>", "<|im_end|>"])
INDEX = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(arrays_of(TINY["llama"]), "a.safetensors")}
FULL = TINY["llama"] | {"rope_theta": 500.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
                        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8},
                        "attention_bias": False, "mlp_bias": False, "hidden_act": "silu", "eos_token_id": [1, 2],
                        "layer_types": ["full_attention"], "partial_rotary_factor": 1.0}  # fmt: skip
kinds = st.sampled_from(sorted(TINY))


def opened(place, **files):
    """The model in a folder with these files, or None if it is refused in one line."""
    folder = place.folder / "in" / "side"
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    model = place.tried(lambda: load(folder), "side")
    if model is not None:
        works(model)
    return model


def works(model):
    assert all(np.isfinite(param).all() for param in model.params().values())
    model(np.zeros((1, 1), int))


@pytest.mark.parametrize("kind", TINY)
def test_unspoiled_they_open(place, kind):
    assert opened(place, config__json=json.dumps(TINY[kind]).encode(), model__safetensors=WEIGHTS[kind]) is not None


@cases(5)
@given(st.data())
def test_bytes_of_weights(place, data):
    kind = data.draw(kinds)
    with np.errstate(all="ignore"):  # a flipped exponent gives huge numbers, which a file may hold
        opened(place, config__json=json.dumps(TINY[kind]).encode(),
               model__safetensors=data.draw(spoiled(WEIGHTS[kind])))


@cases(4)
@given(st.data())
def test_headers_of_weights(place, data):
    kind = data.draw(kinds)
    size = struct.unpack("<Q", WEIGHTS[kind][:8])[0]
    text = to_json(data.draw(changed(json.loads(WEIGHTS[kind][8 : 8 + size]))))
    opened(place, config__json=json.dumps(TINY[kind]).encode(),
           model__safetensors=struct.pack("<Q", len(text)) + text + WEIGHTS[kind][8 + size :])


@cases(3)
@given(st.data())
def test_an_index(place, data):
    opened(place, config__json=json.dumps(TINY["llama"]).encode(), a__safetensors=WEIGHTS["llama"],
           **{"model.safetensors.index.json": to_json(data.draw(changed(INDEX)))})


@cases(6)
@given(st.data())
def test_configurations(place, data):
    kind = data.draw(kinds)
    opened(place, config__json=to_json(data.draw(changed(FULL if kind == "llama" else TINY[kind]))),
           model__safetensors=WEIGHTS[kind])


@cases(2)
@given(st.data())
def test_files_about_chats(place, data):
    fields = {"chat_template": "<|im_start|>' + message.role <|im_start|>assistant\\n<|im_end|>", "eos_token": {}}
    path = place.folder / "in" / "side" / "tokenizer_config.json"
    path.write_bytes(to_json(data.draw(changed(fields))))
    place.tried(lambda: Chat.of(path.parent), "side")
    place.tried(lambda: generation_stops(path.parent, TOKENIZER), "side")


SIZES = {"llama": TINY["llama"] | {"vocab_size": 261}, "gpt2": TINY["gpt2"] | {"vocab_size": 261}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """kind -> the bytes of a GGUF file."""
    folder = tmp_path_factory.mktemp("gguf")
    return {kind: write(folder / kind, values, tensors_of(values)[1],
                        fields=[*fields_of(values), *tokenizer_fields(261)]).read_bytes()
            for kind, values in SIZES.items()}  # fmt: skip


def converted(place, content):
    path = place.folder / "in" / "side" / "m.gguf"
    path.write_bytes(content)
    with tempfile.TemporaryDirectory() as folder:
        if place.tried(lambda: convert(path, Path(folder)) or True, "m.gguf"):
            works(load(folder))
            return True
    return None


def test_unspoiled_gguf_files_open(place, whole):
    assert all(converted(place, content) for content in whole.values())


@cases(6)
@given(st.data())
def test_bytes_of_gguf_files(place, whole, data):
    content = whole[data.draw(kinds)]
    if data.draw(st.booleans()):  # the metadata come first, and most of the file is numbers
        start = data.draw(st.integers(0, 600))
        content = data.draw(spoiled(content[:start])) + content[start:]
    else:
        content = data.draw(spoiled(content))
    with np.errstate(all="ignore"):
        converted(place, content)
