"""Damage to a file: strategies that change bytes and JSON values, and the rules that hold for each case."""

import copy
import faulthandler
import json
import os
import tracemalloc
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

CASES = int(os.environ.get("NUMPYGPT_FUZZ", "1000"))  # of all fuzz tests together
SAME = 10_000  # up to this many, every run has the same cases; with more, each run has new ones
SECONDS = 60  # a case that takes longer ends the test run with a traceback
MOST_MEMORY = 32 << 20  # bytes; the files have a few kilobytes

DEEP, NEST, DIGITS = "@deep@", "@nest@", "@digits@"  # replaced in JSON by values that json.dumps cannot write
RAW = {DEEP: "[" * 100_000 + "]" * 100_000, NEST: "[" * 900 + "]" * 900, DIGITS: "9" * 5000}
ODD = [
    *(None, True, False, 0, 1, -1, 2, 3, 255, 256, 65_536, 10**9, 2**31, 2**63 - 1, 2**63, 2**64, 10**40, -(10**40)),
    *(0.5, -0.0, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"), DEEP, NEST, DIGITS),
    *("", " ", "a", "\0", "\n", "a\nb", "é", "\ud800", "../../x", "/etc/passwd", "x" * 300, "9" * 400, "<unk>"),
    *([], [[]], [0] * 5, ["a", "b"], {}, {"": 0}, {"a": {"b": []}}),
]


def cases(percent):
    """Settings of a test with this share of all cases."""
    return settings(max_examples=max(1, CASES * percent // 100), deadline=None, database=None,
                    derandomize=CASES <= SAME, suppress_health_check=list(HealthCheck))


@st.composite
def spoiled(draw, data):
    """`data` with one to three changes: a part is cut off, flipped, swapped, doubled, overwritten or removed."""
    for _ in range(draw(st.integers(1, 3))):
        size = len(data)
        at, other = draw(st.integers(0, size)), draw(st.integers(0, size))
        a, b = min(at, other), max(at, other)
        how = draw(st.integers(0, 9))
        if how == 0:
            data = data[:at]
        elif how <= 3 and size:  # the most common damage
            place = at % size
            data = data[:place] + bytes([data[place] ^ 1 << draw(st.integers(0, 7))]) + data[place + 1 :]
        elif how == 4:  # two neighbouring parts are swapped
            middle = (a + b) // 2
            data = data[:a] + data[middle:b] + data[a:middle] + data[b:]
        elif how == 5:
            data = data[:a] + data[b:]
        elif how == 6:
            data = data[:b] + data[a:b] + data[b:]
        elif how == 7:
            data = data[:a] + draw(st.sampled_from([b"\0", b"\xff", b" ", b"9", b"["])) * (b - a) + data[b:]
        elif how == 8:
            data = data[:at] + draw(st.binary(max_size=8)) + data[at:]
        else:
            wide = data.decode("latin-1").encode("utf-16")
            data = draw(st.sampled_from([b"", b"\xef\xbb\xbf" + data, data + b"\0", wide, b"[" * 100_000, data + data]))
    return data


@st.composite
def changed(draw, value):
    """A JSON value with one or two changes: something is replaced, removed, added or duplicated."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 2))):
        inner = draw(st.sampled_from(list(containers(value))))
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        odd = copy.deepcopy(draw(st.sampled_from(ODD)))  # the next round may change what is in it
        how = draw(st.integers(0, 5))
        if not keys or how == 0:
            inner.update({str(odd)[:400]: 1}) if isinstance(inner, dict) else inner.append(odd)
            continue
        key = draw(st.sampled_from(keys))
        if how <= 3:
            inner[key] = odd
        elif how == 4:
            del inner[key]
        else:
            inner[key] = copy.deepcopy(inner[draw(st.sampled_from(keys))])
    return value


def containers(value):
    """Every object and list in `value`, the outermost first."""
    if isinstance(value, (dict, list)):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from containers(inner)


def to_json(value):
    """JSON of a result of `changed`, including NaN, huge numbers and deep nesting."""
    text = json.dumps(value)
    for sign, raw in RAW.items():
        text = text.replace(f'"{sign}"', raw)
    return text.encode()


@dataclass
class Place:
    """A folder for a test's files, in which nothing else may change."""

    folder: Path

    def listing(self):
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in self.folder.rglob("*")}

    def tried(self, load, name):
        """The result of `load()`, or None if it refuses the file `name` in one line. Everything else is a failure."""
        before, found = self.listing(), None
        with guarded():
            try:
                found = load()
            except (ValueError, FileNotFoundError) as error:
                said = str(error)
                assert "\n" not in said and name in said and len(said) < 2000, said
            peak = tracemalloc.get_traced_memory()[1]
        assert peak < MOST_MEMORY, f"{peak:,} bytes were taken"
        assert self.listing() == before
        return found


@contextmanager
def guarded():
    """Count memory, and end the test run if the block hangs."""
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        faulthandler.cancel_dump_traceback_later()
