"""What --score and --prompt-file read: a text as it is, and no more than a bound."""

import io
import sys
from types import SimpleNamespace

import pytest

from numpygpt.inspection import score

MOST = 3 << 20


class Endless(io.RawIOBase):
    """Standard input that a device without an end was put to."""

    given = 0

    def read(self, size=-1):
        assert 0 < size and self.given <= MOST, "more is read than was asked for"
        self.given += size
        return b"\0" * size


@pytest.fixture(autouse=True)
def bound(monkeypatch):
    monkeypatch.setattr(score, "MOST_TEXT", MOST)


def test_a_text_comes_as_it_is(tmp_path):
    text = "Größe\r\n日本語 \ufeff\0" * 60_000
    assert MOST * 0.4 < len(text.encode()) < MOST
    (tmp_path / "text").write_bytes(text.encode())
    assert score.read_text(str(tmp_path / "text")) == text


@pytest.mark.parametrize("extra", [0, 1])
def test_a_file_has_a_bound(tmp_path, extra):
    path = tmp_path / "text"
    path.write_bytes(b"x" * (MOST + extra))
    if extra:
        with pytest.raises(ValueError, match="^the prompt is longer than 3,145,728 bytes: give a part of .*text$"):
            score.read_text(str(path), "the prompt")
    else:
        assert len(score.read_text(str(path), "the prompt")) == MOST


def test_what_has_no_end_is_stopped(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Endless()))
    with pytest.raises(ValueError, match="the text is longer than 3,145,728 bytes: give a part of -"):
        score.read_text("-")
