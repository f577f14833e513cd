"""The benchmark of threads against ranks runs every form that is installed, on a case that takes a moment."""

import pytest

from benchmarks import ranks
from benchmarks.cases import Case

TINY = Case("tiny", 4, 8, 8, 2, 1, 11, (), seconds=0.01)


@pytest.mark.parametrize("form", [ranks.RANKS, pytest.param(ranks.DDP, marks=pytest.mark.slow)])
def test_a_form_takes_turns_with_the_threads(form, monkeypatch):
    if not ranks.installed(form):
        pytest.skip(f"{form} is not installed")
    monkeypatch.setattr(ranks, "FORMS", (ranks.THREADS, form))
    monkeypatch.setattr(ranks, "PATIENCE", 60.0)
    turns = ranks.measure(TINY, rounds=2)
    assert list(turns) == [ranks.THREADS, form] and all(len(found) == 2 for found in turns.values())
    assert all(turn["ms"] > 0 and turn["MB"] > 10 for found in turns.values() for turn in found)


def test_a_form_that_cannot_start_is_an_error_and_leaves_no_process(monkeypatch):
    monkeypatch.setattr(ranks, "FORMS", (ranks.THREADS,))
    monkeypatch.setattr(ranks, "start", lambda case, form, folder: [
        ranks.subprocess.Popen([ranks.sys.executable, "-c", "raise SystemExit(3)"])])
    with pytest.raises(RuntimeError):
        ranks.measure(TINY, rounds=1)


def test_ratios_are_those_of_turns_next_to_each_other():
    def turns(times, memory):
        return [{"ms": ms, "MB": memory, "communication": 1.0} for ms in times]

    found = {ranks.THREADS: turns([10.0, 20.0, 30.0], 100.0), ranks.RANKS: turns([5.0, 20.0, 24.0], 75.0)}
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in ranks.table(TINY, found)]
    assert [line[:4] for line in cells] == [
        ["tiny", "threads", "20 ms", ""], ["tiny", "ranks", "20 ms", "0.80 (0.50 to 1.00)"]]
    assert cells[1][4] == "" and cells[1][-1] == "0.75"
