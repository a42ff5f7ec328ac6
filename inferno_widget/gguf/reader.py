"""A file -> `Header`: what stands there, and every fault that the reading meets."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import IO

from ..errors import ModelFileError, printable
from ..reading import NotAFileError, open_regular
from .formats import BIG_ENDIAN, look
from .header import BROKEN_OFF, DAMAGED, Header
from .keys import form, type_name
from .layout import Row, place
from .values import ARRAY, SCALARS, TEXT, UINT32, UINT64, Array, Scalar, brief

VERSIONS = (2, 3)
FIRST_READ = 1 << 24
"""Bytes; holds the header of nearly every model."""
MAX_HEADER = 1 << 27
MAX_COUNT = 1 << 16
"""Keys or tensors. With `MAX_HEADER` it bounds the time and memory that a hostile file can take: llama.cpp compares
each with all before it, which would be a minute for half a million."""
MAX_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32


def read_header(path: Path) -> Header:
    """Read one file, whether it is the whole model or a part. It raises nothing: see `Header.faults`."""
    header = Header(path)
    try:
        with opened(path) as file:
            Reader(header, file).read()
    except ModelFileError as fault:
        header.faults.append(fault)
    return header


def opened(path: Path) -> IO[bytes]:
    """Open a file, and nothing else.

    Raises
    ------
    ModelFileError
    """
    try:
        return open_regular(path)
    except NotAFileError as error:
        raise ModelFileError(path, error.strerror, field="path", advice="give the path of a GGUF file") from error
    except FileNotFoundError as error:
        within = "" if Path(path).is_absolute() else f" in {_here()}"
        advice = "check its name and folder"
        if re.fullmatch(r"[\w.-]+/[\w.-]+(?<!\.gguf)", str(path)):
            advice += f", or, if it is a repository of the Hugging Face hub, use Model.from_hub({str(path)!r})"
        raise ModelFileError(path, f"there is no such file{within}", field="path", advice=advice) from error
    except PermissionError as error:
        advice = "ask its owner, or change its mode"
        raise ModelFileError(path, "may not be read (permission denied)", field="path", advice=advice) from error
    except (OSError, ValueError) as error:  # ValueError: a path that no system call takes
        raise ModelFileError(path, f"cannot be opened: {error}", field="path") from error


def _here() -> str:
    try:
        return printable(str(Path.cwd()))
    except OSError:
        return "the working directory, which was removed"


class Reader:
    """Takes the values of a header off its front, one after another; `at` is the next byte."""

    def __init__(self, header: Header, file: IO[bytes]) -> None:
        status = os.fstat(file.fileno())
        header.size, header.changed = status.st_size, status.st_mtime_ns
        self.header = header
        self.file = file
        self.size = header.size
        self.head = b""
        self.at = 0
        self.kinds: dict[str, int] = {}

    def read(self) -> None:
        """Magic, version, counts, keys, tensors: the order of the file."""
        self.magic()
        self.version()
        n_tensors = self.count("tensor_count", least_bytes=24)
        n_keys = self.count("metadata_kv_count", least_bytes=13)
        for index in range(n_keys):
            self.pair(f"key {index}")
        self.check_types()
        table = [self.row(f"tensor {index}") for index in range(n_tensors)]
        alignment = self.alignment()
        data = -(-self.at // alignment) * alignment
        self.header.tensors = place(table, data, alignment, self.header)

    def fault(
        self, field: str, found: str, expected: str = "", advice: str = DAMAGED, *, offset: int | None = None
    ) -> ModelFileError:
        """An error about a field that stands at the next byte, or at `offset`."""
        return self.header.fault(field, found, expected, advice, offset=self.at if offset is None else offset)

    # --- the bytes ------------------------------------------------------------------------------------

    def need(self, n: int, field: str) -> None:
        """Have the next n bytes in `head`."""
        end = self.at + n
        if end <= len(self.head):
            return
        if end > self.size:
            raise self.fault(field, f"{end - self.size:,} bytes are missing at the end", advice=BROKEN_OFF)
        if end > MAX_HEADER:
            advice = "no model has such a header: get the file again"
            raise self.fault(field, f"the header is longer than {MAX_HEADER:,} bytes", advice=advice)
        wanted = max(end, FIRST_READ, 2 * len(self.head))
        while len(self.head) < end:
            try:
                piece = self.file.read(wanted - len(self.head))
            except OSError as error:
                advice = "copy the file to another disk"
                raise self.fault(field, f"cannot be read: {error}", advice=advice) from error
            if not piece:
                advice = "wait until it is written, then load it again"
                raise self.fault(field, "the file became shorter while it was read", advice=advice)
            self.head += piece

    def scalar(self, form: struct.Struct, field: str) -> int | float:
        self.need(form.size, field)
        value: int | float = form.unpack_from(self.head, self.at)[0]
        self.at += form.size
        return value

    def whole(self, form: struct.Struct, field: str) -> int:
        return int(self.scalar(form, field))

    def count(self, field: str, least_bytes: int, most: int = MAX_COUNT) -> int:
        """A number of things of which each takes `least_bytes` or more."""
        start = self.at
        n = self.whole(UINT64, field)
        room = (self.size - self.at) // least_bytes
        if n > room:
            what = f"{n:,} is more than the rest of the file can hold"
            raise self.fault(field, what, f"at most {room:,}", "it is damaged or cut off: get it again", offset=start)
        if n > most:
            raise self.fault(field, f"{n:,} is more than are read", f"at most {most:,}", offset=start)
        return n

    def text(self, field: str) -> str:
        """Texts that differ stay different, whether they are UTF-8 or not."""
        length = self.count(field, least_bytes=1, most=MAX_HEADER)
        self.need(length, field)
        data = self.head[self.at : self.at + length]
        self.at += length
        return data.decode(errors="backslashreplace")

    # --- the fields -----------------------------------------------------------------------------------

    def magic(self) -> None:
        if self.size == 0:
            raise self.fault("magic", "the file is empty", "a GGUF model", BROKEN_OFF)
        self.need(min(4, self.size), "magic")
        if not self.head.startswith(b"GGUF"):
            what, advice = look(self.head)
            raise self.fault("magic", f"is not a GGUF file: it looks like {what}", "b'GGUF' at its beginning", advice)
        self.at = 4

    def version(self) -> None:
        start = self.at
        version = self.whole(UINT32, "version")
        if version in VERSIONS:
            return
        if int.from_bytes(version.to_bytes(4, "little"), "big") in (1, *VERSIONS):
            raise self.fault("version", f"is {BIG_ENDIAN[0]}", "a little-endian one", BIG_ENDIAN[1], offset=start)
        old = version < min(VERSIONS)
        advice = "too old: the model has to be converted again" if old else "not known here: update inferno_widget"
        raise self.fault("version", f"GGUF version {version}", "2 or 3", advice, offset=start)

    def pair(self, field: str) -> None:
        """A key and its value; of a key that is there twice the first counts."""
        start = self.at
        key = self.text(field)
        if not key:
            raise self.fault(field, "a key without a name", "a name", offset=start)
        twice = key in self.header.values
        kind = self.whole(UINT32, key)
        offset = self.at
        value = self.value(kind, key)
        if twice:
            self.header.note(self.fault(key, "this key is there twice", "each key once", offset=start))
        else:
            self.kinds[key] = kind
            self.header.offsets[key] = offset
            self.header.values[key] = value

    def value(self, kind: int, field: str) -> Scalar | Array:
        if kind == TEXT:
            return self.text(field)
        if kind == ARRAY:
            return self.array(field)
        return self.scalar(self.form(kind, field), field)

    def form(self, kind: int, field: str) -> struct.Struct:
        if kind not in SCALARS:
            raise self.fault(
                field, f"its value is of the unknown type {kind}", "a type from 0 to 12", offset=self.at - 4
            )
        return SCALARS[kind]

    def array(self, field: str) -> Array:
        kind = self.whole(UINT32, field)
        if kind == ARRAY:
            what = "an array of arrays, which llama.cpp does not read"
            raise self.fault(field, what, "numbers or texts", "convert the model again", offset=self.at - 4)
        size = 8 if kind == TEXT else self.form(kind, field).size
        count = self.count(field, least_bytes=size, most=MAX_HEADER)
        start = self.at
        if kind == TEXT:
            self.skip_texts(count, field)
        else:
            self.need(count * size, field)
            self.at += count * size
        return Array(kind, count, self.head[start : self.at])

    def skip_texts(self, count: int, field: str) -> None:
        """The one loop that a large vocabulary makes long."""
        at, end, length_at = self.at, len(self.head) - 8, UINT64.unpack_from
        for _ in range(count):
            if at > end:
                self.at = at
                self.need(8, field)
                end = len(self.head) - 8
            at += 8 + length_at(self.head, at)[0]
        self.at = at
        self.need(0, field)

    def check_types(self) -> None:
        """Note each known key that has a value of another type than it should have."""
        architecture = self.header.text("general.architecture") or ""
        for key, kind in self.kinds.items():
            known, value = form(key, architecture), self.header.values[key]
            if known and not known.takes(kind, value):
                found = f"{brief(value)} ({type_name(kind, value)})"
                advice = "convert the model again, or get another copy"
                self.header.note(self.header.fault(key, found, known.words, advice))

    def alignment(self) -> int:
        """Bytes that the offset of each tensor is a multiple of."""
        given = self.header.number("general.alignment")
        alignment = DEFAULT_ALIGNMENT if given is None else given
        if alignment > 0 and alignment.bit_count() == 1:
            return alignment
        self.header.note(self.header.fault("general.alignment", str(alignment), "a power of two"))
        return DEFAULT_ALIGNMENT

    def row(self, field: str) -> Row:
        start = self.at
        name = self.text(field)
        n_dimensions = self.whole(UINT32, name)
        if n_dimensions > MAX_DIMENSIONS:
            found = f"{n_dimensions} dimensions"
            raise self.fault(name, found, f"at most {MAX_DIMENSIONS}", offset=self.at - 4)
        shape = tuple(self.whole(UINT64, name) for _ in range(n_dimensions))[::-1]
        kind = self.whole(UINT32, name)
        return Row(name, kind, shape, self.whole(UINT64, name), start)
