"""./test.py --gradients: a row for each case, the sums below them, and status 1 where a gradient is wrong."""

import re

import pytest
from running import script

from numpygpt import gradient_cases
from numpygpt.nn import Linear


class Wrong(Linear):
    def backward(self, dY):
        dX = super().backward(dY)
        self.db += 0.1
        return dX


@pytest.mark.parametrize("wrong", [False, True])
def test_the_table_and_what_is_wrong(monkeypatch, wrong):
    (_, configuration, _, inputs), *_ = cases = list(gradient_cases.gradient_cases())[:2]
    if wrong:
        cases.append(("Linear", "wrong", lambda: Wrong(inputs[0].shape[-1], 2, rng=0), inputs))
    monkeypatch.setattr(gradient_cases, "gradient_cases", lambda: iter(cases))
    done = script("test.py", "--gradients")
    header, *rows, sums = done.stdout.split("\n\n")[0].splitlines()
    assert header.split() == ["layer", "configuration", "checked", "entries", "largest", "error"]
    assert rows[0].startswith("Linear") and configuration in rows[0]
    assert [row.split()[-1] for row in rows] == ["pass", "pass", "FAIL"][: len(cases)]
    entries = sum(int(re.search(r"(\d+) +[\d.e-]+  \w+$", row)[1]) for row in rows)
    assert sums.startswith(f"{entries:,} entries in {len(cases)} cases; the largest error allowed is 1e-06")
    assert sums.endswith("1 FAIL" if wrong else "all pass")
    assert ("Linear, wrong\nWrong: WRONG" in done.stdout) == wrong
    assert (done.returncode, done.stderr) == (int(wrong), "")
