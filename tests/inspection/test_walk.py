"""The walk through a step: every number in it is worked out here once more, from another trainer of the same seed."""

import math
import re

import numpy as np
import pytest
from parts import PRODUCT, product_of

from numpygpt.data import Corpus, prepare
from numpygpt.inspection.probe import attention_weights
from numpygpt.inspection.walk import walk
from numpygpt.inspection.walk.lines import Lines, cell, number
from numpygpt.nn.finite import NotFinite
from numpygpt.nn.functional import softmax
from numpygpt.training import Trainer
from numpygpt.training.config import Config
from numpygpt.utils.colour import width

SMALL = {"n_layers": 2, "n_heads": 2, "d_model": 8, "context": 10, "batch_size": 3, "steps": 12, "warmup": 3,
         "dropout": 0.2, "lr": 1e-2, "min_lr": 1e-3, "workers": 2, "seed": 5}
STRANGE = "日本語の文字と\x1b[2J 😀\u202e, a\u0301 supercalifragilistic\n"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    corpus = Corpus.of("pangram", "the quick brown fox jumps over the lazy dog. " * 40, "a test")
    return prepare(corpus, tmp_path_factory.mktemp("data") / "pangram", context=10)


def trainer(dataset, lively=False, **changes):
    t = Trainer(Config.of(**(SMALL | changes)), dataset)
    if lively:  # with fresh weights, attention is even and nothing tells one number from another
        t.model.flat().params[:] += 0.3 * np.random.default_rng(1).standard_normal(len(t.model.flat().params))
    return t


def walked(t):
    with t.parallel:
        return walk(t)


def part(text, name):
    """Forward, Back or Update: its lines."""
    titles = ["Forward:", "Back:", "Update:"]
    after = text.split(f"\n{name}:")[1]
    return re.split("|".join(f"\n{title}" for title in titles), after)[0].split("\n")


def row(lines, name):
    """What stands behind a name, in words."""
    (found,) = [line for line in lines if re.match(re.escape(name) + r"(  |$| \()", line)]
    return found[len(name):].split()


def close(shown, value):
    """A number as printed, with three digits or more, against the true one."""
    return float(shown) == pytest.approx(value, rel=6e-3, abs=1e-12)


VARIANTS = [{}, {"accumulate": 2}, {"workers": 1, "dropout": 0.0}, {"tie_weights": False, "bias": False},
            {"positions": "sinusoidal", "activation": "relu", "optimizer": "sgd"}, {"n_layers": 1, "n_heads": 1}]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_the_run_goes_on_as_if_nobody_had_walked(dataset, changes):
    looked, plain = trainer(dataset, **changes), trainer(dataset, **changes)
    with looked.parallel, plain.parallel:
        for _ in range(3):
            walk(looked)
            assert looked.update() == plain.update()
        assert looked.model.flat().params.tobytes() == plain.model.flat().params.tobytes()
        assert not looked.model.flat().grads.any()
        assert looked.loader.state_dict() == plain.loader.state_dict()


