"""Each layer against its counterpart in torch.nn: output, input gradient, parameter gradients. In float64 to 1e-12; the
layers of Llama also in float32."""

import numpy as np
import pytest
from parts import PRODUCT, product_of

from numpygpt import nn
from numpygpt.models.build import ACTIVATIONS
from numpygpt.nn.modules.rotary import frequencies
from numpygpt.verify.wrappers import Padded, block

torch = pytest.importorskip("torch")
Tnn, F = torch.nn, torch.nn.functional
TOLERANCE = {"float64": 1e-12, "float32": 2e-6}  # of a tensor's scale: some rounding errors of 1e-16 and 6e-8
DTYPES = list(TOLERANCE)


def compare(layer, twin, X, pairs, seed=0):
    """Compare output and gradients for equal weights and inputs. `pairs`: our name -> (PyTorch's name, transposed?)."""
    theirs = dict(twin.named_parameters())
    with torch.no_grad():
        for name, (other, transposed) in pairs.items():
            value = layer.params()[name]
            theirs[other].copy_(torch.tensor(value.T if transposed else value))
    assert set(pairs) == set(layer.params()) and {other for other, _ in pairs.values()} == set(theirs)
    Xt = torch.tensor(X)
    if Xt.is_floating_point():
        Xt.requires_grad_()
    Y, Yt = layer(X), twin(Xt)
    close(Y, Yt.detach())
    dY = np.random.default_rng(seed).standard_normal(Y.shape).astype(Y.dtype)
    dX = layer.backward(dY)
    Yt.backward(torch.tensor(dY))
    if Xt.is_floating_point():
        close(dX, Xt.grad)
    for name, (other, transposed) in pairs.items():
        grad = theirs[other].grad
        close(layer.grads()[name], grad.T if transposed else grad)


def close(got, expected):
    """To a tolerance of the tensor's scale."""
    expected = expected.numpy()
    assert got.shape == expected.shape and got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[got.dtype.name] * np.abs(expected).max())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 4), (2, 3, 2, 4)])
def test_linear(shape, bias, normal, lively):
    pairs = {"W": ("weight", True)} | ({"b": ("bias", False)} if bias else {})
    layer = lively(nn.Linear(4, 3, bias, dtype="float64"))
    compare(layer, Tnn.Linear(4, 3, bias, dtype=torch.float64), normal(*shape), pairs)


def test_embedding(lively):
    layer = lively(nn.Embedding(6, 3, dtype="float64"))
    ids = np.array([[5, 0, 5, 2], [2, 5, 0, 0]])
    compare(layer, Tnn.Embedding(6, 3, dtype=torch.float64), ids, {"W": ("weight", False)})


@pytest.mark.parametrize("eps", [1e-5, 0.1])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(bias, eps, normal, lively):
    pairs = {"gamma": ("weight", False)} | ({"beta": ("bias", False)} if bias else {})
    layer = lively(nn.LayerNorm(6, bias, eps=eps, dtype="float64"))
    compare(layer, Tnn.LayerNorm(6, eps, bias=bias, dtype=torch.float64), normal(2, 3, 6), pairs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("eps", [1e-5, 0.1])
@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 3, 6)])
def test_rms_norm(shape, eps, dtype, normal, lively):
    layer = lively(nn.RMSNorm(6, eps=eps, dtype=dtype))
    twin = Tnn.RMSNorm(6, eps, dtype=getattr(torch, dtype))
    compare(layer, twin, normal(*shape, dtype=dtype), {"gamma": ("weight", False)})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("layer", "twin"), [
    (nn.ReLU(), Tnn.ReLU()), (nn.GELU(), Tnn.GELU(approximate="tanh")), (nn.Softmax(), Tnn.Softmax(dim=-1)),
    (nn.SiLU(), Tnn.SiLU()), (nn.LeakyReLU(), Tnn.LeakyReLU()), (nn.LeakyReLU(0.3), Tnn.LeakyReLU(0.3)),
], ids=["relu", "gelu", "softmax", "silu", "leaky relu", "leaky relu 0.3"])
def test_activations(layer, twin, dtype, normal):
    compare(layer, twin, 3 * normal(2, 3, 5, dtype=dtype), {})


def test_unembedding_is_a_linear_layer_with_the_table_as_pytorchs_weight(normal, lively):
    layer = lively(nn.Unembedding(7, 4, dtype="float64"))
    compare(layer, Tnn.Linear(4, 7, bias=False, dtype=torch.float64), normal(2, 3, 4),
            {"embedding.W": ("weight", False)})


class CausalAttention(Tnn.Module):
    def __init__(self, d_model, n_heads, bias):
        super().__init__()
        self.inner = Tnn.MultiheadAttention(d_model, n_heads, bias=bias, batch_first=True, dtype=torch.float64)

    def forward(self, X):
        future = torch.ones(X.shape[1], X.shape[1], dtype=torch.bool).triu(1)
        return self.inner(X, X, X, attn_mask=future, need_weights=False)[0]


