"""Mutations by name."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.fuzz.draft import Draft

Mutation = Callable[[Draft, random.Random], None]

MUTATIONS: dict[str, Mutation] = {}

WHOLES = (
    0,
    1,
    2,
    3,
    5,
    7,
    31,
    33,
    64,
    255,
    256,
    257,
    999,
    65_535,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
    -1,
)
"""Numbers at the edges of what others take for granted."""

REALS = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0, -1.0, 1e-45, 1e-30, 1e30, 3.4e38, 0.5, 2.0)

TEXTS = (
    b"",
    b"\0",
    b"\xff\xfe\xfd",
    b"\xc3",
    "\U0001f525".encode(),
    b"a" * 5_000,
    b" ",
    b"\n",
    b"\x1b[31mred\x1b[0m",
    b"<img src=x onerror=alert(1)>",
    b"%s%n%s%n",
    b"../../etc/passwd",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    "\u202eesrever\u2066".encode(),
)


def mutation(function: Mutation) -> Mutation:
    """Enter a mutation under its name."""
    MUTATIONS[function.__name__.replace("_", "-")] = function
    return function
