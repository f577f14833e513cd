"""./sample.py --pretrained: prompts and chats with a model folder, where its texts end, and what it refuses."""

import re
import sys

import numpy as np
import pytest
from llama import TEXT, llama, save_llama, tokenizer_of
from running import script

from numpygpt.models.pretrained.chat import Chat
from numpygpt.training.checkpoint import save_checkpoint
from numpygpt.utils.fetch import cache_folder

pytest.importorskip("safetensors")
REAL = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_llama(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    from numpygpt.models.pretrained import load

    return load(folder)


@pytest.fixture(scope="module")
def tokenizer(folder):
    from numpygpt.tokenizer import load_tokenizer

    return load_tokenizer(folder)


def sample(folder, *arguments, **options):
    return script("sample.py", "--pretrained", folder, *arguments, **options)


def refused(done, *words):
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert str(word) in done.stderr


def until(ids, end):
    return ids[: ids.index(end)] if end in ids else ids


def test_a_chat_is_the_template_and_ends_at_the_models_end(folder, model, tokenizer):
    end, answers = tokenizer.special_tokens["<|im_end|>"], set()
    context = Chat.of(folder).ids(tokenizer, "Why?")
    for seed in range(6):
        done = sample(folder, "--chat", "Why?", "--max-new-tokens", 60, "--temperature", 1.5, "--seed", seed)
        ids = model.generate([context], 60, temperature=1.5, seed=seed)[0, len(context) :].tolist()
        text = tokenizer.decode(until(ids, end))
        assert done.returncode == 0 and done.stdout.rstrip("\ufffd\n") == text.rstrip("\ufffd\n")
        answers.add(end in ids)
    assert answers == {True, False}  # some answers ended by themselves


def test_a_prompt_ends_at_the_models_end_too(folder, model, tokenizer):
    end, context = tokenizer.special_tokens["<|im_end|>"], tokenizer.encode("The sky")
    ended = [seed for seed in range(20)
             if end in model.generate([context], 40, temperature=1.5, seed=seed)[0, len(context) :]]
    done = sample(folder, "--prompt", "The sky", "--max-new-tokens", 40, "--temperature", 1.5, "--seed", ended[0])
    ids = model.generate([context], 40, temperature=1.5, seed=ended[0])[0, len(context) :].tolist()
    assert done.stdout.rstrip("\n") == "The sky" + tokenizer.decode(until(ids, end)).rstrip("\n")


def test_one_line_names_the_model(folder, model):
    done = sample(folder, "--prompt", "The", "--max-new-tokens", 1)
    assert done.stderr.count("\n") == 2 and "cpu" in done.stderr  # the second line names the device
    for words in ("llama", f"{model.n_params():,}", "64 tokens", "bpe", f"{model.wte.n}"):
        assert words in done.stderr


def test_samples_stops_and_explanations_are_as_for_a_run(folder):
    several = sample(folder, "--chat", "Why?", "--num-samples", 2, "--max-new-tokens", 5)
    alone = [sample(folder, "--chat", "Why?", "--seed", seed, "--max-new-tokens", 5).stdout for seed in (0, 1)]
    assert re.split(r"\n?--- sample \d\n", several.stdout)[1:] == [alone[0].removesuffix("\n"), alone[1]]
    explained = sample(folder, "--chat", "Why?", "--explain", "--max-new-tokens", 5)
    assert explained.stdout.split("--- the text\n")[1] == alone[0] and explained.stdout.count("rank") == 5 + 1
    stopped = sample(folder, "--prompt", "Why", "--stop", "e", "--max-new-tokens", 60).stdout
    assert "e" not in stopped


def test_score_of_a_pretrained_model_is_in_bits_per_byte(folder, tmp_path):
    (tmp_path / "text").write_text(TEXT * 3, encoding="utf-8")
    done = sample(folder, "--score", tmp_path / "text")
    found = re.search(r"([\d.]+) bits per token, ([\d.]+) bits per byte", done.stdout)
    assert float(found[2]) < float(found[1]) and r"\xf0" not in done.stderr


def test_a_prompt_longer_than_the_context_is_read_and_a_message_is_refused(folder):
    assert sample(folder, "--prompt", "abc " * 90, "--max-new-tokens", 3).returncode == 0
    refused(sample(folder, "--chat", "abc " * 90), "--chat", "64")


@pytest.mark.parametrize(("template", "words"), [(None, ["chat template"]), ("[INST] {{ x }} [/INST]", ["Llama 2"])])
def test_a_model_without_a_chat_form_that_we_have_is_refused(tmp_path, template, words):
    save_llama(tmp_path / "model", template)
    refused(sample(tmp_path / "model", "--chat", "hi"), tmp_path / "model", *words)


def test_a_run_has_no_chat_and_two_models_are_refused(folder, tmp_path, model, tokenizer):
    header = {"model": model.config.to_dict(), "tokenizer": tokenizer.to_dict(), "step": 7, "data": {"corpus": "x"},
              "last": None, "best": {}, "config": {}}
    save_checkpoint(tmp_path / "ckpt.npz", header, {f"model/{name}": p for name, p in model.params().items()})
    refused(script("sample.py", tmp_path, "--chat", "hi"), "--chat", "--pretrained")
    refused(script("sample.py", tmp_path, "--pretrained", folder), "--pretrained", tmp_path)


def test_a_run_that_started_from_a_chat_model_chats(folder, tmp_path, model, tokenizer):
    header = {"model": model.config.to_dict(), "tokenizer": tokenizer.to_dict(), "step": 7, "data": None, "last": None,
              "best": {}, "config": {"init_from": str(folder)}}
    save_checkpoint(tmp_path / "ckpt.npz", header, {f"model/{name}": p for name, p in model.params().items()})
    done = script("sample.py", tmp_path, "--chat", "Why?", "--max-new-tokens", 20)
    assert done.returncode == 0 and done.stdout == sample(folder, "--chat", "Why?", "--max-new-tokens", 20).stdout != ""


def test_what_is_not_a_model_is_refused(folder, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    without = tmp_path / "without"
    save_llama(without)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (without / name).unlink()
    offline = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    refused(sample(tmp_path / "empty", "--prompt", "a"), tmp_path / "empty")
    refused(sample(tmp_path / "text.txt", "--prompt", "a"), tmp_path / "text.txt")
    refused(sample(tmp_path / "no" / "where" / "x", "--prompt", "a"), tmp_path / "no" / "where" / "x")
    refused(sample(without, "--prompt", "a"), without)
    refused(sample("smollm2-135m-instuct", "--prompt", "a", **offline), "smollm2-135m-instruct")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    refused(sample(folder, "--prompt", "a"), "safetensors")


def test_ids_beyond_the_tokenizer_are_no_text(tmp_path):
    """A table that was rounded up, as Qwen2's: its last rows are tokens without a text."""
    folder, tokenizer = tmp_path / "model", tokenizer_of()
    model = llama(vocab_size=tokenizer.vocab_size + 5)
    model.norm_f.gamma *= 0
    model.norm_f.gamma += np.float32(1e-6)  # all logits are alike
    model.save_pretrained(folder)
    tokenizer.save(folder / "tokenizer.json")
    done = sample(folder, "--explain", "--prompt", "The", "--max-new-tokens", 400, "--temperature", 1)
    assert done.returncode == 0 and f"<{tokenizer.vocab_size}>" in done.stdout, done.stderr


@pytest.mark.skipif(not (cache_folder() / "models" / REAL).is_dir(), reason=f"{REAL} is not in the cache")
def test_a_real_model_answers():
    question = "What is the capital of France? Answer in one sentence."
    done = sample(REAL, "--chat", question, "--temperature", 0, "--max-new-tokens", 20)
    assert done.stdout == "The capital of France is Paris.\n" and "134,515,008" in done.stderr


def test_a_model_without_a_large_matrix_is_not_converted(folder):
    refused(sample(folder, "--prompt", "Why", "--int8"), "8 bits")
