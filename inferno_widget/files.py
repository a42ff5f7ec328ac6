"""``.inferno`` files: a whole trace, data only.

The format is a ZIP archive with exactly

``trace.json``
    ``{"format": "inferno", "version": 2, "k": int, "nodes": int, "path": [node, ...], "model": {...},
    "control": [token id, ...], "runs": [{...}, ...], "names": {"branch": node, ...}, "pruned": [node, ...],
    "diverged": [node, ...], "watches": [["name", [token id, ...]], ...]}``; the last four may be missing
``pieces.json``
    ``{"token id": "bytes in hexadecimal", ...}``
``columns/NAME.npy``
    one array of ``nodes`` rows for each column of `trace.node_dtype`, little-endian, without pickles
``watched.npy``
    where something is watched, float32 [nodes, watches] in the same way: what `Trace.watched` says

Version 1 had no column ``left_out``: its models saw the whole text. Version 2 had no ``watched.npy``, and a trace in
which nothing is watched is still written as one. A reader refuses a version newer than its own, and believes nothing:
what does not fit together is no trace (`sound`), and nothing is unpacked that the memory has no room for.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .errors import TraceFileError, printable, quoted
from .reading import open_regular, parsed_json
from .record import MAX_K
from .trace import Trace, node_dtype
from .writing import whole_file

VERSION = 3
MAX_BYTES = 1 << 30
"""Most that a file may unpack to: some four million tokens."""
MAX_JSON = 1 << 26
"""Most bytes of a member that is JSON: the path of those four million takes half of it."""
MAX_DIRECTORY = 1 << 16
"""Most bytes of the list of members: a zip of a megabyte may list a million of them."""
_SMALL = 1 << 24
"""Bytes for which there is room always."""
_SAID = 300
"""Letters of a library's complaint that are told: it may cite the file."""
WATCHED = "watched.npy"
SINCE_2 = {"left_out"}
"""Columns that version 1 did not have; 0 stands for what they would say."""


def save(trace: Trace, path: str | Path) -> None:
    """Write `trace` to `path`, whole or not at all. It may grow meanwhile; what is there now is written."""
    with whole_file(path) as file:
        _write(trace, file)


def packed(trace: Trace) -> bytes:
    """What `save` writes."""
    file = io.BytesIO()
    _write(trace, file)
    return file.getvalue()


