"""A run, a checkpoint and a pretrained model are loaded in one way."""

import numpy as np
import pytest

from numpygpt import GPT
from numpygpt.tokenizer import CharTokenizer
from numpygpt.training.checkpoint import save_checkpoint
from numpygpt.training.restore import restore

TOKENIZER = CharTokenizer().train("abcdefghijk")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model folder, which is found by its path, as a .gguf file, or as `tiny`."""
    pytest.importorskip("safetensors")
    from numpygpt.models import pretrained

    folder = tmp_path / "models" / "tiny"
    GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=1).save_pretrained(folder)
    TOKENIZER.save(folder / "tokenizer.json")
    find, others = pretrained.find, ("tiny", str(tmp_path / "tiny.gguf"))
    monkeypatch.setattr(pretrained, "find", lambda name, progress=None: find(folder if str(name) in others else name))
    return folder


def test_a_pretrained_model_by_its_name_its_folder_or_its_file(folder, tmp_path):
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    for given in ({"pretrained": "tiny"}, {"pretrained": folder}, {"run": folder}, {"run": tmp_path / "tiny.gguf"}):
        model, tokenizer, source = restore(**given)
        assert (source.checkpoint, source.path) == (None, folder) and not model.training
        assert tokenizer.to_dict() == TOKENIZER.to_dict()
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


def test_a_run_and_a_name_in_each_others_place_say_where_they_belong(folder, tmp_path):
    (tmp_path / "best.npz").touch()
    with pytest.raises(ValueError, match="is a run.*`pretrained`"):
        restore(pretrained=tmp_path)
    with pytest.raises(ValueError, match="`pretrained=smollm2-135m-instruct`"):
        restore("smollm2-135m-instruct")


def test_a_tokenizer_larger_than_its_model_is_refused(folder):
    CharTokenizer().train("abcdefghijklm").save(folder / "tokenizer.json")
    with pytest.raises(ValueError, match=r"13 entries.*11"):
        restore(pretrained="tiny")
