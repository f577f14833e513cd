"""What a summary says without running the model, against what a run takes: memory, arrays kept, parameters."""

import gc
import tracemalloc

import numpy as np
import pytest

from numpygpt import GPT, gradcheck, nn, summary, trace
from numpygpt.inspection.tables import COLUMNS, digits, indented, scaled, shape, table
from numpygpt.nn import causal_attention
from numpygpt.verify.wrappers import block

SIZES = {"vocab_size": 65, "max_len": 64, "d_model": 48, "n_heads": 4, "n_layers": 2}
MODELS = {
    "gelu": {},
    "relu": {"activation": "relu"},
    "dropout": {"dropout": 0.1},
    "a head of its own": {"tie_weights": False},
    "sines, no biases": {"positions": "sinusoidal", "bias": False},
    "heads of other sizes": {"d_k": 20, "d_v": 7, "d_ff": 100},
    "float64": {"dtype": "float64", "dropout": 0.2},
    "a large vocabulary": {"vocab_size": 3000, "tie_weights": False},
    "several blocks of rows": {"max_len": 300},
}


def batch(model, shape):
    return np.random.default_rng(0).integers(0, model.config.vocab_size, shape)


@pytest.mark.parametrize("kept", [1024, 32], ids=["weights kept", "weights made again"])
@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_the_bytes_kept_are_those_that_a_forward_pass_takes(changes, kept, monkeypatch):
    monkeypatch.setattr(causal_attention, "KEEP_WEIGHTS", kept)
    model = GPT(**(SIZES | changes))
    expected = summary(model, 6).cached
    GPT(**(SIZES | changes)).loss(batch(model, (1, 2)), batch(model, (1, 2)))  # masks that all models share exist now
    gc.collect()
    tracemalloc.start()
    try:
        x, y = batch(model, (6, model.max_len)), batch(model, (6, model.max_len))
        given = tracemalloc.get_traced_memory()[0] - x.nbytes  # the layers keep x, not y
        model.loss(x, y)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - given == pytest.approx(expected, rel=0.01)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kept", [1024, 32], ids=["weights kept", "weights made again"])
@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_each_row_is_what_a_trace_of_the_module_measures(changes, kept, monkeypatch):
    monkeypatch.setattr(causal_attention, "KEEP_WEIGHTS", kept)
    model = GPT(**(SIZES | changes))
    expected = summary(model, 3, 40)
    with trace(model) as t:
        model.loss(batch(model, (3, 40)), batch(model, (3, 40)))
        model.backward()
    assert [row.name for row in expected.rows] == [record.name for record in t]
    for row, record in zip(expected.rows, t, strict=True):
        for what in vars(row):
            assert getattr(row, what) == getattr(record, what), (row.name, what)
    assert expected.cached == sum(record.cached for record in t) > 0


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_counted_once(tied):
    model = GPT(**SIZES, tie_weights=tied)
    s = summary(model, 2)
    assert s.n_params == sum(row.n_params for row in s.rows) == model.n_params() == model.flat().params.size
    assert s.parameter_bytes == s.gradient_bytes == model.flat().grads.nbytes
    assert s["head_loss"].n_params == (0 if tied else 65 * 48)
    frozen = summary(model.requires_grad_(False, "wpe"), 2)
    assert (frozen.gradient_bytes, frozen.parameter_bytes) == (s.gradient_bytes - model.wpe.W.nbytes, s.parameter_bytes)


def test_a_large_model_takes_no_time_and_no_memory():
    # GPT-2 but for its width, at a batch that would keep gigabytes
    model = GPT(vocab_size=50257, max_len=1024, d_model=12, n_heads=12, n_layers=12)
    tracemalloc.start()
    try:
        text = str(summary(model, 64))
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
    assert summary(model, 64).cached > 3e9 and "each as blocks.0" in text
    for module in (model.wte, model.blocks[3].attn.proj, model.head_loss):
        assert not {"ids", "X"} & set(vars(module))  # nothing ran


def test_the_model_may_be_in_either_mode_and_is_left_as_it_was():
    model = GPT(**SIZES, dropout=0.1)
    state, expected = model.state_dict(), summary(model, 2)
    assert summary(model.eval(), 2) == expected  # a step of training is meant
    assert not any(module.training for _, module in model.named_modules())
    assert all(np.array_equal(param, state[name]) for name, param in model.params().items())


