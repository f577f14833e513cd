#!/usr/bin/env python3
"""The network of `benchmarks/hosts.py`: makes the hosts, carries packets between them, and removes them at the end.

    switch.py LATENCY RATE NAME NAME ...      seconds, a rate of tc such as 1gbit, and the names of the hosts

It prints a line when the hosts are there, and ends when its standard input ends, so also when whoever started it was
killed. Each host is a network namespace with one device, `net0`, whose other end is a file in this process (TUN). A
packet that a host sends arrives here and is handed over to its receiver LATENCY seconds later. The kernel's token
bucket (tc tbf) limits how fast each host sends. Needs root.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

TUN = Path("/dev/net/tun")
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # from linux/if_tun.h
MTU = 65_000  # few and large packets: this process handles each one
BURST = 70_000  # bytes that may pass at once after a pause; it must hold a packet


def address(i: int) -> str:
    """The address of host i, counted from 0."""
    return f"10.77.0.{i + 1}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def make(name: str, i: int, rate: str) -> int:
    """Make a host and return the file that is the other end of its device."""
    ip("netns", "add", name)
    file, device = os.open(TUN, os.O_RDWR), f"np{os.getpid()}i{i}"  # the device moves into the namespace below
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    ip("link", "set", device, "netns", name, "name", "net0", "mtu", str(MTU))
    ip("-n", name, "addr", "add", f"{address(i)}/24", "dev", "net0")
    for link in ("lo", "net0"):
        ip("-n", name, "link", "set", link, "up")
    subprocess.run(["tc", "-n", name, "qdisc", "add", "dev", "net0", "root", "tbf", "rate", rate, "burst", str(BURST),
                    "limit", "16mb"], check=True)
    # TCP's oldest rule, which every kernel has: BBR, the default of some, misjudges a line with a token bucket.
    subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno"], check=True)
    return file


def carry(files: list[int], latency: float) -> None:
    """Deliver packets until the standard input ends."""
    receiver = {bytes(map(int, address(i).split("."))): file for i, file in enumerate(files)}
    waiting: deque[tuple[float, int, bytes]] = deque()  # (when, to, packet); all wait equally long, so in order
    stdin = sys.stdin.fileno()
    while True:
        pause = max(0.0, waiting[0][0] - time.perf_counter()) if waiting else None
        ready = select.select([*files, stdin], [], [], pause)[0]
        if stdin in ready:
            return
        now = time.perf_counter()
        for file in ready:
            packet = os.read(file, MTU)
            if (to := receiver.get(packet[16:20])) is not None:  # an IPv4 packet's destination; others are dropped
                waiting.append((now + latency, to, packet))
        while waiting and waiting[0][0] <= now:
            _, to, packet = waiting.popleft()
            try:
                os.write(to, packet)
            except OSError:  # the receiver's link is down
                pass


def remove(name: str) -> None:
    """End what still runs on a host, and remove it."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
    for pid in map(int, pids):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    subprocess.run(["ip", "netns", "del", name], capture_output=True)


def main() -> None:
    latency, rate, *names = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # before all others: a network is not slowed by load
    try:
        files = [make(name, i, rate) for i, name in enumerate(names)]
        print("ready", flush=True)
        carry(files, float(latency))
    finally:
        for name in names:
            remove(name)


if __name__ == "__main__":
    main()
