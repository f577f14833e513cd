#!/usr/bin/env python3
"""Compare the three kinds of tokenizer, and our BPE with Hugging Face's `tokenizers` and OpenAI's `tiktoken`.

    python benchmarks/tokenization.py                          on Tiny Shakespeare
    python benchmarks/tokenization.py --text FILE --gpt2 DIR   on your own text; also with GPT-2's vocabulary
    python benchmarks/tokenization.py --large                  also train on 50 MB of Python source code
    python benchmarks/tokenization.py --markdown FILE          also write the tables as Markdown

Peers take turns in one process, for several rounds, and the median is reported. Rows marked "again" encode the same
text once more: our tokenizer caches words. Let nothing else run meanwhile. Peers that are not installed are reported
and skipped: pip install -e ".[bench]".
"""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cases import OURS
from benchmarks.common import markdown, measured_on, row, seconds, show, version, write
from numpygpt.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer
from numpygpt.utils import cli
from numpygpt.utils.cores import cores

VOCAB, LARGE_VOCAB, SOURCE_BYTES = 6551, 8192, 50_000_000
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
HF, TIKTOKEN = "tokenizers", "tiktoken"
PACKAGES = ("numpy", HF, TIKTOKEN)
KIND_COLUMNS = ("kind", "vocabulary", "tokens", "bytes per token", "occur in the text", "occur 20 times", "training",
                "encoding")
Peers = dict[str, Callable[[], Any]]


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, metavar="FILE", help="text to use, instead of Tiny Shakespeare")
    parser.add_argument("--gpt2", type=Path, metavar="DIR", help="folder with GPT-2's vocab.bpe and encoder.json")
    parser.add_argument("--large", action="store_true",
                        help=f"also train on {SOURCE_BYTES // 1_000_000} MB, which takes a minute")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each peer; the median is reported")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables to this file")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    text = args.text.read_bytes().decode("utf-8") if args.text else tiny_shakespeare()
    if absent := [name for name in (HF, TIKTOKEN) if not version(name)]:
        print(f"not installed, skipped: {', '.join(absent)}", flush=True)
    lines = [*kinds(text, args.rounds), "", *markdown(["task", "library", "time", "relative to ours"])]
    lines += compare("train", training(text, VOCAB), args.rounds)
    lines += compare("encode", encoding(BPETokenizer().train(text, VOCAB), text), args.rounds)
    if args.gpt2:
        gpt2 = BPETokenizer.from_gpt2(args.gpt2 / "vocab.bpe", args.gpt2 / "encoder.json")
        lines += compare("encode, GPT-2", encoding(gpt2, text), args.rounds)
    if args.large:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.txt"
            size = write_source_code(path, SOURCE_BYTES)
            print(f"large: {size:,} bytes of Python source code", flush=True)
            lines += compare("train, large", training_large(path), min(args.rounds, 3))
    if args.markdown:
        write(args.markdown, [measured_on(*PACKAGES), "", *lines])
    return 0


def tiny_shakespeare() -> str:
    from numpygpt.data import load_corpus

    return "".join(piece for piece in load_corpus("tinyshakespeare").pieces() if isinstance(piece, str))


def kinds(text: str, rounds: int) -> list[str]:
    """Return a table with a row for each kind of tokenizer, trained and timed on the text."""
    size = len(text.encode("utf-8"))
    lines = markdown(KIND_COLUMNS)
    for make in (CharTokenizer, WordTokenizer, BPETokenizer):
        tok = make().train(text)
        ids = tok.encode_array(text)
        assert tok.decode(ids) == text
        counts = np.bincount(ids, minlength=tok.vocab_size)
        train = median(seconds(lambda make=make: make().train(text)) for _ in range(rounds))
        encode = median(seconds(lambda tok=tok: fresh(tok).encode_array(text)) for _ in range(rounds))
        lines.append(row([tok.kind, f"{tok.vocab_size:,}", f"{len(ids):,}", f"{size / len(ids):.2f}",
                          f"{(counts > 0).mean():.0%}", f"{(counts >= 20).mean():.0%}",
                          f"{train:.2f} s", f"{encode:.3f} s, {size / encode / 1e6:.1f} MB/s"]))
    return show(lines)


def fresh(tok: Tokenizer) -> Tokenizer:
    """Return the tokenizer in the state in which it was loaded: BPE clears its cache of words."""
    if isinstance(tok, BPETokenizer):
        tok._cache.forget()
    return tok


def training(text: str, vocab_size: int) -> Peers:
    """Return the same training for each library: pairs that occur twice, GPT-2's pattern, all 256 bytes."""
    peers: Peers = {OURS: lambda: BPETokenizer().train(text, vocab_size)}
    if version(HF):
        peers[HF] = lambda: huggingface(vocab_size, lambda tok, trainer: tok.train_from_iterator([text], trainer))
        lines = text.splitlines(keepends=True)  # it counts many items on all cores
        peers[f"{HF}, by line"] = lambda: huggingface(
            vocab_size, lambda tok, trainer: tok.train_from_iterator(lines, trainer)
        )
    return peers


def training_large(path: Path) -> Peers:
    """Return the training on a file that is read in chunks, on all cores."""

    def chunks():
        with open(path, encoding="utf-8", newline="") as file:
            while chunk := file.read(1 << 20):
                yield chunk

    workers = cores()
    peers: Peers = {OURS: lambda: BPETokenizer().train(chunks(), LARGE_VOCAB, workers=workers)}
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


def encoding(tok: BPETokenizer, text: str) -> Peers:
    """Return the encoding of a text for each library, with the same vocabulary; the ids are checked to be equal."""
    expected = tok.encode(text)
    peers: Peers = {OURS: lambda: fresh(tok).encode(text)}
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


def compare(task: str, peers: Peers, rounds: int) -> list[str]:
    """Let the libraries take turns; return a row for each: median seconds, and that divided by ours."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, function in peers.items():
            times[name].append(seconds(function))
    medians = {name: median(found) for name, found in times.items()}
    return show([row([task, name, f"{took:.3f} s", f"{took / medians[OURS]:.2f}"]) for name, took in medians.items()])


def write_source_code(path: Path, size: int) -> int:
    """Write the .py files of this Python and its packages, sorted by name, up to `size` bytes; return their size."""
    import sysconfig

    written = 0
    with open(path, "wb") as out:
        for folder in dict.fromkeys(sysconfig.get_paths()[name] for name in ("stdlib", "purelib")):
            for file in sorted(Path(folder).rglob("*.py")):
                data = file.read_bytes()
                if written + len(data) <= size and is_utf8(data):
                    out.write(data)
                    written += len(data)
    return written


def is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


if __name__ == "__main__":
    cli.run(main)
