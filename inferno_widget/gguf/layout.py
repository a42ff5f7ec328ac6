"""The table of tensors: each must lie within the file, aligned, and apart from the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple

from .header import BROKEN_OFF, Header
from .tensors import TENSOR_TYPES, Tensor

MAX_WEIGHTS = 2**63
"""llama.cpp counts with 64 signed bits."""


class Row(NamedTuple):
    """A tensor as the table has it; `offset` from the start of the data, `at` where the row begins."""

    name: str
    kind: int
    shape: tuple[int, ...]
    offset: int
    at: int

    @property
    def size(self) -> int:
        """Bytes; 0 for a type that is not known here."""
        _, weights, size = TENSOR_TYPES.get(self.kind, ("", 1, 0))
        return prod(self.shape) // weights * size


def place(table: Sequence[Row], data: int, alignment: int, header: Header) -> dict[str, Tensor]:
    """The tensors by name, with offsets from the start of the file, where `data` begins; faults go into `header`."""
    rows: dict[str, Row] = {}
    for row in table:
        if row.name in rows:
            header.note(header.fault(row.name, "this tensor is there twice", "each tensor once", offset=row.at))
        rows.setdefault(row.name, row)
    tensors: dict[str, Tensor] = {}
    for row in rows.values():
        name = TENSOR_TYPES[row.kind][0] if row.kind in TENSOR_TYPES else f"type {row.kind}"
        tensors[row.name] = Tensor(name, row.shape, data + row.offset, 0)
        _check_shape(row, header)
        if row.offset % alignment:
            expected = f"a multiple of {alignment}"
            header.note(header.fault(row.name, f"begins at {row.offset:,} of the data", expected, offset=row.at))
    _check_end(rows.values(), data, header)
    _check_overlap(rows.values(), header)
    return tensors


def _check_shape(row: Row, header: Header) -> None:
    _, weights, _ = TENSOR_TYPES.get(row.kind, ("", 1, 0))
    inputs = row.shape[-1] if row.shape else 1
    if inputs % weights:
        name = TENSOR_TYPES[row.kind][0]
        header.note(
            header.fault(row.name, f"rows of {inputs:,} {name} weights", f"a multiple of {weights}", offset=row.at)
        )
    if prod(map(max, row.shape, [1] * len(row.shape))) >= MAX_WEIGHTS:
        shape = " x ".join(map(str, row.shape))
        header.note(header.fault(row.name, f"{shape} weights", "fewer than 2^63", offset=row.at))


def _check_end(table: Iterable[Row], data: int, header: Header) -> None:
    """One fault, however many tensors a broken download cost: at the first of them."""
    beyond = [row for row in table if row.size and data + row.offset + row.size > header.size]
    if beyond:
        missing = max(data + row.offset + row.size for row in beyond) - header.size
        first = min(beyond, key=lambda row: row.offset)
        found = f"{missing:,} bytes are missing at the end"
        header.note(header.fault(first.name, found, advice=BROKEN_OFF, offset=data + first.offset))


def _check_overlap(table: Iterable[Row], header: Header) -> None:
    end, before = 0, ""
    for row in sorted((row for row in table if row.size), key=lambda row: row.offset):
        if row.offset < end:
            found = f"begins at {row.offset:,} of the data, within {before}"
            header.note(header.fault(row.name, found, f"{end:,} or more", offset=row.at))
        if row.offset + row.size > end:
            end, before = row.offset + row.size, row.name
