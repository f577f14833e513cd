"""Data folders: written whole, read back exactly, and every kind of damage named with what to do about it."""

import errno
import hashlib
import json
import zlib

import numpy as np
import pytest

from numpygpt.data import DEFAULT_FOLDER, TokenDataset
from numpygpt.data.folder import check_replace, id_dtype, new_folder, write_rest, write_tokens
from numpygpt.data.meta import FILES
from numpygpt.data.recipes import make_command
from numpygpt.tokenizer import CharTokenizer
from numpygpt.utils import lock
from numpygpt.utils.files import NotSaved
from numpygpt.utils.lock import held
from numpygpt.utils.paths import ROOT


def description(**changes):
    return {
        "corpus": "rhyme",
        "source": "rhyme.txt",
        "sha256": "0" * 64,
        "tokenizer": {"kind": "char"},
        "settings": {"vocab_size": None, "min_freq": None, "lowercase": False, "clean": None},
        "split": {"by": "position", "val_fraction": 0.25, "at_byte": 12},
        "train": {"characters": 12, "bytes": 12},
        "val": {"characters": 4, "bytes": 5},
        **changes,
    }


def write(folder, tokenizer=None, meta=None):
    ids = {"train": [np.arange(7) % 5, np.arange(7, 12) % 5], "val": [np.array([0, 1, 2, 4])]}
    write_ids(folder, ids, tokenizer or CharTokenizer().train("abcdé"), meta or description())


def write_ids(folder, ids, tokenizer, meta):
    with new_folder(folder) as made:
        fill(made, ids, tokenizer, meta)


def fill(made, ids, tokenizer, meta):
    tokens = {part: write_tokens(made / f"{part}.bin", arrays, id_dtype(tokenizer.vocab_size))[0]
              for part, arrays in ids.items()}  # fmt: skip
    write_rest(made, tokenizer, tokens, meta)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "rhyme_char")
    return tmp_path / "rhyme_char"


def test_round_trip(folder):
    dataset = TokenDataset.load(folder)
    assert dataset.train.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1] and dataset.val.tolist() == [0, 1, 2, 4]
    assert isinstance(dataset.train, np.memmap) and not dataset.train.flags.writeable
    assert dataset.vocab_size == 5 and dataset.val_bytes == 5
    assert dataset.tokenizer.decode(dataset.val) == "abcé"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["rhyme_char"]  # nothing is left beside it
    assert (folder / "val.bin").read_bytes() == b"\0\0\1\0\2\0\4\0"  # little-endian, two bytes an id


def test_meta_says_everything(folder):
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    crc32 = {part: zlib.crc32((folder / f"{part}.bin").read_bytes()) for part in ("train", "val")}
    digest = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    assert meta == {
        "format": "numpygpt-data",
        "version": 1,
        **description(),
        "tokenizer": {"kind": "char", "sha256": digest},
        "vocab_size": 5,
        "dtype": "uint16",
        "train": {"tokens": 12, "characters": 12, "bytes": 12, "crc32": crc32["train"]},
        "val": {"tokens": 4, "characters": 4, "bytes": 5, "crc32": crc32["val"]},
    }


@pytest.mark.parametrize(("entries", "dtype"), [(65_535, "uint16"), (65_536, "uint32"), (70_000, "uint32")])
def test_wide_ids_from_65536_entries_on(tmp_path, entries, dtype):
    characters = [chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000][:entries]
    tokenizer = CharTokenizer().train("".join(characters))
    ids = np.array([0, 1, entries - 1])
    write_ids(tmp_path / "d", {"train": [ids], "val": [ids]}, tokenizer, description())
    dataset = TokenDataset.load(tmp_path / "d")
    assert dataset.meta["dtype"] == dataset.train.dtype.name == dtype
    assert np.array_equal(dataset.train, ids) and np.array_equal(dataset.val, ids)


def edit(folder, **changes):
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    (folder / "meta.json").write_text(json.dumps({**meta, **changes}), encoding="utf-8")


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-2])


def put_id(path, value):
    path.write_bytes(path.read_bytes()[:-2] + np.array([value], dtype="<u2").tobytes())


def other_kind(folder):
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    edit(folder, tokenizer={**meta["tokenizer"], "kind": "bpe"})


