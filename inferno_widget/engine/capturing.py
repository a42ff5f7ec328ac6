"""What goes on inside while a model generates, kept until somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inferno_widget.errors import InfernoError
from inferno_widget.record import Floats

from .inside import Wanted, What
from .onerow import OneRow
from .sights import Rows
from .taps import Collector, Tapped

ROOT = 0

Kept = dict[str, Floats]
"""What -> [layer, ...], of one token; "final" is the stream behind the last block, for a lens."""


class Capture:
    """Rows of arrays by the text that they belong to, so that they are found again whatever branch it is on.

    Parameters
    ----------
    engine : where it happens
    wanted : what is to be kept, of which layers and positions, and how many bytes at most
    """

    def __init__(self, engine: Tapped, wanted: Wanted) -> None:
        asked = wanted.asked.with_stream() if wanted.lens else wanted.asked
        self.layers, self._last = engine.layers(asked), len(engine.plan.layers) - 1
        self._wanted = wanted
        end: set[tuple[What, int]] = {("residual", self._last)} if wanted.lens else set()
        self._tensors = frozenset({(each, layer) for each in asked.what for layer in self.layers} | end)
        self._place = {layer: i for i, layer in enumerate(self.layers)}
        self._nodes: dict[tuple[int, int], int] = {}  # (node of the text before, token) -> node
        self._rows: dict[int, Kept] = {}
        self._now: dict[int, Kept] = {}  # of the decode that is under way
        self._one = OneRow(engine, self._tensors)
        self.nbytes = 0

    def collector(self, stretches: Sequence[Rows]) -> Collector | None:
        """What is to be read of a decode; nothing of several branches, which is no text that goes on."""
        if len(stretches) > 1:
            return None
        self._now = {}
        (rows,) = stretches
        if not any(position in self._wanted.positions for position in rows.in_text.tolist()):
            return None
        limit = self._wanted.asked.limit
        if self.nbytes >= limit:
            raise InfernoError(
                f"the capture holds {self.nbytes / 2**20:,.1f} MiB, and its limit is {limit / 2**20:,.1f} MiB: take "
                "what it has and clear() it, capture fewer layers or less of each, or give it a larger limit"
            )
        return Collector(self._tensors, self._sink, one=self._one if len(rows.positions) == 1 else None)

    def _sink(self, what: What, layer: int, rows: Rows, values: Floats) -> None:
        """Keep the rows of one tensor."""
        for i, (position, in_text) in enumerate(zip(rows.positions.tolist(), rows.in_text.tolist(), strict=True)):
            if in_text not in self._wanted.positions:
                continue
            row = values[..., i, : position + 1] if what == "attention" else values[..., i, :]
            mine = self._now.setdefault(position, {})
            if self._wanted.lens and (what, layer) == ("residual", self._last):
                mine["final"] = row.copy()
            if layer not in self._place:
                continue
            if what not in mine:
                mine[what] = np.empty((len(self.layers), *row.shape), np.float32)
            mine[what][self._place[layer]] = row

    def _of_one(self, rows: Rows) -> Kept:
        """What was read of a decode of one token."""
        kept: Kept = {}
        for what, whole in self._one.taken(rows).items():
            layers = self._one.layers[what]
            if what == "residual" and self._wanted.lens:
                kept["final"] = whole[layers.index(self._last)]
            kept[what] = whole if layers == list(self.layers) else whole[[layers.index(layer) for layer in self.layers]]
        return kept

    def keep(self, ids: Sequence[int], rows: Rows) -> None:
        """Keep what was read of a decode that is over, of the last tokens of `ids`."""
        if len(rows.positions) == 1:
            self._now = {int(rows.positions[0]): self._of_one(rows)}
        node = ROOT
        for position, token in enumerate(ids):
            node = self._nodes.setdefault((node, token), len(self._nodes) + 1)
            if position in self._now:
                self.nbytes += sum(row.nbytes for row in self._now[position].values())
                self.nbytes -= sum(row.nbytes for row in self._rows.get(node, {}).values())
                self._rows[node] = self._now[position]
        self._now = {}

    def of(self, ids: Sequence[int]) -> dict[int, Kept]:
        """Position -> its rows, of the text `ids`."""
        found, node = dict[int, Kept](), ROOT
        for position, token in enumerate(ids):
            known = self._nodes.get((node, token))
            if known is None:
                break
            node = known
            if node in self._rows:
                found[position] = self._rows[node]
        return found
