"""The tables that docs/build.py makes from the code: each function returns rows of cells, the header first."""

import ast
import inspect
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from contents import chapters, contents, slug  # noqa: F401

from numpygpt import GPT, nn, trace

ROOT = Path(__file__).resolve().parents[1]


def layers():
    """README: every layer of numpygpt.nn with its formulas, a link to its code and one to its derivation."""
    table = [("layer", "forward", "backward", "derived")]
    for name in sorted(nn.__all__, key=str.lower):
        kind = getattr(nn, name)
        if isinstance(kind, type) and hasattr(kind, "formula"):
            path = Path(inspect.getsourcefile(kind)).relative_to(ROOT)
            table.append((f"[`{name}`]({path})", lines(kind.formula.forward), lines(kind.formula.backward),
                          derivation(name)))
    return table


def lines(formulas):
    return "<br>".join(formulas).replace("|", "\\|")


def derivation(name):
    """A link to the section of the textbook that quotes the layer's backward, preferably the one with its name."""
    quoted, found = re.compile(rf"<!-- quote \S+ (?:.* )?({name}\.|{re.escape(name.lower())}_)backward"), []
    for page in sorted((ROOT / "docs" / "backprop").glob("*.md")):
        title = ""
        for line in page.read_text(encoding="utf-8").splitlines():
            title = line[3:] if line.startswith("## ") else title
            if quoted.match(line):
                found.append((title != name, f"[{title}](docs/backprop/{page.name}#{slug(title)})"))
    return min(found, default=("", ""))[1]


def facing(part):
    """docs/backprop/model.md: the formulas of the modules of a GPT, in the order of the forward pass. `part` is what
    comes before the blocks (bottom), a block, or what comes after them (top)."""
    sizes = {"B": 2, "T": 3, "C": 8, "F": 5, "n_vocab": 7}
    names = {size: letter for letter, size in sizes.items()} | {24: "3C"}
    model = GPT(vocab_size=7, max_len=9, d_model=8, n_heads=2, n_layers=1, d_ff=5, dropout=0.1, seed=0)
    x, y = np.random.default_rng(0).integers(0, 7, (2, 2, 3))
    with trace(model) as t:
        model(x, targets=y)
        model.backward()
    table, place = [("module, output", "forward: read down", "backward: read up")], "bottom"
    for record in t:
        if not record.name:
            continue  # the model, of which these are the modules
        place = "block" if record.name.startswith("blocks") else "bottom" if place == "bottom" else "top"
        if place == part:
            kind = getattr(nn, record.kind)
            shape = f"({', '.join(names[size] for size in record.output_shape)})" if record.output_shape else "number"
            path = Path("../..") / Path(inspect.getsourcefile(kind)).relative_to(ROOT)
            table.append((f"[`{record.name.replace('blocks.0', 'i')}`]({path})<br>{shape}",
                          *(lines(side).replace(",  ", "<br>")
                            for side in (kind.formula.forward, kind.formula.backward))))
    return table


def memory(*presets):
    """docs/backprop/model.md: the bytes that each module caches for backward, in training of a preset."""
    columns = [cached(preset) for preset in presets]
    return [("module", *presets), *((f"`{name.replace('blocks.0', 'i')}`", *(f"{column[name]:,}"
                                    for column in columns)) for name in columns[0])]


def cached(preset):
    from numpygpt.training.presets import read_preset

    config = read_preset(preset)
    model = GPT(replace(config.model, vocab_size=65))
    x = np.zeros((config.batch_size, config.model.max_len), int)
    with trace(model) as t:
        model.loss(x, x)
    return {record.name: record.cached for record in t}


