"""Wrong bodies for the blanks of docs/exercises: the mistakes that are usually made, each refused by the marker."""

from exercise_files import SOLVED, body, functions, source

X2, DY2 = "self.X.reshape(-1, self.X.shape[-1])", "dY.reshape(-1, dY.shape[-1])"
ATTENTION = """dO = self.split(self.proj.backward(dY))
dV = self.P.swapaxes(-1, -2) @ dO
dS = self.softmax.backward(dO @ self.V.swapaxes(-1, -2)) * self.scale
dQ, dK = dS @ self.K, dS.swapaxes(-1, -2) @ self.Q
return self.qkv.backward(np.concatenate([self.join(part) for part in (dQ, dK, dV)], axis=-1))"""
NORM = """self.dbeta += dY.sum(axis=tuple(range(dY.ndim - 1)))
self.dgamma += (dY * self.Xhat).sum(axis=tuple(range(dY.ndim - 1)))
dXhat = dY * self.gamma
"""
LOSS = """dX = self.P.copy()
dX[self.counted, self.targets[self.counted]] -= 1
dX[~self.counted] = 0
return (dX * scale / self.count).reshape(self.shape)"""
BACK = """dX = self.norm_f.backward(self.head.backward(self.loss.backward(scale)))
for block in reversed(self.blocks):
    dX = block.backward(dX)
self.wte.backward(self.wpe.backward(self.dropout.backward(dX)))"""
MOMENTS = """b1, b2 = self.betas
self.t += 1
for name, p in self.params.items():
    g = self.grads[name]
    self.m[name] = b1 * self.m[name] + (1 - b1) * g
    self.v[name] = b2 * self.v[name] + (1 - b2) * g * g
    mhat, vhat = self.m[name] / (1 - b1**self.t), self.v[name] / (1 - b2**self.t)
    p -= self.lr * mhat / (np.sqrt(vhat) + self.eps)"""
