"""What each head does to a prediction: the distribution once more, with that head switched off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from inferno_widget.errors import Cancelled
from inferno_widget.record import Floats
from inferno_widget.stats import divergence, logprobs
from inferno_widget.window import Window

from . import Branch, Progress
from .context import TOGETHER, Flag
from .inside import Asked, Edit
from .pool import Entry
from .taps import Tapped

Head = tuple[int, int]
"""Layer and head."""


def heads_of(engine: Tapped, layers: Sequence[int] | None) -> list[Head]:
    """All heads of these blocks; raises InfernoError where there are none that can be switched off."""
    chosen = engine.layers(Asked(("heads",), None if layers is None else tuple(layers)))
    return [(layer, head) for layer in chosen for head in range(engine.plan.layers[layer].n_head)]


def causal_map(
    engine: Tapped,
    ids: Sequence[int],
    heads: Sequence[Head],
    token: int,
    window: Window,
    *,
    last: bool,
    cancel: Flag,
    progress: Progress,
) -> tuple[Floats, Floats]:
    """For each head, KL(with || without) of the next token's distribution, and by how much `token`'s logprob changes.

    float32 [head] both, nats; NaN for those that it did not come to before it was cancelled.

    Parameters
    ----------
    ids : the text, as `window` shows it
    last : switch a head off at the last token alone, so that what was read before can be shared
    """
    kl, change = (np.full(len(heads), np.nan, np.float32) for _ in range(2))
    base = logprobs(_plain(engine, ids, window, cancel))
    size = TOGETHER if last else max(1, min(TOGETHER, engine.n_ctx // len(ids) - 1))
    for start in range(0, len(heads), size):
        group = heads[start : start + size]
        try:
            rows = _without(engine, ids, group, window, last, cancel)
        except Cancelled:
            break
        for i, row in enumerate(rows, start):
            now = logprobs(row)
            kl[i] = divergence(base, now)
            change[i] = now[token] - base[token]
        progress((start + len(group)) / len(heads))
    return kl, change


def _plain(engine: Tapped, ids: Sequence[int], window: Window, cancel: Flag) -> Floats:
    branch = engine.branch(None, 0)
    engine.pool[branch].window = window
    engine.append(branch, list(ids))
    try:
        return engine.logits(branch, len(ids), cancel=cancel).copy()
    finally:
        engine.drop(branch)


def _without(
    engine: Tapped, ids: Sequence[int], heads: Sequence[Head], window: Window, last: bool, cancel: Flag
) -> list[Floats]:
    """The row behind the text without each of some heads, decoded together."""
    positions = (int(window.back(np.array(len(ids) - 1))),) if last else None
    with _branches(engine, ids, len(heads), window, last, cancel) as branches:
        edits = [
            Edit("heads", layer, head, positions, 0.0, branch=branch)
            for branch, (layer, head) in zip(branches, heads, strict=True)
        ]
        kept = engine.edits
        engine.edits = (*kept, *edits)
        try:
            return engine.rows_together([engine.pool[branch] for branch in branches], cancel)
        finally:
            engine.edits = kept


@contextmanager
def _branches(
    engine: Tapped, ids: Sequence[int], n: int, window: Window, last: bool, cancel: Flag
) -> Iterator[list[Branch]]:
    """`n` branches that hold the text; they share what comes before its last token, or nothing at all."""
    made: list[Branch] = []
    try:
        if last and len(ids) > 1:
            parent = engine.branch(None, 0)
            made.append(parent)
            engine.pool[parent].window = window
            engine.append(parent, list(ids[:-1]))
            engine.logits(parent, len(ids) - 1, cancel=cancel)
            made += (engine.branch(parent, len(ids) - 1) for _ in range(n))
        else:
            made += (engine.branch(None, 0) for _ in range(n))
        branches = made[-n:]
        entries: list[Entry] = [engine.pool[branch] for branch in branches]
        for entry in entries:
            entry.tokens, entry.row, entry.window = list(ids), None, window
            if entry.seq is None:
                engine.pool.alone(entry, entries)
        yield branches
    finally:
        for branch in made:
            engine.drop(branch)
