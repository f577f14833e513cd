"""Tokenizers as GPT-2, SmolLM, Llama and Qwen2 have them give the ids of Hugging Face's `tokenizers`, for any text.

NUMPYGPT_RANDOM_TEXTS says how many random texts each of them is compared on.
"""

import json
import os
import random
import sys
import unicodedata

import pytest
from test_parity_tokenizers import TEXT

from numpygpt.tokenizer import BPETokenizer, SentencePieceTokenizer, load_tokenizer, stream
from numpygpt.tokenizer.normal import nfc
from numpygpt.tokenizer.pretokenize import PATTERNS, pretokenize
from numpygpt.tokenizer.unicode import read_table
from numpygpt.tokenizer.unicode_table import LETTERS, NUMBERS

tokenizers = pytest.importorskip("tokenizers")

from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

RANDOM = int(os.environ.get("NUMPYGPT_RANDOM_TEXTS", "200"))
PARTS = [*" \n\r\t'’.,09azAZſ½²٣é▁日\u0301\u0323\u00a0\u200d👍", "  ", "\r\n", "\n\n", "'s", "'Re", "'LL", " the"]
LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)


def random_texts(n, seed, names=()):
    """Random texts: any characters of Unicode, and what the patterns treat in a way of its own."""
    rng = random.Random(seed)
    parts = [*PARTS, *names]

    def character():
        while 0xD800 <= (code := rng.randrange(rng.choice([0x80, 0x800, 0x10000, 0x20000, 0x110000]))) < 0xE000:
            pass
        return chr(code)

    for _ in range(n):
        start = rng.randrange(len(TEXT))
        atoms = [*rng.choices(parts, k=8), *(character() for _ in range(5)), TEXT[start : start + rng.randrange(20)]]
        yield "".join(rng.choices(atoms, k=rng.randrange(30)))


def splitter(name):
    if name == "gpt2":
        return LEVEL
    if name == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), LEVEL])
    split = pre_tokenizers.Split(tokenizers.Regex(PATTERNS[name]), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level(name):
    """A small tokenizer of theirs with everything that the model of this name has."""
    theirs = tokenizers.Tokenizer(models.BPE(ignore_merges=name == "llama3"))
    theirs.pre_tokenizer, theirs.decoder = splitter(name), decoders.ByteLevel()
    if name == "qwen2":
        theirs.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(vocab_size=1000, special_tokens=["<|begin|>", "<|end|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
    theirs.train_from_iterator([TEXT], trainer)
    theirs.post_processor = processors.ByteLevel(trim_offsets=False)
    if name == "llama3":
        theirs.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template("<|begin|>")])
        fields = json.loads(theirs.to_str())
        del fields["model"]["merges"][80:]  # the tokens that these make are found as whole pieces only
        theirs = tokenizers.Tokenizer.from_str(json.dumps(fields))
    theirs.add_tokens([tokenizers.AddedToken("é\u0323x", normalized=True), tokenizers.AddedToken("<tool>")])
    return theirs


def template(name, id=0):
    return processors.TemplateProcessing(single=f"{name} $A", pair=f"{name} $A {name} $B", special_tokens=[(name, id)])


def sentencepiece(normalizer, metaspace, across=False):
    """The same with a vocabulary as Llama 2 has it; `across`: merges go across spaces."""
    theirs = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer:
        theirs.normalizer = normalizer
    if metaspace or not across:
        theirs.pre_tokenizer = metaspace or pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    trainer = trainers.BpeTrainer(vocab_size=900, limit_alphabet=60, show_progress=False, max_token_length=12,
                                  special_tokens=["<unk>", "<s>", "</s>", *BYTES])  # fmt: skip
    theirs.train_from_iterator([TEXT[start : start + 300] for start in range(0, len(TEXT), 300)], trainer)
    fields = json.loads(theirs.to_str())
    fields["added_tokens"] = fields["added_tokens"][:3]  # the bytes are ordinary tokens
    if not metaspace:
        fields["pre_tokenizer"] = None
    theirs = tokenizers.Tokenizer.from_str(json.dumps(fields))
    theirs.post_processor = template("<s>", 1)
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if normalizer is PREFIXED or (metaspace and metaspace.prepend_scheme != "never"):
        parts.append(decoders.Strip(" ", 1, 0))
    theirs.decoder = decoders.Sequence(parts)
    theirs.add_tokens([tokenizers.AddedToken("<tool>", normalized=False), tokenizers.AddedToken("wqx", normalized=True),
                       tokenizers.AddedToken("\n  ", normalized=False)])  # fmt: skip
    return theirs


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPACES = normalizers.Replace(" ", "▁")
PREFIXED = normalizers.Sequence([normalizers.Prepend("▁"), SPACES])


def metaspace(scheme, split):
    return pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)


