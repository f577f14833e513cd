"""./plot.py as it is typed: files, the lines that it prints, and one line with status 2 for each mistake."""

import os
import shutil
import subprocess
import sys

import pytest
from matplotlib.lines import Line2D
from matplotlib.text import Text
from running import process, script

import plot as plot_script
from numpygpt.plots import style
from numpygpt.training.metrics import MetricsLog
from numpygpt.utils import paths
from numpygpt.utils.paths import ROOT

ROOT = ROOT


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder that the script takes for its own, where it looks for runs."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def unsaved(monkeypatch):
    """Pictures are not written, which takes most of the time: for tests of what is said of them."""
    monkeypatch.setattr(style, "save", lambda figure, path: None)


@pytest.fixture
def drawn(monkeypatch):
    """What each picture shows, in place of its file: every text, and the points of every line."""
    found = []

    def keep(figure, path):
        lines = [line.get_xydata().tolist() for line in figure.findobj(Line2D)]
        found.append(str(([text.get_text() for text in figure.findobj(Text)], lines)))

    monkeypatch.setattr(style, "save", keep)
    return found


def write(folder, steps=100, every=25):
    folder.mkdir(parents=True)
    with MetricsLog(folder / "metrics.jsonl") as log:
        for s in range(1, steps + 1):
            log.log("train", s, tokens=s * 768, seconds=s * 0.5, loss=1.5 + 2 / s, grad_norm=1.0, lr=1e-3)
            if every and s % every == 0:
                log.log("eval", s, tokens=s * 768, seconds=s * 0.5, val_loss=1.6 + 2 / s, bits_per_byte=2.3 + 3 / s)
    return folder


def plot(project, *arguments):
    return script("plot.py", *arguments, cwd=project)


def refused(done, said):
    assert done.returncode == 2 and done.stdout == "", done
    assert done.stderr.startswith("plot.py: error: ") and done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr


def test_one_run(project):
    write(project / "runs" / "quick")
    done = plot(project, "runs/quick")
    assert (done.returncode, done.stderr) == (0, "")
    summary, wrote = done.stdout.splitlines()
    for value in ("quick: 100 steps", "76.8 k", "50 s", "1.520", "1.620 at step 100", "2.33"):
        assert value in summary
    assert wrote == "wrote runs/quick/curves.png"
    assert (project / "runs/quick/curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_newest_run_beside_the_script_is_taken_and_named(tmp_path):
    """With the script and the package in a folder of their own."""
    shutil.copy(ROOT / "plot.py", tmp_path)
    shutil.copytree(ROOT / "numpygpt", tmp_path / "numpygpt")
    for age, name in enumerate(["b", "a", "c"]):
        os.utime(write(tmp_path / "runs" / name, steps=3) / "metrics.jsonl", (1e9 - age, 1e9 - age))
    done = process("plot.py", root=tmp_path, cwd=tmp_path / "runs")
    assert done.stdout.startswith("newest run: b\nb: 3 steps"), done
    assert [p.parent.name for p in tmp_path.glob("runs/*/curves.png")] == ["b"]


def test_several_runs_go_into_one_picture_beside_them(project):
    for name in "ab":
        write(project / "runs" / name)
    done = plot(project, "runs/a", "runs/b/metrics.jsonl", "runs/a")
    assert [line.split(" ")[0] for line in done.stdout.splitlines()] == ["a:", "b:", "wrote"], done
    assert done.stdout.endswith("wrote runs/curves.png\n")
    assert (project / "runs/curves.png").stat().st_size > 10_000


def test_runs_whose_tokens_differ_are_pointed_to_compare(project, unsaved):
    write(project / "runs" / "a")
    b = write(project / "runs" / "b") / "metrics.jsonl"
    b.write_text(b.read_text().replace('"bits_per_byte": ', '"bits_per_byte": 1'))
    said = plot(project, "runs/a", "runs/b").stdout.splitlines()
    assert said[2].startswith("note: ") and " compare runs/" in said[2]
    assert "note" not in plot(project, "runs/a", "runs/a").stdout + plot(project, "runs/b").stdout


def test_compare_writes_a_picture_and_prints_a_table(project):
    for name in "ab":
        write(project / "runs" / name)
    done = plot(project, "compare", "runs/a", "runs/b")
    assert (done.returncode, done.stderr) == (0, "")
    _, bottom, a, b, *notes, wrote = done.stdout.splitlines()
    assert bottom.split()[:3] == ["run", "params", "kind"]
    assert a.split() == "a - - 100 76.8 k 50 s 1.54 k 2.330 100 1.620 5.05".split()
    assert b.split()[0] == "b" and wrote == "wrote runs/compare.png"
    assert len(notes) == 2 and "a, b" in notes[1]
    assert (project / "runs/compare.png").stat().st_size > 10_000


def test_compare_takes_its_flags_and_needs_runs(project, drawn):
    write(project / "runs" / "a")
    for flags in ([], ["--smooth", "30"], ["--title", "other"]):
        assert plot(project, "compare", "runs/a", "--out", "runs/a.svg", *flags).returncode == 0
    assert len(set(drawn)) == len(drawn) == 3
    refused(plot(project, "compare"), "the following arguments are required: RUN")
    refused(plot(project, "compare", "runs/gone"), "run")
    refused(plot(project, "compare", "runs/a", "--smooth", "0.5"), "--smooth")
    refused(plot(project, "compare", write(project / "runs" / "young", every=0)), "runs/young")


def test_runs_of_one_name_are_told_apart_by_their_folders(project, unsaved):
    for name in ("first/run", "second/run"):
        write(project / "runs" / name, steps=2)
    done = plot(project, "runs/first/run", "runs/second/run", "--out", "runs/both.png")
    assert [line.split(":")[0] for line in done.stdout.splitlines()[:2]] == ["runs/first/run", "runs/second/run"], done


@pytest.mark.parametrize(("name", "magic"), [("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a.PNG", b"\x89PNG")])
def test_the_suffix_of_out_is_the_format(project, name, magic):
    write(project / "runs" / "quick")
    done = plot(project, "runs/quick", "--out", f"runs/{name}", "--x", "time", "--smooth", "5", "--title", "My $ run")
    assert done.returncode == 0, done.stderr
    assert (project / "runs" / name).read_bytes().startswith(magic)
    assert not (project / "runs/quick/curves.png").exists()


def test_flags_reach_the_picture(project, drawn):
    write(project / "runs" / "quick")
    for flags in ([], ["--x", "tokens"], ["--x", "time"], ["--smooth", "0"], ["--smooth", "30"], ["--title", "other"]):
        assert plot(project, "runs/quick", "--out", "runs/a.svg", *flags).returncode == 0
    assert drawn[0] == drawn[3]  # 1 % of 100 updates is one
    assert len(set(drawn)) == len(drawn) - 1 == 5


def test_smooth_is_the_span_of_the_average_in_the_summary_too(project, unsaved):
    write(project / "runs" / "quick", steps=2, every=0)  # losses 3.5 and 2.5
    assert "train loss 2.500;" in plot(project, "runs/quick", "--smooth", "0").stdout
    assert "train loss 2.833;" in plot(project, "runs/quick", "--smooth", "2").stdout


def test_with_no_run_the_command_that_makes_one_is_said(project):
    train = "python train.py quick" if os.name == "nt" else "./train.py quick"
    refused(plot(project), train)


def test_bad_input_is_one_line(project):
    write(project / "runs" / "quick")
    (project / "runs" / "empty").mkdir()
    refused(plot(project, "runs/gone"), "run")
    refused(plot(project, "runs/empty"), "metrics.jsonl")
    (project / "runs/empty/metrics.jsonl").touch()
    refused(plot(project, "runs/empty"), "metrics.jsonl")
    (project / "runs/empty/metrics.jsonl").write_text("nonsense\n")
    refused(plot(project, "runs/empty"), "1")
    (project / "runs/quick/config.toml").write_text("clip = \n")
    refused(plot(project, "runs/quick"), "config.toml")


def test_bad_flags_are_one_line(project):
    write(project / "runs" / "quick")
    refused(
        plot(project, "runs/quick", "--out", "a.jpg"), "a.jpg: the file's name must end in one of .png, .svg, .pdf"
    )
    refused(plot(project, "runs/quick", "--out", "gone/a.png"), "--out")
    (project / "runs" / "folder.png").mkdir()
    refused(plot(project, "runs/quick", "--out", "runs/folder.png"), "runs/folder.png")
    refused(plot(project, "runs/quick", "--x", "epochs"), "epochs")
    refused(plot(project, "runs/quick", "--smooth", "0.9"), "--smooth")
    refused(plot(project, "runs/quick", "--smooth", "-1"), "'-1'")
    refused(plot(project, "runs/quick", "--smooth", "nan"), "'nan'")
    refused(plot(project, "runs/quick", "--smoth", "5"), "unknown argument --smoth; did you mean --smooth?")


def test_show_without_a_screen_is_one_line(project):
    write(project / "runs" / "quick")
    done = process("plot.py", "runs/quick", "--show", cwd=project, MPLBACKEND="agg")
    refused(done, "--show")


def test_show_opens_the_window_with_the_same_panels(project, tmp_path):
    """With a backend that writes down what its window would have shown."""
    write(project / "runs" / "quick")
    (tmp_path / "windows.py").write_text(
        "from matplotlib.backend_bases import FigureManagerBase\n"
        "from matplotlib.backends.backend_agg import FigureCanvasAgg\n"
        "class FigureManager(FigureManagerBase):\n"
        "    @classmethod\n"
        "    def pyplot_show(cls, *, block=None):\n"
        "        from matplotlib import pyplot\n"
        "        print('shown:', [ax.get_title(loc='left') for ax in pyplot.gcf().axes])\n"
        "class FigureCanvas(FigureCanvasAgg):\n"
        "    manager_class = FigureManager\n"
    )
    code = "import plot; plot.main(['runs/quick', '--show']); plot.main(['compare', 'runs/quick', '--show'])"
    variables = {"MPLBACKEND": "module://windows", "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=project, env=os.environ | variables,
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == "wrote runs/quick/curves.png" and "'Loss'" in done.stdout.splitlines()[2]
    assert done.stdout.splitlines()[-1] == "shown: ['By steps', 'By tokens', 'By time', '']"


def test_a_page_has_no_window():
    with pytest.raises(SystemExit) as done:
        plot_script.parse(["explore", "--prompt", "x", "--show"])
    assert done.value.code == 2
    assert plot_script.parse(["explore", "--prompt", "x"]).show is False


def test_help_gives_a_reason_for_every_flag(project):
    done = plot(project, "curves", "--help")
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    for flag in ("usage: plot.py curves ", "--out FILE", "--x {steps,tokens,time}", "--smooth N", "--show", "--title",
                 "--trace-every N"):  # fmt: skip
        assert flag in text
    assert "None" not in text and "SUPPRESS" not in text
    assert plot(project, "--x", "time", "-h").stdout == done.stdout


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_the_commands_are_listed_with_a_line_each(project, flag):
    done = plot(project, flag)
    assert (done.returncode, done.stderr) == (0, "")
    _, *listed = done.stdout.split("\n\n")[-2].splitlines()
    assert [line.split()[0] for line in listed] == list(plot_script.WHAT)
    assert [line.split(maxsplit=1)[1] for line in listed] == list(plot_script.WHAT.values())
    assert max(map(len, done.stdout.splitlines())) <= 100 and max(map(len, listed)) <= 80
    assert "./curves" in done.stdout.split("\n\n")[-1]


@pytest.mark.parametrize("what", list(plot_script.WHAT))
def test_every_command_has_its_own_help(project, what):
    done = plot(project, what, "-h")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"usage: plot.py {what} ") and "--out FILE" in done.stdout
    assert ("--show" in done.stdout) == (what != "explore")


def test_only_the_chosen_command_is_imported():
    code = (
        "import sys, plot\n"
        "plot.parse(['compare', 'x'])\n"
        "commands = 'numpygpt.plots.commands.'\n"
        "print(sorted(name.removeprefix(commands) for name in sys.modules if name.startswith(commands)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "['compare', 'curves']\n", done.stderr  # compare takes the value of --smooth from curves


def test_a_misspelt_command_is_no_missing_run(project):
    said = "did you mean attention?"
    refused(plot(project, "atention", "--prompt", "x"), said)
    refused(plot(project, "compares", "a", "b"), "did you mean compare?")
    refused(plot(project, "runs/x"), "run")
    refused(plot(project, "--x", "time", "attention"), "run")


def test_flags_may_come_first_and_a_run_may_be_called_like_a_command(project, unsaved):
    write(project / "runs" / "quick")
    done = plot(project, "--x", "time", "--out", "runs/a.png", "runs/quick")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "wrote runs/a.png"), done.stderr
    write(project / "tokens", steps=2)
    assert plot(project, "./tokens").stdout.endswith("wrote tokens/curves.png\n")
    assert plot(project, "--smooth", "0", "tokens").stdout.endswith("wrote tokens/curves.png\n")


def test_it_can_be_run_by_its_name():
    assert (ROOT / "plot.py").read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")
    assert os.name == "nt" or os.access(ROOT / "plot.py", os.X_OK)
