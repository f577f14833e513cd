"""A GPT against the same model in PyTorch: logits, loss, every named gradient, ten AdamW steps."""

import math

import numpy as np
import pytest
from parts import PRODUCT

from numpygpt.optim import AdamW, clip_grad_norm
from numpygpt.optim.lr_scheduler import WarmupCosineLR

torch = pytest.importorskip("torch")
F = torch.nn.functional

CONFIGS = {
    f"{'tied' if tie else 'untied'}, {activation}, {positions}": {
        "tie_weights": tie, "activation": activation, "positions": positions}
    for tie in (True, False) for activation in ("gelu", "relu") for positions in ("learned", "sinusoidal")
}
CONFIGS["no bias"] = {"bias": False}
CONFIGS["head sizes"] = {"d_k": 3, "d_v": 5}
LLAMA = {"norm": "rmsnorm", "norm_eps": 1e-6, "positions": "rope", "rope_theta": 1000.0, "ffn": "gated", "bias": False,
         "activation": "silu", "n_heads": 4, "n_kv_heads": 2, "d_k": 4, "d_v": 3, "d_ff": 10}
CONFIGS["Llama, tied"] = LLAMA
CONFIGS["Llama, untied, biases"] = LLAMA | {"tie_weights": False, "bias": True}
CONFIGS["Qwen2"] = LLAMA | {"qkv_bias": True}
CONFIGS["multi-query, geglu, linear scaling"] = LLAMA | {"n_kv_heads": 1, "activation": "gelu",
                                                         "rope_scaling": "linear:2"}
CONFIGS["leaky relu, rope, layer norm"] = {"activation": "leaky_relu", "positions": "rope"}
CONFIGS["shared key heads"] = {"n_heads": 4, "n_kv_heads": 2, "d_v": 5, "d_k": 3}


class Reference:
    """The same weights under the same names; PyTorch's layer norm, attention, activation, loss and gradients."""

    def __init__(self, model):
        self.config = model.config
        self.p = {name: torch.tensor(value, requires_grad=True) for name, value in model.state_dict().items()}

    def linear(self, name, X):
        return F.linear(X, self.p[f"{name}.W"].T, self.p.get(f"{name}.b"))  # PyTorch's weight is (out, in)

    def norm(self, name, X):
        gamma, eps = self.p[f"{name}.gamma"], self.config.norm_eps
        if self.config.norm == "rmsnorm":
            return F.rms_norm(X, X.shape[-1:], gamma, eps)
        return F.layer_norm(X, X.shape[-1:], gamma, self.p.get(f"{name}.beta"), eps)

    def attention(self, name, X):
        H, C = self.config.n_heads, self.config.d_model
        H_kv = self.config.n_kv_heads or H
        d_k, d_v = self.config.d_k or C // H, self.config.d_v or C // H
        QKV = self.linear(f"{name}.{PRODUCT}", X).split([H * d_k, H_kv * d_k, H_kv * d_v], dim=-1)
        Q, K, V = (part.unflatten(-1, (n, -1)).transpose(1, 2) for part, n in zip(QKV, (H, H_kv, H_kv), strict=True))
        if self.config.positions == "rope":
            Q, K = self.rotated(Q), self.rotated(K)
        K, V = (part.repeat_interleave(H // H_kv, dim=1) for part in (K, V))  # (B, H, T, D)
        O = F.scaled_dot_product_attention(Q, K, V, is_causal=True)
        return self.linear(f"{name}.proj", O.transpose(1, 2).flatten(2))

    def rotated(self, X):  # (B, H, T, D), as in transformers' Llama
        D, scaling = X.shape[-1], self.config.rope_scaling
        inverse = self.config.rope_theta ** -(torch.arange(0, D, 2, dtype=torch.float64) / D)
        inverse = inverse / float(scaling.removeprefix("linear:") or 1)
        angle = (torch.arange(X.shape[2]).float()[:, None] * inverse.float()).double().repeat(1, 2)  # (T, D)
        first, second = X.chunk(2, dim=-1)
        return X * angle.cos() + torch.cat([-second, first], dim=-1) * angle.sin()

    def feed_forward(self, name, X):
        act = {"gelu": lambda H: F.gelu(H, approximate="tanh"), "relu": F.relu, "silu": F.silu,
               "leaky_relu": F.leaky_relu}[self.config.activation]
        H = self.linear(f"{name}.fc", X)
        if self.config.ffn == "gated":
            gate, up = H.chunk(2, dim=-1)
            return self.linear(f"{name}.proj", act(gate) * up)
        return self.linear(f"{name}.proj", act(H))

    def positions(self, T):
        if self.config.positions == "rope":
            return 0
        if self.config.positions == "learned":
            return self.p["wpe.W"][:T]
        C = self.config.d_model
        t, i = torch.arange(T, dtype=torch.float64)[:, None], torch.arange(0, C, 2)
        angle = t / 10000 ** (i / C)
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1) / C**0.5  # sines and cosines alternate

    def __call__(self, x, y):
        x, y = torch.tensor(x), torch.tensor(y)
        X = F.embedding(x, self.p["wte.W"]) + self.positions(x.shape[1])
        for i in range(self.config.n_layers):
            X = X + self.attention(f"blocks.{i}.attn", self.norm(f"blocks.{i}.norm1", X))
            X = X + self.feed_forward(f"blocks.{i}.ffn", self.norm(f"blocks.{i}.norm2", X))
        logits = self.norm("norm_f", X) @ self.p["wte.W" if self.config.tie_weights else "head.embedding.W"].T
        return logits, F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=-1)


