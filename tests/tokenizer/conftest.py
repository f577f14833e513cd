"""Hard texts, a trained tokenizer of each kind, and the Shakespeare corpus where there is one."""

import os
import random
from pathlib import Path

import pytest

from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer

SPECIAL = ("<|endoftext|>", "<|pad|>")
HARD = [
    "",
    " ",
    "  two  spaces,three   and trailing  ",
    "\r\nCRLF\r\n\r\nand\ttabs\t\n\n",
    "'Tis don't 'quoted' \"double\" (brackets) [and] {more} -- well-known; e.g. 3.14, 50%!?",
    "\u0000\u0001 NUL and \u007f controls \u0085 \u001c \u001f",
    "👨‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👍🏽 skin tone, 🇩🇪",
    "שלום עולם! مرحبا بالعالم؟ \u202bmarks\u202c",
    "e\u0301 cafe\u0301 n\u0303 Z\u0351\u036b\u0343\u036a हिन्दी ไทย",
    "日本語、中文。한국어 ½ ² Ⅷ ٣ \U0001d7d8 𐌰 ªº",
    "\ufeffBOM \u200b zero width \u2028 line \u3000 ideographic \u00a0 hard \ufffd \U0010ffff \ue000",
    "<|endoftext|> <unk> <join> <|pad|><|pad|>",
    "Straße ǅ ﬁ _under_ snake_case__ x²y a\u0300\u0300 🙂🙂🙂",
]


def random_texts(n, length=30, seed=0):
    """Seeded texts made of the characters and of short pieces of HARD, in an order that nobody would think of."""
    rng = random.Random(seed)
    atoms = [*sorted(set("".join(HARD))), "  ", "\r\n", "'s", "n't", " the", "aaaa", "<|endoftext|>", ", ", "(", "'"]
    return ["".join(rng.choices(atoms, k=rng.randrange(length))) for _ in range(n)]


def train(kind, text, **options):
    if kind == "bpe":
        return BPETokenizer().train(text, **{"vocab_size": 400, **options})
    return {"char": CharTokenizer, "word": WordTokenizer}[kind]().train(text, **options)


TRAINED = {kind: train(kind, "\n".join(HARD + random_texts(200, seed=1)), special_tokens=SPECIAL)
           for kind in ("char", "word", "bpe")}  # fmt: skip


@pytest.fixture(params=["char", "word", "bpe"])
def kind(request):
    return request.param


@pytest.fixture
def tok(kind):
    """A tokenizer of each kind that knows the characters and the words of the hard texts."""
    return TRAINED[kind]


@pytest.fixture
def make():
    """make(kind, text, **options): a tokenizer trained on `text`."""
    return train


@pytest.fixture
def hard_texts():
    return HARD


@pytest.fixture
def randoms():
    """randoms(n): n seeded texts."""
    return random_texts


@pytest.fixture(scope="session")
def corpus():
    """Tiny Shakespeare, from NUMPYGPT_CORPUS or from ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data" / "tinyshakespeare.txt"
    path = Path(os.environ.get("NUMPYGPT_CORPUS", default))
    if not path.is_file():
        pytest.skip("no corpus: set NUMPYGPT_CORPUS to a text file")
    return path.read_bytes().decode("utf-8")
