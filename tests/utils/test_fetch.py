"""The cache: what is fetched once, checked, kept, and never half-written. Servers here are files and fakes."""

import hashlib
import os
import threading
import time
import urllib.request

import pytest

from numpygpt.utils import fetch as fetch_module
from numpygpt.utils.fetch import FetchError, Remote, cache_folder, fetch, from_index, from_url, index_url, within

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
    with pytest.raises(FetchError, match=SHA256[:12]):
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


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index on disk, under another address than PyPI's."""
    (tmp_path / "simple" / "plays").mkdir(parents=True)
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "plays-1.0.tar.gz").write_bytes(CONTENT)
    page = tmp_path / "simple" / "plays" / "index.html"
    page.write_text('<a href="../../packages/plays-0.9.tar.gz">plays-0.9.tar.gz</a>'
                    '<a href="../../packages/plays-1.0.tar.gz#sha256=0&amp;x">plays-1.0.tar.gz</a>')  # fmt: skip
    urlopen = urllib.request.urlopen
    monkeypatch.setattr(fetch_module.urllib.request, "urlopen",
                        lambda url, timeout: urlopen(url + "index.html" * url.endswith("/"), timeout=timeout))
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    return tmp_path


def test_a_source_package_comes_from_the_index_that_pip_uses(cache, index):
    assert fetch(remote(from_index("plays", "plays-1.0.tar.gz"))).read_bytes() == CONTENT
    assert names(cache) == ["text.txt"]


def test_a_package_that_the_index_lacks_is_named(cache, index):
    with pytest.raises(FetchError, match="plays-2.0.tar.gz"):
        fetch(remote(from_index("plays", "plays-2.0.tar.gz")))
    with pytest.raises(FetchError):
        fetch(remote(from_index("poems", "poems-1.0.tar.gz")))
    assert names(cache) == []


def test_the_index_is_pips_or_pypi(tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://example.invalid/simple\n")
    assert index_url() == "https://example.invalid/simple"
    monkeypatch.setattr(fetch_module.sys, "executable", str(tmp_path / "no-python"))
    assert index_url() == fetch_module.INDEX
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.invalid/other")
    assert index_url() == "https://example.invalid/other"
