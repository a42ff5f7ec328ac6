"""Where the architectures differ, beyond the tensors that their files have or have not.

A bias, a gate, experts, a norm of queries and keys, a norm behind a block, fused projections, a table of positions and
an output matrix of its own are used if they are in the file; `Architecture` says the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pairs = Callable[[int], tuple[slice, slice]]


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def tabled_gelu(x: Array) -> Array:
    """As llama.cpp's CPU does it: by a table from float16 to float16."""
    return gelu(x.astype(np.float16).astype(np.float64)).astype(np.float16).astype(np.float64)


def neighbours(size: int) -> tuple[slice, slice]:
    """(0, 1), (2, 3), ..."""
    return slice(0, size, 2), slice(1, size, 2)


def halves(size: int) -> tuple[slice, slice]:
    """(0, size / 2), (1, size / 2 + 1), ..."""
    return slice(0, size // 2), slice(size // 2, size)


@dataclass(frozen=True)
class Architecture:
    """What the tensors do not say.

    Attributes
    ----------
    pairs : which entries of a query and a key RoPE turns together; None for no rotation
    activation : of the MLP
    centred : the norms take away the mean (LayerNorm), not only the scale (RMSNorm)
    scaled_embedding : a token's embedding is multiplied by sqrt(n_embd)
    attention_cap, logit_cap : x becomes cap * tanh(x / cap); 0 for no cap. The file may say another.
    unlimited_every : every n-th layer sees the whole text, the others the latest tokens; 1 for all layers
    window_rope_base : RoPE's base in the layers that see the latest tokens alone, if it is another
    parallel : attention and MLP read the same stream, side by side
    """

    pairs: Pairs | None = halves
    activation: Callable[[Array], Array] = silu
    centred: bool = False
    scaled_embedding: bool = False
    attention_cap: float = 0.0
    logit_cap: float = 0.0
    unlimited_every: int = 1
    window_rope_base: float | None = None
    parallel: bool = False


ARCHITECTURES = {
    "llama": Architecture(pairs=neighbours),
    "qwen2": Architecture(),
    "qwen3": Architecture(),
    "gemma2": Architecture(
        activation=gelu, scaled_embedding=True, attention_cap=50.0, logit_cap=30.0, unlimited_every=2
    ),
    "gemma3": Architecture(activation=gelu, scaled_embedding=True, unlimited_every=6, window_rope_base=10_000.0),
    "gpt2": Architecture(pairs=None, activation=gelu, centred=True),
    "gptneox": Architecture(activation=gelu, centred=True, parallel=True),
    "phi3": Architecture(),
    "olmo2": Architecture(),
    "qwen2moe": Architecture(),
}
