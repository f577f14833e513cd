"""A trace says what each module did, in its order; and the model does the same as without, and is left as it was."""

import contextlib
import inspect
from pathlib import Path

import numpy as np
import pytest

import numpygpt
from numpygpt import nn, trace
from numpygpt.inspection import watcher
from numpygpt.inspection.stats import Stats
from numpygpt.nn.parallel import DataParallel

ORDER = ["", "wte", "wpe", "dropout", "blocks.0", "blocks.0.ln1", "blocks.0.attn", "blocks.0.attn.qkv",
         "blocks.0.attn.proj", "blocks.0.attn.dropout", "blocks.0.ln2", "blocks.0.ffn", "blocks.0.ffn.fc",
         "blocks.0.ffn.act", "blocks.0.ffn.proj", "blocks.0.ffn.dropout", "ln_f", "head_loss"]


def attributes(model):
    return [(name, list(vars(module))) for name, module in model.named_modules()]


def assert_stats(stats, values):
    values = np.asarray(values, np.float64)
    found = [stats.count, stats.mean, stats.std, stats.low, stats.high, stats.zeros]
    expected = [values.size, values.mean(), values.std(), values.min(), values.max(), (values == 0).sum()]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_modules_come_in_the_order_in_which_they_ran_each_once(make_gpt, make_batch):
    model, (x, y) = make_gpt(n_layers=1), make_batch()
    with trace(model) as t:
        model.loss(x, y)
        model.backward()
    assert [record.name for record in t] == ORDER
    assert [record.depth for record in t] == [0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 2, 2, 3, 3, 3, 3, 1, 1]
    back = [record.name for record in t.went_back]
    assert back[:4] == ["", "head_loss", "ln_f", "blocks.0"] and back[-2:] == ["wpe", "wte"]
    assert sorted(back) == sorted(ORDER)
    assert all(record.forward_calls == record.backward_calls == 1 for record in t)


def test_numbers_and_shapes_are_those_of_outputs_and_of_their_gradients(make_gpt, make_batch):
    model, (x, y) = make_gpt(activation="relu"), make_batch()
    with trace(model, keep=True) as t:
        logits, loss = model(x, targets=y)
        model.backward(0.5)
    act, attn = t["blocks.1.ffn.act"], t["blocks.0.attn"]
    assert act.kind == "ReLU" and act.input_shape == act.output_shape == (3, 6, 32) and act.n_params == 0
    assert attn.output_shape == (3, 6, 8) and t["blocks.0.attn.qkv"].output_shape == (3, 6, 24)
    assert t["blocks.0.attn.qkv"].n_params == 8 * 24 + 24 and t["wte"].input_shape == (3, 6)
    np.testing.assert_array_equal(act.outputs[0], model.blocks[1].ffn.act.Y)
    assert 0 < act.output.zero_share < 1
    np.testing.assert_array_equal(t["head"].outputs[0], logits)
    assert t["criterion"].output == Stats.of(loss) and t[""].gradient == t["criterion"].gradient == Stats.of(0.5)
    assert t[""].output_shape == logits.shape
    for record in t:
        assert_stats(record.output, record.outputs[0])
        assert_stats(record.gradient, record.gradients[0])
        if record.name:  # the model's output is the logits, its gradient that of the loss
            assert record.gradients[0].shape == record.output_shape
    dlogits = model.criterion.P.copy()
    dlogits[np.arange(18), y.reshape(-1)] -= 1
    np.testing.assert_allclose(t["head"].gradients[0], 0.5 * dlogits.reshape(3, 6, 11) / 18)


def test_keep_takes_names(make_gpt, make_batch):
    model = make_gpt()
    with trace(model, keep=lambda name: name.endswith("attn")) as t:
        model.loss(*make_batch())
    assert [r.name for r in t if r.outputs] == ["blocks.0.attn", "blocks.1.attn"] and not t["blocks.0.attn"].gradients


def test_forward_alone_has_no_gradients(make_gpt, make_batch):
    model = make_gpt()
    with trace(model) as t:
        model(make_batch()[0])
    assert t["head"].gradient is None and t["head"].backward_calls == t["head"].backward_operations == 0
    assert t.went_back == [] and "criterion" not in [record.name for record in t]
    with pytest.raises(KeyError, match="no module 'criterion' ran in this trace; these did: wte, wpe"):
        t["criterion"]


def test_backward_alone_is_seen_and_what_it_costs_is_not_known(make_gpt, make_batch):
    model = make_gpt()
    model.loss(*make_batch())
    with trace(model) as t:
        model.backward()
    record = t["blocks.0.ffn.fc"]
    assert record.forward_calls == 0 and record.output is None and record.gradient.count == 18 * 32
    assert record.backward_operations is None and record.cached == model.blocks[0].ffn.fc.X.nbytes
    assert str(t).startswith("backward")


@pytest.mark.parametrize("call", [lambda m, x, y: m.loss(x=x, y=y), lambda m, x, y: m(x=x, targets=y),
                                  lambda m, x, y: m(targets=y, x=x), lambda m, x, y: m.forward(x, targets=y)])
