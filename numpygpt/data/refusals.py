"""Files that cannot be read as text: what each is, in which encoding it would be readable, and what to do."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from numpygpt.data.encodings import LIKELY, SIMILAR, UNLIKELY, nearly_utf8, ranked, score, wide_encoding
from numpygpt.data.file_types import HEAD, identify, is_utf8
from numpygpt.utils.colour import printable

if TYPE_CHECKING:
    from numpygpt.data.documents import Document

AROUND = 1 << 15  # bytes on each side of an unreadable byte, from which the encoding is guessed
BEFORE, AFTER = 20, 50  # characters of the line that are shown, on each side of that byte
CONTROLS = re.compile(r"[\x01-\x06\x0e-\x1a\x1c-\x1f\x7f]")  # without those of terminals and line printers
MAX_CONTROLS = 10  # in a text, or so large a part of its characters:
MAX_CONTROL_PART = 0.1
CUT_OFF = ("unexpected end of data", "incomplete multibyte sequence")  # why the end of a document cannot be read
EDGE = re.compile(rb"[\x00-\x2f\x3a-\x3f]")  # no character of several bytes contains one of these
# Byte order marks, the encoding that reads each, and its name with the order of the bytes.
MARKS = ((b"\xff\xfe\x00\x00", "utf-32", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32", "utf-32-be"),
         (b"\xff\xfe", "utf-16", "utf-16-le"), (b"\xfe\xff", "utf-16", "utf-16-be"))  # fmt: skip


def check_head(document: Document) -> list[str]:
    """Raise ValueError if a document is not text, or is UTF-16 or UTF-32 and would be read as something else.

    Returns notes for the user, if the given encoding is probably wrong.
    """
    head = document.head(HEAD)
    if found := identify(head):
        what, advice = found
        raise ValueError(f"{document.label} is {what}: {advice.format(document.shell_name())}{document.hint}")
    given = document.encoding
    marked = next((names for mark, *names in MARKS if head.startswith(mark)), None)
    if marked and given not in marked:
        raise ValueError(f"{document.label} is not {given.upper()}; it begins as {marked[1].upper()} does: "
                         f"{remedy(document, marked[0])}{document.hint}")
    wide = None if marked else wide_encoding(head)
    if wide and given != wide:
        raise ValueError(f"{document.label} is not {given.upper()}: it is {wide.upper()} without a byte order mark: "
                         f"{remedy(document, wide)}{document.hint}")
    if given in ("utf-16", "utf-32") and head and not marked:
        raise no_mark(document)
    if given.startswith(("utf-16", "utf-32")):
        return [f"{document.label} is probably UTF-8, not {given.upper()}: leave out `encoding`"] * is_utf8(head)
    try:
        codecs.getincrementaldecoder(given)().decode(head, final=len(head) < HEAD)
    except UnicodeDecodeError as error:  # found before the files before it are read
        cut_off = error.end == len(head) and error.reason in CUT_OFF
        raise cannot_read(document, error.start, head.count(b"\n", 0, error.start) + 1, cut_off) from error
    return _another_encoding(document, head)


def _another_encoding(document: Document, head: bytes) -> list[str]:
    """Return a note if another encoding fits `head` better than the given one."""
    given = document.encoding
    if given == "utf-8" and (b"\x1b$B" in head or b"\x1b$@" in head):
        return [f"{document.label} is probably ISO-2022-JP, whose Japanese letters read as ASCII: "
                f"{remedy(document, 'iso2022_jp')}"]
    if given == "utf-8" or head.isascii():
        return []
    head = head[: head.rfind(b"\n") + 1] or head
    ours = score(head, given)
    rows = ranked(head, given)
    if ours < 0 or not rows or rows[0][0] < LIKELY or ours > LIKELY * rows[0][0]:
        return []
    name = rows[0][1]
    at = next(i for i, byte in enumerate(head) if byte > 127)
    how = "without `encoding`" if name == "utf-8" else f'with `encoding="{name}"`'
    return [f"{document.label} is probably {name}, not {given}: a line reads '{line_around(head, at, given)}', and "
            f"{how} '{line_around(head, at, name)}'"]


def no_mark(document: Document) -> ValueError:
    """Return the error for a document without a byte order mark that should be read as UTF-16 or UTF-32."""
    head, given = document.head(HEAD), document.encoding
    right = wide_encoding(head) or next((name for points, name in ranked(head) if points >= LIKELY), f"{given}-le")
    return ValueError(f"{document.label} is not {given.upper()}: it has no byte order mark. If it is {given.upper()}, "
                      f"name the order with -le or -be: {remedy(document, right)}{document.hint}")


def check_text(document: Document, text: str, lines: int, first: bool) -> None:
    """Raise ValueError if `text`, which follows `lines` line ends, shows that the document is binary."""
    if "\x00" in text:
        number = lines + text.count("\n", 0, text.index("\x00")) + 1
        how = f": to remove them: tr -d '\\000' < {document.shell_name()} > {document.shell_name('.new')}"
        raise ValueError(f"{document.label} has a NUL character in line {number:,}: it is binary data or a damaged "
                         f"text{how if document.is_file else ''}{document.hint}")
    if first and (count := len(CONTROLS.findall(text))) > max(MAX_CONTROLS, MAX_CONTROL_PART * len(text)):
        raise ValueError(f"{document.label} is not text: {count:,} of its first {len(text):,} characters are control "
                         f"characters{document.hint}")


def cannot_read(document: Document, at: int, number: int, cut_off: bool) -> ValueError:
    """Return the error for the byte at offset `at`, in line `number`, that the document's encoding cannot read."""
    with document.open() as file:
        file.seek(start := max(0, at - AROUND))
        sample = file.read(2 * AROUND)
    has_end, at = len(sample) < 2 * AROUND, at - start
    what = f"byte 0x{sample[at]:02x} at offset {start + at:,} (line {number:,}) cannot be read"
    if cut_off:
        what += ": the file ends within a character"
    if start and (edge := EDGE.search(sample, 0, at)):
        sample, at = sample[edge.end() :], at - edge.end()
    if not has_end:
        sample = sample[: max((found.end() for found in EDGE.finditer(sample, at)), default=len(sample))]
    return ValueError(f"{document.label} is not {document.encoding.upper()}: {what}. "
                      f"{_advice(document, sample, at)}{document.hint}")


