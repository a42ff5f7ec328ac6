"""``.inferno`` files: a whole trace, data only.

The format is a ZIP archive with

``trace.json``
    ``{"format": "inferno", "version": 1, "k": int, "nodes": int, "path": [node, ...], "model": {...},
    "control": [token id, ...], "runs": [{...}, ...]}``
``pieces.json``
    ``{"token id": "bytes in hexadecimal", ...}``
``columns/NAME.npy``
    one array of ``nodes`` rows for each column of `trace.node_dtype`, little-endian, without pickles

A reader refuses a version newer than its own.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .errors import TraceFileError
from .trace import Trace, node_dtype

VERSION = 1


def save(trace: Trace, path: str | Path) -> None:
    """Write `trace` to `path`, whole or not at all."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    nodes = trace.nodes
    manifest = {
        "format": "inferno",
        "version": VERSION,
        "k": trace.k,
        "nodes": len(nodes),
        "path": trace.path().tolist(),
        "model": trace.model,
        "control": sorted(trace.control),
        "runs": trace.runs,
    }
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trace.json", json.dumps(manifest))
        archive.writestr("pieces.json", json.dumps({str(token): piece.hex() for token, piece in trace.pieces.items()}))
        for name in nodes.dtype.names or ():
            column = io.BytesIO()
            np.save(column, np.ascontiguousarray(nodes[name]), allow_pickle=False)
            archive.writestr(f"columns/{name}.npy", column.getvalue())
    os.replace(part, path)


def load(path: str | Path) -> Trace:
    """Read a file that `save` wrote.

    Raises
    ------
    TraceFileError
        If it is not such a file, is damaged, or was written by a newer version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except TraceFileError as error:
        raise TraceFileError(f"{path}: {error}") from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, IndexError, EOFError) as error:
        raise TraceFileError(f"{path}: not an .inferno file, or a damaged one ({error})") from error


def _read(archive: zipfile.ZipFile) -> Trace:
    manifest = json.loads(archive.read("trace.json"))
    if manifest.get("format") != "inferno":
        raise TraceFileError("not an .inferno file")
    if manifest["version"] > VERSION:
        raise TraceFileError(
            f"written by a newer version (format {manifest['version']}; this one reads up to {VERSION}): "
            "update inferno_widget to open it"
        )
    n, k = int(manifest["nodes"]), int(manifest["k"])
    rows = np.zeros(n, node_dtype(k))
    for name in rows.dtype.names or ():
        rows[name] = _column(archive, name, rows[name])
    pieces = {int(token): bytes.fromhex(piece) for token, piece in json.loads(archive.read("pieces.json")).items()}
    return Trace.restored(
        rows,
        path=[int(node) for node in manifest["path"]],
        pieces=pieces,
        runs=list(manifest["runs"]),
        model=dict(manifest["model"]),
        control=manifest["control"],
    )


def _column(archive: zipfile.ZipFile, name: str, like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    column: np.ndarray[Any, Any] = np.load(io.BytesIO(archive.read(f"columns/{name}.npy")), allow_pickle=False)
    if column.shape != like.shape or column.dtype != like.dtype:
        raise TraceFileError(
            f"column {name} is {column.dtype} {column.shape}, where {like.dtype} {like.shape} was expected"
        )
    return column
