"""metrics.jsonl: what is written is read back, a resumed run has every step once, and damage is told from a cut."""

import json
import math
import tracemalloc

import numpy as np
import pytest

from numpygpt.training.metrics import MetricsLog, read_metrics


def write(path, steps, every=4, resume_step=None):
    with MetricsLog(path, resume_step) as log:
        for step in steps:
            log.log("train", step, tokens=step * 10, seconds=step / 4, loss=1 / step, grad_norm=1.0, lr=1e-3)
            if step % every == 0:
                log.log("eval", step, tokens=step * 10, seconds=step / 4, val_loss=2 / step)
            if step % 3 == 0:
                log.log("trace", step, tokens=step * 10, seconds=step / 4, **{"grad/wte.W": 3 / step})


def row(kind="train", **changes):
    loss = "val_loss" if kind == "eval" else "loss"
    return {"kind": kind, "step": 1, "tokens": 10, "seconds": 0.5, loss: 2.0} | changes


def test_columns_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 11))
    metrics = read_metrics(path)
    assert metrics.train["step"].tolist() == list(range(1, 11))
    assert metrics.train["tokens"].dtype == np.int64
    np.testing.assert_array_equal(metrics.train["loss"], 1 / np.arange(1, 11))
    assert metrics.eval["step"].tolist() == [4, 8]
    np.testing.assert_array_equal(metrics.eval["val_loss"], [0.5, 0.25])
    assert metrics.trace["step"].tolist() == [3, 6, 9]
    np.testing.assert_array_equal(metrics.trace["grad/wte.W"], [1, 0.5, 1 / 3])
    assert "loss" not in metrics.eval and "val_loss" not in metrics.train and "grad/wte.W" not in metrics.train


def test_numpy_scalars_are_written_as_plain_numbers(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.log("train", np.int64(3), tokens=np.uint32(7), seconds=np.float64(0.5), loss=np.float32(0.25))
    assert json.loads(path.read_text()) == {"kind": "train", "step": 3, "tokens": 7, "seconds": 0.5, "loss": 0.25}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_what_is_not_finite_is_strict_json_and_reads_back_as_nan(tmp_path, value):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.log("train", 1, tokens=1, seconds=0.1, loss=value)
    assert '"loss": null' in path.read_text()
    assert np.isnan(read_metrics(path).train["loss"]).tolist() == [True]


def test_unknown_numbers_are_kept_with_nan_where_a_row_lacks_them(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.log("train", 1, tokens=1, seconds=0.1, loss=3.0)
        log.log("train", 2, tokens=2, seconds=0.2, loss=2.0, norm_block_0=0.7)
        log.log("train", 3, tokens=3, seconds=0.3, loss=1.0)
    np.testing.assert_array_equal(read_metrics(path).train["norm_block_0"], [np.nan, 0.7, np.nan])


def test_rows_reach_the_file_at_flush(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.log("train", 1, tokens=1, seconds=0.1, loss=3.0)
    assert path.read_text() == ""
    log.flush()
    assert len(path.read_text().splitlines()) == 1
    log.log("train", 2, tokens=2, seconds=0.2, loss=2.0)
    log.close()
    log.close()  # a second close is no error
    assert read_metrics(path).train["step"].tolist() == [1, 2]


def test_an_empty_file_has_no_rows(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.touch()
    metrics = read_metrics(path)
    assert metrics.train["loss"].shape == metrics.eval["val_loss"].shape == (0,)


def test_a_file_without_traces_has_an_empty_table_of_them(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(row()) + "\n" + json.dumps(row("eval")) + "\n")
    trace = read_metrics(path).trace
    assert {name: column.shape for name, column in trace.items()} == {"step": (0,), "tokens": (0,), "seconds": (0,)}
    assert trace["step"].dtype == np.int64


def test_what_a_trace_lacks_or_found_not_finite_is_nan(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.log("trace", 1, tokens=1, seconds=0.1, **{"update/b": math.nan})
        log.log("trace", 2, tokens=2, seconds=0.2, **{"update/b": 0.5, "out_std/wte": 1.5})
    trace = read_metrics(path).trace
    np.testing.assert_array_equal(trace["update/b"], [np.nan, 0.5])
    np.testing.assert_array_equal(trace["out_std/wte"], [np.nan, 1.5])


def test_a_new_log_refuses_a_file_with_rows_and_leaves_it_alone(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, [1, 2])
    before = path.read_bytes()
    with pytest.raises(ValueError):
        MetricsLog(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("killed_at", [6, 7, 8, 11])
def test_a_resumed_file_equals_one_that_was_never_interrupted(tmp_path, killed_at):
    write(tmp_path / "whole.jsonl", range(1, 13))
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, killed_at + 1))
    with open(path, "a") as file:
        file.write('{"kind": "train", "step": 12, "tok')  # the kill came in the middle of a line
    write(path, range(7, 13), resume_step=6)
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []


def test_resuming_knows_the_last_steps_and_needs_no_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 11))
    with MetricsLog(path, resume_step=9) as log:
        assert log.last == {"train": 9, "eval": 8, "trace": 9}
    with MetricsLog(tmp_path / "gone.jsonl", resume_step=9) as log:
        assert log.last == {"train": -1, "eval": -1, "trace": -1}


def test_a_whole_last_row_without_its_newline_is_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, [1, 2])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert read_metrics(path).train["step"].tolist() == [1, 2]
    write(path, [3], resume_step=2)
    assert read_metrics(path).train["step"].tolist() == [1, 2, 3]


def test_every_cut_of_the_last_line_is_tolerated(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, [1, 2])
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for end in range(second, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert read_metrics(path).train["step"].tolist() == [1]
    path.write_bytes(whole[:second] + b"\0" * 20)  # what some file systems leave after a power cut
    assert read_metrics(path).train["step"].tolist() == [1]


@pytest.mark.parametrize("line", [b"", b"{", b'{"kind": "tr', b"\xff\xfe", b"[" * 100_000, b'{"loss": NaN}'])
def test_a_broken_line_elsewhere_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    good = json.dumps(row()).encode()
    path.write_bytes(good + b"\n" + line + b"\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl.*2"):
        read_metrics(path)
    with pytest.raises(ValueError, match="2"):
        MetricsLog(path, resume_step=1)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([1, 2], "object"),
        (row("test"), "'test'.*train, eval, trace"),
        ({"kind": "trace", "step": 1, "tokens": 1}, "seconds missing"),
        (row(kind=["train"]), "kind is"),
        ({"kind": "train", "step": 1}, "tokens, seconds, loss missing"),
        (row("eval", step=True), "step is True"),
        (row(step=1.5), "step is 1.5"),
        (row(step=-1), "step is -1"),
        (row(step=None), "step is None"),
        (row(tokens=2**63), "tokens is 9"),
        (row(seconds=None), "seconds is None"),
        (row(seconds=-1), "seconds is -1"),
        (row(loss="2.0"), "loss is '2.0'"),
        (row(loss=True), "loss is True"),
        (row(note="warm"), "note is 'warm'"),
        (row(loss=10**400), "loss is 1"),
    ],
)
def test_a_row_that_is_no_row_is_refused_with_its_line_and_reason(tmp_path, bad, said):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(row(step=0)) + "\n" + json.dumps(bad))  # no newline: whole JSON is still no cut
    with pytest.raises(ValueError, match=f"2.*{said}"):
        read_metrics(path)


