"""Stages that cut off the tail, and the temperature."""

from __future__ import annotations

import math

import numpy as np

from ..record import Floats
from ..stats import leading
from .candidates import Candidates, fewest, softmax


def sigma(c: Candidates) -> float:
    """Standard deviation of the logits that are finite."""
    finite = np.isfinite(c.logits)
    logits = (c.logits if finite.all() else c.logits[finite]).astype(np.float64)
    logits -= logits.mean()
    return math.sqrt(float(np.square(logits, out=logits).sum()) / len(logits))


def top_n_sigma(c: Candidates, n: float) -> Candidates:
    """Keep logits within n standard deviations of the largest (Tang et al., 2024, "Top-n-sigma")."""
    return c.take(np.flatnonzero(c.logits >= c.logits.max() - n * sigma(c)))


def top_k(c: Candidates, k: int) -> Candidates:
    """Keep the k most likely (Fan et al., 2018, "Hierarchical neural story generation")."""
    return c.take(leading(c.logits, k))


def entropy(c: Candidates) -> float:
    """-sum p ln p over the candidates, nats.

    With l the logits less their peak and Z = sum exp(l): ln Z - (sum l exp(l)) / Z.
    """
    shifted = _shifted(c)
    weights = np.exp(shifted)
    total = weights.sum(dtype=np.float64)
    return float(np.log(total) - (shifted * weights).sum(dtype=np.float64) / total)


def _shifted(c: Candidates) -> Floats:
    # exp() of less than -1000 is 0, and 0 * -1000 is 0 too, which 0 * -inf is not.
    shifted: Floats = np.maximum(c.logits - c.logits.max(), np.float32(-1000))
    return shifted


def typical(c: Candidates, mass: float) -> Candidates:
    """Keep tokens whose surprisal is nearest the entropy (Meister et al., 2023, "Locally typical sampling").

    -ln p = ln Z - l: no logarithm of every candidate is taken.
    """
    shifted = _shifted(c)
    weights = np.exp(shifted).astype(np.float64)
    total = weights.sum()
    distance = np.abs((float(np.log(total)) - entropy(c)) - shifted)
    return c.take(fewest(-distance, weights / total, mass, beyond=True))


def top_p(c: Candidates, mass: float) -> Candidates:
    """Keep the fewest most likely that reach `mass` (Holtzman et al., 2020, "The curious case of neural text ...")."""
    return c.take(fewest(c.logits, softmax(c.logits), mass))


def min_p(c: Candidates, fraction: float) -> Candidates:
    """Keep what is at least `fraction` as likely as the best (Nguyen et al., 2024, "Turning up the heat")."""
    return c.take(c.logits >= c.logits.max() + math.log(fraction))


def temperature(c: Candidates, t: float) -> Candidates:
    """Divide by it, after the largest logit is taken off; at 0 only the most likely token stays."""
    if t == 0:
        return c.take(leading(c.logits, 1))
    with np.errstate(over="ignore"):  # -inf is what a very small temperature leaves of all but the best
        return Candidates(c.ids, ((c.logits - c.logits.max()).astype(np.float64) / t).astype(np.float32))
