#!/usr/bin/env python3
"""Tokenizers: what the three kinds make of a text, and BPE against Hugging Face's `tokenizers` and OpenAI's `tiktoken`.

    python benchmarks/tokenization.py                          on Tiny Shakespeare
    python benchmarks/tokenization.py --text FILE --gpt2 DIR   on a text of yours; with GPT-2's vocabulary too
    python benchmarks/tokenization.py --large                  also learns from 50 MB of Python source code
    python benchmarks/tokenization.py --markdown FILE          the tables as Markdown too

Peers take turns in one process, several rounds, and the median counts. "fresh": nothing has been encoded yet; "again":
the same text once more, for our tokenizer remembers words. Let nothing else run meanwhile. Peers that are not
installed are named and left out: pip install -e ".[bench]".
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.speed import processor, version  # noqa: E402
from numpygpt.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer  # noqa: E402
from numpygpt.utils import cli  # noqa: E402
from numpygpt.utils.cores import cores  # noqa: E402

VOCAB, LARGE_VOCAB, LARGE = 6551, 8192, 50_000_000
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
OURS, HF, TIKTOKEN = "numpygpt", "tokenizers", "tiktoken"


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, metavar="FILE", help="instead of Tiny Shakespeare")
    parser.add_argument("--gpt2", type=Path, metavar="DIR", help="the folder of GPT-2's vocab.bpe and encoder.json")
    parser.add_argument("--large", action="store_true", help=f"also {LARGE // 1_000_000} MB, which takes a minute")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each peer; the median counts")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there, for the documents")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    text = args.text.read_bytes().decode("utf-8") if args.text else tiny_shakespeare()
    absent = [name for name in (HF, TIKTOKEN) if not version(name)]
    if absent:
        print(f"left out, not installed: {', '.join(absent)}", flush=True)
    lines = [*kinds(text, args.rounds), ""]
    lines += ["| what | who | seconds | in ours |", "|---|---|---|---|"]
    lines += compare("train", training(text, VOCAB), args.rounds)
    lines += compare("encode", encoding(BPETokenizer().train(text, VOCAB), text), args.rounds)
    if args.gpt2:
        gpt2 = BPETokenizer.from_gpt2(args.gpt2 / "vocab.bpe", args.gpt2 / "encoder.json")
        lines += compare("encode, GPT-2", encoding(gpt2, text), args.rounds)
    if args.large:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.txt"
            size = write_source_code(path, LARGE)
            print(f"large: {size:,} bytes of Python source code", flush=True)
            lines += compare("train, large", training_large(path), min(args.rounds, 3))
    if args.markdown:
        Path(args.markdown).write_text("\n".join([where(), "", *lines, ""]), encoding="utf-8", newline="")
    return 0


def tiny_shakespeare() -> str:
    from numpygpt.data import load_corpus

    return "".join(piece for piece in load_corpus("tinyshakespeare").pieces() if isinstance(piece, str))


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def kinds(text: str, rounds: int) -> list[str]:
    """A row for each kind: vocabulary, tokens, bytes a token, entries that occur, seconds to learn and to encode."""
    size = len(text.encode("utf-8"))
    head = ["kind", "vocabulary", "tokens", "bytes a token", "occur", "occur 20 times", "to learn", "to encode"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for make in (CharTokenizer, WordTokenizer, BPETokenizer):
        tok = make().train(text)
        ids = tok.encode_array(text)
        assert tok.decode(ids) == text
        counts = np.bincount(ids, minlength=tok.vocab_size)
        learn = median(seconds(lambda make=make: make().train(text)) for _ in range(rounds))
        encode = median(seconds(lambda tok=tok: fresh(tok).encode_array(text)) for _ in range(rounds))
        cells = [tok.kind, f"{tok.vocab_size:,}", f"{len(ids):,}", f"{size / len(ids):.2f}",
                 f"{(counts > 0).mean():.0%}", f"{(counts >= 20).mean():.0%}",
                 f"{learn:.2f} s", f"{encode:.3f} s, {size / encode / 1e6:.1f} MB/s"]
        lines.append(f"| {' | '.join(cells)} |")
    print("\n".join(lines), flush=True)
    return lines


def fresh(tok: Tokenizer) -> Tokenizer:
    """The same tokenizer as if just loaded: BPE forgets the pieces that it has met."""
    if isinstance(tok, BPETokenizer):
        tok._cache.forget()
    return tok


def training(text: str, vocab_size: int) -> dict[str, Callable[[], Any]]:
    """The same training by each: pairs that occur twice, GPT-2's pattern, all 256 bytes."""
    peers: dict[str, Callable[[], Any]] = {OURS: lambda: BPETokenizer().train(text, vocab_size)}
    if version(HF):
        peers[HF] = lambda: huggingface(vocab_size, lambda tok, trainer: tok.train_from_iterator([text], trainer))
        lines = text.splitlines(keepends=True)  # many items, which it counts on all cores
        peers[f"{HF}, by line"] = lambda: huggingface(
            vocab_size, lambda tok, trainer: tok.train_from_iterator(lines, trainer)
        )
    return peers


