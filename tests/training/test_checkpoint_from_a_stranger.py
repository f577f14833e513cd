"""A checkpoint is believed in nothing: names, sizes, types and checksums are looked at before memory is taken."""

import io
import json
import os
import re
import tracemalloc
import zipfile

import numpy as np
import pytest

from numpygpt import GPT
from numpygpt.tokenizer import CharTokenizer
from numpygpt.training.checkpoint import load_checkpoint, save_checkpoint
from numpygpt.training.config import Config
from numpygpt.training.model_check import MAX_TABLE, check_model
from numpygpt.training.restore import restore

ARRAYS = {"model/wte.W": np.arange(6, dtype=np.float32).reshape(2, 3), "model/b": np.arange(3.0)}
BOUND = 8 << 20  # bytes: what reading a small file may take at most, whatever it says


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / "c.npz", {"step": 7}, ARRAYS)
    return tmp_path / "c.npz"


def refused(path, load=load_checkpoint):
    """The one-line message of the refusal, for which hardly any memory was taken and nothing was written."""
    before = sorted(os.listdir(path.parent))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:
            load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message and path.name in message
    assert peak < BOUND
    assert sorted(os.listdir(path.parent)) == before
    return message


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def pack(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)


def repack(path, change):
    """Write the file again with the header that `change` made of the old one."""
    members = dict(contents(path))
    header = json.loads(np.load(io.BytesIO(members["header.npy"])).tobytes())
    change(header)
    file = io.BytesIO()
    np.save(file, np.frombuffer(json.dumps(header).encode(), np.uint8))
    pack(path, {**members, "header.npy": file.getvalue()}.items())


