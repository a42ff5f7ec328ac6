"""What a model will need before it is loaded, and what the machine has to give.

What llama.cpp allocates follows from the shape of its graph; the constants beside it were measured. For the
models of the tests the estimate lies within a tenth of what the engine's process really held, after a prompt
that filled its batches.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import psutil

from .gguf import TENSOR_TYPES, ModelInfo

DEFAULT_N_CTX = 4096
CTX_STEP = 256
"""llama.cpp rounds n_ctx up to a multiple of this."""

PROCESS = 50 << 20
"""Bytes of Python, numpy and llama.cpp itself."""
TOKEN = 300
"""Bytes llama.cpp takes for each token of the vocabulary."""
N_SEQ_MAX = 64
ROWS_BYTES = 32 << 20
"""These two are the engine's: branches at once, and what the logits of one batch may take."""

TYPE_BYTES = {name: size / weights for name, weights, size in TENSOR_TYPES.values()}
CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Estimate:
    """Memory that a model will take, in bytes.

    Attributes
    ----------
    n_ctx : context that it is for, as llama.cpp rounds it
    n_ctx_train : context the model was trained with; 0 where the file does not say
    weights : of all tensors
    kv : KV cache, reserved as a whole when the model is loaded
    compute : buffers of a full batch, logits, vocabulary, and the process itself
    free : what there was to take
    n_ctx_fit : the longest context that fits, at most the trained one; 0 where none does
    """

    n_ctx: int
    n_ctx_train: int
    weights: int
    kv: int
    compute: int
    free: int
    n_ctx_fit: int

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute

    @property
    def fits(self) -> bool:
        return self.total <= self.free

    def to_dict(self) -> dict[str, Any]:
        """All of it, for the page."""
        return {**asdict(self), "total": self.total, "fits": self.fits}


def estimate(
    info: ModelInfo,
    n_ctx: int | None = None,
    *,
    n_batch: int = 512,
    type_k: str = "f16",
    type_v: str = "f16",
    free: int | None = None,
) -> Estimate:
    """What `Model(info.path, n_ctx=...)` with the same options will take of this machine's main memory.

    Counted once are weights that llama.cpp repacks for the processor (``Q4_0`` and some others): the pages of
    the file stay resident beside them, but the system takes those back when it needs them. State of recurrent
    layers (Mamba) is not counted, and the KV cache of layers that share another's is counted too often.

    Parameters
    ----------
    info : from `read_info`
    n_ctx : tokens of context; what `Model` takes by default when None
    free : bytes to take; `free_memory()` when None
    """
    n_ctx = rounded(default_n_ctx(info) if n_ctx is None else n_ctx)
    free = free_memory() if free is None else free
    weights = weight_bytes(info)

    def needed(n: int) -> int:
        return weights + kv_bytes(info, n, type_k, type_v) + compute_bytes(info, n, n_batch, type_k, type_v)

    return Estimate(
        n_ctx=n_ctx,
        n_ctx_train=info.n_ctx_train,
        weights=weights,
        kv=kv_bytes(info, n_ctx, type_k, type_v),
        compute=compute_bytes(info, n_ctx, n_batch, type_k, type_v),
        free=free,
        n_ctx_fit=_longest(lambda n: needed(n) <= free, info.n_ctx_train or DEFAULT_N_CTX),
    )


def default_n_ctx(info: ModelInfo) -> int:
    """The context a model gets unless told otherwise: its own, but at most 4,096 tokens."""
    return min(info.n_ctx_train, DEFAULT_N_CTX) if info.n_ctx_train > 0 else DEFAULT_N_CTX


