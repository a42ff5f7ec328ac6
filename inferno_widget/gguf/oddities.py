"""What the checks of a model's meaning share: they warn, and never refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .finding import Finding
from .values import WHOLES, Array, Scalar

if TYPE_CHECKING:
    from .info import ModelInfo

MAX_LAYERS = 512
"""What llama.cpp is built for."""

REFUSED = "llama.cpp will probably refuse it: convert the model again, or get another copy"
FATAL = "llama.cpp ends its process over it: convert the model again, or get another copy"


def odd(info: ModelInfo, key: str, found: str, expected: str, advice: str = REFUSED) -> Finding:
    """A warning about the value under `key`, or about a tensor of that name."""
    return Finding("warning", key, info.metadata.offset(key), found, expected, advice)


def raw(info: ModelInfo, key: str) -> Scalar | Array | None:
    """What stands under a key of the architecture."""
    return info.metadata.raw(f"{info.architecture}.{key}")


def whole(info: ModelInfo, key: str) -> int | None:
    """The whole number under a key of the architecture; None where there is none, or one for each layer."""
    value = raw(info, key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def blocks(info: ModelInfo) -> int:
    """Blocks in the file; those that guess tokens further on (MTP) are no layers that a token goes through."""
    return whole(info, "block_count") or 0


def per_layer(info: ModelInfo, key: str) -> list[int]:
    """The whole number of each layer under a key of the architecture; [] where there is none."""
    value, alone = raw(info, key), whole(info, key)
    if isinstance(value, Array) and value.kind in WHOLES and value.count <= MAX_LAYERS:
        return [int(each) for each in value.numbers()]
    return [] if alone is None else [alone] * max(1, min(blocks(info), MAX_LAYERS))
