"""The experiments do what docs/EXPERIMENTS.md says, on models that take a moment."""

import json
import subprocess

import numpy as np
import pytest
from tiny import TINY, make_data, train_module

from experiments import (
    ablations,
    candidates,
    extrapolate,
    finetune,
    levels,
    local_steps,
    modern,
    normal,
    report,
    runs,
    spelled,
    sweep,
)
from numpygpt.data import Corpus, TokenDataset, prepare
from numpygpt.nn import causal_attention
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.memory import parameters
from numpygpt.training.restore import restore
from numpygpt.utils.text import duration

SMALL = [*map(str, TINY), "--accumulate", "1", "--dropout", "0", "--steps", "20"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("experiments") / "data")


def counted(monkeypatch):
    """The commands that are run, in this process."""
    commands = []

    def run(command, check, stdout):
        commands.append(command[2:])
        assert check and stdout is not None
        train_module().main(command[2:])

    monkeypatch.setattr(subprocess, "run", run)
    return commands


@pytest.fixture
def side_by_side(monkeypatch):
    """The arguments of the trainings of a sweep, which run in this process, one after the other."""
    commands = []

    def run(trainings, at_once, ranks):
        commands.extend(trainings.values())
        for words in trainings.values():
            train_module().main(words)
        return {}

    monkeypatch.setattr(sweep, "side_by_side", run)
    return commands


def test_a_run_is_trained_gone_on_with_and_then_left_alone(data, tmp_path, monkeypatch, capsys):
    commands, out = counted(monkeypatch), tmp_path / "run"
    assert not runs.is_complete(out)
    train_module().main([*SMALL, "--data", str(data), "--out", str(out)])
    whole, asked = runs.load_run(out), [*SMALL, "--data", str(data)]
    assert runs.is_complete(out) and len(runs.train_run(out, *asked).metrics.train["step"]) == 20 and not commands
    with pytest.raises(ValueError, match="n_layers.*1.*4"):
        runs.train_run(out, "quick")
    config = (out / "config.toml").read_text(encoding="utf-8").replace("steps = 20 ", "steps = 30 ")
    (out / "config.toml").write_text(config, encoding="utf-8")
    assert not runs.is_complete(out)
    runs.train_run(out, *asked, "--steps", 30)
    assert commands == [["--resume", str(out)]]
    other = runs.train_run(tmp_path / "other", *SMALL, "--data", data)
    assert commands[1] == [*SMALL, "--data", str(data), "--out", str(tmp_path / "other")]
    assert np.array_equal(other.metrics.train["loss"], whole.metrics.train["loss"])
    losses = whole.metrics.eval["val_loss"]
    assert runs.best_loss(whole) == losses.min()
    assert runs.last_train_loss(whole, 5) == pytest.approx(whole.metrics.train["loss"][-5:].mean())


def test_each_ablation_changes_one_thing(data, tmp_path, monkeypatch, side_by_side, capsys):
    monkeypatch.setattr(ablations, "SEEDS", (5,))
    wanted = ablations.trainings(tmp_path, [*SMALL, "--data", str(data)])
    complete = sweep.train_all(wanted)
    assert len(side_by_side) == len(ablations.VARIANTS) == 9
    plain = side_by_side[0][:-2]
    for command, (name, (_, *flags)) in zip(side_by_side, ablations.VARIANTS.items(), strict=True):
        assert [word for word in command[:-2] if word not in plain and "unscaled" not in word] == [
            flag for flag in flags if flag not in plain] + ["--init-from"] * (name == ablations.UNSCALED)
    losses = sweep.losses(ablations.VARIANTS, ablations.SEEDS, tmp_path, complete)
    assert losses == {name: [runs.best_loss(complete[sweep.folder(tmp_path, name, 5)])] for name in ablations.VARIANTS}


