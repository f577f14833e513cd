"""Files that cannot be read as text: what each is, how it would read, and what to do."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from numpygpt.data.encodings import LIKELY, SIMILAR, UNLIKELY, by_units, judged, nearly_utf8, ranked
from numpygpt.data.signatures import HEAD, is_utf8, named
from numpygpt.utils.colour import printable

if TYPE_CHECKING:
    from numpygpt.data.documents import Document

AROUND = 1 << 15  # bytes on each side of a byte that cannot be read, by which the encoding is judged
BEFORE, AFTER = 20, 50  # characters of the line that are shown, on each side of that byte
CONTROLS = re.compile(r"[\x01-\x06\x0e-\x1a\x1c-\x1f\x7f]")  # not those of terminals and line printers
MANY = 0.1  # of a text's characters: with so many of these it is not a text
FEW = 10
CUT_OFF = ("unexpected end of data", "incomplete multibyte sequence")  # why the end of a document cannot be read
EDGE = re.compile(rb"[\x00-\x2f\x3a-\x3f]")  # no character of several bytes goes over one of these
# Byte order marks, the encoding that reads each, and its name with the order of the bytes.
MARKS = ((b"\xff\xfe\x00\x00", "utf-32", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32", "utf-32-be"),
         (b"\xff\xfe", "utf-16", "utf-16-le"), (b"\xfe\xff", "utf-16", "utf-16-be"))  # fmt: skip


def check_head(document: Document) -> list[str]:
    """ValueError if a document is not text, or is text in UTF-16 or UTF-32 that is to be read as something else.

    Returns notes for the user, if the encoding that was given is probably not the document's.
    """
    head = document.head(HEAD)
    if found := named(head):
        what, advice = found
        raise ValueError(f"{document.label} is {what}: {advice.format(document.word())}{document.hint}")
    given = document.encoding
    marked = next((names for mark, *names in MARKS if head.startswith(mark)), None)
    if marked and given not in marked:
        raise ValueError(f"{document.label} is not {given.upper()}; it begins as {marked[1].upper()} does: "
                         f"{remedy(document, marked[0])}{document.hint}")
    units = None if marked else by_units(head)
    if units and given != units:
        raise ValueError(f"{document.label} is not {given.upper()}: it is {units.upper()} without a byte order mark: "
                         f"{remedy(document, units)}{document.hint}")
    if given in ("utf-16", "utf-32") and head and not marked:
        raise no_mark(document)
    if given.startswith(("utf-16", "utf-32")):
        return [f"{document.label} is probably UTF-8, not {given.upper()}: leave --encoding out"] * is_utf8(head)
    try:
        codecs.getincrementaldecoder(given)().decode(head, final=len(head) < HEAD)
    except UnicodeDecodeError as error:  # found before the files that come earlier are read
        cut_off = error.end == len(head) and error.reason in CUT_OFF
        raise cannot_read(document, error.start, head.count(b"\n", 0, error.start) + 1, cut_off) from error
    return _another(document, head)


def _another(document: Document, head: bytes) -> list[str]:
    """A note if another encoding makes better sense of `head` than the one that was given."""
    given = document.encoding
    if given == "utf-8" and (b"\x1b$B" in head or b"\x1b$@" in head):
        return [f"{document.label} is probably ISO-2022-JP, whose Japanese letters read as ASCII: "
                f"{remedy(document, 'iso2022_jp')}"]
    if given == "utf-8" or head.isascii():
        return []
    head = head[: head.rfind(b"\n") + 1] or head
    score = judged(head, given)
    rows = ranked(head, given)
    if score < 0 or not rows or rows[0][0] < LIKELY or score > LIKELY * rows[0][0]:
        return []
    name = rows[0][1]
    at = next(i for i, byte in enumerate(head) if byte > 127)
    how = "no --encoding" if name == "utf-8" else f"--encoding {name}"
    return [f"{document.label} is probably {name}, not {given}: a line reads '{line(head, at, given)}', and with {how} "
            f"'{line(head, at, name)}'"]


def no_mark(document: Document) -> ValueError:
    """The error for a document that is to be read as UTF-16 or UTF-32 and has no byte order mark."""
    head, given = document.head(HEAD), document.encoding
    right = by_units(head) or next((name for score, name in ranked(head) if score >= LIKELY), f"{given}-le")
    return ValueError(f"{document.label} is not {given.upper()}: it begins with no byte order mark, so -le or -be must "
                      f"be said, if it is: {remedy(document, right)}{document.hint}")


def check_text(document: Document, text: str, lines: int, first: bool) -> None:
    """ValueError if `text`, which `lines` line ends come before, shows that the document is binary."""
    if "\x00" in text:
        number = lines + text.count("\n", 0, text.index("\x00")) + 1
        how = f": to remove them: tr -d '\\000' < {document.word()} > {document.word('.new')}"
        raise ValueError(f"{document.label} has a NUL character in line {number:,}: it is binary data, or a text that "
                         f"was damaged{how if document.is_file else ''}{document.hint}")
    if first and (count := len(CONTROLS.findall(text))) > max(FEW, MANY * len(text)):
        raise ValueError(f"{document.label} is not text: {count:,} of its first {len(text):,} characters are control "
                         f"characters{document.hint}")


def cannot_read(document: Document, at: int, number: int, cut_off: bool) -> ValueError:
    """The error for the byte at offset `at`, in line `number`, at which a document's encoding fails."""
    with document.open() as file:
        file.seek(start := max(0, at - AROUND))
        sample = file.read(2 * AROUND)
    whole, at = len(sample) < 2 * AROUND, at - start  # whole: the document's end is in it
    what = f"byte 0x{sample[at]:02x} at offset {start + at:,} (line {number:,}) cannot be read"
    if cut_off:
        what += ": the file ends within a character"
    if start and (edge := EDGE.search(sample, 0, at)):
        sample, at = sample[edge.end() :], at - edge.end()
    if not whole:
        sample = sample[: max((found.end() for found in EDGE.finditer(sample, at)), default=len(sample))]
    return ValueError(f"{document.label} is not {document.encoding.upper()}: {what}. "
                      f"{_advice(document, sample, at)}{document.hint}")