KINDS = {
    **{name: lambda name=name: byte_level(name) for name in PATTERNS},
    "llama2": lambda: sentencepiece(PREFIXED, None),
    "llama2 across": lambda: sentencepiece(PREFIXED, None, across=True),
    "no prefix": lambda: sentencepiece(SPACES, None),
    "first": lambda: sentencepiece(None, metaspace("first", split=False)),
    "always": lambda: sentencepiece(None, metaspace("always", split=True)),
    "never": lambda: sentencepiece(None, metaspace("never", split=True)),
}


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """Theirs, and ours from the file of theirs."""
    theirs = KINDS[request.param]()
    path = tmp_path_factory.mktemp("theirs") / "tokenizer.json"
    theirs.save(str(path))
    return theirs, load_tokenizer(path)


def texts(theirs, hard=()):
    names = [token.content for token in theirs.get_added_tokens_decoder().values()]
    return [TEXT[:9000], *hard, *random_texts(RANDOM, 7, names)]


def joined(arrays):
    return [id for ids in arrays for id in ids.tolist()]


def test_ids_and_text(pair, tmp_path):
    theirs, tok = pair
    assert type(tok) is (SentencePieceTokenizer if theirs.decoder.__class__ is decoders.Sequence else BPETokenizer)
    assert tok.vocab_size == theirs.get_vocab_size()
    for text in texts(theirs):
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert tok.encode(text, allowed_special="all") == ids, ascii(text)
        assert tok.decode(ids) == theirs.decode(ids, skip_special_tokens=False), ascii(text)
        assert theirs.encode(text).ids == [tok.bos_id] * tok.add_bos + ids


def test_what_is_written_is_the_same_tokenizer(pair, tmp_path):
    theirs, tok = pair
    tok.save_huggingface(tmp_path / "tokenizer.json")
    tok.save(tmp_path / "ours.json")
    again = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert again.get_vocab() == theirs.get_vocab()
    assert load_tokenizer(tmp_path / "ours.json").to_dict() == load_tokenizer(tmp_path).to_dict() == tok.to_dict()
    for text in texts(theirs)[: 1 + RANDOM // 2]:
        ids = theirs.encode(text).ids
        assert again.encode(text).ids == ids, ascii(text)
        assert again.decode(ids, skip_special_tokens=False) == theirs.decode(ids, skip_special_tokens=False)


def test_streams(pair, monkeypatch):
    """A text in pieces has the ids of the text, and one id at a time decodes to the text."""
    theirs, tok = pair
    monkeypatch.setattr(stream, "CHUNK_CHARACTERS", 16)
    for text in [TEXT[:2000], *texts(theirs)[1 : 1 + RANDOM // 2]]:
        for name in tok.special_tokens:
            text = text.replace(name, "")  # in a stream they are plain text
        ids = theirs.encode(text, add_special_tokens=False).ids
        if tok.breaks is not None:
            assert joined(tok.encode_stream([text[at : at + 7] for at in range(0, len(text), 7)])) == ids, ascii(text)
        decoder = tok.stream()
        assert "".join([decoder.push(id) for id in ids]) + decoder.flush() == tok.decode(ids)


def test_it_loads_in_transformers(pair, tmp_path):
    transformers = pytest.importorskip("transformers")
    _, tok = pair
    tok.save_huggingface(tmp_path / "tokenizer.json")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": list(tok.special_tokens)[-1]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    first = [tok.bos_id] * tok.add_bos
    for text in ("The cat's 12 日本語\n", "  two"):
        assert theirs(text)["input_ids"] == first + tok.encode(text)
    assert load_tokenizer(tmp_path).eos_id == theirs.eos_token_id


@pytest.mark.parametrize("name", PATTERNS)
def test_cuts_at_the_ends_of_all_classes(name):
    ends = {code for table in (LETTERS, NUMBERS) for first, last in read_table(table) for code in (first, last)}
    around = sorted({code + step for code in ends for step in (-1, 0, 1)})
    text = "".join(f"a{chr(code)}1{chr(code)} '{chr(code)}\n" for code in around)
    pieces = [text[start:end] for _, (start, end) in splitter(name).pre_tokenize_str(text)]
    assert pieces == pretokenize(text, name)


def test_nfc_of_every_character():
    theirs = normalizers.NFC().normalize_str
    rng = random.Random(1)
    every = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    marks = [character for character in every if unicodedata.combining(character)]
    parts = [*every, *marks * 400, *"\u0301\u0323\u0334\u0345" * 40_000]
    pairs = [f"e\u0301{character}\u0301\u0323{character}\u0334" for character in every[::29] + marks]
    for text in [*pairs, *("".join(rng.choices(parts, k=7)) for _ in range(4000))]:
        assert nfc(text) == theirs(text), ascii(text)