def test_the_unscaled_model_differs_in_the_residual_projections_alone(data, tmp_path):
    path = ablations.unscaled(tmp_path / "u.npz", ["quick", *SMALL, "--n-layers", "2", "--data", str(data)])
    unscaled = load_checkpoint(path).group("model")
    train_module().main([*SMALL, "--n-layers", "2", "--steps", "5", "--lr", "0", "--min-lr", "0", "--weight-decay", "0",
                         "--data", str(data), "--out", str(tmp_path / "run")])
    for name, param in load_checkpoint(tmp_path / "run" / "ckpt.npz").group("model").items():
        ratio = 2.0 if name.endswith("proj.W") else 1.0  # sqrt(2 layers x 2)
        np.testing.assert_allclose(unscaled[name], ratio * param, rtol=1e-6, err_msg=name)


def test_old_and_new_blocks_have_the_same_parameters_and_the_same_time(data, tmp_path, monkeypatch, side_by_side,
                                                                               capsys):
    configs = {name: runs.config_of(words.split()) for name, words in modern.VARIANTS.items()}
    sizes = [parameters(config, 65) for config in configs.values()]
    assert max(sizes) < 1.01 * min(sizes)
    seconds = dict(zip(modern.VARIANTS, (2.0, 1.0, 4.0, 2.0, 2.5), strict=True))
    monkeypatch.setattr(modern, "step_seconds", lambda config: next(
        seconds[name] for name, of_name in configs.items()
        if (config.model.norm, config.model.positions, config.model.ffn) == (
            of_name.model.norm, of_name.model.positions, of_name.model.ffn)))
    more = [*SMALL, "--data", str(data)]
    monkeypatch.setattr(modern, "STEPS", 1000)
    steps = modern.measured_steps(tmp_path, more)
    assert list(steps.values()) == [1000, 2000, 500, 1000, 800]
    monkeypatch.setattr(modern, "step_seconds", None)  # not to be measured again
    assert modern.measured_steps(tmp_path, more) == steps
    monkeypatch.setattr(modern, "SEEDS", (5,))
    monkeypatch.setattr(modern, "measured_steps", lambda *_: dict.fromkeys(modern.VARIANTS, 20))
    monkeypatch.setattr("sys.argv", ["modern.py", "--runs", str(tmp_path), "--", *more])
    modern.main()
    assert len(side_by_side) == 5 and {run.name for run in tmp_path.glob("*_5")} == {
        "quick_5", "rmsnorm_5", "rotary_positions_5", "gated_silu_5", "llama_quick_5"}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[2] for line in lines[-5:]] == ["20"] * 5
    loss = {name: runs.best_loss(runs.load_run(tmp_path / name)) for name in ("quick_5", "llama_quick_5")}
    assert f"{loss['llama_quick_5'] - loss['quick_5']:+.3f}" in lines[-1]


def test_fine_tuning_is_compared_with_training_from_scratch(data, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "PROMPT", "To be")
    counted(monkeypatch)
    base = runs.train_run(tmp_path / "base", *SMALL, "--data", data)
    tuned = runs.train_run(tmp_path / "tuned", *SMALL, "--data", data, "--init-from", base.folder, "--lora-rank", 2)
    _, _, *cells = finetune.report(tuned, base, 2.0, 0.5)[:4]
    tuned_cells, base_cells = ([cell.strip() for cell in line[1:-1].split("|")] for line in cells)
    assert tuned_cells[1] == f"{2 * ((8 + 24) + (8 + 8) + (8 + 32) + (32 + 8)):,}" and tuned_cells[2] == "20"
    assert (tuned_cells[3], base_cells[3]) == ("2", "0.5")
    assert float(tuned_cells[6]) == pytest.approx(float(base.metrics.eval["whole_bits"][-1]), abs=2e-3)
    assert float(tuned_cells[7]) == pytest.approx(float(tuned.metrics.eval["whole_bits"][-1]), abs=1e-3)
    assert base_cells[1] == f"{restore(base.folder)[0].n_params():,}"
    text = "\n".join(finetune.report(tuned, base, 2.0, 0.5))
    assert text.count("```text") == text.count(finetune.PROMPT.strip()) == 2


