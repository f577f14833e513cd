"""Files that are not text, by their first bytes: what each is, and how to get its text, if it has any."""

from __future__ import annotations

import re

HEAD = 1 << 16  # bytes at the start of a file that are examined
CONTROLS = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")  # bytes that no text has, except in UTF-16 and UTF-32

UNPACK = "unpack it first: "
OFFICE = "open it in the program that wrote it and save it as plain text, in UTF-8"
EXPORT = "export its text to a plain text file first"
CONVERT = "convert it to plain text first, for example with Calibre"
NONE = "it has no text to train on"
NUMBERS = "it holds numbers, not text"

# The first bytes, what such a file is, and what to do; {} is the file's name.
WITH_ADVICE: dict[bytes, tuple[str, str]] = {
    b"\x1f\x8b": ("compressed with gzip", UNPACK + "gunzip -k {}"),
    b"BZh": ("compressed with bzip2", UNPACK + "bunzip2 -k {}"),
    b"\xfd7zXZ\x00": ("compressed with xz", UNPACK + "unxz -k {}"),
    b"\x5d\x00\x00\x80\x00": ("compressed with lzma", UNPACK + "unlzma -k {}"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", UNPACK + "unzstd {}"),
    b"\x04\x22\x4d\x18": ("compressed with lz4", UNPACK + "unlz4 {}"),
    b"\x1f\x9d": ("compressed with compress", UNPACK + "uncompress -k {}"),
    b"LZIP": ("compressed with lzip", UNPACK + "lzip -dk {}"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", UNPACK + "7z x {}"),
    b"Rar!\x1a\x07": ("a RAR archive", UNPACK + "unrar x {}"),
    b"MSCF\x00": ("a CAB archive", UNPACK + "cabextract {}"),
    b"%PDF-": ("a PDF", "extract its text first, for example with: pdftotext {}"),
    b"AT&TFORM": ("a DjVu document", "extract its text first, for example with: djvutxt {}"),
    b"{\\rtf": ("an RTF document", OFFICE),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an older Microsoft Office document (.doc, .xls or .ppt)", OFFICE),
    b"SQLite format 3\x00": ("an SQLite database", EXPORT), b"PAR1": ("a Parquet table", EXPORT),
    b"ARROW1": ("an Arrow table", EXPORT), b"FEA1": ("a Feather table", EXPORT),
    b"\x89HDF\r\n": ("an HDF5 file", NUMBERS), b"\x93NUMPY": ("a NumPy array", NUMBERS),
    b"GGUF": ("a GGUF model", NUMBERS),
}  # fmt: skip
WITHOUT_TEXT: dict[bytes, str] = {
    b"!<arch>\n": "an ar archive", b"\x89PNG\r\n": "a PNG image", b"\xff\xd8\xff": "a JPEG image",
    b"GIF87a": "a GIF image", b"GIF89a": "a GIF image", b"II*\x00": "a TIFF image", b"MM\x00*": "a TIFF image",
    b"BM": "a BMP image", b"8BPS": "a Photoshop image", b"\x1a\x45\xdf\xa3": "a Matroska or WebM video",
    b"FLV\x01": "a Flash video", b"ID3": "an MP3 sound", b"\xff\xfb": "an MP3 sound", b"\xff\xf3": "an MP3 sound",
    b"OggS": "an Ogg sound or video", b"fLaC": "a FLAC sound", b"MThd": "a MIDI file", b"\x7fELF": "a program (ELF)",
    b"MZ": "a Windows program", b"\xfe\xed\xfa": "a macOS program", b"\xcf\xfa\xed\xfe": "a macOS program",
    b"\xca\xfe\xba\xbe": "a Java class or a macOS program", b"\x00asm": "a WebAssembly program",
    b"dex\n0": "an Android program", b"wOF": "a font", b"OTTO": "a font",
    **{b"\x80" + bytes([protocol]): "a Python pickle" for protocol in range(2, 6)},
}  # fmt: skip
SIGNATURES: tuple[tuple[bytes, int, str, str], ...] = (  # (the bytes, at which offset, what, what to do)
    *((mark, 0, *row) for mark, row in WITH_ADVICE.items()),
    *((mark, 0, what, NONE) for mark, what in WITHOUT_TEXT.items()),
    (b"ustar", 257, "a tar archive", UNPACK + "tar -xf {}"),
    (b"BOOKMOBI", 60, "a Kindle book", CONVERT),
    (b"WEBP", 8, "a WebP image", NONE),
    (b"AVI ", 8, "an AVI video", NONE),
    (b"WAVE", 8, "a WAV sound", NONE),
    (b"ftypheic", 4, "a HEIC image", NONE),
    (b"ftypavif", 4, "an AVIF image", NONE),
    (b"ftyp", 4, "an MP4 video or sound", NONE),
    (b"\r\r\n", 1, "compiled Python", NONE),
    (b"\r\n", 2, "compiled Python", NONE),
)
# A text in another encoding than UTF-8 may begin with these bytes, too: they count only if bytes of 0 follow.
ALSO_TEXT = (b"\xff\xfb", b"\xff\xf3", b"\xfe\xed\xfa", b"\r\n", b"\r\r\n")
# Office documents and books are zip archives: a name inside tells which.
ZIPPED: dict[bytes, tuple[str, str]] = {
    b"mimetypeapplication/epub": ("an EPUB book", CONVERT),
    b"mimetypeapplication/vnd.oasis.opendocument": ("an OpenDocument file", OFFICE),
    b"word/": ("a Word document (.docx)", OFFICE),
    b"xl/": ("an Excel workbook (.xlsx)", OFFICE),
    b"ppt/": ("a PowerPoint presentation (.pptx)", OFFICE),
    b"[Content_Types].xml": ("a Microsoft Office document", OFFICE),
    b"/data.pkl": ("a PyTorch checkpoint", NUMBERS),
    b".npy": ("a NumPy archive", NUMBERS),
    b"META-INF/": ("a Java archive", NONE),
}


def identify(head: bytes) -> tuple[str, str] | None:
    """Return (what the file is, what to do) if it starts with `head` and is not text; None if it may be text.

    A signature that is also how a text could start (`BM`, `ID3`) counts only if the head cannot be text.
    """
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return next((found for name, found in ZIPPED.items() if name in head), ("a zip archive", UNPACK + "unzip {}"))
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
    """Return whether `data`, which may end within a character, is UTF-8 without a NUL."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) - error.start > 3 or error.reason != "unexpected end of data":
            return False
    return b"\x00" not in data
