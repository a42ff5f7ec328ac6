"""Files that a person keeps, written whole or not at all."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

NAME = 200
"""Letters of a file's name that the name of its unfinished part begins with; a file system takes 255."""


@contextmanager
def whole_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of `path` when all went well; else nothing is changed.

    A link goes on pointing where it did. What is no usual file, such as ``/dev/stdout``, is written to as it is.

    Raises
    ------
    OSError
        Of the kind that the system raised; the message names `path` and says what to do.
    """
    target = Path(path)
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "")
        with _replacing(target.resolve()) as file:
            yield file
    except OSError as error:
        raise OSError(error.errno, f"{target} cannot be written: {_problem(error, target)}") from error


@contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
        return
    part = target.with_name(f"{target.name[:NAME]}.{uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _problem(error: OSError, path: Path) -> str:
    if isinstance(error, IsADirectoryError):
        return "it is a folder; name a file in it"
    if isinstance(error, FileNotFoundError):
        return f"there is no folder {path.parent}; make it first"
    if isinstance(error, PermissionError):
        return "that is not allowed; choose another folder"
    if error.errno == errno.ENOSPC:
        return "the disk is full; make room, or choose another folder"
    return error.strerror or str(error)
