"""Arrays from the child to the kernel, through memory that both have mapped."""

from __future__ import annotations

import mmap
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .channel import anonymous_file

Layout = dict[str, tuple[tuple[int, ...], str]]
"""Name -> shape and dtype, in the order in which the arrays lie behind one another."""
_ALIGNED = 64
_AT_ONCE = 1 << 24
"""Bytes that are copied before their memory is given back: the most that is held twice."""


def layout_of(arrays: Mapping[str, NDArray[Any]]) -> Layout:
    """The layout that these arrays would have."""
    return {name: (array.shape, array.dtype.str) for name, array in arrays.items()}


def size_of(layout: Layout) -> int:
    """Bytes that it takes."""
    return sum(_bytes(*each) for each in layout.values())


class Parcel:
    """A file without a name, only as large as what it holds, that the child fills and the kernel empties.

    `handle` names it for the child: an inherited file descriptor, or on Windows a section name.
    """

    def __init__(self, handle: str | None = None) -> None:
        self._map: mmap.mmap | None = None  # on Windows the section lives as long as somebody maps it
        if os.name == "nt":
            self.handle = handle or f"inferno-{secrets.token_hex(8)}"
        else:
            self._descriptor = int(handle) if handle else anonymous_file(0)
            self.handle = str(self._descriptor)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the child must inherit."""
        return () if os.name == "nt" else (self._descriptor,)

    def room(self, layout: Layout) -> dict[str, NDArray[Any]]:
        """Arrays of zeros, to be filled: what was in it before is gone."""
        size = max(_ALIGNED, size_of(layout))
        if os.name != "nt":
            os.ftruncate(self._descriptor, 0)
            os.ftruncate(self._descriptor, size)
        self._map = self._mapped(size)
        return _arrays(self._map, layout)

    def take(self, layout: Layout) -> dict[str, NDArray[Any]]:
        """Copies of the arrays that lie in it; it is empty then."""
        shared = self._mapped(max(_ALIGNED, size_of(layout)))
        taken, end = {}, 0
        for name, array in _arrays(shared, layout).items():
            copy = np.empty_like(array)
            source, target = array.reshape(-1).view(np.uint8), copy.reshape(-1).view(np.uint8)
            for start in range(0, len(source), _AT_ONCE):
                target[start : start + _AT_ONCE] = source[start : start + _AT_ONCE]
                _forget(shared, end + start)
            taken[name], end = copy, end + _bytes(array.shape, array.dtype.str)
        if os.name != "nt":
            os.ftruncate(self._descriptor, 0)
        return taken

    def release(self) -> None:
        """Close the descriptor."""
        for descriptor in self.descriptors:
            os.close(descriptor)

    def _mapped(self, size: int) -> mmap.mmap:
        if os.name == "nt":
            return mmap.mmap(-1, size, tagname=self.handle)  # type: ignore[call-arg, unused-ignore]
        return mmap.mmap(self._descriptor, size)


def _forget(memory: mmap.mmap, end: int) -> None:
    """Give the memory before `end` back to the system, where it can be given back by parts."""
    whole = end // mmap.PAGESIZE * mmap.PAGESIZE
    if whole and hasattr(mmap, "MADV_REMOVE"):
        with suppress(OSError):  # some sandboxes do not know it
            memory.madvise(mmap.MADV_REMOVE, 0, whole)


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
