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
from typing import Any

import psutil

from .errors import NotEnoughMemoryError
from .gguf import TENSOR_TYPES, ModelInfo
from .gguf.header import MAX_LAYERS

DEFAULT_N_CTX = 4096
CTX_STEP = 256
"""llama.cpp rounds n_ctx up to a multiple of this."""

PROCESS = 50 << 20
"""Bytes of Python, numpy and llama.cpp itself."""
TOKEN = 300
"""Bytes llama.cpp takes for each token of the vocabulary."""
N_SEQ_MAX = 64
ROWS_BYTES = 32 << 20
SECOND_BATCH = 128
"""These three are the engine's: branches at once, what the logits of one batch may take, and the batch of a second
context."""

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
    n_gpu_layers: int = 0,
    free: int | None = None,
) -> Estimate:
    """What `Model(info.path, n_ctx=...)` with the same options will take of this machine's main memory.

    Counted once are weights that llama.cpp repacks for the processor (``Q4_0`` and some others): the pages of
    the file stay resident beside them, but the system takes those back when it needs them. The KV cache of layers
    that share another's is counted too often.

    Parameters
    ----------
    info : from `read_info`
    n_ctx : tokens of context; what `Model` takes by default when None
    n_gpu_layers : layers whose weights and cache are a GPU's, and no business of the main memory; -1 is all
    free : bytes to take; `free_memory()` when None
    """
    n_ctx = rounded(default_n_ctx(info) if n_ctx is None else n_ctx)
    free = free_memory() if free is None else free
    here = _share_here(info, n_gpu_layers)
    weights = int(here * weight_bytes(info))

    def cache(n: int) -> int:
        return int(here * cache_bytes(info, n, type_k, type_v))

    def needed(n: int) -> int:
        return weights + cache(n) + compute_bytes(info, n, n_batch, type_k, type_v)

    return Estimate(
        n_ctx=n_ctx,
        n_ctx_train=info.n_ctx_train,
        weights=weights,
        kv=cache(n_ctx),
        compute=compute_bytes(info, n_ctx, n_batch, type_k, type_v),
        free=free,
        n_ctx_fit=_longest(lambda n: needed(n) <= free, info.n_ctx_train or DEFAULT_N_CTX),
    )


def require(info: ModelInfo, found: Estimate) -> None:
    """Raise NotEnoughMemoryError, with the numbers, unless a model fits into what is free."""
    if found.fits:
        return
    total, free, weights, kv, compute = map(spelled, (found.total, found.free, found.weights, found.kv, found.compute))
    longest = f"the longest context that fits is n_ctx={found.n_ctx_fit:,}" if found.n_ctx_fit else "no context fits"
    raise NotEnoughMemoryError(
        f"{info.name} needs {total} of memory, and {free} are free: {weights} for weights, {kv} for the KV cache of "
        f"{found.n_ctx:,} tokens, {compute} to compute; {longest}. Take a shorter n_ctx, a cache of type_k='q8_0' and "
        "type_v='q8_0' or a smaller model, close what takes memory, or load it all the same with force=True: if memory "
        "runs out, the system ends the model's process",
        needed=found.total,
        free=found.free,
        n_ctx_fit=found.n_ctx_fit,
    )


def require_second(
    info: ModelInfo, n_ctx: int, *, n_batch: int, type_k: str, type_v: str, n_gpu_layers: int, free: int | None = None
) -> None:
    """Raise NotEnoughMemoryError unless a second context fits into what is free, beside the model that is loaded.

    It is where the inside is looked at and changed: it has a cache of its own, and computes without flash attention.
    """
    free = free_memory() if free is None else free
    needed = second_bytes(info, n_ctx, n_batch=n_batch, type_k=type_k, type_v=type_v, n_gpu_layers=n_gpu_layers)
    if needed > free:
        raise NotEnoughMemoryError(
            f"looking at the inside of {info.name}, or changing it, takes a second context of {n_ctx:,} tokens, which "
            f"needs {spelled(needed)} of memory, and {spelled(free)} are free. Load the model with a shorter n_ctx, "
            "close what takes memory, or load it with force=True to have it made all the same",
            needed=needed,
            free=free,
        )


