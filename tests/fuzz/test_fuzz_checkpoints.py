"""Damaged checkpoints give one line of error or exactly what was saved."""

import io
import json
import zipfile

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from damage import cases, changed, spoiled, to_json
from hypothesis import given
from hypothesis import strategies as st

from numpygpt import GPT
from numpygpt.tokenizer import CharTokenizer
from numpygpt.training import checkpoint as module
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.config import Config
from numpygpt.training.restore import restore

TOKENIZER = CharTokenizer().train("abcde")
MODEL = GPT(vocab_size=5, max_len=3, d_model=4, n_heads=2, n_layers=1, d_ff=4)
ARRAYS = {f"model/{name}": param for name, param in MODEL.params().items()}
ARRAYS |= {"optimizer/m/wte.W": np.ones((5, 4), np.float32)}
CONFIG = Config.of(n_layers=1, n_heads=2, d_model=4, d_ff=4, context=3).to_dict()
FIELDS = {"step": 3, "tokens": 90, "seconds": 0.5, "last": {"step": 3, "val_loss": 1.5}, "best": None, "config": CONFIG,
          "model": MODEL.config.to_dict(), "tokenizer": TOKENIZER.to_dict(), "data": {"corpus": "x", "sha256": "0"},
          "generators": {"batches": np.random.default_rng(1).bit_generator.state},
          "loader": {"epoch": 1, "position": 8}, "optimizer": {"name": "adamw", "steps": 3}}  # fmt: skip


def saved():
    file = io.BytesIO()
    module.write(file, FIELDS, ARRAYS)
    return file.getvalue()


def saved_by_version_1():
    file = io.BytesIO()
    text = json.dumps({"format": module.FORMAT, "version": 1, **FIELDS})
    np.savez(file, allow_pickle=False, header=np.frombuffer(text.encode(), np.uint8), **ARRAYS)
    return file.getvalue()


NEW, OLD = saved(), saved_by_version_1()
MEMBERS = {name: zipfile.ZipFile(io.BytesIO(NEW)).read(name) for name in zipfile.ZipFile(io.BytesIO(NEW)).namelist()}
HEADER = json.loads(np.load(io.BytesIO(MEMBERS["header.npy"])).tobytes())


def packed(members):
    """A zip with correct checksums: damage of its members must be found in another way."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def opened(place, content, load=load_checkpoint):
    path = place.folder / "in" / "side" / "c.npz"
    path.write_bytes(content)
    return place.tried(lambda: load(path), "c.npz")


def is_what_was_saved(found):
    assert {name: found.header[name] for name in FIELDS} == FIELDS
    assert found.arrays.keys() == ARRAYS.keys()
    assert all(found.arrays[name].tobytes() == array.tobytes() and found.arrays[name].shape == array.shape
               for name, array in ARRAYS.items())


@pytest.mark.parametrize("content", [NEW, OLD])
def test_unspoiled_they_open(place, content):
    is_what_was_saved(opened(place, content))
    assert opened(place, content, restore) is not None


@cases(16)
@given(st.data())
def test_bytes(place, data):
    found = opened(place, data.draw(spoiled(NEW)))
    if found is not None:
        is_what_was_saved(found)


@cases(4)
@given(st.data())
def test_bytes_of_version_1(place, data):
    found = opened(place, data.draw(spoiled(OLD)))
    if found is not None:
        is_what_was_saved(found)


@cases(6)
@given(st.data())
def test_bytes_of_one_member_with_a_true_checksum(place, data):
    """Arrays are listed with checksums; only the text of the header can come out changed."""
    name = data.draw(st.sampled_from(sorted(MEMBERS)))
    found = opened(place, packed(MEMBERS | {name: data.draw(spoiled(MEMBERS[name]))}))
    if found is not None and name != "header.npy":
        is_what_was_saved(found)


@cases(10)
@given(st.data())
def test_fields_of_the_header(place, data):
    """A model that is restored has the arrays of the file and a tokenizer that fits."""
    text = np.frombuffer(to_json(data.draw(changed(HEADER))), np.uint8)
    file = io.BytesIO()
    np.save(file, text)
    found = opened(place, packed(MEMBERS | {"header.npy": file.getvalue()}), restore)
    if found is not None:
        model, tokenizer, _checkpoint = found
        assert tokenizer.vocab_size == model.config.vocab_size == 5
        assert all(np.array_equal(param, ARRAYS[f"model/{name}"]) for name, param in model.params().items())


@cases(2)
@given(st.data())
def test_names_of_members(place, data):
    """Renamed, duplicate or additional members are refused, whatever their name."""
    letters = st.characters(codec="utf-8", exclude_characters="\0")  # at a NUL zipfile ends the name
    names = st.one_of(st.text(letters, min_size=1, max_size=20),
                      st.sampled_from(["../x.npy", "/x.npy", "model/x.npy", "x"]))
    old, new = data.draw(st.sampled_from(sorted(MEMBERS))), data.draw(names)
    kept = {name: content for name, content in MEMBERS.items() if name != old or data.draw(st.booleans())}
    assert new in MEMBERS or opened(place, packed({**kept, new: MEMBERS[old]})) is None
