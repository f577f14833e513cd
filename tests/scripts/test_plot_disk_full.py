"""A picture or page that does not fit on the disk leaves the one before it whole, and is named."""

import pytest
from running import script
from test_disk_full import contents, largest_file
from tiny import TINY, make_data

LIMIT = 4096


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots")
    assert script("train.py", *TINY, "--data", make_data(folder / "data"), "--out", folder / "run").returncode == 0
    return folder / "run"


@pytest.mark.parametrize(("words", "name"), [
    (["curves"], "x.png"), (["curves"], "x.svg"), (["architecture"], "x.pdf"),
    (["explore", "--prompt", "To"], "x.html"),
])
def test_the_file_before_stays_whole(run, words, name, tmp_path):
    for before in ({}, {name: b"what was there before"}):
        for file, content in before.items():
            (tmp_path / file).write_bytes(content)
        with largest_file(LIMIT):
            done = script("plot.py", words[0], run, *words[1:], "--out", name, cwd=tmp_path)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith(f"plot.py: error: {name} could not be written: File too large"), done.stderr
        assert done.stderr.count("\n") == 1
        assert contents(tmp_path) == before
    done = script("plot.py", words[0], run, *words[1:], "--out", name, cwd=tmp_path)
    assert done.returncode == 0 and list(contents(tmp_path)) == [name]
    assert (tmp_path / name).stat().st_size > LIMIT
