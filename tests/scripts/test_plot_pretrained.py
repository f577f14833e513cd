"""./plot.py --pretrained: each picture of a model folder, where it goes, and what is refused."""

import json
import re

import pytest
from llama import TEXT, save_llama

import plot
from numpygpt.inspection.probe import attention_weights
from numpygpt.plots import style
from numpygpt.plots.commands.attention import MAX_PANELS

pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return folder, *save_llama(folder, n_layers=3)


@pytest.fixture
def draw(monkeypatch, capsys, tmp_path):
    """plot.main with these arguments: (figure, lines); nothing is written."""
    drawn = []
    monkeypatch.setattr(style, "save", lambda figure, path: drawn.append((figure, path)))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text(TEXT * 4, encoding="utf-8")

    def run(*arguments):
        plot.main([*map(str, arguments)])
        return *drawn.pop(), capsys.readouterr().out.splitlines()

    return run


@pytest.mark.parametrize(("what", "more"), [
    ("attention", ["--prompt", "The sky"]), ("tokens", ["text"]), ("gradients", ["--text", "text"]),
    ("embeddings", []), ("architecture", [])])  # fmt: skip
def test_pictures_go_into_the_current_folder_and_name_the_model(folder, draw, what, more):
    figure, path, lines = draw(what, *more, "--pretrained", folder[0])
    assert str(path) == f"{what}.png" and lines[-1].endswith(f"{what}.png")
    assert "tiny" in figure.get_suptitle() + "".join(ax.get_title(loc="left") for ax in figure.axes)
    if what != "architecture":
        assert f"{folder[1].n_params():,} parameters" in lines[0] and lines[0].count("parameters") == 1


def test_attention_of_very_many_heads_is_one_picture_per_band(folder, draw, monkeypatch):
    _, model, tokenizer = folder
    monkeypatch.setattr("numpygpt.plots.commands.attention.MAX_PANELS", 3 * 4 - 1)
    figure, _, lines = draw("attention", "--prompt", "The sky", "--pretrained", folder[0])
    weights = attention_weights(model, tokenizer.encode("The sky"))
    T = weights.shape[-1]
    panels = [ax for ax in figure.axes if ax.images]
    shown = panels[0].images[0].get_array()
    cell = shown.shape[0] // 4
    assert len(panels) == 1 and shown.shape == (4 * cell, 3 * cell) and cell > T
    for layer in range(3):
        for head in range(4):
            one = shown[head * cell : head * cell + T, layer * cell : layer * cell + T]
            assert abs(one.filled(0) - weights[layer, head]).max() < 1e-6
    assert any(f"{3 * 4} heads" in line for line in lines) and MAX_PANELS >= 144


def test_the_page_says_which_layers_it_leaves_out(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("numpygpt.inspection.explore.choose_layers", lambda *sizes: [0, 2])
    plot.main(["explore", "--pretrained", str(folder[0]), "--prompt", "The sky 🙂", "--out", str(tmp_path / "x.html")])
    lines = capsys.readouterr().out.splitlines()
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])
    assert data["layers"] == [0, 2] and data["heads"] == 4
    for words in (lines, data["facts"]):
        assert any("2 of 3 layers (0, 2)" in line for line in words)
    assert any(r"\xf0" in data["labels"][str(id)] or "🙂" in data["labels"][str(id)] for id in data["ids"])


def test_the_context_of_a_batch_fits_the_memory(folder, draw, monkeypatch):
    monkeypatch.setattr("numpygpt.plots.commands.gradients.MAX_BYTES", 200_000)
    _, _, lines = draw("gradients", "--text", "text", "--batch-size", 2, "--pretrained", folder[0])
    found = re.search(r"2 x (\d+) tokens", "\n".join(lines))
    assert 1 <= int(found[1]) < 64 and any("64 tokens" in line for line in lines)


@pytest.mark.parametrize(("arguments", "words"), [
    (["attention", "--prompt", "a", "runs/x"], "two models"), (["gradients"], "--text"),
    (["architecture", "--preset", "quick"], "--preset"), (["architecture", "--vocab-size", "3"], "--vocab-size"),
    (["attention", "--prompt", "a", "--layer", "3"], "0 to 2"),
    (["attention", "--prompt", "a", "--head", "4"], "0 to 3"),
])  # fmt: skip
def test_mistakes(folder, arguments, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        plot.main([*arguments, "--pretrained", str(folder[0])])