def test_the_report_has_the_numbers_of_the_run(data, tmp_path):
    out = tmp_path / "run"
    train_module().main([*SMALL, "--no-tie-weights", "--data", str(data), "--out", str(out)])
    header, _, *rows = report.report([out])[2:]
    cells = dict(zip(*([cell.strip() for cell in line[1:-1].split("|")] for line in (header, *rows)), strict=True))
    model, tokenizer, _ = restore(out)
    evals = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines() if '"eval"' in line]
    best = min(evals, key=lambda row: row["val_loss"])
    tables = 2 * tokenizer.vocab_size * 8
    assert cells["run"] == "run" and cells["vocabulary"] == str(tokenizer.vocab_size)
    assert cells["parameters"] == f"{model.n_params():,}"
    assert cells["in the token tables"] == f"{tables / model.n_params():.0%}"
    assert cells["best validation loss"] == f"{best['val_loss']:.4f}" and cells["at step"] == str(best["step"])
    assert cells["bits per byte"] == f"{best['bits_per_byte']:.3f}" and cells["steps"] == "20"
    assert cells["characters in 500 tokens"] == "500" and float(cells["ms per step"]) > 0
    assert cells["took"] == duration(evals[-1]["seconds"]) and cells["unknown bytes"] == "0%"


def test_the_report_says_how_much_of_the_text_is_unknown(tmp_path):
    """The words of the training part, and in the validation part two that are none of them."""
    text = 20 * "a bee sees a sea\n" + "a zebra bee sees zebras\n"
    data = prepare(Corpus.of("words", text, "here"), tmp_path / "data", "word", min_freq=1, val_fraction=24 / 364,
                   context=4)
    assert report.unknown(data) == pytest.approx(11 / 24)  # "zebra" and "zebras"


def test_unknown_words_are_found_letter_by_letter_and_paid_for(tmp_path, capsys):
    text = 30 * "a bee sees a razor\n" + "a zebra bee sees zebras\n"
    corpus = Corpus.of("words", text, "here")
    for kind, options in (("char", {}), ("word", {"min_freq": 2})):
        prepare(corpus, tmp_path / kind, kind, context=4, val_fraction=0.1, **options)
        train_module().main([*SMALL, "--data", str(tmp_path / kind), "--out", str(tmp_path / f"run_{kind}")])
    words = TokenDataset.load(tmp_path / "word").tokenizer
    flags = spelled.in_unknown_words("a zebra  bee\nzebras!", words)
    assert "".join("^" if flag else "." for flag in flags) == "..^^^^^......^^^^^^^"
    (row,) = spelled.table(tmp_path / "run_char", tmp_path / "run_word")[2:]
    name, paid, share, inside, _, sum_ = [cell.strip() for cell in row[1:-1].split("|")]
    assert name == "run_word"
    assert float(sum_) == pytest.approx(float(paid) + float(share[:-1]) / 100 * float(inside), abs=0.01)
    with pytest.raises(ValueError):
        spelled.table(tmp_path / "run_word", tmp_path / "run_char")
    with pytest.raises(ValueError):
        spelled.table(tmp_path / "run_char", tmp_path / "run_char")
    with pytest.raises(FileNotFoundError, match="run_wrd"):
        spelled.table(tmp_path / "run_char", tmp_path / "run_wrd")


def test_candidates_are_trained_as_their_flags_say(data, tmp_path, side_by_side, capsys):
    more = [*SMALL, "--data", str(data)]
    complete = sweep.train_all(candidates.trainings(tmp_path, more))
    rows = [candidates.row(name, complete[tmp_path / runs.slug(name)]) for name in candidates.CANDIDATES]
    for command, row, (name, flags) in zip(side_by_side, rows, candidates.CANDIDATES.items(), strict=True):
        assert command == ["--workers", "1", *candidates.NARROW.split(), *flags.split(), *more,
                           "--out", str(tmp_path / runs.slug(name))]
        cells = dict(zip(candidates.COLUMNS, row, strict=True))
        config = runs.read_config(tmp_path / runs.slug(name) / "config.toml")
        assert [cells[key] for key in candidates.SETTINGS] == [str(config[key]) for key in candidates.SETTINGS]
        assert cells["run"] == name
        best = runs.best_loss(runs.load_run(tmp_path / runs.slug(name)))
        assert cells["best validation loss"] == f"{best:.4f}" and float(cells["ms per step"]) > 0


