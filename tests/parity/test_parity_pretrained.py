"""Models of transformers in float64, read and written: logits and every gradient are equal."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("safetensors")
pytest.importorskip("ml_dtypes")

from numpygpt.models.pretrained import Chat, families, find, load  # noqa: E402
from numpygpt.nn.modules.rotary import frequencies  # noqa: E402
from numpygpt.tokenizer import BPETokenizer  # noqa: E402

V, T = 13, 11
GPT2 = {"vocab_size": V, "n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 3, "bos_token_id": 1,
        "eos_token_id": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
LLAMA = {"vocab_size": V, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 6,
         "num_key_value_heads": 2, "max_position_embeddings": 16, "rms_norm_eps": 1e-3}
CASES = {
    "gpt2": ("GPT2", GPT2),
    "gpt2 untied, relu, inner": ("GPT2", GPT2 | {"tie_word_embeddings": False, "activation_function": "relu",
                                                 "n_inner": 20, "layer_norm_epsilon": 1e-3}),
    "llama": ("Llama", LLAMA),
    "llama tied": ("Llama", LLAMA | {"tie_word_embeddings": True}),
    "llama head_dim": ("Llama", LLAMA | {"head_dim": 8, "num_key_value_heads": None}),
    "llama biases, geglu": ("Llama", LLAMA | {"attention_bias": True, "mlp_bias": True, "hidden_act": "gelu_new"}),
    "llama linear": ("Llama", LLAMA | {"rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 500.0}}),
    "llama llama3": ("Llama", LLAMA | {"head_dim": 8, "rope_parameters": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 100.0,
        "original_max_position_embeddings": 8}}),
    "qwen2": ("Qwen2", LLAMA | {"num_attention_heads": 3, "num_key_value_heads": 1}),
    "qwen2 tied": ("Qwen2", LLAMA | {"num_attention_heads": 3, "num_key_value_heads": 3, "tie_word_embeddings": True}),
}  # fmt: skip


def reference(kind, settings):
    config = getattr(transformers, f"{kind}Config")(**settings, attn_implementation="sdpa")
    model = {"GPT2": transformers.GPT2LMHeadModel, "Llama": transformers.LlamaForCausalLM,
             "Qwen2": transformers.Qwen2ForCausalLM}[kind](config).double().eval()  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for param in model.parameters():
            param.copy_(0.5 * torch.randn(param.shape, generator=generator, dtype=torch.float64))
    return model


def exact(model, config):
    """Let transformers compute in float64 where it always takes float32: norms, and sines. A frequency may be rounded
    in another direction than ours: they are compared, and then it gets ours."""
    if config.positions != "rope":
        return
    rotary = model.model.rotary_emb
    wanted = frequencies(config.d_k, config.rope_theta, config.rope_scaling)
    np.testing.assert_allclose(rotary.inv_freq.numpy(), wanted, rtol=3e-7)

    def forward(x, position_ids):
        angle = position_ids[..., None].float() * torch.tensor(wanted).float()
        angle = torch.cat([angle, angle], dim=-1).double()
        return angle.cos(), angle.sin()

    rotary.forward = forward
    for norm in (module for name, module in model.named_modules() if name.endswith("norm")):
        norm.forward = lambda X, norm=norm: norm.weight * X * torch.rsqrt(
            X.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)


def batch():
    rng = np.random.default_rng(0)
    return rng.integers(0, V, (3, T)), rng.integers(0, V, (3, T))


@pytest.mark.parametrize("kind, settings", CASES.values(), ids=CASES)
def test_logits_and_every_gradient(kind, settings, tmp_path):
    theirs = reference(kind, settings)
    theirs.save_pretrained(tmp_path)
    ours = load(tmp_path, dtype="float64").train()
    exact(theirs, ours.config)
    x, y = batch()
    logits = theirs(torch.tensor(x)).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(y).flatten())
    loss.backward()
    assert_close("logits", ours(x)[0], logits)
    assert ours.loss(x, y) == pytest.approx(loss.item(), rel=1e-9)
    ours.backward()
    shapes = {name: param.shape for name, param in ours.named_parameters()}
    family = families.FAMILIES[theirs.config.model_type]
    grads, named = ours.grads(), dict(theirs.named_parameters())
    parts = list(family.parts(ours.config, shapes))
    assert {part.name for part in parts} == set(named)
    for part in parts:
        assert_close(part.name, part.of(grads[part.param]), named[part.name].grad)


def assert_close(name, got, expected):
    expected = expected.detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9 * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("kind, settings", CASES.values(), ids=CASES)
def test_what_we_write_is_read_with_equal_logits_and_nothing_missing(kind, settings, tmp_path):
    theirs = reference(kind, settings)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs", dtype="float64")
    ours.save_pretrained(tmp_path / "ours", dtype="float64")
    again, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert type(again) is type(theirs) and not any(info.values())
    assert {name: param.dtype for name, param in again.named_parameters()} == {
        name: param.dtype for name, param in theirs.named_parameters()}  # fmt: skip
    for name, param in again.state_dict().items():
        assert torch.equal(param, theirs.state_dict()[name]), name
    x = torch.tensor(batch()[0])
    assert_close("logits", again.eval()(x).logits.detach(), theirs(x).logits)
    assert load(tmp_path / "ours", dtype="float64").config == ours.config


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_numbers_are_rounded_as_torch_rounds_them(dtype, tmp_path):
    theirs = reference("Llama", LLAMA)
    theirs.save_pretrained(tmp_path / "theirs")
    load(tmp_path / "theirs", dtype="float64").save_pretrained(tmp_path / "ours", dtype=dtype)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert again.dtype == getattr(torch, dtype)
    for name, param in again.named_parameters():
        assert torch.equal(param, theirs.get_parameter(name).to(getattr(torch, dtype))), name
    read = load(tmp_path / "ours", dtype="float64")
    again.save_pretrained(tmp_path / "theirs again")
    for name, param in load(tmp_path / "theirs again", dtype="float64").params().items():
        np.testing.assert_array_equal(param, read.params()[name], err_msg=name)


@pytest.mark.parametrize("fields", [{}, {"bias": False, "positions": "sinusoidal", "activation": "silu"}], ids=str)
def test_a_model_of_our_own_gives_the_same_logits_there(fields, tmp_path, make_gpt):
    """Missing biases are written as zeros, sines as a table of positions."""
    ours = make_gpt(dtype="float32", **fields)
    ours.save_pretrained(tmp_path / "ours")
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values())
    x = np.random.default_rng(0).integers(0, 11, (2, 6))
    np.testing.assert_allclose(theirs.eval()(torch.tensor(x)).logits.detach(), ours(x)[0], atol=1e-5)


def test_shards_of_transformers_are_read(tmp_path):
    theirs = reference("Llama", LLAMA)
    theirs.save_pretrained(tmp_path, max_shard_size="5KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    x = batch()[0]
    exact(theirs, (ours := load(tmp_path, dtype="float64")).config)
    assert_close("logits", ours(x)[0], theirs(torch.tensor(x)).logits)


TEXTS = ["low lower lowest", "  the cat's hat\n\n 12  x", "naïve — 東京 🙂", ""]
CHATML = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
          "Be brief.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
          "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def test_the_tokenizer_and_the_chat_template_are_read(tmp_path, make_gpt):
    tokenizer = BPETokenizer().train("low lower lowest the hat " * 9, vocab_size=280,
                                     special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    make_gpt(vocab_size=280, dtype="float32").save_pretrained(tmp_path / "m", tokenizer)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    for text in TEXTS:
        assert theirs.encode(text) == tokenizer.encode(text)
        assert theirs.decode(tokenizer.encode(text)) == text
    (tmp_path / "m" / "chat_template.jinja").write_text(CHATML)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    chat = Chat.of(tmp_path / "m")
    for system in (None, "Be kind."):
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": "the lower\nhat"})
        prompt = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert chat.ids(tokenizer, "the lower\nhat", system) == prompt


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_gguf_files_are_read_as_transformers_reads_them(kind, tmp_path, monkeypatch):
    """transformers takes the context and the hidden width of a GPT-2 from its defaults."""
    pytest.importorskip("accelerate")
    gguf_model = pytest.importorskip("gguf_model")
    monkeypatch.setenv("NUMPYGPT_CACHE", str(tmp_path / "cache"))
    values = gguf_model.WIDE[kind] | ({"n_positions": 1024, "n_inner": 1024} if kind == "gpt2" else {})
    tensors = {name: 0.1 * array for name, array in gguf_model.tensors_of(values)[1].items()}
    gguf_model.write(tmp_path / "m.gguf", values, tensors)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    x = np.random.default_rng(0).integers(0, 261, (2, 9))
    logits = theirs.eval()(torch.tensor(x)).logits.detach().numpy()
    np.testing.assert_allclose(load(find(tmp_path / "m.gguf"))(x)[0], logits, rtol=0, atol=1e-5)
