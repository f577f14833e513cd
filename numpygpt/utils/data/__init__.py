"""Texts, data folders and batches: corpus -> `prepare` -> data folder -> `TokenDataset` -> `DataLoader`."""

from numpygpt.utils.data.corpora import Corpus, load_corpus, read_corpus

__all__ = ["Corpus", "load_corpus", "read_corpus"]
