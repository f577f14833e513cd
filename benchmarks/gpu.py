#!/usr/bin/env python3
"""What needs a GPU: are the numbers those of the CPU, how fast is a step, and does a training reach its loss?

    python benchmarks/gpu.py                       all parts
    python benchmarks/gpu.py parity speed          some of them, in a few minutes
    python benchmarks/gpu.py --markdown FILE       also write the tables as Markdown

| part | what is done |
|---|---|
| parity | every case of the gradient table on the GPU and on the CPU: output, gradients, parameters after an update |
| speed | a training step and decoding in float32, TF32, float16 and bfloat16; PyTorch eager; peak memory |
| train | `./train.py shakespeare_char --device cuda`, to its last step |

Needs pip install -e ".[cuda]". Peers that are not installed are left out: PyTorch with CUDA, transformers. Each peer of
`speed` is a process of its own. All peers of a case take turns, and the median of the turns counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.cases import CASES, OURS, Case, check_names
from benchmarks.common import markdown, measured_on, show, write
from benchmarks.peers import BETAS, DECAY, EPS, LR, batch, huggingface_decode, missing, torch_training
from numpygpt import GPT
from numpygpt.nn import mixed_precision
from numpygpt.nn.backend import CPU, Device, choose, device
from numpygpt.optim import AdamW, LossScale, clip_grad_norm
from numpygpt.utils import cli
from numpygpt.utils.paths import ROOT
from numpygpt.verify.cases import gradient_cases
from numpygpt.verify.devices import difference
from numpygpt.verify.wrappers import AfterALargerTable

PARTS = ("parity", "speed", "train")
TOLERANCES = {"float64": 1e-9, "float32": 1e-4}
SECONDS = 2.0  # of one turn
LLAMA = {"vocab_size": 49152, "d_model": 576, "n_heads": 9, "n_kv_heads": 3, "n_layers": 30, "d_ff": 1536,
         "bias": False, "norm": "rmsnorm", "ffn": "gated", "activation": "silu", "positions": "rope"}  # SmolLM2-135M


@dataclass(frozen=True)
class Peer:
    """A library and a precision. `tf32` lets the GPU multiply float32 with 10 bits of its fraction."""

    library: str
    precision: str = "float32"
    tf32: bool = False

    def __str__(self) -> str:
        return f"{self.library} {'TF32' if self.tf32 else self.precision}"


TORCH = "torch"
PEERS = {str(peer): peer for peer in (
    Peer(OURS), Peer(OURS, tf32=True), Peer(OURS, "float16"), Peer(OURS, "bfloat16"),
    Peer(TORCH), Peer(TORCH, tf32=True), Peer(TORCH, "bfloat16"))}
ROWS = {"char": CASES["char"], "gpt2": CASES["gpt2"], "smollm2": Case("smollm2", 4, 256, 576, 9, 30, 49152, ()),
        "decode": CASES["decode"], "decode-gpt2": CASES["decode-gpt2"],
        "decode-smollm2": Case("decode-smollm2", 1, 256, 576, 9, 30, 49152, (), decode=True)}


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; without one, all")
    parser.add_argument("--device", default="cuda", metavar="NAME", help="cuda or cuda:N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of each peer")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="ROW", help=f"of speed: {', '.join(ROWS)}")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables to this file")
    parser.add_argument("--worker", nargs=2, metavar=("ROW", "PEER"), help="internal: run as the process of one peer")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.worker:
        return work(ROWS[args.worker[0]], PEERS[args.worker[1]], args.device)
    check_names(args.parts, PARTS, "part")
    check_names(args.rows, ROWS, "row")
    place, why = choose(args.device)
    if place is CPU or args.rounds < 1:
        raise ValueError(f"it needs a GPU and at least one round, got {place.name} and {args.rounds}")
    print(f"{place.name}: {why}", flush=True)
    lines = [measured_on("numpy", "cupy-cuda12x", "torch", "transformers"), "", f"GPU: {why}."]
    for part in args.parts or PARTS:
        lines += ["", *(parity(place) if part == "parity" else speed(args) if part == "speed" else train(args.device))]
    if args.markdown:
        write(args.markdown, lines)
    return int(any(line.endswith("DIFFERENT |") for line in lines) or (
        "train" in (args.parts or PARTS) and not any(line.startswith("done") for line in lines)))


# -- parity ------------------------------------------------------------------------------------------------------------


def parity(place: Device) -> list[str]:
    """A line per layer: its number of cases, and the largest difference in each dtype."""
    worst: dict[str, dict[str, float]] = {}
    counts: dict[str, int] = {}
    for layer, _, make, inputs in gradient_cases():
        if isinstance(make(), AfterALargerTable):  # which makes a layer on the CPU in its forward
            continue
        counts[layer] = counts.get(layer, 0) + 1
        for dtype in TOLERANCES:
            found, before = difference(make, inputs, place, dtype), worst.setdefault(layer, {}).get(dtype, 0.0)
            worst[layer][dtype] = float(np.maximum(found, before))  # NaN stays
    lines = show(markdown(("layer", "cases", *TOLERANCES, "")))
    for layer, errors in worst.items():
        right = all(errors[dtype] <= tolerance for dtype, tolerance in TOLERANCES.items())
        cells = " | ".join(f"{errors[dtype]:.1e}" for dtype in TOLERANCES)
        lines += show([f"| {layer} | {counts[layer]} | {cells} | {'equal' if right else 'DIFFERENT'} |"])
    return lines


# -- speed -------------------------------------------------------------------------------------------------------------


def speed(args: Namespace) -> list[str]:
    lines = show(markdown(("row", "peer", "time", "relative to ours in float32", "peak memory")))
    for name in args.rows:
        workers = {}
        for peer in PEERS.values():
            if takes_part(peer, ROWS[name]):
                words = [sys.executable, __file__, "--device", args.device, "--worker", name, str(peer)]
                switch = {"CUPY_TF32": str(int(peer.tf32))}  # CuPy reads it at the first product
                workers[str(peer)] = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                      encoding="utf-8", env=os.environ | switch)
        lines += show(in_turn(ROWS[name], workers, args.rounds))
    return lines


def takes_part(peer: Peer, case: Case) -> bool:
    """Whether a peer is installed and has this case. 16 bits are for training. PyTorch decodes with transformers, which
    also has the Llama."""
    if case.decode and peer.precision != "float32":
        return False
    return peer.library == OURS or not missing("huggingface" if case.decode or case.name == "smollm2" else TORCH)


def in_turn(case: Case, workers: dict[str, subprocess.Popen], rounds: int) -> list[str]:
    """The lines of one case. A peer that ends is left out."""
    turns: dict[str, list[dict[str, float]]] = {peer: [] for peer in workers}
    for _ in range(rounds + 1):  # the first turn compiles kernels
        for peer, worker in workers.items():
            try:
                worker.stdin.write("\n")
                worker.stdin.flush()
                turns[peer].append(json.loads(worker.stdout.readline()))
            except (OSError, ValueError):
                turns[peer] = []
    for worker in workers.values():
        worker.communicate()
    times = {peer: median(turn["ms"] for turn in found[1:]) for peer, found in turns.items() if len(found) > rounds}
    if absent := [peer for peer in workers if peer not in times]:
        print(f"{case.name}: failed, left out: {', '.join(absent)}", flush=True)
    base = times.get(str(Peer(OURS)))
    return [f"| {case.name} | {peer} | {took:.4g} {case.unit} | {f'{took / base:.2f}' if base else '-'} | "
            f"{turns[peer][-1]['MB']:,.0f} MB |" for peer, took in times.items()]


def work(case: Case, peer: Peer, name: str) -> int:
    """Be one peer: for each line of standard input, work for some seconds, and print ms per step or token, and MB."""
    run, wait, memory = torch_work(case, peer, name) if peer.library == TORCH else our_work(case, peer, device(name))
    for _ in sys.stdin:
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < SECONDS or not done:
            done += run()
            wait()
        print(json.dumps({"ms": 1e3 * (time.perf_counter() - start) / done, "MB": memory() / 1e6}), flush=True)
    return 0


Work = tuple[Callable[[], int], Callable[[], Any], Callable[[], float]]  # steps or tokens, wait for them, bytes


def our_work(case: Case, peer: Peer, place: Device) -> Work:
    if "smollm2" in case.name:
        model = GPT(max_len=case.T, **LLAMA)
    else:
        model = GPT(vocab_size=case.V, max_len=case.T, d_model=case.C, n_heads=case.H, n_layers=case.L)
    model.to(place)
    if case.decode:
        def write() -> int:
            return model.generate(np.zeros((1, 1), int), case.T - 1).shape[1] - 1

        return write, lambda: None, memory_of(place)
    if peer.precision != "float32":
        mixed_precision(model, peer.precision)
    scale = LossScale() if peer.precision == "float16" else None
    optimizer = AdamW(model, LR, BETAS, EPS, DECAY)
    x, y = batch(case)

    def step() -> int:
        model.loss(x, y)
        model.backward(scale.scale if scale else 1.0)
        finite = bool(np.isfinite(clip_grad_norm(model, 1.0, scale=scale.scale if scale else 1.0)))
        if finite:
            optimizer.step()
        if scale:
            scale.update(finite)
        optimizer.zero_grad()
        return 1

    return step, waiting(place), memory_of(place)


def waiting(place: Device) -> Callable[[], Any]:
    """A function that waits until the device has nothing to do."""
    if not place.name.startswith("cuda"):
        return lambda: None
    import cupy

    return cupy.cuda.Device().synchronize


def memory_of(place: Device) -> Callable[[], float]:
    """A function that returns the bytes that CuPy has taken from the device."""
    if not place.name.startswith("cuda"):
        return lambda: 0.0
    import cupy

    return lambda: float(cupy.get_default_memory_pool().total_bytes())


def torch_work(case: Case, peer: Peer, name: str) -> Work:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = peer.tf32
    if case.decode:
        step = huggingface_decode(case, name, torch_llama() if "smollm2" in case.name else None)
    else:
        x, y = (torch.from_numpy(a).to(name) for a in batch(case))
        llama = torch_llama().to(name) if case.name == "smollm2" else None
        step = torch_training(case, with_loss if llama else lambda model: model, x, y, peer.precision == "bfloat16",
                              llama)
    return step, torch.cuda.synchronize, lambda: float(torch.cuda.max_memory_reserved())


def torch_llama() -> Any:
    """SmolLM2-135M of transformers, with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(
        vocab_size=LLAMA["vocab_size"], hidden_size=LLAMA["d_model"], num_hidden_layers=LLAMA["n_layers"],
        num_attention_heads=LLAMA["n_heads"], num_key_value_heads=LLAMA["n_kv_heads"], intermediate_size=LLAMA["d_ff"],
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=None, pad_token_id=0))


def with_loss(model: Any) -> Callable[[Any, Any], Any]:
    """The loss of a model of transformers as a function of x and y."""
    from torch.nn.functional import cross_entropy

    return lambda x, y: cross_entropy(model(x).logits.flatten(0, 1), y.flatten())


# -- a training --------------------------------------------------------------------------------------------------------


def train(name: str) -> list[str]:
    """Train the preset, and return its last lines."""
    with tempfile.TemporaryDirectory() as place:
        words = [sys.executable, str(ROOT / "train.py"), "shakespeare_char", "--device", name, "--sample-tokens", "0",
                 "--out", str(Path(place) / "run")]
        print(f"$ {' '.join(words[1:-2])}", flush=True)
        done = subprocess.run(words, capture_output=True, encoding="utf-8")
    lines = [line for line in done.stdout.splitlines() if line.startswith(("step", "done", "device"))]
    return show(["```text", *(lines if done.returncode == 0 else (done.stdout + done.stderr).splitlines()[-5:]), "```"])


if __name__ == "__main__":
    cli.run(main)
