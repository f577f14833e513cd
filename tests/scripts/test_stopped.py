"""What ends a run from outside or from within, each with a good checkpoint; and a second run in the same folder."""

import errno
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import SIGNALS, script
from tiny import TINY, assert_same_run, make_data, train_module

from numpygpt.data import TokenDataset
from numpygpt.parallel.threads import DataParallel
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.failures import DataFiles, DataGone
from numpygpt.training.run import RunLoop
from numpygpt.training.trainer import Trainer
from numpygpt.utils import lock
from numpygpt.utils.lock import check_unlocked, locked
from numpygpt.utils.paths import ROOT, command

FILES = ["best.npz", "ckpt.npz", "config.toml", "metrics.jsonl", "samples.txt"]


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "data")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert script("train.py", *TINY, "--data", make_data(folder / "data"), "--out", folder / "run").returncode == 0
    return folder / "run"


@pytest.fixture(autouse=True)
def as_on_a_terminal():
    """SIGHUP and SIGINT as a terminal's programs have them, even if the tests were started in the background."""
    before = {s: signal.getsignal(s) for s in SIGNALS}
    for s in SIGNALS:  # the processes that a test starts inherit them
        signal.signal(s, signal.default_int_handler if s == signal.SIGINT else signal.SIG_DFL)
    yield
    for s, handler in before.items():
        signal.signal(s, handler)


def after_step(monkeypatch, step, action):
    """Do it once, when the given step is done."""
    update, done = RunLoop.update, []

    def wrapped(self, bar):
        update(self, bar)
        if self.trainer.step == step and not done:
            done.append(step)
            action()

    monkeypatch.setattr(RunLoop, "update", wrapped)


def saved_step(out):
    return load_checkpoint(Path(out) / "ckpt.npz").header["step"]