def evaluated(run, losses):
    """A run folder with nothing but evaluations: step (and tokens) -> loss."""
    run.mkdir()
    rows = [{"kind": "eval", "step": step, "tokens": step, "seconds": 1.0, "val_loss": loss}
            for step, loss in losses.items()]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def test_a_power_law_is_gone_on_with(tmp_path):
    """Twice as high at first, then 8 / tokens^0.125, which twice the tokens lower by 8.3 % (2^-0.125 is 0.917)."""
    losses = {step: 8 / (step * 1e6) ** 0.125 * (2 if step < 3 else 1) for step in range(9)[1:]}
    run = runs.load_run(evaluated(tmp_path / "run", {0: 4.2} | {round(k * 1e6): v for k, v in losses.items()}))
    lines = extrapolate.table(run, 256e6)
    assert lines[0] == f"`run`, lowest validation loss {losses[8]:.4f} in all; the evaluations used end at " \
                       f"8.0M tokens with {losses[8]:.4f}."
    assert lines[2].endswith("| at 256.0M tokens |")
    assert lines[3:] == ["|---|---|---|", "| 4.0M | 8.3% | 0.71 |", "| 6.0M | 8.3% | 0.71 |"]
    assert extrapolate.table(run, 256e6, until=3e6)[-1] != lines[-1]  # through the steep part too
    assert [row[:8] for row in extrapolate.table(run, 256e6, until=3e6)[4:]] == ["| 1.0M |"]  # three, not twice
    with pytest.raises(ValueError, match="2.*0.*2,000,000"):
        extrapolate.table(run, 256e6, until=2e6)
    with pytest.raises(ValueError, match="0.*5"):
        extrapolate.table(run, -5)


def stepped(run, losses):
    """An `evaluated` run, loaded, with training steps of 2 seconds whose losses are their numbers, and samples."""
    evaluated(run, losses)
    with (run / "metrics.jsonl").open("a") as file:
        for step in range(1, max(losses) + 1):
            file.write(json.dumps({"kind": "train", "step": step, "tokens": step, "seconds": 1.0, "loss": float(step),
                                   "grad_norm": 1.0, "lr": 1.0, "step_seconds": 2.0}) + "\n")
    (run / "samples.txt").write_text("".join(f"--- step {step}\ntext of\n{step}\n" for step in losses))
    return runs.load_run(run)


def test_levels_show_the_first_evaluation_of_each_and_when(tmp_path):
    run = stepped(tmp_path / "run", {0: 4.2, 10: 3.6, 20: 3.4, 30: 3.3, 40: 1.9})
    lines = levels.document([run])
    assert [line for line in lines if line.startswith("**")] == [
        "**4.20** (`run`, step 0, 0 s)", "**3.40** (`run`, step 20, 40 s)", "**1.90** (`run`, step 40, 1 min 20 s)"]
    assert lines[2:6] == ["```text", "text of", "0", "```"]
    with pytest.raises(ValueError, match=r"4\.3"):
        levels.document([stepped(tmp_path / "words", {0: 8.8, 10: 7.2})])


def test_the_curve_of_levels_is_the_mean_loss_between_its_points(tmp_path):
    run = stepped(tmp_path / "run", {0: 4.2, 500: 1.0})
    steps, means = levels.thinned(run)
    assert steps[0] == 1 and steps[-1] == 500 and 50 < len(steps) < 100
    assert np.all(np.diff(steps) > 0) and np.diff(np.log(steps[steps > 30])).max() < 0.1
    before = np.concatenate([[0], steps[:-1]])
    np.testing.assert_allclose(means, (before + 1 + steps) / 2)


def test_the_picture_of_levels_has_both_losses_by_steps_and_by_time(tmp_path):
    run = stepped(tmp_path / "run", {0: 4.2, 100: 3.0, 500: 1.5})
    by_step, by_time = levels.draw([run], {"ln V": 4.1, "unigram": 3.3, "bigram": 2.5}).axes
    for ax, scale in ((by_step, 1), (by_time, 2)):
        train, val, *dashed = ax.lines
        np.testing.assert_array_equal(train.get_xdata(), scale * levels.thinned(run)[0])
        np.testing.assert_array_equal(train.get_ydata(), levels.thinned(run)[1])
        np.testing.assert_array_equal(val.get_xydata(), [[scale * 100, 3.0], [scale * 500, 1.5]])  # without step 0
        assert [line.get_ydata()[0] for line in dashed] == [4.1, 3.3, 2.5]
        assert [text.get_text() for text in ax.texts] == ["ln V 4.10", "unigram 3.30", "bigram 2.50"]
        assert ax.get_xscale() == "log" and ax.get_ylim()[1] > 4.2