def npy(text, body=b""):
    """A .npy file whose array is described by `text`."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + body


def described(shape, descr="<f4", order="False"):
    return f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n"


def test_numpy_reads_what_is_written_and_the_list_is_true(path):
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(file["header"].tobytes())
        assert set(file.files) == {"header", *ARRAYS}
        assert all(np.array_equal(file[name], array) for name, array in ARRAYS.items())
    listed = header["arrays"]
    assert {name: (entry["dtype"], entry["shape"]) for name, entry in listed.items()} == {
        "model/wte.W": ("float32", [2, 3]), "model/b": ("float64", [3])}
    assert "arrays" not in load_checkpoint(path).header


def test_a_file_of_version_1_is_read_and_its_damage_found(tmp_path):
    header = {"format": "numpygpt-checkpoint", "version": 1, "step": 3}
    path = tmp_path / "old.npz"
    with open(path, "wb") as file:
        np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **ARRAYS)
    found = load_checkpoint(path)
    assert found.header == header and np.array_equal(found.arrays["model/wte.W"], ARRAYS["model/wte.W"])
    save_checkpoint(tmp_path / "new.npz", found.header, found.arrays)
    assert load_checkpoint(tmp_path / "new.npz").header == header | {"version": 3}
    path.write_bytes(path.read_bytes().replace(ARRAYS["model/wte.W"].tobytes(), b"\1" * 24))
    assert "the array 'model/wte.W' is damaged (its checksum is another)" in refused(path)


@pytest.mark.parametrize("bit", [0, 7])
def test_no_flipped_bit_changes_what_is_read(path, bit):
    """Of every byte: it is refused, or (a date, an attribute) nothing else is read."""
    data = path.read_bytes()
    named = 0
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            found = load_checkpoint(path)
        except ValueError as error:
            assert "\n" not in str(error) and "c.npz" in str(error)
            named += "the array 'model/" in str(error)
            continue
        assert found.header["step"] == 7 and found.arrays.keys() == ARRAYS.keys(), place
        assert all(np.array_equal(found.arrays[name], array) for name, array in ARRAYS.items()), place
    assert named > sum(array.nbytes for array in ARRAYS.values())


def test_the_damaged_array_is_named(path):
    data = path.read_bytes()
    at = data.index(ARRAYS["model/wte.W"].tobytes())
    path.write_bytes(data[: at + 5] + bytes([data[at + 5] ^ 64]) + data[at + 6 :])
    assert "c.npz is damaged" in refused(path)
    assert "the array 'model/wte.W' is damaged (its checksum is another)" in refused(path)


def test_an_array_put_in_place_of_another_is_found(path):
    members = dict(contents(path))
    file = io.BytesIO()
    np.save(file, np.ones((2, 3), np.float32))
    pack(path, {**members, "model/wte.W.npy": file.getvalue()}.items())
    assert "the array 'model/wte.W' is damaged (its checksum is another)" in refused(path)
    np.save(file := io.BytesIO(), np.ones((3, 2), np.float32))
    pack(path, {**members, "model/wte.W.npy": file.getvalue()}.items())
    assert "the array 'model/wte.W' is damaged (its header describes another)" in refused(path)


@pytest.mark.parametrize(("text", "said"), [
    (described("(1000000, 2500000)"), "(1000000, 2500000)"),
    (described("(300000000000000019, 98030492438412450)"),  # 64 bits would take the product for 6
     "(300000000000000019, 98030492438412450)"),
    (described("(0, 999999999999999999)"), "24"),
    (described("(-2, -3)"), "model/wte.W"),
    (described("(2, 3)", "<c8"), "<c8"),
    (described("(3,)", "|O"), "model/wte.W"),
    (described("(2, 3)", "<f4", "__import__('os')"), "model/wte.W"),
    (described("(1, 1, 1, 1, 1, 1, 1, 2, 3)"), "model/wte.W"),
])
def test_a_shape_that_the_file_does_not_hold_takes_no_memory(path, text, said):
    pack(path, {**dict(contents(path)), "model/wte.W.npy": npy(text, b"\0" * 24)}.items())
    assert said in refused(path)


@pytest.mark.parametrize("name", ["../out.npy", "/etc/x.npy", "model/../../x.npy", "model//x.npy", "model\\x.npy",
                                  "model/x.exe", "model/"])
def test_names_that_lead_elsewhere_are_refused(path, name):
    pack(path, [*contents(path), (name, dict(contents(path))["model/b.npy"])])
    assert "it has the entry" in refused(path)


def test_unknown_missing_and_doubled_arrays_are_refused(path):
    members = contents(path)
    pack(path, [*members, ("model/more.npy", dict(members)["model/b.npy"])])
    assert "model/more" in refused(path)
    pack(path, [member for member in members if member[0] != "model/b.npy"])
    assert "model/b" in refused(path)
    with pytest.warns(UserWarning, match="Duplicate"):
        pack(path, [*members, members[0]])
    assert "twice" in refused(path)


def test_what_unpacks_to_more_than_the_file_is_refused(path):
    members = dict(contents(path))
    bomb = npy(described("(100000000,)", "|u1"), b"\0" * 10**8)
    pack(path, {**members, "model/b.npy": bomb}.items(), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    assert "bytes" in refused(path)
    pack(path, members.items(), zipfile.ZIP_DEFLATED)
    assert "compressed" in refused(path)


@pytest.mark.parametrize(("change", "said"), [
    ({"version": 0}, "version 0"),
    ({"version": True}, "version True"),
    ({"format": "x" * 1000}, "x" * 50 + "..."),
    ({"arrays": []}, "list"),
    ({"step": -1}, "step"),
    ({"seconds": float("nan")}, "header"),
    ({"tokens": 10**30}, "tokens"),
    ({"last": {"step": 3}}, "last"),
    ({"best": {"val_loss": "x"}}, "best"),
    ({"last": {"val_loss": 2.0}}, "last"),
    ({"optimizer": {"name": "adamw", "steps": -1}}, "optimizer"),
    ({"model": 3}, "model"),
    ({"generators": {"a": {"bit_generator": "PCG64", "state": {}}}}, "generator"),
])
def test_a_header_of_nonsense_is_refused(path, change, said):
    repack(path, lambda header: header.update(change))
    assert said in refused(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint that sample.py could use."""
    model, tokenizer = GPT(vocab_size=5, max_len=6, d_model=8, n_heads=2, n_layers=2), CharTokenizer().train("abcde")
    header = {"step": 1, "last": None, "best": None, "config": {}, "model": model.config.to_dict(), "data": None,
              "tokenizer": tokenizer.to_dict()}
    path = tmp_path_factory.mktemp("whole") / "w.npz"
    save_checkpoint(path, header, {f"model/{name}": param for name, param in model.params().items()})
    assert restore(path)[0].n_params() == model.n_params()
    return path


@pytest.mark.parametrize(("config", "model", "said"), [
    ({}, {}, ""),
    ({"dropout": 0.5}, {}, ""),
    ({"d_model": 10**8}, {}, "d_model"),
    ({"context": 10**8}, {}, "context"),
    ({"d_model": 10**8}, {"d_model": 10**8}, "wte.W has the shape (5, 8)"),
    ({"d_modle": 8}, {}, "unknown key 'd_modle'"),
    ({}, {"d_ff": None, "evil": 1}, "evil"),
])
def test_a_run_that_goes_on_takes_no_memory_on_a_headers_word(whole, tmp_path, config, model, said):
    path = tmp_path / "w.npz"
    path.write_bytes(whole.read_bytes())
    own = Config.of(context=6, d_model=8, n_heads=2, n_layers=2).to_dict() | config
    repack(path, lambda header: header.update(config=own, model=header["model"] | model))
    if said:
        assert said in refused(path, lambda file: check_model(load_checkpoint(file)))
    else:
        check_model(load_checkpoint(path))


