"""datagen.py as a user runs it: the folder, what is printed, and status 2 with one line for each mistake."""

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from threading import Thread

import pytest
from running import environment, script

from numpygpt.data import TokenDataset
from numpygpt.tokenizer import WordTokenizer
from numpygpt.utils.paths import ROOT

TEXT = "".join(f"Line {i}: the quick brown fox, {i * i} dogs and no cat.\n" for i in range(300))


@pytest.fixture
def datagen(tmp_path):
    (tmp_path / "tale.txt").write_text(TEXT, encoding="utf-8", newline="")

    def call(*words, **options):
        # A cache that is a file cannot be written, and so nothing here gets as far as asking a network.
        return script("datagen.py", *words, cwd=tmp_path, NUMPYGPT_CACHE=str(tmp_path / "tale.txt"), **options)

    return call


def test_a_file_becomes_a_folder(datagen, tmp_path):
    done = datagen("--input", "tale.txt", "--out", "out")
    assert done.returncode == 0, done.stderr
    dataset = TokenDataset.load(tmp_path / "out")
    assert dataset.tokenizer.decode(dataset.train) + dataset.tokenizer.decode(dataset.val) == TEXT
    lines = done.stdout.splitlines()
    assert lines[0] == "corpus      tale: tale.txt"
    assert f"{len(TEXT):,} characters, {len(TEXT):,} bytes" in done.stdout
    assert f"{len(dataset.train):,} tokens" in done.stdout
    assert "folder      out" in lines
    assert lines[-1].startswith("next: ") and lines[-1].endswith(f"train.py --data out --out {ROOT / 'runs' / 'out'}")


@pytest.mark.parametrize(("kind", "least"), [("word", 1), ("bpe", 2)])
def test_the_other_tokenizers(datagen, tmp_path, kind, least):
    done = datagen("--input", "tale.txt", "--out", "out", "--tokenizer", kind, "--vocab-size", "300", "--lowercase")
    assert done.returncode == 0, done.stderr
    dataset = TokenDataset.load(tmp_path / "out")
    assert dataset.tokenizer.kind == kind and dataset.vocab_size <= 301
    assert dataset.meta["settings"] == {"vocab_size": 300, "min_freq": least, "lowercase": True, "clean": None}


def test_a_named_corpus_without_a_network(datagen, tmp_path):
    done = datagen("--dataset", "pydoc", "--out", "out", "--clean", "alnum")
    assert done.returncode == 0, done.stderr
    assert "corpus      pydoc: pydoc_data.topics of Python" in done.stdout
    assert TokenDataset.load(tmp_path / "out").meta["settings"]["clean"] == "alnum"


def test_the_default_says_what_it_fell_back_to(datagen, tmp_path):
    done = datagen("--out", "out")
    assert done.returncode == 0, done.stderr
    note = done.stdout.splitlines()[0]
    assert note.startswith("note: tinyshakespeare could not be fetched (cannot write to ")
    assert "; shakespeare could not be fetched (cannot write to " in note and ": pydoc " in note
    assert TokenDataset.load(tmp_path / "out").meta["corpus"] == "pydoc"


