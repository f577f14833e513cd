"""What a model has learned is written as it is, but does not steer the terminal that shows it."""

import os
from functools import partial
from threading import Thread

import pytest
from running import process, script

from numpygpt import GPT
from numpygpt.tokenizer import CharTokenizer
from numpygpt.training.checkpoint import save_checkpoint

ESCAPES = "\x1b]\x07\x9b\n"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A model that knows nothing but escapes, in a file that says nothing of its data."""
    tokenizer = CharTokenizer().train(ESCAPES)
    model = GPT(vocab_size=tokenizer.vocab_size, max_len=6, d_model=8, n_heads=2, n_layers=1)
    header = {"step": 1, "last": None, "best": None, "config": {}, "model": model.config.to_dict(), "data": None,
              "tokenizer": tokenizer.to_dict()}
    path = tmp_path_factory.mktemp("hostile") / "h.npz"
    save_checkpoint(path, header, {f"model/{name}": param for name, param in model.params().items()})
    return path


def read(terminal):
    """What was written to it, or nothing once nobody can write to it any more."""
    try:
        return os.read(terminal, 4096).decode("latin-1")
    except OSError:
        return ""


@pytest.mark.parametrize("more", [[], ["--explain"]])
def test_a_file_gets_the_text_as_it_is(hostile, more):
    done = script("sample.py", hostile, "--max-new-tokens", 40, "--prompt", "\x1b\x07", *more)
    assert done.returncode == 0 and "trained on a text without a name" in done.stderr
    text = done.stdout.split("--- the text\n")[-1]
    assert text.startswith("\x1b\x07") and set(text) <= set(ESCAPES) and len(text) == 43


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
@pytest.mark.parametrize("more", [[], ["--explain"]])
def test_a_terminal_gets_no_escape(hostile, more):
    ours, its = os.openpty()
    shown = []
    reader = Thread(target=lambda: shown.extend(iter(partial(read, ours), "")))  # a full terminal stops the writer
    reader.start()
    with os.fdopen(its, "w") as terminal:
        done = process("sample.py", hostile, "--max-new-tokens", 40, "--prompt", "\x1b\x07", *more,
                       stdout=terminal, NO_COLOR="1")
    reader.join(60)
    os.close(ours)
    text = "".join(shown)
    assert done.returncode == 0, done
    assert r"\u001b\u0007" in text and not set(text) & {"\x1b", "\x07", "\x9b"}
