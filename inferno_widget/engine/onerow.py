"""The tensors of a decode of one token, copied as they come into memory that is there already.

While a model generates, each microsecond at a tensor counts a hundred times a token: nothing is made here that can be
made when the token is done.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inferno_widget.record import Floats

from . import ggml
from .graph import Layer, Plan, Tap
from .inside import What

if TYPE_CHECKING:
    from .sights import Rows
    from .taps import Tapped

_NE, _SRC, _POINTER = ggml.Tensor.ne.offset, ggml.Tensor.src.offset, ctypes.sizeof(ctypes.c_void_p)


class OneRow:
    """Room for one row of some tensors.

    Parameters
    ----------
    engine : where they come
    tensors : (what, layer)

    Attributes
    ----------
    layers : of each tensor, in rising order
    """

    def __init__(self, engine: Tapped, tensors: frozenset[tuple[What, int]]) -> None:
        self._engine = engine
        self.layers: dict[What, list[int]] = {}
        self._room: dict[What, Floats] = {}
        self._known: dict[int, list[tuple[Tap, Callable[[int], bool]]]] = {}  # what `takes` said of a graph
        self._place: dict[tuple[What, int], int] = {}
        self._masks: dict[int, NDArray[Any]] = {}  # by its address: it is written over when no block needs it any more
        self._seen: dict[int, tuple[int, int]] = {}  # layer -> its cells, and the address of its mask
        self._get = ggml.function("ggml_backend_tensor_get")
        for what in sorted({what for what, _ in tensors}):
            layers = self.layers[what] = sorted(layer for other, layer in tensors if other == what)
            widths = [self._width(what, engine.plan.layers[layer]) for layer in layers]
            self._room[what] = np.zeros((len(layers), max(widths)), np.float32)
            self._place |= {(what, layer): i for i, layer in enumerate(layers)}

    def _width(self, what: What, layer: Layer) -> int:
        per_head = {"attention": self._engine.room, "heads": layer.head_size}
        return layer.n_head * per_head[what] if what in per_head else self._engine.n_embd

    def takes(self, where: Plan) -> list[tuple[Tap, Callable[[int], bool]]]:
        """What is to be done where in a graph."""
        self._masks.clear()
        if id(where) not in self._known:
            self._known[id(where)] = list(self._takes(where))
        return self._known[id(where)]

    def _takes(self, where: Plan) -> Iterator[tuple[Tap, Callable[[int], bool]]]:
        """Where a head's output is made next, of its attention, that is still there then: one stop does for both."""
        for (what, layer), place in self._place.items():
            found = where.layers[layer]
            if what == "attention":
                later = found.heads if ("heads", layer) in self._place and found.heads_come_next else None
                take = self._taking_attention(layer, self._at(what, place), found.n_head, through=later is not None)
                yield (later or found.attention), take  # type: ignore[misc]
            else:
                tap = found.tap(what)
                assert tap is not None
                yield tap, self._taking(self._at(what, place), 4 * self._width(what, found))

    def _at(self, what: What, place: int) -> int:
        room = self._room[what]
        return int(room.ctypes.data + place * room.strides[0])

    def _taking(self, to: int, size: int) -> Callable[[int], bool]:
        get = self._get

        def take(address: int) -> bool:
            get(address, to, 0, size)
            return True

        return take

    def _taking_attention(self, layer: int, to: int, n_head: int, *, through: bool) -> Callable[[int], bool]:
        get, pointer, masks, seen = self._get, ctypes.c_void_p.from_address, self._masks, self._seen

        def take(address: int) -> bool:
            if through:
                address = pointer(address + _SRC + _POINTER).value or 0  # values times weights: the second source
            cells = ctypes.c_int64.from_address(address + _NE).value
            get(address, to, 0, 4 * n_head * cells)
            mask = pointer(address + _SRC + _POINTER).value or 0
            if mask not in masks:
                masks[mask] = ggml.read(mask)
            seen[layer] = cells, mask
            return True

        return take

    def taken(self, rows: Rows) -> dict[What, Floats]:
        """All of them, when the decode is over: attention [layer, head, key], heads [layer, head, size], others
        [layer, width]; the layers of each in rising order.
        """
        return {what: self._attention(rows) if what == "attention" else self._copied(what) for what in self._room}

    def _copied(self, what: What) -> Floats:
        room = self._room[what].copy()
        layer = self._engine.plan.layers[self.layers[what][0]]
        return room.reshape(len(room), layer.n_head, -1) if what == "heads" else room

    def _attention(self, rows: Rows) -> Floats:
        """Blocks that share a mask are put in order together: most do."""
        layers = self.layers["attention"]
        plan, room = self._engine.plan.layers, self._room["attention"]
        whole = np.zeros((len(layers), plan[layers[0]].n_head, int(rows.positions[-1]) + 1), np.float32)
        groups: dict[tuple[int, int, str], list[int]] = {}
        for i, layer in enumerate(layers):
            groups.setdefault((*self._seen[layer], plan[layer].cells), []).append(i)
        for (cells, mask, name), places in groups.items():
            weights = room[places, : whole.shape[1] * cells].reshape(-1, 1, cells)
            ordered = self._engine.sights.by_position(weights, mask, self._masks[mask], name, rows)
            whole[places] = ordered.reshape(len(places), *whole.shape[1:])
        return whole
