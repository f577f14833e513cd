"""The trained model that a picture shows, and the text that it reads."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from numpygpt.data import TokenDataset
from numpygpt.data.user_text import read_ids, read_prompt
from numpygpt.models import GPT
from numpygpt.plots.glyphs import drawable
from numpygpt.tokenizer import Tokenizer
from numpygpt.training.checkpoint import Checkpoint
from numpygpt.training.restore import Source, restore, run_config
from numpygpt.utils import cli
from numpygpt.utils.arguments import text
from numpygpt.utils.paths import display_path
from numpygpt.utils.progress import ProgressBars


@dataclass
class LoadedModel:
    model: GPT
    tokenizer: Tokenizer
    source: Source

    @property
    def checkpoint(self) -> Checkpoint | None:
        """None for a pretrained model."""
        return self.source.checkpoint

    @property
    def name(self) -> str:
        """The run and its step, or the pretrained model, for a title."""
        path = self.source.path.resolve()
        if self.checkpoint is None:
            return drawable(text(Path(self.source.name or path).name))
        run = path.parent.name if path.name in ("best.npz", "ckpt.npz") else f"{path.parent.name}/{path.name}"
        return drawable(f"{text(run)}, step {self.checkpoint.header['step']:,}")

    @property
    def line(self) -> str:
        """One line about it, for the terminal."""
        line = self.source.describe(self.tokenizer)  # that of a pretrained model has its sizes
        return f"{line}, {self.model.n_params():,} parameters" if self.checkpoint else line

    def place(self, name: str) -> Path:
        """Return the default path of a file: beside the checkpoint, or for a pretrained model in the current folder."""
        return self.checkpoint.path.parent / name if self.checkpoint else Path(name)

    def dataset(self) -> TokenDataset:
        """Open the data folder that the model was trained on. Raises FileNotFoundError, or ValueError if it has
        changed, or if the model is a pretrained one."""
        if self.checkpoint is None:
            raise ValueError(f"{self.name} is a pretrained model, and the text that it was trained on is not here")
        folder = Path(run_config(self.checkpoint).data)
        dataset = TokenDataset.load(folder)
        if dataset.tokenizer.to_dict() != self.checkpoint.header["tokenizer"]:
            raise ValueError(f"{display_path(folder)} no longer has the tokenizer that this model was trained with")
        return dataset


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?", type=cli.name,
                        help="run folder (its best checkpoint) or checkpoint file (default: the newest run in runs/)")
    parser.add_argument("--pretrained", metavar="NAME", type=cli.name,
                        help="a pretrained model instead of a run, by name or folder, as in ./sample.py")


def load_model(args: argparse.Namespace) -> LoadedModel:
    with ProgressBars() as bars:
        return LoadedModel(*restore(args.run, args.pretrained, progress=bars))


def add_prompt(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --prompt and --prompt-file, one of which must be given. `what` describes the text."""
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", metavar="TEXT", help=what)
    prompt.add_argument("--prompt-file", metavar="FILE", type=cli.name,
                        help="read the text from a file, or from standard input (-)")


def given_prompt(tokenizer: Tokenizer, args: argparse.Namespace) -> tuple[np.ndarray, list[str]]:
    """Return the ids of the prompt, (N,), and notes for the user."""
    given_as = "--prompt" if args.prompt_file is None else args.prompt_file
    text, ids, notes = read_prompt(tokenizer, args.prompt or "", args.prompt_file, given_as)
    return not_empty(np.array(ids if text else []), given_as), [f"note: {note}" for note in notes]


def given_ids(tokenizer: Tokenizer, name: str) -> tuple[np.ndarray, list[str]]:
    """Return the ids of a file's text, (N,), and notes for the user if they do not give it back."""
    given = read_ids(tokenizer, name)
    return not_empty(given.ids, name), [f"note: {note}" for note in given.notes]


def not_empty(ids: np.ndarray, given_as: str) -> np.ndarray:
    """Return the ids as int64. Raises ValueError if there are none; `given_as` is the flag or file they came from."""
    if not len(ids):
        raise ValueError(f"{given_as} is empty: give a text of at least one token")
    return ids.astype(np.int64)
