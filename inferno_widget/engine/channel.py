"""What kernel and child share: a pipe of messages, and a piece of memory.

Messages are pickles, which is safe between a process and its own child. The memory holds cancel flags and
two rows of logits; it has no name in the file system where that can be had, so nothing is left behind
whichever process ends first and however.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import secrets
import struct
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

from inferno_widget.record import Floats

FLAGS = 2048
_LENGTH = struct.Struct("<I")


class Channel:
    """Messages over a pair of byte streams; any thread may send, one receives."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self._reader, self._writer = reader, writer
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        """Raises OSError or ValueError when the other side is gone."""
        data = pickle.dumps(message, protocol=5)
        with self._lock:
            self._writer.write(_LENGTH.pack(len(data)) + data)
            self._writer.flush()

    def receive(self) -> Any:
        """The next message. Raises EOFError when the other side is gone."""
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        return pickle.loads(self._read(length))  # noqa: S301  see above

    def _read(self, n: int) -> bytes:
        data = self._reader.read(n)
        if len(data) < n:
            raise EOFError
        return data


class Flag:
    """One byte of shared memory that says stop, followed by one that stays 0."""

    def __init__(self, memory: SharedMemory, slot: int) -> None:
        self._memory, self._at = memory.map, 2 * slot
        self.address = memory.address + self._at

    def is_set(self) -> bool:
        return self._memory[self._at] != 0

    def set(self) -> None:
        self._memory[self._at] = 1

    def clear(self) -> None:
        self._memory[self._at] = 0


class SharedMemory:
    """Cancel flags, then two rows of logits: one for answers, one for logits processors.

    `handle` names it for the child: an inherited file descriptor, or on Windows a section name.
    """

    def __init__(self, n_vocab: int, handle: str | None = None) -> None:
        size = FLAGS + 2 * 4 * n_vocab
        if os.name == "nt":
            self.handle = handle or f"inferno-{secrets.token_hex(8)}"
            self.map = mmap.mmap(-1, size, tagname=self.handle)  # type: ignore[call-arg, unused-ignore]
        else:
            descriptor = int(handle) if handle else anonymous_file(size)
            self.handle = str(descriptor)
            self.map = mmap.mmap(descriptor, size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.answer: Floats = np.frombuffer(self.map, np.float32, n_vocab, FLAGS)
        self.processed: Floats = np.frombuffer(self.map, np.float32, n_vocab, FLAGS + 4 * n_vocab)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the child must inherit."""
        return () if os.name == "nt" else (int(self.handle),)

    def release(self) -> None:
        """Close the descriptor; the mapping goes with the last array over it."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def surroundings() -> dict[str, str]:
    """Environment of a child, which imports what this process would."""
    path = [*filter(None, sys.path), str(Path(__file__).parents[2])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "GGML_NO_BACKTRACE": "1"}


def anonymous_file(size: int) -> int:
    """A descriptor of a file in memory, where that can be had, that has no name."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("inferno")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
