"""Numbers, samples and pictures reach TensorBoard and wandb as they are, each once, and nothing else changes."""

import html
import json
import math
import os
import random
import signal
import struct
import subprocess
import sys
import time
import types

import numpy as np
import pytest

import train
from numpygpt.training.config import Config
from numpygpt.training.loggers import WeightsAndBiases, check_logger, open_loggers
from numpygpt.training.metrics import MetricsLog
from numpygpt.utils.paths import ROOT

TEXT = "a <b>bold</b> move\n\n    & *so on*, ß\n"


def png(path):
    from numpygpt.plots.style import new_figure, save

    figure = new_figure((2, 1))
    figure.add_subplot().plot([1, 2])
    save(figure, path)
    return path


def session(config, out, step, last, factor=1.0, picture=None):
    """One session of a run: what a run gives its loggers from `step` (done already, if not 0) to `last`."""
    rows = []
    check_logger(config.log)
    with open_loggers(config, out, step) as loggers, MetricsLog(out / "metrics.jsonl", step or None) as log:
        def record(kind, at, **values):
            values = {"tokens": 8 * at, "seconds": at / 3, **values}
            log.log(kind, at, **values)
            rows.append((kind, at, values))
            for logger in loggers:
                logger.metrics(kind, at, values)

        for at in range(step + bool(step), last + 1):
            if at:
                record("train", at, loss=factor / at, grad_norm=math.nan if at == 3 else at * 1.1, lr=3e-4)
            if at % 2 == 0:
                record("eval", at, val_loss=factor * 2 / (at + 1), perplexity=math.exp(2 / (at + 1)))
                for logger in loggers:
                    logger.sample(at, f"{TEXT}{at}")
        for logger in loggers:
            if picture:
                logger.picture("curves", last, picture)
    return rows


