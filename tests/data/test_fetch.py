"""The cache: what is fetched once, checked, kept, and never half-written. Servers here are files and fakes."""

import hashlib
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from numpygpt.data import fetch as fetch_module
from numpygpt.data.fetch import FetchError, Remote, cache_folder, fetch, from_pip, from_url, pip_reason, within

CONTENT = b"To be, or not to be\n" * 50
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("NUMPYGPT_CACHE", str(folder))
    return folder


def remote(get, filename="text.txt"):
    return Remote(filename, SHA256, get)


def serve(content):
    calls = []

    def get(path, progress):
        calls.append(path)
        path.write_bytes(content)

    get.calls = calls
    return get


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_fetched_once_and_then_read_from_the_cache(cache):
    get = serve(CONTENT)
    for _ in range(3):
        path = fetch(remote(get))
        assert path == cache / "text.txt" and path.read_bytes() == CONTENT
    assert len(get.calls) == 1 and names(cache) == ["text.txt"]


def test_what_a_killed_fetch_left_is_removed_after_a_day(cache):
    cache.mkdir()
    for name, age in ((".text.txt.old", 90_000), (".text.txt.living", 3600), (".other.txt.old", 90_000)):
        (cache / name).write_bytes(b"half")
        os.utime(cache / name, (time.time() - age,) * 2)
    fetch(remote(serve(CONTENT)))
    assert names(cache) == [".other.txt.old", ".text.txt.living", "text.txt"]


def test_a_cached_file_with_another_hash_is_fetched_again(cache):
    cache.mkdir()
    (cache / "text.txt").write_bytes(CONTENT[:-1])
    assert fetch(remote(serve(CONTENT))).read_bytes() == CONTENT


def test_wrong_content_is_refused_and_leaves_nothing(cache):
    with pytest.raises(FetchError, match=f"where {SHA256[:12]}... was expected"):
        fetch(remote(serve(b"<html>blocked</html>")))
    assert names(cache) == []


@pytest.mark.parametrize("error", [FetchError("cut off"), OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_fetch_leaves_what_was_there_and_no_part(cache, error):
    cache.mkdir()
    (cache / "text.txt").write_bytes(b"an older version")

    def get(path, progress):
        path.write_bytes(CONTENT[:100])
        raise error

    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else FetchError):
        fetch(remote(get))
    assert names(cache) == ["text.txt"] and (cache / "text.txt").read_bytes() == b"an older version"


def test_a_cache_that_cannot_be_written_says_which(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NUMPYGPT_CACHE", str(tmp_path / "file"))
    with pytest.raises(FetchError, match="NUMPYGPT_CACHE"):
        fetch(remote(serve(CONTENT)))


def test_the_cache_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMPYGPT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(fetch_module.sys, "platform", "linux")
    assert cache_folder() == tmp_path / "xdg" / "numpygpt"
    monkeypatch.setattr(fetch_module.sys, "platform", "darwin")
    assert cache_folder().parts[-3:] == ("Library", "Caches", "numpygpt")


class Answer:
    """What urlopen gives, as far as it is used; the connection breaks after `sent` bytes."""

    def __init__(self, sent, length):
        self.rest, self.headers = CONTENT[:sent], {"Content-Length": str(length)}

    def read(self, size):
        block, self.rest = self.rest[: min(size, 300)], self.rest[min(size, 300) :]
        return block

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def test_a_download_is_streamed_and_reports(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_module.urllib.request, "urlopen", lambda url, timeout: Answer(1000, 1000))
    reports = []
    from_url("https://example.invalid/a/corpus/input.txt")(tmp_path / "x", lambda *report: reports.append(report))
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert [report[1:] for report in reports] == [(300, 1000), (600, 1000), (900, 1000), (1000, 1000)]


def test_a_download_that_breaks_off_says_where(cache, monkeypatch):
    monkeypatch.setattr(fetch_module.urllib.request, "urlopen", lambda url, timeout: Answer(450, 1000))
    with pytest.raises(FetchError, match="450.*1,000"):
        fetch(remote(from_url("https://example.invalid/a/b")))
    assert names(cache) == []


def test_a_download_without_a_network_gives_the_reason(tmp_path, monkeypatch):
    def urlopen(url, timeout):
        raise fetch_module.urllib.request.URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr(fetch_module.urllib.request, "urlopen", urlopen)
    with pytest.raises(FetchError, match=r"^Name or service not known$"):
        from_url("https://example.invalid/a/b")(tmp_path / "x", None)


def test_a_server_that_never_answers_is_given_up():
    never = threading.Event()
    with pytest.raises(FetchError, match=r"0\.01"):
        within(0.01, never.wait)
    never.set()
    assert within(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


def fake_pip(monkeypatch, returncode=0, stderr="", writes=CONTENT):
    """pip as `from_pip` sees it; gives the command lines and the stand-in backends it was called with."""
    calls = []

    def run(words, env, **kwargs):
        stand_in = Path(env["PYTHONPATH"].split(os.pathsep)[0]) / "setuptools"
        backend = (stand_in / "build_meta.py").read_text()
        wanted, out = (Path(words[words.index(flag) + 1]) for flag in ("-r", "-d"))
        calls.append((words, backend, wanted.read_text()))
        if writes is not None:
            out.mkdir()
            (out / "plays-1.0.tar.gz").write_bytes(writes)
        return subprocess.CompletedProcess(words, returncode, "", stderr)

    monkeypatch.setattr(fetch_module.subprocess, "run", run)
    return calls


def test_pip_is_given_the_hash_and_a_backend_that_runs_nothing(tmp_path, monkeypatch):
    calls = fake_pip(monkeypatch)
    from_pip("plays", "1.0", SHA256)(tmp_path / "x", None)
    assert (tmp_path / "x").read_bytes() == CONTENT
    ((words, backend, wanted),) = calls
    assert wanted == f"plays==1.0 --hash=sha256:{SHA256}\n"
    assert {"--no-deps", "--no-build-isolation", "--use-pep517"} <= set(words)
    space = {}
    exec(backend, space)
    assert space["__legacy__"].get_requires_for_build_wheel() == []
    assert space["__legacy__"].prepare_metadata_for_build_wheel(str(tmp_path)) == "plays-1.0.dist-info"
    metadata = (tmp_path / "plays-1.0.dist-info" / "METADATA").read_text()
    assert metadata == "Metadata-Version: 2.1\nName: plays\nVersion: 1.0\n"


def test_pip_that_fails_gives_its_reason(tmp_path, monkeypatch):
    stderr = "WARNING: slow\nERROR: first\nERROR: No matching distribution found for plays==1.0\nINFO: bye\n"
    fake_pip(monkeypatch, returncode=1, stderr=stderr, writes=None)
    with pytest.raises(FetchError, match=r"^No matching distribution found for plays==1\.0$"):
        from_pip("plays", "1.0", SHA256)(tmp_path / "x", None)
    assert not (tmp_path / "x").exists()


def test_pip_that_hangs_or_is_missing(tmp_path, monkeypatch):
    def run(words, **kwargs):
        raise subprocess.TimeoutExpired(words, 180)

    monkeypatch.setattr(fetch_module.subprocess, "run", run)
    with pytest.raises(FetchError, match="180"):
        from_pip("plays", "1.0", SHA256)(tmp_path / "x", None)
    assert pip_reason("/usr/bin/python: No module named pip\n") == "/usr/bin/python: No module named pip"
    assert pip_reason("") == "pip gave no reason"
