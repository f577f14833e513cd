"""Files that are not text, by the bytes that they begin with: what each is, and how to get its text, if it has one."""

from __future__ import annotations

import re

HEAD = 1 << 16  # bytes at the start of a file that are looked at
CONTROLS = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")  # bytes that no text has, except in UTF-16 and UTF-32

PACKED = "unpack it first: {}"
OFFICE = "open it in the program that wrote it and save it as plain text, in UTF-8"
NONE = "it has no text to train on"
NUMBERS = "it holds numbers, not text"

# (the bytes, where they stand, what such a file is, what to do; {} is the file's name)
SIGNATURES: tuple[tuple[bytes, int, str, str], ...] = (
    (b"\x1f\x8b", 0, "compressed with gzip", PACKED.format("gunzip -k {}")),
    (b"BZh", 0, "compressed with bzip2", PACKED.format("bunzip2 -k {}")),
    (b"\xfd7zXZ\x00", 0, "compressed with xz", PACKED.format("unxz -k {}")),
    (b"\x5d\x00\x00\x80\x00", 0, "compressed with lzma", PACKED.format("unlzma -k {}")),
    (b"\x28\xb5\x2f\xfd", 0, "compressed with zstd", PACKED.format("unzstd {}")),
    (b"\x04\x22\x4d\x18", 0, "compressed with lz4", PACKED.format("unlz4 {}")),
    (b"\x1f\x9d", 0, "compressed with compress", PACKED.format("uncompress -k {}")),
    (b"LZIP", 0, "compressed with lzip", PACKED.format("lzip -dk {}")),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive", PACKED.format("7z x {}")),
    (b"Rar!\x1a\x07", 0, "a RAR archive", PACKED.format("unrar x {}")),
    (b"MSCF\x00", 0, "a CAB archive", PACKED.format("cabextract {}")),
    (b"!<arch>\n", 0, "an ar archive", NONE),
    (b"ustar", 257, "a tar archive", PACKED.format("tar -xf {}")),
    (b"%PDF-", 0, "a PDF", "extract its text first, for example with: pdftotext {}"),
    (b"{\\rtf", 0, "an RTF document", OFFICE),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0, "an older Microsoft Office document (.doc, .xls or .ppt)", OFFICE),
    (b"BOOKMOBI", 60, "a Kindle book", "convert it to plain text first, for example with Calibre"),
    (b"AT&TFORM", 0, "a DjVu document", "extract its text first, for example with: djvutxt {}"),
    (b"\x89PNG\r\n", 0, "a PNG image", NONE),
    (b"\xff\xd8\xff", 0, "a JPEG image", NONE),
    (b"GIF87a", 0, "a GIF image", NONE),
    (b"GIF89a", 0, "a GIF image", NONE),
    (b"II*\x00", 0, "a TIFF image", NONE),
    (b"MM\x00*", 0, "a TIFF image", NONE),
    (b"WEBP", 8, "a WebP image", NONE),
    (b"BM", 0, "a BMP image", NONE),
    (b"8BPS", 0, "a Photoshop image", NONE),
    (b"ftypheic", 4, "a HEIC image", NONE),
    (b"ftypavif", 4, "an AVIF image", NONE),
    (b"ftyp", 4, "an MP4 video or sound", NONE),
    (b"\x1a\x45\xdf\xa3", 0, "a Matroska or WebM video", NONE),
    (b"AVI ", 8, "an AVI video", NONE),
    (b"FLV\x01", 0, "a Flash video", NONE),
    (b"ID3", 0, "an MP3 sound", NONE),
    (b"\xff\xfb", 0, "an MP3 sound", NONE),
    (b"\xff\xf3", 0, "an MP3 sound", NONE),
    (b"OggS", 0, "an Ogg sound or video", NONE),
    (b"fLaC", 0, "a FLAC sound", NONE),
    (b"WAVE", 8, "a WAV sound", NONE),
    (b"MThd", 0, "a MIDI file", NONE),
    (b"\x7fELF", 0, "a program (ELF)", NONE),
    (b"MZ", 0, "a Windows program", NONE),
    (b"\xfe\xed\xfa", 0, "a macOS program", NONE),
    (b"\xcf\xfa\xed\xfe", 0, "a macOS program", NONE),
    (b"\xca\xfe\xba\xbe", 0, "a Java class or a macOS program", NONE),
    (b"\x00asm", 0, "a WebAssembly program", NONE),
    (b"dex\n0", 0, "an Android program", NONE),
    (b"\r\r\n", 1, "compiled Python", NONE),
    (b"\r\n", 2, "compiled Python", NONE),
    (b"wOF", 0, "a font", NONE),
    (b"OTTO", 0, "a font", NONE),
    (b"SQLite format 3\x00", 0, "an SQLite database", "export the text that it holds first"),
    (b"PAR1", 0, "a Parquet table", "export its text column to a plain text file first"),
    (b"ARROW1", 0, "an Arrow table", "export its text column to a plain text file first"),
    (b"FEA1", 0, "a Feather table", "export its text column to a plain text file first"),
    (b"\x89HDF\r\n", 0, "an HDF5 file", NUMBERS),
    (b"\x93NUMPY", 0, "a NumPy array", NUMBERS),
    (b"GGUF", 0, "a GGUF model", NUMBERS),
    *((b"\x80" + bytes([protocol]), 0, "a Python pickle", NONE) for protocol in range(2, 6)),
)
# Bytes with which a text in another encoding than UTF-8 may begin as well: they count only beside bytes of 0.
ALSO_TEXT = (b"\xff\xfb", b"\xff\xf3", b"\xfe\xed\xfa", b"\r\n", b"\r\r\n")

# What a zip archive holds tells what it is: office documents and books are zip archives.
ZIPPED: tuple[tuple[bytes, str, str], ...] = (
    (b"mimetypeapplication/epub", "an EPUB book", "convert it to plain text first, for example with Calibre"),
    (b"mimetypeapplication/vnd.oasis.opendocument", "an OpenDocument file", OFFICE),
    (b"word/", "a Word document (.docx)", OFFICE),
    (b"xl/", "an Excel workbook (.xlsx)", OFFICE),
    (b"ppt/", "a PowerPoint presentation (.pptx)", OFFICE),
    (b"[Content_Types].xml", "a Microsoft Office document", OFFICE),
    (b"/data.pkl", "a PyTorch checkpoint", NUMBERS),
    (b".npy", "a NumPy archive", NUMBERS),
    (b"META-INF/", "a Java archive", NONE),
)


def named(head: bytes) -> tuple[str, str] | None:
    """(what a file is, what to do with it) if it begins with `head` and is not text; None if it may be text.

    A signature that is also how a text could begin (`BM`, `ID3`) counts only if the head cannot be text.
    """
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        found = next((row[1:] for row in ZIPPED if row[0] in head), None)
        return found or ("a zip archive", PACKED.format("unzip {}"))
    text, nul = is_utf8(head) or not CONTROLS.search(head), b"\x00" in head
    for mark, at, what, advice in SIGNATURES:
        if head.startswith(mark, at) and not (mark in ALSO_TEXT and not nul):
            sure = not mark.isascii() or b"\x00" in mark or mark in (b"%PDF-", b"{\\rtf", b"\x1f\x9d")
            if sure or not text:
                return what, advice
    if re.match(rb'.{4}\x00{4}\{"', head, re.DOTALL):
        return "a safetensors model", NUMBERS
    return None


def is_utf8(data: bytes) -> bool:
    """Whether `data`, which may end within a character, is UTF-8 without a NUL."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) - error.start > 3 or error.reason != "unexpected end of data":
            return False
    return b"\x00" not in data
