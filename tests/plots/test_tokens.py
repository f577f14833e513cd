"""The picture of a text coloured by loss: what stands where, in which colour, and no text that breaks it."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import Normalize
from running import script

import plot
from numpygpt.inspection.score import score, score_text
from numpygpt.plots import style
from numpygpt.plots.commands.tokens import MAX_COLUMNS, draw_tokens, lay_out, scale_top, size
from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer
from numpygpt.training.checkpoint import save_checkpoint
from numpygpt.training.restore import restore

TEXT = "to be, or\n\nnot to be: $x_1$\\ to\tbe\n"
WILD = "日本 😀 שלום é\u0301 \u202e\x1b[2J नमस्ते $\\frac{1}$ ok\n"


def picture(make_gpt, text, tokenizer=None, most=28):
    tokenizer = tokenizer or CharTokenizer().train(text)
    model = make_gpt(vocab_size=tokenizer.vocab_size)
    ids = tokenizer.encode_array(text)
    page = lay_out(tokenizer, ids, most)
    found = score_text(model, tokenizer, text, ids[: page.count])
    figure = style.new_figure(size(page))
    draw_tokens(figure, page, found, "title $1", "words $2")
    return figure, page, found


def written(figure):
    """The signs on the page by their place, and each one's text."""
    return {(round(t.get_position()[0], 2), round(t.get_position()[1], 2)): t for t in figure.axes[0].texts}


def test_letters_stand_in_lines_as_the_text_has_them(make_gpt):
    figure, page, _ = picture(make_gpt, "ab\nba")
    places = {place: text.get_text() for place, text in written(figure).items()}
    assert places == {(0.5, 0.5): "a", (1.5, 0.5): "b", (2.5, 0.5): "⏎", (0.5, 1.5): "b", (1.5, 1.5): "a"}
    assert (len(page.lines), page.count, page.numbered) == (2, 5, False)


def test_each_token_has_a_box_in_the_colour_of_its_loss(make_gpt):
    figure, _, found = picture(make_gpt, TEXT)
    (boxes,) = figure.axes[0].collections
    figure.draw_without_rendering()
    norm = Normalize(0, scale_top(found.bits))
    expected = matplotlib.colormaps["magma_r"](norm(found.bits[1:]))
    assert len(boxes.get_paths()) == len(TEXT)
    np.testing.assert_allclose(boxes.get_facecolors()[1:], expected)
    np.testing.assert_array_equal(boxes.get_facecolors()[0], [1, 1, 1, 1])  # what was not predicted is white
    assert figure.axes[1].get_xlim() == (0, norm.vmax)


def test_letters_can_be_read_on_their_boxes(make_gpt):
    figure, _, _ = picture(make_gpt, TEXT)
    signs = [text for _, text in sorted(written(figure).items(), key=lambda item: (item[0][1], item[0][0]))]
    boxes = figure.axes[0].collections[0]
    figure.draw_without_rendering()
    for text in signs:
        x, y = text.get_position()
        at = next(i for i, path in enumerate(boxes.get_paths()) if path.contains_point((x, y)))
        light = boxes.get_facecolors()[at][:3] @ [0.2126, 0.7152, 0.0722]
        assert text.get_color() == ("white" if light < 0.5 else style.INK)
    assert {text.get_color() for text in signs} == {"white", style.INK}


def test_long_lines_are_wrapped_and_long_texts_cut(make_gpt):
    text = "abcab" * 50
    _, page, _ = picture(make_gpt, text, most=2)
    assert [sum(len(part) for _, part in line) for line in page.lines] == [MAX_COLUMNS, MAX_COLUMNS]
    assert page.count == 2 * MAX_COLUMNS
    _, page, found = picture(make_gpt, "a\nb\nc\n", most=2)
    assert page.count == 4 == len(found.bits)
    assert lay_out(CharTokenizer().train("a"), np.array([], np.int64), 5).count == 0


