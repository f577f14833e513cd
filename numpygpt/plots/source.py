"""The trained model that a picture shows: from a run, with its name for the title and its folder for the file."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from numpygpt.data import TokenDataset
from numpygpt.data.user_text import known_text, read_ids, read_text
from numpygpt.models import GPT
from numpygpt.plots.glyphs import drawable
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.prompts import remarks
from numpygpt.training.checkpoint import Checkpoint
from numpygpt.training.restore import restore, run_config
from numpygpt.utils import cli
from numpygpt.utils.arguments import text
from numpygpt.utils.paths import display_path


@dataclass
class Source:
    model: GPT
    tokenizer: Tokenizer
    checkpoint: Checkpoint

    @property
    def name(self) -> str:
        """The run and its step, as a title has them."""
        path = self.checkpoint.path.resolve()
        run = path.parent.name if path.name in ("best.npz", "ckpt.npz") else f"{path.parent.name}/{path.name}"
        return drawable(f"{text(run)}, step {self.checkpoint.header['step']:,}")

    @property
    def line(self) -> str:
        """What the terminal says of it."""
        header = self.checkpoint.header
        loss = f", validation loss {header['last']['val_loss']:.3f}" if header["last"] else ""
        path = display_path(self.checkpoint.path)
        return f"{path}: step {header['step']:,}{loss}, {self.model.n_params():,} parameters"

    def out(self, what: str) -> Path:
        """Where the picture goes unless the user says otherwise: beside the checkpoint."""
        return self.checkpoint.path.parent / f"{what}.png"

    def dataset(self) -> TokenDataset:
        """The data folder that the model was trained on. FileNotFoundError, or ValueError where it now has others."""
        folder = Path(run_config(self.checkpoint).data)
        dataset = TokenDataset.load(folder)
        if dataset.tokenizer.to_dict() != self.checkpoint.header["tokenizer"]:
            raise ValueError(f"{display_path(folder)} no longer has the tokenizer that this model was trained with")
        return dataset


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", nargs="?", type=cli.name,
        help="run folder (its best checkpoint is taken), or a checkpoint file (default: the newest under runs/)",
    )  # fmt: skip


def open_source(run: str | None) -> Source:
    """Raises FileNotFoundError or ValueError that names the file and what is wrong with it."""
    return Source(*restore(run))


def add_prompt(parser: argparse.ArgumentParser, what: str) -> None:
    """--prompt or --prompt-file, of which one must be given; `what` says what the text is for."""
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", metavar="TEXT", help=what)
    prompt.add_argument("--prompt-file", metavar="FILE", type=cli.name,
                        help="read the text from a file, - for standard input")


def given_prompt(tokenizer: Tokenizer, args: argparse.Namespace) -> tuple[np.ndarray, list[str]]:
    """The ids of the prompt, (N,), and notes for the user if they do not give back its text."""
    given_as = "--prompt" if args.prompt_file is None else args.prompt_file
    text = args.prompt if args.prompt_file is None else read_text(given_as)
    known, notes = known_text(tokenizer, text, given_as)
    ids = filled(tokenizer.encode_array(known, "all"), given_as)
    notes += remarks("--prompt", args.prompt or "", tokenizer)
    if (read := tokenizer.decode(ids)) != known:
        notes.append(f"to this model the text reads {read[:200]!r}")
    return ids, [f"note: {note}" for note in notes]


def given_ids(tokenizer: Tokenizer, name: str) -> tuple[np.ndarray, list[str]]:
    """The ids of a file's text, (N,), and notes for the user if they do not give it back."""
    given = read_ids(tokenizer, name)
    return filled(given.ids, name), [f"note: {note}" for note in given.notes]


def filled(ids: np.ndarray, given_as: str) -> np.ndarray:
    """The ids as they index. ValueError where there are none; `given_as` names the flag or file that they came by."""
    if not len(ids):
        raise ValueError(f"{given_as} is empty: give a text of at least one token")
    return ids.astype(np.int64)