def test_a_number_beyond_the_floats_is_refused(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(row()).replace("2.0", "1e999") + "\n")
    with pytest.raises(ValueError, match="1"):
        read_metrics(path)


def test_a_step_that_goes_back_is_refused_when_read_and_when_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(row(step=5)) + "\n" + json.dumps(row(step=5)) + "\n")
    with pytest.raises(ValueError, match="2.*5.*5"):
        read_metrics(path)
    with MetricsLog(tmp_path / "other.jsonl") as log:
        log.log("train", 5, tokens=1, seconds=0.1, loss=1.0)
        log.log("eval", 5, tokens=1, seconds=0.1, val_loss=1.0)  # another kind has steps of its own
        with pytest.raises(ValueError, match="4.*5"):
            log.log("train", 4, tokens=1, seconds=0.1, loss=1.0)
        log.log("trace", 5, tokens=1, seconds=0.1)
        with pytest.raises(ValueError, match="5.*5"):
            log.log("trace", 5, tokens=1, seconds=0.1)
    assert read_metrics(tmp_path / "other.jsonl").train["step"].tolist() == [5]


def test_a_row_that_could_not_be_read_back_is_not_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        for kind, values in [("train", {"loss": 1.0}), ("test", {}), ("eval", {"val_loss": "low"})]:
            with pytest.raises(ValueError):
                log.log(kind, 1, tokens=1, **values)
    assert path.read_bytes() == b""


class FullDisk:
    """A file that takes `room` bytes more and then has no space left, as a disk does."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if self.room == 0:
            raise OSError(28, "No space left on device")
        done = self.file.write(data[: self.room])
        self.room -= done
        return done

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_full_disk_leaves_no_half_row_and_loses_none(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.log("train", 1, tokens=1, seconds=0.1, loss=3.0)
    log.flush()
    log.log("train", 2, tokens=2, seconds=0.2, loss=2.0)
    real, log._file = log._file, FullDisk(log._file, room=20)
    with pytest.raises(OSError, match="No space"):
        log.flush()
    assert read_metrics(path).train["step"].tolist() == [1]
    assert path.read_bytes().endswith(b"\n")
    log._file = real
    log.close()
    assert read_metrics(path).train["step"].tolist() == [1, 2]


@pytest.mark.parametrize(("line", "said"), [
    (b"x" * (1 << 22), "4,194,304"),
    (b'{"kind": "train", "step": 1, "tokens": 1, "seconds": 1, "loss": 1, "a\\nb": 1}', "'a\\nb'"),
    (b'{"kind": "train", "step": 1, "tokens": 1, "seconds": 1, "loss": 1' + b"0" * 400 + b"}",
     "loss is 1"),
    (b'{"kind": "train", "step": ' + b"1" * 5000 + b"}", "line 1"),
    (b"[" * 100_000, "line 1"),
    (b"\xef\xbb\xbf{}", "line 1"),
    (b"\0", "line 1"),
], ids=lambda value: repr(value)[:40])
def test_a_line_from_a_stranger_is_one_sentence(tmp_path, line, said):
    (tmp_path / "m.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ValueError) as caught:
        read_metrics(tmp_path / "m.jsonl")
    message = str(caught.value)
    assert said in message and "m.jsonl" in message and "\n" not in message and len(message) < 400


def test_a_small_file_does_not_ask_for_much_memory(tmp_path):
    """A new name in each of 2,000 rows would be columns of 4,000,000 numbers, from 200 kB."""
    row = '{{"kind": "trace", "step": {0}, "tokens": 1, "seconds": 1, "name{0}": 1}}\n'
    (tmp_path / "m.jsonl").write_text("".join(row.format(step) for step in range(2000)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"m\.jsonl"):
            read_metrics(tmp_path / "m.jsonl")
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    (tmp_path / "m.jsonl").write_text("".join(row.format(step) for step in range(500)))
    assert len(read_metrics(tmp_path / "m.jsonl").trace) == 503  # step, tokens, seconds and the names
