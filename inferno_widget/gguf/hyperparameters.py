"""Hyperparameters that cannot be right, or that the tensors do not agree with.

Only what is true of every architecture, so that a good file gets no warning: there are more than a hundred of them, and
llama.cpp knows each one's rules. What is certain to end its process comes first.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .finding import Finding
from .oddities import FATAL, MAX_LAYERS, blocks, odd, per_layer, raw, whole
from .tensors import rows
from .values import Array

if TYPE_CHECKING:
    from .info import ModelInfo

LONGEST_CONTEXT = 1 << 26
"""Tokens; the longest of a known model is 10 million."""
MAX_EXPERTS = 1024
ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
BLOCK = re.compile(r"(?:(?:enc|dec)\.)?blk\.(\d+)\.")
READ_ALL = re.compile(
    r"(token_embd|output|output_norm|blk\.\d+\.(attn_(norm|q|k|v|qkv)|ffn_(up|gate)))\.weight", re.ASCII
)
"""Tensors that meet the whole residual stream."""
MATRIX = re.compile(READ_ALL.pattern + r"|blk\.\d+\.(attn_output|ffn_down)\.weight", re.ASCII)
NO_WEIGHTS = {"I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K"}
VECTORS = ("norm.weight", ".bias")
SHOWN = 3
"""Tensors with one thing wrong."""


def odd_shape(info: ModelInfo) -> Iterator[Finding]:
    """All warnings about hyperparameters and tensors."""
    yield from _counts(info)
    yield from _heads(info)
    yield from _experts(info)
    yield from _fractions(info)
    yield from _missing(info)
    yield from _types(info)
    if raw(info, "features_length") is None:  # a vocoder: what it embeds is not what it is wide
        yield from _dimensions(info)


def _key(info: ModelInfo, key: str) -> str:
    return f"{info.architecture}.{key}"


def _counts(info: ModelInfo) -> Iterator[Finding]:
    """The numbers that every language model has."""
    for key in ("context_length", "embedding_length", "block_count"):
        if raw(info, key) is None:
            yield odd(info, _key(info, key), "it is missing", "a whole number")
        elif not whole(info, key):
            yield odd(info, _key(info, key), "0", "1 or more", FATAL)
    if blocks(info) > MAX_LAYERS:
        yield odd(info, _key(info, "block_count"), f"{blocks(info):,}", f"at most {MAX_LAYERS}", FATAL)
    if info.n_ctx_train > LONGEST_CONTEXT:
        advice = "llama.cpp may take as much memory as that: give n_ctx yourself"
        yield odd(info, _key(info, "context_length"), f"{info.n_ctx_train:,}", f"at most {LONGEST_CONTEXT:,}", advice)


def _heads(info: ModelInfo) -> Iterator[Finding]:
    heads, shared = per_layer(info, "attention.head_count"), per_layer(info, "attention.head_count_kv")
    for key in ("attention.head_count", "attention.head_count_kv", "feed_forward_length"):
        value = raw(info, key)
        if isinstance(value, Array) and value.count != blocks(info):
            yield odd(info, _key(info, key), f"{value.count:,} numbers", f"{blocks(info):,}, one for each layer")
    if not any(heads):
        if any(".attn_q.weight" in name or ".attn_qkv.weight" in name for name in info.tensors):
            found = "0" if heads else "it is missing"
            yield odd(info, _key(info, "attention.head_count"), found, "1 or more, since it has attention", FATAL)
        return
    pairs = ((n, kv) for n, kv in zip(heads, shared, strict=False) if n and kv and n % kv)
    for n, kv in itertools.islice(pairs, 1):
        expected = f"a divisor of the {n:,} heads"
        yield odd(info, _key(info, "attention.head_count_kv"), f"{kv:,}", expected, FATAL)
    if raw(info, "attention.key_length") is None:
        for n in sorted({n for n in heads if n and info.n_embd % n})[:1]:
            expected = f"a divisor of the width, {info.n_embd:,}, where no key_length is given"
            yield odd(info, _key(info, "attention.head_count"), f"{n:,}", expected, FATAL)
    yield from _rotation(info, heads)


def _rotation(info: ModelInfo, heads: list[int]) -> Iterator[Finding]:
    """The part of a head that is rotated by its position."""
    n = whole(info, "rope.dimension_count")
    size = whole(info, "attention.key_length") or info.n_embd // max(heads)
    if n is not None and (n % 2 or n > size):
        expected = f"an even number, at most the head's {size:,}"
        yield odd(info, _key(info, "rope.dimension_count"), f"{n:,}", expected, FATAL)


def _experts(info: ModelInfo) -> Iterator[Finding]:
    n, used = whole(info, "expert_count") or 0, max(per_layer(info, "expert_used_count"), default=0)
    if n > MAX_EXPERTS:
        yield odd(info, _key(info, "expert_count"), f"{n:,}", f"at most {MAX_EXPERTS:,}", FATAL)
    if used > n or (n and not used):
        yield odd(info, _key(info, "expert_used_count"), f"{used:,}", f"from 1 to the {n:,} experts", FATAL)
    groups, of_groups = whole(info, "expert_group_count") or 0, whole(info, "expert_group_used_count") or 0
    if groups and (groups >= n or n % groups):
        expected = f"a divisor of the {n:,} experts, and fewer"
        yield odd(info, _key(info, "expert_group_count"), f"{groups:,}", expected, FATAL)
    elif groups > 1 and not 0 < of_groups < groups:
        yield odd(info, _key(info, "expert_group_used_count"), f"{of_groups:,}", f"from 1 to {groups - 1:,}", FATAL)


def _fractions(info: ModelInfo) -> Iterator[Finding]:
    """Numbers of the formulas."""
    for key, value in info.metadata.floats():
        name = key.removeprefix(f"{info.architecture}.")
        if name == key:
            continue
        if not math.isfinite(value):
            yield odd(
                info, key, str(value), "a finite number", "what it computes would be no numbers: get another copy"
            )
        elif name.endswith("epsilon") and not 0 <= value < 1:
            yield odd(info, key, str(value), "a small number, 0 or more", FATAL)
        elif name == "rope.freq_base" and value <= 0:
            yield odd(info, key, str(value), "a positive number", "the text will make no sense: get another copy")
    scaling = raw(info, "rope.scaling.type")
    if scaling is not None and scaling not in ROPE_SCALINGS:
        expected = f"one of {', '.join(ROPE_SCALINGS)}"
        yield odd(info, _key(info, "rope.scaling.type"), repr(scaling)[:80], expected, FATAL)


def _missing(info: ModelInfo) -> Iterator[Finding]:
    """Tensors without which there is nothing to compute."""
    if "token_embd.weight" not in info.tensors:
        yield odd(info, "token_embd.weight", "this tensor is missing", "the embedding of tokens")
    there = {int(found[1]) for found in map(BLOCK.match, info.tensors) if found}
    wanted = range(min(info.n_layer, MAX_LAYERS))
    absent = [n for n in wanted if n not in there]
    if there and absent:
        yield odd(info, f"blk.{absent[0]}", "this block has no tensors", f"{len(wanted)} blocks, as block_count says")
    if there and blocks(info) and max(there) >= blocks(info):
        found = f"{blocks(info):,}, but there are tensors of block {max(there):,}"
        yield odd(info, _key(info, "block_count"), found, "as many as there are")


def _types(info: ModelInfo) -> Iterator[Finding]:
    """Vectors that llama.cpp adds and multiplies as F32 alone, and matrices of what it does not multiply."""
    vectors = ((n, t.type) for n, t in info.tensors.items() if n.endswith(VECTORS) and len(t.shape) == 1)
    for name, kind in itertools.islice((each for each in vectors if each[1] != "F32"), SHOWN):
        yield odd(info, name, f"a vector of {kind}", "F32", FATAL)
    wrong = ((n, t.type) for n, t in info.tensors.items() if t.type in NO_WEIGHTS and MATRIX.fullmatch(n))
    for name, kind in itertools.islice(wrong, SHOWN):
        yield odd(info, name, f"weights of {kind}", "a type for weights, such as F16 or Q8_0", FATAL)


def _dimensions(info: ModelInfo) -> Iterator[Finding]:
    """Shapes that follow from the hyperparameters whatever the architecture."""
    embedding, output, positions = (info.tensors.get(f"{n}.weight") for n in ("token_embd", "output", "position_embd"))
    n_tokens = info.metadata.count("tokenizer.ggml.tokens")
    expected = f"{n_tokens:,}, one for each token of the vocabulary"
    if embedding and n_tokens and rows(embedding) != n_tokens:
        yield odd(info, "token_embd.weight", f"{rows(embedding):,} rows", expected)
    if output and n_tokens and rows(output) != n_tokens and raw(info, "classifier.output_labels") is None:
        yield odd(info, "output.weight", f"{rows(output):,} rows", expected)
    if positions and rows(positions) < info.n_ctx_train:
        found = f"{info.n_ctx_train:,}, but {rows(positions):,} positions in position_embd.weight"
        yield odd(info, _key(info, "context_length"), found, "one for each position")
    wrong = (n for n, t in info.tensors.items() if READ_ALL.fullmatch(n) and t.shape and t.shape[-1] != info.n_embd)
    for name in itertools.islice(wrong, SHOWN if info.n_embd else 0):
        found = f"a shape of {' x '.join(map(str, info.tensors[name].shape))}"
        yield odd(info, name, found, f"rows of {info.n_embd:,}, as embedding_length says")
