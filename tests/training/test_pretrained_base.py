"""Runs that start from the folder of a pretrained model, and their data folders and exports."""

import shutil

import numpy as np
import pytest
from running import script
from tiny import TEXT, assert_same_run, rows, train_module

from numpygpt import GPT
from numpygpt.data import TokenDataset
from numpygpt.tokenizer import BPETokenizer, load_tokenizer
from numpygpt.training.base import Base
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.presets import read_preset
from numpygpt.training.restore import restore
from numpygpt.training.run import RunLoop
from numpygpt.training.start import new_run

pytest.importorskip("safetensors")

END = "<|endoftext|>"
SHORT = ["--steps", 4, "--warmup", 1, "--eval-every", 2, "--sample-tokens", 60, "--batch-size", 2, "--workers", 2]
TUNED = {"full": [], "lora": ["--lora-rank", 2]}


def llama(**changes):
    sizes = {"vocab_size": 300, "max_len": 32, "d_model": 16, "n_heads": 4, "n_kv_heads": 2, "n_layers": 2, "d_ff": 24}
    kinds = {"norm": "rmsnorm", "positions": "rope", "ffn": "gated", "activation": "silu", "bias": False}
    return GPT(**(sizes | kinds | changes), seed=3)


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer().train(TEXT, 290, special_tokens=(END,))  # the model rounds its size up to 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    llama().save_pretrained(folder, tokenizer)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory, folder):
    place = tmp_path_factory.mktemp("data")
    for name, text in (("a.txt", TEXT), ("b.txt", TEXT[::-1])):
        (place / name).write_text(text, encoding="utf-8")
    done = script("datagen.py", "--input", "a.txt", "b.txt", "--tokenizer", folder, "--out", "mine", cwd=place)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert f"--init-from {folder}" in done.stdout
    return place / "mine"


def begin(folder, data, out, *more):
    return ["quick", *map(str, ["--init-from", folder, "--data", data, "--out", out, *SHORT, *more])]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, folder, data):
    place = tmp_path_factory.mktemp("runs")
    for name, more in TUNED.items():
        done = script("train.py", *begin(folder, data, place / name, *more))
        assert done.returncode == 0, done.stderr
    return place


def test_the_data_folder_has_the_ids_of_the_model(data, tokenizer):
    dataset = TokenDataset.load(data)
    assert dataset.tokenizer.to_dict() == tokenizer.to_dict() and dataset.train.dtype == np.uint16
    assert dataset.train[:50].tolist() == tokenizer.encode(TEXT[:400])[:50]
    assert tokenizer.special_tokens[END] in dataset.train  # between the documents


def test_a_large_vocabulary_is_no_mistake_if_a_model_belongs_to_it(folder, tmp_path):
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    for tokenizer, warned in ((folder, False), (folder / "tokenizer.json", True)):
        words = ["--input", "a.txt", "--tokenizer", tokenizer, "--out", f"data{warned}"]
        done = script("datagen.py", *words, cwd=tmp_path)
        assert done.returncode == 0 and ("290 vocabulary entries" in done.stdout + done.stderr) == warned


def test_the_run_has_the_models_architecture_and_starts_with_its_loss(runs, folder, data):
    model, dataset = GPT.from_pretrained(folder), TokenDataset.load(data)
    read = load_checkpoint(runs / "full" / "best.npz")
    assert read.header["model"] == model.config.to_dict() | {"max_len": 32}
    assert read_preset(str(runs / "full" / "config.toml")).init_from == str(folder)
    ids = np.asarray(dataset.val, dtype=np.int64)
    n = (len(ids) - 1) // 32 * 32
    start = model.loss(ids[:n].reshape(-1, 32), ids[1 : n + 1].reshape(-1, 32))
    for name in ("full", "lora"):
        losses = [row["val_loss"] for row in rows(runs / name) if row["kind"] == "eval"]
        assert losses[0] == pytest.approx(start, rel=0.01) and losses[-1] != losses[0]
        assert restore(runs / name)[1].vocab_size == 290 and restore(runs / name)[0].config.vocab_size == 300


@pytest.mark.parametrize(("more", "noted"), [(["--lr", 1e-3], True), (["--lr", 1e-4, "--min-lr", 1e-5], False),
                                             (["--lr", 1e-3, "--lora-rank", 2], False)])