def test_words_keep_the_space_that_has_no_token(make_gpt):
    tokenizer = WordTokenizer().train("the cat sat")
    figure, _, _ = picture(make_gpt, "the cat sat", tokenizer)
    (boxes,) = figure.axes[0].collections
    spans = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in boxes.get_paths()]
    assert spans == [(0, 3), (4, 7), (8, 11)]


@pytest.mark.parametrize("make", [
    lambda: CharTokenizer().train(WILD), lambda: WordTokenizer().train(WILD),
    lambda: BPETokenizer().train(WILD, vocab_size=280),
])
def test_no_text_gives_a_warning_or_a_formula(make_gpt, tmp_path, make):
    figure, page, _ = picture(make_gpt, WILD, make())
    style.save(figure, tmp_path / "a.png")  # warnings are errors
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "$" in texts and not any(text.get_parse_math() for text in figure.axes[0].texts)
    assert "日" not in "".join(texts) and "\x1b" not in "".join(texts)
    if not isinstance(make(), BPETokenizer):
        assert page.numbered and r"\u65e5" in texts


# -- as it is typed


@pytest.fixture
def run(tmp_path, make_gpt):
    tokenizer = CharTokenizer().train(TEXT + "日é")
    model = make_gpt(vocab_size=tokenizer.vocab_size, dtype="float32")
    header = {"model": model.config.to_dict(), "tokenizer": tokenizer.to_dict(), "step": 7, "data": {"corpus": "x"},
              "last": {},
              "best": {}, "config": {}}
    folder = tmp_path / "run$日"
    folder.mkdir()
    save_checkpoint(folder / "best.npz", header, {f"model/{name}": p for name, p in model.params().items()})
    return folder


def test_the_picture_goes_beside_the_checkpoint_with_its_numbers(run, tmp_path, capsys):
    (tmp_path / "a_$日.txt").write_text(TEXT, encoding="utf-8", newline="")
    plot.main(["tokens", str(tmp_path / "a_$日.txt"), str(run)])
    assert (run / "tokens.png").read_bytes().startswith(b"\x89PNG")
    model, tokenizer, _ = restore(run)
    losses = score(model, tokenizer.encode_array(TEXT)).astype(np.float64)
    bits = losses.mean() / np.log(2)
    lines = capsys.readouterr().out
    assert f"{losses.mean():.3f} nats = {bits:.2f} bits per token, {bits:.2f} bits per byte" in lines
    assert str(len(TEXT)) in lines


def test_a_long_text_is_cut_and_the_numbers_are_those_of_what_is_shown(run, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("to be\n" * 9, encoding="utf-8", newline="")
    plot.main(["tokens", str(tmp_path / "a.txt"), str(run), "--lines", "3", "--out", str(tmp_path / "b.svg")])
    model, tokenizer, _ = restore(run)
    loss = score(model, tokenizer.encode_array("to be\n" * 3)).mean()
    lines = capsys.readouterr().out
    assert f"{loss:.3f} nats" in lines
    assert all(number in lines for number in ("3 lines", "18", "54"))
    assert (tmp_path / "b.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert not (run / "tokens.png").exists()


def test_a_character_that_the_font_lacks_is_numbered_and_said(run, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("to 日é be", encoding="utf-8", newline="")
    plot.main(["tokens", str(tmp_path / "a.txt"), str(run)])
    assert "font" in capsys.readouterr().out


@pytest.mark.parametrize(("content", "flags", "words"), [
    (b"", [], "0"), (b"t", [], "1"), (b"\xff", [], "UTF-8"),
    (b"ZZ", [], r"'Z' \(2\)"), (b"to be", ["--lines", "0"], "--lines.*200.*0"),
    (b"to be", ["--lines", "201"], "201"),
])
def test_what_cannot_be_drawn_is_one_line(run, tmp_path, content, flags, words):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        plot.main(["tokens", str(tmp_path / "a.txt"), str(run), *flags])


def test_the_script_reads_standard_input(run):
    done = script("plot.py", "tokens", "-", run, text="to be")
    assert (done.returncode, done.stderr) == (0, "") and "standard input" in done.stdout
    done = script("plot.py", "tokens", "gone.txt", run)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "gone.txt" in done.stderr
