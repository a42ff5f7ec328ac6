"""A trace as bytes for a page without a kernel, a saved notebook or one of its own; ``js/src/snapshot.ts`` reads it."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING

from ..wire import ROWS_PER_FRAME, Encoder, watched_columns, watched_rows

if TYPE_CHECKING:
    from ..trace import Trace

EPOCH = 0
"""Older than any trace that a kernel sends, so that whatever it sends takes the snapshot's place."""
LEVEL = 6
"""Of zlib: 1,000 tokens with 20 alternatives take 18 ms and 139 kB of 224; 9 takes three times as long for 1 %."""
WATCHED = 1 << 31
"""In a length: what follows are watched values."""
_LENGTH = struct.Struct("<I")


def pack(trace: Trace, *, limit: int | None = None) -> bytes:
    """The frames of the whole tree, each behind its length, deflated together.

    Where something is watched, its values follow each frame, behind a length that says so: the names in JSON, a line
    break, and float32 [names, rows].

    Parameters
    ----------
    limit : bytes that they may take

    Returns
    -------
    bytes
        Nothing where there is nothing, or more than the limit.
    """
    head, n = trace.head, len(trace.nodes)  # in this order: the trace may grow meanwhile, and the nodes hold the head
    encoder, deflate = Encoder(trace, EPOCH), zlib.compressobj(LEVEL)
    watched = watched_columns(trace)
    names = json.dumps(list(watched)).encode() + b"\n"
    parts, size = [], 0
    for start in range(0, n, ROWS_PER_FRAME):
        stop = min(n, start + ROWS_PER_FRAME)
        frame = encoder.frame(start, stop, seq=0, head=head)
        part = deflate.compress(_LENGTH.pack(len(frame))) + deflate.compress(frame)
        if watched:
            values = names + watched_rows(watched, start, stop)
            part += deflate.compress(_LENGTH.pack(WATCHED | len(values))) + deflate.compress(values)
        parts.append(part)
        size += len(part)
        if limit is not None and size > limit:
            return b""
    parts.append(deflate.flush() if n else b"")
    packed = b"".join(parts)
    return packed if limit is None or len(packed) <= limit else b""
