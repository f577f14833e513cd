"""Runs that start from another model: with all its parameters, or with a LoRA adapter beside them."""

import json
import shutil

import numpy as np
import pytest
from tiny import TINY, assert_same_run, make_data, rows, train_module

from numpygpt.data import TokenDataset
from numpygpt.nn.modules.lora import adapters_of
from numpygpt.training import Trainer
from numpygpt.training.base import Base
from numpygpt.training.checkpoint import load_checkpoint, save_checkpoint
from numpygpt.training.config import Config
from numpygpt.training.presets import read_preset
from numpygpt.training.restore import restore
from numpygpt.training.run import RunLoop

LORA = ["--lora-rank", "2", "--lora-alpha", "4", "--lora-dropout", "0.1", "--lr", "3e-2"]
START = [flag for flag in TINY if flag not in ("--context", "8")]  # what the base decides


@pytest.fixture(scope="module")
def train():
    return train_module()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("tuning") / "data")


@pytest.fixture(scope="module")
def base(data, tmp_path_factory, train):
    out = tmp_path_factory.mktemp("base") / "run"
    assert train.main([*TINY, "--data", str(data), "--out", str(out), "--d-model", "32"]) == 0
    return out


def begin(base, data, out, *more):
    return ["quick", "--init-from", str(base), "--data", str(data), "--out", str(out), "--batch-size", "4", "--steps",
            "20", "--warmup", "2", "--eval-every", "10", "--sample-tokens", "12", "--workers", "2", "--accumulate", "2",
            *LORA, *more]


@pytest.fixture(scope="module")
def tuned(base, data, tmp_path_factory, train):
    out = tmp_path_factory.mktemp("tuned") / "run"
    assert train.main(begin(base, data, out, "--trace-every", "5")) == 0
    return out


def test_a_lora_run_stores_its_adapter_and_the_name_of_its_base(base, tuned):
    for name, most in (("best.npz", 1), ("ckpt.npz", 3)):  # the adapter, and two moments of it
        found = load_checkpoint(tuned / name)
        sizes = {name: array.size for name, array in found.arrays.items()}
        assert set(found.group("model")) == {f"blocks.0.{layer}.{own}" for own in "AB" for layer in
                                             ("attn.qkv", "attn.proj", "ffn.fc", "ffn.proj")}
        assert sum(sizes.values()) == most * 2 * ((32 + 96) + (32 + 32) + (32 + 128) + (128 + 32))
        assert found.header["base"] == {"name": str(base), "sha256": Base.find(str(base)).sha256()}
        text = sum(len(json.dumps(found.header[part])) for part in found.header)
        assert (tuned / name).stat().st_size < 4 * sum(sizes.values()) + 2 * text + 30_000
    assert (base / "best.npz").stat().st_size > 4 * 12_000  # what the adapter leaves out
    assert read_preset(str(tuned / "config.toml")).init_from == str(base)


def test_it_starts_where_the_base_ended_and_learns(base, tuned):
    evals = [row for row in rows(tuned) if row["kind"] == "eval"]
    best = load_checkpoint(base / "best.npz").header["best"]["val_loss"]
    assert evals[0]["val_loss"] == pytest.approx(best, rel=1e-5) and evals[-1]["val_loss"] < evals[0]["val_loss"]
    traced = [row for row in rows(tuned) if row["kind"] == "trace"]
    assert traced and {name.split("/", 1)[1] for name in traced[-1] if name.startswith("update/")} == {
        name for name in load_checkpoint(tuned / "ckpt.npz").group("model")}


def test_a_model_restored_from_it_is_the_base_and_the_adapter(base, tuned, data):
    model, _, source = restore(tuned)
    trainer = Trainer(read_preset(str(tuned / "config.toml")), TokenDataset.load(data), Base.find(str(base)))
    trainer.load(load_checkpoint(tuned / "ckpt.npz"))
    x = np.arange(8)[None] % model.config.vocab_size
    with trainer.parallel:
        np.testing.assert_allclose(model(x)[0], trainer.model.eval()(x)[0], rtol=1e-4, atol=1e-5)
    assert not adapters_of(model) and set(model.grads()) == set(restore(base)[0].params())
    assert np.abs(model(x)[0] - restore(base)[0](x)[0]).max() > 1e-2
    assert str(base) in source.describe(restore(base)[1])


class Killed(BaseException):
    """Ends the run where it stands, as a kill does."""