def test_arguments_by_name(call, make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch(shape=(2, 5))
    with trace(model) as t:
        call(model, x, y)
        model.backward(scale=0.25)
    assert t[""].input_shape == t["wte"].input_shape == (2, 5)
    assert t[""].gradient == Stats.of(0.25)


def test_calls_add_up(make_gpt, make_batch):
    model = make_gpt()
    with trace(model, keep=True) as t:
        for seed, shape in enumerate([(2, 6), (1, 4)]):
            model.loss(*make_batch(shape=shape, seed=seed))
            model.backward(0.5)
    ln = t["blocks.0.ln1"]
    assert (ln.forward_calls, ln.backward_calls, ln.input_shape) == (2, 2, (1, 4, 8))
    assert_stats(ln.output, np.concatenate([out.reshape(-1) for out in ln.outputs]))
    assert_stats(ln.gradient, np.concatenate([gradient.reshape(-1) for gradient in ln.gradients]))
    assert ln.output.count == 16 * 8 and ln.cached == 4 * (8 + 1) * 8  # what the last call keeps
    once = nn.LayerNorm(8, dtype="float64")
    with trace(once) as t:
        once(np.ones((16, 8)))
    assert ln.forward_operations == t[""].forward_operations > 0


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


@pytest.mark.parametrize(("workers", "sequences"), [(1, 4), (2, 4), (3, 4), (3, 2), (3, 1)])
def test_the_numbers_of_workers_together_are_those_of_one(workers, sequences, make_gpt, make_batch):
    alone, model, (x, y) = make_gpt(), make_gpt(), make_batch(shape=(sequences, 6))
    with trace(alone) as expected:
        alone.loss(x, y)
        alone.backward()
    with DataParallel(model, workers) as parallel, trace(parallel) as t:
        parallel.loss(x, y)
        parallel.backward()
    assert [record.name for record in t] == [record.name for record in expected]
    for one, record in zip(expected, t, strict=True):
        assert (record.input_shape, record.output_shape, record.n_params, record.depth) == (
            one.input_shape, one.output_shape, one.n_params, one.depth)
        if record.output_shape:  # a loss is one number a worker
            for stats, wanted in ((record.output, one.output), (record.gradient, one.gradient)):
                found, expected_numbers = list(vars(stats).values()), list(vars(wanted).values())
                np.testing.assert_allclose(found, expected_numbers, rtol=1e-9, atol=1e-15)
        shards = min(workers, sequences)
        table = (shards - 1) * model.wte.W.nbytes if record.name == "head_loss" else 0  # each has a dE of its own
        assert record.cached == one.cached + table
        assert record.forward_calls == 1


def test_an_array_that_two_modules_keep_counts_at_the_first(make_gpt, make_batch):
    model = make_gpt(activation="relu")
    with trace(model) as t:
        model.loss(*make_batch())
    attn, act = t["blocks.0.attn"], t["blocks.0.ffn.act"]
    assert attn.cached == 18 * (24 + 8) * 8 + 3 * 2 * 36 * 8 and t["blocks.0.attn.proj"].cached == 0  # QKV, O; P
    assert act.cached == 18 * 32 * 8 and t["blocks.0.ffn.proj"].cached == 0
    assert t["blocks.0"].cached == 0


def test_the_bytes_kept_are_looked_up_before_backward_lets_go(make_gpt, make_batch):
    model = make_gpt()
    with trace(model) as t:
        model.loss(*make_batch())
        model.backward()
    assert model.head_loss.dX is None and t["head_loss"].cached == (18 * 8 + 11 * 8) * 8


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
    model.blocks[1].ln2.d_model = 7
    with pytest.raises(ValueError, match="needs a last axis of 7"), trace(model) as t:
        model.loss(x, y)
    assert attributes(model) == before
    assert [record.name for record in t][-1] == "blocks.1.ln2"
    failed, done = t["blocks.1.ln2"], t["blocks.1.attn"]
    assert (failed.forward_calls, failed.output, failed.input_shape) == (0, None, (3, 6, 8))
    assert (done.forward_calls, t[""].forward_calls) == (1, 0) and "ln_f" not in str(t)


def test_an_error_that_is_caught_inside_does_not_disturb_what_follows(make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    with trace(model) as t:
        with pytest.raises(ValueError, match="token id 99"):
            model.loss(np.full_like(x, 99), y)
        model.loss(x, y)
        model.backward()
    assert all(record.forward_calls == record.backward_calls == 1 for record in t)
    assert t["head_loss"].cached > 0


def test_a_model_is_traced_once_at_a_time(make_gpt, make_batch):
    model = make_gpt()
    with DataParallel(model, 2) as parallel, trace(model.blocks[0]) as t:
        for target in (model, parallel, model.blocks[0].ffn):
            with pytest.raises(RuntimeError, match="is being traced already"), trace(target):
                pass
        assert "forward" not in vars(model.wte)  # nothing was covered by those that failed
        model.loss(*make_batch())
    assert [record.name for record in t][:2] == ["", "ln1"]
    with trace(model) as t:
        model.loss(*make_batch())
    assert t["blocks.0"].forward_calls == 1


def test_only_models_can_be_traced():
    with pytest.raises(ValueError, match="watches a Module or a DataParallel, got list"):
        trace([nn.Linear(2, 3)])


def test_no_layer_knows_of_it():
    """No hook, and no branch: with the covers off, a call runs the code of the class and nothing else."""
    package = Path(numpygpt.__file__).parent
    sources = [path.read_text(encoding="utf-8") for part in ("nn", "models") for path in (package / part).rglob("*.py")]
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

    monkeypatch.setattr(watcher.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(watcher, "stats_of", look)
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
