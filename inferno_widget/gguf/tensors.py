"""Types of tensors, and where they lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import prod
from typing import NamedTuple

TENSOR_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
"""Name, weights a block, bytes a block."""

MIXTURES = {
    11: ("Q3_K_S", "Q3_K"),
    12: ("Q3_K_M", "Q3_K"),
    13: ("Q3_K_L", "Q3_K"),
    14: ("Q4_K_S", "Q4_K"),
    15: ("Q4_K_M", "Q4_K"),
    16: ("Q5_K_S", "Q5_K"),
    17: ("Q5_K_M", "Q5_K"),
    21: ("Q2_K_S", "Q2_K"),
    22: ("IQ3_XS", "IQ3_S"),
    27: ("IQ3_M", "IQ3_S"),
    28: ("IQ2_S", "IQ2_XS"),
    29: ("IQ2_M", "IQ2_S"),
}
"""``general.file_type`` of files that mix tensor types: their usual name and the type of most weights."""


class Tensor(NamedTuple):
    """Where a tensor lies.

    Attributes
    ----------
    type : such as ``"F32"`` or ``"Q8_0"``; ``"type 99"`` for one that is not known here
    shape : numpy's order: [outputs, inputs] for a matrix
    offset : bytes from the start of its file
    part : which of `ModelInfo.files` holds it
    """

    type: str
    shape: tuple[int, ...]
    offset: int
    part: int


def rows(tensor: Tensor | None) -> int:
    """Number of rows; 0 for no tensor."""
    return tensor.shape[0] if tensor and tensor.shape else 0


def quantisation(tensors: Mapping[str, Tensor], file_type: int | None) -> str:
    """The type of most weights, or the usual name of the mixture where the file's own word agrees with it."""
    weights: Counter[str] = Counter()
    for tensor in tensors.values():
        weights[tensor.type] += prod(tensor.shape)
    most = weights.most_common(1)[0][0] if weights else ""
    mixture, main_type = MIXTURES.get(file_type or 0, ("", ""))
    return mixture if mixture and main_type == most else most
