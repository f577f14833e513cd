"""Training over several hosts: network namespaces with a network between them (root on Linux)."""

import subprocess
import time

import pytest
from mpi.launch import mpiexec, needs_mpi
from tiny import assert_same_run, make_data

from benchmarks import hosts
from numpygpt.utils.paths import ROOT

pytestmark = [needs_mpi, pytest.mark.skipif(bool(hosts.missing()), reason=hosts.missing())]

FLAGS = ["--n-layers", 1, "--n-heads", 2, "--d-model", 64, "--context", 8, "--batch-size", 4, "--steps", 300,
         "--warmup", 5, "--eval-every", 50, "--sample-tokens", 4, "--dropout", 0.1, "--workers", 1]
SECONDS = 60  # in which a job must end


def test_hosts_have_the_rate_and_the_latency_that_they_are_given():
    with hosts.Hosts(2, "100mbit", 0.02) as two:
        there_and_back, rate = hosts.measured(two)
        assert there_and_back >= 0.04 and rate <= 12.6e6
        assert two.sent(0) > 1 << 25 > two.sent(1)
    left = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    assert not any(name in left for name in two.names)


def test_a_run_over_two_hosts_that_is_cut_off_ends_and_can_be_resumed(tmp_path):
    data, out, expected = make_data(tmp_path / "data"), tmp_path / "run", tmp_path / "expected"
    assert mpiexec(2, ROOT / "train.py", *FLAGS, "--data", data, "--out", expected, seconds=SECONDS).returncode == 0
    with hosts.Hosts(2, "1gbit", 0.002) as two:
        run = two.train(*FLAGS, "--data", data, "--out", out, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while run.poll() is None and not hosts.saved(out):
            time.sleep(0.05)
        two.cut(1)
        errors = run.communicate(timeout=SECONDS)[1]
        step = hosts.saved(out)
        assert run.returncode != 0 and "--resume" in errors and 0 < step < 300
        two.restore(1)
        before = two.sent(1)
        run = two.train("--resume", out, stdout=subprocess.DEVNULL)
        assert run.wait(SECONDS) == 0
        assert two.sent(1) - before > (300 - step) * params(out) * 4  # half of the gradients, half of the parameters
    assert_same_run(out, expected)


def params(out):
    checkpoint = hosts.load_checkpoint(out / "ckpt.npz")
    return sum(checkpoint.group("model")[name].size for name in checkpoint.group("model"))