def logged(out):
    """{kind/name: [(step, value)]} of metrics.jsonl; null is nan."""
    found = {}
    for line in (out / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        kind, step = row.pop("kind"), row.pop("step")
        for name, value in row.items():
            found.setdefault(f"{kind}/{name}", []).append((step, math.nan if value is None else value))
    return found


def same(got, expected):
    """Equal numbers at equal steps, nan being equal to nan."""
    assert [step for step, _ in got] == [step for step, _ in expected]
    np.testing.assert_array_equal([value for _, value in got], [value for _, value in expected])


# -- without the packages ----------------------------------------------------------------------------------------------


class FakeWandb(types.ModuleType):
    """Keeps what it is told. As the real one does, it refuses a step that is lower than one before."""

    class Error(Exception):
        pass

    def __init__(self, mode="online", account=True, fails="", starting_step=0):
        super().__init__("wandb")
        self.mode, self.account, self.fails, self.starting_step = mode, account, fails, starting_step
        self.rows, self.inits, self.logins, self.finished = [], [], [], 0
        self.Settings = lambda **settings: settings
        self.Html = lambda text, inject: ("html", text, inject)
        self.Image = lambda path: ("image", path)

    def setup(self, settings):
        assert settings == {"silent": True}
        return types.SimpleNamespace(settings=types.SimpleNamespace(mode=self.mode))

    def login(self, **how):
        self.logins.append(how)
        if self.fails == "login":
            raise self.Error("no such host\nwhile retrying.")
        return self.account

    def init(self, **how):
        if self.fails == "init":
            raise self.Error("timed out")
        self.inits.append(how)
        self.url, self.offline = "https://wandb.test/run", False
        return self

    def log(self, row, step):
        if self.fails == "log":
            raise ConnectionResetError("Connection lost")
        assert not self.rows or step > self.rows[-1][0]
        self.rows.append((step, dict(row)))

    def finish(self):
        if self.fails == "finish":
            raise self.Error("no answer")
        self.finished += 1


@pytest.fixture
def fake(monkeypatch):
    def install(**how):
        module = FakeWandb(**how)
        monkeypatch.setitem(sys.modules, "wandb", module)
        return module
    return install


def test_nothing_is_imported_that_was_not_chosen(tmp_path, monkeypatch, capsys):
    for name in ("tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)  # to import it would raise
    check_logger("none")
    with open_loggers(Config(), tmp_path, 0) as loggers:
        assert loggers == []
    assert not list(tmp_path.iterdir()) and capsys.readouterr().out == ""


def is_refused(kind, match):
    with pytest.raises(RuntimeError, match=match) as error:
        check_logger(kind)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_one_line_with_the_command(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    is_refused(name, rf'{name}.*pip install -e "\.\[{name}\]"')


def test_a_missing_package_is_told_before_anything_is_done(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(train, "open_data", lambda *_, **__: pytest.fail("the data were opened"))
    with pytest.raises(RuntimeError):
        train.main(["--log", "wandb", "--out", str(tmp_path / "run"), "--dry-run"])


def test_without_an_account_the_way_offline_is_told(fake):
    wandb = fake(account=False)
    is_refused("wandb", "wandb login.*WANDB_MODE=offline")
    assert wandb.logins == [{"prompt": False}]  # a question nobody sees would hang


@pytest.mark.parametrize(("mode", "asked"), [("online", 1), ("offline", 0), ("disabled", 0)])
def test_only_a_run_that_goes_online_needs_an_account(fake, tmp_path, mode, asked):
    wandb = fake(mode=mode)
    session(Config(log="wandb"), tmp_path, 0, 1)
    assert len(wandb.logins) == asked


def test_what_wandb_complains_of_is_one_line_that_tells_the_way_offline(fake, tmp_path):
    fake(fails="login")
    is_refused("wandb", r"no such host while retrying.*WANDB_MODE=offline")
    fake(fails="init")
    with (pytest.raises(RuntimeError, match="timed out.*WANDB_MODE=offline"),
          open_loggers(Config(log="wandb"), tmp_path, 0)):
        pytest.fail("it opened")
    fake(fails="log")
    with (pytest.raises(RuntimeError, match="Connection lost"),
          open_loggers(Config(log="wandb"), tmp_path, 0) as (logger,)):
        logger.metrics("train", 1, {"loss": 1.0})


def test_wandb_gets_one_row_a_step(fake, tmp_path, capsys):
    wandb, picture = fake(), tmp_path / "curves.png"
    rows = session(Config(log="wandb", steps=9, warmup=1), tmp_path, 0, 4, picture=picture)
    assert [step for step, _ in wandb.rows] == [0, 1, 2, 3, 4] and wandb.finished == 1
    for kind, step, values in rows:
        sent = wandb.rows[step][1]
        for name, value in values.items():
            np.testing.assert_equal(sent[f"{kind}/{name}"], value)
    extra = {step: set(row) - {f"{kind}/{name}" for kind, at, values in rows if at == step for name in values}
             for step, row in wandb.rows}
    assert extra == {0: {"sample"}, 1: set(), 2: {"sample"}, 3: set(), 4: {"sample", "curves"}}
    assert wandb.rows[2][1]["sample"] == ("html", f"<pre>{html.escape(TEXT)}2</pre>", False)
    assert wandb.rows[4][1]["curves"] == ("image", str(picture))
    init = wandb.inits[0]
    assert (init["project"], init["name"], init["dir"]) == ("numpygpt", tmp_path.name, str(tmp_path))
    assert init["config"]["steps"] == 9 and init["resume"] == "allow"
    assert init["settings"]["silent"] and init["settings"]["console"] == "off"
    assert capsys.readouterr().out == ""


def killed_session(config, out, step, last, monkeypatch):
    """A session that nobody closes. The fake keeps what it was told, as wandb may and need not."""
    with monkeypatch.context() as patch:
        patch.setattr(WeightsAndBiases, "close", lambda self: None)
        session(config, out, step, last)


def steps_of(wandb):
    return [step for step, _ in wandb.rows]


def test_wandb_takes_a_resumed_run_for_the_same_and_gets_no_step_twice(fake, tmp_path):
    config = Config(log="wandb")
    first = fake()
    session(config, tmp_path, 0, 6)
    second = fake(starting_step=7)
    session(config, tmp_path, 4, 8)  # it failed after step 6, and its last checkpoint is of step 4
    assert steps_of(first) + steps_of(second) == list(range(9))
    assert first.inits[0]["id"] == second.inits[0]["id"]
    third = fake(starting_step=9)
    session(config, tmp_path, 8, 8)
    assert third.rows == [] and third.inits[0]["id"] == first.inits[0]["id"]


def test_what_wandb_does_not_have_is_repeated(fake, tmp_path, monkeypatch):
    """A killed session may not have uploaded its last rows; offline, wandb reports none."""
    config = Config(log="wandb")
    fake()
    killed_session(config, tmp_path, 0, 7, monkeypatch)
    for starting_step in (0, 3):
        wandb = fake(starting_step=starting_step)
        killed_session(config, tmp_path, 6, 8, monkeypatch)
        assert steps_of(wandb) == list(range(starting_step, 8))  # 8 waited for another row
        rows = logged(tmp_path)
        for step, row in wandb.rows:
            numbers = {tag: value for tag, value in row.items() if tag != "sample"}
            np.testing.assert_equal(numbers, {tag: dict(rows[tag])[step] for tag in rows if step in dict(rows[tag])})


def test_rows_that_will_be_made_again_are_not_repeated(fake, tmp_path, monkeypatch):
    fake()
    killed_session(Config(log="wandb"), tmp_path, 0, 7, monkeypatch)
    wandb = fake()
    session(Config(log="wandb"), tmp_path, 4, 8, factor=3.0)
    assert [(step, row["train/loss"]) for step, row in wandb.rows if step] == logged(tmp_path)["train/loss"]
    assert dict(wandb.rows)[4]["train/loss"] == 1 / 4 and dict(wandb.rows)[5]["train/loss"] == 3 / 5


def test_nan_is_repeated_as_nan(fake, tmp_path, monkeypatch):
    fake()
    killed_session(Config(log="wandb"), tmp_path, 0, 5, monkeypatch)
    wandb = fake()
    session(Config(log="wandb"), tmp_path, 5, 6)
    assert math.isnan(dict(wandb.rows)[3]["train/grad_norm"])


def test_what_the_server_has_is_not_repeated(fake, tmp_path, monkeypatch):
    fake()
    killed_session(Config(log="wandb"), tmp_path, 0, 7, monkeypatch)
    wandb = fake(starting_step=4)
    session(Config(log="wandb"), tmp_path, 6, 8)
    assert steps_of(wandb) == [4, 5, 6, 7, 8]


def test_rows_that_cannot_be_read_end_the_session_and_close_the_logger(fake, tmp_path):
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    wandb = fake()
    with pytest.raises(ValueError, match="1"), open_loggers(Config(log="wandb"), tmp_path, 3):
        pytest.fail("it opened")
    assert wandb.finished == 1


def test_a_new_run_in_an_old_folder_is_another_one_and_one_that_goes_on_at_step_0_is_not(fake, tmp_path):
    config, ids = Config(log="wandb"), []
    for metrics in ("", "", '{"kind": "eval", "step": 0, "tokens": 0, "seconds": 0.5, "val_loss": 4.0}\n'):
        (tmp_path / "metrics.jsonl").write_text(metrics)
        wandb = fake()
        with open_loggers(config, tmp_path, 0) as (logger,):
            logger.metrics("eval", 0, {"val_loss": 4.0})
        ids.append(wandb.inits[0]["id"])
    assert ids[0] != ids[1] == ids[2]


def test_the_project_can_be_named(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    wandb = fake()
    session(Config(log="wandb"), tmp_path, 0, 1)
    assert wandb.inits[0]["project"] == "mine"


def test_a_run_that_fails_closes_its_logger(fake, tmp_path):
    wandb = fake()
    with pytest.raises(ZeroDivisionError), open_loggers(Config(log="wandb"), tmp_path, 0) as (logger,):
        logger.metrics("train", 1, {"loss": 1.0})
        raise ZeroDivisionError
    assert wandb.rows == [(1, {"train/loss": 1.0})] and wandb.finished == 1


# -- TensorBoard -------------------------------------------------------------------------------------------------------


def events(out):
    """{kind of plug-in: {tag: [(step, value)]}}: what TensorBoard's server reads of the run."""
    processing = pytest.importorskip("tensorboard.backend.event_processing.plugin_event_accumulator")
    from tensorboard.util.tensor_util import make_ndarray

    everything = {"scalars": 0, "text": 0, "images": 0}
    read = processing.EventAccumulator(str(out / "tensorboard"), tensor_size_guidance=everything).Reload()
    return {kind: {tag: [(event.step, make_ndarray(event.tensor_proto).tolist()) for event in read.Tensors(tag)]
                   for tag in read.PluginTagToContent(kind)} for kind in read.ActivePlugins()}


def compare_scalars(read, out):
    expected = logged(out)
    assert set(read["scalars"]) == set(expected)
    for tag, values in expected.items():  # TensorBoard's numbers are float32
        same(read["scalars"][tag], [(step, float(np.float32(value))) for step, value in values])


def test_tensorboard_reads_every_number_sample_and_picture(tmp_path):
    pytest.importorskip("tensorboard")
    picture = png(tmp_path / "curves.png")
    session(Config(log="tensorboard"), tmp_path, 0, 6, picture=picture)
    read = events(tmp_path)
    compare_scalars(read, tmp_path)
    shown = "\n".join("    " + line for line in TEXT.split("\n"))
    assert read["text"] == {"sample": [(step, f"{shown}{step}".encode()) for step in (0, 2, 4, 6)]}
    assert read["images"] == {"curves": [(6, [b"400", b"200", picture.read_bytes()])]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what TensorBoard 2.18 brings along
def test_a_sample_is_shown_by_tensorboard_letter_by_letter(tmp_path):
    plugin_util = pytest.importorskip("tensorboard.plugin_util")
    session(Config(log="tensorboard"), tmp_path, 0, 0)
    ((_, text),) = events(tmp_path)["text"]["sample"]
    shown = plugin_util.markdown_to_safe_html(text)
    assert html.unescape(shown) == f"<pre><code>{TEXT}0\n</code></pre>" and "<b>" not in shown


def test_a_resumed_run_has_each_step_once_in_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    config = Config(log="tensorboard")
    session(config, tmp_path, 0, 7)
    session(config, tmp_path, 4, 6, factor=3.0)  # numbers that tell the sessions apart
    session(config, tmp_path, 6, 9, factor=5.0)
    read = events(tmp_path)
    compare_scalars(read, tmp_path)
    assert [step for step, _ in read["scalars"]["train/loss"]] == list(range(1, 10))
    assert [step for step, _ in read["text"]["sample"]] == [0, 2, 4, 6, 8]


def test_what_was_logged_is_in_the_file_before_the_run_ends(tmp_path):
    pytest.importorskip("tensorboard")
    with open_loggers(Config(log="tensorboard"), tmp_path, 0) as (logger,):
        logger.metrics("train", 1, {"loss": 2.5, "perplexity": 1e300})
        assert events(tmp_path)["scalars"] == {"train/loss": [(1, 2.5)], "train/perplexity": [(1, math.inf)]}


# -- wandb, offline ----------------------------------------------------------------------------------------------------


def history(out):
    """The rows of a run's .wandb files: records in LevelDB's log format, blocks of 32 KiB, as wandb writes them."""
    pb = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    rows = []
    for path in sorted(out.glob("wandb/offline-run-*/*.wandb")):
        data, at, parts = path.read_bytes(), 7, b""  # after the file's own header; a kill may cut off its end
        while at + 7 <= len(data):
            left = 32768 - at % 32768
            if left < 7:
                at += left
                continue
            length, kind = struct.unpack_from("<HB", data, at + 4)
            if at + 7 + length > len(data):
                break
            parts += data[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # whole, or the last of several parts
                record, parts = pb.Record.FromString(parts), b""
                if record.WhichOneof("record_type") == "history":
                    rows.append({item.key or ".".join(item.nested_key): json.loads(item.value_json)
                                 for item in record.history.item})
    return rows


@pytest.fixture
def offline(monkeypatch, tmp_path):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    out = tmp_path / "run"
    out.mkdir()
    return out


def test_wandb_offline_keeps_every_number_sample_and_picture_over_two_sessions(offline, tmp_path):
    config, picture = Config(log="wandb"), png(tmp_path / "curves.png")
    session(config, offline, 0, 5)
    session(config, offline, 4, 8, picture=picture)
    rows = {row["_step"]: row for row in history(offline)}  # the second session repeats the first
    assert list(rows) == list(range(9))
    rows = list(rows.values())
    expected = logged(offline)
    assert {key for row in rows for key in row if key.startswith(("train/", "eval/"))} == set(expected)
    for tag, values in expected.items():
        same([(row["_step"], row[tag]) for row in rows if tag in row], values)
    for row in history(offline):
        if "sample.path" in row:
            (path,) = offline.glob(f"wandb/offline-run-*/files/{row['sample.path']}")
            assert path.read_text(encoding="utf-8") == f"<pre>{html.escape(TEXT)}{row['_step']}</pre>"
    assert {row["_step"] for row in history(offline) if "sample.path" in row} == {0, 2, 4, 6, 8}
    (path,) = offline.glob(f"wandb/offline-run-*/files/{rows[8]['curves.path']}")
    assert path.read_bytes() == picture.read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
from numpygpt.training.loggers import open_loggers
from numpygpt.training.config import Config
from numpygpt.training.metrics import MetricsLog

out = Path(sys.argv[1])
with open_loggers(Config(log="wandb"), out, 0) as (logger,), MetricsLog(out / "metrics.jsonl") as log:
    for step in range(1, 28):
        values = {"tokens": 8 * step, "seconds": step / 3, "loss": 1 / step}
        log.log("train", step, **values)
        logger.metrics("train", step, values)
        if step == 20:
            log.flush()  # as before a checkpoint
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_wandb_offline_has_every_step_of_a_run_that_was_killed(offline):
    alone = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # not through this process's
    done = subprocess.run([sys.executable, "-c", KILLED, offline], cwd=ROOT, env=alone, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    rows = session(Config(log="wandb"), offline, 20, 30)
    assert rows[0][1] == 21
    expected = {(tag, step): value for tag, values in logged(offline).items() for step, value in values}
    assert {step for tag, step in expected if tag == "train/loss"} == set(range(1, 31))
    found = {}
    for _ in range(100):  # wandb's own process outlives the kill, and may still be writing
        found.clear()
        for row in history(offline):
            for tag, value in row.items():
                found.setdefault((tag, row["_step"]), set()).add(value)
        if expected.keys() <= found.keys():
            break
        time.sleep(0.2)
    for place, value in expected.items():
        assert found[place] == {value}, place


def legacy_state():
    """Of NumPy's global generator, which nothing here may touch."""
    return np.random.get_state()[1].tolist()  # noqa: NPY002


def test_wandb_leaves_the_process_as_it_was(offline, capfd):
    before = random.getstate(), legacy_state(), sys.stdout, sys.stderr
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with open_loggers(Config(log="wandb"), offline, 0) as (logger,):
        logger.metrics("train", 1, {"loss": 2.5})
        assert {number: signal.getsignal(number) for number in handlers} == handlers
        assert (sys.stdout, sys.stderr) == before[2:]
    assert (random.getstate(), legacy_state()) == before[:2]
    out, err = capfd.readouterr()
    assert out == err == ""
