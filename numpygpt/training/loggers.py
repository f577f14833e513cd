"""Where else a run's numbers, samples and pictures go: the tools that people watch their runs in already."""

from __future__ import annotations

import html
import json
import math
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from numpygpt.training.config import Config
from numpygpt.training.metrics import read_rows
from numpygpt.utils.paths import display_path

INIT_SECONDS, FINISH_SECONDS = 30, 60  # how long wandb may look for its server, and go on uploading after the run
OFFLINE = "set WANDB_MODE=offline to log without network and account, and upload later by `wandb sync`"


class Logger(Protocol):
    """What a run tells a logger. `kind` is that of the row in metrics.jsonl: train, eval or trace."""

    def metrics(self, kind: str, step: int, values: Mapping[str, float]) -> None: ...

    def sample(self, step: int, text: str) -> None: ...

    def picture(self, name: str, step: int, path: Path) -> None: ...

    def close(self) -> None: ...


def check_logger(kind: str) -> None:
    """RuntimeError where the package that the configuration names is missing, or where wandb knows no account."""
    if kind == "none":
        return
    try:
        import_module("matplotlib")  # draws the curves that are logged in the end
        package = import_module(kind)
    except ImportError as error:
        raise RuntimeError(f"--log {kind} needs a package that cannot be imported ({error}). In the project's folder: "
                           f'pip install -e ".[{kind}]"') from None
    if kind == "wandb":
        with wandb_errors(package):
            mode = package.setup(package.Settings(silent=True)).settings.mode
            if mode in ("online", "shared") and not package.login(prompt=False):
                raise RuntimeError(f"--log wandb has no account to log to: run `wandb login` once, or {OFFLINE}")


@contextmanager
def open_loggers(config: Config, out: Path, step: int) -> Iterator[list[Logger]]:
    """The loggers that the configuration names, for a run in the folder `out` that begins or goes on at `step`.

    To be called after `check_logger` and before the run writes anything: RuntimeError where a logger cannot begin.
    """
    if config.log == "none":
        yield []
        return
    metrics = out / "metrics.jsonl"
    goes_on = step > 0 or (metrics.exists() and metrics.stat().st_size > 0)  # one may go on at step 0
    first = step + 1 if goes_on else 0  # what was logged of this step and later ones will be made again
    logger = TensorBoard(out, first) if config.log == "tensorboard" else WeightsAndBiases(config, out, first)
    print(f"{'log':<8} {logger.where}", flush=True)
    try:
        if isinstance(logger, WeightsAndBiases) and metrics.exists():
            logger.repeat(metrics)
        yield [logger]
    finally:
        logger.close()


