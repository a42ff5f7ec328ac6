"""Messages from the page, read and checked: whatever comes, a gesture gets only what the protocol says."""

from __future__ import annotations

import math
import reprlib
from typing import Any

from .errors import check_text
from .wire import PROTOCOL

SAFE = 2**53 - 1
"""The largest whole number that JavaScript tells from its neighbours."""
DEPTH: int = PROTOCOL["limits"]["depth"]
CHARACTERS: int = PROTOCOL["limits"]["characters"]
_TYPES: dict[str, type] = {"int": int, "str": str, "bool": bool, "list": list, "any": object}


def read_command(content: object) -> tuple[str, dict[str, Any]]:
    """Kind and fields of a message from the page. Fields that its kind does not have are passed over.

    Raises
    ------
    ValueError
        If it is none of ``to_kernel`` in ``protocol.json``, or holds what no page can mean; the message says how.
    """
    kind = content.get("kind") if isinstance(content, dict) else None
    types = PROTOCOL["to_kernel"].get(kind) if isinstance(kind, str) else None
    if types is None or not isinstance(content, dict):
        raise ValueError(f"the kernel knows no message of kind {reprlib.repr(kind)}")
    for name, type_ in types.items():
        value = content.get(name)
        if name not in content or not isinstance(value, _TYPES[type_]) or (type_ == "int" and isinstance(value, bool)):
            raise ValueError(f"{name} of the message {kind!r} must be of type {type_}, not {reprlib.repr(value)}")
    fields = {name: content[name] for name in types}
    if sum(_size(name, value, DEPTH) for name, value in fields.items()) > CHARACTERS:
        raise ValueError(f"the message {kind!r} is too long: it may hold {CHARACTERS:,} characters and values in all")
    return str(kind), fields


def request_of(content: object) -> int | None:
    """The number by which a page knows its message; None where it gave none that can be sent back."""
    number = content.get("id") if isinstance(content, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and abs(number) <= SAFE else None


def _size(name: str, value: object, depth: int) -> int:
    """Characters and values in what came; ValueError where JavaScript, UTF-8 or strict JSON has no such value."""
    if isinstance(value, str):
        check_text(name, value)
        return 1 + len(value)
    if isinstance(value, int) and abs(value) > SAFE:
        raise ValueError(f"{name} holds {reprlib.repr(value)}: whole numbers go up to {SAFE:,} here")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} holds {value}, which is no number in JSON")
    if not isinstance(value, list | dict):
        return 1
    if not depth:
        raise ValueError(f"{name} is nested more than {DEPTH} deep")
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    return 1 + sum(_size(name, each, depth - 1) for each in inner)
