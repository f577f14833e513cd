"""The memory that a run announces is what its steps ask for, and more than there is to have is refused."""

import gc
import tracemalloc

import pytest
from running import script
from tiny import train_module

from numpygpt.data import Corpus, prepare
from numpygpt.parallel.group import Group
from numpygpt.training import Trainer
from numpygpt.training.config import Config
from numpygpt.training.memory import INTERPRETER, activations, arrays_of, check_memory, held, memory, parameters
from numpygpt.training.run import RunLoop
from numpygpt.utils import memory as system

SIZES = {"n_layers": 3, "n_heads": 4, "d_model": 64, "context": 64, "batch_size": 12, "steps": 2, "warmup": 1}
LLAMA = {"workers": 2, "norm": "rmsnorm", "positions": "rope", "ffn": "gated", "activation": "silu", "bias": False,
         "n_kv_heads": 2, "n_layers": 6}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    corpus = Corpus.of("pangram", "the quick brown fox jumps over the lazy dog. " * 60, "a test")
    return prepare(corpus, tmp_path_factory.mktemp("data") / "pangram", context=64)


@pytest.mark.parametrize("changes", [
    {"workers": 1}, {"workers": 2}, {"workers": 2, "dropout": 0.0, "activation": "relu"}, {"workers": 2, "d_ff": 1024},
    {"workers": 3, "optimizer": "sgd", "d_k": 40}, {"workers": 2, "dtype": "float64", "tie_weights": False},
    {"workers": 2, "recompute": True}, LLAMA, LLAMA | {"recompute": True},
    LLAMA | {"lora_rank": 4}, LLAMA | {"lora_rank": 4, "recompute": True},
    {"workers": 1, "lora_rank": 8, "lora_dropout": 0.1, "lora_targets": "attn.qkv"}], ids=str)
def test_the_announced_memory_is_that_of_two_steps(changes, dataset):
    gc.collect()
    tracemalloc.start()
    try:
        config = Config.of(**(SIZES | changes))
        t = Trainer(config, dataset)
        with t.parallel:
            t.update()
            t.update()  # beside what the first has left
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    in_turn = config.recompute and config.workers > 1  # threads that are slow may recompute their blocks one by one
    assert 0.88 <= arrays_of(config, dataset.vocab_size) / peak <= (1.35 if in_turn else 1.12)
    assert parameters(config, dataset.vocab_size) == t.model.n_params()


