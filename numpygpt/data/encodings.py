"""How a text is encoded: names of encodings, and which of them a text that cannot be read probably has.

A reading is judged by its letters. In the right encoding, most letters are the common ones of some language, and they
stand where that language has them: an é beside a Latin letter, a Cyrillic letter never.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from encodings.aliases import aliases

from numpygpt.utils.text import suggestion

LETTERS = 3000  # so many letters that are not ASCII are judged
PLAIN = re.compile(rb"[\x00\t\n\f\r -~]*")
RUN = 4  # so many in a row that are not ASCII are not Latin
LIKELY, UNLIKELY = 0.5, 0.25  # scores, of at most 1
SIMILAR = 0.85  # a second reading with this part of the best score could be the right one as well


@dataclass(frozen=True)
class Script:
    """Letters of a language or two. `usual`: the part of a text's letters that are `common`. Latin letters stand beside
    ASCII letters, letters of other alphabets do not, and Chinese, Japanese and Korean characters (`wide`) may."""

    common: str
    usual: float = 0.7
    latin: bool = False
    wide: bool = False


KANA = "".join(map(chr, [*range(0x3041, 0x3097), *range(0x30A1, 0x30FB)]))
SIMPLIFIED = (
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好"
    "都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此"
)
TRADITIONAL = SIMPLIFIED.translate(str.maketrans(
    "这来国个说们为时会着过学对后么没于还发当无开头见经动两长样现将与进里",
    "這來國個說們為時會著過學對後麼沒於還發當無開頭見經動兩長樣現將與進裡",
))  # fmt: skip
QUOTES = "\u2018\u2019\u201c\u201d\u201e\u2013\u2014\u2026\xa0"  # and dashes, dots and the space that does not break
WESTERN = Script("éèàùçêâîôûëïüöäßñáíóúãõåæøœìòÿ«»€°£§·¡¿©®™•½" + QUOTES, latin=True)
CENTRAL = Script("ąćęłńóśźżáčďěéíňřšťúůýžőűăâîşţäöüôß" + QUOTES, latin=True)
CYRILLIC = Script("оеаинтсрвлкм")
# Earlier encodings win where the readings are equally good.
ENCODINGS: dict[str, Script] = {
    "utf-8": Script("", 0),
    "cp1252": WESTERN,
    "cp1250": CENTRAL,
    "iso8859-2": CENTRAL,
    "cp1254": Script("çğıöşüİâîû" + QUOTES, latin=True),
    "cp1257": Script("āčēģīķļņšūžąęėįųõäöü" + QUOTES, latin=True),
    "cp850": WESTERN,
    "macintosh": WESTERN,
    "cp1251": CYRILLIC,
    "koi8-r": CYRILLIC,
    "cp866": CYRILLIC,
    "iso8859-5": CYRILLIC,
    "cp1253": Script("αοιετσνηυςίόά", 0.65),
    "cp1255": Script("יוהלאמרתשבנםעחדקפ", 0.9),
    "cp1256": Script("اليمونرتبةعدسفهكق"),
    "cp874": Script("านรอกเงมยลวดทส่้ตะีคั", 0.6),
    "gb18030": Script(SIMPLIFIED, 0.3, wide=True),
    "big5": Script(TRADITIONAL, 0.3, wide=True),
    "cp932": Script(KANA, 0.35, wide=True),
    "euc-jp": Script(KANA, 0.35, wide=True),
    "cp949": Script("이다는을가의에고하지를은도한로사어기아나자리서그니시인대게라수일", 0.3, wide=True),
}
RELATED = {"iso8859-1": "cp1252", "iso8859-15": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932",
           "euc_kr": "cp949", "cp950": "big5", "mac-roman": "macintosh", "euc_jp": "euc-jp"}  # judged by this script


def check_encoding(name: str) -> str:
    """Python's name of this encoding; ValueError with the nearest name if it has no such encoding."""
    found = _codec(name)
    if found is None:
        known = filter(_codec, sorted({*aliases, *aliases.values(), "latin-1", "utf-8", "utf-16", "utf-32"}))
        raise ValueError(f"no encoding is called {name!r}{suggestion(name.lower(), known)}; "
                         "usual ones are utf-8, utf-16, latin-1 and cp1252")
    return "utf-8" if found == "utf-8-sig" else found  # the mark is dropped here, whatever the encoding


