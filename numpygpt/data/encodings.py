"""Encodings: their names, and a guess which of them a text has that cannot be read.

A guess is scored by its letters. In the right encoding, most letters are common in some language, and they appear where
that language has them: an é next to a Latin letter, a Cyrillic letter never.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from encodings.aliases import aliases

from numpygpt.utils.text import suggestion

MAX_LETTERS = 3000  # letters beyond ASCII that are scored
ASCII_OR_NUL = re.compile(rb"[\x00\t\n\f\r -~]*")
MIN_RUN = 4  # so many letters beyond ASCII in a row are not Latin
LIKELY, UNLIKELY = 0.5, 0.25  # scores, of at most 1
SIMILAR = 0.85  # a second guess with this part of the best score could be right, too


@dataclass(frozen=True)
class Script:
    """Letters of a language or two. `usual`: the part of a text's letters that are `common`.

    Latin letters appear next to ASCII letters, letters of other alphabets do not, and Chinese, Japanese and Korean
    characters (`wide`) may.
    """

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
QUOTES = "\u2018\u2019\u201c\u201d\u201e\u2013\u2014\u2026\xa0"  # and dashes, dots and the no-break space
WESTERN = Script("éèàùçêâîôûëïüöäßñáíóúãõåæøœìòÿ«»€°£§·¡¿©®™•½" + QUOTES, latin=True)
CENTRAL = Script("ąćęłńóśźżáčďěéíňřšťúůýžőűăâîşţäöüôß" + QUOTES, latin=True)
CYRILLIC = Script("оеаинтсрвлкм")
# Of equally good guesses the earlier encoding wins.
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
           "euc_kr": "cp949", "cp950": "big5", "mac-roman": "macintosh", "euc_jp": "euc-jp"}  # scored by that script


def check_encoding(name: str) -> str:
    """Return Python's name of the encoding; raise ValueError with a similar name if there is none."""
    found = _codec(name)
    if found is None:
        known = filter(_codec, sorted({*aliases, *aliases.values(), "latin-1", "utf-8", "utf-16", "utf-32"}))
        raise ValueError(f"there is no encoding {name!r}{suggestion(name.lower(), known)}; "
                         "usual encodings are utf-8, utf-16, latin-1 and cp1252")
    return "utf-8" if found == "utf-8-sig" else found  # `decoded` drops the mark in every encoding


def _codec(name: str) -> str | None:
    """Return Python's name of the encoding, or None if there is no such encoding of text."""
    try:
        text = codecs.getincrementaldecoder(name)().decode(b"")  # not a str for "zip", and an error for "rot13"
        return codecs.lookup(name).name if isinstance(text, str) else None
    except (LookupError, ValueError, TypeError):
        return None


def wide_encoding(head: bytes) -> str | None:
    """Return the encoding of UTF-16 or UTF-32 text without a byte order mark that starts with `head`, or None.

    Such a text has a byte of 0 in many of its characters, and no other text has any. If its other bytes are ASCII,
    every second byte is 0: with fewer zeros it is damaged ASCII.
    """
    if b"\x00" not in head or (ASCII_OR_NUL.fullmatch(head) and head.count(0) < 0.4 * len(head)):
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
    """Return (score, encoding) for each encoding except `but` that reads `sample` without an error, best first."""
    found = [(score(sample, name), name) for name in ENCODINGS if name != RELATED.get(but, but) or name == "cp1252"]
    return sorted((row for row in found if row[0] >= 0), key=lambda row: -row[0])


def score(sample: bytes, encoding: str) -> float:
    """Return how well `sample` fits the encoding's script, from 0 to 1, or -1 if it cannot be read or scored.

    UTF-8 scores 1 if it can be read, because nothing else looks like it.
    """
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
    for found in re.finditer(r"[^\x00-\x7f]+", text):  # each run of characters beyond ASCII, with its neighbours
        start, end = found.span()
        before, run, after = text[start - 1 : start] if start else " ", found[0], text[end : end + 1] or " "
        for char, left, right in zip(run, before + run, run[1:] + after, strict=False):
            if not script.wide or char.isalpha():
                letters += 1
                fits += _fits(script, left, char, right) if len(run) < MIN_RUN or not script.latin else 0
        if letters >= MAX_LETTERS:
            break
    return min(1.0, fits / letters / script.usual) if letters else 0.0


def nearly_utf8(sample: bytes) -> bool:
    """Return whether at least nine of ten characters beyond ASCII are UTF-8."""
    text = sample.decode("utf-8", errors="surrogateescape")
    wrong = len(re.findall("[\udc80-\udcff]", text))
    return sum(not char.isascii() for char in text) - wrong >= 9 * wrong


def _fits(script: Script, before: str, char: str, after: str) -> float:
    common = char in script.common
    if not common and (script.wide or char.lower() not in script.common):
        return 0.0
    if script.wide:
        return 1.0
    beside = [other for other in (before, after) if other.isalpha()]
    ascii = any(other.isascii() for other in beside)
    if script.latin and char.isalpha():
        odd = (char.isupper() and before.islower()) or (beside and not ascii)
        return 0.0 if odd else 1.0 if common else 0.8
    if script.latin:  # a sign: never within a word, except an apostrophe
        return 0.0 if len(beside) == 2 and char != "\u2019" else 1.0
    return 0.0 if ascii else 1.0 if common else 0.5  # most texts have few capitals
