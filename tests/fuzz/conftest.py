"""One folder per test: hypothesis runs all cases of a test in one call."""

import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    damage = pytest.importorskip("damage")
    monkeypatch.chdir(tmp_path)  # so that files written to the working folder are noticed too
    (tmp_path / "in" / "side").mkdir(parents=True)
    return damage.Place(tmp_path)