def _write(trace: Trace, file: IO[bytes]) -> None:
    current, nodes = trace.path().tolist(), trace.nodes  # in this order: the rows hold the path
    watches = list(trace.watches.items())
    manifest = {
        "format": "inferno",
        "version": VERSION if watches else 2,
        "k": trace.k,
        "nodes": len(nodes),
        "path": current,
        "model": trace.model,
        "control": sorted(trace.control),
        "runs": trace.runs.copy(),
        "names": trace.names,
        "pruned": sorted(trace.pruned),
        "diverged": trace.diverged,
        "watches": watches,
    }
    pieces = {str(token): piece.hex() for token, piece in trace.pieces.copy().items()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trace.json", json.dumps(manifest))
        archive.writestr("pieces.json", json.dumps(pieces))
        for name in nodes.dtype.names or ():
            archive.writestr(_member(name), _packed(nodes[name]))
        if watches:
            values = [trace.watched(name, tree=True)[: len(nodes)] for name, _ in watches]
            archive.writestr(WATCHED, _packed(np.stack(values, axis=1)))


def _packed(column: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    npy.write_array(file, np.ascontiguousarray(column), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def load(path: str | Path) -> Trace:
    """Read a file that `save` wrote.

    Raises
    ------
    TraceFileError
        If it is not such a file, is damaged, was written by a newer version, or is larger than the memory.
    OSError
        If there is no such file, it may not be read, or it is a pipe or a device.
    """
    with open_regular(Path(path)) as file:
        try:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                return _read(archive)
        except TraceFileError as error:
            raise TraceFileError(f"{printable(str(path))}: {quoted(str(error))}") from None  # it may name what is there
        except Exception as error:  # the libraries below have a dozen types for damaged bytes
            said = f"not an .inferno file, or a damaged one ({quoted(str(error), _SAID)})"
            raise TraceFileError(f"{printable(str(path))}: {said}") from error


def _check_directory(file: IO[bytes]) -> None:
    """Refuse a zip whose list of members is not at its end as `save` leaves it, short and of the plain sort.

    `zipfile` reads the whole list into memory before anyone can look at it.
    """
    file.seek(0, os.SEEK_END)
    length = file.tell()
    file.seek(max(0, length - 42))
    before, end = (tail := file.read())[:-22], tail[-22:]
    if end[:4] != b"PK\5\6" or end[20:] != b"\0\0" or before[:4] == b"PK\6\7":
        raise TraceFileError("not an .inferno file, or a damaged one (it does not end as a zip file of ours does)")
    size = int.from_bytes(end[12:16], "little")
    if size > MAX_DIRECTORY:
        raise TraceFileError(f"its list of members has {size:,} bytes, where {MAX_DIRECTORY:,} are allowed")


def _read(archive: zipfile.ZipFile) -> Trace:
    _check_sizes(archive)
    manifest = _json(archive, "trace.json")
    if manifest["format"] != "inferno":
        raise TraceFileError("not an .inferno file")
    version, k, n = (_whole(manifest, name) for name in ("version", "k", "nodes"))
    if version > VERSION:
        raise TraceFileError(
            f"written by a newer version (format {version}; this one reads up to {VERSION}): "
            "update inferno_widget to open it"
        )
    if not 1 <= k <= MAX_K:
        raise TraceFileError(f"k is {k}, where 1 to {MAX_K} was expected")
    dtype = node_dtype(k)
    absent = SINCE_2 if version < 2 else set()
    names = [name for name in dtype.names or () if name not in absent]
    watches = {str(name): tuple(map(int, ids)) for name, ids in manifest.get("watches", ())}
    watched = {WATCHED} if watches else set()
    _check_members(archive, {"trace.json", "pieces.json", *map(_member, names), *watched})
    return Trace.restored(
        _rows(archive, names, n, dtype),
        path=manifest["path"],
        pieces={int(token): bytes.fromhex(piece) for token, piece in _json(archive, "pieces.json").items()},
        runs=[dict(run) for run in manifest["runs"]],
        model=dict(manifest["model"]),
        control=map(int, manifest["control"]),
        names={str(name): int(node) for name, node in manifest.get("names", {}).items()},
        pruned=map(int, manifest.get("pruned", ())),
        diverged=map(int, manifest.get("diverged", ())),
        watches=watches,
        watched=_column(archive, WATCHED, n, np.dtype((np.float32, len(watches)))) if watches else None,
    )


def _check_sizes(archive: zipfile.ZipFile) -> None:
    """Refuse what would unpack to more than is allowed, or than there is room for: it is there twice at most."""
    from .memory import free_memory  # which needs psutil, and nothing else of a trace does

    size = sum(member.file_size for member in archive.infolist())
    if size > MAX_BYTES:
        raise TraceFileError(f"it would unpack to {size:,} bytes; {MAX_BYTES:,} are allowed")
    if size > _SMALL and 2 * size > (free := free_memory()):
        raise TraceFileError(f"it would unpack to {size:,} bytes and take twice that, where {free:,} bytes are free")


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    size = archive.getinfo(name).file_size
    if size > MAX_JSON:
        raise TraceFileError(f"{name} has {size:,} bytes, where {MAX_JSON:,} are allowed")
    return parsed_json(archive.read(name))


def _whole(manifest: dict[str, Any], name: str) -> int:
    value = manifest[name]
    if type(value) is not int:
        raise TraceFileError(f"not an .inferno file, or a damaged one ({name} is {value!r:.40}, no whole number)")
    return value


def _rows(archive: zipfile.ZipFile, names: list[str], n: int, dtype: np.dtype[Any]) -> NDArray[np.void]:
    """All columns side by side; those that the file does not have are zeros."""
    first = _column(archive, _member(names[0]), n, dtype[names[0]])  # before there is room for what is only declared
    rows = np.zeros(n, dtype)
    rows[names[0]] = first
    for name in names[1:]:
        rows[name] = _column(archive, _member(name), n, dtype[name])
    return rows


def _member(column: str) -> str:
    return f"columns/{column}.npy"


def _check_members(archive: zipfile.ZipFile, expected: set[str]) -> None:
    names = archive.namelist()
    if odd := sorted(expected.symmetric_difference(names)):
        raise TraceFileError(f"members are missing or do not belong: {', '.join(odd)}")
    if len(names) != len(expected):
        raise TraceFileError("a member stands there twice")


def _column(archive: zipfile.ZipFile, name: str, n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A column, whose header is compared with what it must say before anything is read or allocated."""
    with archive.open(name) as file:
        version = npy.read_magic(file)
        if version != (1, 0):
            raise TraceFileError(f"{name} is in version {version} of the .npy format, where (1, 0) was expected")
        shape, by_column, base = npy.read_array_header_1_0(file)
        if (shape, by_column, base) != ((n, *dtype.shape), False, dtype.base):
            raise TraceFileError(
                f"column {Path(name).stem} is {base} {shape}, where {dtype.base} {(n, *dtype.shape)} was expected"
            )
        return _quiet(np.frombuffer(file.read(), base).reshape(shape))


def _quiet(column: NDArray[Any]) -> NDArray[Any]:
    """The same values as our own arithmetic leaves them: one NaN, and none that warns when it is used; True is 1."""
    if column.dtype.kind == "b":
        flags: NDArray[Any] = column.view(np.uint8) != 0
        return flags
    return np.where(np.isnan(column), column.dtype.type(np.nan), column) if column.dtype.kind == "f" else column
