"""Records in a row as bytes, to cross the pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..record import Kind, StepRecord, record_dtype


def pack(records: Sequence[StepRecord], k: int) -> bytes:
    """Bytes of an array of `record_dtype(k)`; missing alternatives have id -1."""
    rows = np.zeros(len(records), record_dtype(k))
    rows["top_ids"] = -1
    for row, record in zip(rows, records, strict=True):
        n = len(record.top_ids)
        for name, value in zip(StepRecord._fields[:-3], record[:-3], strict=True):
            row[name] = value
        row["top_ids"][:n], row["top_logprobs"][:n], row["top_kept"][:n] = record[-3:]
    return rows.tobytes()


def unpack(data: bytes, k: int) -> Iterator[StepRecord]:
    """The inverse of `pack`."""
    for row in np.frombuffer(data, record_dtype(k)):
        yield from_row(row)


def from_row(row: np.void) -> StepRecord:
    """The record in one element of an array of `record_dtype`."""
    *scalars, ids, logprobs, kept = row.item()
    ids, logprobs, kept = row["top_ids"], row["top_logprobs"], row["top_kept"]
    n = int(np.count_nonzero(ids >= 0))
    scalars[2] = Kind(scalars[2])
    return StepRecord(*scalars, ids[:n], logprobs[:n], kept[:n])
