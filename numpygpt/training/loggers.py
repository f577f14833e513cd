"""Copies of a run's metrics, samples and pictures, in the tools that people already use: TensorBoard and wandb."""

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
from numpygpt.utils.files import write_whole
from numpygpt.utils.paths import display_path

INIT_SECONDS, FINISH_SECONDS = 30, 60  # how long wandb may look for its server, and keep uploading after the run
OFFLINE = "set WANDB_MODE=offline to log without network or account, and upload later with `wandb sync`"


class Logger(Protocol):
    """What a run calls. `kind` is the kind of a row in metrics.jsonl: train, eval or trace. `where` says where to look
    at what was logged."""

    where: str

    def metrics(self, kind: str, step: int, values: Mapping[str, float]) -> None: ...

    def sample(self, step: int, text: str) -> None: ...

    def picture(self, name: str, step: int, path: Path) -> None: ...

    def close(self) -> None: ...


def check_logger(kind: str) -> None:
    """Raise RuntimeError if a logger of this kind cannot start: no package, or no account for wandb."""
    if kind == "none":
        return
    try:
        import_module("matplotlib")  # draws the curves that are logged at the end
        package = import_module(kind)
    except ImportError as error:
        raise RuntimeError(f'`log="{kind}"` needs a package that cannot be imported ({error}). In this project, run: '
                           f'pip install -e ".[{kind}]"') from None
    if kind == "wandb":
        with wandb_errors(package):
            mode = package.setup(package.Settings(silent=True)).settings.mode
            if mode in ("online", "shared") and not package.login(prompt=False):
                raise RuntimeError(f'`log="wandb"`: you are not logged in. Run `wandb login` once, or {OFFLINE}')


@contextmanager
def open_loggers(config: Config, out: Path, step: int) -> Iterator[list[Logger]]:
    """Open the loggers that the configuration names, for a run in the folder `out` that starts or resumes at `step`.

    Call it after `check_logger` and before the run writes anything. Raises RuntimeError if a logger cannot start.
    """
    if config.log == "none":
        yield []
        return
    metrics = out / "metrics.jsonl"
    resumed = step > 0 or (metrics.exists() and metrics.stat().st_size > 0)  # a run may also resume at step 0
    first = step + 1 if resumed else 0  # what was logged for later steps will be logged again
    logger = TensorBoard(out, first) if config.log == "tensorboard" else WeightsAndBiases(config, out, first)
    try:
        if isinstance(logger, WeightsAndBiases) and metrics.exists():
            logger.repeat(metrics)
        yield [logger]
    finally:
        logger.close()


class TensorBoard:
    """Writes event files to `out`/tensorboard, one per session. Needs only the package tensorboard.

    A file is a sequence of protocol buffers, each with its length and checksums (TensorFlow's record format). A resumed
    session writes its first step (SessionLog.START), and TensorBoard drops what it had read for later steps. Each event
    is flushed at once, so that none is missing that a checkpoint counts.
    """

    def __init__(self, out: Path, first: int):
        from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.event, self.summary, self.tensor, self.types = event_pb2, summary_pb2, tensor_pb2, types_pb2
        folder = out / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        self.where = f"tensorboard --logdir {display_path(folder)}"
        self.file = RecordWriter(open(folder / f"events.out.tfevents.{time.time_ns()}", "xb"))  # read in name order
        self.write(file_version="brain.Event:2")
        self.write(step=first, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def metrics(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        self.values(step, *({"tag": f"{kind}/{name}", "simple_value": value} for name, value in values.items()))

    def sample(self, step: int, text: str) -> None:
        code = "\n".join("    " + line for line in text.split("\n"))  # TensorBoard renders Markdown: keep it as code
        metadata = self.summary.SummaryMetadata(plugin_data={"plugin_name": "text"})
        tensor = self.tensor.TensorProto(dtype=self.types.DT_STRING, string_val=[code.encode("utf-8", "replace")])
        self.values(step, {"tag": "sample", "metadata": metadata, "tensor": tensor})

    def picture(self, name: str, step: int, path: Path) -> None:
        png = path.read_bytes()
        size = {"width": int.from_bytes(png[16:20]), "height": int.from_bytes(png[20:24])}  # from the PNG header
        self.values(step, {"tag": name, "image": {"encoded_image_string": png, **size}})

    def close(self) -> None:
        self.file.close()

    def values(self, step: int, *values: dict[str, Any]) -> None:
        self.write(step=step, summary=self.summary.Summary(value=[self.summary.Summary.Value(**v) for v in values]))

    def write(self, **what: Any) -> None:
        self.file.write(self.event.Event(wall_time=time.time(), **what).SerializeToString())
        self.file.flush()


class WeightsAndBiases:
    """A run of the wandb project "numpygpt", or only in `out`/wandb if WANDB_MODE is offline.

    wandb takes each step once, in increasing order, so the rows of a step are collected and sent as one when the next
    step begins. A resumed run has the same wandb id (in `numpygpt.json`). It first repeats the rows of metrics.jsonl
    that wandb does not report to have: a killed session may not have uploaded its last rows. Offline, wandb reports
    nothing, so all rows are repeated; its server ignores those that it gets twice. Samples are not repeated.
    """

    def __init__(self, config: Config, out: Path, first: int):
        import wandb

        self.wandb = wandb
        folder = out / "wandb"
        identity = folder / "numpygpt.json"
        folder.mkdir(parents=True, exist_ok=True)
        known = json.loads(identity.read_text()) if first and identity.exists() else {"id": secrets.token_hex(4)}
        settings = wandb.Settings(silent=True, console="off", init_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS)
        with wandb_errors(wandb):
            self.run = wandb.init(project=os.environ.get("WANDB_PROJECT") or "numpygpt", name=out.name, dir=str(out),
                                  id=known["id"], resume="allow", config=config.to_dict(), allow_val_change=True,
                                  settings=settings)
        write_whole(identity, json.dumps(known))
        self.first, self.sent = first, self.run.starting_step - 1
        self.step, self.row = 0, dict[str, Any]()
        upload = f"wandb sync {display_path(folder)}/offline-run-*"
        self.where = upload if self.run.offline else self.run.url or f"wandb is {self.run.settings.mode}"

    def repeat(self, metrics: Path) -> None:
        """Send the rows of `metrics.jsonl` before this session's first step that wandb does not have."""
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

    def add(self, step: int, values: dict[str, Any]) -> None:
        if self.first <= step <= self.sent:
            return
        if step > self.step:
            self.send()
        self.step = step
        self.row |= values

    def send(self) -> None:
        if self.row:
            with wandb_errors(self.wandb):
                self.run.log(self.row, step=self.step)
        self.row = {}


@contextmanager
def wandb_errors(wandb: Any) -> Iterator[None]:
    """Raise wandb's errors as a RuntimeError in one line that says how to work without its server."""
    try:
        yield
    except (wandb.Error, OSError) as error:
        reason = " ".join(str(error).split())
        raise RuntimeError(f"wandb: {reason[:300].rstrip('.')}. Without network or account: {OFFLINE}") from None