def test_a_model_of_any_size_is_worked_out_without_memory_for_it():
    tracemalloc.start()
    try:
        large = Config.of(n_layers=10_000, n_heads=4, d_model=4096, positions="sinusoidal", context=1 << 16,
                          batch_size=1)
        assert parameters(large, 50_000) == pytest.approx(10_000 * 12 * 4096**2, rel=0.01)
        assert memory(large, 50_000) > 4 * 4 * parameters(large, 50_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2e6


def test_more_memory_than_there_is_to_have_is_refused_with_both_numbers(monkeypatch):
    config = Config.of(d_model=128, n_heads=4, context=64, batch_size=12, workers=2)
    needed = memory(config, 65)
    monkeypatch.setattr("numpygpt.training.memory.available", lambda: (needed - INTERPRETER + 1, "this machine"))
    check_memory(config, 65)
    monkeypatch.setattr("numpygpt.training.memory.available", lambda: (needed - INTERPRETER - 20e6, "a group"))
    with pytest.raises(MemoryError) as error:
        check_memory(config, 65)
    for word in (f"{needed / 1e6:,.0f} MB", f"{needed / 1e6 - 20:,.0f} MB", "a group"):
        assert word in str(error.value)
    monkeypatch.setattr("numpygpt.training.memory.available", lambda: None)
    check_memory(config, 65)


def test_a_rank_holds_its_part_of_the_moments_and_its_rows(monkeypatch):
    config, group = Config.of(**SIZES, workers=1), Group()
    W = 4 * parameters(config, 65)
    whole, rows = held(config, 65), activations(config, 65)
    group.size, group.here = 4, 2
    assert held(config, 65, group) == pytest.approx(whole - 2 * W * 3 / 4)
    assert activations(config, 65, group) == pytest.approx(rows / 4, rel=0.2)
    apart = Config.of(**SIZES, workers=1, sync_every=5)  # two whole moments; anchor and velocity are shared out
    assert held(apart, 65, group) == pytest.approx(whole + 2 * W / 4)
    needed = 2 * (memory(config, 65, group=group) - INTERPRETER)  # of the two ranks on this machine
    monkeypatch.setattr("numpygpt.training.memory.available", lambda: (needed + 1, "this machine"))
    check_memory(config, 65, group=group)
    monkeypatch.setattr("numpygpt.training.memory.available", lambda: (needed - 1e6, "this machine"))
    with pytest.raises(MemoryError):
        check_memory(config, 65, group=group)


@pytest.mark.parametrize("dry", [["--dry-run"], []], ids=["dry", "training"])
def test_what_does_not_fit_ends_before_a_model_is_made(dry, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "__init__", None)  # not to be called
    done = script("train.py", "quick", "--d-model", 2**20, "--n-layers", 1000, "--data", dataset.folder, "--out",
                  tmp_path / "run", *dry)
    assert done.returncode == 2 and "does not fit into memory" in done.stderr and done.stderr.count("\n") == 1
    expected = parameters(Config.of(d_model=2**20, n_layers=1000, context=64), dataset.vocab_size)
    assert f"{expected:,} parameters" in done.stdout
    assert not (tmp_path / "run").exists()


def system_with(folder, **files):
    """A folder in place of /, with these files."""
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


MEMINFO = "MemTotal: 9000 kB\nMemAvailable: 5000 kB\nSwapFree: 1000 kB\n"


@pytest.mark.parametrize(("files", "expected"), [
    ({"proc__meminfo": MEMINFO}, 6000 * 1024),
    ({"proc__meminfo": MEMINFO, "sys__fs__cgroup__memory.max": "max\n"}, 6000 * 1024),
    ({"proc__meminfo": MEMINFO, "sys__fs__cgroup__memory.max": "3000000\n", "sys__fs__cgroup__memory.current": "900000",
      "sys__fs__cgroup__memory.stat": "anon 1\ninactive_file 400000\n"}, 2_500_000),
    ({"proc__meminfo": MEMINFO, "proc__self__cgroup": "0::/a/b\n", "sys__fs__cgroup__a__memory.max": "1000000",
      "sys__fs__cgroup__a__memory.current": "1000", "sys__fs__cgroup__a__memory.stat": "anon 1\n"}, 999_000),
    ({"proc__meminfo": MEMINFO, "proc__self__cgroup": "5:cpu:/x\n4:memory:/job\n",
      "sys__fs__cgroup__memory__job__memory.limit_in_bytes": "800000",
      "sys__fs__cgroup__memory__job__memory.usage_in_bytes": "900000",
      "sys__fs__cgroup__memory__job__memory.stat": "total_inactive_file 200000\n"}, 100_000),
], ids=["machine", "unlimited", "container", "group above", "version 1"])  # fmt: skip
def test_the_least_of_all_limits_is_what_there_is(files, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(system, "SYSTEM", system_with(tmp_path, **files))
    monkeypatch.setattr(system, "_address_space", lambda: iter(()))
    assert system.available()[0] == expected


def test_a_resumed_run_does_not_hold_its_checkpoint(dataset, tmp_path, monkeypatch):
    train, size = train_module(), {"d_model": 128, "n_layers": 4, "context": 16, "batch_size": 2, "workers": 1}
    flags = [word for name, value in size.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    out = tmp_path / "run"
    assert train.main(["--data", str(dataset.folder), "--out", str(out), "--steps", "2", "--sample-tokens", "0",
                       *flags]) == 0
    sizes = []
    monkeypatch.setattr(RunLoop, "run", lambda self: sizes.append((gc.collect(), *tracemalloc.get_traced_memory())))
    gc.collect()
    tracemalloc.start()
    try:
        assert train.main(["--resume", str(out), "--steps", "3"]) == 0
    finally:
        tracemalloc.stop()
    config, V = Config.of(**size), dataset.vocab_size
    W = 4 * parameters(config, V)
    assert sizes[0][1] < held(config, V) + W  # without the checkpoint's 3 W
    needed = memory(config, V, resumed=True) - INTERPRETER
    assert needed == pytest.approx(sizes[0][2] - W, rel=0.1)  # the gradients are counted here, and take no memory yet
