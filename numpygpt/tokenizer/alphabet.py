"""GPT-2's byte alphabet, in which other programs write the tokens of byte-level BPE.

A byte that is a visible character of Latin-1 is that character, and the 68 others are, in order, the characters from
U+0100 on. A space is `Ġ`. (GPT-2, encoder.py, bytes_to_unicode.)
"""

from __future__ import annotations

from functools import cache

from numpygpt.tokenizer import storage


@cache
def byte_alphabet() -> dict[int, int]:
    """Return byte -> code point of its character, for str.translate; `latin_1` is the inverse."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in visible)
    return {**{byte: byte for byte in visible}, **{byte: 256 + k for k, byte in enumerate(others)}}


@cache
def latin_1() -> dict[int, int]:
    """Return code point in GPT-2's byte alphabet -> byte."""
    return {code: byte for byte, code in byte_alphabet().items()}


def spelled(token: str) -> str:
    """Return the token in Latin-1, as in our file."""
    if not all(ord(character) in latin_1() for character in token):
        raise storage.wrong("vocab", "tokens in GPT-2's byte alphabet", token)
    return token.translate(latin_1())
