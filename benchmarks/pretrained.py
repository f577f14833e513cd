#!/usr/bin/env python3
"""Compare a pretrained model here and in Hugging Face transformers: speed, memory, time to the first token, and text.

    python benchmarks/pretrained.py                       every row, SmolLM2-135M-Instruct
    python benchmarks/pretrained.py decode prefill        some of them
    python benchmarks/pretrained.py --model FOLDER        another model folder, name or .gguf file
    python benchmarks/pretrained.py --markdown FILE       also write the tables as Markdown

| row | what is measured |
|---|---|
| decode | ms per token of one sequence, 64 tokens after a prompt of 32 |
| prefill | ms for the next token's logits after a prompt of 512 |
| step | s per training step on 2 x 256 tokens: loss, gradients, clipping, AdamW on every parameter |
| load | s from the start of a process to the first token, and without the imports |
| greedy | 10 prompts, 100 tokens each: are the tokens the same, and if not, how close were the two best logits? |

All in float32. Each peer is a process of its own, so that its memory can be measured. The peers of a row take turns,
and the minimum of their turns is reported. Let nothing else run meanwhile. Peers that are not installed are reported
and skipped: pip install -e ".[bench,models]".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cases import OURS, check_names
from benchmarks.common import markdown, measured_on, peak_memory, seconds, show, write
from benchmarks.pretrained_peers import MAKERS, NEW, PROMPTS, TOKENS, float32_gguf, missing
from numpygpt.utils import cli

MODEL = "smollm2-135m-instruct"
ROWS = {  # row -> (unit, factor from seconds, the peers that take turns)
    "decode": ("ms per token", 1e3 / NEW, (OURS, "huggingface", "llama.cpp")),
    "prefill": ("ms", 1e3, (OURS, "huggingface", "llama.cpp")),
    "step": ("s per step", 1.0, (OURS, "numpygpt, 1 worker", "huggingface")),
    "load": ("s", 1.0, (OURS, "huggingface")),
    "greedy": ("", 1.0, (OURS, "huggingface")),
}


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"any of {', '.join(ROWS)}; without one, all")
    parser.add_argument("--model", default=MODEL, help="a model folder, a .gguf file, or a name")
    parser.add_argument("--gguf", metavar="FILE", help="the same model as a GGUF file, which is converted to float32 "
                                                       "for llama.cpp; without it llama.cpp is left out")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each peer; the minimum counts")
    parser.add_argument("--peers", nargs="+", metavar="PEER", help="compare with these only")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables to this file")
    parser.add_argument("--worker", nargs=2, metavar=("ROW", "PEER"), help="internal: run as the process of one peer")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.worker:
        return work(*args.worker, args.model)
    check_names(args.rows, ROWS, "row")
    from numpygpt.models.pretrained import find

    with tempfile.TemporaryDirectory() as place:
        lines = rows(args, {"": str(find(args.model))} | llama_file(args.gguf, place))
    if args.markdown:
        write(args.markdown, [measured_on("numpy", "torch", "transformers", "xllamacpp"), "", *lines])
    return 0


def llama_file(gguf: str | None, place: str) -> dict[str, str]:
    """The float32 file of llama.cpp, if there is a GGUF file to make it from."""
    if gguf is None or missing("llama.cpp"):
        return {}
    float32_gguf(gguf, target := str(Path(place) / "float32.gguf"))
    return {"llama.cpp": target}


def rows(args: Namespace, files: dict[str, str]) -> list[str]:
    """Measure and print the rows. `files` are the model folder, and the file of a peer that needs another one."""
    lines = show(markdown(("row", "peer", "time", "relative to ours", "peak memory", "memory relative to ours")))
    for name in args.rows or ROWS:
        peers = [peer for peer in ROWS[name][2] if peer.startswith(OURS) or (
            (not args.peers or peer in args.peers) and (peer != "llama.cpp" or args.gguf))]
        if absent := [f"{peer} ({missing(peer)})" for peer in peers if missing(peer)]:
            print(f"{name}: not installed, skipped: {', '.join(absent)}", flush=True)
        peers = [peer for peer in peers if not missing(peer)]
        measure = {"load": loading, "greedy": comparing}.get(name, in_turn)
        lines += show(measure(name, peers, files, args.rounds))
    return lines


# -- the process of one peer -------------------------------------------------------------------------------------------


def work(row: str, peer: str, folder: str) -> int:
    """Be one peer: warm up, then do the row's work once for each line of standard input, and print the result."""
    run = MAKERS[peer](row, folder)
    imported = time.perf_counter()
    if row == "load":
        run()
        answer({"s": time.perf_counter() - imported, "MB": peak_memory()})
        return 0
    if row == "greedy":
        answer(run(*json.loads(sys.stdin.readline())))
        return 0
    run()
    answer("ready")
    for _ in sys.stdin:
        answer({"s": seconds(run), "MB": peak_memory()})
    return 0


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


