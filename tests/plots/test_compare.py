"""Runs in bits a byte: the lines of three panels, the table in the picture and on the terminal, and its notes."""

import json
import math

import numpy as np
import pytest

from numpygpt.models import GPT
from numpygpt.plots import style
from numpygpt.plots.commands.compare import MAX_RUNS, draw_compare, size_of
from numpygpt.plots.runs import load_run
from numpygpt.plots.series import smooth
from numpygpt.plots.table import HEADINGS, Facts, Table, facts_of, lines_of, notes_of, row_of, table_of
from numpygpt.training.checkpoint import save_checkpoint
from numpygpt.training.metrics import MetricsLog
from numpygpt.utils.colour import width

TITLES = ["By steps", "By tokens", "By time"]


@pytest.fixture
def make(tmp_path):
    """Writes a run whose every number is known, with bits a byte at `ratio` times nats a token, and loads it."""

    def run(name="a", steps=100, every=25, ratio=1.5, val=lambda s: 1.6 + 2.7 / s, per_step=512, train_ratio=2.5):
        folder = tmp_path / name
        folder.mkdir()
        write_data(folder, ratio or 1.0, train_ratio)
        with MetricsLog(folder / "metrics.jsonl") as log:
            for s in range(1, steps + 1):
                at = {"tokens": s * per_step, "seconds": s * 2.0}
                log.log("train", s, **at, loss=1.5 + 2.7 / s, step_seconds=1.6)
                if s % every == 0:
                    bits = {} if ratio is None else {"bits_per_byte": ratio * val(s)}
                    log.log("eval", s, **at, val_loss=val(s), **bits)
        return load_run(folder)

    return run


def write_data(folder, ratio, train_ratio):
    """The data folder's meta.json: `ratio` is bits a byte by nats a token of the validation text."""
    size = 10**9
    parts = {"val": {"tokens": round(ratio * math.log(2) * size) + 1, "bytes": size},
             "train": {"tokens": round(train_ratio * math.log(2) * size), "bytes": size}}  # fmt: skip
    meta = {"format": "numpygpt-data", "version": 1, "corpus": "c", "sha256": "0", "settings": {}, "split": {},
            "tokenizer": {"kind": "char", "sha256": "1"}, "vocab_size": 11, "dtype": "uint16", **parts}  # fmt: skip
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "meta.json").write_text(json.dumps(meta))
    (folder / "config.toml").write_text(f"data = {json.dumps(str(folder / 'data'))}\n")


def save_model(run, kind="char", special=(), sha="0", name="best.npz", **model):
    model = GPT(vocab_size=11, max_len=8, d_model=8, n_heads=2, n_layers=1, **model)
    header = {
        "step": 1, "last": {}, "best": {}, "config": {}, "model": model.config.to_dict(),
        "tokenizer": {"kind": kind, "special_tokens": {token: i for i, token in enumerate(special)}},
        "data": {"corpus": "c", "sha256": sha, "tokenizer_sha256": "1"},
    }  # fmt: skip
    arrays = {f"model/{name}": array for name, array in model.params().items()}
    save_checkpoint(run.folder / name, header, arrays | {"optimizer/m/wte.W": np.zeros((11, 8), np.float32)})
    return model


def draw(*runs, **options):
    table = table_of(list(runs))
    figure = style.new_figure(size_of(table))
    draw_compare(figure, list(runs), table, **options)
    figure.set_layout_engine("none")
    figure.draw_without_rendering()
    return figure


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def cells(figure):
    return [text.get_text() for text in figure.axes[3].texts]


def test_validation_in_bits_per_byte_against_steps_tokens_and_time(make):
    values = {25: 2.0, 50: 1.6, 75: 1.25, 100: 1.5}
    figure = draw(make(val=values.get, ratio=2.0))
    assert [ax.get_title(loc="left") for ax in figure.axes[:3]] == TITLES
    labels = ["step", "tokens", "seconds"]
    for ax, label, scale in zip(figure.axes[:3], labels, [1, 512, 1.6], strict=True):  # an update takes 1.6 s
        line = lines(ax)["a: validation"]
        np.testing.assert_allclose(line.get_xdata(), np.array([25, 50, 75, 100]) * scale)
        np.testing.assert_allclose(line.get_ydata(), [4.0, 3.2, 2.5, 3.0])
        np.testing.assert_allclose(lines(ax)["a: best"].get_xydata(), [[75 * scale, 2.5]])
        assert label in ax.get_xlabel()