def _advice(document: Document, sample: bytes, at: int) -> str:
    if by_units(document.head(HEAD)):
        return "It is damaged there"
    if b"\x00" in sample:
        return "It also has bytes of 0, so it is binary data and not text"
    if document.encoding == "utf-8" and nearly_utf8(sample):
        return f"Nearly all of it is UTF-8, so it is damaged there: mend that line, or {_without(document)}"
    rows = [row for row in ranked(sample, document.encoding) if row[0] >= UNLIKELY]
    if not rows:
        shown = line(sample, at, "cp1252")
        return f"In no usual encoding it reads like a text ('{shown}' in cp1252): {remedy(document, 'NAME')}, if it is"
    (best, name), shown = rows[0], line(sample, at, rows[0][1])
    others = [(line(sample, at, other), other) for score, other in rows[1:] if score >= SIMILAR * best]
    others = [row for row in others if row[0] != shown][:2]
    if best >= LIKELY and not others:
        return f"It is probably {name}, in which the line reads '{shown}': {remedy(document, name)}"
    readings = ", ".join(f"'{text}' in {other}" for text, other in [(shown, name), *others])
    return f"The line reads {readings}. If the first is right, {remedy(document, name)}"


def _without(document: Document) -> str:
    return f"drop what cannot be read: iconv -c -f utf-8 -t utf-8 {document.word()} > {document.word('.utf8')}"


def remedy(document: Document, encoding: str) -> str:
    """How to read the document in another encoding: by the flag if its script has one, or by a command."""
    flag = f"--encoding {encoding}"
    if document.flag and not document.several:
        return f"give {flag}"
    name = encoding.replace("utf-16-", "utf-16").replace("utf-32-", "utf-32")  # as iconv calls it
    convert = f"iconv -f {name} -t utf-8 {document.word()} > {document.word('.utf8')}"
    if not document.flag:
        return f"convert it: {convert}"
    return f"give {flag} if all files are, or convert this one: {convert}"


def line(sample: bytes, at: int, encoding: str) -> str:
    """The line of `sample` that has the byte `at`, as it reads in `encoding`: the part around that byte."""
    place = len(sample[:at].decode(encoding, errors="ignore"))
    text = sample.decode(encoding, errors="replace")
    start = max(text.rfind("\n", 0, place) + 1, place - BEFORE)
    end = text.find("\n", place)
    return printable(text[start : min(end if end >= 0 else len(text), place + AFTER)].strip())