@pytest.mark.parametrize(("change", "said"), [
    ({"d_model": 10**9}, "1000000000"),
    ({"vocab_size": 10**12}, "and its model's sizes ask for (1000000000000, 8)"),
    ({"max_len": 10**9}, "wpe.W has the shape (6, 8), and its model's sizes ask for (1000000000, 8)"),
    ({"n_layers": 10_000}, "10,000 layers.*28"),
    ({"n_layers": 10**12}, "n_layers.*10,000"),
    ({"n_layers": 3}, "blocks.2.norm1.gamma"),
    ({"n_layers": 1}, "blocks.1.norm1.gamma"),
    ({"d_ff": 10**9}, "ffn.fc.W has the shape (8, 32), and its model's sizes ask for (8, 1000000000)"),
    ({"n_heads": 10**9, "d_k": 10**9, "d_v": 1}, "8 x 2000000001000000000"),
    ({"dtype": "float64"}, "wte.W is float32.*float64"),
    ({"dtype": "object"}, "dtype.*object"),
    ({"norm": "batch"}, "norm.*batch"),
    ({"d_model": 8.0}, "d_model.*8.0"),
    ({"n_heads": 0}, "n_heads.*0"),
    ({"d_model": 10**400}, "d_model.*1000"),
    ({"evil": 1}, "evil"),
    ({"dropout": 2.0}, "dropout"),
    ({"activation": "swish"}, "activation"),
])
def test_sizes_that_the_arrays_do_not_bear_out_take_no_memory(whole, tmp_path, change, said):
    path = tmp_path / "w.npz"
    path.write_bytes(whole.read_bytes())
    repack(path, lambda header: header["model"].update(change))
    assert re.search(said.replace("(", r"\(").replace(")", r"\)"), refused(path, restore))


def test_a_table_of_positions_that_no_array_bears_out_takes_no_memory(tmp_path):
    model, tokenizer = GPT(vocab_size=5, max_len=6, d_model=8, n_heads=2, n_layers=2,
                           positions="sinusoidal"), CharTokenizer().train("abcde")
    header = {"step": 1, "last": None, "best": None, "config": {}, "model": model.config.to_dict() | {"max_len": 10**9},
              "data": None, "tokenizer": tokenizer.to_dict()}
    arrays = {f"model/{name}": param for name, param in model.params().items()}
    save_checkpoint(tmp_path / "s.npz", header, arrays)
    assert "max_len 1,000,000,000" in refused(tmp_path / "s.npz", restore)
    for positions, fits in ((MAX_TABLE // 8, True), (MAX_TABLE // 8 + 1, False)):
        save_checkpoint(tmp_path / "s.npz", header | {"model": model.config.to_dict() | {"max_len": positions}}, arrays)
        if fits:
            assert restore(tmp_path / "s.npz")[0].max_len == positions
        else:
            assert "max_len" in refused(tmp_path / "s.npz", restore)


def test_a_tokenizer_of_another_size_is_refused(whole, tmp_path):
    path = tmp_path / "w.npz"
    path.write_bytes(whole.read_bytes())
    repack(path, lambda header: header.update(tokenizer=CharTokenizer().train("abc").to_dict()))
    assert "5" in refused(path, restore)


def test_a_header_beyond_all_vocabularies_is_not_read(path, monkeypatch):
    monkeypatch.setattr("numpygpt.training.checkpoint.MAX_HEADER", 200)
    assert "header" in refused(path)


def test_what_cannot_be_read_back_is_not_saved(tmp_path):
    with pytest.raises(ValueError):
        save_checkpoint(tmp_path / "c.npz", {}, {"z": np.zeros(2, complex)})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("array", [np.zeros((0, 3)), np.float32(2.5), np.asfortranarray(np.arange(6.0).reshape(2, 3)),
                                   np.arange(3 << 18, dtype=np.int64), np.arange(4, dtype=">f8"), np.arange(8.0)[::2]])
def test_arrays_of_every_form_come_back(tmp_path, array):
    save_checkpoint(tmp_path / "c.npz", {}, {"a": np.asarray(array)})
    found = load_checkpoint(tmp_path / "c.npz").arrays["a"]
    assert np.array_equal(found, array) and found.shape == np.shape(array)
    assert found.dtype == np.asarray(array).dtype.newbyteorder("<")
