"""Records as bytes for the page; ``protocol.json`` is the layout, ``js/src/wire.ts`` reads it."""

from __future__ import annotations

import contextlib
import json
import struct
from bisect import bisect_left
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .record import Floats
    from .trace import Trace

PROTOCOL: dict[str, Any] = json.loads((files("inferno_widget") / "protocol.json").read_text())
VERSION: int = PROTOCOL["version"]
ROWS_PER_FRAME: int = PROTOCOL["limits"]["rows_per_frame"]
_HEADER = struct.Struct("<" + "".join({"uint32": "I", "int32": "i"}[dtype] for _, dtype in PROTOCOL["header"]))
_COLUMNS = [(name, np.dtype(dtype).newbyteorder("<")) for name, dtype, _ in PROTOCOL["columns"]]
_PIECE = struct.Struct("<iH")
"""Id of a token, and the length of its bytes, which follow. Of a control token -1 less its id, which is no part of the
text: no id is negative."""
LONGEST_PIECE = 4096
"""Bytes of a token that cross: real ones have some hundred at most, a file may have one of megabytes."""


class Encoder:
    """Frames of one trace.

    Parameters
    ----------
    trace : what to send
    epoch : number of the trace; the page starts afresh when it changes
    """

    def __init__(self, trace: Trace, epoch: int) -> None:
        self.trace, self.epoch = trace, epoch
        self._known: set[int] = set()
        self._tokens: list[int] = []  # in the order in which nodes first needed them ...
        self._first: list[int] = []  # ... and those nodes, in rising order
        self._scanned = 0

    def frame(self, start: int, stop: int, *, seq: int, head: int) -> bytes:
        """Frame number `seq`: the nodes from `start` up to `stop`, and `head`, which may lie in a later frame."""
        rows = self.trace.nodes[start:stop]
        pieces = self._pieces(start, stop)
        header = {
            "version": VERSION,
            "seq": seq,
            "epoch": self.epoch,
            "start": start,
            "rows": len(rows),
            "k": self.trace.k,
            "head": head,
            "pieces": len(pieces),
        }
        parts = [_HEADER.pack(*(header[name] for name, _ in PROTOCOL["header"]))]
        for name, dtype in _COLUMNS:
            column = bit_mask(rows[name]) if name == "top_kept" else rows[name]
            parts.append(column.astype(dtype).tobytes())
        parts += (_PIECE.pack(self._marked(token), len(piece)) + piece for token, piece in pieces.items())
        return b"".join(parts)

    def _marked(self, token: int) -> int:
        return -1 - token if token in self.trace.control else token

    def _pieces(self, start: int, stop: int) -> Mapping[int, bytes]:
        """The pieces that nodes before `start` did not need; so a replay from any node brings its own."""
        rows = self.trace.nodes
        for node in range(self._scanned, stop):
            for token in (int(rows["token_id"][node]), *rows["top_ids"][node].tolist()):
                if token >= 0 and token not in self._known:
                    self._known.add(token)
                    self._tokens.append(token)
                    self._first.append(node)
        self._scanned = max(self._scanned, stop)
        new = self._tokens[bisect_left(self._first, start) : bisect_left(self._first, stop)]
        return {token: _shown(self.trace.pieces[token]) for token in new}


def watched_columns(trace: Trace) -> dict[str, Floats]:
    """What is watched, for every node: name -> float32 [nodes]."""
    columns = {}
    for name in tuple(trace.watches):
        with contextlib.suppress(KeyError, IndexError):  # another thread has ended the watch just now
            columns[name] = trace.watched(name, tree=True)
    return columns


def watched_rows(columns: Mapping[str, Floats], start: int, stop: int) -> bytes:
    """Of the nodes from `start` up to `stop`: float32 [names, rows]."""
    return b"".join(column[start:stop].astype("<f4").tobytes() for column in columns.values())


def _shown(piece: bytes) -> bytes:
    """A token's bytes as the page gets them; the trace keeps all."""
    if len(piece) <= LONGEST_PIECE:
        return piece
    end = LONGEST_PIECE
    while end > LONGEST_PIECE - 4 and piece[end] & 0xC0 == 0x80:  # within a character
        end -= 1
    return piece[:end] + f"… ({len(piece):,} bytes)".encode()


def bit_mask(flags: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """From bool [n, k] to uint32 [n], bit i for column i; k is at most 32."""
    bits = np.uint32(1) << np.arange(flags.shape[1], dtype=np.uint32)
    mask: np.ndarray[Any, np.dtype[np.uint32]] = np.where(flags, bits, np.uint32(0)).sum(axis=1, dtype=np.uint32)
    return mask
