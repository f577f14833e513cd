"""Reading in blocks: every encoding, characters and separators across the blocks' edges, cuts, and exact offsets."""

import io
import random
import re

import pytest

from numpygpt.data import documents
from numpygpt.data.documents import Document, decoded
from numpygpt.data.encodings import check_encoding
from numpygpt.data.streams import END, Cut, separated, tidied

TEXT = "naïve 日本語 \U0001f600 e\u0301\r\n" * 3


@pytest.fixture(params=[1, 2, 3, 7, 1 << 20])
def block(request, monkeypatch):
    monkeypatch.setattr(documents, "BLOCK", request.param)
    return request.param


def file(tmp_path, data, encoding="utf-8", hint=""):
    path = tmp_path / "text.txt"
    path.write_bytes(data)
    return Document("text.txt", path, check_encoding(encoding), hint)


def parted(pieces):
    """The text before the cut and behind it, and the byte of the cut."""
    before, after, at = "", "", None
    for piece in pieces:
        if isinstance(piece, Cut):
            assert at is None
            at = piece.at
        elif at is None:
            before += piece
        else:
            after += piece
    return before, after, at


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "gb18030"])
def test_a_text_is_read_whole_whatever_the_block(tmp_path, block, encoding):
    document = file(tmp_path, TEXT.encode(encoding), encoding)
    assert "".join(decoded(document)) == TEXT
    assert document.size == len(TEXT.encode(encoding))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_one_byte_encodings(tmp_path, block, encoding):
    assert "".join(decoded(file(tmp_path, b"caf\xe9 \xfcber", encoding))) == "café über"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_byte_order_mark_is_dropped_at_the_start_and_nowhere_else(tmp_path, block, encoding):
    text = "\ufeffone\ufefftwo"
    assert "".join(decoded(file(tmp_path, text.encode(encoding), encoding))) == "one\ufefftwo"


@pytest.mark.parametrize(
    ("data", "encoding", "byte", "offset"),
    [
        (b"caf\xc3\xa9 \xe9 au lait", "utf-8", 0xE9, 6),
        (b"\xef\xbb\xbfcaf\xe9 au lait", "utf-8", 0xE9, 6),
        (b"ab\xe6\x97", "utf-8", 0xE6, 2),  # cut off in a character
        (b"ab\xed\xa0\x80", "utf-8", 0xED, 2),  # half a UTF-16 pair
        (b"\x01" * 5 + b"\xff\xfe", "utf-8", 0xFF, 5),
        ("ab".encode("utf-16") + b"\x00\xdc\x00\x00", "utf-16", 0x00, 6),
        ("ab".encode("utf-16") + b"c", "utf-16", ord("c"), 6),
        (b"abc\x81", "cp1252", 0x81, 3),
        (b"\xc4\xe3\xff\xff", "gb18030", 0xFF, 2),
    ],
)
def test_what_cannot_be_read_is_named_by_byte_and_offset(tmp_path, block, data, encoding, byte, offset):
    document = file(tmp_path, data, encoding, "; and a hint")
    name = re.escape(encoding.upper())
    with pytest.raises(ValueError, match=rf"text\.txt is not {name}: byte 0x{byte:02x} at offset {offset} .*; and a "
                                         "hint$"):
        "".join(decoded(document))


def test_an_offset_far_into_a_file(tmp_path):
    with pytest.raises(ValueError, match="0xff.*3,000,001"):
        for _ in decoded(file(tmp_path, "é".encode() * 1_500_000 + b"a\xff")):
            pass


def test_utf16_without_a_mark_must_say_its_order(tmp_path, block):
    with pytest.raises(ValueError, match="16.*16"):
        "".join(decoded(file(tmp_path, "some text".encode("utf-16-le"), "utf-16")))