MISTAKES = {
    "no such file": (["--input", "tales.txt"], "tales.txt; did you mean tale.txt?"),
    "a folder": (["--input", "."], "byte 0xe9 at offset 3"),
    "an empty folder": (["--input", "nothing"], "nothing"),
    "no match": (["--input", "*.tex"], "'*.tex'"),
    "not UTF-8": (["--input", "latin.txt"], "byte 0xe9 at offset 3"),
    "encoding": (["--input", "tale.txt", "--encoding", "latni-1"], "'latni-1'; did you mean l"),
    "encoding of a dataset": (["--encoding", "utf-16"], "--encoding"),
    "tokenizer": (["--input", "tale.txt", "--tokenizer", "chars"], "'chars'; did you mean char"),
    "gpt2": (["--input", "tale.txt", "--tokenizer", "gpt2"], "--tokenizer-files"),
    "gpt2's files": (["--input", "tale.txt", "--tokenizer", "gpt2", "--tokenizer-files", "."], "vocab.bpe"),
    "one document": (["--input", "tale.txt", "--split", "document"], "--separator"),
    "empty": (["--input", "empty.txt"], "empty.txt"),
    "short": (["--input", "short.txt"], " 128 needs 129"),
    "context": (["--input", "tale.txt", "--context", "5000"], " 5000 needs 5,001"),
    "fraction": (["--input", "tale.txt", "--val-fraction", "1"], "--val-fraction"),
    "vocabulary": (["--input", "tale.txt", "--vocab-size", "99"], "--vocab-size"),
    "foreign folder": (["--input", "tale.txt", "--out", "."], "another --out"),
    "no network": (["--dataset", "hamlet"], "cannot write to "),
    "flag": (["--inptu", "tale.txt"], "unknown argument --inptu; did you mean --input?"),
    "dataset": (["--dataset", "hamlte"], "invalid choice: 'hamlte'"),
    "both": (["--input", "tale.txt", "--dataset", "hamlet"], "not allowed with argument"),
    "no folder to inspect": (["--inspect", "nothing"], "meta.json"),
    "empty name": (["--input", ""], "--input"),
    "twice standard input": (["--input", "-", "-"], "standard input"),
    "no end": (["--input", "/dev/zero"], "/dev/zero" if os.name != "nt" else ""),
    "UTF-16": (["--input", "windows.txt"], "--encoding utf-16"),
    "no tokenizer for a text": (["--text", "two words"], "--inspect DIR"),
    "number": (["--context", "many"], "'many'"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_gets_one_line_and_status_2(datagen, tmp_path, kind):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "windows.txt").write_bytes("Größe".encode("utf-16"))
    (tmp_path / "nothing").mkdir()
    (tmp_path / "short.txt").write_text("ten chars." * 5)
    words, message = MISTAKES[kind]
    out = [] if "--out" in words else ["--out", "out"]
    done = datagen(*words, *out)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("datagen.py: error: ") and message in line
    assert not (tmp_path / "out").exists()


def test_a_folder_is_shown(datagen):
    assert datagen("--input", "tale.txt", "--out", "out", "--tokenizer", "bpe", "--vocab-size", "300").returncode == 0
    done = datagen("--inspect", "out")
    assert done.returncode == 0 and done.stderr == "" and "\x1b" not in done.stdout
    assert f"train       {int(0.9 * len(TEXT)):,}" in done.stdout and "Split, start of the training part" in done.stdout
    done = datagen("--inspect", "out", "--text", " the quick", "[31m\x1b[31m|")
    assert "  ·the|·quick\n" in done.stdout and "Split, text 2" in done.stdout and "\x1b" not in done.stdout


def test_other_data_is_kept_unless_forced(datagen, tmp_path):
    assert datagen("--input", "tale.txt", "--out", "out").returncode == 0
    assert datagen("--input", "tale.txt", "--out", "out").returncode == 0  # the same again
    done = datagen("--input", "tale.txt", "--out", "out", "--tokenizer", "word")
    assert done.returncode == 2 and "differs in tokenizer, min_freq)" in done.stderr
    assert TokenDataset.load(tmp_path / "out").tokenizer.kind == "char"
    assert datagen("--input", "tale.txt", "--out", "out", "--tokenizer", "word", "--force").returncode == 0
    assert TokenDataset.load(tmp_path / "out").tokenizer.kind == "word"


def test_help_gives_reasons_and_defaults(datagen):
    done = datagen("--help")
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    for flag in ("--input", "--dataset", "--tokenizer", "--vocab-size", "--min-freq", "--lowercase", "--clean",
                 "--separator", "--encoding", "--split", "--tokenizer-files", "--workers"):  # fmt: skip
        assert flag in text
    assert "(default: char)" in text and "(default: 0.1)" in text and "(default: 128)" in text
    assert "None" not in text and "SUPPRESS" not in text


def test_the_default_folder_has_the_name_of_its_text(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT))
    import datagen as script
    from numpygpt.data import DEFAULT_FOLDER, Corpus, read_corpus

    (tmp_path / "my tale.txt").write_text(TEXT)
    corpus = read_corpus([tmp_path / "my tale.txt"])
    assert script.default_folder(script.parse(["--input", "x"]), corpus) == ROOT / "data" / "my_tale_char"
    for text, name in {"tinyshakespeare": "shakespeare", "shakespeare": "plays", "pydoc": "pydoc"}.items():
        found = Corpus.of(text, TEXT, "a test")
        assert script.default_folder(script.parse([]), found) == DEFAULT_FOLDER.parent / f"{name}_char"
        assert script.default_folder(script.parse(["--tokenizer", "bpe"]), found).name == f"{name}_bpe"
        if name != "shakespeare":
            assert script.default_folder(script.parse(["--dataset", text]), found).name == f"{name}_char"
    given = {"gpt2": "gpt2", "data/code_bpe/tokenizer.json": "code_bpe", "a b/my tok.json": "my_tok"}
    for tokenizer, name in given.items():
        config = script.parse(["--input", "x", "--tokenizer", tokenizer])
        assert script.default_folder(config, corpus) == ROOT / "data" / f"my_tale_{name}"