class TensorBoard:
    """Event files in `out`/tensorboard, one a session, made with the package tensorboard alone.

    A file is protocol buffers in a row, each with its length and checksums (TensorFlow's record format). A session that
    goes on says at which step (SessionLog.START), and TensorBoard forgets what it had read of that step and after it.
    Every event reaches the file at once, so that none is missing that a checkpoint counts.
    """

    def __init__(self, out: Path, first: int):
        from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.event, self.summary, self.tensor, self.types = event_pb2, summary_pb2, tensor_pb2, types_pb2
        folder = out / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        self.where = f"tensorboard --logdir {display_path(folder)}"
        self.file = RecordWriter(open(folder / f"events.out.tfevents.{time.time_ns()}", "xb"))  # read in order of names
        self.write(file_version="brain.Event:2")
        self.write(step=first, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def metrics(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        self.values(step, *({"tag": f"{kind}/{name}", "simple_value": value} for name, value in values.items()))

    def sample(self, step: int, text: str) -> None:
        code = "\n".join("    " + line for line in text.split("\n"))  # TensorBoard reads Markdown: so it stays as it is
        metadata = self.summary.SummaryMetadata(plugin_data={"plugin_name": "text"})
        tensor = self.tensor.TensorProto(dtype=self.types.DT_STRING, string_val=[code.encode("utf-8", "replace")])
        self.values(step, {"tag": "sample", "metadata": metadata, "tensor": tensor})

    def picture(self, name: str, step: int, path: Path) -> None:
        png = path.read_bytes()
        size = {"width": int.from_bytes(png[16:20]), "height": int.from_bytes(png[20:24])}  # as PNG's header has them
        self.values(step, {"tag": name, "image": {"encoded_image_string": png, **size}})

    def close(self) -> None:
        self.file.close()

    def values(self, step: int, *values: dict[str, Any]) -> None:
        self.write(step=step, summary=self.summary.Summary(value=[self.summary.Summary.Value(**v) for v in values]))

    def write(self, **what: Any) -> None:
        self.file.write(self.event.Event(wall_time=time.time(), **what).SerializeToString())
        self.file.flush()


class WeightsAndBiases:
    """A run of the project "numpygpt" in wandb, or in `out`/wandb alone where the user's WANDB_MODE is offline.

    wandb wants each step once, and in order, so the rows of a step wait until the next step and go as one. It holds
    them in memory for a while, and a run that is killed loses these: only `close` makes sure of them. `numpygpt.json`
    keeps the last step that is sure, and the identity under which wandb takes a resumed run for the same one. A
    session that goes on first repeats what metrics.jsonl has after that step.

    After `close`, wandb has the numbers of every step so far, some twice where a session was killed: the same numbers,
    but for the seconds of steps that were made again. Steps that are made again after a session that was closed (it had
    failed, say) are not sent again, so what they measure otherwise or in addition, such as a trace, is in metrics.jsonl
    alone. What a resumed run adds to the step where it begins (an evaluation) is sent; wandb's server, which changes
    no step that it has, drops it. Samples are not repeated: those that were lost are in samples.txt alone.
    """

    def __init__(self, config: Config, out: Path, first: int):
        import wandb

        self.wandb = wandb
        self.state = out / "wandb" / "numpygpt.json"
        self.state.parent.mkdir(parents=True, exist_ok=True)
        known = json.loads(self.state.read_text()) if first and self.state.exists() else {}
        self.id, self.sent = known.get("id") or secrets.token_hex(4), known.get("closed", -1)
        self.first, self.step, self.row = first, 0, dict[str, Any]()
        settings = wandb.Settings(silent=True, console="off", init_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS)
        with wandb_errors(wandb):
            self.run = wandb.init(project=os.environ.get("WANDB_PROJECT") or "numpygpt", name=out.name, dir=str(out),
                                  id=self.id, resume="allow", config=config.to_dict(), allow_val_change=True,
                                  settings=settings)
        self.remember(self.sent)
        self.sent = max(self.sent, self.run.starting_step - 1)  # online, what the server has; offline that is nothing
        upload = f"wandb sync {display_path(self.state.parent)}/offline-run-*"
        self.where = upload if self.run.offline else self.run.url or f"wandb is {self.run.settings.mode}"

    def repeat(self, metrics: Path) -> None:
        """Send what `metrics.jsonl` has before this session's first step and no closed session has sent."""
        for _, row in read_rows(metrics):
            kind, step = row.pop("kind"), row.pop("step")
            if self.sent < step < self.first:
                self.metrics(kind, step, {name: math.nan if value is None else value for name, value in row.items()})

    def metrics(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        self.add(step, {f"{kind}/{name}": value for name, value in values.items()})

    def sample(self, step: int, text: str) -> None:
        self.add(step, {"sample": self.wandb.Html(f"<pre>{html.escape(text)}</pre>", inject=False)})

    def picture(self, name: str, step: int, path: Path) -> None:
        self.add(step, {name: self.wandb.Image(str(path))})

    def close(self) -> None:
        self.send()
        with wandb_errors(self.wandb):
            self.run.finish()
        self.remember(self.sent)

    def add(self, step: int, values: dict[str, Any]) -> None:
        if self.first <= step <= self.sent:
            return
        if step > self.step:
            self.send()
        self.step = step
        self.row |= values

    def send(self) -> None:
        if not self.row:
            return
        with wandb_errors(self.wandb):
            self.run.log(self.row, step=self.step)
        self.row, self.sent = {}, max(self.sent, self.step)

    def remember(self, closed: int) -> None:
        """Whole under its name at any moment, for a run may be killed at any moment."""
        temporary = self.state.with_suffix(".tmp")
        temporary.write_text(json.dumps({"id": self.id, "closed": closed}))
        os.replace(temporary, self.state)


@contextmanager
def wandb_errors(wandb: Any) -> Iterator[None]:
    """What wandb complains of, in one line that says how to do without its server."""
    try:
        yield
    except (wandb.Error, OSError) as error:
        said = " ".join(str(error).split())
        raise RuntimeError(f"wandb: {said[:300].rstrip('.')}. If it is the network or the account: {OFFLINE}") from None
