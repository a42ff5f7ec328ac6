"""Records in a row as bytes, to cross the pipe."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from inferno_widget.record import ALTERNATIVES, Floats, StepRecord, WatchedRecord, from_row, record_dtype, watched_of

# The scalar columns of `record_dtype`. Packing by hand takes 3 us a record, assigning fields 14: the
# child does this between two tokens.
_SCALARS = struct.Struct("=iiBffifidffi")
_NAN = np.float32(np.nan).tobytes()


def pack(records: Sequence[StepRecord], k: int) -> bytes:
    """Bytes of an array of `record_dtype(k)`; missing alternatives have id -1 and NaN."""
    parts: list[bytes] = []
    for record in records:
        missing = k - len(record.top_ids)
        parts += (
            _SCALARS.pack(*record[:ALTERNATIVES]),
            record.top_ids.tobytes() + missing * b"\xff\xff\xff\xff",
            record.top_logprobs.tobytes() + missing * _NAN,
            record.top_kept.tobytes() + missing * b"\0",
        )
    return b"".join(parts)


def unpack(data: bytes, k: int) -> Iterator[StepRecord]:
    """The inverse of `pack`."""
    return map(from_row, np.frombuffer(data, record_dtype(k)))


@dataclass(frozen=True)
class Batch:
    """Records that cross together.

    Attributes
    ----------
    data, k : as `pack` made them
    owners : the branch of each, by its index, where there are several branches
    watched : (indices, float32 [n, m]) of the records that have what is watched; None where none has
    """

    data: bytes
    k: int
    owners: Sequence[int] = ()
    watched: tuple[list[int], Floats] | None = None

    @classmethod
    def of(cls, records: Sequence[StepRecord], k: int, owners: Sequence[int] = ()) -> Batch:
        """The records, packed."""
        found = [(i, values) for i, record in enumerate(records) if (values := watched_of(record)) is not None]
        watched = ([i for i, _ in found], np.stack([values for _, values in found])) if found else None
        return cls(pack(records, k), k, owners, watched)

    def records(self) -> Iterator[StepRecord]:
        """The inverse of `of`."""
        records = unpack(self.data, self.k)
        if self.watched is None:
            return records
        values = dict(zip(*self.watched, strict=True))
        return (WatchedRecord.of(r, values[i]) if i in values else r for i, r in enumerate(records))
