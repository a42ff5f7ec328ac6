"""What stands under the keys of a header."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | list[Scalar]

BOOL, TEXT, ARRAY = 7, 8, 9
FLOATS = (6, 12)
WHOLES = (0, 1, 2, 3, 4, 5, 10, 11)
SCALARS = {kind: struct.Struct("<" + code) for kind, code in zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True)}
UINT32, UINT64 = SCALARS[4], SCALARS[10]

FIRST_VALUES, LONG_VALUE = 8, 300
"""Elements of an array, and characters of a text, that a table of the metadata shows."""


@dataclass(frozen=True, slots=True)
class Array:
    """The undecoded elements of an array; a vocabulary takes longer to decode than all else together."""

    kind: int
    count: int
    data: bytes = field(repr=False)

    def decode(self) -> list[Scalar]:
        if self.kind == TEXT:
            return list(self.texts())
        return [value for (value,) in SCALARS[self.kind].iter_unpack(self.data)]

    @property
    def type(self) -> str:
        """Of an element, in Python's words."""
        return {TEXT: "str", BOOL: "bool", **dict.fromkeys(FLOATS, "float")}.get(self.kind, "int")

    def first(self, n: int) -> list[Scalar]:
        """The first n elements, without decoding the others."""
        if self.kind == TEXT:
            return list(itertools.islice(self.texts(), n))
        return [value for (value,) in itertools.islice(SCALARS[self.kind].iter_unpack(self.data), n)]

    def texts(self) -> Iterator[str]:
        return (data.decode(errors="replace") for data in self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The texts as they stand in the file, which need not be UTF-8."""
        at, data, length_at = 0, self.data, UINT64.unpack_from
        for _ in range(self.count):
            begin = at + 8
            at = begin + length_at(data, at)[0]
            yield data[begin:at]

    def numbers(self) -> tuple[int | float, ...]:
        """All elements of an array of numbers."""
        return struct.unpack(f"<{self.count}{SCALARS[self.kind].format[1:]}", self.data)


class Metadata(Mapping[str, Value]):
    """All key-value pairs of a header; an array becomes a list when it is first asked for."""

    def __init__(self, values: dict[str, Scalar | Array], offsets: Mapping[str, int] | None = None) -> None:
        self._values = values
        self._offsets = offsets or {}
        self._decoded: dict[str, list[Scalar]] = {}

    def __getitem__(self, key: str) -> Value:
        value = self._values[key]
        if not isinstance(value, Array):
            return value
        if key not in self._decoded:
            self._decoded[key] = value.decode()
        return self._decoded[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def raw(self, key: str) -> Scalar | Array | None:
        """The value under `key`, an array undecoded; None where there is none."""
        return self._values.get(key)

    def array(self, key: str) -> Array | None:
        """The array under `key`, undecoded."""
        value = self._values.get(key)
        return value if isinstance(value, Array) else None

    def count(self, key: str) -> int:
        """Length of the array under `key`, which stays undecoded; 0 if there is none."""
        array = self.array(key)
        return array.count if array else 0

    def offset(self, key: str) -> int | None:
        """Where the value under `key` begins, bytes from the start of the file."""
        return self._offsets.get(key)

    def floats(self) -> Iterator[tuple[str, float]]:
        """Keys with a single fraction."""
        return ((key, value) for key, value in self._values.items() if isinstance(value, float))

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Key, type and the value in short, such as ``"general.name", "str", "Fairy Tales"``; arrays stay undecoded."""
        for key, value in self._values.items():
            if isinstance(value, Array):
                shown = ", ".join(map(_cut, value.first(FIRST_VALUES)))
                more = ", ..." if value.count > FIRST_VALUES else ""
                yield key, f"{value.type}[{value.count}]", shown + more
            else:
                yield key, type(value).__name__, _cut(value)

    def __repr__(self) -> str:
        return "\n".join(f"{key} = {brief(value)}" for key, value in self._values.items())


def _cut(value: Scalar) -> str:
    text = f"{value:.7g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONG_VALUE else f"{text[:LONG_VALUE]}... ({len(text):,} characters)"


def brief(value: Scalar | Array | None) -> str:
    """One short line, however long the value."""
    if isinstance(value, Array):
        return f"[{value.count:,} values]"
    if isinstance(value, str) and len(value) > 80:
        return repr(value[:80]) + "..."
    return repr(value)
