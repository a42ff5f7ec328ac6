"""Path of a GGUF file -> `ModelInfo`, and all that is wrong with the file, without native code.

The header is read into memory, never mapped: a mapped file that shrinks ends the process, and this runs in
the notebook's kernel. Nothing that the file says is trusted: every count and length is held against the
file's size before anything is made from it. What is merely unknown (keys, architectures, newer tensor
types) passes, since llama.cpp has the last word on those.
"""

from __future__ import annotations

from .finding import Finding
from .info import ModelInfo, changed, check, read_info, scaled
from .reader import opened
from .tensors import TENSOR_TYPES, Tensor, rows
from .values import Array, Metadata

__all__ = [
    "TENSOR_TYPES",
    "Array",
    "Finding",
    "Metadata",
    "ModelInfo",
    "Tensor",
    "changed",
    "check",
    "opened",
    "read_info",
    "rows",
    "scaled",
]
