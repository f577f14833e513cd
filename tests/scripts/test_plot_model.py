"""./plot.py attention, gradients, embeddings and architecture as they are typed, for small models of two tokenizers."""

import io
import sys

import numpy as np
import pytest
from running import script

import plot
from numpygpt import GPT
from numpygpt.data import Corpus, prepare
from numpygpt.inspection.probe import attention_weights
from numpygpt.plots import style
from numpygpt.training.checkpoint import save_checkpoint
from numpygpt.utils import cli

TEXT = 'To be, or $not$ to be "that": 日本 🙂 is _the_ question^2.\n'
SIZES = {"max_len": 12, "d_model": 10, "n_heads": 2, "n_layers": 3}
WHAT = ("attention", "gradients", "embeddings", "architecture")


def save_run(folder, data, **changes):
    """A run folder as train.py would leave it, with weights of order one."""
    model = GPT(vocab_size=data.vocab_size, **(SIZES | changes))
    rng = np.random.default_rng(5)
    for param in model.params().values():
        param += 0.3 * rng.standard_normal(param.shape).astype(param.dtype)
    header = {"step": 1234, "last": {"step": 1234, "val_loss": 2.5}, "best": {}, "model": model.config.to_dict(),
              "config": {"data": str(data.folder), "batch_size": 5}, "tokenizer": data.tokenizer.to_dict(),
              "data": {"corpus": "test"}}  # fmt: skip
    folder.mkdir(parents=True)
    save_checkpoint(folder / "best.npz", header, {f"model/{name}": param for name, param in model.params().items()})
    return model


@pytest.fixture(scope="module", params=["char", "bpe"])
def run(request, tmp_path_factory):
    """(run folder, its data, its model)"""
    folder = tmp_path_factory.mktemp(request.param)
    sizes = {"vocab_size": 290} if request.param == "bpe" else {}
    corpus = Corpus.of("test", TEXT * 40, "a test")
    data = prepare(corpus, folder / "data", tokenizer=request.param, context=12, **sizes)
    odd = {"d_k": 3, "d_v": 4, "positions": "sinusoidal", "tie_weights": False, "bias": False, "activation": "relu"}
    return folder / "a $run$", data, save_run(folder / "a $run$", data, **(odd if request.param == "bpe" else {}))


@pytest.fixture
def char(tmp_path):
    data = prepare(Corpus.of("test", TEXT * 40, "a test"), tmp_path / "data", context=12)
    save_run(tmp_path / "run", data)
    return tmp_path / "run"


@pytest.fixture
def draw(monkeypatch, capsys):
    """plot.main with these arguments. (figure, lines printed); figures are caught as they are written, in few dots."""
    monkeypatch.setattr(style, "DPI", 50)
    return caught(monkeypatch, capsys, style.save)


@pytest.fixture
def unsaved(monkeypatch, capsys):
    """The same, but nothing is written, which takes most of the time: for tests that look at the figure alone."""
    return caught(monkeypatch, capsys, lambda figure, path: None)


def caught(monkeypatch, capsys, save):
    drawn = []
    monkeypatch.setattr(style, "save", lambda figure, path: (drawn.append(figure), save(figure, path)))

    def go(*args):
        plot.main([str(arg) for arg in args])
        return drawn.pop(), capsys.readouterr().out.splitlines()

    return go


def refused(*args):
    """What the one line says that a user gets (see `cli.run`)."""
    with pytest.raises((ValueError, RuntimeError, OSError)) as error:
        plot.main([str(arg) for arg in args])
    said = cli.describe(error.value)
    assert said and "\n" not in said
    return said