def test_standard_input_and_a_separator(datagen, tmp_path):
    done = datagen("--input", "-", "--separator=---", "--split", "document", "--out", "out",
                   text="---\n".join([TEXT[:2000]] * 20))  # fmt: skip
    assert done.returncode == 0, done.stderr
    dataset = TokenDataset.load(tmp_path / "out")
    assert dataset.tokenizer.decode(dataset.val) == (TEXT[:2000] + "<|endoftext|>") * 2
    assert "corpus      stdin: stdin" in done.stdout and "2 of 20 documents" in done.stdout
    assert "text        20 documents, 40,000 characters" in done.stdout


def test_standard_input_has_an_encoding(tmp_path):
    words = [sys.executable, str(ROOT / "datagen.py"), "--input", "-", "--encoding", "cp1252", "--out", "out"]
    text = "Größe für €5\n" * 300
    done = subprocess.run(words, cwd=tmp_path, input=text.encode("cp1252"), capture_output=True)
    assert done.returncode == 0, done.stderr
    dataset = TokenDataset.load(tmp_path / "out")
    assert dataset.tokenizer.decode(dataset.train) + dataset.tokenizer.decode(dataset.val) == text


def test_folders_patterns_and_encodings(datagen, tmp_path):
    (tmp_path / "books" / "old").mkdir(parents=True)
    (tmp_path / "books" / "one.txt").write_text(TEXT, encoding="utf-16")
    (tmp_path / "books" / "old" / "two.txt").write_text(TEXT[::-1], encoding="utf-16")
    for given, name in (("books", "books"), ("books/**/*.txt", "two_and_1_more")):
        done = datagen("--input", given, "--encoding", "utf-16", "--out", f"out/{name}")
        assert done.returncode == 0, done.stderr
        dataset = TokenDataset.load(tmp_path / "out" / name)
        text = dataset.tokenizer.decode(dataset.train) + dataset.tokenizer.decode(dataset.val)
        assert sorted(text.split("<|endoftext|>")) == sorted([TEXT, TEXT[::-1], ""])
        assert f"corpus      {name}: {given} (2 files)" in done.stdout


def test_the_tokenizer_of_another_folder(datagen, tmp_path):
    assert datagen("--input", "tale.txt", "--tokenizer", "bpe", "--vocab-size", "300", "--out", "a").returncode == 0
    done = datagen("--input", "tale.txt", "--tokenizer", "a/tokenizer.json", "--out", "b")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "train.bin").read_bytes() == (tmp_path / "b" / "train.bin").read_bytes()
    done = datagen("--input", "tale.txt", "--tokenizer", "a/tokenizer.json", "--lowercase", "--out", "b")
    assert done.returncode == 2 and "--lowercase" in done.stderr and "a/tokenizer.json" in done.stderr


@pytest.fixture(scope="module")
def words_of_tale(tmp_path_factory):
    """A tokenizer that has been trained: who is not to be stopped in training it need not wait for that."""
    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    WordTokenizer().train(TEXT).save(path)
    return path


