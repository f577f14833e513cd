"""Several hosts on one machine, joined by a network of a chosen rate and latency, to try training over a network.

    with Hosts(2, rate="1gbit", latency=0.005) as hosts:
        done = hosts.mpiexec(["./train.py", "quick"]).communicate()
        hosts.cut(1)                                # as if its cable was pulled

A host has an address of its own, sees no other network, and has its own part of this machine's cores. What stands for
what: a network namespace for a host's network, `benchmarks/switch.py` for cables and switch (latency), the kernel's
token bucket for the rate, `ip netns exec` for ssh. Memory, disk and processor are one machine's. Needs root and Linux.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.switch import TUN, address

# UCX, the transport of the MPICH wheels, sees that all hosts are one machine and would use shared memory.
TCP_ONLY = {"UCX_TLS": "tcp,self"}
SSH = """#!/bin/bash
# Stands for ssh: runs a command on a host, on the cores that belong to it.
while [[ $1 == -* ]]; do shift; done
host=$1; shift
case $host in
%s
*) exit 255;;
esac
exec ip netns exec "$name" taskset -c "$cores" bash -c "$*"
"""


def missing() -> str:
    """What this machine lacks to be several hosts; an empty string if it lacks nothing."""
    if sys.platform != "linux" or os.geteuid():
        return "root on Linux"
    return next((tool for tool in ("ip", "tc", "taskset", "mpiexec") if not found(tool)),
                "" if TUN.exists() else str(TUN))


def found(tool: str) -> str | None:
    """The path of a program, preferably one that was installed beside this Python."""
    return shutil.which(tool, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


class Hosts:
    """`n` hosts that each send at most `rate`, and whose packets take `latency` seconds, for a `with` block."""

    def __init__(self, n: int, rate: str = "10gbit", latency: float = 0.0):
        self.names = [f"numpygpt-{os.getpid()}-{i}" for i in range(n)]
        self.addresses = [address(i) for i in range(n)]
        self.rate, self.latency = rate, latency

    def __enter__(self) -> Hosts:
        self.folder = tempfile.TemporaryDirectory()
        self.ssh = Path(self.folder.name) / "ssh"
        cores, n = sorted(os.sched_getaffinity(0)), len(self.names)
        own = [cores[i * len(cores) // n : (i + 1) * len(cores) // n] or [cores[i % len(cores)]] for i in range(n)]
        self.ssh.write_text(SSH % "\n".join(
            f"{address}) name={name}; cores={','.join(map(str, part))};;"
            for address, name, part in zip(self.addresses, self.names, own, strict=True)), encoding="utf-8")
        self.ssh.chmod(0o700)
        switch = Path(__file__).with_name("switch.py")
        self.switch = subprocess.Popen([sys.executable, str(switch), str(self.latency), self.rate, *self.names],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        if not self.switch.stdout.readline():
            self.__exit__()
            raise RuntimeError("the hosts could not be made: see the message above")
        return self

    def __exit__(self, *_: object) -> None:
        self.switch.stdin.close()
        self.switch.wait()
        self.switch.stdout.close()
        self.folder.cleanup()

    def start(self, host: int, words: Sequence[Any], **options: Any) -> subprocess.Popen:
        """Start a command on a host; options are those of Popen."""
        return subprocess.Popen([str(self.ssh), self.addresses[host], shlex.join(map(str, words))], **options)

    def mpiexec(self, words: Sequence[Any], ranks: int = 0, **options: Any) -> subprocess.Popen:
        """Start `ranks` ranks of a command, by default one per host, from host 0."""
        hosts = ",".join(self.addresses)
        launcher = [found("mpiexec"), "-launcher", "ssh", "-launcher-exec", self.ssh, "-hosts", hosts]
        variables = {**os.environ, **TCP_ONLY, **options.pop("env", {})}
        return self.start(0, [*launcher, "-n", ranks or len(self.names), *words], env=variables, **options)

    def cut(self, host: int) -> None:
        """Take a host's link down: nothing arrives and nothing leaves, and nobody is told."""
        subprocess.run(["ip", "-n", self.names[host], "link", "set", "net0", "down"], check=True)

    def restore(self, host: int) -> None:
        """Take a host's link up again."""
        subprocess.run(["ip", "-n", self.names[host], "link", "set", "net0", "up"], check=True)

    def sent(self, host: int) -> int:
        """How many bytes a host has sent so far."""
        words = ["ip", "-n", self.names[host], "-s", "-j", "link", "show", "net0"]
        (link,) = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        return link["stats64"]["tx"]["bytes"]