def test_the_table_is_narrow_its_columns_are_aligned_and_its_totals_are_those_of_all_blocks():
    model = GPT(vocab_size=50257, max_len=64, d_model=24, n_heads=2, n_layers=12, dropout=0.1)
    s = summary(model, 1000)
    text = str(s)
    assert all(len(line) <= COLUMNS for line in text.splitlines())
    lines = text.splitlines()[2:]
    lines = lines[: lines.index("")]
    assert len({len(line) for line in lines}) == 1  # each ends at the right border
    names = [line.split("  ")[0] if not line.startswith(" ") else line[:16].strip() for line in lines]
    assert names[:5] == ["module", "GPT", "wte", "wpe", "dropout"] and names.count("attn") == 1
    block = next(line for line in lines if "each as blocks.0" in line)
    one = sum(row.n_params for row in s.rows if row.name.startswith("blocks.0"))
    assert "blocks.1 to 11" in block and f" {11 * one:,} " in block
    assert f"  {model.n_params():,}  " in lines[-1] and scaled(s.cached, "B") in lines[-1]
    assert scaled(s.forward_flops) in lines[-1] and scaled(s.backward_flops) in lines[-1]


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_blocks_that_are_alike_are_one_row_and_others_are_not(n_layers):
    model = GPT(**(SIZES | {"n_layers": n_layers}))
    text = str(summary(model, 2))
    assert text.count("TransformerBlock") == 1
    assert ("as blocks.0" in text) == (n_layers > 1) and ("each as blocks.0" in text) == (n_layers > 2)
    model.blocks[-1].ffn = nn.FeedForward(48, 50)
    assert str(summary(model, 2)).count("TransformerBlock") == min(n_layers, 2)


def test_a_bare_layer_is_worked_out_for_the_shape_of_its_input():
    layer = nn.FeedForward(8, 20, activation=nn.ReLU())
    s = summary(layer, input_shape=(3, 5, 8))
    with trace(layer) as t:
        layer.backward(layer(np.ones((3, 5, 8), np.float32)))
    assert [(row.name, row.cached, row.forward_flops) for row in s.rows] == [
        (record.name, record.cached, record.forward_flops) for record in t]
    assert s.rows[0].output_shape == (3, 5, 8) and s["act"].output_shape == (3, 5, 20)
    assert str(s).startswith("FeedForward in training, for an input of 3x5x8\n")


class Twice(nn.Module):
    """A container that `costs` does not know."""

    def __init__(self):
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)


def test_what_is_not_known_is_said_and_never_taken_for_nothing():
    s = summary(Twice(), input_shape=(3, 8))
    assert [(row.name, row.kind, row.forward_flops, row.cached) for row in s.rows] == [
        ("", "Twice", None, None), ("first", "Linear", None, None), ("second", "Linear", None, None)]
    assert s.unknown == ["Twice"] and s.n_params == sum(row.n_params for row in s.rows) == 144
    text = str(s)
    assert text.splitlines()[3].split() == ["Twice", "?", "0", "?", "?", "?"]
    assert text.count("Twice") == 3  # as the model, as a row, and as what the sums leave out
    model = GPT(**SIZES)
    model.blocks[1] = Twice()
    s = summary(model, 2)
    assert s.n_params == sum(row.n_params for row in s.rows) == model.n_params()
    assert s["norm_f"].forward_flops > 0 and s["blocks.1"].forward_flops is None


@pytest.mark.parametrize(("arguments", "message"), [
    ((nn.GELU(),), "GELU.*input_shape"),
    ((GPT(**SIZES), 2, 65), "64.*65"),
    ((GPT(**SIZES), 0), r"at least 1, got \(0, 64\)"),
    ((GPT(**SIZES), 2, 0), r"at least 1, got \(2, 0\)"),
])
def test_a_batch_that_does_not_fit_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        summary(*arguments)


LAYERS = [nn.Linear(8, 4), nn.LayerNorm(8), nn.PositionalEmbedding(9, 8), nn.SinusoidalEncoding(9, 8),
          block(8, 2)]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_an_input_of_another_width_is_an_error(layer):
    with pytest.raises(ValueError, match=r"8.*\(3, 5, 7\)"):
        summary(layer, input_shape=(3, 5, 7))


def test_attention_needs_sequences():
    with pytest.raises(ValueError, match=r"MultiHeadAttention.*3.*8.*\(3, 8\)"):
        summary(nn.MultiHeadAttention(8, 2), input_shape=(3, 8))


def test_numbers_in_tables():
    assert [scaled(n) for n in (None, 0, 7, 999, 1000, 1234, 999_499, 999_500, 12_345_678, 5e20)] == [
        "?", "0", "7", "999", "1.00 k", "1.23 k", "999 k", "1.00 M", "12.3 M", "500 E"]
    assert [scaled(n, "B") for n in (0, 4194304)] == ["0 B", "4.19 MB"]
    assert [digits(x) for x in (0.0, 1.0, -0.012345, 1.23e-5, -1.23e-5, 1.23e15, 123.4, float("nan"))] == [
        "0", "1", "-0.0123", "1.23e-5", "-1.23e-5", "1.23e15", "123", "nan"]
    assert (shape((16, 128)), shape(()), shape(None)) == ("16x128", "number", "?")
    assert indented("blocks.0.attn", 2, "") == "    attn" and indented("blocks.11", 1, "") == "  blocks.11"
    assert indented("", 0, "GPT") == "GPT"


def test_a_long_name_is_cut_rather_than_a_line_too_long():
    text = table([["name", "value"], ["x" * 200, "12"], ["short", "3"]])
    assert [len(line) for line in text.splitlines()] == [100] * 3 and "x…" in text


def test_it_is_at_hand_with_the_package():
    import numpygpt

    assert {"GPT", "gradcheck", "summary", "trace"} <= set(numpygpt.__all__) and callable(gradcheck)
