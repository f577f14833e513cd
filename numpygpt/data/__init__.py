"""Texts, data folders and batches: corpus -> `prepare` -> data folder -> `TokenDataset` -> `DataLoader`."""

from numpygpt.data.corpora import Corpus, load_corpus
from numpygpt.data.dataloader import DataLoader, eval_batches
from numpygpt.data.dataset import TokenDataset
from numpygpt.data.inputs import read_corpus
from numpygpt.data.prepare import prepare
from numpygpt.data.progress import ProgressBars
from numpygpt.data.recipes import DEFAULT_FOLDER
from numpygpt.data.summary import summary

__all__ = [
    "DEFAULT_FOLDER",
    "Corpus",
    "DataLoader",
    "ProgressBars",
    "TokenDataset",
    "eval_batches",
    "load_corpus",
    "prepare",
    "read_corpus",
    "summary",
]
