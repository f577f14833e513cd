"""A tiny model of Llama's shape, and its folder as a pretrained model."""

import json

import numpy as np

from numpygpt import GPT
from numpygpt.tokenizer import BPETokenizer

SHAPE = {"vocab_size": 300, "max_len": 64, "d_model": 16, "d_ff": 24, "n_heads": 4, "n_kv_heads": 2, "n_layers": 3,
         "norm": "rmsnorm", "ffn": "gated", "activation": "silu", "positions": "rope", "bias": False}  # fmt: skip
SPECIAL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
TEXT = "Why is the sky blue? The sky is blue because the air scatters the blue light. 你好 🙂\n"
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
          "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def llama(seed=5, **changes):
    """The model, with weights of order one."""
    model = GPT(**(SHAPE | changes))
    rng = np.random.default_rng(seed)
    for param in model.params().values():
        param += 0.3 * rng.standard_normal(param.shape).astype(param.dtype)
    return model.eval()


def tokenizer_of(vocab_size=300):
    return BPETokenizer().train(TEXT * 20, vocab_size, special_tokens=SPECIAL)


def save_llama(folder, template=CHATML, **changes):
    """(model, tokenizer) in a folder. The token that ends a text is <|im_end|>."""
    tokenizer = tokenizer_of()
    model = llama(vocab_size=tokenizer.vocab_size, **changes)
    model.save_pretrained(folder, tokenizer)
    for name, more in (("tokenizer_config.json", {"chat_template": template} if template else {}),
                       ("config.json", {"eos_token_id": tokenizer.special_tokens["<|im_end|>"]})):
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(values | more), encoding="utf-8")
    return model, tokenizer
