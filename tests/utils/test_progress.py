"""Progress bars: seen on a terminal, gone when they are done, and nothing at all in a log file."""

import io
import sys

import pytest

from numpygpt.utils.progress import ProgressBars


class Screen(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_bars(monkeypatch, terminal):
    monkeypatch.setattr(sys, "stderr", Screen(terminal))
    with ProgressBars() as bars:
        bars("asking", 0, 0)
        for done in range(0, 30_001, 10_000):
            bars("downloading", done, 30_000)
        bars("learning merges", 1, 2)
    shown = sys.stderr.getvalue()
    if not terminal:
        assert shown == ""
        return
    expected = ("asking ...", "downloading:", "29.3k", "learning merges:", "/2")
    assert [word for word in expected if word not in shown] == []
    assert shown.rsplit("\r", 2)[-2].strip() == "" and shown.endswith("\r")  # the last bar was wiped away


def test_no_use_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Screen(True))
    with ProgressBars():
        pass
    assert sys.stderr.getvalue() == ""
