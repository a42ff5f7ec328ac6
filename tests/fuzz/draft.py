"""A GGUF file in parts that can be damaged one by one, and be written however little sense they make."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

U8, I8, U16, I16, U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 = range(13)
FORMS = {kind: struct.Struct("<" + code) for kind, code in zip((*range(8), U64, I64, F64), "BbHhIifBQqd", strict=True)}
WHOLE = {U8, I8, U16, I16, U32, I32, BOOL, U64, I64}

LARGEST = 1 << 26
"""Bytes of padding that are written; where more is asked for, the file is sparse."""


def scalar(kind: int, value: Any) -> bytes:
    """One value, wrapped round where it is too large for its type."""
    if kind not in FORMS:
        return b""
    form = FORMS[kind]
    if kind not in WHOLE:
        return form.pack(value) if kind == F64 or abs(value) < 3e38 or value != value else form.pack(float("inf"))
    return (int(value) % (1 << 8 * form.size)).to_bytes(form.size, "little")


def text(value: bytes) -> bytes:
    return scalar(U64, len(value)) + value


@dataclass
class Pair:
    """A key and its value; of an array, `value` is a list and `of` the type of its elements.

    Attributes
    ----------
    raw : what stands in place of the encoded value
    """

    key: bytes
    kind: int
    value: Any
    of: int = 0
    raw: bytes | None = None

    def encoded(self) -> bytes:
        return text(self.key) + scalar(U32, self.kind) + (self.body() if self.raw is None else self.raw)

    def body(self) -> bytes:
        if self.kind == TEXT:
            return text(self.value)
        if self.kind != ARRAY:
            return scalar(self.kind, self.value)
        one = text if self.of == TEXT else lambda value: scalar(self.of, value)
        return scalar(U32, self.of) + scalar(U64, len(self.value)) + b"".join(map(one, self.value))


@dataclass
class Tensor:
    """`shape` is in the order of the file: the fastest first. `offset` is as laid out where None."""

    name: bytes
    shape: list[int]
    kind: int
    data: bytes = field(repr=False)
    offset: int | None = None


@dataclass
class Draft:
    """A file. `counts`: of tensors and keys, where they lie; `late`: what is done to the bytes at the end.

    Attributes
    ----------
    grown : length that the file is stretched to, without taking room on the disk
    beside : other files of the same folder
    name : of the file itself
    """

    magic: bytes
    version: int
    pairs: list[Pair]
    tensors: list[Tensor]
    alignment: int = 32
    counts: tuple[int | None, int | None] = (None, None)
    late: list[Callable[[bytearray], bytes | bytearray]] = field(default_factory=list)
    grown: int = 0
    beside: dict[str, bytes] = field(default_factory=dict)
    name: str = "model.gguf"

    def find(self, key: str) -> Pair | None:
        return next((pair for pair in self.pairs if pair.key == key.encode()), None)

    def get(self, key: str) -> Any:
        pair = self.find(key)
        return pair and pair.value

    def set(self, key: str, kind: int, value: Any, of: int = 0) -> None:
        """Put a value under a key, where the key stands or at the end."""
        new, old = Pair(key.encode(), kind, value, of), self.find(key)
        if old:
            self.pairs[self.pairs.index(old)] = new
        else:
            self.pairs.append(new)

    @property
    def architecture(self) -> str:
        return self.get("general.architecture").decode()

    def tensor(self, name: str) -> Tensor | None:
        return next((tensor for tensor in self.tensors if tensor.name == name.encode()), None)

    def header(self) -> bytearray:
        n_tensors, n_pairs = self.counts
        out = bytearray(self.magic + scalar(U32, self.version))
        out += scalar(U64, len(self.tensors) if n_tensors is None else n_tensors)
        out += scalar(U64, len(self.pairs) if n_pairs is None else n_pairs)
        for pair in self.pairs:
            out += pair.encoded()
        end = 0
        for tensor in self.tensors:
            out += text(tensor.name) + scalar(U32, len(tensor.shape))
            out += b"".join(scalar(U64, n) for n in tensor.shape) + scalar(U32, tensor.kind)
            out += scalar(U64, end if tensor.offset is None else tensor.offset)
            end = self.padded(end + len(tensor.data))
        return out

    def padded(self, n: int) -> int:
        return -(-n // self.alignment) * self.alignment if 0 < self.alignment <= LARGEST else n

    def encoded(self) -> bytes:
        out = self.header()
        for tensor in self.tensors:
            out += bytes(min(self.padded(len(out)) - len(out), LARGEST))
            out += tensor.data
        for change in self.late:
            out = bytearray(change(out))
        return bytes(out)

    def write(self, folder: Path) -> Path:
        """Write it, and what lies beside it; the path to load."""
        path = folder / self.name
        path.write_bytes(self.encoded())
        for name, data in self.beside.items():
            (folder / name).write_bytes(data)
        if self.grown:
            with path.open("r+b") as file:
                file.truncate(max(self.grown, path.stat().st_size))
        return path


class _Cursor:
    """Takes the parts off a good file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        self.at += n
        return self.data[self.at - n : self.at]

    def scalar(self, kind: int) -> Any:
        return FORMS[kind].unpack(self.take(FORMS[kind].size))[0]

    def text(self) -> bytes:
        return self.take(self.scalar(U64))

    def one(self, kind: int) -> Any:
        return self.text() if kind == TEXT else self.scalar(kind)

    def pair(self) -> Pair:
        key, kind = self.text(), self.scalar(U32)
        if kind != ARRAY:
            return Pair(key, kind, self.one(kind))
        of, count = self.scalar(U32), self.scalar(U64)
        return Pair(key, kind, [self.one(of) for _ in range(count)], of)


def read(data: bytes, alignment: int = 32) -> Draft:
    """The parts of a good file."""
    cursor = _Cursor(data)
    magic, version = cursor.take(4), cursor.scalar(U32)
    n_tensors, n_pairs = cursor.scalar(U64), cursor.scalar(U64)
    draft = Draft(magic, version, [cursor.pair() for _ in range(n_pairs)], [], alignment)
    rows = []
    for _ in range(n_tensors):
        name, n_dimensions = cursor.text(), cursor.scalar(U32)
        shape = [cursor.scalar(U64) for _ in range(n_dimensions)]
        rows.append((name, shape, cursor.scalar(U32), cursor.scalar(U64)))
    start = draft.padded(cursor.at)
    ends = [*(offset for *_, offset in rows[1:]), len(data) - start]
    for (name, shape, kind, offset), end in zip(rows, ends, strict=True):
        draft.tensors.append(Tensor(name, shape, kind, data[start + offset : start + end]))
    return draft