def second_bytes(
    info: ModelInfo, n_ctx: int, *, n_batch: int = 512, type_k: str = "f16", type_v: str = "f16", n_gpu_layers: int = 0
) -> int:
    """Of a second context: its cache, and its buffers; see `require_second`."""
    n_batch, type_v = min(n_batch, SECOND_BATCH), type_v if type_v in ("f32", "f16", "bf16") else "f16"
    cache = _share_here(info, n_gpu_layers) * cache_bytes(info, n_ctx, type_k, type_v)
    buffers = compute_bytes(info, n_ctx, n_batch, "f32", "f32") - PROCESS - TOKEN * info.n_vocab
    return int(cache) + buffers


def spelled(n: int) -> str:
    """Bytes as a person reads them: "310 MB", "4.2 GB"."""
    return f"{n / 1e9:,.1f} GB" if n >= 999.5e6 else f"{n / 1e6:,.0f} MB"


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


def cache_bytes(info: ModelInfo, n_ctx: int, type_k: str = "f16", type_v: str = "f16") -> int:
    """Of what is kept of the tokens that were read: keys and values, and the states of recurrent layers."""
    return kv_bytes(info, n_ctx, type_k, type_v) + state_bytes(info)


def kv_bytes(info: ModelInfo, n_ctx: int, type_k: str = "f16", type_v: str = "f16") -> int:
    """Of a key and a value for each of `n_ctx` positions, KV head and layer.

    A sliding window makes it no smaller: a fork behind the window needs all of it.
    """
    size = info.n_embd // info.n_head if info.n_head > 0 else 0
    key = _number(info, "attention.key_length") or size
    value = _number(info, "attention.value_length") or size
    return int(_kv_heads(info) * n_ctx * (key * TYPE_BYTES[type_k.upper()] + value * TYPE_BYTES[type_v.upper()]))


def state_bytes(info: ModelInfo) -> int:
    """Of the states of recurrent layers (Mamba, RWKV, LFM2): float32, whatever the context, and one for each branch.

    Where a list says which layers have keys, the others are recurrent; else all are, if any.
    """
    if head := _number(info, "wkv.head_size"):
        numbers = info.n_embd * (_number(info, "token_shift_count") + head)
    elif kept := _number(info, "shortconv.l_cache"):
        numbers = info.n_embd * (kept - 1)
    else:
        inner, size = _number(info, "ssm.inner_size"), _number(info, "ssm.state_size")
        convolved = max(0, _number(info, "ssm.conv_kernel") - 1)
        numbers = inner * size + convolved * (inner + 2 * _number(info, "ssm.group_count") * size)
    heads = _value(info, "attention.head_count_kv")
    mixed = isinstance(heads, list) and 0 in heads
    layers = heads.count(0) if mixed and isinstance(heads, list) else _whole(info.n_layer)
    return 4 * N_SEQ_MAX * layers * numbers


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
    """A number of the file, the largest where layers differ; 0 where it says nothing, or nonsense."""
    value = _value(info, key)
    return max((_whole(n) for n in value), default=0) if isinstance(value, list) else _whole(value)


def _value(info: ModelInfo, key: str) -> object:
    """What the file says; nothing where that is a list longer than any model has layers: it could fill the memory."""
    name = f"{info.architecture}.{key}"
    return None if info.metadata.count(name) > MAX_LAYERS else info.metadata.get(name)


def _whole(value: object) -> int:
    return max(0, value) if isinstance(value, int) else 0


def _kv_heads(info: ModelInfo) -> int:
    """KV heads of all layers together."""
    heads = _value(info, "attention.head_count_kv")
    return sum(map(_whole, heads)) if isinstance(heads, list) else _whole(info.n_head_kv) * _whole(info.n_layer)


def _share_here(info: ModelInfo, n_gpu_layers: int) -> float:
    """The share of the weights and of the cache that is no GPU's. The output matrix counts as a layer."""
    layers = max(1, _whole(info.n_layer) + 1)
    return 1 - (layers if n_gpu_layers < 0 else min(n_gpu_layers, layers)) / layers


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