PRETRAINED = {  # published shapes, in the words of ModelConfig
    "GPT-2": {"vocab_size": 50257, "n_layers": 12, "n_heads": 12, "d_model": 768, "max_len": 1024},
    "SmolLM2-135M": {"vocab_size": 49152, "n_layers": 30, "n_heads": 9, "n_kv_heads": 3, "d_model": 576, "d_ff": 1536},
    "SmolLM2-360M": {"vocab_size": 49152, "n_layers": 32, "n_heads": 15, "n_kv_heads": 5, "d_model": 960,
                     "d_ff": 2560},
    "Qwen2.5-0.5B": {"vocab_size": 151936, "n_layers": 24, "n_heads": 14, "n_kv_heads": 2, "d_model": 896,
                     "d_ff": 4864, "qkv_bias": True},
    "Llama-3.2-1B": {"vocab_size": 128256, "n_layers": 16, "n_heads": 32, "n_kv_heads": 8, "d_model": 2048,
                     "d_ff": 8192},
    "TinyLlama-1.1B": {"vocab_size": 32000, "n_layers": 22, "n_heads": 32, "n_kv_heads": 4, "d_model": 2048,
                       "d_ff": 5632, "tie_weights": False},
}
LLAMA = {"norm": "rmsnorm", "ffn": "gated", "activation": "silu", "positions": "rope", "bias": False, "max_len": 2048}


def pretrained():
    """docs/MODELS.md: parameters, file, and the memory of sampling and training, as the library estimates it."""
    from numpygpt.models import ModelConfig
    from numpygpt.training.config import Config
    from numpygpt.training.memory import INTERPRETER, memory, parameters

    table = [("model", "parameters", "file, float32", "sampling", "LoRA", "LoRA, `--recompute`", "all weights",
              "all weights, `--recompute`")]
    for name, sizes in PRETRAINED.items():
        model = ModelConfig(**(sizes if "max_len" in sizes else LLAMA | sizes))
        run = Config(model=replace(model, max_len=512), batch_size=1, workers=1, init_from=name)
        n = parameters(run if name != "GPT-2" else replace(run, model=model), model.vocab_size)
        heads = model.n_kv_heads or model.n_heads
        kv_cache = 2 * model.max_len * model.n_layers * heads * model.d_model // model.n_heads
        training = [memory(replace(run, lora_rank=rank, recompute=again), model.vocab_size)
                    for rank in (8, 0) for again in (False, True)]
        table.append((name, f"{n / 1e6:,.0f} M", *(f"{size / 1e9:.1f} GB" for size in (
            4 * n, INTERPRETER + 4 * (n + kv_cache), *training))))
    return table


def gradients():
    """docs/FORMULAS.md: the layers' formulas in the order of the chapters."""
    import formulas

    return [("layer", "forward", "backward"),
            *((code(row.name), lines(row.forward), lines(row.backward)) for row in formulas.rows())]


def costs():
    """docs/FORMULAS.md: shapes, cached arrays and FLOPs."""
    import formulas

    return [("layer", "shapes", "cached", "FLOPs forward, backward"),
            *((row.name, *map(lines, (row.shapes, row.cached, row.flops))) for row in formulas.rows())]


def invariants():
    """docs/FORMULAS.md: what holds for each gradient, its derivation and source, and how many numbers are checked."""
    import formulas

    return [("layer", "invariant", "source", "derived", "finite differences"),
            *((row.name, row.invariant, row.source, derivation(row.name).replace("](docs/", "]("), row.cases)
              for row in formulas.rows())]


MISTAKES = [  # session, blank, which of that name, a usual incorrect answer
    (1, "dy", 1, "y - t"),
    (1, "dX", 1, "dY @ W"),
    (1, "dW", 1, "dY.T @ X"),
    (1, "db", 1, "dY"),
    (1, "db", 1, "dY.sum(axis=1)"),
    (1, "db", 1, "dY.mean(axis=0)"),
    (2, "dX", 1, "P * (1 - P) * dP"),
    (2, "dX", 1, "P * (dP - (dP * P).sum(axis=0, keepdims=True))"),
    (2, "dX", 2, "P - np.eye(5)[targets]"),
    (2, "dX", 2, "P / len(X)"),
    (2, "dX", 3, "direct"),
    (3, "dO", 1, "heads(dY @ Wo)"),
    (3, "dV", 1, "P @ dO"),
    (3, "dS", 1, "P * dP"),
    (3, "dQ", 1, "dS @ K"),
    (3, "dK", 1, "dS @ Q / np.sqrt(d_k)"),
    (3, "dX", 1, "together(dQ) @ Wq.T"),
    (3, "dX", 1, "dQ + dK + dV"),
    (4, "dX", 1, "dY2 @ self.W.T"),
    (4, "dW", 1, "dY2.T @ X2"),
    (4, "mean_1", 1, "dXhat.mean()"),
    (4, "dH", 1, "self.norm2.backward(self.ffn.backward(dY))"),
]


