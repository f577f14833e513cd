"""The benchmarks of docs/PERFORMANCE.md do what they say, on a case that takes a moment."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import strict

from benchmarks import (
    activations,
    gpu,
    large_text,
    precision,
    pretrained,
    pretrained_peers,
    scaling,
    speed,
    tokenization,
    where,
)
from benchmarks.cases import Case
from numpygpt import GPT
from numpygpt.models.pretrained import load
from numpygpt.tokenizer import BPETokenizer
from numpygpt.verify.cases import gradient_cases

TINY = Case("tiny", 4, 8, 8, 2, 1, 11, (), seconds=0.01)


def test_scaling_measures_a_step_and_counts_cached_activations():
    found = scaling.one(TINY, workers=2)
    assert found["params"] == 11 * 8 + 8 * 8 + 12 * 64 + 13 * 8 + 2 * 8  # tables, block, norm_f
    assert found["ms"] > 0 and found["MB"] > 1
    cached = 4 * 4 * 8 * (16 * 8 + 2 * 8)  # floats of each of the 32 tokens: 16 C + H T, in a block
    assert cached <= 1e6 * found["cached"] <= 1.5 * cached


def test_parts_add_up(capsys):
    where.parts(TINY, steps=2)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("| Linear.backward |") for line in lines)
    times = [float(line.split("|")[2]) for line in lines[2:]]
    assert sum(times[:-1]) <= times[-1] + 0.1 * len(times)


def test_the_summary_puts_the_cases_into_lines():
    results = {"numpygpt": {"ms": 2.0, "MB": 100.0}, "torch": {"ms": 3.0, "MB": 150.0}}
    assert speed.summary(speed.table(TINY, results))[2:] == ["| tiny | 2 ms per step | 1.50x | 100 MB | 1.50x |"]


def test_batches_are_measured(capsys):
    where.batches(TINY, (100, 200), turns=3)
    assert [line.split("|")[2].strip() for line in capsys.readouterr().out.splitlines()] == ["100", "200"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_of_all_processes_is_measured(tmp_path):
    (tmp_path / "text.txt").write_text(HATS * 500, encoding="utf-8")
    took, peak = large_text.measured(tmp_path / "text.txt", tmp_path / "out", "word")
    assert took > 0 and peak > 10e6 and (tmp_path / "out" / "meta.json").is_file()
    assert os.getpid() in large_text.process_tree(os.getpid()) and large_text.resident(os.getpid()) > 10e6


HATS = "the cat's hat and the rats' hats, 1 and 2\n" * 50


def test_the_kinds_of_tokenizers_are_measured():
    rows = tokenization.kinds(HATS, rounds=1)
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| char", "| word", "| bpe"]
    assert f"| {len(HATS):,} | 1.00 | 100% | 100% |" in rows[2]
    rows = tokenization.compare("train", tokenization.training(HATS, 300), rounds=1)
    assert rows[0].startswith("| train | numpygpt |") and rows[0].endswith("| 1.00 |")


def test_tokenizers_are_compared_on_equal_ids():
    pytest.importorskip("tokenizers")
    pytest.importorskip("tiktoken")
    rows = tokenization.compare("encode", tokenization.encoding(BPETokenizer().train(HATS, 300), HATS), rounds=1)
    assert [row.split(" | ")[1] for row in rows] == ["numpygpt", "numpygpt, again", "tokenizers", "tiktoken"]


def test_commands_of_the_document_are_accepted():
    assert where.parse(["parts", "char", "quick"]).cases == ["char", "quick"]
    assert where.parse(["batches"]).what == "batches" and large_text.parse(["bpe"]).kinds == ["bpe"]
    assert where.parse(["ideas"]).what == "ideas" and where.parse(["rates"]).what == "rates"
    assert scaling.parse(["--large"]).large
    assert speed.parse(["--markdown", "FILE"]).markdown == "FILE"
    assert tokenization.parse(["--large", "--gpt2", "DIR"]).large
    assert json.loads(json.dumps(scaling.SWEEPS))["V"][0] == 65


@pytest.fixture
def tiny_folder(tmp_path):
    pytest.importorskip("safetensors")
    GPT(vocab_size=10_000, max_len=600, d_model=8, n_heads=2, n_layers=1, positions="rope", norm="rmsnorm",
        ffn="gated", activation="silu", bias=False).save_pretrained(tmp_path)
    return str(tmp_path)


@pytest.mark.parametrize("row", ["decode", "prefill", "load"])
def test_rows_of_a_pretrained_model_run(row, tiny_folder):
    pretrained_peers.numpygpt(row, tiny_folder)()


def test_a_training_step_of_a_pretrained_model_changes_it(tiny_folder):
    model = load(tiny_folder)
    before = model.flat().params.copy()
    pretrained_peers.numpygpt_step(model, 1)()
    assert not np.array_equal(model.flat().params, before)


def test_greedy_texts_are_compared_token_by_token(tiny_folder):
    greedy = pretrained_peers.numpygpt("greedy", tiny_folder)
    ((ids, margins),) = greedy([[5, 6, 7]], 4)
    model = load(tiny_folder)
    assert ids == model.generate([[5, 6, 7]], 4, temperature=0)[0, 3:].tolist()
    assert len(margins) == 4 and min(margins) >= 0
    assert pretrained_peers.margin(np.array([1.0, 4.0, 2.5])) == 1.5


def test_the_table_of_a_pretrained_model_has_ratios():
    found = {"numpygpt": {"s": 2.0, "MB": 100.0}, "huggingface": {"s": 3.0, "MB": 150.0}}
    cells = [cell.strip() for cell in pretrained.table("step", found, "s per step", 1.0)[1].split("|")[1:-1]]
    assert cells == ["step", "huggingface", "3 s per step", "1.50", "150 MB", "1.50"]


def test_two_checkouts_are_compared_round_by_round(tmp_path):
    turns = {"old": [{"ms": 2.0, "MB": 100.0}, {"ms": 4.0, "MB": 110.0}, {"ms": 3.0, "MB": 120.0}],
             "new": [{"ms": 1.0, "MB": 90.0}, {"ms": 3.0, "MB": 91.0}, {"ms": 3.0, "MB": 92.0}]}
    cells = [cell.strip() for cell in speed.tree_row(TINY, turns)[1:-1].split("|")]
    assert cells == ["tiny", "3 ms per step", "3 ms per step", "0.750", "0.500 to 1.000", "110 MB", "91 MB"]
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        speed.compare_trees([TINY], tmp_path, 1)


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_a_step_on_a_device_is_measured(kind):
    run, wait, memory = gpu.our_work(TINY, gpu.Peer(gpu.OURS, kind), strict.DEVICE)
    assert run() == run() == 1 and wait() is None and memory() == 0


def test_decoding_on_a_device_is_measured():
    run, _, _ = gpu.our_work(Case("tiny", 1, 8, 8, 2, 1, 11, (), decode=True), gpu.Peer(gpu.OURS), strict.DEVICE)
    assert run() == 7


def test_parity_is_a_line_per_layer(monkeypatch):
    cases = [case for case in gradient_cases() if case[0] in ("Linear", "GELU")]
    monkeypatch.setattr(gpu, "gradient_cases", lambda: iter(cases))
    lines = gpu.parity(strict.DEVICE)
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["Linear", "GELU"]
    assert all(line.endswith("| equal |") for line in lines[2:])
    for wrong in (1e-3, float("nan")):
        errors = iter([0.0, 0.0, wrong] + [0.0] * 1000)
        monkeypatch.setattr(gpu, "difference", lambda make, inputs, place, dtype, errors=errors: next(errors))
        assert gpu.parity(strict.DEVICE)[2].endswith("| DIFFERENT |")


def test_which_peers_are_compared():
    torch_there, hub_there = not gpu.missing("torch"), not gpu.missing("huggingface")
    found = {row: [str(peer) for peer in gpu.PEERS.values() if gpu.takes_part(peer, case)]
             for row, case in gpu.ROWS.items()}
    assert len(found["char"]) == 4 + 3 * torch_there and len(found["smollm2"]) == 4 + 3 * hub_there
    assert len(found["decode"]) == 2 + 2 * hub_there


def test_storages_are_compared(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    pytest.importorskip("ml_dtypes")
    model = GPT(vocab_size=30, max_len=64, d_model=16, n_heads=2, n_layers=1).eval()
    lines = precision.rows("tiny", model, np.arange(100) % 30, tmp_path, rounds=1)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    assert [cell[2] for cell in cells] == ["float32", "float16", "bfloat16", "int8, all"]  # no matrix is large
    assert cells[0][7] == "100.0%" and cells[0][9] == "1.00" and all(float(cell[5]) > 3 for cell in cells)


def test_activations_in_16_bits_are_rounded_to_the_nearest():
    X = np.random.default_rng(0).standard_normal((50, 41)).astype(np.float32)
    found = activations.Packed(X).unpacked()
    assert found.shape == X.shape and 2**-11 < np.abs(found / X - 1).max() <= 2**-8
    expected = pytest.importorskip("ml_dtypes").bfloat16
    np.testing.assert_array_equal(found, X.astype(expected).astype(np.float32))


def test_activations_are_compared():
    lines = [line.split("|") for line in activations.rows(TINY, rounds=1)]
    assert [line[2].strip() for line in lines] == ["float32", "bfloat16"]
    assert 1e-4 < float(lines[1][7]) < 0.1