@pytest.mark.parametrize("what", WHAT)
def test_a_picture_of_each_kind_beside_the_checkpoint(run, draw, what):
    folder, _, model = run
    figure, lines = draw(what, folder, *(["--prompt", TEXT[-24:]] if what == "attention" else []))
    assert (folder / f"{what}.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert lines[-1].startswith("wrote ") and lines[-1].endswith(f"{what}.png")
    assert "a $run$, step 1,234" in figure.get_suptitle()
    if what != "architecture":
        assert lines[0].endswith(f"{model.n_params():,} parameters") and "step 1,234" in lines[0]


@pytest.mark.parametrize(("what", "suffix", "magic"), [("attention", ".svg", b"<?xml"), ("embeddings", ".pdf", b"%PDF"),
                                                       ("gradients", ".svg", b"<?xml")])  # fmt: skip
def test_other_formats_and_the_same_bytes_each_time(char, draw, tmp_path, what, suffix, magic):
    for name in "ab":
        draw(what, char / "best.npz", *(["--prompt", "To be"] if what == "attention" else []),
             "--out", tmp_path / f"{name}{suffix}")  # fmt: skip
    assert (tmp_path / f"a{suffix}").read_bytes().startswith(magic)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_attention_of_the_prompts_tokens(run, unsaved):
    folder, data, model = run
    figure, _ = unsaved("attention", folder, "--prompt", "be: 日", "--layer", 2, "--head", 1)
    weights = attention_weights(model, data.tokenizer.encode("be: 日"))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array().filled(0), weights[2, 1], atol=1e-6)
    assert figure.axes[0].get_title() == "layer 2, head 1" and "“be: \\u65e5”" in figure.get_suptitle()
    assert len(unsaved("attention", folder, "--prompt", "be", "--layer", 0)[0].axes) == 2 + 1  # and the colour bar
    assert len(unsaved("attention", folder, "--prompt", "be", "--head", 0)[0].axes) == 3 + 1


def test_a_long_prompt_is_cut_and_that_is_said(char, unsaved, tmp_path, monkeypatch):
    (tmp_path / "prompt.txt").write_text(TEXT, encoding="utf-8")
    figure, lines = unsaved("attention", char, "--prompt-file", tmp_path / "prompt.txt")
    assert lines[1].startswith("note: ") and "56" in lines[1] and "12" in lines[1]
    assert figure.axes[0].images[0].get_array().shape == (12, 12)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"be"), encoding="utf-8"))
    assert unsaved("attention", char, "--prompt-file", "-")[0].axes[0].images[0].get_array().shape == (2, 2)


def test_mistakes_of_attention(char, tmp_path):
    assert refused("attention", char, "--prompt", "").startswith("--prompt is empty: give a text of at least one token")
    assert refused("attention", char, "--prompt", "be", "--layer", 3) == "--layer 3: this model's layers are 0 to 2"
    assert refused("attention", char, "--prompt", "be", "--head", -1) == "--head -1: this model's heads are 0 to 1"
    assert "'Q'" in refused("attention", char, "--prompt", "Q")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    assert "offset 3 " in refused("attention", char, "--prompt-file", tmp_path / "latin.txt")
    assert "holds no checkpoint" in refused("attention", tmp_path, "--prompt", "be")


@pytest.mark.parametrize(("args", "said"), [
    (["--prompt", ""], "--prompt"),
    ([], "one of the arguments --prompt --prompt-file is required"),
    (["--prompt", "be", "--layer", "x"], "argument --layer: 'x'"),
])  # fmt: skip
def test_a_mistake_is_one_line_and_status_2(char, args, said):
    done = script("plot.py", "attention", char, *args)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done
    assert done.stderr.startswith("plot.py") and said in done.stderr


def test_gradients_of_the_validation_part_and_of_a_text(char, unsaved, tmp_path):
    figure, lines = unsaved("gradients", char, "--batch-size", 3)
    assert "3 x 12 tokens of the validation" in figure.get_suptitle()
    assert [line[:10].strip() for line in lines[2:-1]] == ["embedding", "block 0", "block 1", "block 2"]
    assert unsaved("gradients", char, "--batch-size", 3)[1] == lines
    assert unsaved("gradients", char, "--batch-size", 3, "--seed", 1)[1] != lines
    (tmp_path / "short.txt").write_text("To be", encoding="utf-8")
    figure, _ = unsaved("gradients", char, "--text", tmp_path / "short.txt")
    assert "1 x 4 tokens of " in figure.get_suptitle() and "short.txt" in figure.get_suptitle()


