"""Prompts and stop texts as users type them."""

import subprocess

import pytest
from running import script
from tiny import TEXT, TINY

from numpygpt.data import Corpus, prepare
from numpygpt.data.documents import Document
from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer
from numpygpt.tokenizer.prompts import check_stop, escaped, prompt_ids, remarks

END = "<|endoftext|>"
CHAR = CharTokenizer().train("To be", (END,))
LOWER = CharTokenizer(lowercase=True).train("To be", (END,))
WORD = WordTokenizer().train("To be", special_tokens=("<unk>", END))
BPE = BPETokenizer().train("To be, to be", vocab_size=260, special_tokens=(END,))
LOWER_BPE = BPETokenizer(lowercase=True).train("To be, to be", vocab_size=260)
ALL = [CHAR, LOWER, WORD, BPE]


@pytest.mark.parametrize("tokenizer", ALL)
def test_the_name_of_a_special_token_in_a_prompt_is_that_token(tokenizer):
    end = tokenizer.special_tokens[END]
    ids = prompt_ids(tokenizer, f"To{END}be{END}")
    assert [at for at, id in enumerate(ids) if id == end] == [ids.index(end), len(ids) - 1]
    assert ids[: ids.index(end)] == tokenizer.encode("To")
    assert prompt_ids(tokenizer, END) == prompt_ids(tokenizer, "") == [end]
    assert remarks("--prompt", f"To{END}", tokenizer) == []


def test_a_special_token_that_the_tokenizer_lacks_is_named():
    (remark,) = remarks("--prompt", "<|im_start|>To<|im_start|>", BPE)
    assert "<|im_start|>" in remark and END in remark
    (remark,) = remarks("--prompt", f"a{END}b", LOWER_BPE)
    assert END in remark and "none" in remark
    (remark,) = remarks("--prompt", "[INST] To be </s>", BPE)
    assert "[INST]" in remark and "</s>" in remark
    assert remarks("--prompt", "a < b | c > d <b>", BPE) == []


@pytest.mark.parametrize(("typed", "meant"), [
    (r"one\ntwo", "one\ntwo"), (r"\n", "\n"), (r"it's\n\t", "it's\n\t"), (r"\d\n", "\\d\n"), (r"a\rb", "a\rb"),
])  # fmt: skip
def test_a_backslash_and_a_letter_are_named_with_what_to_type(typed, meant):
    """What is advised is what bash reads as the meant text."""
    (remark,) = remarks("--prompt", typed, BPE)
    quoted = remark[remark.index(" $'") :].strip()
    done = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True)
    assert done.stdout == meant.encode()


@pytest.mark.parametrize("text", ["one\ntwo", "a\\b", "\\", "n", ""])
def test_another_text_is_left_alone(text):
    assert escaped("--prompt", text) == ""


def test_a_long_text_is_not_repeated():
    assert len(escaped("--prompt", "x" * 10_000 + r"\n")) < 200


@pytest.mark.parametrize(("tokenizer", "text"), [
    (CHAR, "To"), (CHAR, " "), (CHAR, END), (CHAR, f"e{END}"), (LOWER, "to"), (WORD, "o b"), (WORD, "\n"),
    (WORD, "<unk>"), (BPE, "é"), (BPE, r"\n"), (BPE, "TO"), (LOWER_BPE, "to"),
])  # fmt: skip
def test_a_stop_text_that_may_come_is_taken(tokenizer, text):
    check_stop(text, tokenizer)


@pytest.mark.parametrize(("tokenizer", "text", "said"), [
    (CHAR, "", "empty"), (CHAR, "x", "'x'"), (CHAR, r"\n", r"$'\n'"), (CHAR, "To\n", r"'\n'"), (WORD, "tax", "'a' 'x'"),
    (LOWER, "To", "`stop` to"), (LOWER, "Xy", "'X' 'y'"), (LOWER_BPE, "To", "`stop` to"), (BPE, "\udce9", "dce9"),
])  # fmt: skip
def test_a_stop_text_that_cannot_come_is_refused_with_what_is_lacking(tokenizer, text, said):
    with pytest.raises(ValueError) as refused:
        check_stop(text, tokenizer)
    assert said in str(refused.value)


def test_the_scripts_take_prompts_so(tmp_path):
    documents = tuple(Document(name, TEXT.encode()) for name in "ab")
    prepare(Corpus("two", documents, "a test"), tmp_path / "data", context=8)
    run = tmp_path / "run"
    assert script("train.py", *TINY, "--data", tmp_path / "data", "--out", run).returncode == 0
    found = [script("sample.py", run, "--prompt", prompt, "--max-new-tokens", 9) for prompt in ("", END)]
    assert found[1].returncode == 0 and found[1].stdout == END + found[0].stdout  # a sample does not show an empty one
    done = script("plot.py", "attention", run, "--prompt", f"{END}To", "--out", tmp_path / "a.png")
    assert done.returncode == 0 and "note" not in done.stdout
    done = script("sample.py", run, "--stop", r"\n")
    assert done.returncode == 2 and r"--stop $'\n'" in done.stderr
