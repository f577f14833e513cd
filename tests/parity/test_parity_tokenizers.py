"""Ids are those of `tiktoken` and Hugging Face's `tokenizers`, in both directions, for any text."""

import random
from pathlib import Path

import pytest

from numpygpt.tokenizer import BPETokenizer, load_tokenizer, stream

END = "<|endoftext|>"
TEXT = " ".join(
    "The cat's whiskers don't move; they're 12 (or 13) long — naïve façades, 日本語の文章。 emoji 👍🏽👨‍👩‍👧 שלום עולם "
    f"x{k * k}\r\n\tdef f_{k % 7}(a, b):\n        return a ** {k} # €{k}\n\n" for k in range(300)
)
# GPT-2's pattern in the syntax of tiktoken's engine.
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def random_texts(n, seed):
    """Random texts of characters from all planes, ASCII and the text above, with repetitions and special tokens."""
    rng = random.Random(seed)
    common = [*" \n\t'.,019azAZ\u200d\u0301\x00\x85\xa0é👍", "'s", " the", "  ", "\r\n", END]

    def character():
        while 0xD800 <= (code := rng.randrange(rng.choice([0x80, 0x800, 0x10000, 0x110000]))) < 0xE000:
            pass
        return chr(code)

    for _ in range(n):
        start = rng.randrange(len(TEXT))
        atoms = [*rng.choices(common, k=8), *(character() for _ in range(4)), TEXT[start : start + rng.randrange(20)]]
        yield "".join(rng.choices(atoms, k=rng.randrange(40)))


@pytest.fixture(scope="module")
def trained():
    return BPETokenizer().train(TEXT, vocab_size=900, special_tokens=(END,))


@pytest.fixture(scope="module")
def gpt2():
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "gpt2"
    if not folder.is_dir():
        pytest.skip("no GPT-2 files")
    return BPETokenizer.from_gpt2(folder / "vocab.bpe", folder / "encoder.json")


def tiktoken_of(tok):
    tiktoken = pytest.importorskip("tiktoken")
    ordinary = {token: id for id, token in enumerate(tok._tokens) if id not in tok.special_tokens.values()}
    return tiktoken.Encoding("ours", pat_str=PATTERN, mergeable_ranks=ordinary, special_tokens=tok.special_tokens)


@pytest.mark.parametrize("which", ["trained", "gpt2"])
def test_ids_equal_tiktokens(which, request):
    tok = request.getfixturevalue(which)
    theirs = tiktoken_of(tok)
    for text in [TEXT, *random_texts(1500, seed=1)]:
        assert tok.encode(text) == theirs.encode_ordinary(text)
        assert tok.encode(text, allowed_special="all") == theirs.encode(text, allowed_special="all")


def test_random_ids_decode_as_in_tiktoken(trained):
    theirs = tiktoken_of(trained)
    rng = random.Random(2)
    for _ in range(1000):
        ids = rng.choices(range(trained.vocab_size), k=rng.randrange(12))
        assert trained.decode(ids) == theirs.decode(ids)


@pytest.mark.parametrize("which", ["trained", "gpt2"])
def test_what_is_written_here_loads_in_tokenizers(which, request, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    tok = request.getfixturevalue(which)
    tok.save_huggingface(tmp_path / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in [TEXT, *random_texts(500, seed=3)]:
        ids = tok.encode(text, allowed_special="all")  # tiktoken recognises special tokens only if allowed
        assert ids == theirs.encode(text).ids
        assert theirs.decode(ids, skip_special_tokens=False) == text
        assert tok.encode(text.replace(END, "")) == theirs.encode(text.replace(END, "")).ids


@pytest.mark.parametrize("special", [[], [END, "[MASK]"]])
@pytest.mark.parametrize("min_frequency", [1, 3])
def test_what_tokenizers_trains_loads_here(special, min_frequency, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=1200, min_frequency=min_frequency, special_tokens=special, initial_alphabet=alphabet,
        show_progress=False,
    )  # fmt: skip
    theirs.train_from_iterator([TEXT], trainer)
    theirs.save(str(tmp_path / "theirs.json"))
    tok = load_tokenizer(tmp_path / "theirs.json")
    assert tok.vocab_size == theirs.get_vocab_size() and list(tok.special_tokens) == special
    for text in [TEXT, *random_texts(500, seed=4)]:
        ids = tok.encode(text, allowed_special="all")
        assert ids == theirs.encode(text).ids
        assert tok.decode(ids) == text
    tok.save_huggingface(tmp_path / "again.json")
    assert tokenizers.Tokenizer.from_file(str(tmp_path / "again.json")).get_vocab() == theirs.get_vocab()


def test_it_loads_in_transformers(trained, tmp_path):
    transformers = pytest.importorskip("transformers")
    trained.save_huggingface(tmp_path / "tokenizer.json")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    assert theirs("The cat's 日本語")["input_ids"] == trained.encode("The cat's 日本語")


def theirs_with(tokenizers, added, path):
    """Save a Hugging Face tokenizer with these added tokens and a post-processor as `transformers` writes it."""
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=900, special_tokens=[END], initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    theirs.train_from_iterator([TEXT], trainer)
    theirs.add_tokens([tokenizers.AddedToken(text, normalized=normalized) for text, normalized in added])
    theirs.post_processor = tokenizers.processors.TemplateProcessing(single="$A:0", pair="$A:0 $B:1", special_tokens=[])
    theirs.save(str(path))
    return theirs


SPACES = [(" " * n, True) for n in range(31, 1, -1)] + [("\t" * n, True) for n in range(9, 1, -1)]


@pytest.mark.parametrize("added", [
    SPACES,
    [(" " * 4, True), (" " * 2, False), ("\n  ", True), ("the ", False), ("e c", True), ("he", True), ("日本", False)],
    [("a", True), ("ab", False), ("abc", True), ("b", True), (" a", True), ("ßé", True), (".*", True)],
])  # fmt: skip
def test_added_tokens_give_the_same_ids(added, tmp_path, monkeypatch):
    tokenizers = pytest.importorskip("tokenizers")
    theirs = theirs_with(tokenizers, added, tmp_path / "tokenizer.json")
    tok = load_tokenizer(tmp_path / "tokenizer.json")
    assert tok.vocab_size == theirs.get_vocab_size() and list(tok.special_tokens) == [END]
    monkeypatch.setattr(stream, "CHUNK_CHARACTERS", 64)
    rng = random.Random(5)
    atoms = [*(text for text, _ in added), " ", "\t", "\n", "abc", "the cat's", "日", "é", "x = 1\n" + " " * 37]
    texts = ["".join(rng.choices(atoms, k=rng.randrange(60))) for _ in range(300)]
    for text in [TEXT, *texts, *random_texts(500, seed=6)]:
        ids = theirs.encode(text).ids
        assert tok.encode(text, allowed_special="all") == ids
        assert tok.decode(ids) == text
        plain = text.replace(END, "")
        assert [id for part in tok.encode_stream([plain]) for id in part.tolist()] == theirs.encode(plain).ids
    tok.save_huggingface(tmp_path / "again.json")
    again = tokenizers.Tokenizer.from_file(str(tmp_path / "again.json"))
    assert [again.encode(text).ids for text in texts] == [theirs.encode(text).ids for text in texts]


def test_special_tokens_in_plain_text_are_the_one_difference(trained, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    trained.save_huggingface(tmp_path / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = f"one{END}two"
    assert theirs.encode(text).ids == trained.encode(text, allowed_special="all") != trained.encode(text)
    theirs.encode_special_tokens = True  # read special tokens as plain text
    assert theirs.encode(text).ids == trained.encode(text)
