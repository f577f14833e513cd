#!/usr/bin/env python3
"""What fewer bits per weight cost and save: file, memory, loss on held-out text, time per token.

    python benchmarks/precision.py --pretrained smollm2-135m-instruct
    python benchmarks/precision.py --run runs/shakespeare_char        a run of yours
    python benchmarks/precision.py ... --markdown FILE                also write the table as Markdown

Each storage is a model folder in a temporary place, read by a process of its own, so that its memory can be measured.
The loss is that of the end of Tiny Shakespeare, or of the run's own validation split. "same token" says how often the
most likely next token is that of float32. Time is that of 64 tokens after a prompt of 32, one BLAS thread; the
processes take turns, and the median of the turns counts. Let nothing else run meanwhile. "int8, all" converts every
matrix, "int8" only those of at least 262,144 entries.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import markdown, measured_on, peak_memory, seconds, show, write
from numpygpt import GPT
from numpygpt.data import TokenDataset, load_corpus
from numpygpt.data.meta import existing_folder
from numpygpt.inspection.score import scores
from numpygpt.nn.modules import int8
from numpygpt.tokenizer import Tokenizer
from numpygpt.training.restore import Source, restore
from numpygpt.utils import cli

STORAGES = ("float32", "float16", "bfloat16", "int8", "int8, all")
NEW, PROMPT, CHARACTERS, TOKENS = 64, 32, 8_000, 20_000


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--pretrained", metavar="NAME", help="a model folder, a .gguf file, or a name")
    parser.add_argument("--run", metavar="RUN", help="a run folder")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="turns of each storage")
    parser.add_argument("--markdown", metavar="FILE", help="write the table to this file")
    parser.add_argument("--worker", nargs=2, metavar=("FOLDER", "IDS"), help="internal: run as one storage")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.worker:
        return work(*map(Path, args.worker))
    if not args.pretrained and not args.run:
        raise ValueError("give --pretrained, --run or both")
    found = [(Path(name).name, *restore(**{kind: name}))
             for name, kind in ((args.run, "run"), (args.pretrained, "pretrained")) if name]
    if any(int8.int8_layers(model) for _, model, _, _ in found):
        raise ValueError("a model in 8 bits has nothing to compare with: give the model that it was made of")
    lines = show(markdown(("model", "weights", "file", "peak memory", "loss", "perplexity", "same token",
                           "ms per token", "relative to float32")))
    for name, model, tokenizer, source in found:
        with tempfile.TemporaryDirectory() as place:
            lines += show(rows(name, model, held_out(tokenizer, source), Path(place), args.rounds))
    if args.markdown:
        write(args.markdown, [measured_on("numpy"), "", *lines])
    return 0


def held_out(tokenizer: Tokenizer, source: Source) -> np.ndarray:
    """Token ids of a text that the model was not trained on here."""
    if source.checkpoint:
        return TokenDataset.load(existing_folder(Path(source.checkpoint.header["config"]["data"]))).val[:TOKENS]
    text = "".join(piece for piece in load_corpus("tinyshakespeare").pieces() if isinstance(piece, str))
    return np.array(tokenizer.encode(text[-CHARACTERS:]))


def rows(name: str, model: GPT, ids: np.ndarray, place: Path, rounds: int) -> list[str]:
    """The lines of one model: all storages are read, then take turns."""
    np.save(place / "ids.npy", ids.astype(np.int64))
    workers, limit = {}, int8.LEAST_ENTRIES
    for storage in STORAGES:
        dtype, _, every = storage.partition(", ")
        int8.LEAST_ENTRIES = 0 if every else limit
        try:
            model.save_pretrained(place / storage, dtype=dtype)
        except ValueError:  # no matrix is large
            continue
        words = [sys.executable, __file__, "--worker", str(place / storage), str(place / "ids.npy")]
        workers[storage] = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
    int8.LEAST_ENTRIES = limit
    found = {storage: json.loads(worker.stdout.readline()) for storage, worker in workers.items()}
    turns: dict[str, list[float]] = {storage: [] for storage in workers}
    for _ in range(rounds):
        for storage, worker in workers.items():
            worker.stdin.write("\n")
            worker.stdin.flush()
            turns[storage].append(json.loads(worker.stdout.readline()))
    for worker in workers.values():
        worker.communicate()
    first, base = found["float32"], median(turns["float32"])
    lines = []
    for storage, facts in found.items():
        size = (place / storage / "model.safetensors").stat().st_size
        same = np.mean(np.array(facts["likeliest"]) == np.array(first["likeliest"]))
        took = median(turns[storage])
        lines.append(f"| {name} | {storage} | {size / 1e6:,.0f} MB | {facts['MB']:,.0f} MB | {facts['loss']:.4f} | "
                     f"{np.exp(facts['loss']):.3f} | {same:.1%} | {1e3 * took / NEW:.2f} | {took / base:.2f} |")
    return lines


def work(folder: Path, ids: Path) -> int:
    """Be one storage: print memory and loss, then the seconds of a text for each line of standard input."""
    from numpygpt.parallel.blas import blas_threads

    model, text = GPT.from_pretrained(folder), np.load(ids)
    prompt = [text[:PROMPT]]
    with blas_threads(1):
        model.generate(prompt, NEW, temperature=0)
        memory = peak_memory()
        found = scores(model, text)
        print(json.dumps({"MB": memory, "loss": float(found.losses.mean()), "likeliest": found.likeliest.tolist()}),
              flush=True)
        for _ in sys.stdin:
            print(json.dumps(seconds(model.generate, prompt, NEW, 0)), flush=True)
    return 0


if __name__ == "__main__":
    cli.run(main)
