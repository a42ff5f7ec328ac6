"""What goes on inside a model while it reads a text, as arrays."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_widget.errors import InfernoError
from inferno_widget.record import Floats
from inferno_widget.window import Window

from . import Progress
from .capturing import Capture
from .context import Flag
from .inside import LENS, Asked, Look, What
from .lens import Said
from .parcel import Layout, Sender, Sent, size_of
from .sights import Rows, as_slice
from .taps import Collector, Tapped

STEM = -1
"""Stands for the residual stream before the first block, among layers."""
FLOAT, INT = np.dtype(np.float32).str, np.dtype(np.int32).str


def layout(engine: Tapped, look: Look) -> Layout:
    """Shape and dtype of all that is asked for; raises InfernoError for what there is not, or too much."""
    layers = engine.layers(look.asked.with_stream() if look.lens else look.asked)
    n, keys = len(look.positions), look.positions[-1] + 1
    found = engine.plan.layers[layers[0]] if layers else None
    if found is None:
        raise InfernoError("no layer was asked for")
    width = engine.n_embd
    shapes: dict[str, tuple[int, ...]] = {
        "attention": (len(layers), found.n_head, n, keys),
        "heads": (len(layers), found.n_head, n, found.head_size),
    }
    wanted: Layout = {what: (shapes.get(what, (len(layers), n, width)), FLOAT) for what in look.asked.what}
    if look.lens:
        room = Said.room((len(layers), n), min(look.lens, engine.n_vocab))
        wanted |= {LENS + name: each for name, each in room.items()} | {LENS + "answer": ((n,), INT)}
    if size_of(wanted) > look.asked.limit:
        sizes = {name: size_of({name: each}) / 2**20 for name, each in wanted.items() if not name.startswith(LENS)}
        parts = ", ".join(f"{name} {size:,.1f} MiB" for name, size in sizes.items()) or "the lens"
        raise InfernoError(
            f"{len(layers)} layers at {n:,} positions take {size_of(wanted) / 2**20:,.1f} MiB ({parts}), and the limit "
            f"is {look.asked.limit / 2**20:,.1f} MiB: ask for fewer layers or positions, for less of each, or raise "
            "limit"
        )
    return wanted


def inspect(engine: Tapped, look: Look, sender: Sender, *, cancel: Flag, progress: Progress) -> Sent:
    """Send what is asked for."""
    wanted = layout(engine, look)
    head = engine.head if look.lens else None
    arrays = sender.room(wanted)
    layers, last = engine.layers(look.asked), len(engine.plan.layers) - 1
    gathered = _Gathered(look.positions, {what: arrays[what] for what in look.asked.what}, layers)
    if head:
        size = (len(look.positions), engine.n_embd)
        if "residual" not in gathered.arrays:
            gathered.arrays["residual"] = np.zeros((len(layers), *size), np.float32)
        gathered.final = np.zeros(size, np.float32)
    wanted_too = gathered.wanted | _of_stream(last) if head else gathered.wanted
    collector = Collector(wanted_too, gathered.sink(last), ends=True)
    text = look.ids[: look.positions[-1] + 1]
    engine.look(text, look.positions[0], collector, look.window, cancel=cancel, progress=progress)
    if any(not np.isfinite(array[-1][..., -1, :]).all() for array in gathered.arrays.values()):
        engine.pool.empty()  # shown as they are, but no later look shall meet broken numbers in the cache
    if head:
        said = Said(*(arrays[LENS + name] for name in Said._fields))
        tokens = look.tokens or [-1] * len(look.positions)
        final = None if layers[-1] == last else gathered.final
        arrays[LENS + "answer"][:] = head.say(
            gathered.arrays["residual"], final, tokens, said, positions=look.positions, cancel=cancel
        )
    return sender.send()


def attribute(
    engine: Tapped, ids: Sequence[int], token: int, window: Window, sender: Sender, *, cancel: Flag, progress: Progress
) -> Sent:
    """What each block's attention and MLP add to the logit of `token` behind `ids`.

    "attn_out" and "mlp" float32 [layer]; float32 [1] "start", what stood in the stream before the first block, "added",
    by interventions on the stream, "bias", of the last norm or of the output, and "logit", all these together, which is
    the model's own before any soft cap.
    """
    engine.layers(Asked(("attn_out", "mlp", "residual")))
    if engine.plan.stem is None:
        raise InfernoError("what stands in the residual stream before the first block was not found in this model")
    if loose := [layer for layer, found in enumerate(engine.plan.layers) if not found.whole]:
        raise InfernoError(
            f"in layer {loose[0]} something is added to the residual stream that is neither attention's nor an MLP's: "
            "what these two add does not sum to a logit in this model"
        )
    n, at = len(engine.plan.layers), len(ids) - 1
    arrays = {what: np.zeros((n, 1, engine.n_embd), np.float32) for what in ("attn_out", "mlp")}
    stem, final = np.zeros((1, engine.n_embd), np.float32), np.zeros((1, engine.n_embd), np.float32)
    gathered = _Gathered([at], arrays, range(n))
    gathered.stem, gathered.final = stem, final
    wanted = gathered.wanted | _of_stream(STEM, n - 1)
    collector = Collector(wanted, gathered.sink(n - 1), ends=True)
    engine.look(ids, at, collector, window, cancel=cancel, progress=progress)
    parts = np.concatenate([arrays["attn_out"][:, 0], arrays["mlp"][:, 0], stem])
    rest = final - parts.sum(axis=0, dtype=np.float64, keepdims=True)
    if not np.isfinite(final).all():
        engine.pool.empty()
        raise InfernoError(f"the logits for position {at + 1} are broken: the residual stream before it is no number")
    shares, bias = engine.head.attribute(np.concatenate([parts, rest.astype(np.float32)]), final[0], token)
    result = {
        "attn_out": shares[:n],
        "mlp": shares[n : 2 * n],
        "start": shares[-2:-1],
        "added": shares[-1:],
        "bias": np.array([bias], np.float32),
        "logit": np.array([shares.sum(dtype=np.float64) + bias], np.float32),
    }
    return sender.send(result)


def captured(engine: Tapped, look: Look, sender: Sender, *, cancel: Flag) -> Sent:
    """Send what was captured of a text, with the "positions" that there are."""
    capture = engine.capture
    assert isinstance(capture, Capture)
    kept = {at: rows for at, rows in capture.of(look.ids).items() if not look.positions or at in look.positions}
    at = list(kept)
    if not at:
        return sender.send({"positions": np.array(at, np.int32)})
    asked = replace(look.asked, layers=capture.layers, limit=sys.maxsize)  # what is kept was within its limit
    wanted = layout(engine, replace(look, positions=at, asked=asked)) | {"positions": ((len(at),), INT)}
    arrays = sender.room(wanted)
    arrays["positions"][:] = at
    for i, rows in enumerate(kept.values()):
        for what in asked.what:
            arrays[what][..., i, : rows[what].shape[-1]] = rows[what]
    if look.lens:
        said = Said(*(arrays[LENS + name] for name in Said._fields))
        streams = np.stack([rows["residual"] for rows in kept.values()], axis=1)
        ends = capture.layers[-1] == len(engine.plan.layers) - 1
        final = None if ends else np.stack([rows["final"] for rows in kept.values()])
        tokens = [look.ids[j + 1] if j + 1 < len(look.ids) else -1 for j in at]
        arrays[LENS + "answer"][:] = engine.head.say(streams, final, tokens, said, positions=at, cancel=cancel)
    return sender.send()


def _of_stream(*layers: int) -> frozenset[tuple[What, int]]:
    """The residual stream behind these blocks, as a collector wants it."""
    return frozenset(("residual", layer) for layer in layers)


class _Gathered:
    """Where what a collector meets is put.

    Parameters
    ----------
    positions : that are meant, in rising order
    arrays : name -> [layer, ..., position, ...], to be filled
    layers : that are meant, in order
    """

    def __init__(self, positions: Sequence[int], arrays: dict[str, NDArray[Any]], layers: Sequence[int]) -> None:
        self.positions = np.array(positions)
        self.arrays = arrays
        self.place = {layer: i for i, layer in enumerate(layers)}
        self.stem: Floats | None = None
        self.final: Floats | None = None

    @property
    def wanted(self) -> frozenset[tuple[What, int]]:
        return frozenset((what, layer) for what in self.arrays for layer in self.place)  # type: ignore[misc]

    def sink(self, last: int) -> Any:
        """What a collector tells of values; the stream behind block `last` is the final one."""

        def put(what: What, layer: int, rows: Rows, values: Floats) -> None:
            meant = np.isin(rows.positions, self.positions)
            at = as_slice(np.searchsorted(self.positions, rows.positions[meant]))
            values = values[..., as_slice(np.flatnonzero(meant)), :]
            if what == "residual" and layer == STEM and self.stem is not None:
                self.stem[at] = values
                return
            if what == "residual" and layer == last and self.final is not None:
                self.final[at] = values
            if what in self.arrays and layer in self.place:
                self.arrays[what][self.place[layer]][..., at, : values.shape[-1]] = values

        return put
