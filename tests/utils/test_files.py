"""Files that are written whole or not at all, into plain files alone, and what is said where the disk refuses."""

import errno
import os
import re

import pytest

from numpygpt.utils import files
from numpygpt.utils.files import NotSaved, check_plain, replacing, write_whole, writing

posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and folders that can be synced")


def test_a_file_is_replaced_whole_or_stays(tmp_path):
    path = tmp_path / "f"
    write_whole(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half")
        file.flush()
        assert path.read_text() == "old"
        raise ZeroDivisionError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["f"]
    write_whole(path, "new é")
    assert path.read_bytes() == "new é".encode() and os.listdir(tmp_path) == ["f"]


@posix
@pytest.mark.parametrize("name", ["f", ".f.tmp"])
def test_a_link_is_replaced_and_not_followed(tmp_path, name):
    victim, folder = tmp_path / "victim", tmp_path / "run"
    folder.mkdir()
    victim.write_text("precious")
    (folder / name).symlink_to(victim)
    write_whole(folder / "f", "ours")
    assert victim.read_text() == "precious"
    assert (folder / "f").read_text() == "ours" and not (folder / "f").is_symlink() and os.listdir(folder) == ["f"]


@posix
def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_after(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def noting_fsync(handle):
        found = os.fstat(handle)
        done.append("folder" if found.st_ino == tmp_path.stat().st_ino else f"{found.st_size} bytes")
        fsync(handle)

    def noting_replace(old, new):
        done.append("name")
        replace(old, new)

    monkeypatch.setattr(files.os, "fsync", noting_fsync)
    monkeypatch.setattr(files.os, "replace", noting_replace)
    write_whole(tmp_path / "f", "seven b")
    assert done == ["7 bytes", "name", "folder"]


@posix
def test_only_plain_files_and_names_without_one_pass(tmp_path):
    (tmp_path / "file").write_text("x")
    check_plain(tmp_path / "file")
    check_plain(tmp_path / "none")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "nowhere").symlink_to(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, what in {"link": "a link", "nowhere": "a link", "pipe": "a pipe", "folder": "a folder"}.items():
        with pytest.raises(ValueError, match=rf"{name} is {what}"):
            check_plain(tmp_path / name)


@pytest.mark.parametrize(("number", "size", "said"), [
    (errno.ENOSPC, 2_000_000, r"No space .* \(it needs about 2\.0 MB, and [\d,.]+ [kM]B are free on its disk\)\. Kept: "
                              r"make room, and go on"),
    (errno.ENOSPC, 0, r"\([\d,.]+ [kM]B are free on its disk\)\. Kept: make room, and go on"),
    (errno.EFBIG, 2_000, r"File too large \(it needs about 2\.0 kB\)\. Kept: raise the limit on the size of files, "),
    (errno.EISDIR, 2_000, r"Is a directory\. Kept: mend that, and go on"),
])
def test_the_sentence_fits_what_the_disk_refuses(tmp_path, number, size, said):
    with pytest.raises(NotSaved) as caught, writing(tmp_path / "f", "Kept", "go on", size):
        raise OSError(number, os.strerror(number))
    assert re.search(rf"f could not be written: .*{said}", str(caught.value)), caught.value


def test_a_sentence_may_end_without_a_way_on(tmp_path):
    with pytest.raises(NotSaved, match=r"\. Nothing was done: mend that$"), writing(tmp_path / "f", "Nothing was done"):
        raise PermissionError(errno.EACCES, "Permission denied")
