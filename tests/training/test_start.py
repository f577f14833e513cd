"""A run that goes on, or begins with another's parameters, checks what the checkpoint says before it believes it."""

import contextlib
import json
from argparse import Namespace
from itertools import cycle

import pytest
from running import script
from tiny import TINY, make_data

from numpygpt.plots.loaded import load_model
from numpygpt.training.checkpoint import load_checkpoint, save_checkpoint
from numpygpt.training.model_check import run_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    data = make_data(folder / "data")
    done = script("train.py", *TINY, "--steps", 6, "--data", data, "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run", data


@pytest.mark.parametrize("how", ["--resume", "--init-from"])
def test_a_configuration_that_speaks_of_another_model_is_refused_before_memory_is_taken(run, how, tmp_path):
    out, data = run
    (tmp_path / "run").mkdir()
    checkpoint = load_checkpoint(out / "ckpt.npz")
    header = json.loads(json.dumps(checkpoint.header))
    header["config"]["d_model"] = 2**40
    save_checkpoint(tmp_path / "run" / "ckpt.npz", header, checkpoint.arrays)
    more = ["--data", data] + (["--out", tmp_path / "other"] if how == "--init-from" else [])
    done = script("train.py", how, tmp_path / "run", *more)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done
    assert "does not hold a whole model: its configuration's d_model is not its model's" in done.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("flags", [["--steps", 3], ["--steps", 3, "--warmup", 2]])
def test_a_resumed_run_needs_at_least_the_steps_that_are_done(run, flags):
    done = script("train.py", "--resume", run[0], *flags)
    assert done.returncode == 2 and "done 6 steps" in done.stderr and "flags" not in done.stderr


def leaves(value, path=()):
    """The path of every value in nested objects, the objects themselves included."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield (*path, key)
        yield from leaves(inner, (*path, key))


ABSENT = object()
ODD = [None, -1, [], {}, "x", 2**62, 0.5]


def spoiled(header, path, odd):
    """`header` with the value at `path` replaced or left out."""
    header = json.loads(json.dumps(header))
    inner = header
    for key in path[:-1]:
        inner = inner[key]
    if odd is ABSENT:
        del inner[path[-1]]
    else:
        inner[path[-1]] = odd
    return header


def opened(path):
    """What a picture takes from a checkpoint: (title, line, batch size), and the data folder where that can be had."""
    source = load_model(Namespace(run=str(path), pretrained=None))
    with contextlib.suppress(FileNotFoundError):
        source.dataset()
    return source.name, source.line, run_config(source.checkpoint).batch_size


def dry_run(how, path, data):
    done = script("train.py", "--dry-run", how, path, "--data", data)
    if done.returncode == 2:
        raise ValueError(done.stderr.rstrip("\n"))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("how", ["--resume", "--init-from", "plot"])
def test_no_value_that_a_header_lacks_or_has_wrong_ends_in_a_traceback(run, how, tmp_path):
    """Nothing but a ValueError in one line is caught here; `script` raises what is not the user's error."""
    out, data = run
    checkpoint = load_checkpoint(out / "ckpt.npz")
    paths = [path for path in leaves(checkpoint.header) if "vocabulary" not in path]
    refused = 0
    for path, odd in [*((path, ABSENT) for path in paths), *zip(paths, cycle(ODD))]:
        spoilt = tmp_path / "ckpt.npz"
        save_checkpoint(spoilt, spoiled(checkpoint.header, path, odd), checkpoint.arrays)
        try:
            opened(spoilt) if how == "plot" else dry_run(how, spoilt, data)
        except ValueError as error:
            assert "\n" not in str(error), path
            refused += 1
    assert refused > len(paths) // 10
