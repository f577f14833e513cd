"""A place for files, one for each module: hypothesis runs all cases of a test inside one call."""

import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    damage = pytest.importorskip("damage")
    monkeypatch.chdir(tmp_path)  # a file that is written beside the working folder is seen too
    (tmp_path / "in" / "side").mkdir(parents=True)
    return damage.Place(tmp_path)
