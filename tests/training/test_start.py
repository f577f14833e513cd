"""A run that goes on, or begins with another's parameters, checks what the checkpoint says before it believes it."""

import json

import pytest
from running import script
from tiny import TINY, make_data

from numpygpt.utils.checkpoint import load_checkpoint, save_checkpoint


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
