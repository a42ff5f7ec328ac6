r"""Mirostat: a cut that follows the text, so that its surprisal stays near a target.

Basu et al., 2021, "Mirostat: a neural text decoding algorithm that directly controls perplexity"
(https://arxiv.org/abs/2007.14966), as llama.cpp has it. Surprisals here are in bits, as in the paper.

The state is one number, mu, which begins at 2 tau and after each token becomes

    mu - eta * (s - tau),  s = -log2 p(token), p after the cut

and p is what a record keeps as `sampled_prob`. So mu is no hidden state: it is a fold over the records of the tokens
that were chosen before, and forking, pausing, killing the engine or loading a file cannot lose it. `fold` does it; it
uses p as the record has it (float32), in the order of the text, so that it gives the same bits as the run did.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..stats import leading
from .candidates import Candidates, softmax

if TYPE_CHECKING:
    from .sampler import Sampler

CONSIDERED = 100
"""Most likely tokens from which version 1 estimates Zipf's exponent: llama.cpp's m."""


def begin(s: Sampler) -> float:
    """Where mu begins, bits."""
    return 2.0 * s.mirostat_tau


def after(mu: float, probability: float, s: Sampler) -> float:
    """Mu after a token that had this probability after the cut."""
    stored = max(float(np.float32(probability)), math.ulp(0.0))
    return mu - s.mirostat_eta * (-math.log2(stored) - s.mirostat_tau)


def fold(probabilities: Iterable[float], s: Sampler) -> float:
    """Mu after tokens that had these probabilities (`sampled_prob`), in order."""
    mu = begin(s)
    for probability in probabilities:
        mu = after(mu, probability, s)
    return mu


def exponent(c: Candidates) -> float:
    """Zipf's exponent of the most likely candidates (the paper's s hat): with t_i = ln((i + 1) / i) and b_i =
    ln(p_i / p_(i + 1)), sum t b / sum t t. NaN for a single candidate.
    """
    logits = c.logits[leading(c.logits, CONSIDERED)].astype(np.float64)
    b = -np.diff(logits[np.isfinite(logits)])
    t = np.log1p(1 / np.arange(1, len(b) + 1))
    return float((t * b).sum() / (t * t).sum()) if len(b) else math.nan


def count(c: Candidates, mu: float, n_vocab: int) -> int:
    """How many candidates version 1 keeps: k = (eps 2^mu / (1 - N^-eps))^(1/s) with eps = s - 1.

    In logarithms: where k is beyond an int, llama.cpp's cast is undefined, and here all stay.
    """
    s = exponent(c)
    if math.isnan(s):
        return 1
    eps = s - 1
    # The limit for eps -> 0, where the quotient is 0 / 0.
    per = math.log(n_vocab) if abs(eps) < 1e-9 else -math.expm1(-eps * math.log(n_vocab)) / eps
    log_k = mu * math.log(2) - math.log(per)
    log_k = log_k / s if s else math.copysign(math.inf, log_k)
    return len(c.ids) if log_k >= math.log(len(c.ids)) else max(1, int(math.exp(log_k)))


def version_1(c: Candidates, mu: float, n_vocab: int) -> Candidates:
    """Keep as many of the most likely as Zipf's law says have a mean surprisal of mu."""
    return c.take(leading(c.logits, count(c, mu, n_vocab)))


def version_2(c: Candidates, mu: float) -> Candidates:
    """Keep tokens whose surprisal is at most mu bits; the most likely one in any case."""
    kept = np.flatnonzero(softmax(c.logits) >= 2.0**-mu) if mu > 0 else ()
    return c.take(kept) if len(kept) else c.take(leading(c.logits, 1))
