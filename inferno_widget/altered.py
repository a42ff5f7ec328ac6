"""Where a run was changed from within: the marks of its nodes, and the words for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .trace import Trace


NAMED = 4
"""Positions of an intervention that are named, at most."""


class Altered:
    """First nodes of what was made under interventions, found as a trace grows."""

    def __init__(self) -> None:
        self._scanned = 0
        self._found: list[dict[str, Any]] = []

    def of(self, trace: Trace) -> list[dict[str, Any]]:
        """Each such node, and the interventions in words; a trace of its own for each."""
        n = len(trace.nodes)
        if n > self._scanned:
            under = [run.get("interventions") or [] for run in trace.runs]
            if any(under):
                self._scan(trace, n, under)
            self._scanned = n
        return list(self._found)

    def _scan(self, trace: Trace, n: int, under: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        runs, parents = (trace.nodes[name][:n] for name in ("run", "parent"))
        made = np.array([*map(bool, under), False])[runs]
        for node in (self._scanned + np.flatnonzero(made[self._scanned :])).tolist():
            parent = int(parents[node])
            mine = under[runs[node]]
            if parent < 0 or runs[parent] < 0 or under[runs[parent]] != mine:
                self._found.append({"node": node, "edits": "; ".join(map(words, mine))})


def words(change: Mapping[str, Any]) -> str:
    """An intervention of `Trace.runs` in words."""
    positions = change.get("positions")
    if positions is None:
        return _done(change)
    named = ", ".join(map(str, positions[:NAMED]))
    more = f" and {len(positions) - NAMED:,} more" if len(positions) > NAMED else ""
    return f"{_done(change)} at {f'token {named}{more}' if named else 'no token'}"


def _done(change: Mapping[str, Any]) -> str:
    kind, where = change.get("kind"), f"layer {change.get('layer')}"
    if kind in ("ablate", "scale"):
        what = f"head {change['head']}" if change.get("head") is not None else _PARTS.get(change.get("part", ""), "")
        done = "off" if kind == "ablate" else f"times {change.get('factor'):g}"
        return f"{where} {what} {done}"
    if kind == "steer":
        return f"{where} steered by {change.get('strength'):g}"
    return f"{where} patched at token {change.get('position')}" if kind == "patch" else f"{where} changed"


_PARTS = {"attention": "attention", "mlp": "MLP"}
