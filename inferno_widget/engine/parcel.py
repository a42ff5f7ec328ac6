"""Arrays from the child to the kernel, without a copy: the child fills memory of its own and hands it over.

On Unix it is a file without a name whose descriptor goes through a socket, on Windows a section with a name.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import secrets
import socket
import sys
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferno_widget.errors import InfernoError

from .channel import anonymous_file

Layout = dict[str, tuple[tuple[int, ...], str]]
"""Name -> shape and dtype, in the order in which the arrays lie behind one another."""
_ALIGNED = 64
_LARGE = 1 << 24
"""Bytes from which a copy costs more than the open file that a mapping holds: there are few of those."""
_NAME = 16
"""Bytes of a name in the socket."""
_POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE of Linux 5.14 and later, which Python's mmap does not name."""


class Sent(NamedTuple):
    """A parcel on its way. `name` tells it from those that nobody took."""

    name: str
    layout: Layout


def layout_of(arrays: Mapping[str, NDArray[Any]]) -> Layout:
    """The layout that these arrays would have."""
    return {name: (array.shape, array.dtype.str) for name, array in arrays.items()}


def size_of(layout: Layout) -> int:
    """Bytes that it takes."""
    return sum(_bytes(*each) for each in layout.values())


class Sender:
    """The child's side. `handle` is what the kernel's side told it."""

    def __init__(self, handle: str) -> None:
        self._socket = None if os.name == "nt" else socket.socket(fileno=int(handle))
        self._names = itertools.count()
        self._layout: Layout = {}
        self._name, self._descriptor = "", -1
        self._map: mmap.mmap | None = None  # a section of Windows lives as long as somebody maps it

    def room(self, layout: Layout) -> dict[str, NDArray[Any]]:
        """Arrays of zeros, to be filled and sent; what was not sent before is gone."""
        self._forget()
        size = max(_ALIGNED, size_of(layout))
        self._layout = layout
        if self._socket is None:
            self._name = f"inferno-{secrets.token_hex(8)}"
            self._map = mmap.mmap(-1, size, tagname=self._name)  # type: ignore[call-arg, unused-ignore]
        else:
            self._name, self._descriptor = str(next(self._names)), anonymous_file(size)
            self._map = mmap.mmap(self._descriptor, size)
            _fault_in(self._map)
        return _arrays(self._map, layout)

    def send(self, arrays: Mapping[str, NDArray[Any]] | None = None) -> Sent:
        """Hand over what lies in the room, or these arrays."""
        if arrays is not None:
            for name, room in self.room(layout_of(arrays)).items():
                room[...] = arrays[name]
        if self._socket is not None:
            socket.send_fds(self._socket, [self._name.encode().ljust(_NAME)], [self._descriptor])
            self._forget()
        return Sent(self._name, self._layout)

    def release(self) -> None:
        """Close the socket."""
        self._forget()
        if self._socket is not None:
            self._socket.close()

    def _forget(self) -> None:
        self._map = None  # unmapped with the last array over it
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Receiver:
    """The kernel's side.

    Attributes
    ----------
    handle, descriptors : what the child is told, and what it must inherit
    one : held from asking for a parcel to taking it: what comes before it was meant for a caller who has gone
    """

    def __init__(self) -> None:
        self.handle, self.descriptors = "", tuple[int, ...]()
        self.one = threading.Lock()
        if os.name != "nt":
            self._socket, self._child = socket.socketpair()
            self._socket.setblocking(False)  # the answer that names a parcel comes behind it
            self.descriptors, self.handle = (self._child.fileno(),), str(self._child.fileno())

    def take(self, sent: Sent) -> dict[str, NDArray[Any]]:
        """The arrays; their memory is given back with the last of them."""
        arrays = _arrays(self._mapped(sent), sent.layout)
        small = size_of(sent.layout) < _LARGE
        return {name: array.copy() for name, array in arrays.items()} if small else arrays

    def release(self) -> None:
        """Close the socket."""
        if os.name != "nt":
            self._socket.close()
            self._child.close()

    def _mapped(self, sent: Sent) -> mmap.mmap:
        size = max(_ALIGNED, size_of(sent.layout))
        if os.name == "nt":
            return mmap.mmap(-1, size, tagname=sent.name)  # type: ignore[call-arg, unused-ignore]
        descriptor = self._receive(sent.name)
        try:
            return mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)

    def _receive(self, name: str) -> int:
        while True:
            try:
                data, (descriptor,), _, _ = socket.recv_fds(self._socket, _NAME, 1)
            except (OSError, ValueError):
                raise InfernoError(
                    "the arrays did not arrive from the engine's process: perhaps this process has too many files open"
                ) from None
            if data.decode().strip() == name:
                return descriptor
            os.close(descriptor)


def _fault_in(memory: mmap.mmap) -> None:
    """Have the system make the pages while what comes into them is computed: it takes longer than writing there."""
    if sys.platform != "linux":
        return
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def populate(kept: mmap.mmap) -> None:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(len(kept)), _POPULATE_WRITE)

    threading.Thread(target=populate, args=(memory,), daemon=True).start()


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return -(-size // _ALIGNED) * _ALIGNED


def _arrays(memory: mmap.mmap, layout: Layout) -> dict[str, NDArray[Any]]:
    arrays, at = {}, 0
    for name, (shape, dtype) in layout.items():
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(memory, dtype, count, at).reshape(shape)
        at += _bytes(shape, dtype)
    return arrays
