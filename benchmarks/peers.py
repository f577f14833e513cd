"""The same model in each library, in its fastest ordinary form.

A maker takes a Case and returns a function. Each call of that function does one training step (random data, gradient
norm clipped at 1, AdamW) or generates `Case.T - 1` tokens, and returns the number of steps or tokens.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases import Case
from numpygpt import GPT
from numpygpt.nn import causal_attention
from numpygpt.nn.functional import row_slices
from numpygpt.nn.modules.loss import LOGIT_ENTRIES, chunk_rows
from numpygpt.optim import AdamW, clip_grad_norm
from numpygpt.parallel.group import LOCAL, Group
from numpygpt.parallel.threads import DataParallel, blas_threads
from numpygpt.utils.cores import cores

Step = Callable[[], int]
LR, BETAS, EPS, DECAY = 3e-4, (0.9, 0.95), 1e-8, 0.1


def batch(case: Case) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, case.V, (case.B, case.T)), rng.integers(0, case.V, (case.B, case.T))


def timed(step: Step, seconds: float, min_calls: int = 1) -> list[float]:
    """Call `step` for this many seconds, and at least `min_calls` times; return each call's ms per step (or token)."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < min_calls or time.perf_counter() < end:
        start = time.perf_counter()
        done = step()
        times.append(1e3 * (time.perf_counter() - start) / done)
    return times


def training(case: Case, workers: int | None = None, group: Group = LOCAL) -> tuple[DataParallel, Step]:
    """Return our workers and a function that does one training step with them, and with the ranks of a group."""
    model = GPT(vocab_size=case.V, max_len=case.T, d_model=case.C, n_heads=case.H, n_layers=case.L,
                activation=case.activation, tie_weights=case.tied)
    parallel = DataParallel(model, workers, group)
    optimizer = AdamW(model, LR, BETAS, EPS, DECAY)
    return parallel, training_step(parallel, optimizer, *batch(case))


def training_step(parallel: DataParallel, optimizer: AdamW, x: np.ndarray, y: np.ndarray) -> Step:
    """Return a function that does one training step on x, y, as `Trainer` does: loss, gradients, clipping, update."""
    def step() -> int:
        parallel.loss(x, y)
        parallel.backward()
        parallel.reduce()
        clip_grad_norm(parallel.model, 1.0, parallel.map_own, parallel.total)
        optimizer.step(parallel.map_own)
        parallel.spread()
        optimizer.zero_grad()
        return 1

    return step


def numpygpt(case: Case) -> Step:
    if not case.decode:
        return training(case)[1]
    model = GPT(vocab_size=case.V, max_len=case.T, d_model=case.C, n_heads=case.H, n_layers=case.L)
    return lambda: model.generate(np.zeros((1, 1), int), case.T - 1, temperature=1.0).shape[1] - 1


