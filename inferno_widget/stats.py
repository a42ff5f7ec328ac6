"""Exact statistics of a row of logits, over the whole vocabulary.

All functions take raw logits, float32 [n_vocab], and sum in float64. Ties always go to the lower id.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .record import Floats, Ids


class Distribution(NamedTuple):
    """What a row of logits says, for one token of interest and for the k most likely.

    Attributes
    ----------
    logprob : ln p(token), nats
    entropy : -sum p ln p, nats
    rank : 1 + the number of tokens that come before it
    tail : probability of everything outside `top_ids`
    top_ids : int32 [k], most likely first
    top_logprobs : float32 [k], nats
    """

    logprob: float
    entropy: float
    rank: int
    tail: float
    top_ids: Ids
    top_logprobs: Floats


def describe(logits: Floats, token: int, k: int) -> Distribution:
    """Logprob, rank and entropy of a prediction and its `k` most likely tokens.

    With l the logits less their peak and Z = sum exp(l):
    ln p(i) = l_i - ln Z and H = ln Z - (sum l exp(l)) / Z.

    Parameters
    ----------
    logits : float32 [n_vocab], raw
    token : the token that came
    k : alternatives to keep; cut to n_vocab

    Raises
    ------
    FloatingPointError
        If the largest logit is NaN or infinite: no distribution can be made from that.
    """
    peak = logits.max()
    if not math.isfinite(peak):
        raise FloatingPointError(f"the largest logit is {peak}")
    # exp() of less than -1000 is 0, and 0 * -1000 is 0 too, which 0 * -inf is not.
    shifted = np.maximum(logits - peak, np.float32(-1000))
    weights = np.exp(shifted)
    total = weights.sum(dtype=np.float64)
    moment = (shifted * weights).sum(dtype=np.float64)
    log_total = math.log(total)
    best = float(peak) + log_total
    top_ids = leading(logits, k)
    top_mass = weights[top_ids].sum(dtype=np.float64)
    return Distribution(
        logprob=float(logits[token]) - best,
        entropy=max(0.0, log_total - float(moment / total)),
        rank=rank(logits, token),
        tail=max(0.0, float((total - top_mass) / total)),
        top_ids=top_ids,
        top_logprobs=(logits[top_ids].astype(np.float64) - best).astype(np.float32),
    )


def mass(logits: Floats, sets: Sequence[Sequence[int]]) -> Floats:
    """Probability of each set of tokens under softmax(logits), float32 [len(sets)].

    Parameters
    ----------
    logits : float32 [n_vocab], raw
    sets : ids of the tokens of each; none twice
    """
    peak = logits.max()
    total = np.exp(logits - peak).sum(dtype=np.float64)
    shares = [np.exp(logits[list(ids)].astype(np.float64) - peak).sum() / total for ids in sets]
    return np.array(shares, np.float32)


def logprobs(logits: Floats) -> NDArray[np.float64]:
    """Ln softmax(logits), float64 [n_vocab]."""
    shifted = logits.astype(np.float64) - float(logits.max())
    found: NDArray[np.float64] = shifted - math.log(np.exp(shifted).sum())
    return found


def divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """KL(p || q), nats, of two distributions given as `logprobs`."""
    there = p > -np.inf  # 0 ln 0 is 0, which 0 * -inf is not
    return max(0.0, float((np.exp(p[there]) * (p[there] - q[there])).sum()))


def rank(logits: Floats, token: int) -> int:
    """1 for the most likely token."""
    value = logits[token]
    return 1 + int(np.count_nonzero(logits > value)) + int(np.count_nonzero(logits[:token] == value))


def leading(values: Floats, n: int) -> Ids:
    """Indices of the `n` largest values, in falling order, ties by index."""
    if n <= 0:
        return np.empty(0, np.int32)
    if n >= len(values):
        return (-values).argsort(kind="stable").astype(np.int32)
    candidates = (values >= _floor(values, n)).nonzero()[0]
    order = (-values[candidates]).argsort(kind="stable")[:n]
    return candidates[order].astype(np.int32)


def _floor(values: Floats, n: int) -> float:
    """A bound that at least `n` of more values reach, and hardly more.

    The n-th largest of many groups' maxima: each of those n groups has a value that reaches it. Taking the
    maxima is twenty times quicker than partitioning a large vocabulary.
    """
    size = len(values) // (8 * n)
    if size < 2:
        return float(np.partition(values, len(values) - n)[len(values) - n])
    groups = len(values) // size
    peaks = values[: size * groups].reshape(size, groups).max(axis=0)
    return float(np.partition(peaks, groups - n)[groups - n])
