"""Each preset's data folder is one that train.py can make, and makes as datagen.py would."""

import importlib.util
import shlex
from pathlib import Path

import pytest
from running import script
from tiny import TINY, make_data

from numpygpt.data import Corpus, TokenDataset, prepare
from numpygpt.data.meta import existing_folder
from numpygpt.data.recipes import DEFAULT_FOLDER, RECIPES, make_command, recipe, train_command
from numpygpt.data.vocabulary import load_by_name
from numpygpt.training import start
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.presets import read_preset
from numpygpt.utils.paths import ROOT

PRESETS = sorted(path.stem for path in (ROOT / "configs").glob("*.toml"))
TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler in the mind to suffer?\n" * 400


@pytest.mark.parametrize("preset", PRESETS)
def test_the_data_of_every_preset_can_be_made(preset):
    assert recipe(Path(read_preset(preset).data)) is not None


def test_the_preset_that_is_named_reads_the_folder():
    for name in RECIPES:
        words = shlex.split(train_command(DEFAULT_FOLDER.parent / name))
        preset = words[-1] if not words[-1].endswith("train.py") else "shakespeare_char"
        assert Path(read_preset(preset).data) == DEFAULT_FOLDER.parent / name
    own = shlex.split(train_command(ROOT / "data" / "mine"))
    assert own[-4:] == ["--data", "data/mine", "--out", "runs/mine"]
    assert shlex.split(train_command(ROOT / "data" / "mine", 8))[-2:] == ["--context", "8"]


def test_other_folders_have_no_recipe():
    for folder in (ROOT / "data" / "mine", ROOT / "other" / "shakespeare_char", Path("shakespeare_word")):
        assert recipe(folder) is None


@pytest.mark.parametrize("name", RECIPES)
def test_the_command_that_is_printed_means_the_same_settings(name):
    spec = importlib.util.spec_from_file_location("script_datagen", ROOT / "datagen.py")
    datagen = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(datagen)
    folder = DEFAULT_FOLDER.parent / name
    words = shlex.split(make_command(folder))
    config = datagen.parse(words[words.index(next(word for word in words if word.endswith("datagen.py"))) + 1 :])
    defaults = vars(datagen.parse([]))
    given = {key: value for key, value in vars(config).items() if value != defaults[key] and key != "out"}
    assert given == {key: value for key, value in RECIPES[name].items() if key != "out"}
    corpus = Corpus.of(RECIPES[name].get("dataset", "tinyshakespeare"), TEXT, "a test")
    assert (ROOT / (config.out or datagen.default_folder(config, corpus))) == folder


@pytest.mark.parametrize("name", ["shakespeare_word", "hamlet_alnum"])
def test_a_preset_makes_its_folder(name, tmp_path, monkeypatch):
    asked, said = [], []

    def load_corpus(name, progress):
        asked.append(name)
        return Corpus.of(name, TEXT, "a test")

    folder = tmp_path / "data" / name
    monkeypatch.setattr("numpygpt.data.recipes.DEFAULT_FOLDER", tmp_path / "data" / "shakespeare_char")
    monkeypatch.setattr(start, "load_corpus", load_corpus)
    config = read_preset("quick").changed({"data": str(folder), "context": 16}, "test")
    with pytest.raises(FileNotFoundError, match=r"train\.py"):
        start.open_data(config, make=False, say=said.append)
    dataset = start.open_data(config, make=True, say=said.append)
    assert asked == [RECIPES[name].get("dataset", "default")] and "is missing: making it, as" in said[0]
    assert dataset.meta["tokenizer"]["kind"] == RECIPES[name].get("tokenizer", "char")
    assert dataset.meta["settings"]["clean"] == RECIPES[name].get("clean")
    assert dataset.meta["settings"]["vocab_size"] == RECIPES[name].get("vocab_size")
    assert TokenDataset.load(folder).tokenizer.to_dict() == dataset.tokenizer.to_dict()
    said.clear()
    start.open_data(config, make=True, say=said.append)
    assert not said and len(asked) == 1


@pytest.mark.parametrize(("corpus", "name"), [("shakespeare", "plays_char"), ("pydoc", "pydoc_char")])
def test_a_text_that_is_used_instead_has_a_folder_of_its_own(corpus, name, tmp_path, monkeypatch):
    """And the real one is taken as soon as it is there."""
    asked, said = [], []

    def load_corpus(name, progress):
        asked.append(name)
        return Corpus.of(corpus if len(asked) == 1 else "tinyshakespeare", TEXT, "a test")

    real = tmp_path / "data" / "shakespeare_char"
    monkeypatch.setattr("numpygpt.data.recipes.DEFAULT_FOLDER", real)
    monkeypatch.setattr(start, "load_corpus", load_corpus)
    config = read_preset("quick").changed({"data": str(real), "context": 16}, "test")
    assert existing_folder(real) == real
    dataset = start.open_data(config, make=True, say=said.append)
    assert dataset.folder == tmp_path / "data" / name and dataset.meta["corpus"] == corpus and not real.exists()
    assert TokenDataset.load(real).folder == existing_folder(real) == dataset.folder
    tokenizer = load_by_name(str(real / "tokenizer.json"), None).tokenizer
    assert tokenizer.to_dict() == dataset.tokenizer.to_dict()
    assert existing_folder(tmp_path / "mine") == tmp_path / "mine"
    said.clear()
    for make in (True, False):
        assert start.open_data(config, make=make, say=said.append).folder == dataset.folder
    assert len(asked) == 1 and len(said) == 2 and make_command(real) in said[0] and name in said[0]
    words = shlex.split(make_command(dataset.folder))
    assert words[-4:] == ["--dataset", corpus, "--tokenizer", "char"]
    prepare(load_corpus("default", None), real, context=16)
    said.clear()
    assert start.open_data(config, make=True, say=said.append).folder == real and said == []


def test_a_text_of_the_users_is_not_taken_for_the_one_that_is_used_instead(tmp_path, monkeypatch):
    real = tmp_path / "data" / "shakespeare_char"
    monkeypatch.setattr("numpygpt.data.recipes.DEFAULT_FOLDER", real)
    prepare(Corpus.of("plays", TEXT, "plays.txt"), tmp_path / "data" / "plays_char", context=8)
    assert existing_folder(real) == real


def test_a_run_keeps_the_folder_that_it_was_trained_on(tmp_path, monkeypatch):
    real, other = tmp_path / "data" / "shakespeare_char", tmp_path / "data" / "plays_char"
    monkeypatch.setattr("numpygpt.data.recipes.DEFAULT_FOLDER", real)
    prepare(Corpus.of("shakespeare", TEXT, "a test"), other, context=8)
    done = script("train.py", *TINY, "--data", real, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(tmp_path / "run" / "ckpt.npz").header["config"]["data"] == str(other)
    make_data(real, "bpe")  # the real text comes later, and the run still resumes with its own
    done = script("train.py", "--resume", tmp_path / "run", "--steps", 31)
    assert done.returncode == 0, done.stderr
