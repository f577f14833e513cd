"""Text to token ids and back: by character, by word, or by byte pair encoding. Start with char.py."""

from numpygpt.tokenizer.base import Tokenizer, load_tokenizer
from numpygpt.tokenizer.bpe import BPETokenizer
from numpygpt.tokenizer.char import CharTokenizer
from numpygpt.tokenizer.decoding import StreamDecoder
from numpygpt.tokenizer.sentencepiece import SentencePieceTokenizer
from numpygpt.tokenizer.stream import Special
from numpygpt.tokenizer.word import WordTokenizer

__all__ = [
    "BPETokenizer",
    "CharTokenizer",
    "SentencePieceTokenizer",
    "Special",
    "StreamDecoder",
    "Tokenizer",
    "WordTokenizer",
    "load_tokenizer",
]
