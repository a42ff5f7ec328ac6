"""Watch a local language model think, token by token, inside a notebook.

`Inferno()` is the whole workbench; `Model` and `Session` are the same without a screen. Importing this
package is cheap: each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import (
        Cancelled,
        ContextFullError,
        EngineDiedError,
        InfernoError,
        ModelFileError,
        ModelLoadError,
        TraceFileError,
    )
    from .gguf import ModelInfo, read_info
    from .model import Model
    from .record import Kind, StepRecord
    from .sampling.sampler import Sampler
    from .session import Session
    from .trace import Trace
    from .verification import Verification, verify
    from .widget import Inferno

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "ContextFullError",
    "EngineDiedError",
    "Inferno",
    "InfernoError",
    "Kind",
    "Model",
    "ModelFileError",
    "ModelInfo",
    "ModelLoadError",
    "Sampler",
    "Session",
    "StepRecord",
    "Trace",
    "TraceFileError",
    "Verification",
    "read_info",
    "verify",
]

_HOME = {
    "Cancelled": "errors",
    "ContextFullError": "errors",
    "EngineDiedError": "errors",
    "Inferno": "widget",
    "InfernoError": "errors",
    "Kind": "record",
    "Model": "model",
    "ModelFileError": "errors",
    "ModelInfo": "gguf",
    "ModelLoadError": "errors",
    "Sampler": "sampling.sampler",
    "Session": "session",
    "StepRecord": "record",
    "Trace": "trace",
    "TraceFileError": "errors",
    "Verification": "verification",
    "read_info": "gguf",
    "verify": "verification",
}
"""Public name -> the module it lives in."""


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
