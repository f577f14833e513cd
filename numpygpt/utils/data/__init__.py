"""Texts, data folders and batches: corpus -> `prepare` -> data folder -> `TokenDataset` -> `DataLoader`."""

from numpygpt.utils.data.corpora import Corpus, load_corpus
from numpygpt.utils.data.dataloader import DataLoader, eval_batches
from numpygpt.utils.data.dataset import TokenDataset
from numpygpt.utils.data.inputs import read_corpus
from numpygpt.utils.data.prepare import prepare
from numpygpt.utils.data.progress import ProgressBars
from numpygpt.utils.data.recipes import DEFAULT_FOLDER
from numpygpt.utils.data.summary import summary

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