def test_mistakes_of_gradients(char, tmp_path):
    (tmp_path / "one.txt").write_text("T", encoding="utf-8")
    assert "a single token" in refused("gradients", char, "--text", tmp_path / "one.txt")
    (tmp_path / "none.txt").touch()
    assert "none.txt is empty" in refused("gradients", char, "--text", tmp_path / "none.txt")
    assert "No such file" in refused("gradients", char, "--text", tmp_path / "gone.txt")
    assert refused("gradients", char, "--batch-size", 0) == "--batch-size must be between 1 and 256, got 0"
    assert refused("gradients", char, "--seed", -1) == "--seed must be at least 0, got -1"
    (tmp_path / "data").rename(tmp_path / "moved")
    said = refused("gradients", char)
    assert "there is no data folder" in said and "datagen.py" in said and "--text FILE" in said
    prepare(Corpus.of("other", "abcdefgh " * 100, "a test"), tmp_path / "data", context=8)
    assert "no longer has the tokenizer that this model was trained with" in refused("gradients", char)


def test_neighbours_in_the_table_and_on_the_terminal(char, unsaved):
    _, lines = unsaved("embeddings", char, "--neighbours", "t", r"\n", "·", "--nearest", 3)
    assert lines[1] == "nearest by cosine:" and [line[2] for line in lines[2:5]] == ["t", "⏎", "·"]
    assert all(len(line[15:].split("   ")) == 3 for line in lines[2:5])
    assert len(lines) == 6


def test_the_tokens_drawn_are_the_most_frequent(run, unsaved):
    folder, data, _ = run
    figure, _ = unsaved("embeddings", folder, "--tokens", 5)
    counts = np.bincount(np.asarray(data.train), minlength=data.vocab_size)
    assert f"5 of {data.vocab_size} tokens" in figure.get_suptitle()
    labels = [text.get_text() for text in figure.axes[0].texts]
    best = [data.tokenizer.token_text(id) for id in np.argsort(-counts, kind="stable")[:5].tolist()]
    assert [label.split()[0] for label in labels] == [text.replace(" ", "·").replace("\n", "⏎") for text in best]


def test_without_the_data_the_lowest_ids_are_drawn(char, unsaved, tmp_path):
    assert "all 26 tokens" in unsaved("embeddings", char)[0].get_suptitle()
    (tmp_path / "data").rename(tmp_path / "moved")
    assert "lowest ids" in unsaved("embeddings", char, "--tokens", 4)[0].get_suptitle()


def test_mistakes_of_embeddings(char):
    assert "is 'be'; it is 2 tokens: b e" in refused("embeddings", char, "--neighbours", "t", "be")
    assert "is 'Q'" in refused("embeddings", char, "--neighbours", "Q")
    assert refused("embeddings", char, "--tokens", 2) == "--tokens must be at least 3, got 2"
    assert refused("embeddings", char, "--nearest", 0) == "--nearest must be between 1 and 20, got 0"
    assert "at most 20 tokens, got 24" in refused("embeddings", char, "--neighbours", *"To be,rnth$a:is_qu^2.日本🙂")


def test_architecture_of_a_run(run, unsaved, tmp_path):
    folder, _, model = run
    figure, lines = unsaved("architecture", folder, "--out", tmp_path / "a.png")
    assert "(5, 12, 10)" in [text.get_text() for text in figure.axes[0].texts]
    assert any(f" {model.n_params():,} " in line for line in lines)
    assert lines[-1].endswith("a.png")


def test_architecture_of_a_preset(draw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    figure, lines = draw("architecture", "--preset", "quick", "--vocab-size", 65, "--batch-size", 2)
    assert figure.get_suptitle() == "Architecture: preset quick" and (tmp_path / "architecture.png").is_file()
    assert "(2, 64, 65)" in [text.get_text() for text in figure.axes[0].texts]
    assert any("809,856" in line for line in lines)


def test_mistakes_of_architecture(char):
    assert "--preset" in refused("architecture", char, "--preset", "quick")
    assert refused("architecture", char, "--vocab-size", 3).startswith("--vocab-size")
    assert "did you mean quick?" in refused("architecture", "--preset", "quik")
    assert "vocab_size must be at least 1, got 0" in refused("architecture", "--preset", "quick", "--vocab-size", 0)
    assert refused("architecture", char, "--batch-size", 0) == "--batch-size must be at least 1, got 0"
