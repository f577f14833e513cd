"""Files that are not text, and text in other encodings: what is refused, and that the advice works."""

import bz2
import gzip
import io
import lzma
import pickle
import re
import shlex
import shutil
import sqlite3
import subprocess
import tarfile
import zipfile

import numpy as np
import pytest

from numpygpt.data import read_corpus
from numpygpt.data.encodings import check_encoding, ranked

TEXT = "To be, or not to be: that is the question.\n" * 20


def zipped(*names):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name in names:
            file.writestr(name, name)
    return data.getvalue()


def tarred():
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as file:
        file.addfile(tarfile.TarInfo("a.txt"))
    return data.getvalue()


def saved(save, *values, **named):
    data = io.BytesIO()
    save(data, *values, **named)
    return data.getvalue()


def database(path):
    connection = sqlite3.connect(path)
    connection.execute("create table t (a)")
    connection.commit()
    connection.close()
    return path.read_bytes()


BINARY = {
    "gzip": gzip.compress(TEXT.encode()), "bzip2": bz2.compress(TEXT.encode()), "xz": lzma.compress(TEXT.encode()),
    "lzma": lzma.compress(TEXT.encode(), format=lzma.FORMAT_ALONE), "zstd": b"\x28\xb5\x2f\xfd" + bytes(20),
    "zip": zipped("a.txt"), "Word": zipped("[Content_Types].xml", "word/document.xml"),
    "Excel": zipped("[Content_Types].xml", "xl/workbook.xml"), "EPUB": zipped("mimetypeapplication/epub+zip"),
    "tar": tarred(), "PDF": b"%PDF-1.7\n" + TEXT.encode(), "RTF": b"{\\rtf1 " + TEXT.encode(),
    "Office": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(50), "PNG": b"\x89PNG\r\n\x1a\n" + bytes(20),
    "JPEG": b"\xff\xd8\xff\xe0" + bytes(20), "GIF": b"GIF89a" + bytes(20), "ELF": b"\x7fELF\x02\x01" + bytes(20),
    "Windows": b"MZ\x90\x00" + bytes(20), "MP3": b"ID3\x04\x00" + bytes(20), "MP4": b"\0\0\0\x20ftypisom" + bytes(20),
    "pickle": pickle.dumps({"a": 1}, protocol=2), "NumPy": saved(np.save, np.arange(3)),
    "NumPy archive": saved(np.savez, a=np.arange(3)),
    "safetensors": (64).to_bytes(8, "little") + b'{"a":{}}' + bytes(60),
    "Parquet": b"PAR1\x15\x00", "Java": b"\xca\xfe\xba\xbe\x00\x00", "WebAssembly": b"\0asm\1\0\0\0",
}  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("kind", BINARY)
def test_a_file_that_is_not_text_is_named(tmp_path, kind, encoding):
    path = tmp_path / "book.txt"
    path.write_bytes(BINARY[kind])
    with pytest.raises(ValueError, match=rf"book\.txt is .*{kind}"):
        read_corpus([path], encoding)


def test_a_database_is_named(tmp_path):
    path = tmp_path / "a.txt"
    database(path)
    with pytest.raises(ValueError):
        read_corpus([path])


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252"])
@pytest.mark.parametrize(("low", "high", "dtype"), [
    (0, 256, "u1"), (0, 128, "u1"), (1, 128, "u1"), (0, 1000, "<u2"), (0, 70_000, "<u4"), (-1, 1, "<f4")])
def test_binary_data_without_a_signature_is_no_corpus(tmp_path, encoding, low, high, dtype):
    values = np.random.default_rng(0).uniform(low, high, 5000).astype(dtype)
    (tmp_path / "a.txt").write_bytes(values.tobytes())
    with pytest.raises(ValueError, match=r"a\.txt"):
        for _ in read_corpus([tmp_path / "a.txt"], encoding).pieces():
            pass


@pytest.mark.parametrize("start", ["BM", "MZ", "ID3", "PAR1", "OggS", "GIF87a", "LZIP", "BZh", "ab\r\n", "{\\rt"])
def test_a_text_may_begin_like_a_signature(tmp_path, start):
    (tmp_path / "a.txt").write_text(start + TEXT, encoding="utf-8", newline="")
    assert "".join(map(str, list(read_corpus([tmp_path / "a.txt"]).pieces())[:-1])) == start + TEXT