DAMAGE = {
    "no meta": (lambda f: (f / "meta.json").unlink(), FileNotFoundError, r"meta\.json"),
    "no train": (lambda f: (f / "train.bin").unlink(), FileNotFoundError, r"train\.bin is missing"),
    "no val": (lambda f: (f / "val.bin").unlink(), FileNotFoundError, r"val\.bin is missing"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), FileNotFoundError, r"tokenizer\.json is missing"),
    "cut off": (lambda f: cut_off(f / "train.bin"), ValueError, "22.*24.*12"),
    "half a token": (lambda f: (f / "val.bin").write_bytes(b"\0" * 9), ValueError, r"val\.bin.* 9 .* 8"),
    "empty": (lambda f: (f / "val.bin").write_bytes(b""), ValueError, r"val\.bin.* 0 .* 8"),
    "id too large": (lambda f: put_id(f / "val.bin", 5), ValueError, "id 5.* 5 entries"),
    "one bit flipped": (lambda f: put_id(f / "val.bin", 3), ValueError, r"val\.bin.*checksum"),
    "tokenizer changed": (
        lambda f: CharTokenizer().train("vwxyz").save(f / "tokenizer.json"),
        ValueError,
        r"tokenizer\.json.*SHA-256",
    ),
    "tokenizer of another kind": (other_kind, ValueError, "char.*bpe"),
    "meta cut off": (lambda f: cut_off(f / "meta.json"), ValueError, r"meta\.json"),
    "meta a list": (lambda f: (f / "meta.json").write_text("[]"), ValueError, r"meta\.json"),
    "meta without": (lambda f: edit(f, format="other"), ValueError, "format other version 1"),
    "meta newer": (lambda f: edit(f, version=2), ValueError, "version 2.* version 1"),
    "meta nan": (lambda f: edit(f, documents=float("nan")), ValueError, r"meta\.json"),
    "meta long": (lambda f: edit(f, version="9" * 10**5), ValueError, r"version 9{77}\.\.\."),
    "meta dtype": (lambda f: edit(f, dtype="float32"), ValueError, "dtype.*float32"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_in_one_line_with_the_command(folder, kind):
    damage, error, message = DAMAGE[kind]
    damage(folder)
    with pytest.raises(error, match=message) as caught:
        TokenDataset.load(folder)
    line = str(caught.value)
    assert "\n" not in line and "datagen.py --input FILE --out" in line


def test_a_folder_without_checksums_opens(folder):
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    del meta["train"]["crc32"], meta["val"]["crc32"]
    edit(folder, **meta)
    put_id(folder / "val.bin", 3)  # which only a checksum would have shown
    assert TokenDataset.load(folder).val.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("part", "key"), [("val", "tokens"), ("train", "bytes"), ("tokenizer", "sha256")])
def test_meta_that_lacks_an_inner_key_is_named(folder, part, key):
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    del meta[part][key]
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(ValueError, match=f"{part}.{key}"):
        TokenDataset.load(folder)


def test_meta_that_lacks_a_key_is_named(folder):
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    del meta["split"], meta["train"]
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError):
        TokenDataset.load(folder)


def test_a_missing_folder_gets_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"datagen\.py"):
        TokenDataset.load(tmp_path / "nothing")
    assert make_command(DEFAULT_FOLDER).endswith("datagen.py")
    assert make_command(ROOT / "data" / "hamlet_bpe").endswith("datagen.py --dataset hamlet --tokenizer bpe")
    assert make_command(ROOT / "data" / "notes_char").endswith("datagen.py --input FILE --out data/notes_char")
    assert make_command(DEFAULT_FOLDER, "--force").endswith("datagen.py --force")


class Broken(CharTokenizer):
    def save(self, path):
        raise OSError(28, "No space left on device")