def test_a_learning_rate_too_high_for_all_weights_is_noted(more, noted, folder, data, tmp_path):
    args = train_module().parse(begin(folder, data, tmp_path / "run", *more))
    assert any("`lr`" in note for note in new_run(args).notes) == noted


class Killed(BaseException):
    """Ends the run where it stands, as a kill does."""


def test_they_resume_to_the_last_bit(runs, folder, data, tmp_path, monkeypatch):
    update, train = RunLoop.update, train_module()

    def killed(self, bar):
        update(self, bar)
        if self.trainer.step == 3:
            raise Killed

    for name, more in TUNED.items():
        out = tmp_path / name
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(RunLoop, "update", killed)
            train.main(begin(folder, data, out, *more))
        assert load_checkpoint(out / "ckpt.npz").header["step"] == 2
        assert train.main(["--resume", str(out)]) == 0
        assert_same_run(out, runs / name)


def test_a_run_becomes_a_model_folder_again(runs, tmp_path):
    for name in ("full", "lora"):
        model, tokenizer, _ = restore(runs / name)
        model.save_pretrained(tmp_path / name, tokenizer)
        again = GPT.from_pretrained(tmp_path / name)
        x = np.arange(24).reshape(2, 12)
        np.testing.assert_allclose(again(x)[0], model(x)[0], rtol=1e-5, atol=1e-6)
        assert load_tokenizer(tmp_path / name).encode("To be") == tokenizer.encode("To be")


def test_a_folder_is_a_run_to_the_other_scripts(folder):
    done = script("sample.py", folder, "--prompt", "To", "--max-new-tokens", 3)
    assert done.returncode == 0 and str(folder) in done.stderr


@pytest.mark.parametrize(("flags", "words"), [
    (["--context", 33], ["--context", "32", "33", "--rope-scaling linear:2"]),
    (["--context", 65, "--rope-scaling", "linear:2"], ["64", "65"]),
    (["--d-model", 8], ["--init-from", "d_model", "16"]),
    (["--norm", "layernorm"], ["norm", "rmsnorm"]),
])
def test_what_the_model_is_cannot_be_changed(flags, words, folder, data, tmp_path):
    refused(["--init-from", folder, "--data", data, *flags], words, tmp_path)


def refused(flags, words, tmp_path):
    done = script("train.py", "quick", *flags, "--out", tmp_path / "run", "--dry-run")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done
    for word in words:
        assert word in done.stderr


def test_the_context_may_be_shorter_or_covered_by_a_scaling(folder, data):
    for flags, context in (([], 32), (["--context", 8], 8), (["--context", 64, "--rope-scaling", "linear:2"], 64)):
        done = script("train.py", "--init-from", folder, "--data", data, "--dry-run", *flags)
        assert done.returncode == 0 and f"context {context}\n" in done.stdout


def test_another_tokenizer_is_refused_with_the_command_that_makes_the_data(folder, tmp_path):
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    assert script("datagen.py", "--input", "a.txt", "--out", "mine", cwd=tmp_path).returncode == 0
    refused(["--init-from", folder, "--data", tmp_path / "mine"], ["datagen.py", f"--tokenizer {folder}"], tmp_path)


def test_a_folder_with_a_fault_is_one_sentence(folder, data, tmp_path, tokenizer):
    place = tmp_path / "model"
    shutil.copytree(folder, place)
    (place / "tokenizer.json").unlink()
    refused(["--init-from", place, "--data", data], ["tokenizer.json"], tmp_path)
    BPETokenizer().train(TEXT * 2 + "xyz" * 99, 310).save(place / "tokenizer.json")
    refused(["--init-from", place, "--data", data], ["310", "300"], tmp_path)
    (place / "model.safetensors").write_bytes(b"no")
    done = script("train.py", "quick", "--init-from", place, "--data", data, "--out", tmp_path / "run")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    (tmp_path / "odd.gguf").write_bytes(b"no")
    refused(["--init-from", tmp_path / "odd.gguf", "--data", data], ["odd.gguf"], tmp_path)


def test_the_hash_is_that_of_the_weights(folder, tmp_path):
    import hashlib

    assert Base.find(str(folder)).sha256() == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