ATTENTION = {f"{PRODUCT}.W": ("inner.in_proj_weight", True), "proj.W": ("inner.out_proj.weight", True),
             f"{PRODUCT}.b": ("inner.in_proj_bias", False), "proj.b": ("inner.out_proj.bias", False)}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_heads", [1, 2, 3])
def test_multi_head_attention(n_heads, bias, normal, lively):
    layer = lively(nn.MultiHeadAttention(6, n_heads, bias=bias, dtype="float64"))
    pairs = {name: other for name, other in ATTENTION.items() if bias or name.endswith("W")}
    compare(layer, CausalAttention(6, n_heads, bias), normal(2, 5, 6), pairs)


def rotate_half(X):
    """As in transformers' Llama."""
    half = X.shape[-1] // 2
    return torch.cat((-X[..., half:], X[..., :half]), dim=-1)


def rotated(X, theta, factor=1.0, start=0):
    """transformers' apply_rotary_pos_emb, with its angles: float32 position times float32 frequency. X (B, H, T, D)."""
    D = X.shape[-1]
    inverse = 1.0 / (theta ** (torch.arange(0, D, 2, dtype=torch.float64) / D)) / factor
    at = (torch.as_tensor(start).reshape(-1, 1) + torch.arange(X.shape[2])).clamp(min=0)  # (1 or B, T)
    angle = at.float()[..., None] * inverse.float()
    angle = torch.cat([angle, angle], dim=-1)[:, None].double()  # (1 or B, 1, T, D)
    return X * angle.cos().to(X.dtype) + rotate_half(X) * angle.sin().to(X.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("theta", "factor", "start"), [(10000.0, 1, 0), (100.0, 1, 7), (1e5, 4, np.array([0, 5]))],
                         ids=str)
def test_rotary(theta, factor, start, dtype, normal):
    X, dY = (normal(2, 3, 5, 8, dtype=dtype) for _ in range(2))
    layer = nn.Rotary(8, 20, theta, f"linear:{factor}" if factor != 1 else "")
    Xt = torch.tensor(X, requires_grad=True)
    Y, Yt = layer(X, start), rotated(Xt, theta, factor, start)
    Yt.backward(torch.tensor(dY))
    close(Y, Yt.detach())
    close(layer.backward(dY), Xt.grad)


