"""Ways of sampling that have a name: those that come with the package; a person's own are in `preferences`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .sampling import Sampler

BUILTIN: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "balanced": {"temperature": 0.7, "top_p": 0.9, "repeat_penalty": 1.05},
    "creative": {"temperature": 1.2, "top_k": 0, "top_p": 1.0, "min_p": 0.1},
    "llama.cpp": {},
}
"""Name -> the sampler parameters that differ from the defaults, which are llama.cpp's."""

APART = ("seed", "logit_bias", "grammar")
"""No part of a preset: the dice belong to a run, token ids to a model, and a grammar to what is to be written."""


def settings_of(sampler: Sampler) -> dict[str, Any]:
    """What a preset made of `sampler` holds."""
    return {name: value for name, value in sampler.changed().items() if name not in APART}


def applied(sampler: Sampler, settings: Mapping[str, Any]) -> Sampler:
    """The sampler that a preset names; seed, bias and grammar stay as they are in `sampler`.

    Raises
    ------
    ValueError, TypeError
        If `settings` are no preset.
    """
    if apart := [name for name in APART if name in settings]:
        raise ValueError(f"{apart[0]} is no part of a preset")
    return replace(Sampler(**settings), **{name: getattr(sampler, name) for name in APART})