def rounded(n_ctx: int) -> int:
    """As llama.cpp rounds it."""
    return -(-n_ctx // CTX_STEP) * CTX_STEP


def _longest(fits: Callable[[int], bool], most: int) -> int:
    """The largest multiple of `CTX_STEP` up to `most` for which `fits` holds, as it does for all below it."""
    low, high = 0, max(1, most // CTX_STEP)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * CTX_STEP) else (low, middle - 1)
    return low * CTX_STEP


# --- what a model needs -----------------------------------------------------------------------------------


def weight_bytes(info: ModelInfo) -> int:
    """Of all tensors; of the files where one is of a type that is not known here."""
    if any(tensor.type not in TYPE_BYTES for tensor in info.tensors.values()):
        return info.size_bytes
    return int(sum(prod(tensor.shape) * TYPE_BYTES[tensor.type] for tensor in info.tensors.values()))


def kv_bytes(info: ModelInfo, n_ctx: int, type_k: str = "f16", type_v: str = "f16") -> int:
    """Of a key and a value for each of `n_ctx` positions, KV head and layer.

    A sliding window makes it no smaller: a fork behind the window needs all of it.
    """
    size = info.n_embd // info.n_head if info.n_head else 0
    key = _number(info, "attention.key_length") or size
    value = _number(info, "attention.value_length") or size
    return int(sum(_kv_heads(info)) * n_ctx * (key * TYPE_BYTES[type_k.upper()] + value * TYPE_BYTES[type_v.upper()]))


def compute_bytes(info: ModelInfo, n_ctx: int, n_batch: int = 512, type_k: str = "f16", type_v: str = "f16") -> int:
    """Of everything that is neither weights nor cache.

    llama.cpp lays the tensors of one graph over each other, so the largest stage counts: the feed-forward
    one (gate, up and their product, beside four copies of the stream), attention (without flash attention
    with a weight for each head and pair of tokens), or the logits.
    """
    rows = max(1, min(n_batch, ROWS_BYTES // (4 * max(1, info.n_vocab))))
    outputs = 4 * max(N_SEQ_MAX, rows) * info.n_vocab
    stream = 4 * n_batch * info.n_embd
    feed_forward = 4 * n_batch * 3 * _width(info) + 4 * stream
    attention, mask = 7 * stream, 2 * n_batch * n_ctx
    if type_k == type_v == "f32":
        attention, mask = attention + 4 * n_batch * n_ctx * info.n_head, 2 * mask
    if _number(info, "attention.sliding_window"):
        mask *= 2
    graph = max(feed_forward + mask, attention + mask, outputs + 2 * stream)
    handed_out = 4 * rows * info.n_vocab
    return PROCESS + TOKEN * info.n_vocab + graph + handed_out


def _number(info: ModelInfo, key: str) -> int:
    value = info.metadata.get(f"{info.architecture}.{key}", 0)
    return max((n for n in value if isinstance(n, int)), default=0) if isinstance(value, list) else int(value)


def _kv_heads(info: ModelInfo) -> list[int]:
    """KV heads of each layer."""
    heads = info.metadata.get(f"{info.architecture}.attention.head_count_kv")
    return cast("list[int]", heads) if isinstance(heads, list) else [info.n_head_kv] * info.n_layer


def _width(info: ModelInfo) -> int:
    """Of the feed-forward stage, over all experts that a token visits."""
    experts = _number(info, "expert_used_count")
    return max(info.n_ff, experts * (_number(info, "expert_feed_forward_length") or info.n_ff))


# --- what the machine has ---------------------------------------------------------------------------------


def free_memory() -> int:
    """Bytes that can be taken without swapping and without pushing out a model that this process has loaded.

    A limit on the process's control group (a container, a batch job) counts where it is tighter.
    """
    available = min([int(psutil.virtual_memory().available), *_group_rooms()])
    return max(0, available - _mapped_by_children())


def _mapped_by_children() -> int:
    """Pages of files that child processes use, such as the weights of loaded models: Linux calls them available."""
    total = 0
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            total += int(getattr(child.memory_info(), "shared", 0))
    return total


def _group_rooms() -> Iterator[int]:
    """What each control group above this process leaves, on Linux."""
    with suppress(OSError):
        for line in MEMBERSHIP.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _rooms(CGROUPS, path, "memory.max", "memory.current")
            elif "memory" in controllers.split(","):
                yield from _rooms(CGROUPS / "memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes")


def _rooms(base: Path, path: str, limit: str, usage: str) -> Iterator[int]:
    """Limit less usage, where files that could be dropped are no usage, from the group at `path` up to `base`."""
    group = Path(os.path.normpath(base / path.lstrip("/")))
    for folder in [group, *group.parents]:
        if not folder.is_relative_to(base):
            return
        with suppress(OSError, ValueError):  # no such group in this container, or no limit ("max")
            most = int((folder / limit).read_text())
            used = int((folder / usage).read_text())
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            prefix = "total_" if "total_inactive_file" in statistics else ""
            cached = sum(int(statistics.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
            yield max(0, most - used + min(cached, used))