def training_large(path: Path) -> dict[str, Callable[[], Any]]:
    """From a file that is read in pieces, on all cores."""

    def pieces():
        with open(path, encoding="utf-8", newline="") as file:
            while piece := file.read(1 << 20):
                yield piece

    workers = cores()
    peers: dict[str, Callable[[], Any]] = {OURS: lambda: BPETokenizer().train(pieces(), LARGE_VOCAB, workers=workers)}
    if version(HF):
        peers[HF] = lambda: huggingface(LARGE_VOCAB, lambda tok, trainer: tok.train([str(path)], trainer))
    return peers


def huggingface(vocab_size: int, train: Callable[[Any, Any], None]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"vocab_size": vocab_size, "min_frequency": 2, "initial_alphabet": alphabet, "show_progress": False}
    train(tok, trainers.BpeTrainer(**options))
    return tok


def encoding(tok: BPETokenizer, text: str) -> dict[str, Callable[[], Any]]:
    """One text to a list of ids, by the same vocabulary in each; the ids are checked to be equal."""
    expected = tok.encode(text)
    peers: dict[str, Callable[[], Any]] = {OURS: lambda: fresh(tok).encode(text)}
    peers[f"{OURS}, again"] = lambda: tok.encode(text)
    if version(HF):
        from tokenizers import Tokenizer as Theirs

        with tempfile.TemporaryDirectory() as folder:
            tok.save_huggingface(Path(folder) / "tokenizer.json")
            theirs = Theirs.from_file(str(Path(folder) / "tokenizer.json"))
        assert theirs.encode(text).ids == expected
        peers[HF] = lambda: theirs.encode(text).ids
    if version(TIKTOKEN):
        from tiktoken import Encoding

        special = set(tok.special_tokens.values())
        ranks = {token: id for id, token in enumerate(tok._tokens) if id not in special}
        coding = Encoding("same", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=tok.special_tokens)
        assert coding.encode_ordinary(text) == expected
        peers[TIKTOKEN] = lambda: coding.encode_ordinary(text)
    return peers


def compare(what: str, peers: dict[str, Callable[[], Any]], rounds: int) -> list[str]:
    """Rows: what, who, median seconds, how many times ours."""
    times: dict[str, list[float]] = {who: [] for who in peers}
    for _ in range(rounds):
        for who, function in peers.items():
            times[who].append(seconds(function))
    middle = {who: median(found) for who, found in times.items()}
    rows = [f"| {what} | {who} | {took:.3f} s | {took / middle[OURS]:.2f} |" for who, took in middle.items()]
    print("\n".join(rows), flush=True)
    return rows


def write_source_code(path: Path, size: int) -> int:
    """The .py files of this Python and of its packages, in the order of their names, up to `size` bytes."""
    import sysconfig

    written = 0
    with open(path, "wb") as out:
        for folder in dict.fromkeys(sysconfig.get_paths()[name] for name in ("stdlib", "purelib")):
            for file in sorted(Path(folder).rglob("*.py")):
                data = file.read_bytes()
                if written + len(data) <= size and utf8(data):
                    out.write(data)
                    written += len(data)
    return written


def utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def where() -> str:
    names = ("numpy", HF, TIKTOKEN)
    versions = ", ".join(f"{name} {version(name)}" for name in names if version(name))
    return f"Measured on {processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}."


if __name__ == "__main__":
    cli.run(main)