@pytest.mark.parametrize("more", [[], ["--recompute"]], ids=["", "recomputed"])
def test_a_lora_run_resumes_to_the_last_bit(more, base, data, tuned, tmp_path, train, monkeypatch):
    update, out = RunLoop.update, tmp_path / "run"

    def killed(self, bar):
        update(self, bar)
        if self.trainer.step == 14:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RunLoop, "update", killed)
        train.main(begin(base, data, out, "--trace-every", "5"))
    assert load_checkpoint(out / "ckpt.npz").header["step"] == 10
    assert train.main(["--resume", str(out), *more]) == 0
    if not more:
        assert_same_run(out, tuned)
    for name, array in load_checkpoint(tuned / "ckpt.npz").arrays.items():
        np.testing.assert_array_equal(load_checkpoint(out / "ckpt.npz").arrays[name], array)


def test_a_base_that_is_missing_or_has_changed_is_one_sentence(base, data, tmp_path, train):
    place, out = tmp_path / "base.npz", tmp_path / "run"
    shutil.copy(base / "best.npz", place)
    assert train.main(begin(place, data, out, "--steps", "1", "--warmup", "0")) == 0
    found = load_checkpoint(place)
    save_checkpoint(place, found.header, found.arrays | {"model/wte.W": found.arrays["model/wte.W"] * 2})
    again = Base.find(str(place)).sha256()
    for use in (lambda: restore(out), lambda: train.main(["--resume", str(out)])):
        with pytest.raises(ValueError) as error:
            use()
        assert str(place) in str(error.value) and again[:12] in str(error.value) and "\n" not in str(error.value)
    place.unlink()
    for use in (lambda: restore(out), lambda: train.main(["--resume", str(out)])):
        with pytest.raises(ValueError) as error:
            use()
        assert str(place) in str(error.value) and "\n" not in str(error.value)


def test_a_lora_run_is_itself_a_base(tuned, data, tmp_path, train):
    out = tmp_path / "again"
    assert train.main(begin(tuned, data, out, "--steps", "1", "--warmup", "0")) == 0
    first = next(row for row in rows(out) if row["kind"] == "eval")
    assert first["val_loss"] == pytest.approx(load_checkpoint(tuned / "best.npz").header["best"]["val_loss"], rel=1e-4)
    assert restore(out)[0].n_params() == restore(tuned)[0].n_params()


def test_a_shorter_context_takes_the_first_positions(base, data):
    found = Base.find(str(base))
    config = Config.of(data=str(data), **{"context": 5, "n_layers": 1, "n_heads": 2, "d_model": 32})
    model, whole = Trainer(config, TokenDataset.load(data), found).model.params(), restore(base)[0].params()
    np.testing.assert_array_equal(model["wpe.W"], whole["wpe.W"][:5])
    assert all(np.array_equal(param, whole[name]) for name, param in model.items() if name != "wpe.W")


@pytest.mark.parametrize("more", [[], ["--recompute"]], ids=["", "recomputed"])
def test_one_step_of_it_is_explained_in_numbers(more, base, data, tmp_path, train, capsys):
    assert train.main(begin(base, data, tmp_path / "run", "--trace", "--dry-run", *more)) == 0
    said = capsys.readouterr().out
    assert "attn.qkv" in said and f"{2 * ((32 + 96) + (32 + 32) + (32 + 128) + (128 + 32)):,}" in said
    assert not (tmp_path / "run").exists()


def test_an_adapter_needs_a_model_that_has_learned(data, tmp_path, train):
    with pytest.raises(ValueError, match="init_from"):
        train.main([*TINY, "--data", str(data), "--out", str(tmp_path / "run"), "--lora-rank", "2"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("flags", "words"), [(["--lora-alpha", "4"], ["`lora_alpha`", "`lora_rank`"]),
                                              (["--lora-targets", "attn"], ["`lora_targets`", "`lora_rank`"]),
                                              (["--lora-rank", "2", "--lora-targets", ","], ["`lora_targets`"]),
                                              (["--lora-rank", "2", "--lora-alpha", "-0.5"], ["lora_alpha", "-0.5"])])
def test_settings_of_lora_that_change_nothing_are_refused(flags, words, base, data, tmp_path, train):
    with pytest.raises(ValueError) as error:
        train.main(["quick", "--init-from", str(base), "--data", str(data), "--out", str(tmp_path / "run"), *flags])
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