class Attention(Tnn.Module):
    """Llama's and Qwen2's attention with PyTorch's fused product; `mask` (B, T, T) is True where a token may look."""

    def __init__(self, ours, theta, pad, dtype):
        super().__init__()
        self.sizes, self.theta = [ours.n_heads, ours.n_kv_heads, ours.n_kv_heads], theta
        self.widths = [ours.n_heads * ours.d_k, ours.n_kv_heads * ours.d_k, ours.n_kv_heads * ours.d_v]
        self.qkv = Tnn.Linear(8, sum(self.widths), bias=product_of(ours).bias, dtype=dtype)
        self.proj = Tnn.Linear(ours.n_heads * ours.d_v, 8, bias=ours.proj.bias, dtype=dtype)
        self.pad = pad

    def forward(self, X):
        Q, K, V = (part.unflatten(-1, (n, -1)).transpose(1, 2)
                   for part, n in zip(self.qkv(X).split(self.widths, dim=-1), self.sizes, strict=True))
        at = torch.arange(X.shape[1])
        pad = torch.tensor(self.pad)[:, None, None]
        mask = (at <= at[:, None]) & ((at >= pad) | (at[:, None] < pad))  # padding sees padding: no row is empty
        if self.theta:
            Q, K = (rotated(part, self.theta, start=-torch.tensor(self.pad)) for part in (Q, K))
        O = F.scaled_dot_product_attention(Q, K, V, attn_mask=mask[:, None], enable_gqa=True)
        return self.proj(O.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pad", [[0, 0, 0], [2, 0, 4]], ids=["whole", "padded"])
@pytest.mark.parametrize("theta", [None, 10000.0], ids=["plain", "rotary"])
@pytest.mark.parametrize(("n_kv_heads", "bias", "qkv_bias"), [(4, False, False), (2, False, True), (1, True, False)])
def test_grouped_attention(n_kv_heads, bias, qkv_bias, theta, pad, dtype, normal, lively):
    rotary = nn.Rotary(4, 6, theta) if theta else None
    layer = Padded(lambda: nn.MultiHeadAttention(8, 4, 4, 3, n_kv_heads=n_kv_heads, bias=bias, qkv_bias=qkv_bias,
                                                 rotary=rotary, dtype=dtype), pad)
    layer = lively(layer)
    twin = Attention(layer.inner, theta, pad, getattr(torch, dtype))
    names = [f"{PRODUCT}.W", "proj.W", *([f"{PRODUCT}.b"] if bias or qkv_bias else []), *(["proj.b"] if bias else [])]
    pairs = {f"inner.{name}": (name.replace(PRODUCT, "qkv").replace(".W", ".weight").replace(".b", ".bias"),
                               name.endswith("W")) for name in names}
    compare(layer, twin, normal(3, 6, 8, dtype=dtype), pairs)


class GatedMLP(Tnn.Module):
    """transformers' LlamaMLP with gate and up in one matrix."""

    def __init__(self, act, bias, dtype):
        super().__init__()
        self.fc, self.down = Tnn.Linear(4, 10, bias, dtype=dtype), Tnn.Linear(5, 4, bias, dtype=dtype)
        self.act = act

    def forward(self, X):
        gate, up = self.fc(X).chunk(2, dim=-1)
        return self.down(self.act(gate) * up)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_gated_feed_forward(activation, bias, dtype, normal, lively):
    layer = lively(nn.GatedFeedForward(4, 5, ACTIVATIONS[activation](None), bias=bias, dtype=dtype))
    act = F.silu if activation == "silu" else Tnn.GELU(approximate="tanh")
    pairs = {"fc.W": ("fc.weight", True), "proj.W": ("down.weight", True)}
    pairs |= {"fc.b": ("fc.bias", False), "proj.b": ("down.bias", False)} if bias else {}
    compare(layer, GatedMLP(act, bias, getattr(torch, dtype)), normal(2, 3, 4, dtype=dtype), pairs)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_feed_forward(activation, normal, lively):
    layer = lively(nn.FeedForward(4, 6, ACTIVATIONS[activation](None), dtype="float64"))
    act = Tnn.ReLU() if activation == "relu" else Tnn.GELU(approximate="tanh")
    twin = Tnn.Sequential(Tnn.Linear(4, 6, dtype=torch.float64), act, Tnn.Linear(6, 4, dtype=torch.float64))
    compare(layer, twin, normal(2, 3, 4), {"fc.W": ("0.weight", True), "fc.b": ("0.bias", False),
                                           "proj.W": ("2.weight", True), "proj.b": ("2.bias", False)})


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer_block_is_pytorchs_pre_norm_encoder_layer(activation, normal, lively):
    class Block(Tnn.TransformerEncoderLayer):
        def forward(self, X):
            future = torch.ones(X.shape[1], X.shape[1], dtype=torch.bool).triu(1)
            return super().forward(X, src_mask=future)

    act = torch.relu if activation == "relu" else Tnn.GELU(approximate="tanh")
    twin = Block(6, 2, 10, dropout=0.0, activation=act, batch_first=True, norm_first=True, dtype=torch.float64)
    pairs = {f"attn.{name}": (f"self_attn.{other.removeprefix('inner.')}", t) for name, (other, t) in ATTENTION.items()}
    for ours, theirs in (("norm1", "norm1"), ("norm2", "norm2")):
        pairs |= {f"{ours}.gamma": (f"{theirs}.weight", False), f"{ours}.beta": (f"{theirs}.bias", False)}
    for ours, theirs in (("fc", "linear1"), ("proj", "linear2")):
        pairs |= {f"ffn.{ours}.W": (f"{theirs}.weight", True), f"ffn.{ours}.b": (f"{theirs}.bias", False)}
    compare(lively(block(6, 2, 10, activation=activation, dtype="float64")), twin, normal(2, 5, 6), pairs)


@pytest.mark.parametrize("targets", [[[0, 3, 1], [4, 4, 2]], [[0, -1, 1], [-1, 4, -1]]], ids=["all", "some ignored"])
def test_cross_entropy(targets, normal):
    criterion, logits, targets = nn.CrossEntropyLoss(), normal(2, 3, 5), np.array(targets)
    Xt = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(Xt.flatten(0, 1), torch.tensor(targets).flatten(), ignore_index=-1)
    (0.7 * loss).backward()
    assert criterion(logits, targets) == pytest.approx(loss.item(), rel=1e-13)
    close(criterion.backward(0.7), Xt.grad)


@pytest.mark.parametrize(("scaling", "kind"), [
    ("linear:4", {"rope_type": "linear", "factor": 4.0}),
    ("llama3:8:1:4:64", {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 64}),
    ("llama3:32:1:4:8192", {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                            "original_max_position_embeddings": 8192}),
], ids=["linear", "llama3", "llama 3.2"])
def test_scaled_frequencies_are_those_of_transformers(scaling, kind):
    transformers = pytest.importorskip("transformers")
    theta, width = (500000.0, 64) if "8192" in scaling else (100.0, 16)
    config = transformers.LlamaConfig(hidden_size=4 * width, num_attention_heads=4, max_position_embeddings=1 << 17,
                                      rope_theta=theta, rope_scaling=kind | {"rope_theta": theta})
    theirs = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config).inv_freq
    np.testing.assert_allclose(frequencies(width, theta, scaling), theirs.numpy(), rtol=1e-6)
