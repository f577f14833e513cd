"""Start programs as ranks of mpiexec, for a limited time."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from numpygpt.utils.paths import ROOT

beside = Path(sys.executable).with_name("mpiexec")
MPIEXEC = str(beside) if beside.exists() else shutil.which("mpiexec")
needs_mpi = pytest.mark.skipif(MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
                               reason="needs mpi4py and mpiexec")


def mpiexec(ranks, *words, seconds=240, cwd=None, **variables):
    """Run `python WORDS` as this many ranks, and return the CompletedProcess. They are killed after `seconds`."""
    env = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [MPIEXEC, "-n", str(ranks), sys.executable, *map(str, words)]
    process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, err = process.communicate(timeout=seconds)
    except BaseException:
        process.terminate()  # mpiexec ends its ranks
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)
