"""generate and stream: seeds, batches, stopping, the mode afterwards, and errors."""

import numpy as np
import pytest


def test_new_tokens_follow_the_context(make_gpt):
    ids = make_gpt().generate(np.array([[1, 2], [3, 4]]), 5)
    assert ids.shape == (2, 7) and ids[:, :2].tolist() == [[1, 2], [3, 4]]
    assert ((0 <= ids) & (ids < 11)).all() and ids.dtype == np.int64


def test_the_same_seed_writes_the_same_and_another_one_another(make_gpt):
    model = make_gpt()
    one, same, other = (model.generate([[1, 2]], 30, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_equal_contexts_in_a_batch_are_continued_differently(make_gpt):
    ids = make_gpt().generate([[1, 2]] * 3, 30)
    assert len({tuple(row) for row in ids.tolist()}) == 3


def test_a_sequence_does_not_depend_on_the_others_in_its_batch(make_gpt):
    model = make_gpt()
    batch = model.generate([[1, 2], [3, 4], [5, 6]], 20)
    np.testing.assert_array_equal(model.generate([[1, 2]], 20), batch[:1])
    others = model.generate([[7, 7], [3, 4], [0, 9], [8, 8]], 20)
    np.testing.assert_array_equal(others[1], batch[1])
    assert not np.array_equal(others[2], batch[2])


def test_greedy_generation_ignores_the_seed(make_gpt):
    model = make_gpt()
    np.testing.assert_array_equal(model.generate([[1, 2]], 10, 0, seed=1), model.generate([[1, 2]], 10, 0, seed=2))


@pytest.mark.parametrize("how", [{"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-6}], ids=str)
def test_what_leaves_one_token_is_greedy(how, make_gpt):
    model = make_gpt()
    np.testing.assert_array_equal(model.generate([[1, 2]], 10, **how), model.generate([[1, 2]], 10, temperature=0))


def test_stream_gives_the_tokens_of_generate_one_by_one(make_gpt):
    model = make_gpt()
    steps = list(model.stream([[1, 2], [3, 4]], 8, 0.9, 5, 0.95, seed=3))
    assert len(steps) == 8 and all(step.shape == (2,) for step in steps)
    np.testing.assert_array_equal(np.stack(steps, axis=1), model.generate([[1, 2], [3, 4]], 8, 0.9, 5, 0.95, 3)[:, 2:])


def test_what_stream_yields_may_be_written_to(make_gpt):
    model, kept = make_gpt(tie_weights=False), []
    for step in model.stream([[1, 2]], 10):
        kept.append(int(step[0]))
        step[:] = 0  # were it the context itself, the next token would follow a 0
    assert kept == model.generate([[1, 2]], 10)[0, 2:].tolist()


def test_a_stopped_sequence_is_filled_up_and_the_last_one_ends_it(make_gpt):
    model, context = make_gpt(), [[1, 2], [3, 4], [5, 6]]
    free = model.generate(context, 60)[:, 2:]
    stop = 7
    ends = [row.tolist().index(stop) for row in free]
    assert len(set(ends)) == 3, "the sequences come to the stop token at different steps"
    ids = model.generate(context, 60, stop=stop)[:, 2:]
    assert ids.shape == (3, max(ends) + 1)
    for row, row_free, end in zip(ids, free, ends, strict=True):
        np.testing.assert_array_equal(row[: end + 1], row_free[: end + 1])
        assert (row[end:] == stop).all()


def test_a_stop_token_in_the_context_does_not_stop(make_gpt):
    model = make_gpt()
    first = int(model.generate([[7, 7]], 1, temperature=0)[0, 2])
    assert first != 7
    assert model.generate([[7, 7]], 1, temperature=0, stop=7).shape == (1, 3)


def test_no_new_tokens_give_the_context_back(make_gpt):
    model = make_gpt()
    assert model.generate([[1, 2, 3]], 0).tolist() == [[1, 2, 3]]
    assert list(model.stream([[1, 2, 3]], 0)) == []


def test_the_context_is_left_as_it_was(make_gpt, make_batch):
    x, _ = make_batch()
    before = x.copy()
    make_gpt().generate(x, 3)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_what_it_was_and_dropout_stays_out(training, make_gpt):
    model = make_gpt(dropout=0.5).train(training)
    states = {name: rng.bit_generator.state for name, rng in model.generators().items()}
    ids = model.generate([[1, 2]], 10)
    np.testing.assert_array_equal(ids, make_gpt(dropout=0.0).generate([[1, 2]], 10))
    assert {module.training for _, module in model.named_modules()} == {training}
    assert {name: rng.bit_generator.state for name, rng in model.generators().items()} == states


def test_the_mode_is_what_it_was_in_between_and_after_an_early_end(make_gpt):
    model = make_gpt(dropout=0.5)
    stream = model.stream([[1, 2]], 10)
    next(stream)
    assert model.training and model.blocks[1].ffn.dropout.training
    stream.close()
    assert model.training and model.blocks[1].ffn.dropout.training


def test_the_mode_is_what_it_was_after_an_error(make_gpt, monkeypatch):
    model = make_gpt(dropout=0.5)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(model.blocks[1], "forward", fail)
    with pytest.raises(MemoryError):
        model.generate([[1, 2]], 3)
    assert {module.training for _, module in model.named_modules()} == {True}


WRONG = {
    "one sequence without a batch": ([1, 2], {}, r"context must be \(batch, time\) .* got shape \(2,\)"),
    "nothing": ([], {}, r"at least one token, got shape \(0,\)"),
    "no token": (np.zeros((2, 0), int), {}, r"at least one token, got shape \(2, 0\)"),
    "below no new tokens": ([[1]], {"max_new_tokens": -1}, "max_new_tokens must be at least 0, got -1"),
    "slide 0": ([[1]], {"slide": 0}, "slide must be between 1 and the context length 6, got 0"),
    "slide beyond the context": ([[1]], {"slide": 7}, "slide must be between 1 and the context length 6, got 7"),
}


@pytest.mark.parametrize(("context", "changes", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_errors_at_the_call(context, changes, message, make_gpt):
    with pytest.raises(ValueError, match=message):
        make_gpt().stream(context, **({"max_new_tokens": 3} | changes))  # not iterated
    with pytest.raises(ValueError, match=message):
        make_gpt().generate(context, **({"max_new_tokens": 3} | changes))


def test_an_unknown_token_in_the_context_is_an_error(make_gpt):
    with pytest.raises(ValueError, match="id.*11.*table.*11"):
        make_gpt().generate([[1, 11]], 3)


def test_an_unknown_token_that_is_no_longer_visible_is_an_error_too(make_gpt):
    with pytest.raises(ValueError, match="id.*11.*table.*11"):
        make_gpt().generate([[11, 1, 2, 3, 4, 5, 6]], 3)


def test_tokens_that_are_no_integers_are_an_error(make_gpt):
    with pytest.raises(ValueError, match="integers"):
        make_gpt().generate([[1.7, 2.0]], 3)