def test_training_is_faint_smoothed_and_by_the_ratio_of_its_own_text(make):
    runs = [make("a", train_ratio=1.4), make("b", ratio=0.6, train_ratio=0.5)]
    figure = draw(*runs, span=5)
    for run, ratio in zip(runs, (1.4, 0.5), strict=True):
        line, val = (lines(figure.axes[1])[f"{run.name}: {what}"] for what in ("train", "validation"))
        np.testing.assert_allclose(line.get_ydata(), ratio * smooth(run.metrics.train["loss"], 5))
        assert line.get_alpha() < 0.5 and val.get_alpha() is None
        assert line.get_color() == val.get_color() and line.get_linewidth() < val.get_linewidth()
    legend = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
    assert len(legend) == 3 and "5" in legend[0]


def test_no_training_line_where_its_text_is_not_known(make):
    gone, other, kept = make("gone"), make("other"), make("kept")
    (gone.folder / "data" / "meta.json").unlink()
    write_data(other.folder, 1.6, 2.5)  # another validation text than the evaluations were made with
    figure = draw(gone, other, kept)
    assert [label for label in lines(figure.axes[0]) if label.endswith("train")] == ["kept: train"]
    assert any("gone, other" in line for line in cells(figure))


def test_the_y_axis_is_shared_and_frames_what_matters(make):
    figure = draw(make("a", steps=1000), make("b", steps=1000, ratio=0.6))
    limits = {ax.get_ylim() for ax in figure.axes[:3]}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low < 0.6 * 1.5 and 1.5 * 1.7 < high < 1.5 * 3  # training starts at 1.5 * 4.2
    for ax, shown in zip(figure.axes[:3], [True, False, False], strict=True):
        assert any(tick.label1.get_visible() for tick in ax.yaxis.majorTicks) == shown


def test_an_evaluation_above_the_frame_is_said(make):
    figure = draw(make(steps=1000, every=10, val=lambda s: 4.0 if s == 10 else 1.6), span=50)
    assert "6.00" in figure.axes[0].texts[0].get_text() and figure.axes[0].get_ylim()[1] < 6
    assert not draw(make("b")).axes[0].texts[0].get_text()


def test_fourteen_runs_are_told_apart_and_their_table_fits(make):
    runs = [make(f"a-run-with-a-rather-long-name-{i}", every=50) for i in range(MAX_RUNS)]
    figure = draw(*runs)
    looks = [lines(figure.axes[0])[f"{run.name}: validation"] for run in runs]
    assert len({(line.get_color(), line.get_linestyle()) for line in looks}) == MAX_RUNS == 14
    swatches = figure.axes[3].lines[1:]  # behind the rule
    assert [(s.get_color(), s.get_linestyle()) for s in swatches] == [(v.get_color(), v.get_linestyle()) for v in looks]
    with pytest.raises(ValueError, match="14.*15"):
        draw(*runs, make("one-more"))


def test_runs_without_bits_per_byte(make):
    figure = draw(make("old", ratio=None), make("new"), make("young", every=500))
    assert set(lines(figure.axes[0])) == {f"new: {what}" for what in ("train", "validation", "best")}
    assert lines(figure.axes[0])["new: validation"].get_color() == style.COLOURS[1]  # that of its row
    assert any("old, young" in line for line in cells(figure))
    with pytest.raises(ValueError, match=r"plot\.py"):
        draw(make("older", ratio=None))


def test_evaluations_that_are_not_finite_leave_a_gap(make):
    values = {25: 2.0, 50: float("nan"), 75: 1.5, 100: 1.6}
    figure = draw(make(val=values.get, ratio=2.0))
    np.testing.assert_array_equal(lines(figure.axes[0])["a: validation"].get_ydata(), [4.0, np.nan, 3.0, 3.2])
    assert np.isfinite(figure.axes[0].get_ylim()).all()


def test_a_single_evaluation_and_a_run_without_training_rows(tmp_path):
    with MetricsLog(tmp_path / "metrics.jsonl") as log:
        log.log("eval", 0, tokens=0, seconds=0.0, val_loss=4.0, bits_per_byte=6.0)
    run = load_run(tmp_path)
    assert lines(draw(run).axes[0])[f"{run.name}: best"].get_xydata().tolist() == [[0, 6.0]]
    assert row_of(run, Facts())[3:8] == ["0", "0", "0 s", "-", "6.000"]


