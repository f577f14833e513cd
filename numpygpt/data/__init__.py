"""Texts, data folders and batches: corpus -> `prepare` -> data folder -> `TokenDataset` -> `DataLoader`."""

from numpygpt.data.corpora import Corpus, load_corpus
from numpygpt.data.dataloader import DataLoader, eval_batches
from numpygpt.data.dataset import TokenDataset
from numpygpt.data.inputs import read_corpus
from numpygpt.data.prepare import Recipe, prepare
from numpygpt.data.recipes import DEFAULT_FOLDER
from numpygpt.data.statistics import statistics

__all__ = [
    "DEFAULT_FOLDER",
    "Corpus",
    "DataLoader",
    "Recipe",
    "TokenDataset",
    "eval_batches",
    "load_corpus",
    "prepare",
    "read_corpus",
    "statistics",
]