@pytest.mark.parametrize("start", ["BMW", "MZ", "ID3", "PAR1", "OggS", "OTTO", "GGUF"])
def test_so_may_a_text_in_another_encoding(tmp_path, start):
    text = f"{start} f\xe4hrt.\n" * 20
    (tmp_path / "a.txt").write_bytes(text.encode("cp1252"))
    assert "".join(map(str, list(read_corpus([tmp_path / "a.txt"], "cp1252").pieces())[:-1])) == text


def test_a_log_of_a_terminal_is_text(tmp_path):
    (tmp_path / "a.txt").write_text("\x1b[31mred\x1b[0m\x07 b\x08b\x0c\n" * 50)
    assert read_corpus([tmp_path / "a.txt"]).notes == ()


def test_ascii_with_a_nul_now_and_then_is_not_utf16(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"hello\0world\n" * 1000)
    with pytest.raises(ValueError, match=r"a\.txt.*1") as error:
        list(read_corpus([tmp_path / "a.txt"]).pieces())
    assert "utf-16" not in str(error.value).lower()


def test_a_nul_is_found_by_its_line(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT + "a\0b\n")
    with pytest.raises(ValueError, match=r"a\.txt.*21") as error:
        for _ in read_corpus([tmp_path / "a.txt"]).pieces():
            pass
    command = re.search(r"tr -d .* > \S+", str(error.value))[0]
    subprocess.run(command, shell=True, check=True)
    assert (tmp_path / "a.txt.new").read_text() == TEXT + "ab\n"


LINES = {
    "cp1252": ["It\u2019s \u201cdone\u201d \u2014 na\xefve.", "Le gar\xe7on a \xe9t\xe9 tr\xe8s heureux.",
               "Gr\xf6\xdfe, sch\xf6ne F\xfc\xdfe.", "El ni\xf1o comi\xf3 ma\xf1ana, \xbfno?"],
    "cp1250": ["Zażółć gęślą jaźń.", "Příliš žluťoučký kůň."],
    "cp1251": ["Привет, как дела? Это простой текст."], "koi8-r": ["Привет, как дела? Это простой текст."],
    "cp866": ["Привет, как дела? Это простой текст."],
    "cp1253": ["Καλημέρα κόσμε, αυτό είναι κείμενο."], "cp1255": ["שלום עולם זה טקסט בעברית"],
    "cp1256": ["مرحبا بالعالم هذا نص"], "cp1254": ["Bugün hava çok güzel, ışık ve şehir"],
    "gb18030": ["你好，世界。这是一个简单的中文文本。"], "big5": ["你好，世界。這是一個簡單的中文文本。"],
    "cp932": ["これは日本語のテキストです。", "吾輩は猫である。名前はまだ無い。"],
    "euc-jp": ["これは日本語のテキストです。"],
    "cp949": ["안녕하세요, 이것은 한국어 텍스트입니다."],
}  # fmt: skip


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(("encoding", "line"), [(name, line) for name, lines in LINES.items() for line in lines])
def test_the_likely_encoding_is_named_and_its_line_shown(tmp_path, encoding, line, alone):
    path = tmp_path / "a.txt"
    path.write_bytes(b"" if alone else TEXT.encode() * 3000 + f"{line}\n".encode(encoding) * 2000)
    if alone:
        path.write_bytes(line.encode(encoding))
    with pytest.raises(ValueError, match=r"a\.txt.*8.*0") as error:
        for _ in read_corpus([path]).pieces():
            pass
    flag = re.search(r'`encoding="(\S+)"`$', str(error.value))[1]
    assert line in str(error.value) and line.encode(encoding).decode(flag) == line
    with read_corpus([path], flag) as corpus:  # and the flag works
        assert line in "".join(piece for piece in corpus.pieces() if isinstance(piece, str))
        assert corpus.notes == ()


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", [TEXT, "你好，世界。这是一个简单的中文文本。\n" * 20, "Привет, как дела?\n" * 20])
@pytest.mark.parametrize("given", ["utf-8", "utf-16", "latin-1"])
def test_utf16_and_utf32_are_recognised(tmp_path, name, text, given):
    (tmp_path / "a.txt").write_bytes(text.encode(name))
    if name == given:
        return
    with pytest.raises(ValueError, match=rf'a\.txt is not .*`encoding="{name}"`$'):
        read_corpus([tmp_path / "a.txt"], given)
    assert next(iter(read_corpus([tmp_path / "a.txt"], name).pieces())) == text