# -- the process that asks ---------------------------------------------------------------------------------------------


def start(row: str, peer: str, files: dict[str, str]) -> subprocess.Popen:
    errors = None if os.environ.get("NUMPYGPT_TRACEBACK") else subprocess.DEVNULL
    words = [sys.executable, __file__, "--model", files.get(peer, files[""]), "--worker", row, peer]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8",
                            env=os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})


def ask(worker: subprocess.Popen, line: str = "") -> Any:
    """Send a line, and return the next JSON line; None if the worker ended. Libraries may print other lines."""
    if line:
        worker.stdin.write(line + "\n")
        worker.stdin.flush()
    for text in worker.stdout:
        try:
            return json.loads(text)
        except ValueError:
            continue
    return None


def in_turn(row: str, peers: list[str], files: dict[str, str], rounds: int) -> list[str]:
    """Let the peers take turns; a peer that fails to start is reported and skipped."""
    workers = {peer: start(row, peer, files) for peer in peers}
    for peer, worker in list(workers.items()):
        if not ask(worker):
            print(f"{row}: {peer} failed to start, skipped (NUMPYGPT_TRACEBACK=1 shows the error)", flush=True)
            del workers[peer]
    turns: dict[str, list[dict[str, float]]] = {peer: [] for peer in workers}
    for _ in range(rounds):
        for peer, worker in workers.items():
            time.sleep(0.3)  # spinning threads of the previous worker come to rest
            turns[peer].append(ask(worker, "run"))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    unit, factor, _ = ROWS[row]
    return table(row, {peer: {"s": min(turn["s"] for turn in found), "MB": found[-1]["MB"]}
                       for peer, found in turns.items()}, unit, factor)


def loading(row: str, peers: list[str], files: dict[str, str], rounds: int) -> list[str]:
    """Two lines per peer: from the start of the process, and without the imports."""
    whole: dict[str, dict[str, float]] = {}
    inside: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for peer in peers:
            began = time.perf_counter()
            worker = start(row, peer, files)
            found = ask(worker)
            took = time.perf_counter() - began
            worker.communicate()
            if found:
                for results, s in ((whole, took), (inside, found["s"])):
                    results[peer] = {"s": min(s, results.get(peer, {"s": s})["s"]), "MB": found["MB"]}
    unit, factor, _ = ROWS[row]
    return [*table("load, first token", whole, unit, factor), *table("the same, without imports", inside, unit, factor)]


def comparing(row: str, peers: list[str], files: dict[str, str], rounds: int) -> list[str]:
    """A line per prompt: whether the tokens are the same, or where they part and how close the best logits were."""
    from numpygpt.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(files[""])
    ids = [tokenizer.encode(prompt) for prompt in PROMPTS]
    texts = {peer: ask(start(row, peer, files), json.dumps([ids, TOKENS])) for peer in peers}
    if None in texts.values() or len(texts) < 2:
        return [f"{row}: there is nothing to compare"]
    (ours, theirs), lines, same = texts.values(), [], 0
    for prompt, (a, margins), (b, others) in zip(PROMPTS, ours, theirs, strict=True):
        at = next((i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), None)
        if at is None:
            same += 1
            lines.append(f"{prompt!r}: {len(a)} tokens, all the same; smallest margin {min(margins):.2g}")
            continue
        chosen = [f"{peer}: {tokenizer.decode([text[at]])!r}, its margin {margin[at]:.2g}"
                  for peer, text, margin in zip(peers, (a, b), (margins, others), strict=True)]
        lines.append(f"{prompt!r}: the first {at} tokens are the same, then {'; '.join(chosen)}")
    return ["", f"greedy text: {same} of {len(PROMPTS)} prompts give the same {TOKENS} tokens", "",
            *(f"- {line}" for line in lines)]


def table(row: str, results: dict[str, dict[str, float]], unit: str, factor: float) -> list[str]:
    """Return a line per peer: time and peak memory, each also relative to ours; no line if ours failed."""
    if OURS not in results:
        return []
    ours = results[OURS]
    return [f"| {row} | {peer} | {factor * found['s']:.4g} {unit} | {found['s'] / ours['s']:.2f} | "
            f"{found['MB']:,.0f} MB | {found['MB'] / ours['MB']:.2f} |" for peer, found in results.items()]


if __name__ == "__main__":
    cli.run(main)
