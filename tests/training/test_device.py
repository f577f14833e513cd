"""A run on a device: the losses of the CPU, two numbers copied per step, and checkpoints that move between devices."""

import math
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import strict
import tiny

from numpygpt.data import TokenDataset
from numpygpt.inspection.score import scores
from numpygpt.inspection.step import TracedStep, restored
from numpygpt.nn import backend
from numpygpt.nn.finite import NotFinite
from numpygpt.parallel.group import Group
from numpygpt.training import memory
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.config import Config
from numpygpt.training.device import device_of
from numpygpt.training.trainer import Trainer, evaluate, workers_of

RUNS = {"adamw": {}, "accumulated sgd": {"optimizer": "sgd", "momentum": 0.9, "accumulate": 2, "skip_spikes": 5.0},
        "recomputed llama": {"norm": "rmsnorm", "positions": "rope", "ffn": "gated", "activation": "silu",
                             "n_kv_heads": 1, "recompute": True},
        "outer steps": {"sync_every": 2, "eval_every": 2, "optimizer": "adam"}}


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setitem(backend.DEVICES, "strict", lambda index: strict.DEVICE)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return TokenDataset.load(tiny.make_data(tmp_path_factory.mktemp("data") / "hamlet"))


def config(dataset, device, **changes):
    sizes = {"context": 8, "d_model": 16, "n_heads": 2, "n_layers": 2, "batch_size": 4, "steps": 8, "warmup": 2,
             "dropout": 0.0, "dtype": "float64", "workers": 0 if device == "strict" else 1}
    return Config.of(data=str(dataset.folder), device=device, **(sizes | changes))


def steps(trainer, n):
    return [trainer.update()["loss"] for _ in range(n)]


@pytest.mark.parametrize("changes", RUNS.values(), ids=RUNS)
def test_a_run_moves_between_devices_with_the_same_losses(changes, dataset, tmp_path):
    path, expected = tmp_path / "ckpt.npz", steps(Trainer(config(dataset, "cpu", **changes), dataset), 8)
    for first, second in (("cpu", "strict"), ("strict", "cpu"), ("strict", "strict")):
        one = Trainer(config(dataset, first, **changes), dataset)
        found = steps(one, 4)
        one.save(path)
        two = Trainer(config(dataset, second, **changes), dataset)
        two.load(load_checkpoint(path))
        np.testing.assert_allclose(found + steps(two, 4), expected, rtol=1e-10)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_step_copies_the_loss_and_the_norm_to_the_host_and_nothing_else(dropout, dataset):
    trainer = Trainer(config(dataset, "strict", dropout=dropout, attn_dropout=dropout, accumulate=2), dataset)
    for _ in range(3):
        strict.transfers.clear()
        trainer.update()
        assert strict.transfers == [8, 8]


def test_a_run_with_dropout_resumes_exactly_on_a_device(dataset, tmp_path):
    c = config(dataset, "strict", dropout=0.2, attn_dropout=0.1)
    one = Trainer(c, dataset)
    steps(one, 3)
    one.save(tmp_path / "ckpt.npz")
    two = Trainer(c, dataset)
    two.load(load_checkpoint(tmp_path / "ckpt.npz"))
    assert steps(two, 3) == steps(one, 3)


def test_evaluation_sample_trace_and_score_on_a_device(dataset):
    cpu, device = (Trainer(config(dataset, name), dataset) for name in ("cpu", "strict"))
    batches = [(dataset.val[:9][None, :-1].astype(int), dataset.val[:9][None, 1:].astype(int))]
    assert evaluate(device.parallel, batches) == pytest.approx(evaluate(cpu.parallel, batches), rel=1e-12)
    assert device.sample() == cpu.sample()
    rows = []
    for trainer in (cpu, device):
        with restored(trainer):
            step = TracedStep(trainer, keep=lambda name: name == "norm_f")
            step.apply()
            rows.append(step.row())
            assert all(isinstance(array, np.ndarray) for array in step.records["norm_f"].outputs)
    assert rows[0].keys() == rows[1].keys() and len(rows[0]) > 50
    for name, value in rows[0].items():
        if "qkv.b" not in name:  # the gradient of the keys' bias is rounding alone
            assert rows[1][name] == pytest.approx(value, rel=1e-6, abs=1e-12, nan_ok=True), name
    ids = dataset.val[:30].astype(int)
    np.testing.assert_allclose(scores(device.model, ids).losses, scores(cpu.model, ids).losses, rtol=1e-12)


