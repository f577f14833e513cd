#!/usr/bin/env python3
"""Several hosts on one machine, joined by a network of a chosen rate and latency, to try training over a network.

    python benchmarks/hosts.py                      a run over two hosts is cut off, ends, and is resumed: two minutes
    python benchmarks/hosts.py --rate 100mbit --latency 20

As a library:

    with Hosts(2, rate="1gbit", latency=0.005) as hosts:
        run = hosts.train("quick")
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
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import measured_on
from benchmarks.switch import TUN, address
from numpygpt.parallel import launch
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.utils import cli
from numpygpt.utils.paths import ROOT

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
    """Why this machine cannot be several hosts; empty if it can."""
    if sys.platform != "linux" or os.geteuid():
        return "several hosts on one machine need root on Linux"
    absent = [f"{tool} is not installed" for tool in ("ip", "tc", "taskset") if shutil.which(tool) is None]
    return absent[0] if absent else launch.missing() or ("" if TUN.exists() else f"there is no {TUN}")


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
        return subprocess.Popen([str(self.ssh), self.addresses[host], shlex.join(map(str, words))],
                                **{"stdin": subprocess.DEVNULL, "text": True} | options)

    def mpiexec(self, words: Sequence[Any], ranks: int = 0, **options: Any) -> subprocess.Popen:
        """Start `ranks` ranks of a command, by default one per host, from host 0."""
        hosts = ",".join(self.addresses)
        launcher = [launch.mpiexec(), "-launcher", "ssh", "-launcher-exec", self.ssh, "-hosts", hosts]
        variables = {**os.environ, **TCP_ONLY, **options.pop("env", {})}
        return self.start(0, [*launcher, "-n", ranks or len(self.names), *words], env=variables, **options)

    def train(self, *flags: Any, **options: Any) -> subprocess.Popen:
        """Start train.py with a rank on every host."""
        return self.mpiexec([sys.executable, ROOT / "train.py", *flags], **options)

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


PING = """
import socket, sys, time
times, size, port = 20, 1 << 25, 5000
if sys.argv[1] == "answer":
    server = socket.create_server(("", port))
    print("ready", flush=True)
    end, _ = server.accept()
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(times):
        end.send(end.recv(1))
    while size > 0:
        size -= len(end.recv(1 << 20))
    end.send(b"x")
else:
    end = socket.create_connection((sys.argv[2], port))
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    at = [time.perf_counter()]
    for _ in range(times):
        end.send(b"x")
        end.recv(1)
        at.append(time.perf_counter())
    end.sendall(bytes(size))
    end.recv(1)
    print(min(b - a for a, b in zip(at, at[1:])), size / (time.perf_counter() - at[-1]))
"""


def measured(hosts: Hosts) -> tuple[float, float]:
    """The time of a byte from host 0 to host 1 and back in seconds, and the bytes per second of a TCP stream."""
    answer = hosts.start(1, [sys.executable, "-c", PING, "answer"], stdout=subprocess.PIPE)
    answer.stdout.readline()
    ask = hosts.start(0, [sys.executable, "-c", PING, "ask", hosts.addresses[1]], stdout=subprocess.PIPE)
    there_and_back, rate = map(float, ask.communicate(timeout=60)[0].split())
    answer.communicate()
    return there_and_back, rate


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", default="1gbit", help="what each host can send per second, as tc writes it")
    parser.add_argument("--latency", type=float, default=1.0, metavar="MS", help="of a packet, in milliseconds")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "shakespeare_char", help="a data folder")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if lacks := missing():
        raise RuntimeError(lacks)
    print(measured_on("numpy", "mpi4py", "mpich"))
    with tempfile.TemporaryDirectory() as folder, Hosts(2, args.rate, args.latency / 1e3) as hosts:
        there_and_back, rate = measured(hosts)
        print(f"two hosts: a byte there and back takes {1e3 * there_and_back:.2f} ms, a TCP stream carries "
              f"{8e-6 * rate:,.0f} Mbit/s", flush=True)
        cut_off(hosts, args.data, Path(folder) / "run")
    return 0


def saved(out: Path) -> int:
    """The step of a run's last save; 0 before the first one."""
    return load_checkpoint(out / "ckpt.npz").header["step"] if (out / "ckpt.npz").exists() else 0


def cut_off(hosts: Hosts, data: Path, out: Path) -> None:
    """Train over the hosts, take one off the network after the first save, and resume."""
    run = hosts.train("quick", "--data", data, "--out", out, "--steps", 300, "--eval-every", 100, "--sample-tokens", 0)
    while run.poll() is None and not saved(out):
        time.sleep(0.1)
    time.sleep(3)
    hosts.cut(1)
    print("\n-- the link of host 1 is cut", flush=True)
    start = time.monotonic()
    status = run.wait(timeout=120)
    print(f"-- {time.monotonic() - start:.0f} s later the job has ended with status {status}. The last save is of step "
          f"{saved(out)}. The link is back, and the run is resumed", flush=True)
    hosts.restore(1)
    sent = hosts.sent(0)
    status = hosts.train("--resume", out, "--sample-tokens", 0).wait(timeout=600)
    print(f"-- it has ended with status {status}. Since then host 0 has sent {(hosts.sent(0) - sent) / 1e6:,.0f} MB")


if __name__ == "__main__":
    cli.run(main)
