"""Texts in several threads, and beside training: each is what it would be alone, and the model is left as it was."""

import contextlib
import sys
import threading

import numpy as np
import pytest

from numpygpt import nn, trace
from numpygpt.inspection.probe import attention_weights, next_probabilities, stream_gradients
from numpygpt.inspection.score import score
from numpygpt.optim import AdamW
from numpygpt.parallel.threads import DataParallel


@pytest.fixture(autouse=True)
def often():
    """Threads take turns often, so that what they share is seen."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(*actions):
    """Run each in a thread of its own, and return what they return; an error of one is raised."""
    found, errors = [None] * len(actions), []

    def call(i):
        try:
            found[i] = actions[i]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found


def contents(model):
    return [(module, dict(vars(module))) for _, module in model.named_modules()]


def test_a_text_changes_nothing_in_the_model(make_gpt, make_batch):
    model, (x, y) = make_gpt(dropout=0.5), make_batch()
    model.loss(x, y)
    before, grads = contents(model), model.flat().grads.copy()
    model.generate(x, 9, temperature=0.7)
    stream = model.stream(x, 9)
    next(stream)
    for module, attributes in before:
        assert vars(module).keys() == attributes.keys()
        assert all(vars(module)[name] is value for name, value in attributes.items())
    model.backward()  # the earlier loss can still go back
    other = make_gpt(dropout=0.5)
    other.loss(x, y)
    other.backward()
    np.testing.assert_array_equal(model.flat().grads - grads, other.flat().grads)


def test_greedy_texts_of_four_threads_are_those_of_one(make_gpt):
    model = make_gpt(dropout=0.3, dtype="float32", d_model=16, tie_weights=False)
    contexts = [[[i % 11, i % 7]] for i in range(40)]
    right = [model.generate(context, 12, temperature=0) for context in contexts]
    found = together(*(lambda i=i: [model.generate(c, 12, temperature=0) for c in contexts[i::4]] for i in range(4)))
    for i in range(4):
        for ids, expected in zip(found[i], right[i::4], strict=True):
            np.testing.assert_array_equal(ids, expected)
    assert all(module.training for _, module in model.named_modules())


def train(model, make_batch, workers, steps=8):
    runner = DataParallel(model, workers) if workers else model
    optimizer, losses = AdamW(model, lr=0.01), []
    for seed in range(steps):
        optimizer.zero_grad()
        losses.append(runner.loss(*make_batch(shape=(4, 6), seed=seed)))
        runner.backward()
        optimizer.step(runner.map_slices) if workers else optimizer.step()
    if workers:
        runner.close()
    return losses, model.state_dict()


@pytest.mark.parametrize("workers", [0, 2])
def test_training_beside_sampling_and_looking_is_bit_equal_to_training_alone(workers, make_gpt, make_batch):
    sizes = {"dropout": 0.3, "dtype": "float32", "d_model": 64}
    losses, state = train(make_gpt(**sizes), make_batch, workers)
    model, end, looked = make_gpt(**sizes), threading.Event(), []
    x, y = make_batch()

    def training():
        try:
            return train(model, make_batch, workers)
        finally:
            end.set()

    def looking():
        while not end.is_set():
            looked.append(model.generate([[1, 2]], 5).shape)
            looked.append(next_probabilities(model, x[0]).shape)
            looked.append(attention_weights(model, x[0]).shape)
            looked.append(stream_gradients(model, x, y).shape)
            looked.append(score(model, np.tile(x[0], 3)).shape)

    (found, trained), _ = together(training, looking)
    assert found == losses and len(looked) >= 5
    for name, param in state.items():
        np.testing.assert_array_equal(trained[name], param, err_msg=name)


def test_a_stream_sees_what_the_model_learns_between_two_tokens(make_gpt):
    model = make_gpt()
    stream = model.stream([[1, 2]], 4, temperature=0)
    next(stream)
    model.wte.W[...] = 0
    model.wte.W[7] = 5
    model.norm_f.gamma[...], model.norm_f.beta[...] = 0, 1  # now every state is ones, and token 7 the likeliest
    assert next(stream).tolist() == [7]
    model.astype("float32")  # moves every parameter
    model.norm_f.beta[...] = -1
    assert next(stream).tolist() != [7]


def test_two_losses_at_once_in_one_model_are_refused(make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    entered, leave = threading.Event(), threading.Event()
    inner = model.wpe.forward

    def wait(*args):
        if not entered.is_set():
            entered.set()
            leave.wait(30)
        return inner(*args)

    model.wpe.forward = wait

    def second():
        entered.wait(30)
        try:
            for call in (lambda: model.loss(x, y), lambda: model(x), model.backward, lambda: model.hidden(x)):
                with pytest.raises(RuntimeError, match="thread"):
                    call()
        finally:
            leave.set()

    loss, _ = together(lambda: model.loss(x, y), second)
    assert loss == make_gpt().loss(x, y)
    assert together(lambda: model.loss(x, y)) == [loss]  # one after another they may come from any thread
    model.backward()


class Doubled(nn.Module):
    """A layer of a user's own, with a cache that is read back in the forward pass."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, X):
        self.X = X
        return self.layer(self.X) * 2

    def backward(self, dY):
        return self.layer.backward(2 * dY)


