"""Errors of a model name the incorrect value: sizes, tokens, targets, the order of calls."""

import numpy as np
import pytest

from numpygpt.models import GPT

WRONG = {
    "vocab_size": ({"vocab_size": 0}, "vocab_size must be at least 1, got 0"),
    "max_len": ({"max_len": -1}, "max_len.*-1"),
    "n_heads": ({"n_heads": 0}, "n_heads must be at least 1, got 0"),
    "n_layers": ({"n_layers": 0}, "n_layers must be at least 1, got 0"),
    "heads do not divide": ({"n_heads": 3}, "d_model 8 is not divisible by n_heads 3"),
    "positions": ({"positions": "alibi"}, "positions.*'alibi'"),
    "activation": ({"activation": "tanh"}, "activation.*'tanh'"),
    "dropout": ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_sizes_that_do_not_fit_are_named_with_their_value(changes, message, make_gpt):
    with pytest.raises(ValueError, match=message):
        make_gpt(**changes)


@pytest.mark.parametrize("given", [{}, {"vocab_size": 11}, {"n_layers": 1, "d_model": 8}])
def test_missing_sizes_are_named(given):
    with pytest.raises(ValueError) as error:
        GPT(**given)
    missing = str(error.value).split(";")[1]
    for name in ("vocab_size", "n_layers", "n_heads", "d_model", "max_len"):
        assert name in str(error.value) and (name in missing) == (name not in given)


def test_a_dtype_is_shown_in_quotes(make_gpt):
    with pytest.raises(ValueError, match="''"):
        make_gpt(dtype="")


@pytest.mark.parametrize("way", ["forward", "loss"])
def test_wrong_tokens_and_targets_are_errors(way, make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    run = getattr(model, way)
    with pytest.raises(ValueError, match="id.*11.*table.*11"):
        run(np.where(x == x.max(), 11, x), y)
    with pytest.raises(ValueError, match="id.*12"):
        run(x, np.where(y == y.max(), 12, y))
    with pytest.raises(ValueError, match="7.*context.*6"):
        run(*make_batch(shape=(2, 7)))


@pytest.mark.parametrize("way", ["forward", "loss"])
def test_targets_of_another_shape_are_an_error(way, make_gpt, make_batch):
    x, y = make_batch()
    with pytest.raises(ValueError, match="shape"):
        getattr(make_gpt(), way)(x, y.T)


@pytest.mark.parametrize("earlier", [True, False])
def test_backward_needs_a_loss(earlier, make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    if earlier:
        model(x, y)
    model(x)
    with pytest.raises(RuntimeError):
        model.backward()


@pytest.mark.parametrize("way", ["forward", "loss"])
def test_backward_goes_back_once(way, make_gpt, make_batch):
    model = make_gpt()
    getattr(model, way)(*make_batch())
    model.backward()
    with pytest.raises(RuntimeError):
        model.backward()


@pytest.mark.parametrize("way", ["forward", "loss"])
def test_nothing_may_run_between_loss_and_backward(way, make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    getattr(model, way)(x, y)
    model.hidden((x + 1) % 11)  # or generate: the layers' caches are now those of other tokens
    with pytest.raises(RuntimeError):
        model.backward()


@pytest.mark.parametrize("name", ["d_ff", "d_k", "d_v"])
def test_inner_sizes_of_zero_are_named(name, make_gpt):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        make_gpt(**{name: 0})


@pytest.mark.parametrize("x", [[[1, 2]], np.array([1, 2]), np.zeros((1, 2, 3), int)], ids=["list", "1-D", "3-D"])
def test_ids_of_another_rank_are_an_error(x, make_gpt):
    with pytest.raises(ValueError):
        make_gpt().forward(x)


def test_only_floating_point_types_are_taken_and_astype_is_remembered(make_gpt):
    with pytest.raises(ValueError, match="dtype.*float32"):
        make_gpt(dtype="int32")
    assert make_gpt(dtype="float32").astype("float64").config.dtype == "float64"


def test_an_empty_batch_has_a_loss_of_zero(make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    assert model.loss(x[:0], y[:0]) == 0.0
