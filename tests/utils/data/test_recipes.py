"""Each preset's data folder is one that train.py can make, and makes as datagen.py would."""

import importlib.util
import shlex
from pathlib import Path

import pytest

from numpygpt.training import start
from numpygpt.utils.cli import ROOT
from numpygpt.utils.config import read_preset
from numpygpt.utils.data import Corpus, TokenDataset
from numpygpt.utils.data.recipes import DEFAULT_FOLDER, RECIPES, making, recipe, training

PRESETS = sorted(path.stem for path in (ROOT / "configs").glob("*.toml"))
TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler in the mind to suffer?\n" * 400


@pytest.mark.parametrize("preset", PRESETS)
def test_the_data_of_every_preset_can_be_made(preset):
    assert recipe(Path(read_preset(preset).data)) is not None


def test_the_preset_that_is_named_reads_the_folder():
    for name in RECIPES:
        words = shlex.split(training(DEFAULT_FOLDER.parent / name))
        preset = words[-1] if not words[-1].endswith("train.py") else "shakespeare_char"
        assert Path(read_preset(preset).data) == DEFAULT_FOLDER.parent / name
    own = shlex.split(training(ROOT / "data" / "mine"))
    assert own[-4:] == ["--data", "data/mine", "--out", "runs/mine"]
    assert shlex.split(training(ROOT / "data" / "mine", 8))[-2:] == ["--context", "8"]


def test_other_folders_have_no_recipe():
    for folder in (ROOT / "data" / "mine", ROOT / "other" / "shakespeare_char", Path("shakespeare_word")):
        assert recipe(folder) is None and making(folder) is None


@pytest.mark.parametrize("name", RECIPES)
def test_the_command_that_is_printed_means_the_same_settings(name):
    spec = importlib.util.spec_from_file_location("script_datagen", ROOT / "datagen.py")
    datagen = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(datagen)
    folder = DEFAULT_FOLDER.parent / name
    words = shlex.split(making(folder))
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
    monkeypatch.setattr("numpygpt.utils.data.recipes.DEFAULT_FOLDER", tmp_path / "data" / "shakespeare_char")
    monkeypatch.setattr(start, "load_corpus", load_corpus)
    config = read_preset("quick").changed({"data": str(folder), "context": 16}, "test")
    with pytest.raises(FileNotFoundError, match="no data folder .*, or leave out --dry-run: train.py makes it"):
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