@pytest.mark.parametrize("name", ["base64", "hexx", "rot-13", "utf-99", "cp12520"])
def test_an_encoding_that_is_advised_is_one_of_text(name):
    with pytest.raises(ValueError, match=name) as error:
        check_encoding(name)
    if meant := re.search(r"did you mean (\S+)\?", str(error.value)):
        assert check_encoding(meant[1])


@pytest.mark.parametrize(("encoding", "given"), [
    ("utf-16-le", "utf-16-be"), ("utf-16-be", "utf-16-le"), ("utf-16-le", "utf-32"), ("utf-32-le", "utf-32-be"),
    ("utf-32-be", "utf-16-le")])
def test_a_byte_order_mark_of_another_order_or_width_is_refused(tmp_path, encoding, given):
    path, family = tmp_path / "a.txt", encoding[:6]
    path.write_bytes(("\ufeff" + TEXT).encode(encoding))
    with pytest.raises(ValueError, match=rf'a\.txt is not {given.upper()}\b.*`encoding="{family}"`$'):
        read_corpus([path], given)
    for name in (family, encoding):
        assert next(iter(read_corpus([path], name).pieces())) == TEXT


@pytest.mark.parametrize(("encoding", "given"), [
    ("cp1252", "latin-1"), ("gb18030", "latin-1"), ("gb18030", "big5"), ("koi8-r", "cp1251"), ("cp932", "gbk"),
    ("cp1251", "cp1252"), ("cp949", "latin-1")])
def test_a_wrong_encoding_that_reads_without_an_error_is_noted(tmp_path, encoding, given):
    line = LINES[encoding][0]
    (tmp_path / "a.txt").write_bytes(f"{line}\n".encode(encoding) * 5)
    (note,) = read_corpus([tmp_path / "a.txt"], given).notes
    assert f'`encoding="{encoding}"`' in note and line in note


@pytest.mark.parametrize("given", ["latin-1", "cp1252", "cp850", "utf-16-le"])
def test_utf8_read_as_another_is_noted(tmp_path, given):
    (tmp_path / "a.txt").write_text("Größe, Füße\n" * 10, encoding="utf-8")
    (note,) = read_corpus([tmp_path / "a.txt"], given).notes
    assert "UTF-8" in note.upper() and "`encoding`" in note


@pytest.mark.skipif(not shutil.which("iconv"), reason="there is no iconv")
def test_damaged_utf8_is_no_other_encoding_and_can_be_mended(tmp_path):
    path = tmp_path / "a b.txt"
    path.write_bytes("Größe, café\n".encode() * 20 + b"caf\xe9 x\n" + "Größe\n".encode() * 20)
    with pytest.raises(ValueError, match="0xe9.*303.*21") as error:
        for _ in read_corpus([path]).pieces():
            pass
    assert "`encoding" not in str(error.value)
    command = re.search(r"iconv .*", str(error.value))[0]
    subprocess.run(command, shell=True, stderr=subprocess.DEVNULL)
    assert (tmp_path / "a b.txt.utf8").read_text(encoding="utf-8") == "Größe, café\n" * 20 + "caf x\n" + "Größe\n" * 20


def test_among_several_files_the_advice_leaves_the_others_alone(tmp_path):
    (tmp_path / "a.txt").write_text("Größe\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("Größe\n", encoding="cp1252")
    path = shlex.quote(str(tmp_path / "b.txt"))
    with pytest.raises(ValueError, match=f"iconv -f cp1252 -t utf-8 {path} > {path}.utf8"):
        for _ in read_corpus([tmp_path]).pieces():
            pass


def test_what_is_no_text_in_any_encoding_gets_no_name():
    assert ranked(bytes(np.random.default_rng(1).integers(128, 256, 3000).astype(np.uint8)))[0][0] < 0.5
