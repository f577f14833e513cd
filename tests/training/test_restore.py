"""A run, a checkpoint and a pretrained model are loaded in one way."""

from types import SimpleNamespace

import numpy as np
import pytest

from numpygpt.tokenizer import CharTokenizer
from numpygpt.training.checkpoint import save_checkpoint
from numpygpt.training.restore import restore

TOKENIZER = CharTokenizer().train("abcdefghijk")


@pytest.fixture
def folder(tmp_path, monkeypatch, make_gpt):
    """A model folder, and what finds and loads it by its path or as `tiny`."""
    import numpygpt.models

    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    places = {str(folder): folder, "tiny": folder, str(tmp_path / "tiny.gguf"): folder}
    fake = SimpleNamespace(find=lambda name, progress=None: places[str(name)], config_of=lambda path: make_gpt().config,
                           load=lambda path, dtype="float32": make_gpt().eval(),
                           described=lambda path: (SimpleNamespace(model_type="llama"), make_gpt().config))
    monkeypatch.setattr(numpygpt.models, "pretrained", fake, raising=False)
    monkeypatch.setattr("numpygpt.training.base.load_tokenizer", lambda path: TOKENIZER)
    return folder


def test_a_pretrained_model_by_its_name_its_folder_or_its_file(folder, tmp_path):
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    for given in ({"pretrained": "tiny"}, {"pretrained": folder}, {"run": folder}, {"run": tmp_path / "tiny.gguf"}):
        model, tokenizer, source = restore(**given)
        assert (tokenizer, source.checkpoint, source.path) == (TOKENIZER, None, folder) and not model.training
        assert str(folder) in source.describe(tokenizer) and "11" in source.describe(tokenizer)
    assert restore(pretrained="tiny")[2].describe(TOKENIZER).startswith("tiny (")


def test_a_run_says_its_step_and_its_loss(tmp_path, make_gpt):
    model = make_gpt()
    header = {"step": 30, "last": {"step": 20, "val_loss": 1.25}, "best": {}, "config": {}, "data": {"corpus": "tales"},
              "model": model.config.to_dict(), "tokenizer": TOKENIZER.to_dict()}
    save_checkpoint(tmp_path / "best.npz", header, {f"model/{name}": param for name, param in model.params().items()})
    found, tokenizer, source = restore(tmp_path)
    np.testing.assert_array_equal(found.flat().params, model.flat().params)
    assert source.checkpoint.header["step"] == 30
    for words in ("step 30", "1.250 at step 20", "tales", "char", "11"):
        assert words in source.describe(tokenizer)


def test_two_models_are_refused(folder):
    with pytest.raises(ValueError, match="`pretrained=tiny`"):
        restore("runs/quick", "tiny")


def test_a_tokenizer_larger_than_its_model_is_refused(folder, monkeypatch):
    larger = CharTokenizer().train("abcdefghijklm")
    monkeypatch.setattr("numpygpt.training.base.load_tokenizer", lambda path: larger)
    with pytest.raises(ValueError, match=r"13 entries.*11"):
        restore(pretrained="tiny")
