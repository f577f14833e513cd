"""Text to token ids and back: by character, by word, or by byte pair encoding. Start with char.py."""

from numpygpt.tokenizer.base import StreamDecoder, Tokenizer, load_tokenizer
from numpygpt.tokenizer.bpe import BPETokenizer
from numpygpt.tokenizer.char import CharTokenizer
from numpygpt.tokenizer.word import WordTokenizer

__all__ = ["BPETokenizer", "CharTokenizer", "StreamDecoder", "Tokenizer", "WordTokenizer", "load_tokenizer"]