def mistakes():
    """docs/TEACHING.md: what the student notebooks print about usual incorrect answers."""
    from notebook import NOTEBOOKS, reply

    found = {path.name[8]: path for path in (NOTEBOOKS / "solutions").glob("student_*.ipynb")}
    return [("session", "answer", "the check prints"),
            *((session, f"`{name} = {answer}`", reply(found[str(session)], name, answer, blank))
              for session, name, blank, answer in MISTAKES)]


def code(name):
    """A link from docs/ to the source of a layer."""
    return f"[{name}](../{Path(inspect.getsourcefile(getattr(nn, name))).relative_to(ROOT)})"


def cases():
    """docs/GRADIENTS.md: what ./test.py --gradients checks. The errors that it prints depend on the machine."""
    from numpygpt.verify.cases import gradient_cases

    table, total = [("layer", "configuration", "parameters", "inputs", "entries checked")], 0
    for layer, configuration, make, inputs in gradient_cases():
        params, floats = make().params(), [X for X in inputs if X.dtype.kind == "f"]
        entries = sum(array.size for array in [*params.values(), *floats])
        table.append((layer, configuration, len(params), len(floats), f"{entries:,}"))
        total += entries
    return [*table, ("all", f"{len(table) - 1} cases", "", "", f"{total:,}")]


def mutants():
    """docs/GRADIENTS.md: how many mutants ./test.py --mutants makes of each function."""
    from numpygpt.verify.mutation.mutants import mutants
    from numpygpt.verify.mutation.targets import targets

    table = [(f"`{target.name}`", len(list(mutants(target)))) for target in targets()]
    return [("function", "mutants"), *table, ("all", f"{sum(count for _, count in table):,}")]


def equivalent():
    """docs/GRADIENTS.md: the mutants that compute the same, each with the reason."""
    from numpygpt.verify.mutation.equivalent import EQUIVALENT

    return [("layer", "line", "changed to", "why it computes the same"),
            *((f"`{function}`", f"`{before}`", f"`{after}`", reason)
              for (function, before, after), reason in EQUIVALENT.items())]


def imports():
    """docs/ARCHITECTURE.md: which packages each one imports from; with a star, only inside functions."""
    found = defaultdict(lambda: defaultdict(set))
    package = ROOT / "numpygpt"
    folders = {path.name for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"}
    for path in package.rglob("*.py"):
        own = path.relative_to(package).parts[0]
        for module, inside in imported(ast.parse(path.read_text(encoding="utf-8"))):
            other = module.split(".")[1] if module.startswith("numpygpt.") else ""
            if own in folders and other in folders - {own}:
                found[own][other].add(inside)
    order = ["utils", "nn", "tokenizer", "optim", "parallel", "models", "data", "verify", "inspection", "plots",
             "training"]
    return [("package", "imports"),
            *((f"`{name}`", ", ".join(f"`{other}`{'*' * all(found[name][other])}"
                                      for other in order if other in found[name]))
              for name in sorted(folders, key=lambda name: (order.index(name) if name in order else 99, name)))]


def imported(node, inside=False):
    """(module, whether inside a function) of each import that is run."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from ((alias.name, inside) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((f"{child.module}.{alias.name}", inside) for alias in child.names)
        yield from imported(child, inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))
