"""How a picture is written, and that drawing one leaves matplotlib's global state alone."""

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from numpygpt.plots import style


def picture():
    figure = style.new_figure()
    ax = figure.subplots()
    ax.plot([1, 2, 3])
    style.dress(ax, "Title", "x (m)", "y (s)")
    return figure


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG\r\n\x1a\n"), (".svg", b"<?xml"), (".pdf", b"%PDF-")])
def test_the_suffix_is_the_format_and_the_bytes_are_the_same_each_time(tmp_path, suffix, magic):
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file in files:
        style.save(picture(), file)
    assert files[0].read_bytes().startswith(magic)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_fails_while_it_is_drawn_leaves_the_picture_before_it(tmp_path, monkeypatch):
    style.save(picture(), tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    def half(figure, file, **options):
        with open(file, "wb") if isinstance(file, str | Path) else contextlib.nullcontext(file) as out:
            out.write(before[:100])
        raise MemoryError

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(MemoryError):
        style.save(picture(), tmp_path / "a.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.txt"])
def test_another_suffix_is_refused_with_the_list(tmp_path, name):
    with pytest.raises(ValueError):
        style.save(picture(), tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_png_is_wide_enough_for_a_readme_and_opaque(tmp_path):
    style.save(picture(), tmp_path / "a.png")
    pixels = image.imread(tmp_path / "a.png")
    assert pixels.shape[1] >= 1600
    assert pixels.shape[2] == 3 or pixels[..., 3].min() == 1
    assert pixels[0, 0, :3].tolist() == [1, 1, 1]


def contrast(colour):
    """WCAG's contrast of a colour to white."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)


def test_colours_are_distinct_and_words_legible_on_white():
    assert len(set(style.COLOURS)) == len(style.COLOURS) == 7
    assert min(map(contrast, style.COLOURS)) > 2
    assert contrast(style.INK) > 7 and contrast(style.GREY) > 4.5


def test_neither_importing_nor_drawing_touches_pyplot_or_the_backend(tmp_path):
    code = f"""
import sys, matplotlib
keys = [key for key in matplotlib.rcParams if key != "backend"]  # asking for that one makes matplotlib choose it
before = [matplotlib.rcParams[key] for key in keys]
import plot
from numpygpt.plots import style
figure = style.new_figure()
figure.subplots().plot([1, 2])
style.save(figure, {str(tmp_path / "a.svg")!r})
assert "matplotlib.pyplot" not in sys.modules
assert [matplotlib.rcParams[key] for key in keys] == before
print("clean")
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("clean\n", 0), done.stderr
