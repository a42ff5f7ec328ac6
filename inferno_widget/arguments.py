"""What a caller passed, checked: every error names the argument and says what it must be."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np

from .errors import check_text


def count(name: str, value: object) -> int:
    """`value` as a whole number of at least 1; ValueError names it otherwise."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    return number


def index(name: str, value: object) -> int:
    """`value` as a whole number; TypeError names it otherwise."""
    if not isinstance(value, bool) and isinstance(value, int | np.integer):
        return int(value)
    raise TypeError(f"{name} must be a whole number, not {value!r}")


def stop_strings(stop: object) -> tuple[str, ...]:
    """One string or several that end a run."""
    strings = tuple(stop) if isinstance(stop, Iterable) and not isinstance(stop, str | bytes) else (stop,)
    for string in strings:
        if not isinstance(string, str):
            raise TypeError(f"stop must be a string or several, not {stop!r}")
        check_text("stop", string)
    return cast("tuple[str, ...]", strings)


def token_ids(ids: Sequence[int], n_vocab: int, must: str = "prompt must be text, token ids or a Trace") -> list[int]:
    """Token ids of a model with `n_vocab` tokens; `must` is what the error says of anything else."""
    if not isinstance(ids, Iterable) or isinstance(ids, bytes):
        raise TypeError(f"{must}, not {ids!r}")
    for token in ids:
        if isinstance(token, bool) or not isinstance(token, int | np.integer) or not 0 <= token < n_vocab:
            raise ValueError(f"{token!r} is not a token id of this model (0 to {n_vocab - 1})")
    return [int(token) for token in ids]
