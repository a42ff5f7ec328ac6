"""What kernel and child share: a pipe of messages, and a piece of memory.

Messages are pickles, which is safe between a process and its own child. The memory holds a flag for each call, which
says stop in one direction and "I am at it" in the other, and two rows of logits; it has no name in the file system
where that can be had, so nothing is left behind whichever process ends first and however.
"""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import pickle
import secrets
import struct
import sys
import tempfile
import threading
from typing import IO, Any

import numpy as np

from inferno_widget.record import Floats

CALLS = 1024
"""Flags there are: calls under way at once."""
_FLAG = 64
"""Bytes of a flag."""
_HEADER = struct.Struct("<4sQ")
_BEGIN = b"\xf0inf"


class GarbledError(Exception):
    """What came through a pipe is no message."""


class _Pickler(pickle.Pickler):
    """A person's own kind of text, such as a member of a `StrEnum`, goes as what it says.

    The other side could not even read its class, which the notebook defines.
    """

    def reducer_override(self, value: object) -> Any:
        return (str, (str.__str__(value),)) if isinstance(value, str) else NotImplemented


def packed(message: object) -> memoryview:
    """A message as it goes through a pipe."""
    data = io.BytesIO()
    _Pickler(data, protocol=5).dump(message)
    return data.getbuffer()


class Channel:
    """Messages over a pair of byte streams; any thread may send, one receives.

    A message is a pickle behind a mark, by which anything else that is written into the pipe is known, and its length.
    """

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self._reader, self._writer = reader, writer
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        """Raises OSError or ValueError when the other side is gone."""
        data = packed(message)
        with self._lock:
            self._writer.write(_HEADER.pack(_BEGIN, len(data)))
            self._writer.write(data)
            self._writer.flush()

    def receive(self) -> Any:
        """The next message. Raises EOFError when the other side is gone, and GarbledError when it makes no sense."""
        header = self._read(_HEADER.size)
        begin, length = _HEADER.unpack(header)
        if begin != _BEGIN:
            raise GarbledError(f"it begins with {header!r}")
        data = self._read(length)
        try:
            return pickle.loads(data)  # noqa: S301  see above
        except Exception as error:
            raise GarbledError(f"{type(error).__name__}: {error}") from error

    def _read(self, n: int) -> bytes:
        data = self._reader.read(n)
        if len(data) < n:
            raise EOFError
        return data


_libc = ctypes.CDLL("msvcrt" if os.name == "nt" else None)


def _counts() -> bool:
    """Whether a semaphore begins with its count, as those of Linux do."""
    if sys.platform != "linux":
        return False
    room = (ctypes.c_uint32 * (_FLAG // 4))(2)
    seen = [(_libc.sem_trywait(room), room[0]) for _ in range(3)]
    return seen == [(0, 1), (0, 0), (-1, 0)]


COUNTS = _counts()
is_stopped = _libc.sem_trywait if COUNTS else _libc.strlen
"""What native code calls with a flag's address: 0 as long as it is not set.

llama.cpp asks before every node of the graph, hundreds of times a token, and a Python function would cost a tenth of
the speed. These two are there already. The first takes one from a count for every time it is asked, until there is
none: so whoever waits sees that the work goes on. Elsewhere only looks from Python count.
"""


class Flag:
    """Says stop to whoever works at something, and that he works at it to whoever waits: looking at it leaves a mark.

    Its bytes: uint32 looks that native code has left, which is a semaphore's count, and room for the rest of one; from
    byte 32 one that says stop, and one that stays 0; from byte 40 uint64 looks from Python.

    Parameters
    ----------
    address : of 64 bytes of zeros, which may be shared with another process
    """

    _PLENTY = (1 << 31) - 1

    def __init__(self, address: int) -> None:
        self._left = ctypes.c_uint32.from_address(address)
        self._stop = ctypes.c_uint8.from_address(address + 32)
        self._looks = ctypes.c_uint64.from_address(address + 40)
        self.address = address if COUNTS else address + 32

    def set(self) -> None:
        """Say stop."""
        self._stop.value = 1
        self._left.value = 0

    def forget(self) -> None:
        """Mean nobody any more: in a fork the memory is still the other process's."""
        self._left, self._stop, self._looks = ctypes.c_uint32(), ctypes.c_uint8(), ctypes.c_uint64()

    def clear(self) -> None:
        """Begin anew."""
        self._stop.value = 0
        self._left.value = self._PLENTY

    def is_set(self) -> bool:
        """Whether to stop; for whoever works."""
        self._looks.value += 1
        if self._left.value < self._PLENTY >> 1 and not self._stop.value:
            self._left.value = self._PLENTY
        if self._stop.value:  # perhaps only now: what was filled up again must not hide it
            self._left.value = 0
        return self._stop.value != 0

    @property
    def looks(self) -> tuple[int, int]:
        """Changes with every look; for whoever waits."""
        return self._left.value, self._looks.value


class OwnFlag(Flag):
    """A flag in this process's memory."""

    def __init__(self) -> None:
        self._bytes = ctypes.create_string_buffer(_FLAG + 8)
        super().__init__(-(-ctypes.addressof(self._bytes) // 8) * 8)
        self.clear()


class SharedMemory:
    """Flags, then two rows of logits: one for answers, one for logits processors.

    `handle` names it for the child: an inherited file descriptor, or on Windows a section name.
    """

    def __init__(self, n_vocab: int, handle: str | None = None) -> None:
        flags = CALLS * _FLAG
        size = flags + 2 * 4 * n_vocab
        if os.name == "nt":
            self.handle = handle or f"inferno-{secrets.token_hex(8)}"
            self.map = mmap.mmap(-1, size, tagname=self.handle)  # type: ignore[call-arg, unused-ignore]
        else:
            descriptor = int(handle) if handle else anonymous_file(size)
            self.handle = str(descriptor)
            self.map = mmap.mmap(descriptor, size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.answer: Floats = np.frombuffer(self.map, np.float32, n_vocab, flags)
        self.processed: Floats = np.frombuffer(self.map, np.float32, n_vocab, flags + 4 * n_vocab)

    def flag(self, number: int) -> Flag:
        """The flag of this number, below `CALLS`."""
        return Flag(self.address + _FLAG * number)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the child must inherit."""
        return () if os.name == "nt" else (int(self.handle),)

    def release(self) -> None:
        """Close the descriptor; the mapping goes with the last array over it."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def anonymous_file(size: int) -> int:
    """A descriptor of a file in memory, where that can be had, that has no name."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("inferno")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
