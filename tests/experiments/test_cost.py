"""The cost model of docs/SCALING.md, and what it starts from."""

import json
from dataclasses import asdict, replace

import pytest

from benchmarks import cost, network
from benchmarks.cases import Case
from numpygpt.parallel.group import LOCAL

JOB = cost.Job("a job", params=10_000_000, rows=64, context=128, token=1e-3, calls=0.0, update=0.0, clear=0.0,
               at_once=64)
LINK = cost.Link("a link", bandwidth=125e6, latency=0.0)


def test_a_single_rank_sends_nothing_and_does_all_of_the_work():
    job = replace(JOB, calls=0.5, update=0.25, clear=0.125)
    of = cost.step(job, 1, LINK)
    assert (of.bandwidth, of.latency) == (0, 0)
    assert of.seconds == pytest.approx(64 * 128 * 1e-3 + 0.5 + 0.25 + 0.125)
    assert cost.efficiency(job, 1, LINK) == 1
    assert cost.step(replace(job, at_once=16), 1, LINK).seconds == pytest.approx(of.seconds + 3 * 0.5)


def test_n_ranks_send_their_part_of_all_bytes_twice():
    for n in (2, 4, 64):
        of = cost.step(JOB, n, LINK)
        assert of.bandwidth == pytest.approx(2 * (n - 1) / n * 4 * JOB.params / LINK.bandwidth)
        assert of.compute == pytest.approx(64 * 128 * 1e-3 / n)


def test_every_exchange_and_every_sum_waits_for_the_latency():
    far = replace(LINK, latency=0.5, bandwidth=1e6, window=1e30)
    assert cost.step(JOB, 2, far).latency == pytest.approx((2 + cost.SCALARS) * 0.5)


def test_a_window_limits_the_rate_over_a_long_line():
    of = cost.step(JOB, 2, replace(LINK, latency=0.5, window=1e6))
    assert of.bandwidth + of.latency == pytest.approx(4 * JOB.params / 1e6 + (2 + cost.SCALARS) * 0.5)


def test_ranks_that_train_apart_send_less_and_update_everything():
    job = replace(JOB, update=0.25)
    together, apart = cost.step(job, 4, LINK), cost.step(job, 4, LINK, sync_every=100)
    assert apart.bandwidth == pytest.approx(together.bandwidth / 100)
    assert (together.update, apart.update) == (0.0625, 0.25)


def test_backward_hides_at_most_the_gradients():
    of, hidden = cost.step(JOB, 2, LINK), cost.step(JOB, 2, LINK, overlap=1)
    assert hidden.bandwidth == pytest.approx(of.bandwidth / 2)


def test_the_cause_of_a_low_efficiency_is_found():
    assert cost.limit(JOB, replace(LINK, bandwidth=1e300)) == (129, "too few rows per rank")
    assert cost.limit(JOB, replace(LINK, bandwidth=1e6))[1] == "bandwidth"
    assert cost.limit(JOB, replace(LINK, bandwidth=1e15, latency=5.0, window=1e30))[1] == "latency"
    assert cost.limit(replace(JOB, rows=1 << 20), replace(LINK, bandwidth=1e15)) == (0, "")


def test_faster_hosts_need_a_faster_line():
    assert cost.efficiency(JOB, 8, LINK) > cost.efficiency(JOB.faster(10), 8, LINK)
    assert cost.efficiency(JOB.faster(10), 8, replace(LINK, bandwidth=1.25e9)) == pytest.approx(
        cost.efficiency(JOB, 8, LINK))


def test_what_is_measured_becomes_tables():
    job = network.job_of(Case("tiny", 4, 8, 8, 2, 1, 11, (), seconds=0.01), LOCAL, 4, workers=1, times=3)
    assert job.params == 11 * 8 + 8 * 8 + 12 * 64 + 13 * 8 + 2 * 8 and min(job.update, job.clear) > 0
    assert cost.Job(**json.loads(json.dumps(asdict(job)))) == job
    jobs, links = cost.jobs({"char": replace(JOB, name="char"), "gpt2": JOB}), cost.links(LINK)
    assert len({(of.name, link.name) for of in jobs for link in links}) == 16
    lines = cost.tables(jobs, links)
    assert len(lines) == 2 + 4 * 2 * 3 + 1 + 2 + 4 * 2 * 3


def test_calls_over_two_links_give_the_costs_of_the_processor():
    truth = cost.Link("true", 125e6, 0.02, message=1e-4, byte=1e-9, window=2e6)
    def seconds(link):
        return {"sum": cost.sums(2, link), **{str(size): sum(cost.exchange(4 * size, 2, link))
                                              for size in network.SIZES}}
    near = seconds(replace(truth, latency=0.0))
    found = network.calibrated(near, seconds(truth))
    assert found.message == pytest.approx(1e-4) and found.byte == pytest.approx(1e-9)
    assert found.window == pytest.approx(2e6, rel=0.05)
