"""Ranks that were started with different things are refused, with what differs and where."""

import threading
from argparse import Namespace

import numpy as np
import pytest
from tiny import make_data

from numpygpt.data import TokenDataset
from numpygpt.parallel.group import Group
from numpygpt.training.config import Config
from numpygpt.training.same import check_same, program, source_sha256, training


class Thread(Group):
    """A rank that is a thread of this process."""

    def __init__(self, rank, found, meeting):
        super().__init__()
        self.rank, self.size, self.found, self.meeting = rank, len(found), found, meeting

    def share(self, value):
        self.found[self.rank] = value
        self.meeting.wait(10)
        return list(self.found)


def refusals(*facts):
    """What each rank, which has these facts, is told; None if nothing."""
    found, meeting, told = [None] * len(facts), threading.Barrier(len(facts)), [None] * len(facts)

    def run(rank):
        try:
            check_same(Thread(rank, found, meeting), lambda: facts[rank])
        except ValueError as error:
            told[rank] = str(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(facts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_equal_facts_are_accepted_and_one_process_has_nothing_to_compare():
    assert refusals({"a": 1, "b": "x"}, {"b": "x", "a": 1}, {"a": 1, "b": "x"}) == [None] * 3
    check_same(Group(), None)


@pytest.mark.parametrize("other", [{"lr": 0.5}, {}, {"lr": 0.25, "clip": 3.0}], ids=str)
def test_all_ranks_are_told_what_differs_on_which_rank(other):
    told = refusals({"lr": 0.25}, {"lr": 0.25}, other)
    assert told[0] == told[1] == told[2]
    name = "clip" if "clip" in other else "lr"
    for word in (name, "rank 2", str(other.get(name)), str({"lr": 0.25}.get(name))):
        assert word in told[0]


def test_arguments_and_code_are_compared(tmp_path):
    assert program(Namespace(preset="quick")) == program(Namespace(preset="quick"))
    assert program(Namespace(preset="quick")) != program(Namespace(preset="char"))
    (tmp_path / "a.py").write_text("x = 1\n")
    before = source_sha256(tmp_path)
    (tmp_path / "b.py").write_text("")
    assert source_sha256(tmp_path) != before
    (tmp_path / "b.py").unlink()
    assert source_sha256(tmp_path) == before
    (tmp_path / "a.py").write_text("x = 2\n")
    assert source_sha256(tmp_path) != before


def test_data_are_compared_by_their_content_not_by_their_path(tmp_path):
    folders = [make_data(tmp_path / name) for name in "ab"]
    a, b = (TokenDataset.load(folder) for folder in folders)
    facts = [training(Config.of(data=str(d.folder), out=str(d.folder)), d) for d in (a, b)]
    assert facts[0] == facts[1]
    tokens = np.fromfile(folders[1] / "val.bin", a.val.dtype)
    tokens[-1] = tokens[0]
    tokens.tofile(folders[1] / "val.bin")
    differ = {name for name, value in training(Config.of(), b).items() if facts[0].get(name) != value}
    assert [name for name in differ if "val.bin" in name] and not [name for name in differ if "train.bin" in name]
    assert training(Config.of(lr=0.5), a)["setting lr"] == 0.5
