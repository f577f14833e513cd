"""Presets and settings."""

import argparse
import tomllib

import pytest

from numpygpt.training.config import Config
from numpygpt.training.flags import add_flags, given
from numpygpt.training.presets import filled, read_preset
from numpygpt.utils.paths import ROOT

PRESETS = sorted(path.stem for path in (ROOT / "configs").glob("*.toml"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_only_what_differs_from_the_defaults(name):
    text = (ROOT / "configs" / f"{name}.toml").read_text(encoding="utf-8")
    values, defaults = tomllib.loads(text), Config().to_dict()
    assert text.startswith("# ")
    assert [key for key, value in values.items() if value == defaults[key]] == []
    config = read_preset(name)
    assert config.out == str(ROOT / "runs" / name)
    assert {key: config.to_dict()[key] for key in values if key != "data"} == {
        key: value for key, value in values.items() if key != "data"}


def test_the_default_preset_is_the_one_that_the_documents_describe():
    c = read_preset("shakespeare_char")
    m = c.model
    assert (m.n_layers, m.n_heads, m.d_model, m.max_len, c.batch_size, c.steps) == (4, 4, 256, 128, 16, 8000)
    assert (c.lr, c.min_lr, c.warmup, c.clip) == (3e-4, 3e-5, 800, 1.0)


def test_a_configuration_survives_toml():
    c = Config.of(lr=0.1 + 0.2, out='a "quoted" \\ path é', bias=False, d_ff=7)
    assert Config().changed(tomllib.loads(c.to_toml()), "file") == c


@pytest.mark.parametrize(("values", "message"), [
    ({"d_modle": 3}, "file: unknown key 'd_modle'; did you mean d_model?"),
    ({"zzz": 3}, "file: unknown key 'zzz'"),
    ({"steps": "many"}, "file: steps must be a whole number, got 'many'"),
    ({"steps": 10.5}, "file: steps must be a whole number, got 10.5"),
    ({"bias": 1}, "file: bias must be true or false, got 1"),
    ({"lr": True}, "file: lr must be a number, got True"),
    ({"activation": "swish"}, "got 'swish'"),
    ({"d_model": 100, "n_heads": 3}, "d_model 100 is not divisible by n_heads 3"),
    ({"steps": 10, "warmup": 11}, "warmup 11 is more than the run's 10 steps"),
    ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ({"workers": 257}, "workers must be at most 256, got 257"),
    ({"accumulate": 65_537}, "accumulate must be at most 65,536, got 65537"),
    ({"batch_size": 2**48, "context": 2}, "batch_size 281474976710656 times context 2 is more tokens than any machine"),
    ({"lr": 1e-5}, "lr 1e-05 must be finite and at least min_lr 3e-05"),
    ({"lr": float("nan")}, "lr nan must be finite"),
    ({"clip": -1.0}, "clip must be at least 0, got -1.0"),
    ({"weight_decay": 1e9}, "lr 0.0003 times weight_decay 1e+09 is 300000"),
    ({"lr": 1e12, "min_lr": 0.0}, "lr 1e+12 times weight_decay 0.1 is 1e+11"),
    ({"eval_tokens": -2}, "eval_tokens must be at least -1, got -2"),
    ({"sync_every": -1}, "sync_every must be at least 0, got -1"),
    ({"sync_every": 50, "eval_every": 120}, "eval_every 120 must be a multiple of sync_every 50"),
    ({"sync_every": 50, "skip_spikes": 3.0}, "skip_spikes 3.0 cannot go with sync_every 50"),
])
def test_what_is_wrong_is_said_with_the_value(values, message):
    with pytest.raises(ValueError) as error:
        Config().changed(values, "file")
    assert message in str(error.value)


@pytest.mark.parametrize(("values", "warmup", "min_lr"), [
    ({"steps": 60}, 6, 3e-5), ({"steps": 1}, 1, 3e-5), ({"steps": 16_000}, 1600, 3e-5), ({"steps": 8000}, 800, 3e-5),
    ({"steps": 900, "warmup": 800}, 800, 3e-5), ({"lr": 1e-5}, 800, 1e-6), ({"lr": 1e-5, "min_lr": 0.0}, 800, 0.0),
    ({"lr": 1e-4}, 800, 3e-5), ({"steps": 80, "lr": 1e-6}, 8, 1e-7),
    ({"steps": 2**63 - 1}, -(-(2**63 - 1) // 10), 3e-5),
], ids=str)  # fmt: skip
def test_what_depends_on_a_changed_value_follows_unless_it_is_given(values, warmup, min_lr):
    config = Config().changed(filled(Config(), values), "flags")
    assert config.warmup == warmup and config.min_lr == pytest.approx(min_lr)
    assert {name: config.to_dict()[name] for name in values} == values


def test_no_warm_up_stays_none_and_a_constant_rate_stays_constant():
    constant = Config.of(warmup=0, lr=1e-3, min_lr=1e-3)
    config = constant.changed(filled(constant, {"steps": 60, "lr": 1e-4}), "flags")
    assert config.warmup == 0 and config.min_lr == pytest.approx(1e-4) == config.lr


def test_a_preset_file_with_few_steps_has_a_short_warm_up(tmp_path):
    (tmp_path / "p.toml").write_text("steps = 60\n")
    assert read_preset(str(tmp_path / "p.toml")).warmup == 6


def test_a_decay_that_only_adamw_has_is_not_checked_elsewhere():
    assert Config.of(optimizer="adam", weight_decay=1e9).weight_decay == 1e9


def test_a_whole_number_serves_where_a_number_is_expected():
    assert Config().changed({"clip": 2}, "file").clip == 2.0


def test_heads_of_their_own_size_need_not_divide_the_model():
    assert Config.of(d_model=100, n_heads=3, d_k=8, d_v=9).model.d_k == 8


def test_flags_exist_for_every_field_and_only_given_ones_count():
    parser = argparse.ArgumentParser()
    add_flags(parser)
    assert given(parser.parse_args([])) == {}
    flags = parser.parse_args(["--d-model", "64", "--no-bias", "--lr", "1e-3", "--activation", "relu"])
    assert given(flags) == {"d_model": 64, "bias": False, "lr": 1e-3, "activation": "relu"}
    names = {action.dest for action in parser._actions}
    assert set(Config().to_dict()) <= names


def test_unknown_and_broken_presets_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="'quik'"):
        read_preset("quik")
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        read_preset(str(tmp_path / "none.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text("steps = = 3")
    with pytest.raises(ValueError):
        read_preset(str(broken))


def test_an_existing_file_or_folder_without_that_ending_is_reported_as_such(tmp_path):
    (tmp_path / "README.md").write_text("steps = 3")
    for path in (tmp_path / "README.md", tmp_path):
        with pytest.raises(ValueError, match=rf"\.toml.*{path.name}"):
            read_preset(str(path))


@pytest.mark.parametrize("name", ["d_ff", "d_k", "d_v", "n_kv_heads"])
def test_a_size_may_be_0_and_the_error_says_so(name):
    assert getattr(Config.of(**{name: 0}).model, name) is None
    with pytest.raises(ValueError, match=f"{name} .* 0.* -1"):
        Config.of(**{name: -1})


@pytest.mark.parametrize(("text", "said"), [
    (b"lr = 1" + b"0" * 400, "lr must be a number, got 1000"),
    (b"lr = 9" * 1 + b"9" * 5000, "p.toml is not"),
    (b"seed = 0x" + b"f" * 4000, "seed must be below 2^63, got a int too long to show"),
    (b"seed = 9223372036854775808", "seed must be below 2^63, got 9223372036854775808"),
    (b"steps = " + b"[" * 2000 + b"]" * 2000, "p.toml is not"),
    (b"steps = [[[[[1]]]]]", "steps must be a whole number, got [[[[[1]]]]]"),
    (b"a." * 3000 + b"b = 1", "or more than 4,096 in a line"),
    (b"# long\n" * 20_000, "it has more than 65,536 bytes"),
    (b'data = "a\\u0000b"', "got 'a\\x00b'"),
    (b'out = """a\nb"""', "got 'a\\nb'"),
    (b'"\\n" = 1', "unknown key '\\n'"),
    (b"steps = 1\0", "p.toml is not"),
    (b"\xff\xfe", "p.toml is not"),
    (b"lr = inf", "lr inf must be finite"),
    (b"weight_decay = nan", "weight_decay must be at least 0, got nan"),
    (b"n_layers = -3", "n_layers must be at least 1, got -3"),
], ids=lambda value: repr(value)[:40])
def test_a_file_from_a_stranger_is_one_sentence_with_its_name(tmp_path, text, said):
    (tmp_path / "p.toml").write_bytes(text)
    with pytest.raises(ValueError) as caught:
        read_preset(str(tmp_path / "p.toml"))
    message = str(caught.value)
    assert said in message and "p.toml" in message and "\n" not in message and len(message) < 400


def test_a_mark_in_front_and_other_line_ends_are_harmless(tmp_path):
    (tmp_path / "p.toml").write_bytes(b"\xef\xbb\xbfsteps = 900\r\nlr = 1\r\n")
    config = read_preset(str(tmp_path / "p.toml"))
    assert (config.steps, config.lr) == (900, 1.0)