def test_encodings_are_checked_by_name():
    assert check_encoding("latin1") == check_encoding("L1") == "iso8859-1"
    for name, near in (("utf9", "utf"), ("latni-1", "latin-1"), ("utf-166", "utf-16")):
        with pytest.raises(ValueError, match=f"'{name}'; did you mean {near}"):
            check_encoding(name)
    for name in ("base64", "zip", "rot13", "undefined", "hex", "", "a\0b"):  # no encodings of text
        with pytest.raises(ValueError):
            check_encoding(name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
def test_a_cut_moves_to_the_next_whole_character(tmp_path, block, encoding):
    data = TEXT.encode(encoding)
    document = file(tmp_path, data, encoding)
    edges = [len(TEXT[:i].encode(encoding)) for i in range(1, len(TEXT) + 1)]  # where characters end
    for cut in range(len(data)):
        before, after, at = parted(decoded(document, cut, start=100))
        wanted = min(edge for edge in [0, *([2] if encoding == "utf-16" else []), *edges] if edge >= cut)
        assert (before + after, at) == (TEXT, 100 + wanted)
        assert before == TEXT[: sum(edge <= wanted for edge in edges)]


def test_blocks_are_reported_and_never_larger_than_they_should_be(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "BLOCK", 10)
    read = []
    pieces = list(decoded(file(tmp_path, b"x" * 95), 33, read=read.append))
    assert sum(read) == 95 and max(read) == 10 and max(len(piece) for piece in pieces if isinstance(piece, str)) == 10


def test_an_open_file_is_read_from_its_start_each_time():
    document = Document("stdin", io.BytesIO(b"some text"))
    assert document.size == 9
    assert ["".join(decoded(document)) for _ in range(2)] == ["some text"] * 2


def pieces_of(text, rng, cut=None):
    """`text` in pieces, some empty, with a cut at a place."""
    places = sorted(rng.choices(range(len(text) + 1), k=rng.randrange(8)))
    pieces = []
    for start, end in zip([0, *places], [*places, len(text)], strict=True):
        if cut is not None and start <= cut[0] < end:
            pieces += [text[start : cut[0]], cut[1]]
            start = cut[0]
        pieces.append(text[start:end])
    return pieces


@pytest.mark.parametrize("separator", ["--", "<|endoftext|>", "\n\n", "aab", "a"])
def test_separators_are_found_wherever_the_pieces_end(separator):
    rng = random.Random(0)
    parts = [separator, separator[:-1], "\n", "\r\n", "\r", "a", "b", "é"]
    for _ in range(500):
        text = "".join(rng.choices(parts, k=rng.randrange(12)))
        expected = re.split(re.escape(separator) + r"(?:\r?\n)?", text)
        found = "".join("\0" if piece is END else piece for piece in separated(pieces_of(text, rng), separator))
        assert found.split("\0") == expected


def test_a_cut_keeps_its_place_among_separators():
    rng = random.Random(1)
    for _ in range(1000):
        text = "".join(rng.choices(["--", "-", "\n", "a", "bc"], k=rng.randrange(1, 10)))
        at = rng.randrange(len(text))
        found = list(tidied(separated(pieces_of(text, rng, (at, Cut(at))), "--")))
        assert sum(isinstance(piece, Cut) for piece in found) == 1
        signs = "".join("\0" if piece is END else "|" if isinstance(piece, Cut) else piece for piece in found)
        assert signs.replace("|", "") == re.sub("\0+", "\0", re.sub(r"--(\r?\n)?", "\0", text)).removeprefix("\0")
        before = signs.index("|")  # as much text before the cut as there is before byte `at`
        outside = [match.span() for match in re.finditer(r"--(?:\r?\n)?", text)]
        kept = sum(not any(a <= i < b for a, b in outside) for i in range(at))
        assert len(signs[:before].replace("\0", "")) == kept


def test_tidied():
    cut = Cut(3)
    assert list(tidied([END, "", cut, END, "a", "", END, END, cut, END, "b"])) == [cut, "a", END, cut, "b"]
    assert list(tidied(["a", cut, END])) == ["a", END, cut]
