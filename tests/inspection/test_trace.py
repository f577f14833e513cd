"""A trace says what each module did, in its order: numbers, shapes, bytes; also of workers and of several calls."""

from dataclasses import replace

import numpy as np
import pytest
from parts import PRODUCT

from numpygpt import nn, trace
from numpygpt.inspection.stats import Stats
from numpygpt.inspection.trace import Record, merge
from numpygpt.parallel.threads import DataParallel

ORDER = ["", "wte", "wpe", "dropout", "blocks.0", "blocks.0.norm1", "blocks.0.attn", f"blocks.0.attn.{PRODUCT}",
         "blocks.0.attn.proj", "blocks.0.attn.dropout", "blocks.0.norm2", "blocks.0.ffn", "blocks.0.ffn.fc",
         "blocks.0.ffn.act", "blocks.0.ffn.proj", "blocks.0.ffn.dropout", "norm_f", "head_loss"]


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
    back = [record.name for record in t.backward_order]
    assert back[:4] == ["", "head_loss", "norm_f", "blocks.0"] and back[-2:] == ["wpe", "wte"]
    assert sorted(back) == sorted(ORDER)
    assert all(record.forward_calls == record.backward_calls == 1 for record in t)


def test_numbers_and_shapes_are_those_of_outputs_and_of_their_gradients(make_gpt, make_batch):
    model, (x, y) = make_gpt(activation="relu"), make_batch()
    with trace(model, keep=True) as t:
        logits, loss = model(x, targets=y)
        model.backward(0.5)
    act, attn = t["blocks.1.ffn.act"], t["blocks.0.attn"]
    assert act.kind == "ReLU" and act.input_shape == act.output_shape == (3, 6, 32) and act.n_params == 0
    assert attn.output_shape == (3, 6, 8) and t[f"blocks.0.attn.{PRODUCT}"].output_shape == (3, 6, 24)
    assert t[f"blocks.0.attn.{PRODUCT}"].n_params == 8 * 24 + 24 and t["wte"].input_shape == (3, 6)
    np.testing.assert_array_equal(act.outputs[0], model.blocks[1].ffn.act.Y)
    assert 0 < act.output.zero_fraction < 1
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
    assert t["head"].gradient is None and t["head"].backward_calls == t["head"].backward_flops == 0
    assert t.backward_order == [] and "criterion" not in [record.name for record in t]
    with pytest.raises(KeyError, match="'criterion'"):
        t["criterion"]


def test_backward_alone_is_seen_and_what_it_costs_is_not_known(make_gpt, make_batch):
    model = make_gpt()
    model.loss(*make_batch())
    with trace(model) as t:
        model.backward()
    record = t["blocks.0.ffn.fc"]
    assert record.forward_calls == 0 and record.output is None and record.gradient.count == 18 * 32
    assert record.backward_flops is None and record.cached == model.blocks[0].ffn.fc.X.nbytes
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
    call(model, x, y)
    with trace(model) as t:
        model.backward()
    assert t[""].gradient == Stats.of(1.0)  # the default


def test_calls_add_up(make_gpt, make_batch):
    model = make_gpt()
    with trace(model, keep=True) as t:
        for seed, shape in enumerate([(2, 6), (1, 4)]):
            model.loss(*make_batch(shape=shape, seed=seed))
            model.backward(0.5)
    ln = t["blocks.0.norm1"]
    assert (ln.forward_calls, ln.backward_calls, ln.input_shape) == (2, 2, (1, 4, 8))
    assert_stats(ln.output, np.concatenate([out.reshape(-1) for out in ln.outputs]))
    assert_stats(ln.gradient, np.concatenate([gradient.reshape(-1) for gradient in ln.gradients]))
    assert ln.output.count == 16 * 8 and ln.cached == 4 * (8 + 1) * 8  # what the last call keeps
    once = nn.LayerNorm(8, dtype="float64")
    with trace(once) as t:
        once(np.ones((16, 8)))
    assert ln.forward_flops == t[""].forward_flops > 0


