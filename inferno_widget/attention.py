"""What a head looks at, in numbers: pure functions of attention weights.

Weights say where a head *reads*, not what it does with what it finds: a head that reads a token may ignore it, and what
a token holds in a later layer has come from others. Whether a prediction hangs on a head says `Session.causal_map`.

All take attention float [..., query, key], whose rows sum to 1, such as `Inspection.attention`. `rows` says which key
each query is itself, int [query]; when None the queries are the last ones of the keys, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating[Any]]
Numbers = NDArray[np.float64]
Rows = ArrayLike | None


class HeadStatistics(NamedTuple):
    """One number a head, float64 [layer, head]; the mean over the queries.

    Attributes
    ----------
    entropy : of the weights, nats: 0 looks at one token, ln(n) at n alike
    distance : tokens back to what is looked at
    first : weight on the very first token, where heads rest that find nothing
    previous : weight on the token before
    induction : weight on what followed the same token earlier; NaN where no token comes twice
    """

    entropy: Numbers
    distance: Numbers
    first: Numbers
    previous: Numbers
    induction: Numbers


def statistics(attention: Array, ids: Sequence[int], rows: Rows = None) -> HeadStatistics:
    """All of them; `ids` are those of the keys."""
    return HeadStatistics(
        entropy(attention).mean(-1),
        distance(attention, rows).mean(-1),
        first_token(attention, rows),
        previous_token(attention, rows),
        induction(attention, ids, rows),
    )


def entropy(attention: Array) -> Numbers:
    """-sum w ln w of each row, nats: [..., query]."""
    weights = attention.astype(np.float64)
    logarithms = np.log(weights, where=weights > 0, out=np.zeros_like(weights))
    return np.asarray(-(weights * logarithms).sum(-1))


def distance(attention: Array, rows: Rows = None) -> Numbers:
    """How far back each query looks, in tokens, by the mean of its weights: [..., query]."""
    at = _rows(attention, rows)
    back = at[:, None] - np.arange(attention.shape[-1])
    return np.asarray((attention.astype(np.float64) * back).sum(-1))


def first_token(attention: Array, rows: Rows = None) -> Numbers:
    """Mean weight on the first token, of the queries behind it: [...]; NaN where there are none."""
    behind = _rows(attention, rows) > 0
    return _mean(attention[..., 0], behind)


def previous_token(attention: Array, rows: Rows = None) -> Numbers:
    """Mean weight on the token before, of the queries that have one: [...]; NaN where there are none."""
    at = _rows(attention, rows)
    weights = np.take_along_axis(
        attention, np.broadcast_to(np.maximum(at - 1, 0)[:, None], (*attention.shape[:-1], 1)), -1
    )
    return _mean(weights[..., 0], at > 0)


def induction(attention: Array, ids: Sequence[int], rows: Rows = None) -> Numbers:
    """Mean weight on what came behind earlier occurrences of the query's token: [...].

    Of the queries whose token occurred before; NaN where none did. A head that does this goes on with what followed
    last time: after "A B ... A" it looks at "B".

    Parameters
    ----------
    ids : of the keys, int [key]
    """
    tokens, at = np.asarray(ids), _rows(attention, rows)
    if len(tokens) != attention.shape[-1]:
        raise ValueError(f"ids must be those of the {attention.shape[-1]} keys, not {len(tokens)}")
    meant = np.zeros((len(at), len(tokens)), np.bool_)
    meant[:, 1:] = tokens[at][:, None] == tokens[None, :-1]
    meant &= np.arange(len(tokens)) <= at[:, None]
    return _mean(np.where(meant, attention, 0).sum(-1), meant.any(-1))


def rollout(attention: Array, kept: float = 0.5) -> Numbers:
    """How much of each token could have reached each other by the end of each layer: float64 [layer, query, key].

    Attention rollout (Abnar and Zuidema, 2020): the heads' mean, mixed with the token itself for the residual stream,
    multiplied through the layers. It follows where attention *could* carry something; what MLPs and the heads make of
    it, it does not know.

    Parameters
    ----------
    attention : [layer, head, position, position], of every layer from the first on, and of the whole text
    kept : share of the residual stream in each layer
    """
    if attention.ndim != 4 or attention.shape[-1] != attention.shape[-2]:
        raise ValueError(f"rollout needs [layer, head, position, position] of a whole text, not {attention.shape}")
    if not 0 <= kept <= 1:
        raise ValueError(f"kept must be between 0 and 1, not {kept!r}")
    size = attention.shape[-1]
    through, layers = np.eye(size), []
    for layer in attention.astype(np.float64):
        through = (kept * np.eye(size) + (1 - kept) * layer.mean(0)) @ through
        layers.append(through)
    return np.stack(layers)


def _rows(attention: Array, rows: Rows) -> NDArray[np.int64]:
    """Which key each query is."""
    queries, keys = attention.shape[-2:]
    if rows is None:
        return np.arange(keys - queries, keys)
    at = np.asarray(rows, np.int64)
    if at.shape != (queries,) or (at < 0).any() or (at >= keys).any():
        raise ValueError(f"rows must be the places of {queries} queries among {keys} keys, not {rows!r}")
    return at


def _mean(values: Array, meant: Any) -> Numbers:
    """Mean over the last axis, of those that are meant; NaN where none is."""
    if not meant.any():
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values[..., meant].mean(-1, dtype=np.float64))
