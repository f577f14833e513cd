"""A pretrained model in each library, in its ordinary form and float32: what `benchmarks/pretrained.py` measures.

A maker takes a row and a model folder, and returns the function that does the row's work once. For "load" that function
also loads the model. For "greedy" it takes the prompts' ids and returns, for each prompt, the new ids and how far the
best logit was above the second one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from numpygpt.utils.cores import cores

Run = Callable[..., Any]
PROMPT, NEW, LONG = 32, 64, 512  # tokens
BATCH = 2, 256
LR, DECAY = 1e-5, 0.1
PROMPTS = (
    "Once upon a time", "The capital of France is", "def fibonacci(n):\n", "The theory of relativity was published by",
    "Water boils at", "To make a good cup of tea,", "In 1969, the first human", "The three laws of thermodynamics are",
    "Dear Sir or Madam,\n\nI am writing to", "Roses are red,",
)
TOKENS = 100  # of greedy text after each of these prompts


def ids(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(100, 10_000, shape)


def numpygpt(row: str, folder: str, workers: int | None = None) -> Run:
    from numpygpt.models import generate
    from numpygpt.models.pretrained import load

    if row == "load":
        return lambda: load(folder).generate(ids(1, 8), 1, temperature=0)
    model = load(folder)
    if row == "decode":
        return lambda: model.generate(ids(1, PROMPT), NEW, temperature=0)
    if row == "prefill":
        reader = generate.reader_of(model)
        return lambda: generate.next_logits(reader, ids(1, LONG), generate.new_caches(model, 1))
    if row == "step":
        return numpygpt_step(model, workers)

    def greedy(prompts: list[list[int]], n: int) -> list[tuple[list[int], list[float]]]:
        found = []
        for prompt in prompts:
            steps = generate.steps(model, np.array([prompt]), n, generate.Sampling(0), 0, None, 1)
            found.append(([], []))
            for token, logits in steps:
                found[-1][0].append(int(token[0]))
                found[-1][1].append(margin(logits[0]))
        return found

    return greedy


def numpygpt_step(model: Any, workers: int | None) -> Run:
    from benchmarks.peers import training_step
    from numpygpt.optim import AdamW
    from numpygpt.parallel.threads import DataParallel

    parallel = DataParallel(model.train(), workers)
    return training_step(parallel, AdamW(model, LR, weight_decay=DECAY), *ids(2, *BATCH))


def huggingface(row: str, folder: str) -> Run:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(cores())

    def load() -> Any:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def text(model: Any, prompt: np.ndarray, n: int, **options: Any) -> Any:
        x = torch.tensor(prompt)
        with torch.inference_mode():
            return model.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=n, min_new_tokens=n,
                                  do_sample=False, pad_token_id=0, **options)

    if row == "load":
        return lambda: text(load(), ids(1, 8), 1)
    model = load()
    if row == "decode":
        return lambda: text(model, ids(1, PROMPT), NEW)
    if row == "prefill":
        x = torch.tensor(ids(1, LONG))

        def prefill() -> None:
            with torch.inference_mode():
                model(x, use_cache=True, logits_to_keep=1)

        return prefill
    if row == "step":
        return huggingface_step(model, torch)

    def greedy(prompts: list[list[int]], n: int) -> list[tuple[list[int], list[float]]]:
        model.generation_config.eos_token_id = None  # so that every text has n tokens
        found = []
        for prompt in prompts:
            out = text(model, np.array([prompt]), n, output_logits=True, return_dict_in_generate=True)
            found.append((out.sequences[0, len(prompt) :].tolist(), [margin(z[0].numpy()) for z in out.logits]))
        return found

    return greedy


def huggingface_step(model: Any, torch: Any) -> Run:
    model.train()
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": DECAY}, {"params": rest, "weight_decay": 0.0}],
                                  lr=LR)
    x, y = map(torch.tensor, ids(2, *BATCH))

    def step() -> None:
        logits = model(x, use_cache=False).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def llama_cpp(row: str, folder: str) -> Run:
    """llama.cpp through `xllamacpp`; its `folder` is a GGUF file with float32 weights, as `float32_gguf` writes it."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = folder
    params.n_ctx, params.n_parallel = 1024, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = cores()
    server = xllamacpp.Server(params)
    prompt, n = (ids(PROMPT), NEW) if row == "decode" else (ids(LONG), 1)

    def run() -> None:
        server.handle_completions({"prompt": prompt.tolist(), "n_predict": n, "temperature": 0, "ignore_eos": True,
                                   "cache_prompt": False})

    return run


def float32_gguf(source: str, target: str) -> None:
    """Write a GGUF file with the same model in float32."""
    import gguf

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            kind = field.types[0]
            inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), kind, sub_type=inner)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.reshape(tensor.shape[::-1]).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def margin(logits: np.ndarray) -> float:
    """How far the best logit is above the second one."""
    second, best = np.partition(logits, -2)[-2:]
    return float(best - second)


MAKERS: dict[str, Callable[[str, str], Run]] = {
    "numpygpt": numpygpt,
    "numpygpt, 1 worker": lambda row, folder: numpygpt(row, folder, 1),
    "huggingface": huggingface,
    "llama.cpp": llama_cpp,
}
NEEDED = {"huggingface": "transformers", "llama.cpp": "xllamacpp"}


def missing(peer: str) -> str:
    """The package that this peer needs if it is not installed, or an empty string."""
    package = NEEDED.get(peer, "numpy")
    return "" if importlib.util.find_spec(package) else package
