"""The table of tensors: names, dimensions, types, offsets; and what the weights say."""

from __future__ import annotations

import random
import struct

from tests.fuzz.draft import Draft, Tensor
from tests.fuzz.mutations.registry import TEXTS, WHOLES, mutation

SIZES = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    12: (256, 144),
    14: (256, 210),
    20: (32, 18),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    30: (1, 2),
    39: (32, 17),
}
"""Of a type: weights and bytes a block."""


def _size(shape: list[int], kind: int) -> int:
    weights, size = SIZES[kind]
    n = 1
    for each in shape:
        n *= each
    return max(0, n) // weights * size


def _fit(tensor: Tensor) -> None:
    """Give a tensor as many bytes as its shape and type want, as far as that is sensible."""
    size = _size(tensor.shape, tensor.kind)
    if size <= 1 << 24:
        tensor.data = (tensor.data * (size // max(1, len(tensor.data)) + 1))[:size]


@mutation
def tensor_gone(draft: Draft, dice: random.Random) -> None:
    for tensor in dice.sample(draft.tensors, dice.choice([1, 1, 1, 2, 4])):
        draft.tensors.remove(tensor)


@mutation
def tensors_all_gone(draft: Draft, dice: random.Random) -> None:
    keep = dice.choice([b"", b"token_embd", b"blk.0", b"output"])
    draft.tensors = [tensor for tensor in draft.tensors if keep and tensor.name.startswith(keep)]


@mutation
def layer_gone(draft: Draft, dice: random.Random) -> None:
    layer = dice.choice([b"blk.0.", b"blk.1."])
    draft.tensors = [tensor for tensor in draft.tensors if layer not in tensor.name]


@mutation
def tensor_twice(draft: Draft, dice: random.Random) -> None:
    draft.tensors.insert(dice.randrange(len(draft.tensors)), dice.choice(draft.tensors))


@mutation
def tensor_more(draft: Draft, dice: random.Random) -> None:
    """One that the model has no use for, or one that is optional: a bias, a scale, factors of the rope."""
    block, width = f"blk.{dice.choice([0, 1, 7])}.", dice.choice([1, 16, 32, 33, 64])
    name = dice.choice(
        [
            "output.weight",
            "output.bias",
            "rope_freqs.weight",
            "rope_factors_long.weight",
            "rope_factors_short.weight",
            *(
                block + each
                for each in (
                    "attn_q.bias",
                    "attn_k.bias",
                    "attn_output.bias",
                    "ffn_gate.bias",
                    "ffn_down.scale",
                    "attn_q.scale",
                    "rope_freqs.weight",
                    "attn_q_norm.weight",
                    "attn_sinks.weight",
                    "nonsense.weight",
                    "attn_qkv.weight",
                )
            ),
            "cls.weight",
            "token_types.weight",
            "\0",
            "",
        ]
    )
    shape = dice.choice([[width], [width, 320], [320, width], [width, width]])
    _weights = struct.pack(f"<{_size(shape, 0) // 4}f", *(dice.gauss(0, 1) for _ in range(_size(shape, 0) // 4)))
    draft.tensors.append(Tensor(name.encode(), shape, 0, _weights))


@mutation
def tensor_named(draft: Draft, dice: random.Random) -> None:
    tensor = dice.choice(draft.tensors)
    tensor.name = dice.choice(
        [
            *TEXTS,
            b"t" * 63,
            b"t" * 64,
            b"t" * 65,
            b"blk.-1.attn_q.weight",
            b"blk.99.attn_q.weight",
            b"blk.4294967296.attn_q.weight",
            b"blk..weight",
            tensor.name.upper(),
        ]
    )


@mutation
def tensors_named_as_each_other(draft: Draft, dice: random.Random) -> None:
    a, b = dice.sample(draft.tensors, 2)
    a.name, b.name = b.name, a.name


@mutation
def tensors_shuffled(draft: Draft, dice: random.Random) -> None:
    """In another order, which is fine."""
    dice.shuffle(draft.tensors)


# --- dimensions -------------------------------------------------------------------------------------------


@mutation
def dimension(draft: Draft, dice: random.Random) -> None:
    """One dimension is another, with the bytes it had."""
    tensor = dice.choice(draft.tensors)
    at = dice.randrange(len(tensor.shape))
    tensor.shape[at] = dice.choice([*WHOLES, tensor.shape[at] - 1, tensor.shape[at] + 1, tensor.shape[at] * 2])


@mutation
def dimension_fitted(draft: Draft, dice: random.Random) -> None:
    """One dimension is another, with as many bytes as that takes."""
    tensor = dice.choice(draft.tensors)
    at = dice.randrange(len(tensor.shape))
    old = tensor.shape[at]
    tensor.shape[at] = dice.choice([0, 1, 2, old // 2, max(0, old - 1), old + 1, old + 32, old * 2])
    _fit(tensor)


@mutation
def dimensions_of_all(draft: Draft, dice: random.Random) -> None:
    """Every tensor has the width of another model, while the hyperparameters say the old one."""
    old, new = 32, dice.choice([0, 1, 16, 31, 33, 64])
    for tensor in draft.tensors:
        tensor.shape = [new if n == old else n for n in tensor.shape]
        if tensor.kind in SIZES:
            _fit(tensor)


@mutation
def dimensions_turned(draft: Draft, dice: random.Random) -> None:
    for tensor in dice.sample(draft.tensors, dice.choice([1, 3, len(draft.tensors)])):
        tensor.shape.reverse()


@mutation
def dimensions_many(draft: Draft, dice: random.Random) -> None:
    """More or fewer of them."""
    tensor = dice.choice(draft.tensors)
    tensor.shape = dice.choice(
        [
            [],
            [1, *tensor.shape],
            [*tensor.shape, 1],
            [*tensor.shape, 2],
            [*tensor.shape, 0],
            [1] * 4,
            [2] * 5,
            [*tensor.shape, 1, 1, 1],
            [1] * 1_000,
            [1 << 32, 1 << 32],
            [1 << 16] * 4,
            tensor.shape * 2,
            [_size(tensor.shape, 0) // 4],
        ]
    )


@mutation
def dimensions_overflow(draft: Draft, dice: random.Random) -> None:
    """A product that is small again once it has wrapped round."""
    tensor = dice.choice(draft.tensors)
    tensor.shape = dice.choice(
        [
            [1 << 32, 1 << 32],
            [1 << 62, 4],
            [32, (1 << 63) + 1],
            [1 << 31, 1 << 31, 4],
            [(1 << 64) - 32, 320],
            [32, 1 << 60],
            [1 << 33, (1 << 31) - 1, 2, 2],
        ]
    )


# --- types ------------------------------------------------------------------------------------------------


@mutation
def tensor_type(draft: Draft, dice: random.Random) -> None:
    """Another type over the bytes of the old."""
    dice.choice(draft.tensors).kind = dice.choice([*range(45), 99, 1 << 31, (1 << 32) - 1])


@mutation
def tensor_type_fitted(draft: Draft, dice: random.Random) -> None:
    """Another type with as many bytes as it takes: nothing in the table is wrong."""
    for tensor in dice.sample(draft.tensors, dice.choice([1, 1, 3, len(draft.tensors)])):
        tensor.kind = dice.choice(list(SIZES))
        _fit(tensor)


@mutation
def vectors_typed(draft: Draft, dice: random.Random) -> None:
    """Norms and biases in a type that llama.cpp never sees there."""
    kind = dice.choice([k for k in SIZES if k])
    for tensor in draft.tensors:
        if len(tensor.shape) == 1 and dice.random() < 0.7:
            tensor.kind = kind
            _fit(tensor)


# --- offsets ----------------------------------------------------------------------------------------------


@mutation
def offset(draft: Draft, dice: random.Random) -> None:
    dice.choice(draft.tensors).offset = dice.choice([*WHOLES, 32, 64, 96, 4_096, (1 << 64) - 32, (1 << 63) - 32])


@mutation
def offsets_overlap(draft: Draft, dice: random.Random) -> None:
    start = dice.choice([0, 32, 1_024])
    for tensor in dice.sample(draft.tensors, dice.choice([2, 5, len(draft.tensors)])):
        tensor.offset = start


@mutation
def offsets_misaligned(draft: Draft, dice: random.Random) -> None:
    by, end = dice.choice([1, 2, 4, 16]), 0
    for tensor in draft.tensors:
        tensor.offset, end = end + by, draft.padded(end + len(tensor.data))
    draft.late.append(lambda data: data + bytes(64))


# --- weights ----------------------------------------------------------------------------------------------


@mutation
def weights_not_finite(draft: Draft, dice: random.Random) -> None:
    """NaN or infinity in one weight, a row or everywhere."""
    tensor, value = (
        dice.choice(draft.tensors),
        struct.pack("<f", dice.choice([float("nan"), float("inf"), -float("inf")])),
    )
    n = max(1, len(tensor.data) // 4)
    first, length = dice.choice([(0, n), (dice.randrange(n), 1), (0, min(32, n))])
    data = bytearray(tensor.data)
    data[4 * first : 4 * (first + length)] = value * min(length, n - first)
    tensor.data = bytes(data[: len(tensor.data)])


@mutation
def weights_extreme(draft: Draft, dice: random.Random) -> None:
    """All zero, huge, alike, or denormal."""
    value = struct.pack("<f", dice.choice([0.0, 3e38, -3e38, 1e-42, 1.0, 1e20]))
    for tensor in dice.sample(draft.tensors, dice.choice([1, 3, len(draft.tensors)])):
        tensor.data = value * (len(tensor.data) // 4)


@mutation
def weights_noise(draft: Draft, dice: random.Random) -> None:
    for tensor in dice.sample(draft.tensors, dice.choice([1, 3, len(draft.tensors)])):
        tensor.data = dice.randbytes(len(tensor.data))