def assert_close(got, expected, name=None):
    """To 1e-9 of the tensor's scale: sums in another order differ by about 1e-15 in float64."""
    expected = expected.detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9 * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("ignored", [(), (0, 5, 7, 17)], ids=["all count", "some ignored"])
@pytest.mark.parametrize("way", ["forward", "loss"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_logits_loss_and_every_gradient(config, way, ignored, make_gpt, make_batch):
    model, (x, y) = make_gpt(**config), make_batch(ignored=ignored)
    reference = Reference(model)
    logits, loss = reference(x, y)
    loss.backward()
    assert_close(model(x)[0], logits, "logits")
    got = model.loss(x, y) if way == "loss" else model(x, targets=y)[1]
    assert got == pytest.approx(loss.item(), rel=1e-12)
    model.backward()
    for name, grad in model.grads().items():
        assert_close(grad, reference.p[name].grad, name)


@pytest.mark.parametrize("config", [{}, LLAMA, LLAMA | {"qkv_bias": True, "tie_weights": False}],
                         ids=["gpt2", "llama", "qwen2"])
def test_float32_is_the_reference_to_float32_precision(config, make_gpt, make_batch):
    """Against the float64 reference with the same weights: a few hundred rounding errors of 6e-8."""
    model, (x, y) = make_gpt(dtype="float32", **config), make_batch()
    reference = Reference(model.replica().astype("float64"))
    _, loss = reference(x, y)
    loss.backward()
    assert model.loss(x, y) == pytest.approx(loss.item(), rel=1e-5)
    model.backward()
    for name, grad in model.grads().items():
        scale = reference.p[name].grad.abs().max().item()
        if not name.endswith(f"{PRODUCT}.b"):  # the gradient of the key bias is 0, so only rounding errors remain
            np.testing.assert_allclose(grad, reference.p[name].grad, rtol=0, atol=1e-4 * scale, err_msg=name)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_ten_steps_of_adamw_with_decay_clipping_and_a_schedule(config, make_gpt, make_batch):
    model = make_gpt(**config)
    reference = Reference(model)
    optimizer = AdamW(model, lr=0.03, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.2)
    schedule = WarmupCosineLR(optimizer, warmup=3, decay=8, min_lr=0.003)
    decayed = [p for p in reference.p.values() if p.ndim >= 2]
    others = [p for p in reference.p.values() if p.ndim < 2]
    torch_optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.2},
                                         {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.95), eps=1e-6)
    clipped = []
    for step in range(10):
        x, y = make_batch(seed=step, ignored=[step])
        optimizer.zero_grad()
        loss = model.loss(x, y)
        model.backward()
        norm = clip_grad_norm(model, 0.5)
        optimizer.step()
        schedule.step()

        lr = 0.03 * (step + 1) / 3 if step < 3 else 0.003
        if 3 <= step < 8:
            lr = 0.003 + 0.027 * 0.5 * (1 + math.cos(math.pi * (step - 3) / 5))
        for group in torch_optimizer.param_groups:
            group["lr"] = lr
        torch_optimizer.zero_grad()
        _, torch_loss = reference(x, y)
        torch_loss.backward()
        grads = [p.grad for p in reference.p.values()]
        torch_norm = torch.nn.utils.get_total_norm(grads)
        for grad in grads:  # clip_grad_norm_ divides by norm + 1e-6: compared in test_parity_optim
            grad *= min(1.0, 0.5 / torch_norm)
        torch_optimizer.step()

        assert loss == pytest.approx(torch_loss.item(), rel=1e-9), f"step {step}"
        assert norm == pytest.approx(torch_norm.item(), rel=1e-9), f"step {step}"
        clipped.append(norm > 0.5)
    assert any(clipped), "gradients were clipped"
    for name, param in model.params().items():
        assert_close(param, reference.p[name], name)


@pytest.mark.parametrize("config", [{}, LLAMA | {"d_v": 4}], ids=["gpt2", "llama"])
def test_left_padded_logits_and_texts_are_those_of_transformers(config, make_gpt, tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("safetensors")
    model = make_gpt(**config, max_len=12, dtype="float32")
    model.save_pretrained(tmp_path / "model")
    twin = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model").double()
    model.astype("float64").eval()
    rows = [[3, 1, 4], [5], [9, 2, 6, 5, 3]]
    pad = np.array([2, 4, 0])
    x = np.array([[0] * n + row for n, row in zip(pad, rows, strict=True)])
    seen = np.arange(5) >= pad[:, None]
    given = {"attention_mask": torch.tensor(seen.astype(np.int64)), "input_ids": torch.tensor(x)}
    with torch.no_grad():
        theirs = twin(**given, position_ids=torch.tensor(np.maximum(np.arange(5) - pad[:, None], 0))).logits.numpy()
    np.testing.assert_allclose(model(x, pad=pad)[0][seen], theirs[seen], rtol=0, atol=1e-6 * np.abs(theirs).max())
    texts = twin.generate(**given, max_new_tokens=6, do_sample=False, pad_token_id=0, eos_token_id=None)
    assert model.generate(rows, 6, temperature=0)[:, 5:].tolist() == texts[:, 5:].tolist()
