"""Short runs of a tiny model on several ranks."""

import json
from pathlib import Path

import numpy as np
from mpi.launch import mpiexec

STEPS = 50
# The learning rate is low: a run that is close to diverging doubles every difference from step to step.
CALM = {"n_layers": 2, "n_heads": 2, "d_model": 16, "context": 8, "batch_size": 12, "steps": 100, "warmup": 10,
        "lr": 1e-3, "min_lr": 1e-4, "dropout": 0.0, "workers": 1, "seed": 5}


def case(name, steps=STEPS, ignored=False, load=None, saves=(), traced=False, **config):
    """A case for train_cases.py. `saves` are (step, path)."""
    given = {"load": str(load)} if load else {}
    return {"name": name, "config": CALM | config, "steps": steps, "ignored": ignored, "traced": traced,
            "saves": {str(step): str(path) for step, path in saves}, **given}


def on_ranks(n, cases, data, out):
    """{name of the case: what each rank found}."""
    listed = out / f"cases of {n}.json"
    listed.write_text(json.dumps(cases))
    done = mpiexec(n, Path(__file__).with_name("train_cases.py"), listed, data.folder, out)
    assert done.returncode == 0, done.stderr
    return {case["name"]: [dict(np.load(out / f"{case['name']}.{rank}.npz")) for rank in range(n)] for case in cases}
