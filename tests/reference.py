"""The plain forward pass of a Llama in float64: what every logit of the engine is held against.

One reference for all tests: logits, attention weights and residual stream of the weights in a GGUF file,
dequantised. Nothing is cached, batched or fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferno_widget.gguf import ModelInfo, Tensor, read_info

Array = NDArray[np.float64]


class Run(NamedTuple):
    """What went on inside.

    Attributes
    ----------
    logits : [position, n_vocab]
    attention : [layer, head, query, key], rows sum to 1
    residual : [layer, position, n_embd], after each block
    """

    logits: Array
    attention: Array
    residual: Array


class Reference:
    """A Llama (architecture "llama": RMSNorm, interleaved RoPE, grouped queries, SwiGLU) from a GGUF file."""

    def __init__(self, path: Path) -> None:
        self.info = read_info(path)
        self.weights = {name: dequantised(self.info, tensor) for name, tensor in self.info.tensors.items()}
        said = self.info.metadata
        self.eps = float(said["llama.attention.layer_norm_rms_epsilon"])
        self.rope_base = float(said.get("llama.rope.freq_base", 10_000.0))
        self.head_size = self.info.n_embd // self.info.n_head
        self.rope_size = int(said.get("llama.rope.dimension_count", self.head_size))

    def logits(self, ids: Sequence[int]) -> Array:
        """[position, n_vocab]"""
        return self.run(ids).logits

    def run(self, ids: Sequence[int]) -> Run:
        x = self.weights["token_embd.weight"][list(ids)]
        attention, residual = [], []
        for layer in range(self.info.n_layer):
            mixed, weights = self.attend(self.norm(x, f"blk.{layer}.attn_norm"), layer)
            x = x + mixed
            x = x + self.feed_forward(self.norm(x, f"blk.{layer}.ffn_norm"), layer)
            attention.append(weights)
            residual.append(x)
        return Run(self.unembed(x), np.stack(attention), np.stack(residual))

    def unembed(self, x: Array) -> Array:
        """Logits [..., n_vocab] of residual streams x [..., n_embd]; of an earlier layer's: the logit lens."""
        return self.norm(x, "output_norm") @ self.weights.get("output.weight", self.weights["token_embd.weight"]).T

    def norm(self, x: Array, name: str) -> Array:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + self.eps) * self.weights[f"{name}.weight"]

    def attend(self, x: Array, layer: int) -> tuple[Array, Array]:
        """Output [position, n_embd] and weights [head, query, key]."""
        q, k, v = (self.heads(self.linear(x, f"blk.{layer}.attn_{name}")) for name in "qkv")
        queries_per_key = self.info.n_head // self.info.n_head_kv
        k, v = (np.repeat(t, queries_per_key, axis=0) for t in (self.rotate(k), v))
        scores = self.rotate(q) @ k.transpose(0, 2, 1) / np.sqrt(self.head_size)
        future = np.triu(np.ones(scores.shape[-2:], bool), 1)
        weights = softmax(np.where(future, -np.inf, scores))
        mixed = (weights @ v).transpose(1, 0, 2).reshape(len(x), -1)
        return self.linear(mixed, f"blk.{layer}.attn_output"), weights

    def heads(self, x: Array) -> Array:
        """[position, head * size] -> [head, position, size]"""
        return x.reshape(len(x), -1, self.head_size).transpose(1, 0, 2)

    def rotate(self, x: Array) -> Array:
        """Turn the neighbouring pairs of x [head, position, size] by angles that grow with the position."""
        frequency = self.rope_base ** (-np.arange(0, self.rope_size, 2) / self.rope_size)
        angle = np.outer(np.arange(x.shape[1]), frequency)
        even, odd = x[..., 0 : self.rope_size : 2], x[..., 1 : self.rope_size : 2]
        turned = x.copy()
        turned[..., 0 : self.rope_size : 2] = even * np.cos(angle) - odd * np.sin(angle)
        turned[..., 1 : self.rope_size : 2] = even * np.sin(angle) + odd * np.cos(angle)
        return turned

    def feed_forward(self, x: Array, layer: int) -> Array:
        gate = self.linear(x, f"blk.{layer}.ffn_gate")
        return self.linear(gate / (1 + np.exp(-gate)) * self.linear(x, f"blk.{layer}.ffn_up"), f"blk.{layer}.ffn_down")

    def linear(self, x: Array, name: str) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0.0)


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def dequantised(info: ModelInfo, tensor: Tensor) -> Array:
    """The weights of a tensor, float64, in its shape."""
    count = int(np.prod(tensor.shape))
    dtype, per_item = {
        "F32": (np.dtype("<f4"), 1),
        "F16": (np.dtype("<f2"), 1),
        "BF16": (np.dtype("<u2"), 1),
        "Q8_0": (np.dtype([("scale", "<f2"), ("quants", "i1", 32)]), 32),
    }[tensor.type]
    stored = np.fromfile(info.files[tensor.part], dtype, count // per_item, offset=tensor.offset)
    if tensor.type == "BF16":  # the upper half of a float32
        stored = (stored.astype("<u4") << 16).view("<f4")
    if tensor.type == "Q8_0":
        return (stored["scale"].astype(np.float64)[:, None] * stored["quants"]).reshape(tensor.shape)
    return stored.astype(np.float64).reshape(tensor.shape)