def test_layers_of_a_users_own_run_in_several_threads(make_gpt):
    model = make_gpt(dropout=0.3, tie_weights=False)
    model.blocks[0].ffn = Doubled(model.blocks[0].ffn)
    contexts = [[[i, i + 1]] for i in range(8)]
    right = [model.generate(context, 10, temperature=0) for context in contexts]
    found = together(*(lambda c=c: model.generate(c, 10, temperature=0) for c in contexts))
    for ids, expected in zip(found, right, strict=True):
        np.testing.assert_array_equal(ids, expected)


@pytest.mark.parametrize("traced", [False, True])
def test_functions_in_place_of_methods_are_used_and_dropout_stays_out(traced, make_gpt):
    """A function may hold on to the method that it replaces, and through it to a model in training mode."""
    model, plain, how = make_gpt(dropout=0.5), make_gpt(), {"temperature": 0.5, "seed": 3}
    for each in (model, plain):
        method = each.blocks[0].ffn.forward
        each.blocks[0].ffn.forward = lambda X, method=method: 3 * method(X)
    right = plain.generate([[1, 2]], 10, **how)
    assert not np.array_equal(right, make_gpt().generate([[1, 2]], 10, **how))
    if traced:
        with trace(model) as t:
            found = model.generate([[1, 2]], 10, **how)
        assert t["blocks.0.ffn"].forward_calls == 10
    else:
        found = model.generate([[1, 2]], 10, **how)
    np.testing.assert_array_equal(found, right)
    assert all(module.training for _, module in model.named_modules())


def test_a_trace_of_a_text_counts_what_the_text_keeps_and_costs(make_gpt):
    """Dropout does nothing while a text is written, although the model is in training mode."""
    model = make_gpt(dropout=0.5)
    with trace(model) as t:
        model.generate([[1, 2]], 3)
    assert t["blocks.0.ffn.dropout"].forward_flops == 0
    assert t["blocks.0.attn"].cached > 0 and not hasattr(model.blocks[0].attn, "kept")


def test_a_model_with_functions_in_place_of_methods_never_flips_the_modes_of_a_training_thread(make_gpt, make_batch):
    model, entered, leave, modes = make_gpt(dropout=0.5), threading.Event(), threading.Event(), []
    inner = model.wpe.forward

    def wait(*args):
        entered.set()
        leave.wait(30)
        modes.append({module.training for _, module in model.named_modules()})
        return inner(*args)

    model.wpe.forward = wait

    def write():
        entered.wait(30)
        try:
            for call in (lambda: model.generate([[1, 2]], 3), lambda: next_probabilities(model, np.array([1, 2]))):
                with pytest.raises(RuntimeError, match="thread"):
                    call()
        finally:
            leave.set()

    together(lambda: model.loss(*make_batch()), write)
    assert modes == [{True}]


def test_a_text_limits_blas_only_where_no_other_thread_could_notice(make_gpt, monkeypatch):
    """The number of threads changes the rounding of another thread's products."""
    model, seen = make_gpt(), []
    monkeypatch.setattr("numpygpt.models.generate.blas_threads", lambda n: seen.append(n) or contextlib.nullcontext())
    with DataParallel(model, 2) as parallel:
        parallel.map(lambda _: None, [0, 1])  # its threads wait for it now
        others = [t for t in threading.enumerate() if t is not threading.current_thread()
                  and t not in parallel.pool._threads]
        monkeypatch.setattr(threading, "enumerate", lambda: [threading.current_thread(), *parallel.pool._threads])
        model.generate([[1, 2]], 2)
        assert seen == [1]
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.current_thread(), thread, *others])
    model.generate([[1, 2]], 2)
    end.set()
    thread.join()
    assert seen == [1]
