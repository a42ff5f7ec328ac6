"""What a caller passed, checked: every error names the argument, says what it must be, and shows what it was.

Numbers of numpy are as good as Python's, and come back as Python's; True and False are no numbers.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Sequence
from itertools import islice
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from .errors import brief, check_text

T = TypeVar("T")

MOST = 2**31 - 1
"""What a number of tokens, continuations or candidates may be at most."""
LONGEST_PATH = 32_767
MOST_IDS = 1 << 24
"""Tokens that a text may have: something that is iterated over may have no end."""
ANY = -math.inf, math.inf


def whole(name: str, value: object, low: float = -MOST, high: float = MOST) -> int:
    """`value` as a whole number from `low` to `high`."""
    try:
        number = operator.index(cast("int", value))
    except TypeError:
        number = None
    if number is None or isinstance(value, bool | np.ndarray):
        raise TypeError(f"{name} must be a whole number, not {brief(value)}")
    if not low <= number <= high:
        raise ValueError(f"{name} must be between {low:,} and {high:,}, not {_digits(number)}")
    return number


def count(name: str, value: object, most: int = MOST, *, least: int = 1) -> int:
    """`value` as a whole number of at least `least`."""
    try:
        number = whole(name, value, *ANY)
    except TypeError:
        number = least - 1
    if not least <= number <= most:
        bound = f"of at least {least}" if number < least else f"of at most {most:,}"
        raise ValueError(f"{name} must be a whole number {bound}, not {brief(value)}")
    return number


def index(name: str, value: object) -> int:
    """`value` as a whole number, which may be beyond whatever it counts."""
    return whole(name, value, *ANY)


def predicted(name: str, value: object, last: int) -> int:
    """`value` as the position of a token that something predicts, from 1 to `last`."""
    number = index(name, value)
    if number > last:
        raise IndexError(f"{name} must be between 1 and {last}, not {brief(number)}: the text ends there")
    if number < 1:
        raise IndexError(f"{name} must be between 1 and {last}, not {brief(number)}: nothing predicts the first token")
    return number


def number(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` as a finite number from `low` to `high`; infinite only where a bound is."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a finite number, not {brief(value)}")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf if value > cast("Real", 0) else -math.inf  # a whole number of hundreds of digits
    if math.isnan(found) or (math.isinf(found) and found not in (low, high)):
        raise ValueError(f"{name} must be a finite number, not {brief(value)}")
    if not low <= found <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g}, not {brief(value)}")
    return found


def flag(name: str, value: object) -> bool:
    """`value` as True or False: a text that says "no" would be true."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, not {brief(value)}")
    return bool(value)


def one_of(name: str, value: object, known: Iterable[str]) -> str:
    """`value`, which is one of some words."""
    words = tuple(known)
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}, not {brief(value)}")
    return str(value)


def function(name: str, value: T) -> T:
    """`value`, which can be called; or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function or None, not {brief(value)}")
    return value


def file_path(name: str, value: object) -> Path:
    """`value` as a path."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a path, not {brief(value)}")
    path = os.fspath(cast("str | os.PathLike[str]", value))
    if not isinstance(path, str):
        raise TypeError(f"{name} must be a path of text, not {brief(value)}")
    if not path or "\0" in path or len(path) > LONGEST_PATH:
        why = (
            "it is empty"
            if not path
            else "it holds a NUL"
            if "\0" in path
            else f"{len(path):,} characters are too many"
        )
        raise ValueError(f"{name} must name a file, which {brief(path)} cannot: {why}")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        half = "\ud800" <= path[error.start] <= "\udfff"
        why = "it holds half a character" if half else f"names of files are {error.encoding} here (set LC_ALL=C.UTF-8)"
        raise ValueError(f"{name} must name a file, which {brief(path)} cannot: {why}") from None
    return Path(path)


def several(name: str, value: object, of: str, least: int = 0, most: int = 1_000_000) -> list[Any]:
    """`value` as a list of at most `most`; text is not several, and neither is a mapping."""
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be several {of}, in a list, not {brief(value)}")
    found: list[Any] = []
    for each in value:
        if len(found) == most:
            raise ValueError(f"{name} has more than {most:,} {of}: {brief(value)}")
        found.append(each)
    if len(found) < least:
        raise ValueError(f"{name} must have {least} or more {of}, not {brief(value)}")
    return found


def stop_strings(stop: object) -> tuple[str, ...]:
    """One string or several that end a run; None is none."""
    if stop is None:
        return ()
    one = isinstance(stop, str | bytes | dict) or not isinstance(stop, Iterable)
    strings = (stop,) if one else several("stop", stop, "strings", most=1_000)
    for string in strings:
        if not isinstance(string, str):
            raise TypeError(f"stop must be a string or several, not {brief(stop)}")
        check_text("stop", string)
    return tuple(cast("Iterable[str]", strings))


def token_id(name: str, value: object, n_vocab: int, *, or_text: bool = False) -> int:
    """`value` as the id of a token of a model with `n_vocab` tokens; `or_text` says that a text would do too."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < n_vocab:
        none = "neither a text nor" if or_text else "not"
        raise ValueError(f"{name}: {brief(value)} is {none} a token id of this model (0 to {n_vocab - 1})")
    return int(value)


def token_ids(ids: Sequence[int], n_vocab: int, must: str = "prompt must be text, token ids or a Trace") -> list[int]:
    """Token ids of a model with `n_vocab` tokens; `must` is what the error says of anything else."""
    if not isinstance(ids, Iterable) or isinstance(ids, str | bytes | dict):
        raise TypeError(f"{must}, not {brief(ids)}")
    name = must.split(maxsplit=1)[0]
    known = [token_id(name, token, n_vocab) for token in islice(ids, MOST_IDS + 1)]
    if len(known) > MOST_IDS:
        raise ValueError(f"{name} has more than {MOST_IDS:,} token ids, if it has an end at all")
    return known


def _digits(number: int) -> str:
    return f"{number:,}" if abs(number) < 10**15 else brief(number)
