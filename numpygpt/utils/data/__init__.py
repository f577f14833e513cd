"""Texts, data folders and batches: corpus -> `prepare` -> data folder -> `TokenDataset` -> `DataLoader`."""

from numpygpt.utils.data.corpora import Corpus, load_corpus, read_corpus
from numpygpt.utils.data.dataloader import DataLoader, eval_batches

__all__ = ["Corpus", "DataLoader", "eval_batches", "load_corpus", "read_corpus"]