@pytest.mark.skipif(os.name == "nt", reason="signals are another thing there")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_is_stopped_leaves_nothing(words_of_tale, tmp_path, number, status, workers):
    (tmp_path / "tale.txt").write_text(TEXT * 1500)  # 20 MB: a while to encode
    words = ["--input", "tale.txt", "--out", "out", "--tokenizer", str(words_of_tale), "--workers", str(workers)]
    words = [sys.executable, str(ROOT / "datagen.py"), *words]
    # Whoever was started by nohup ignores SIGINT, and so would what it starts.
    heed = None if os.name == "nt" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=heed)
    while not (made := list(tmp_path.glob(".out.*.new/train.bin"))) and process.poll() is None:
        time.sleep(0.01)
    assert made, process.stderr.read()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == status
    assert [path.name for path in tmp_path.iterdir()] == ["tale.txt"]


PEAK = """
import datagen
datagen.main(["--input", "tale.txt", "--out", "out", "--force", "--workers", "1"])
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc here")
def test_memory_does_not_grow_with_the_text(tmp_path):
    peaks, times = [], (300, 3000)  # 4 and 40 MB
    for count in times:
        (tmp_path / "tale.txt").write_text(TEXT * count)
        done = subprocess.run([sys.executable, "-c", PEAK], cwd=tmp_path, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
        assert done.returncode == 0, done.stderr
        peaks.append(1024 * int(done.stdout.split()[-1]))
    assert peaks[1] - peaks[0] < len(TEXT) * (times[1] - times[0]) / 3  # a third of the text that is added


def test_a_separator_with_a_backslash_is_named_with_what_to_type(datagen, tmp_path):
    done = datagen("--input", "tale.txt", "--separator", r"\n\n", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("note: ") and r"--separator $'\n\n'" in line for line in done.stdout.splitlines())
    done = datagen("--input", "tale.txt", "--separator", "\n\n", "--out", "other")
    assert "$'" not in done.stdout


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_a_note_is_not_written_onto_a_bar(tmp_path):
    """On a terminal, where bars and notes go to the same screen: every note has a line of its own."""
    import fcntl
    import struct
    import termios

    rng = random.Random(0)
    for number in range(30):
        text = "".join(rng.choices("abcdefg \n", k=200))
        (tmp_path / f"{number:02}.txt").write_text(text + ("é\x85" if number % 10 == 9 else "") + "<|endoftext|>")
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown = []
    reader = Thread(target=lambda: shown.extend(iter(partial(read, ours), b"")))
    reader.start()
    words = [sys.executable, ROOT / "datagen.py", "--input", tmp_path, "--split", "document", "--context", "8", "--out",
             tmp_path / "data"]
    with os.fdopen(its, "w") as terminal:
        done = subprocess.run(words, stdout=terminal, stderr=terminal, env=environment({"TERM": "xterm"}))
    reader.join(60)
    os.close(ours)
    assert done.returncode == 0
    screen = b"".join(shown).decode()
    assert "%|" in screen  # there was a bar
    lines = [drawn(line) for line in screen.split("\n")]
    notes = [line for line in lines if "note: " in line]
    assert len(notes) == 3 and all(note.startswith("note: ") and "|" not in note.split("<|")[-1].split("|>")[-1]
                                   for note in notes), notes


def read(terminal):
    """What was written to it, or nothing once nobody can write to it any more."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def drawn(line):
    """What a terminal shows of a line in which carriage returns went back to its start."""
    cells = []
    for part in line.rstrip("\r").split("\r"):
        cells[: len(part)] = part
    return "".join(cells).rstrip()


def test_input_may_be_given_more_than_once(datagen, tmp_path):
    (tmp_path / "other.txt").write_text("another text, another line\n" * 30)
    done = datagen("--input", "tale.txt", "--input", "other.txt", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert TokenDataset.load(tmp_path / "out").meta["documents"] == 2


def test_a_text_in_place_of_a_data_folder_is_made_into_one_beside_it(datagen, tmp_path):
    refused = datagen("--inspect", "tale.txt")
    assert refused.returncode == 2
    words = shlex.split(refused.stderr[refused.stderr.index("datagen.py --input"):])[1:]
    assert words[:2] == ["--input", "tale.txt"] and words[2] == "--out" and words[3] != "tale.txt"
