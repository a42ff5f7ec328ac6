"""A Llama of two layers whose weights are made by hand, so that it repeats what it has read.

In "A B ... A" it expects B. Head 0 of the first layer looks at the token before and writes down which it was; head 0 of
the second looks for a place that followed a token like the present one, and what stands there is its answer. The other
head of each layer, and the MLPs, add nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.make_models import Shape, Tensor, spm_vocabulary, write_tensors

Array = NDArray[np.float64]

SHAPE = Shape(n_layer=2, n_embd=256, n_head=2, n_head_kv=2, n_ff=32, rope_base=1e6, tied=False)
SIZE = SHAPE.head_size
CODE = 64
"""Each token has a random direction of so many dimensions."""
PRESENT, BEFORE, ANSWER, ONE = slice(0, 64), slice(64, 128), slice(128, 192), 192
"""The residual stream: the codes of the token, of the one before and of the one expected, and a constant 1."""
SLOW = slice(64, 128)
"""Entries of a query or key that RoPE hardly turns within a thousand tokens."""
SHARPNESS = 10.0, 18.0, 12.0
"""Of looking at the token before, of finding a token again, of the answer."""


def tiny_induction(path: Path, *, n_vocab: int = 512, seed: int = 0) -> Path:
    codes = np.random.default_rng(seed).standard_normal((n_vocab, CODE))
    codes /= np.linalg.norm(codes, axis=-1, keepdims=True)
    named = {**outside(codes), **silent_block(0), **silent_block(1), **previous_token_head(), **induction_head()}
    return write_tensors(path, SHAPE, spm_vocabulary(n_vocab), encoded(named), dtype="F32", name="tiny induction")


def outside(codes: Array) -> dict[str, Array]:
    """Embedding and output. The weight of a norm undoes its scale: so many codes and ones are in the stream by then."""
    embedding, output = np.zeros((2, len(codes), SHAPE.n_embd))
    embedding[:, PRESENT], embedding[:, ONE] = codes, 1
    output[:, ANSWER] = SHARPNESS[2] * codes
    return {
        "token_embd.weight": embedding,
        "output.weight": output,
        "blk.0.attn_norm.weight": undone(2),
        "blk.1.attn_norm.weight": undone(3),
        "output_norm.weight": undone(4),
    }


def undone(square: float) -> Array:
    """The weight of a norm that leaves a vector of length sqrt(square) as it is."""
    return np.full(SHAPE.n_embd, (square / SHAPE.n_embd) ** 0.5)


def silent_block(layer: int) -> dict[str, Array]:
    sizes = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (SHAPE.n_embd, SHAPE.n_embd))
    sizes |= {"ffn_gate": (SHAPE.n_ff, SHAPE.n_embd), "ffn_up": (SHAPE.n_ff, SHAPE.n_embd)}
    sizes |= {"ffn_down": (SHAPE.n_embd, SHAPE.n_ff), "ffn_norm": (SHAPE.n_embd,)}
    return {f"blk.{layer}.{name}.weight": np.zeros(size) for name, size in sizes.items()}


def previous_token_head() -> dict[str, Array]:
    """Every key points the same way; every query is turned back by one position, so that it meets the key before."""
    angle = SHAPE.rope_base ** (-np.arange(0, SIZE, 2) / SIZE)
    q, k, v, out = np.zeros((4, SHAPE.n_embd, SHAPE.n_embd))
    q[0:SIZE:2, ONE], q[1:SIZE:2, ONE] = SHARPNESS[0] * np.cos(angle), -SHARPNESS[0] * np.sin(angle)
    k[0:SIZE:2, ONE] = SHARPNESS[0]
    v[:CODE, PRESENT] = out[BEFORE, :CODE] = np.eye(CODE)
    return matrices(0, q, k, v, out)


def induction_head() -> dict[str, Array]:
    """A query is the token's own code, a key that of the token before: they meet behind an earlier occurrence."""
    q, k, v, out = np.zeros((4, SHAPE.n_embd, SHAPE.n_embd))
    q[SLOW, PRESENT] = k[SLOW, BEFORE] = SHARPNESS[1] * np.eye(CODE)
    v[:CODE, PRESENT] = out[ANSWER, :CODE] = np.eye(CODE)
    return matrices(1, q, k, v, out)


def matrices(layer: int, *qkvo: Array) -> dict[str, Array]:
    return {f"blk.{layer}.attn_{name}.weight": each for name, each in zip(("q", "k", "v", "output"), qkvo, strict=True)}


def encoded(named: dict[str, Array]) -> Iterator[tuple[str, Tensor]]:
    for name, weights in named.items():
        yield name, (weights.astype(np.float32), gguf.GGMLQuantizationType.F32)
