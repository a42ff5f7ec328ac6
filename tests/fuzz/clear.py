"""Whether a person can read an error."""

from __future__ import annotations

import re

LONGEST = 4_000
"""Characters that a message may have: beyond, nobody reads it."""
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a message may not hold: a terminal would obey, or a reader be misled."""
RAW = re.compile(r"^\w*(Error|Exception|Interrupt): ")
"""How Python's own exceptions look when they are passed on unread."""


def is_clear(message: str) -> bool:
    """Whether a person can read it."""
    return 10 < len(message) < LONGEST and not CONTROLS.search(message) and not RAW.match(message)
