"""A trace as JSON: the whole tree, with everything that is needed to draw it again.

``docs/trace.schema.json`` documents and checks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..record import Kind
from .card import card
from .plain import dumps, plain, plain_column

if TYPE_CHECKING:
    from ..trace import Trace

VERSION = 1
"""Of the format. A new column does not raise it; a column that is gone or means something else does."""


def page(trace: Trace) -> str:
    """The trace as JSON, a column a line."""
    lines = [f"{dumps(name)}: {_laid_out(value)}" for name, value in contents(trace).items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def contents(trace: Trace) -> dict[str, Any]:
    """The same as a dict of lists, numbers and strings."""
    path, nodes, runs = trace.path().tolist(), trace.nodes, trace.runs.copy()  # in this order: each holds the former
    return {
        "format": "inferno-trace",
        "version": VERSION,
        "card": card(trace),
        "model": plain(trace.model),
        "runs": plain(runs),
        "control": sorted(trace.control),
        "k": trace.k,
        "path": path,
        "names": plain(trace.names),
        "pruned": sorted(trace.pruned),
        "diverged": trace.diverged,
        "watches": {name: list(ids) for name, ids in trace.watches.items()},
        "text": trace.text,
        "pieces": {str(token): _piece(piece) for token, piece in sorted(trace.pieces.copy().items())},
        "nodes": _columns(trace, nodes),
    }


def _columns(trace: Trace, nodes: np.ndarray[Any, np.dtype[np.void]]) -> dict[str, list[Any]]:
    names = [name for name in nodes.dtype.names or () if name not in ("parent", "kind")]
    return {
        "parent": nodes["parent"].tolist(),
        "text": trace.texts(range(len(nodes))),
        "kind": [Kind(kind).name.lower() for kind in nodes["kind"].tolist()],
        **{name: plain_column(nodes[name]) for name in names},
        **{f"p({name})": plain_column(trace.watched(name, tree=True)[: len(nodes)]) for name in trace.watches},
    }


def _piece(piece: bytes) -> dict[str, str | None]:
    """A token's bytes, and its text where they are whole characters."""
    try:
        return {"hex": piece.hex(), "text": piece.decode()}
    except UnicodeDecodeError:
        return {"hex": piece.hex(), "text": None}


def _laid_out(value: Any) -> str:
    """A column a line where there are columns: a file that one can look into, and compare."""
    if isinstance(value, dict) and value and all(isinstance(entry, list) for entry in value.values()):
        return "{\n  " + ",\n  ".join(f"{dumps(name)}: {dumps(entry)}" for name, entry in value.items()) + "\n}"
    return dumps(value)
