"""The weights of a GGUF file as float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inferno_widget.gguf import ModelInfo, Tensor


def dequantised(info: ModelInfo, tensor: Tensor) -> NDArray[np.float64]:
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