def products(case: Case) -> Step:
    """The lower bound: only the matrix products of a step, in our tiles, one shard and one BLAS thread per thread."""
    B, T, C, V = case.B, case.T, case.C, case.V
    workers = cores()
    rng = np.random.default_rng(0)

    def array(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    W = {shape: array(*shape) for shape in ((C, 3 * C), (C, C), (C, 4 * C), (4 * C, C))}
    E = array(V, C)
    N, b, D = B * T // workers, B // workers, C // case.H
    inputs = [{n: array(N, n) for n in {C, 3 * C, 4 * C}} for _ in range(workers)]
    heads = [[array(b, case.H, T, D) for _ in range(3)] for _ in range(workers)]

    def shard(i: int) -> None:
        X, (Q, K, V_) = inputs[i], heads[i]
        for _ in range(case.L):
            for (m, n), w in W.items():
                _ = X[m] @ w  # forward
                _ = X[n] @ w.T  # dX
                _ = X[m].T @ X[n]  # dW
            for s, r, seen in causal_attention.tiles((b, case.H, 1, T, D), T, causal_attention.ROWS,
                                                     causal_attention.SCORE_ENTRIES):
                P = Q[s, :, r] @ K[s, :, seen].swapaxes(-1, -2)  # scores
                _ = P @ V_[s, :, seen]  # output
                _ = Q[s, :, r] @ V_[s, :, seen].swapaxes(-1, -2)  # dP
                _ = P @ K[s, :, seen]  # dQ
                for _ in range(2):  # dK, dV
                    _ = P.swapaxes(-1, -2) @ Q[s, :, r]
                if T > causal_attention.KEEP_WEIGHTS:
                    _ = Q[s, :, r] @ K[s, :, seen].swapaxes(-1, -2)  # scores again
        for s in row_slices(N, 1, chunk_rows(V)):
            logits = X[C][s] @ E.T
            _ = logits @ E
            for v in row_slices(V, C, LOGIT_ENTRIES):
                _ = logits[:, v].T @ X[C][s]

    def step() -> int:
        threads = [threading.Thread(target=shard, args=(i,)) for i in range(workers)]
        with blas_threads(1):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return 1

    return step


def torch_model(case: Case):
    """Return the model of numpygpt.models.gpt in PyTorch, with PyTorch's fused attention."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            C = case.C
            self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)
            self.qkv, self.proj = nn.Linear(C, 3 * C), nn.Linear(C, C)
            self.fc, self.out = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

        def forward(self, x):
            B, T, C = x.shape
            q, k, v = (part.view(B, T, case.H, -1).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(C, dim=2))
            o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.proj(o.transpose(1, 2).reshape(B, T, C))
            h = self.fc(self.norm2(x))
            return x + self.out(F.relu(h) if case.activation == "relu" else F.gelu(h, approximate="tanh"))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(case.V, case.C), nn.Embedding(case.T, case.C)
            self.blocks = nn.Sequential(*(Block() for _ in range(case.L)))
            self.norm_f = nn.LayerNorm(case.C)
            self.head = nn.Linear(case.C, case.V, bias=False)
            if case.tied:
                self.head.weight = self.wte.weight
            for param in self.parameters():
                if param.ndim >= 2:
                    nn.init.normal_(param, std=0.02)

        def forward(self, x, y):
            h = self.wte(x) + self.wpe(torch.arange(x.shape[1], device=x.device))
            logits = self.head(self.norm_f(self.blocks(h)))
            return F.cross_entropy(logits.view(-1, case.V), y.view(-1))

    torch.manual_seed(0)
    return Model()


def torch_step(case: Case, form: str) -> Step:
    import torch

    x, y = (torch.from_numpy(a) for a in batch(case))
    return torch_training(case, torch.compile if form == "compile" else lambda model: model, x, y, form == "bf16")


def torch_training(case: Case, wrap: Callable[[Any], Any], x: Any, y: Any, bf16: bool = False,
                   model: Any = None) -> Step:
    """Return a function that does one training step on x, y, where they are, with a wrapped (compiled, distributed)
    model. `model`, if given, is used in place of the one of the case, and takes what `wrap` gives it."""
    import torch

    model = model or torch_model(case).to(x.device)
    groups = [{"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": DECAY},
              {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS, fused=True)
    forward = wrap(model)

    def step() -> int:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            loss = forward(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return 1

    return step


def jax_step(case: Case) -> Step:
    import jax
    import jax.numpy as jnp

    C, H, L = case.C, case.H, case.L
    rng = np.random.default_rng(0)
    act = jax.nn.relu if case.activation == "relu" else jax.nn.gelu  # jax.nn.gelu is the tanh form by default

    def normal(*shape: int):
        return jnp.asarray(0.02 * rng.standard_normal(shape, dtype=np.float32))

    def norm_params():
        return {"g": jnp.ones(C), "b": jnp.zeros(C)}

    def linear_params(m: int, n: int):
        return {"W": normal(m, n), "b": jnp.zeros(n)}

    params = {"wte": normal(case.V, C), "wpe": normal(case.T, C), "norm_f": norm_params(), "blocks": [
        {"norm1": norm_params(), "qkv": linear_params(C, 3 * C), "proj": linear_params(C, C), "norm2": norm_params(),
         "fc": linear_params(C, 4 * C), "out": linear_params(4 * C, C)} for _ in range(L)]}
    if not case.tied:
        params["head"] = normal(case.V, C)

    def norm(p, x):
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * p["g"] + p["b"]

    def linear(p, x):
        return x @ p["W"] + p["b"]

    def loss_of(params, x, y):
        h = params["wte"][x] + params["wpe"]
        for p in params["blocks"]:
            q, k, v = (part.reshape(*x.shape, H, C // H)
                       for part in jnp.split(linear(p["qkv"], norm(p["norm1"], h)), 3, axis=-1))
            h = h + linear(p["proj"], jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(*x.shape, C))
            h = h + linear(p["out"], act(linear(p["fc"], norm(p["norm2"], h))))
        logits = jax.nn.log_softmax(norm(params["norm_f"], h) @ params["wte" if case.tied else "head"].T)
        return -jnp.take_along_axis(logits, y[..., None], -1).mean()

    def update(state, x, y):
        params, m, v, t = state
        grads = jax.grad(loss_of)(params, x, y)
        size = jnp.sqrt(sum((g * g).sum() for g in jax.tree.leaves(grads)))
        grads = jax.tree.map(lambda g: g * jnp.minimum(1, 1 / size), grads)
        t, (b1, b2) = t + 1, BETAS
        m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
        v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
        params = jax.tree.map(
            lambda p, m, v: p * (1 - LR * DECAY * (p.ndim >= 2))
            - LR * (m / (1 - b1**t)) / (jnp.sqrt(v / (1 - b2**t)) + EPS), params, m, v)
        return params, m, v, t

    fast = jax.jit(update, donate_argnums=0)
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = [(params, zeros, jax.tree.map(jnp.zeros_like, params), jnp.zeros(()))]
    x, y = (jnp.asarray(a) for a in batch(case))

    def step() -> int:
        state[0] = jax.block_until_ready(fast(state[0], x, y))
        return 1

    return step


def huggingface_decode(case: Case, device: str = "cpu", model: Any = None) -> Step:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = model or GPT2LMHeadModel(GPT2Config(
        vocab_size=case.V, n_positions=case.T, n_embd=case.C, n_layer=case.L, n_head=case.H, bos_token_id=0,
        eos_token_id=None, pad_token_id=0))
    model, start = model.eval().to(device), torch.zeros((1, 1), dtype=torch.long, device=device)

    def step() -> int:
        with torch.inference_mode():
            out = model.generate(start, attention_mask=torch.ones_like(start), max_new_tokens=case.T - 1,
                                 do_sample=True, top_k=0, use_cache=True)
        return out.shape[1] - 1

    return step


MAKERS: dict[str, tuple[str, Callable[[Case], Step]]] = {  # name -> (required package, maker)
    "numpygpt": ("numpy", numpygpt),
    "products": ("numpy", products),
    "torch": ("torch", lambda case: torch_step(case, "eager")),
    "torch-compile": ("torch", lambda case: torch_step(case, "compile")),
    "torch-bf16": ("torch", lambda case: torch_step(case, "bf16")),
    "jax": ("jax", jax_step),
    "huggingface": ("transformers", huggingface_decode),
}


def missing(peer: str) -> str:
    """Return the package that this peer needs if it is not installed, or an empty string."""
    package = MAKERS[peer][0]
    return "" if importlib.util.find_spec(package) else package
