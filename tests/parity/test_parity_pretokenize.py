"""Pieces and character classes are those of tiktoken and Hugging Face tokenizers.

Both use Unicode 16.0. If a release uses a later version, these tests fail and the tables must be updated.
"""

import random
import sys
import unicodedata

import pytest

from numpygpt.tokenizer.pretokenize import pretokenize
from numpygpt.tokenizer.unicode import WHITESPACE, read_table
from numpygpt.tokenizer.unicode_table import LETTERS, NUMBERS

tiktoken = pytest.importorskip("tiktoken")
tokenizers = pytest.importorskip("tokenizers")

EVERY = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
BYTES = [bytes([byte]) for byte in range(256)]
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"  # tiktoken_ext.openai_public


def tiktoken_encoding(pattern, tokens=()):
    ranks = {token: rank for rank, token in enumerate(dict.fromkeys([*BYTES, *tokens]))}
    return tiktoken.Encoding("test", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def hugging_face_pieces(text, level=tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)):  # noqa: B008
    return [text[start:end] for _, (start, end) in level.pre_tokenize_str(text)]


def random_texts(n, length):
    """Half of the characters are special to the pattern, half are any assigned characters, plane by plane."""
    rng = random.Random(0)
    planes = {}
    for character in EVERY:
        if unicodedata.category(character) != "Cn":
            planes.setdefault(ord(character) >> 16, []).append(character)
    few = [*"  \n\r\t''aZ1.\u00a0\u0301\u200d", "'s", "'ll", "'re", "\U00010400", "\U0001d7d8", "\U0001f44d"]
    draw = [lambda: rng.choice(few), lambda: rng.choice(planes[rng.choice(list(planes))])]
    return ["".join(rng.choice(draw)() for _ in range(rng.randrange(length))) for _ in range(n)]


@pytest.mark.parametrize(("name", "table"), [(r"\p{L}", LETTERS), (r"\p{N}", NUMBERS), (r"\s", None)])
def test_classes_are_tiktokens(name, table):
    """Encoding drops what the pattern does not match, so decoding shows what it matches."""
    encoding = tiktoken_encoding(name)
    matched = encoding.decode(encoding.encode_ordinary("".join(EVERY)))
    runs = read_table(table) if table else [(ord(character), ord(character)) for character in sorted(WHITESPACE)]
    assert matched == "".join(chr(code) for first, last in runs for code in range(first, last + 1))


def test_cuts_are_tiktokens():
    """Every substring is a token, so each piece is one token: the tokens are the pieces."""
    texts = random_texts(2000, 14)
    substrings = {text[i:j].encode() for text in texts for i in range(len(text)) for j in range(i + 1, len(text) + 1)}
    encoding = tiktoken_encoding(GPT2, substrings)
    for text in texts:
        tokens = encoding.decode_tokens_bytes(encoding.encode_ordinary(text))
        assert [token.decode() for token in tokens] == pretokenize(text), ascii(text)


def test_cuts_are_hugging_faces():
    for text in random_texts(5000, 25):
        assert hugging_face_pieces(text) == pretokenize(text), ascii(text)


def test_cuts_around_every_character_are_hugging_faces():
    """Planes 4 to 13 are empty, 15 and 16 private: a thousand of their characters are one piece."""
    for start in range(0, 0x110000, 0x400):
        characters = [chr(code) for code in range(start, start + 0x400) if not 0xD800 <= code <= 0xDFFF]
        between = start >> 16 in (0, 1, 2, 3, 14)
        text = "".join(f"a{c}1{c} " for c in characters) if between else "a" + "".join(characters)
        assert hugging_face_pieces(text) == pretokenize(text), f"U+{start:04X} or within 1024 of it"