@pytest.mark.parametrize("changes", [*VARIANTS, {"n_layers": 12, "n_heads": 8, "d_model": 16}, {"context": 1}], ids=str)
def test_no_line_is_wider_than_100_columns(dataset, changes):
    lines = walked(trainer(dataset, **changes)).split("\n")
    assert max(map(width, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_tokens_of_any_script_fit_and_control_nothing(tmp_path, kind):
    data = prepare(Corpus.of("strange", STRANGE * 60, "a test"), tmp_path / "data", tokenizer=kind, context=10)
    seen = ""
    for seed in range(4):
        text = walked(trainer(data, seed=seed))
        assert max(map(width, text.split("\n"))) <= 100
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
        seen += text
    assert "日" in seen


def test_colour_changes_no_word(dataset):
    t = trainer(dataset)
    with t.parallel:
        plain, coloured = walk(t), walk(t, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[1m" in coloured and coloured.count("\x1b[48;5;") == 3  # the heads of the three parts
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == plain


def test_the_batch_is_the_coming_one_and_targets_are_one_later(dataset):
    text = walked(trainer(dataset, accumulate=2))
    lines = part(text, "Forward")
    x, y = trainer(dataset, accumulate=2).next_batches()[-1]
    assert row(lines, "x")[0] == "(3,10)" and {str(len(x)), "10"} < set(row(lines, "x"))
    assert row(lines, "x[0]  ids") == [str(id) for id in x[0, :8]]
    assert row(lines, "y[0]  targets") == [str(id) for id in y[0, :8]] == row(lines, "x[0]  ids")[1:] + [str(x[0, 8])]
    shown = [line.split()[2:] for line in lines if line.startswith("      as text")]
    letters = [[dataset.tokenizer.decode([id]).replace(" ", "·") for id in ids[0, :8]] for ids in (x, y)]
    assert shown == letters


def test_the_loss_is_that_of_the_step_and_stands_beside_a_guess(dataset):
    t = trainer(dataset)
    with t.parallel:
        text, numbers = walk(t), t.update()
    loss = row(part(text, "Forward"), "loss")
    assert float(loss[0]) == pytest.approx(numbers["loss"], abs=6e-7)
    V = dataset.vocab_size
    assert loss[-1] == f"{math.log(V):.6f}"  # of a uniform guess
    update = part(text, "Update")
    assert close(row(update, "gradient norm")[0], numbers["grad_norm"])
    assert close(row(update, "learning rate")[0], numbers["lr"])


@pytest.mark.parametrize("changes", [{"accumulate": 2}, {"tie_weights": False}], ids=str)
def test_the_numbers_forward_are_those_of_the_layers(dataset, changes):
    changes = {"dropout": 0.0, **changes}
    t = trainer(dataset, lively=True, **changes)
    lines = part(walked(t), "Forward")
    model, batches = t.model, t.next_batches()
    x, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    outputs = {"wte": model.wte(x)}
    outputs["wpe"] = X = model.wpe(outputs["wte"])
    for i, block in enumerate(model.blocks):
        attn = block.attn(block.norm1(X))
        ffn = block.ffn(block.norm2(X + attn))
        if i == 0:
            outputs["blocks.0.norm1"] = block.norm1(X)
            outputs[f"blocks.0.attn.{PRODUCT}"] = product_of(block.attn)(block.norm1(X))
            outputs |= {"  + attn": X + attn, "blocks.0.ffn.act": block.ffn.act(block.ffn.fc(block.norm2(X + attn)))}
        else:
            outputs |= {f"blocks.{i}.attn": attn, f"blocks.{i}.ffn": ffn}
        X = X + attn + ffn
        outputs[f"blocks.{i}"] = X
    outputs["norm_f"] = model.norm_f(X)
    outputs["head"] = logits = model.head(outputs["norm_f"])
    for name, array in outputs.items():
        shown = row(lines, name)
        assert shown[0] == f"(3,{','.join(map(str, array.shape[1:]))})", name  # of one batch
        assert float(shown[1]) == pytest.approx(float(array.mean()), rel=6e-3, abs=1e-6), name
        assert close(shown[2], array.std()), name
    act = outputs["blocks.0.ffn.act"]
    assert re.search(f"{(abs(act) < 0.01).mean():.1%} .* {(act < 0).mean():.1%}", " ".join(" ".join(lines).split()))
    chances = np.take_along_axis(softmax(logits), y[..., None], -1)
    text = "\n".join(lines)
    assert f" {chances.mean():.2%} " in text
    last, (ids, targets) = softmax(logits[-3, 7]), (batches[-1][0][0], batches[-1][1][0])  # x[0] of the last batch
    shown = (dataset.tokenizer.decode([id]).replace(" ", "·") for id in (ids[7], targets[7], last.argmax()))
    token, right, best = shown
    assert f'after token 7, "{token}": {last[targets[7]]:.2%} for "{right}"; likeliest: "{best}", ' in text
    assert f'"{best}", {last.max():.2%}' in text
    first = model.blocks[0]
    Q, K, V = first.attn.split(product_of(first.attn)(first.norm1(outputs["wpe"][-3:])))
    for name, array in (("Q", Q), ("K", K), ("V", V)):
        shown = row(lines, f"  {name}")
        assert shown[0] == "(3,2,10,4)"
        assert close(shown[1], array.mean()) and close(shown[2], array.std()), name
    assert "1/sqrt(4) = 0.5000" in text


def test_attention_is_that_of_the_chosen_token(dataset):
    t = trainer(dataset, lively=True, dropout=0.0, accumulate=2)
    lines = part(walked(t), "Forward")
    ids = t.next_batches()[-1][0][0]
    P = attention_weights(t.model, ids)[0]  # (H, T, T) of the first block
    for head in (0, 1):
        *weights, word, total = row(lines, f"    head {head}")
        assert [float(w) for w in weights] == pytest.approx(P[head, 7, :8], abs=1e-4)
        assert sum(map(float, weights)) == pytest.approx(1, abs=5e-4) and (word, total) == ("sum", "1.0000")
    assert row(lines, "  token 7 sees") == [dataset.tokenizer.decode([id]).replace(" ", "·") for id in ids[:8]]
    start = next(i for i, line in enumerate(lines) if line.startswith("  P  softmax")) + 1
    corner = [line.split() for line in lines[start : start + 5]]
    mask = np.array([[float(value) for value in line[:5]] for line in corner])
    assert np.array_equal(mask, np.triu(np.full((5, 5), -np.inf), 1))
    assert np.array([[float(value) for value in line[5:]] for line in corner]) == pytest.approx(P[0, :5, :5], abs=1e-4)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_mean_and_norm_of_every_gradient_are_those_of_the_untraced_step(dataset, changes):
    lines = part(walked(trainer(dataset, lively=True, **changes)), "Back")
    t = trainer(dataset, lively=True, **changes)
    with t.parallel:
        t.gradients(t.next_batches())
    shown = {}
    for line in lines:
        name = {"head": "head.embedding"}.get(line.split(" ")[0], line.split(" ")[0])
        for kind, mean, norm in re.findall(r" d([a-zA-Z]+) +(-?[\d.e+-]+) +(-?[\d.e+-]+)", line):
            shown[f"{name}.{kind}"] = float(mean), float(norm)
    grads = {name: grad.astype(float) for name, grad in t.model.grads().items()}
    assert sorted(shown) == sorted(grads)
    for name, (mean, norm) in shown.items():
        assert norm == pytest.approx(np.linalg.norm(grads[name]), rel=6e-3), name
        assert mean == pytest.approx(grads[name].mean(), rel=6e-3, abs=1e-7), name
    table = "head.embedding.W" if t.model.head.embedding is not t.model.wte else "wte.W"
    assert re.search(rf"dE = dlogits\^T X has norm \S+, into {table}$", "\n".join(lines), re.MULTILINE)
    assert table in grads


def test_the_two_uses_of_the_tied_table_are_told_apart(dataset):
    text = "\n".join(part(walked(trainer(dataset, lively=True)), "Back"))
    tied, untied = trainer(dataset, lively=True), trainer(dataset, tie_weights=False)
    params = tied.model.params()
    untied.model.load_state_dict({**params, "head.embedding.W": params["wte.W"]})
    for mine, theirs in zip(untied.parallel.generators().values(), tied.parallel.generators().values(), strict=True):
        mine.bit_generator.state = theirs.bit_generator.state  # the same dropout
    with tied.parallel, untied.parallel:
        tied.gradients(tied.next_batches()), untied.gradients(untied.next_batches())
    head, lookups, both = (np.linalg.norm(grad) for grad in (untied.model.head.embedding.dW, untied.model.wte.dW,
                                                             tied.model.wte.dW))
    numbers = [float(n) for n in re.findall(r"\d\S*\d", text.split("wte.W is used twice")[1])]
    assert numbers == pytest.approx([head, lookups, both], rel=1e-3)


def test_gradients_come_in_the_order_of_the_backward_calls(dataset):
    lines = part(walked(trainer(dataset)), "Back")
    names = [found[1] for line in lines if (found := re.match(r"([a-z]\S*) +\(", line))]
    block = ["", ".ffn", ".ffn.dropout", ".ffn.proj", ".ffn.act", ".ffn.fc", ".norm2", ".attn", ".attn.dropout",
             ".attn.proj", f".attn.{PRODUCT}", ".norm1"]
    assert names == ["loss", "head", "norm_f", *(f"blocks.{i}{name}" for i in (1, 0) for name in block), "dropout",
                     "wpe", "wte"]
    idle = part(walked(trainer(dataset, dropout=0.0)), "Back")
    assert not any("dropout" in line for line in idle)


def test_dlogits_is_softmax_minus_onehot_over_all_targets(dataset):
    changes = {"dropout": 0.0, "accumulate": 2}
    t = trainer(dataset, lively=True, **changes)
    lines = part(walked(t), "Back")
    total = 0.0
    for x, y in t.next_batches():
        P = softmax(t.model(x)[0]).astype(float)
        np.put_along_axis(P, y[..., None], np.take_along_axis(P, y[..., None], -1) - 1, -1)
        total += (P**2).sum() / 60**2
    shown = row(lines, "head")
    assert shown[0] == f"(3,10,{dataset.vocab_size})" and close(shown[1], math.sqrt(total))
    assert "60" in shown  # targets


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_ratios_are_the_true_change_of_the_weights(dataset, changes):
    t = trainer(dataset, lively=True, **changes)
    t.model.norm_f.gamma[:] = 0  # a ratio that there is none of
    with t.parallel:
        lines = part(walk(t), "Update")
        before = t.model.state_dict()
        t.update()
    found = {}
    for line in lines[lines.index(next(line for line in lines if line.endswith("step/norm"))) :]:
        groups = re.findall(r" ([a-zA-Z]+) +([\d.e+-]+) +([\d.e+-]+) +([\d.e+-]+)", line)
        found |= {f"{line.split(' ')[0]}.{kind}": numbers for kind, *numbers in groups}
    assert found.keys() == before.keys()
    for name, (norm, step, ratio) in found.items():
        weight = np.linalg.norm(before[name])
        change = np.linalg.norm(t.model.params()[name].astype(float) - before[name])
        assert close(norm, weight) and close(step, change), name
        assert ratio == "-" if not weight else close(ratio, change / weight), name


def test_clipping_and_the_learning_rate_are_explained(dataset):
    t = trainer(dataset, clip=0.01, warmup=4)
    with t.parallel:
        text, numbers = " ".join(walk(t).split()), t.update()
        assert f"0.01/norm = {number(0.01 / numbers['grad_norm'])}" in text
        assert "step 1 of 4 takes 1/4 of 0.01" in text
        for _ in range(4):
            t.update()
        assert "step 6 on the cosine from 0.01 (step 4) to 0.001 (step 12)" in walk(t)
    assert "clip 1000" in walked(trainer(dataset, clip=1000.0))
    assert "/norm" not in walked(trainer(dataset, clip=0.0)).split("step/norm")[0]


def test_a_step_that_is_small_for_its_learning_rate_is_said_to_be_so(dataset):
    assert "5000 times" in walked(trainer(dataset, warmup=5000, steps=6000))
    assert "tiny" not in walked(trainer(dataset, warmup=3))
    assert "tiny" not in walked(trainer(dataset, warmup=0, lr=1e-6, min_lr=0.0))


def test_a_run_without_a_step_left_and_a_step_that_fails_are_errors(dataset):
    t = trainer(dataset, steps=3)
    with t.parallel:
        for _ in range(3):
            t.update()
        with pytest.raises(ValueError, match="3"):
            walk(t)
    broken = trainer(dataset)
    broken.model.blocks[0].norm1.gamma[0] = np.nan
    with broken.parallel, pytest.raises(NotFinite, match="1.*0.*gamma"):
        walk(broken)
    assert broken.step == 0


@pytest.mark.parametrize(("value", "shown"), [
    (0.0, "0"), (-0.0, "0"), (1, "1.000"), (1234.5, "1234"), (-0.00123, "-0.001230"), (9999.4, "9999"),
    (9999.5, "1.00e+04"), (-1.234e-5, "-1.23e-05"), (-math.inf, "-inf"), (12345.6, "1.23e+04"),
])
def test_numbers_have_three_or_four_digits_in_nine_columns(value, shown):
    assert number(value) == shown
    assert len(cell(value)) == 9


def test_a_row_that_is_too_wide_goes_on_below():
    lines = Lines(10, colour=False)
    lines.row("a" * 30, ["b" * 40, "c" * 40], "some words")
    assert lines.lines == ["a" * 30 + " " + "b" * 40, " " * 11 + "c" * 40 + "  some words"]