def test_a_write_that_fails_leaves_what_was_there(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OSError, match="No space"):
        write(folder, Broken().train("vwxyz"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(OSError, match="No space"):
        write(folder.parent / "another", Broken().train("vwxyz"))
    assert [path.name for path in folder.parent.iterdir()] == ["rhyme_char"]


def test_a_rename_that_fails_brings_the_old_folder_back(folder, monkeypatch):
    before = (folder / "meta.json").read_bytes()
    rename = type(folder).rename

    def once_refused(self, target):
        if self.name.endswith(".new"):
            raise PermissionError(13, "in use")
        return rename(self, target)

    monkeypatch.setattr(type(folder), "rename", once_refused)
    with pytest.raises(NotSaved, match="rhyme_char.*rhyme_char"):
        write(folder, meta=description(corpus="other"))
    assert (folder / "meta.json").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["rhyme_char"]


def test_the_same_data_may_be_written_again_and_other_data_needs_force(folder, tmp_path):
    check_replace(folder, description(), force=False)
    check_replace(tmp_path / "new", description(), force=False)
    (tmp_path / "empty").mkdir()
    check_replace(tmp_path / "empty", description(), force=False)
    changes = {
        "corpus": {"corpus": "other"},
        "text": {"sha256": "1" * 64},
        "tokenizer": {"tokenizer": {"kind": "bpe"}},
        " ?tokenizer": {"tokenizer": {"kind": "char", "from": "x.json", "from_sha256": "2" * 64}},
        "vocab_size, clean": {"settings": {**description()["settings"], "vocab_size": 9, "clean": "alnum"}},
        "val_fraction": {"split": {"by": "position", "val_fraction": 0.5}},
        "split": {"split": {"by": "document", "val_fraction": 0.25}},
    }
    for named, change in changes.items():
        with pytest.raises(ValueError, match=rf"\(rhyme, char; it differs in {named}\)"):
            check_replace(folder, description(**change), force=False)
        check_replace(folder, description(**change), force=True)
    unread = {key: value for key, value in description(corpus="other").items() if key != "sha256"}
    with pytest.raises(ValueError):  # before the text was read
        check_replace(folder, unread, force=False)
    cut_off(folder / "meta.json")
    with pytest.raises(ValueError, match=r"meta\.json"):
        check_replace(folder, description(), force=False)
    check_replace(folder, description(), force=True)


def test_what_is_not_ours_is_never_replaced(folder, tmp_path):
    (folder / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    for force in (False, True):
        with pytest.raises(ValueError, match=r"thesis\.tex"):
            check_replace(folder, description(), force)
        with pytest.raises(ValueError):
            check_replace(tmp_path / "file", description(), force)


def test_a_replaced_folder_has_only_the_new_data(folder):
    write(folder, CharTokenizer().train("vwxyz"), description(corpus="other"))
    dataset = TokenDataset.load(folder)
    assert dataset.meta["corpus"] == "other" and dataset.tokenizer.decode([0]) == "v"


def test_what_killed_runs_left_is_removed_and_what_a_living_one_writes_stays(folder):
    beside = folder.parent
    for name in ("11111111.new", "22222222.new", "33333333.new"):
        (beside / f".{folder.name}.{name}").mkdir()
        (beside / f".{folder.name}.{name}" / "train.bin").write_bytes(b"half")
    (beside / f".{folder.name}.22222222.lock").write_text("4194304")
    (beside / f".{folder.name}.44444444.lock").write_text("")  # killed before it made its folder
    foreign = [".other.11111111.new", f".{folder.name}.mine.new"]
    for name in foreign:
        (beside / name).mkdir()
    with held(beside / f".{folder.name}.33333333.lock"):
        write(folder)
        living = [f".{folder.name}.33333333.lock", f".{folder.name}.33333333.new"]
        assert sorted(path.name for path in beside.iterdir()) == sorted([*living, *foreign, folder.name])
    write(folder)
    assert sorted(path.name for path in beside.iterdir()) == sorted([*foreign, folder.name])


def test_two_that_write_one_folder_at_the_same_time_do_not_disturb_each_other(folder):
    with new_folder(folder) as outer:
        (outer / "x").write_text("")
        write(folder)  # a whole run of the other
        assert (outer / "x").exists()
        (outer / "x").unlink()
        fill(outer, {"train": [np.arange(5)], "val": [np.arange(4)]}, CharTokenizer().train("abcdé"), description())
    assert TokenDataset.load(folder).tokenizer.vocab_size == 5
    assert [path.name for path in folder.parent.iterdir()] == ["rhyme_char"]


def test_without_locks_nothing_is_removed(folder, monkeypatch):
    def none(handle):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", none)
    left = folder.parent / f".{folder.name}.11111111.new"
    left.mkdir()
    write(folder)
    assert left.is_dir() and TokenDataset.load(folder).vocab_size == 5


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_write_that_is_stopped_leaves_what_was_there(folder, stop):
    def arrays():
        yield np.arange(5)
        raise stop

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for target in (folder, folder.parent / "another"):
        with pytest.raises(stop):
            write_ids(target, {"train": arrays()}, CharTokenizer().train("vwxyz"), description())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["rhyme_char"]


def test_the_ids_that_are_watched_are_counted(tmp_path):
    arrays = [np.array([1, 2, 2], "uint32"), np.array([], "uint32"), np.array([2, 70_000], "uint32")]
    assert write_tokens(tmp_path / "a.bin", arrays, id_dtype(70_001), watched=2) == (5, 3)
    assert np.fromfile(tmp_path / "a.bin", "<u4").tolist() == [1, 2, 2, 2, 70_000]


def test_a_meta_file_of_brackets_is_refused(folder):
    (folder / "meta.json").write_text("[" * 200_000, encoding="utf-8")
    with pytest.raises(ValueError):
        TokenDataset.load(folder)