def test_titles_and_names_stand_as_they_were_typed(make):
    assert draw(make("$x^"), make("_b"), title="a $ b").get_suptitle() == "a $ b"
    figure = draw(make("_a$b$"), make("c"))
    assert figure.get_suptitle() == "_a$b$, c" and any("_a$b$" in line for line in cells(figure))
    assert draw(make("d" * 40), make("e" * 40)).get_suptitle() == "2 runs"


def test_a_row_of_the_table(make):
    values = {25: 2.0, 50: 1.6, 75: 1.25, 100: 1.5}
    row = row_of(make(val=values.get, ratio=2.0, per_step=12_000), Facts("1.23 M", "bpe"))
    assert row == [
        "a", "1.23 M", "bpe", "100", "1.20 M", "3 min 20 s", "7.50 k", "2.500", "75", "1.250", f"{math.exp(1.25):.2f}",
    ]  # fmt: skip
    assert len(row) == len(HEADINGS[0]) == len(HEADINGS[1])
    assert row_of(make("b", val=lambda s: 1000.0), Facts())[-2:] == ["1000.000", "1.0e+304"]
    assert row_of(make("c", every=500), Facts())[-4:] == ["-"] * 4
    assert row_of(make("d", ratio=None), Facts())[-4] == "-"


def test_the_checkpoint_tells_parameters_and_tokenizer(make):
    run = make()
    assert facts_of(run) == Facts("-", "-", False, None)
    model = save_model(run, "word", special=["<unk>"], sha="77", tie_weights=False)
    assert facts_of(run) == Facts(f"{model.n_params() / 1000:.3g} k", "word", False, "77")
    (run.folder / "best.npz").write_bytes(b"PK no more")
    assert facts_of(run) == Facts()
    other = make("b")
    save_model(other, name="ckpt.npz")
    assert facts_of(other).tokenizer == "char" and not facts_of(other).unknown


@pytest.mark.parametrize(("val", "sha", "special", "unknown"), [
    ([1, 2, 0, 3], "0", ["<unk>"], True), ([1, 2, 3], "0", ["<unk>"], False), ([1, 0], "0", [], False),
    ([1, 0], "another text", ["<unk>"], False), (None, "0", ["<unk>"], False),
])  # fmt: skip
def test_only_unknown_tokens_in_the_validation_part_flatter_the_bits_per_byte(make, val, sha, special, unknown):
    run = make()
    save_model(run, "word", special=special, sha=sha)
    if val is not None:
        np.array(val, "<u2").tofile(run.folder / "data" / "val.bin")
    assert facts_of(run).unknown == unknown
    assert any("<unk>" in line for line in table_of([run]).notes) == unknown


def test_a_checkpoint_of_another_make_tells_nothing(make):
    run = make()
    save_checkpoint(run.folder / "best.npz", {"tokenizer": {}, "data": None}, {"model/W": np.zeros(3)})
    assert facts_of(run) == Facts()


def test_notes_say_what_does_not_compare(make):
    runs = [make(name) for name in "abc"]
    plain = notes_of(runs, [Facts(text="1"), Facts(text="1"), Facts()])
    assert len(plain) == 1
    _, unknown, _ = notes_of(runs, [Facts(text="1", unknown=True), Facts(text="2"), Facts(unknown=True)])
    assert "<unk>" in unknown and "a, c" in unknown


@pytest.mark.parametrize("name", ["n" * 200, "日本" * 60])
def test_the_terminal_table_is_at_most_100_columns_wide(make, name):
    row = row_of(make(), Facts("999 k", "char"))
    table = Table([[name, *row[1:]], row], ["A sentence of many words. " * 9])
    assert max(map(width, lines_of(table))) <= 100
    assert lines_of(table)[2][:3] == name[:3]


def test_what_a_name_hides_is_shown(make):
    run = make()
    run.name = "a\x1b[2Jb\u202e"
    assert row_of(run, Facts("-", "x\x1b"))[:3] == [r"a\u001b[2Jb\u202e", "-", r"x\u001b"]
