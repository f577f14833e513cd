"""Watching changes nothing: same bits, nothing left behind, also after an error; and no layer has a hook for it."""

import contextlib
import inspect
from pathlib import Path

import numpy as np
import pytest

import numpygpt
from numpygpt import nn, trace
from numpygpt.inspection import tracer
from numpygpt.inspection.stats import Stats
from numpygpt.parallel.threads import DataParallel


def attributes(model):
    return [(name, list(vars(module))) for name, module in model.named_modules()]


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_what_is_watched_computes_the_same_to_the_last_bit(workers, dropout, make_gpt, make_batch):
    def run(watch):
        model = make_gpt(dropout=dropout, dtype="float32")
        found = []
        with DataParallel(model, workers) if workers else contextlib.nullcontext(model) as runner:
            for seed in range(3):  # the second time watched: the third must be as ever too
                with trace(runner) if watch and seed == 1 else contextlib.nullcontext():
                    found.append(runner.loss(*make_batch(shape=(5, 6), seed=seed)))
                    runner.backward()
        return found, model.flat().grads

    (losses, grads), (watched_losses, watched_grads) = run(False), run(True)
    assert losses == watched_losses
    np.testing.assert_array_equal(grads, watched_grads)
    assert grads.any()


def test_after_the_block_nothing_is_left(make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    model.loss(x, y)
    before, state = attributes(model), model.state_dict()
    with trace(model):
        assert "forward" in vars(model.blocks[0].attn) and "loss" in vars(model)
        model.loss(x, y)
        assert type(model).loss is type(make_gpt()).loss  # other models are not watched
        assert "forward" not in vars(make_gpt().wte)
    assert attributes(model) == before
    assert model.blocks[0].attn.forward.__func__ is nn.MultiHeadAttention.forward
    assert all(np.array_equal(param, state[name]) for name, param in model.params().items())


def test_an_error_inside_leaves_nothing_behind_and_shows_how_far_it_came(make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    model.loss(x, y)
    before = attributes(model)
    model.blocks[1].norm2.d_model = 7
    with pytest.raises(ValueError, match="7"), trace(model) as t:
        model.loss(x, y)
    assert attributes(model) == before
    assert [record.name for record in t][-1] == "blocks.1.norm2"
    failed, done = t["blocks.1.norm2"], t["blocks.1.attn"]
    assert (failed.forward_calls, failed.output, failed.input_shape) == (0, None, (3, 6, 8))
    assert (done.forward_calls, t[""].forward_calls) == (1, 0) and "norm_f" not in str(t)


def test_an_error_that_is_caught_inside_does_not_disturb_what_follows(make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    with trace(model) as t:
        with pytest.raises(ValueError, match="id.*99"):
            model.loss(np.full_like(x, 99), y)
        model.loss(x, y)
        model.backward()
    assert all(record.forward_calls == record.backward_calls == 1 for record in t)
    assert t["head_loss"].cached > 0


def test_what_a_user_puts_there_or_takes_away_inside_stays_so_and_all_else_is_uncovered(make_gpt, make_batch):
    model, mine = make_gpt(), nn.ReLU()
    act = model.blocks[0].ffn.act
    model.wpe.forward = model.wpe.forward  # a user's, from before
    with trace(model):
        act.forward = mine.forward
        del act.backward, model.norm_f.forward, model.wpe.forward
    covered = ("forward", "loss", "backward")
    assert {name: found for name, keys in attributes(model) if (found := [key for key in keys if key in covered])} == {
        "blocks.0.ffn.act": ["forward"]}
    assert act.forward.__self__ is mine
    with trace(model) as t:  # it can be traced again
        model.loss(*make_batch())
    assert t["blocks.0.ffn.act"].forward_calls == t["norm_f"].forward_calls == 1


def test_a_model_is_traced_once_at_a_time(make_gpt, make_batch):
    model = make_gpt()
    with DataParallel(model, 2) as parallel, trace(model.blocks[0]) as t:
        for target in (model, parallel, model.blocks[0].ffn):
            with pytest.raises(RuntimeError), trace(target):
                pass
        assert "forward" not in vars(model.wte)  # nothing was covered by those that failed
        model.loss(*make_batch())
    assert [record.name for record in t][:2] == ["", "norm1"]
    with trace(model) as t:
        model.loss(*make_batch())
    assert t["blocks.0"].forward_calls == 1


def test_only_models_can_be_traced():
    with pytest.raises(ValueError, match="Module.*DataParallel"):
        trace([nn.Linear(2, 3)])


def test_no_layer_knows_of_it():
    """No hook, and no branch: with the covers off, a call runs the code of the class and nothing else."""
    package = Path(numpygpt.__file__).parent
    files = [path for part in ("nn/**", "models") for path in package.glob(f"{part}/*.py")]
    sources = [path.read_text(encoding="utf-8") for path in files]
    assert len(sources) > 20 and not any(word in source for source in sources for word in ("inspection", "hook"))
    assert inspect.getsource(nn.Module.__call__).split("\n")[1:] == ["        return self.forward(*args, **kwargs)", ""]


def test_what_watching_takes_is_not_in_the_times(monkeypatch):
    """By a clock that only the layers' own work and the watching move: 1 s a layer forward, 2 s back, 100 s a look."""
    now = [0.0]

    def work(layer, method, seconds):
        inner = getattr(layer, method)

        def slow(X):
            now[0] += seconds
            return inner(X)
        vars(layer)[method] = slow

    def look(values):
        now[0] += 100
        return Stats.of(values)

    monkeypatch.setattr(tracer.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(tracer, "stats_of", look)
    model = nn.FeedForward(8)
    for layer in (model.fc, model.act, model.proj, model.dropout):
        work(layer, "forward", 1)
        work(layer, "backward", 2)
    with trace(model) as t:
        model.backward(model(np.ones((2, 8), np.float32)))
    assert [(r.name, r.forward_seconds, r.backward_seconds) for r in t] == [
        ("", 4, 8), ("fc", 1, 2), ("act", 1, 2), ("proj", 1, 2), ("dropout", 1, 2)]
    assert now[0] == 12 + 10 * 100
    assert "forward" in vars(model.fc) and model.fc.forward.__name__ == "slow"  # what a user put there is back
