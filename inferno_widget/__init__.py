"""Watch a local language model think, token by token, inside a notebook.

`Inferno()` is the whole workbench; `Model` and `Session` are the same without a screen. Importing this
package is cheap: each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .capturing import Capture
    from .causal import CausalMap
    from .dice import what_if
    from .errors import (
        Cancelled,
        ContextFullError,
        EngineDiedError,
        GrammarError,
        InfernoError,
        ModelFileError,
        ModelLoadError,
        NotEnoughMemoryError,
        TraceFileError,
    )
    from .gguf import ModelInfo, read_info
    from .inspection import Attribution, Inspection, Lens
    from .interventions import Ablate, Patch, Scale, Steer, steering_vector
    from .lookahead import Continuation, Lookahead
    from .model import Model
    from .record import Kind, StepRecord
    from .resample import Commitment, Resample
    from .sampling.sampler import Sampler
    from .session import Session
    from .trace import Trace
    from .tree import BranchInfo
    from .verification import Verification, verify
    from .widget import Inferno

__version__ = "0.1.0"

__all__ = [
    "Ablate",
    "Attribution",
    "BranchInfo",
    "Cancelled",
    "Capture",
    "CausalMap",
    "Commitment",
    "ContextFullError",
    "Continuation",
    "EngineDiedError",
    "GrammarError",
    "Inferno",
    "InfernoError",
    "Inspection",
    "Kind",
    "Lens",
    "Lookahead",
    "Model",
    "ModelFileError",
    "ModelInfo",
    "ModelLoadError",
    "NotEnoughMemoryError",
    "Patch",
    "Resample",
    "Sampler",
    "Scale",
    "Session",
    "Steer",
    "StepRecord",
    "Trace",
    "TraceFileError",
    "Verification",
    "read_info",
    "steering_vector",
    "verify",
    "what_if",
]

_HOME = {
    "Ablate": "interventions",
    "Attribution": "inspection",
    "BranchInfo": "tree",
    "Cancelled": "errors",
    "Capture": "capturing",
    "CausalMap": "causal",
    "Commitment": "resample",
    "ContextFullError": "errors",
    "Continuation": "lookahead",
    "EngineDiedError": "errors",
    "GrammarError": "errors",
    "Inferno": "widget",
    "InfernoError": "errors",
    "Inspection": "inspection",
    "Kind": "record",
    "Lens": "inspection",
    "Lookahead": "lookahead",
    "Model": "model",
    "ModelFileError": "errors",
    "ModelInfo": "gguf.info",
    "ModelLoadError": "errors",
    "NotEnoughMemoryError": "errors",
    "Patch": "interventions",
    "Resample": "resample",
    "Sampler": "sampling.sampler",
    "Scale": "interventions",
    "Session": "session",
    "Steer": "interventions",
    "StepRecord": "record",
    "Trace": "trace",
    "TraceFileError": "errors",
    "Verification": "verification",
    "read_info": "gguf.info",
    "steering_vector": "interventions",
    "verify": "verification",
    "what_if": "dice",
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