def same_stats(record, expected):
    for stats, wanted in ((record.output, expected.output), (record.gradient, expected.gradient)):
        found, numbers = list(vars(stats).values()), list(vars(wanted).values())
        np.testing.assert_allclose(found, numbers, rtol=1e-9, atol=1e-15, err_msg=record.name)


@pytest.mark.parametrize(("workers", "sequences"), [(1, 4), (2, 4), (3, 4), (3, 2), (3, 1)])
def test_the_numbers_of_workers_together_are_those_of_one(workers, sequences, make_gpt, make_batch):
    alone, model, (x, y) = make_gpt(), make_gpt(), make_batch(shape=(sequences, 6))
    with trace(alone, keep=True) as expected:
        alone.loss(x, y)
        alone.backward()
    with DataParallel(model, workers) as parallel, trace(parallel, keep=True) as t:
        parallel.loss(x, y)
        parallel.backward()
    assert [record.name for record in t] == [record.name for record in expected]
    for one, record in zip(expected, t, strict=True):
        assert (record.input_shape, record.output_shape, record.n_params, record.depth) == (
            one.input_shape, one.output_shape, one.n_params, one.depth)
        same_stats(record, one)
        if record.output_shape:
            for arrays, array in ((record.outputs, one.outputs[0]), (record.gradients, one.gradients[0])):
                np.testing.assert_allclose(np.concatenate(arrays), array, rtol=1e-9, atol=1e-15)
            assert record.forward_flops == one.forward_flops
            if not record.n_params:  # else each worker adds to gradients of its own
                assert record.backward_flops == one.backward_flops
        shards = min(workers, sequences)
        table = (shards - 1) * model.wte.W.nbytes if record.name == "head_loss" else 0  # each has a dE of its own
        assert record.cached == one.cached + table
        assert record.forward_calls == 1


def test_a_loss_is_that_of_the_whole_batch_whatever_the_shards(make_gpt, make_batch):
    """Shards of 4, 3 and 3 sequences, then a batch for two workers, then one with most targets in the last shard."""
    batches = [make_batch(shape=(10, 6)), make_batch(shape=(2, 6), seed=1),
               make_batch(shape=(6, 6), seed=2, ignored=range(4, 24))]
    alone, model = make_gpt(), make_gpt()
    losses = []
    with trace(alone) as expected:
        for scale, batch in enumerate(batches, 1):
            losses.append(alone.loss(*batch))
            alone.backward(scale)
    with DataParallel(model, 3) as parallel, trace(parallel) as t:
        for scale, batch in enumerate(batches, 1):
            parallel.loss(*batch)
            parallel.backward(scale)
    for name in ("", "head_loss"):
        same_stats(t[name], expected[name])
        assert_stats(t[name].output, losses)
        assert_stats(t[name].gradient, [1, 2, 3])
    with DataParallel(model, 3) as parallel:
        parallel.loss(*batches[0])
        with trace(parallel) as t:
            parallel.backward()
    assert_stats(t["head_loss"].gradient, [1])
    with DataParallel(model, 3) as parallel, trace(parallel) as t:
        for batch in batches[1:]:
            model.loss(*batch)  # without the others: no parts
    assert_stats(t["head_loss"].output, losses[1:])


def test_records_can_be_read_more_than_once(make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    with trace(model) as t:
        model.loss(x, y)
        held = t["wte"]
        first = [(record.n_params, record.cached) for record in t]
        held.n_params = held.output = None  # a reader's own
        assert t["wte"].n_params == 11 * 8 and t["wte"].output is not None
        assert [(record.n_params, record.cached) for record in t] == first
        model.loss(x, y)
        assert held.forward_calls == 1 and t["wte"].forward_calls == 2


def test_workers_run_side_by_side_and_their_batches_add_up():
    one = Record("", "GELU", 0, input_shape=(2, 5), forward_calls=1, forward_seconds=3, backward_seconds=1)
    two = replace(one, input_shape=(1, 5), backward_calls=1, forward_seconds=2, backward_seconds=4)
    both = replace(one, input_shape=(3, 5), backward_calls=1, backward_seconds=4)
    assert merge(one, two) == merge(two, one) == both
    assert merge(one, replace(one, backward_flops=None)).backward_flops is None


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