def test_what_is_not_finite_is_named_on_a_device(dataset):
    trainer = Trainer(config(dataset, "strict"), dataset)
    trainer.model.blocks[1].ffn.fc.W = np.full(trainer.model.blocks[1].ffn.fc.W.shape, np.inf)
    with pytest.raises(NotFinite, match=r"blocks\.1\.ffn\.fc\.W"):
        trainer.update()


def test_several_workers_or_ranks_keep_auto_on_the_cpu_and_refuse_a_gpu(dataset, monkeypatch):
    monkeypatch.setitem(backend.DEVICES, "cuda", lambda index: strict.DEVICE)
    auto = config(dataset, "auto", workers=0)
    assert device_of(auto)[0] is strict.DEVICE and workers_of(auto) == 1
    ranks = Group()
    ranks.size = 2
    for c, group, number in ((replace(auto, workers=3), Group(), "3"), (auto, ranks, "2")):
        place, why = device_of(c, group)
        assert place is backend.CPU and number in why
        with pytest.raises(ValueError, match=number):
            device_of(replace(c, device="cuda"), group)


def test_auto_is_the_cpu_and_says_why_if_there_is_no_gpu(dataset, monkeypatch):
    def missing(index):
        raise RuntimeError("no driver")

    monkeypatch.setitem(backend.DEVICES, "cuda", missing)
    place, why = device_of(config(dataset, "auto", workers=0))
    assert place is backend.CPU and "no driver" in why
    with pytest.raises(RuntimeError, match="no driver"):
        Trainer(config(dataset, "cuda:1", workers=0), dataset)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "mps", ""])
def test_a_device_that_no_machine_has_is_refused_before_the_run(name, dataset):
    with pytest.raises(ValueError, match="device"):
        config(dataset, name)


def test_the_memory_of_the_device_is_checked(dataset, monkeypatch):
    c, V = config(dataset, "strict"), dataset.vocab_size
    needed = memory.memory(c, V)
    assert 0 < needed < memory.memory(replace(c, device="cpu", workers=1), V)  # without the interpreter
    for free in (needed + 1, needed - 1):
        place = replace(strict.DEVICE, free=lambda free=free: math.floor(free))
        monkeypatch.setitem(backend.DEVICES, "strict", lambda index, place=place: place)
        if free > needed:
            memory.check_memory(c, V)
        else:
            with pytest.raises(MemoryError, match="strict"):
                memory.check_memory(c, V)


SIZES = [{}, {"recompute": True}, {"context": 128, "n_heads": 8}, {"attn_dropout": 0.1}]