def test_the_marks_of_levels_are_those_that_the_training_prints(data, tmp_path, capsys):
    train_module().main([*SMALL, "--data", str(data), "--out", str(tmp_path / "run")])
    losses, printed = levels.baselines(runs.load_run(tmp_path / "run")), capsys.readouterr().out
    for name, words in (("ln V", "uniform"), ("unigram", "unigram"), ("bigram", "bigram")):
        assert f"{words} {losses[name]:.2f}" in printed


def test_levels_refuse_what_does_not_go_into_one_picture(tmp_path):
    run, bare = stepped(tmp_path / "run", {0: 4.2, 10: 3.0}), runs.load_run(evaluated(tmp_path / "bare", {0: 4.2}))
    for wrong, message in (([run] * 8, "8.*7"), ([bare], "bare")):
        with pytest.raises(ValueError, match=message):
            levels.check(wrong)
    with pytest.raises(ValueError, match=r"config\.toml"):
        levels.baselines(run)
    (run.folder / "config.toml").touch()
    levels.check([run] * 7)
    run, other = stepped(tmp_path / "a", {0: 4.2, 10: 3.0}), stepped(tmp_path / "b", {0: 4, 9: 3})
    run.metrics.eval["bits_per_byte"] = run.metrics.eval["val_loss"] / 0.7
    other.metrics.eval["bits_per_byte"] = other.metrics.eval["val_loss"] / 2.0
    with pytest.raises(ValueError):
        levels.check([run, other])


def test_the_broken_mask_is_broken_in_that_run_alone(data, tmp_path, monkeypatch, capsys):
    main, masked = normal.train.main, []

    def watched(words):
        masked.append(bool(np.isinf(causal_attention.scores(*np.ones((2, 3, 2)))).any()))
        return main(words)

    monkeypatch.setattr(normal.train, "main", watched)
    run = normal.unmasked(tmp_path / "run", [*SMALL, "--data", str(data)])
    assert masked == [False] and run.total("step") == 20
    assert np.isinf(causal_attention.scores(*np.ones((2, 3, 2)))).any()
    normal.unmasked(tmp_path / "run", [*SMALL, "--data", str(data)])  # it is complete
    assert len(masked) == 1
    with pytest.raises(ValueError, match="20.*21"):
        normal.unmasked(tmp_path / "run", [*SMALL, "--data", str(data), "--steps", "21"])


def test_ranks_that_train_apart_are_compared_at_equal_tokens(data, tmp_path, side_by_side, monkeypatch, capsys):
    monkeypatch.setattr(local_steps, "SEEDS", (5,))
    words = ["quick", *SMALL, "--batch-size", "8", "--eval-every", "50", "--data", str(data)]
    found = local_steps.train(local_steps.variants(8), tmp_path, words)
    assert len(side_by_side) == 1 + 4 + 2  # any number of ranks that share every step are one run
    assert found["every step: 2 ranks"] == found["every step: 4 ranks"] != found["every 10 steps, 2 ranks"]
    for name, variant in local_steps.variants(8).items():
        run = runs.load_run(sweep.folder(tmp_path, name, 5))
        config = runs.read_config(run.folder / "config.toml")
        assert config["sync_every"] == (variant.every if variant.every > 1 else 0), name
        assert run.total("tokens") == 20 * 8 * 8 // (1 if variant.every else int(name.split()[-2])), name


def test_the_bytes_of_ranks_follow_from_the_size():
    sent = {name: local_steps.sent_per_step(variant, 1000) for name, variant in local_steps.variants(24).items()}
    assert list(sent.values()) == [1000, 1500, 100, 20, 150, 30, 0, 0]
