"""Parameters that are NaN or infinite: no text, no score and no picture is made of them."""

import numpy as np
import pytest
from running import script

from numpygpt.inspection.score import score
from numpygpt.models.generate import Sampling, steps
from numpygpt.nn.finite import NotFinite
from numpygpt.tokenizer import CharTokenizer
from numpygpt.training.checkpoint import save_checkpoint
from numpygpt.training.restore import restore

TEXT = "To be, or not to be:\nthat is the question.\n"
BROKEN = {"wte.W": np.nan, "blocks.0.attn.proj.W": np.inf, "blocks.1.ffn.proj.b": np.nan, "norm_f.gamma": -np.inf}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", BROKEN)
def test_the_parameter_at_fault_is_named(name, value, make_gpt):
    model = make_gpt()
    model.params()[name].flat[-1] = value
    ids = np.arange(11)
    for call in (lambda: model.generate([[1, 2]], 20), lambda: list(model.stream([[1, 2]], 20)),
                 lambda: model.generate([[1, 2]], 20, temperature=0), lambda: score(model, ids),
                 lambda: list(steps(model, ids[None], 20, Sampling(), 0, None, 1))):
        with np.errstate(all="ignore"), pytest.raises(NotFinite, match=f"{name} "):
            call()


def test_it_is_noticed_amid_a_stream(make_gpt):
    model = make_gpt()
    stream = model.stream([[1, 2]], 9)
    next(stream)
    model.norm_f.beta[0] = np.nan
    with pytest.raises(NotFinite, match="norm_f.*beta"):
        next(stream)


def test_finite_parameters_whose_products_overflow_are_an_error_too(make_gpt):
    model = make_gpt(dtype="float32")
    model.norm_f.gamma[...] = 3e38
    with np.errstate(all="ignore"), pytest.raises(NotFinite, match="overflow"):
        model.generate([[1, 2]], 2)


def test_a_head_may_forbid_tokens(make_gpt):
    model = make_gpt()
    head = model.head.forward
    allowed = np.where(np.arange(11) % 2, 0, -np.inf)
    model.head.forward = lambda X: head(X) + allowed
    assert set((model.generate([[1, 2]], 30)[:, 2:] % 2).ravel()) == {1}
    model.head.forward = lambda X: head(X) - np.inf
    with pytest.raises(NotFinite):
        model.generate([[1, 2]], 1)


@pytest.fixture(params=BROKEN)
def broken(request, tmp_path, make_gpt):
    """(run folder, the parameter that is not finite)"""
    tokenizer = CharTokenizer().train(TEXT)
    model = make_gpt(vocab_size=tokenizer.vocab_size, max_len=8, dtype="float32")
    model.params()[request.param].flat[-1] = BROKEN[request.param]
    header = {"model": model.config.to_dict(), "tokenizer": tokenizer.to_dict(), "step": 7,
              "data": {"corpus": "hamlet"},
              "last": {"step": 7, "val_loss": 1.5}, "best": {}, "config": {}}
    save_checkpoint(tmp_path / "ckpt.npz", header, {f"model/{name}": p for name, p in model.params().items()})
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path, request.param


def test_a_checkpoint_is_not_restored(broken):
    folder, name = broken
    with pytest.raises(ValueError, match=name) as raised:
        restore(folder)
    assert "ckpt.npz" in str(raised.value)


@pytest.mark.parametrize("words", [
    ["sample.py", "RUN"], ["sample.py", "RUN", "--explain"], ["sample.py", "RUN", "--score", "RUN/text.txt"],
    ["plot.py", "attention", "RUN", "--prompt", "To be"], ["plot.py", "tokens", "RUN/text.txt", "RUN"],
    ["plot.py", "explore", "RUN", "--prompt", "To be"], ["plot.py", "embeddings", "RUN"],
    ["plot.py", "gradients", "RUN", "--text", "RUN/text.txt"],
], ids=" ".join)
def test_the_scripts_end_with_status_2_and_one_line_with_the_parameter_and_the_file(broken, words):
    folder, name = broken
    name_of, *arguments = (word.replace("RUN", str(folder)) for word in words)
    done = script(name_of, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert name in done.stderr and "ckpt.npz" in done.stderr
    assert {path.name for path in folder.iterdir()} == {"ckpt.npz", "text.txt"}