@pytest.mark.parametrize("changes", SIZES, ids=str)
def test_the_memory_of_a_step_is_as_announced(changes, dataset):
    """The stand-in's arrays are NumPy's, so their memory can be measured."""
    sizes = {"context": 64, "d_model": 64, "batch_size": 8, "dtype": "float32"}
    c, V = config(dataset, "strict", **(sizes | changes)), dataset.vocab_size
    trainer = Trainer(c, dataset)
    trainer.update()
    tracemalloc.start()
    try:
        trainer.update()
        peak = tracemalloc.get_traced_memory()[1] + memory.held(c, V)
    finally:
        tracemalloc.stop()
    assert 0.75 < peak / memory.memory(c, V) < 1.05


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_trains_and_resumes_exactly(precision, dataset, tmp_path):
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    c = config(dataset, "strict", dtype="float32", precision=precision, steps=60, lr=1e-2)
    one = Trainer(c, dataset)
    losses = steps(one, 30)
    assert one.model.blocks[0].ffn.fc.X.dtype.itemsize == 2 and np.mean(losses[-5:]) < losses[0] - 0.3
    one.save(tmp_path / "ckpt.npz")
    two = Trainer(c, dataset)
    two.load(load_checkpoint(tmp_path / "ckpt.npz"))
    assert steps(two, 3) == steps(one, 3)
    exact = steps(Trainer(replace(c, precision="float32"), dataset), 30)
    np.testing.assert_allclose(losses[:10], exact[:10], atol=0.003)
    strict.transfers.clear()
    two.update()
    assert len(strict.transfers) == 2


def test_a_step_whose_gradient_overflows_is_skipped_and_counted(dataset, tmp_path):
    trainer = Trainer(config(dataset, "strict", dtype="float32", precision="float16"), dataset)
    steps(trainer, 2)
    trainer.skipping.loss_scale.scale = 2.0**24
    before = trainer.model.state_dict()
    row = trainer.update()
    assert row["skipped"] == 1 and trainer.skipping.skipped == 1 and math.isfinite(row["loss"]) and trainer.step == 3
    for name, param in trainer.model.state_dict().items():
        np.testing.assert_array_equal(param, before[name])
    trainer.save(tmp_path / "ckpt.npz")
    found = Trainer(trainer.config, dataset)
    found.load(load_checkpoint(tmp_path / "ckpt.npz"))
    assert found.skipping.loss_scale.state_dict() == {"scale": 2.0**23, "good": 0, "skipped": 1}
    with restored(trainer):
        trainer.update()
    assert trainer.skipping.loss_scale.state_dict() == found.skipping.loss_scale.state_dict()
    while trainer.update()["skipped"]:
        pass
    assert trainer.skipping.loss_scale.scale < 2.0**23 and trainer.step < 20


def test_a_gradient_that_overflows_at_the_smallest_scale_ends_the_run(dataset):
    trainer = Trainer(config(dataset, "strict", dtype="float32", precision="float16"), dataset)
    trainer.skipping.loss_scale.scale = 1.0
    batches = trainer.next_batches()
    loss = trainer.gradients(batches)
    trainer.model.flat().grads[0] = np.inf
    with pytest.raises(NotFinite):
        trainer.apply(batches, loss)


def test_half_precision_is_refused_on_a_cpu(dataset, monkeypatch):
    def missing(index):
        raise RuntimeError("no driver")

    monkeypatch.setitem(backend.DEVICES, "cuda", missing)
    for device in ("cpu", "auto"):
        with pytest.raises(ValueError, match="float16"):
            Trainer(config(dataset, device, precision="float16", workers=0), dataset)
    with pytest.raises(ValueError, match="precision"):
        config(dataset, "strict", precision="float8")


BROKEN = r"raise ImportError('====\nFailed to import CuPy.\n\nOriginal error:\n  libcuda.so.1: no such file\n====')"
EMPTY = "class cuda:\n    class runtime:\n        getDeviceCount = lambda: 0"


@pytest.mark.parametrize(("program", "words"), [(BROKEN, "libcuda"), (EMPTY, "none")], ids=["broken", "no device"])
def test_why_cupy_cannot_be_used(program, words, tmp_path, monkeypatch):
    (tmp_path / "cupy.py").write_text(program)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    backend.usable.cache_clear()
    try:
        place, why = backend.choose("auto")
        assert place is backend.CPU and words in why and "\n" not in why
        with pytest.raises(RuntimeError, match=words):
            backend.device("cuda")
    finally:
        backend.usable.cache_clear()
        sys.modules.pop("cupy", None)