def one_line(done):
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_run_that_is_told_to_end_saves_and_goes_on(name, data, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen([sys.executable, ROOT / "train.py", *TINY, "--steps", "4000", "--data", data,
                                "--out", out], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    with process:
        for line in process.stdout:
            if " ms per step" in line:  # after 20 steps
                break
        process.send_signal(signal.Signals[name])
        text = process.stdout.read()
    assert process.returncode == 0, text
    step = saved_step(out)
    assert f"stopped after step {step:,} of 4,000 " in text and command("train.py", "--resume", out) in text
    assert 20 <= step < 4000 and sorted(os.listdir(out)) == FILES
    assert script("train.py", "--resume", out, "--steps", step + 1).returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_run_after_the_step_and_the_run_is_the_same(name, data, whole, tmp_path, monkeypatch):
    out, before = tmp_path / "run", signal.getsignal(signal.Signals[name])
    with monkeypatch.context() as patch:
        after_step(patch, 13, lambda: signal.raise_signal(signal.Signals[name]))
        done = script("train.py", *TINY, "--data", data, "--out", out)
    assert done.returncode == 0 and "stopped after step 13 of 30" in done.stdout
    assert saved_step(out) == 13 and signal.getsignal(signal.Signals[name]) == before
    assert script("train.py", "--resume", out).returncode == 0
    assert_same_run(out, whole)


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("step", [0, 20, 30])
def test_an_evaluation_is_given_up_and_made_by_the_run_that_goes_on(step, batches, data, whole, tmp_path, monkeypatch):
    out, plain, seen = tmp_path / "run", DataParallel.loss, []

    def loss(self, *args, **more):
        result = plain(self, *args, **more)
        if not self.model.training and step == calls_of_update[0]:
            seen.append(step)
            if len(seen) == batches:
                signal.raise_signal(signal.SIGINT)
        return result

    calls_of_update, update = [0], RunLoop.update

    def counted(self, bar):
        update(self, bar)
        calls_of_update[0] += 1

    with monkeypatch.context() as patch:
        patch.setattr(DataParallel, "loss", loss)
        patch.setattr(RunLoop, "update", counted)
        done = script("train.py", *TINY, "--data", data, "--out", out)
    assert done.returncode == 0 and (f"all {step} steps" if step == 30 else f"step {step} of 30") in done.stdout
    assert len(seen) == batches  # it has more
    assert saved_step(out) == step
    assert script("train.py", "--resume", out).returncode == 0
    assert_same_run(out, whole)


@pytest.mark.parametrize("name", [s.name for s in SIGNALS])
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(name, data, tmp_path, monkeypatch):
    """nohup ignores SIGHUP, and `train.py &` in a shell script ignores SIGINT."""
    number = signal.Signals[name]
    signal.signal(number, signal.SIG_IGN)
    after_step(monkeypatch, 13, lambda: signal.raise_signal(number))
    assert script("train.py", *TINY, "--data", data, "--out", tmp_path / "run").returncode == 0
    assert saved_step(tmp_path / "run") == 30 and signal.getsignal(number) == signal.SIG_IGN


def test_sigterm_does_not_make_an_ignored_ctrl_c_work(data, tmp_path, monkeypatch):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    after_step(monkeypatch, 13, lambda: (signal.raise_signal(signal.SIGTERM), signal.raise_signal(signal.SIGINT)))
    assert script("train.py", *TINY, "--data", data, "--out", tmp_path / "run").returncode == 0
    assert saved_step(tmp_path / "run") == 13


@pytest.mark.parametrize(("step", "saved"), [(3, 0), (13, 10)])
def test_a_second_ctrl_c_says_what_is_saved_and_how_to_resume(step, saved, data, whole, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        after_step(patch, step, lambda: (signal.raise_signal(signal.SIGINT), signal.raise_signal(signal.SIGINT)))
        train_module().main([*TINY, "--data", str(data), "--out", str(out)])
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"ckpt.npz of step {saved}:" in last and last.endswith(command("train.py", "--resume", out))
    assert script("train.py", "--resume", out).returncode == 0
    assert_same_run(out, whole)


def test_a_run_that_stops_before_its_first_evaluation_samples_what_it_has_learned(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    after_step(monkeypatch, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train_module().main([*TINY, "--data", str(data), "--out", str(out)]) == 0
    assert saved_step(out) == 5 and load_checkpoint(out / "best.npz").header["step"] == 0
    assert "ckpt.npz: step 5," in script("sample.py", out, "--max-new-tokens", 3).stderr


@pytest.mark.parametrize("fault", ["damaged", "missing"])
def test_a_checkpoint_that_cannot_be_resumed_leads_to_the_best_one(fault, data, whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    if fault == "damaged":
        os.truncate(out / "ckpt.npz", 1000)
    else:
        (out / "ckpt.npz").unlink()
    line = one_line(script("train.py", "--resume", out))
    words = shlex.split(line[line.index(command("train.py")):])
    assert words[1:4] == [str(out / "config.toml"), "--init-from", str(out / "best.npz")]
    done = script("train.py", *words[1:])  # the advice is a command that works
    assert done.returncode == 0, done.stderr
    assert saved_step(words[-1]) == 30


def test_a_second_run_in_the_folder_is_refused_and_changes_nothing(data, whole, tmp_path, monkeypatch):
    out, seen = tmp_path / "run", []

    def second():
        before = {path.name: path.read_bytes() for path in out.iterdir() if path.name != ".lock"}
        for arguments in (["--resume", out], [*TINY, "--data", data, "--out", out]):
            done = script("train.py", *arguments)
            assert done.stdout == ""  # at once, before any work
            seen.append(one_line(done))
        assert script("train.py", "--resume", out, "--dry-run").returncode == 0  # looking is free
        assert {path.name: path.read_bytes() for path in out.iterdir() if path.name != ".lock"} == before

    after_step(monkeypatch, 13, second)
    assert script("train.py", *TINY, "--data", data, "--out", out).returncode == 0
    assert len(seen) == 2 and all(f"{out} (process {os.getpid()})" in line for line in seen)
    assert sorted(os.listdir(out)) == FILES
    assert_same_run(out, whole)


def test_two_that_begin_at_one_moment_do_not_both_go_on(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr("numpygpt.training.start.check_unlocked", lambda folder: None)  # both have looked already
    with locked(out):
        assert "another run is" in one_line(script("train.py", *TINY, "--data", data, "--out", out))
    assert not out.exists()
    arguments = [*TINY, "--data", data, "--out", out]
    init = Trainer.__init__

    def late(self, *args):  # the other one begins and ends after this one has found the folder free
        init(self, *args)
        monkeypatch.setattr(Trainer, "__init__", init)
        assert script("train.py", *arguments).returncode == 0

    monkeypatch.setattr(Trainer, "__init__", late)
    assert command("train.py", "--resume") in one_line(script("train.py", *arguments, "--seed", 5))
    assert saved_step(out) == 30 and "seed = 1337 " in (out / "config.toml").read_text(encoding="utf-8")


def test_a_lock_is_held_once_and_leaves_nothing(tmp_path):
    out = tmp_path / "a" / "b"
    with locked(out) as note:
        assert note == "" and os.listdir(out) == [".lock"]
        with pytest.raises(ValueError, match=rf"b \(process {os.getpid()}\)"), locked(out):
            pass
        with pytest.raises(ValueError):
            check_unlocked(out)
    assert os.listdir(tmp_path / "a") == []
    (tmp_path / ".lock").write_text("4194304")  # of a run that was killed
    check_unlocked(tmp_path)
    assert (tmp_path / ".lock").read_text() == "4194304"
    with locked(tmp_path):
        (tmp_path / "x").write_text("")
    assert sorted(os.listdir(tmp_path)) == ["a", "x"]


def test_a_missing_data_folder_is_reported_before_an_active_run(tmp_path):
    with locked(tmp_path / "run"):
        line = one_line(script("train.py", *TINY, "--data", tmp_path / "nope", "--out", tmp_path / "run"))
    assert str(tmp_path / "nope") in line


def test_a_lock_says_who_holds_it_and_leaves_a_folder_that_was_there(tmp_path):
    (tmp_path / ".lock").write_text("4194304" * 9)  # of a run that was killed
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
    assert os.listdir(tmp_path) == [] and tmp_path.is_dir()


@pytest.mark.parametrize("another", [False, True], ids=["gone", "another"])
def test_a_lock_that_was_removed_in_between_is_taken_anew(tmp_path, monkeypatch, another):
    path, plain, calls = tmp_path / ".lock", lock._lock, []

    def removed(handle):  # the first time, the run that had it ends between our opening and our locking
        calls.append(handle)
        plain(handle)
        if len(calls) == 1:
            path.unlink()
            if another:
                path.write_text("")  # and a third run makes its own

    monkeypatch.setattr(lock, "_lock", removed)
    with locked(tmp_path):
        assert len(calls) == 2 and path.exists()
        with pytest.raises(ValueError):
            check_unlocked(tmp_path)


def test_a_disk_without_locks_gets_a_note_and_the_run(data, tmp_path, monkeypatch):
    def none(handle):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", none)
    done = script("train.py", *TINY, "--data", data, "--out", tmp_path / "run")
    assert done.returncode == 0 and f"note: the disk of {tmp_path / 'run'}" in done.stdout
    assert sorted(os.listdir(tmp_path / "run")) == FILES


@pytest.mark.parametrize("method", ["loss", "backward"])
def test_memory_that_is_used_up_ends_with_a_sentence_and_a_good_checkpoint(method, data, whole, tmp_path, monkeypatch):
    out, plain, on = tmp_path / "run", getattr(DataParallel, method), []

    def wrapped(self, *args, **more):
        if on:
            raise MemoryError("Unable to allocate 3.00 GiB")
        return plain(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(DataParallel, method, wrapped)
        after_step(patch, 13, lambda: on.append(True))
        line = one_line(script("train.py", *TINY, "--data", data, "--out", out))
    assert "3.00 GiB" in line
    assert "ckpt.npz of step 10" in line and command("train.py", "--resume", out) in line
    assert saved_step(out) == 10
    assert script("train.py", "--resume", out).returncode == 0
    assert_same_run(out, whole)


def test_a_loss_that_is_not_finite_later_on_keeps_the_checkpoint_before(data, whole, tmp_path, monkeypatch):
    out, plain, on = tmp_path / "run", DataParallel.loss, []
    with monkeypatch.context() as patch:
        patch.setattr(DataParallel, "loss",
                      lambda self, *args, **more: plain(self, *args, **more) * (math.nan if on else 1))
        after_step(patch, 13, lambda: on.append(True))
        line = one_line(script("train.py", *TINY, "--data", data, "--out", out))
    assert "step 14" in line and "not finite" in line and "ckpt.npz of step 10" in line
    assert saved_step(out) == 10
    assert script("train.py", "--resume", out).returncode == 0
    assert_same_run(out, whole)


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("change", ["removed", "cut"])
def test_a_data_file_that_goes_ends_the_run_with_the_step_saved(part, change, data, whole, tmp_path, monkeypatch):
    out, path = tmp_path / "run", data / f"{part}.bin"
    content = path.read_bytes()
    with monkeypatch.context() as patch:
        after_step(patch, 13, path.unlink if change == "removed" else lambda: os.truncate(path, len(content) - 2))
        line = one_line(script("train.py", *TINY, "--data", data, "--out", out))
    fault = ("cannot be read any more (No such file or directory)" if change == "removed" else
             f"has changed from {len(content):,} to {len(content) - 2:,} bytes")
    assert f"{path} {fault}" in line and f"The last good checkpoint is {out / 'ckpt.npz'} of step 13" in line
    assert saved_step(out) == 13
    assert path.name in one_line(script("train.py", "--resume", out))
    path.write_bytes(content)
    assert script("train.py", "--resume", out).returncode == 0
    assert_same_run(out, whole)


def test_the_files_are_looked_at_before_each_batch(data):
    files = DataFiles(TokenDataset.load(data))
    batches = files.checked(iter([1, 2, 3]))
    assert next(batches) == 1
    os.truncate(data / "val.bin", 0)
    with pytest.raises(DataGone, match=r"val\.bin"):
        next(batches)
    with pytest.raises(DataGone):
        next(files.checked(iter([1])))


@pytest.mark.skipif(os.name != "posix", reason="SIGBUS")
def test_a_file_that_is_emptied_while_it_is_evaluated_does_not_end_the_process_by_a_signal(data, tmp_path):
    code = ("import os, runpy, sys; from numpygpt.parallel import DataParallel as D; plain, count = D.loss, []\n"
            "def loss(self, *args, **more):\n"
            "    count.append(1); len(count) == 3 and os.truncate(path, 0); return plain(self, *args, **more)\n"
            "D.loss = loss; path = sys.argv.pop(); sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')")
    done = subprocess.run([sys.executable, "-c", code, ROOT / "train.py", *TINY, "--data", data, "--out",
                           tmp_path / "run", data / "val.bin"], capture_output=True, encoding="utf-8",
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert "val.bin" in one_line(done) and saved_step(tmp_path / "run") == 0
