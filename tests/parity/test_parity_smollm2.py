"""SmolLM2-135M against transformers with the same weights, where its folder is in the cache.

`./sample.py --pretrained smollm2-135m-instruct` puts it there.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")
pytest.importorskip("gguf")

from numpygpt.models.pretrained import Chat, find, generation_stops, is_model_folder, load  # noqa: E402
from numpygpt.tokenizer import load_tokenizer  # noqa: E402
from numpygpt.utils.fetch import cache_folder  # noqa: E402

NAME = "smollm2-135m-instruct"
PROMPTS = ["Once upon a time", "The theory of relativity was published by", "def fibonacci(n):\n",
           "The capital of France is", "In 1969, the first", "Dear Sir or Madam,\n", "Water boils at",
           "To be, or not to be,", "My favourite recipe for bread:\n1."]  # fmt: skip
QUESTION = "What is the capital of France? Answer in one sentence."

pytestmark = pytest.mark.skipif(not is_model_folder(cache_folder() / "models" / NAME), reason="it is not in the cache")


@pytest.fixture(scope="module")
def parts():
    folder = find(NAME)
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    return folder, load(folder), load_tokenizer(folder), theirs.eval()


def test_the_answer_to_a_question(parts):
    folder, model, tokenizer, _ = parts
    prompt = Chat.of(folder).ids(tokenizer, QUESTION)
    (stop,) = generation_stops(folder, tokenizer)
    ids = model.generate([prompt], 30, temperature=0, stop=stop)[0]
    assert tokenizer.decode(ids[len(prompt) :]) == "The capital of France is Paris.<|im_end|>"


def test_greedy_texts_are_those_of_transformers(parts):
    """Each of our 100 tokens is the most likely one by transformers, after the same tokens: so its greedy text is ours.
    The logits differ by less than the gap between the best two."""
    folder, model, tokenizer, theirs = parts
    other = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompts = [tokenizer.encode(text) for text in PROMPTS]
    assert prompts == [other.encode(text).ids for text in PROMPTS]
    for prompt in [*prompts, Chat.of(folder).ids(tokenizer, QUESTION)]:
        ids = model.generate([prompt], 100, temperature=0)
        with torch.no_grad():
            logits = theirs(torch.tensor(ids)).logits[0].numpy()
        np.testing.assert_allclose(model(ids)[0][0], logits, rtol=0, atol=1e-3)
        np.testing.assert_array_equal(logits[len(prompt) - 1 : -1].argmax(axis=-1), ids[0, len(prompt) :])