def _codec(name: str) -> str | None:
    """Python's name of this encoding; None if it has no such encoding of text."""
    try:
        text = codecs.getincrementaldecoder(name)().decode(b"")  # of "zip" this is not a text, and of "rot13" an error
        return codecs.lookup(name).name if isinstance(text, str) else None
    except (LookupError, ValueError, TypeError):
        return None


def by_units(head: bytes) -> str | None:
    """The encoding of UTF-16 or UTF-32 text without a byte order mark that begins with `head`, or None.

    Such a text has a byte of 0 in many of its characters, which no other text has. If its other bytes are ASCII
    text, every second byte is 0: with fewer of them, it is ASCII text that was damaged.
    """
    if b"\x00" not in head or (PLAIN.fullmatch(head) and head.count(0) < 0.4 * len(head)):
        return None
    for name in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
        try:
            text = head[: len(head) // 4 * 4].decode(name)
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                continue
            text = head[: error.start].decode(name)
        seen = sum(char.isprintable() or char in "\t\n\r\f\ufeff" for char in text)
        if text and "\x00" not in text and seen >= 0.95 * len(text):
            return name
    return None


def ranked(sample: bytes, but: str = "") -> list[tuple[float, str]]:
    """(score, encoding) of each `but` one that reads `sample` without an error, the best first."""
    found = [(judged(sample, name), name) for name in ENCODINGS if name != RELATED.get(but, but) or name == "cp1252"]
    return sorted((row for row in found if row[0] >= 0), key=lambda row: -row[0])


def judged(sample: bytes, encoding: str) -> float:
    """How well this encoding's reading fits its script, from 0 to 1; -1 if it cannot be read or judged, and for UTF-8,
    which nothing else looks like, 1 if it can be read."""
    script = ENCODINGS.get(RELATED.get(encoding, encoding))
    if script is None or (encoding == "utf-8" and not nearly_utf8(sample)):
        return -1
    if encoding == "utf-8":
        return 1
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return -1
    fits, letters = 0.0, 0
    for before, run, after in _runs(text):
        for char, left, right in zip(run, before + run, run[1:] + after, strict=False):
            if not script.wide or char.isalpha():
                letters += 1
                fits += _fits(script, left, char, right) if len(run) < RUN or not script.latin else 0
        if letters >= LETTERS:
            break
    return min(1.0, fits / letters / script.usual) if letters else 0.0


def nearly_utf8(sample: bytes) -> bool:
    """Whether of ten characters that are not ASCII at least nine are UTF-8."""
    text = sample.decode("utf-8", errors="surrogateescape")
    wrong = len(re.findall("[\udc80-\udcff]", text))
    return sum(not char.isascii() for char in text) - wrong >= 9 * wrong


def _runs(text: str) -> Iterator[tuple[str, str, str]]:
    """Each run of characters that are not ASCII, between its neighbours."""
    for found in re.finditer(r"[^\x00-\x7f]+", text):
        start, end = found.span()
        yield text[start - 1 : start] if start else " ", found[0], text[end : end + 1] or " "


def _fits(script: Script, before: str, char: str, after: str) -> float:
    known = char in script.common
    if not known and (script.wide or char.lower() not in script.common):
        return 0.0
    if script.wide:
        return 1.0
    beside = [other for other in (before, after) if other.isalpha()]
    ascii = any(other.isascii() for other in beside)
    if script.latin and char.isalpha():
        odd = (char.isupper() and before.islower()) or (beside and not ascii)
        return 0.0 if odd else 1.0 if known else 0.8
    if script.latin:  # a mark: not within a word, but for an apostrophe
        return 0.0 if len(beside) == 2 and char != "\u2019" else 1.0
    return 0.0 if ascii else 1.0 if known else 0.5  # in most texts capitals are few