def _advice(document: Document, sample: bytes, at: int) -> str:
    if wide_encoding(document.head(HEAD)):
        return "It is damaged there"
    if b"\x00" in sample:
        return "It also has bytes of 0, so it is binary data and not text"
    if document.encoding == "utf-8" and nearly_utf8(sample):
        return ("Nearly all of it is UTF-8, so it is damaged there: mend that line, or drop what cannot be read: "
                f"iconv -c -f utf-8 -t utf-8 {document.shell_name()} > {document.shell_name('.utf8')}")
    rows = [row for row in ranked(sample, document.encoding) if row[0] >= UNLIKELY]
    if not rows:
        line = line_around(sample, at, "cp1252")
        return f"No usual encoding makes it a text ('{line}' in cp1252): {remedy(document, 'NAME')}, if it is text"
    (best, name), line = rows[0], line_around(sample, at, rows[0][1])
    others = [(line_around(sample, at, other), other) for points, other in rows[1:] if points >= SIMILAR * best]
    others = [row for row in others if row[0] != line][:2]
    if best >= LIKELY and not others:
        return f"It is probably {name}, in which the line reads '{line}': {remedy(document, name)}"
    readings = ", ".join(f"'{text}' in {other}" for text, other in [(line, name), *others])
    return f"The line reads {readings}. If the first is right, {remedy(document, name)}"


def remedy(document: Document, encoding: str) -> str:
    """Return how to read the document in another encoding: by the argument, or by a command if there is none."""
    argument = f'`encoding="{encoding}"`'
    if document.can_reencode and not document.several:
        return f"give {argument}"
    name = encoding.replace("utf-16-", "utf-16").replace("utf-32-", "utf-32")  # as iconv calls it
    convert = f"iconv -f {name} -t utf-8 {document.shell_name()} > {document.shell_name('.utf8')}"
    if not document.can_reencode:
        return f"convert it: {convert}"
    return f"give {argument} if it holds for all files, or convert this one: {convert}"


def line_around(sample: bytes, at: int, encoding: str) -> str:
    """Return the part around the byte `at` of its line in `sample`, read in `encoding`."""
    place = len(sample[:at].decode(encoding, errors="ignore"))
    text = sample.decode(encoding, errors="replace")
    start = max(text.rfind("\n", 0, place) + 1, place - BEFORE)
    end = text.find("\n", place)
    return printable(text[start : min(end if end >= 0 else len(text), place + AFTER)].strip())