GATED = """dA = self.proj.backward(dY)
dU = dA * self.G * self.sigma
dG = dA * self.U * self.sigma * (1 + self.G * (1 - self.sigma))
return self.gate.backward(dG) + self.up.backward(dU)"""
WRONG = {
    ("01_linear.py", "Linear.backward"): [
        f"self.dW += {X2}.T @ {DY2}\nreturn dY @ self.W",
        f"self.dW = {X2}.T @ {DY2}\nreturn dY @ self.W.T",
    ],
    ("02_bias.py", "Bias.backward"): [
        "self.db += dY.mean(axis=tuple(range(dY.ndim - 1)))\nreturn dY",
        "self.db = dY.sum(axis=tuple(range(dY.ndim - 1)))\nreturn dY",
    ],
    ("02_bias.py", "Positions.backward"): [
        "self.dW[: self.T] += dY.mean(axis=0)\nreturn dY",
        "self.dW += dY.sum(axis=0)\nreturn dY",
    ],
    ("03_embedding.py", "Embedding.backward"): [
        "self.dW[self.ids] += dY",
        "self.dW[...] = 0\nnp.add.at(self.dW, self.ids, dY)",
        "np.add.at(self.dW, self.ids, dY)\nreturn dY",
    ],
    ("03_embedding.py", "Head.backward"): [
        f"self.embedding.dW = {DY2}.T @ {X2}\nreturn dY @ self.embedding.W",
        "return dY @ self.embedding.W",
    ],
    ("04_relu_gelu.py", "ReLU.backward"): ["return dY * self.X", "return dY * (dY > 0)", "return np.maximum(dY, 0)"],
    ("04_relu_gelu.py", "GELU.backward"): [
        "return dY * (1 + self.tanh) / 2",
        "return dY * ((1 + self.tanh) / 2 + self.X / 2 * (1 - self.tanh**2) * SCALE * (1 + CUBIC * self.X**2))",
    ],
    ("05_softmax.py", "Softmax.backward"): [
        "return dY * self.Y * (1 - self.Y)",
        "return self.Y * (dY - dY.sum(axis=-1, keepdims=True))",
    ],
    ("06_cross_entropy.py", "CrossEntropy.backward"): [
        LOSS.replace("self.count)", "len(self.targets))"),
        LOSS.replace("dX[~self.counted] = 0\n", ""),
        LOSS.replace("scale / ", "1 / "),
    ],
    ("07_layernorm.py", "LayerNorm.backward"): [
        NORM + "return self.r * (dXhat - dXhat.mean(axis=-1, keepdims=True))",
        NORM + "return self.r * (dXhat - self.Xhat * (dXhat * self.Xhat).mean(axis=-1, keepdims=True))",
        NORM.replace("dY * self.Xhat", "dY") + "dXhat -= dXhat.mean(axis=-1, keepdims=True) + self.Xhat * ("
        "dXhat * self.Xhat).mean(axis=-1, keepdims=True)\nreturn dXhat * self.r",
    ],
    ("08_dropout.py", "Dropout.backward"): [
        "return dY if self.mask is None else dY * self.mask / (1 - self.p)",
        "return dY * (self.rng.random(dY.shape) >= self.p) / (1 - self.p)",
    ],
    ("09_attention.py", "Attention.backward"): [
        ATTENTION.replace("dS.swapaxes(-1, -2) @ self.Q", "dS @ self.Q"),
        ATTENTION.replace(" * self.scale\n", "\n"),
        ATTENTION.replace("self.softmax.backward(dO @ self.V.swapaxes(-1, -2))", "dO @ self.V.swapaxes(-1, -2)"),
    ],
    ("10_block.py", "FeedForward.backward"): [
        "return self.fc.backward(self.fc_bias.backward(self.proj.backward(self.proj_bias.backward(dY))))",
        "return self.fc.backward(self.act.backward(self.proj.backward(self.proj_bias.backward(dY))))",
        "dA = self.proj.backward(self.proj_bias.backward(dY))\n"
        "return dY + self.fc.backward(self.fc_bias.backward(self.act.backward(dA)))",
    ],
    ("10_block.py", "Block.backward"): [
        "dH = self.norm2.backward(self.ffn.backward(dY))\nreturn dH + self.norm1.backward(self.attn.backward(dH))",
        "dH = dY + self.norm2.backward(self.ffn.backward(dY))\nreturn dH + self.norm1.backward(self.attn.backward(dY))",
        "dH = dY + self.norm2.backward(self.ffn.backward(dY))\nreturn self.norm1.backward(self.attn.backward(dH))",
    ],
    ("11_gpt.py", "GPT.backward"): [
        BACK.replace("reversed(self.blocks)", "self.blocks"),
        BACK.replace("backward(scale)", "backward()"),
        BACK.replace("self.wte.backward(", "("),
    ],
    ("12_optimizers.py", "SGD.step"): [
        "for name, p in self.params.items():\n    p -= self.lr * self.grads[name]",
        "for name, p in self.params.items():\n    self.v[name] = self.momentum * self.v[name] + self.grads[name]\n"
        "    self.params[name] = p - self.lr * self.v[name]",
        "for name, p in self.params.items():\n"
        "    self.v[name] = self.momentum * self.v[name] + (1 - self.momentum) * self.grads[name]\n"
        "    p -= self.lr * self.v[name]",
    ],
    ("12_optimizers.py", "Adam.step"): [
        MOMENTS.replace(" / (1 - b1**self.t)", "").replace(" / (1 - b2**self.t)", ""),
        MOMENTS.replace("b2**self.t", "b1**self.t"),
        MOMENTS.replace("    self.t += 1\n", "").replace("    g =", "    self.t += 1\n    g ="),
    ],
    ("13_rmsnorm.py", "RMSNorm.forward"): [
        "self.r = 1 / np.sqrt(X.var(axis=-1, keepdims=True) + self.eps)\nself.Xhat = X * self.r\n"
        "return self.gamma * self.Xhat",
        "self.r = 1 / np.sqrt((X * X).sum(axis=-1, keepdims=True) + self.eps)\nself.Xhat = X * self.r\n"
        "return self.gamma * self.Xhat",
    ],
    ("13_rmsnorm.py", "RMSNorm.backward"): [
        "self.dgamma += (dY * self.Xhat).sum(axis=tuple(range(dY.ndim - 1)))\ndXhat = dY * self.gamma\n"
        "return self.r * (dXhat - dXhat.mean(axis=-1, keepdims=True) - self.Xhat * (dXhat * self.Xhat).mean("
        "axis=-1, keepdims=True))",
        "self.dgamma += (dY * self.Xhat).sum(axis=tuple(range(dY.ndim - 1)))\n"
        "return self.r * (dY - self.Xhat * (dY * self.Xhat).mean(axis=-1, keepdims=True))",
    ],
    ("14_swiglu.py", "SwiGLU.forward"): [
        "self.G, self.U = self.gate(X), self.up(X)\nself.sigma = 1 / (1 + np.exp(-self.G))\n"
        "return self.proj(self.sigma * self.U)",
        "self.G, self.U = self.gate(X), self.up(X)\nself.sigma = 1 / (1 + np.exp(-self.G))\n"
        "return self.proj(self.G * self.sigma)",
        "self.G, self.U = self.gate(X), self.up(X)\nself.sigma = 1 / (1 + np.exp(self.G))\n"
        "return self.proj(self.G * self.sigma * self.U)",
    ],
    ("14_swiglu.py", "SwiGLU.backward"): [
        GATED.replace("self.G * (1 - self.sigma)", "self.G"),
        GATED.replace(" + self.up.backward(dU)", ""),
    ],
    ("15_label_smoothing.py", "SmoothedCrossEntropy.backward"): [
        "return (self.difference * (scale / self.difference.shape[0])).reshape(self.shape)",
        "return ((1 - self.eps) * self.difference * (scale / self.count)).reshape(self.shape)",
    ],
}
FORWARD = body(functions(source(SOLVED, "15_label_smoothing.py"))["SmoothedCrossEntropy.forward"])
SMOOTH = "\n".join(line[8:] for line in source(SOLVED, "15_label_smoothing.py").splitlines()[slice(*FORWARD)])
WRONG["15_label_smoothing.py", "SmoothedCrossEntropy.forward"] = [
    SMOOTH.replace("+= 1 - self.eps", "= 1 - self.eps"),
    SMOOTH.replace("np.exp(log_P) - Q) * counted[:, None]", "np.exp(log_P) - Q)"),
]
