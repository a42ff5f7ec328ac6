"""What is read from a run: distributions, the logit lens, who added what to a logit, what a head looks at.

Everything is in float64 and nats; the last axis of logits is the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from tests.reference.forward import Run

Array = NDArray[np.float64]


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def entropy(logits: Array) -> Array:
    """-sum p ln p"""
    return -(softmax(logits) * log_softmax(logits)).sum(-1)


def kl(logits: Array, others: Array) -> Array:
    """KL(p || q) = sum p ln(p / q), p from `logits` and q from `others`."""
    return (softmax(logits) * (log_softmax(logits) - log_softmax(others))).sum(-1)


def rank(logits: Array, token: ArrayLike) -> NDArray[np.intp]:
    """1 for the most likely token; ties to the lower id. `token` has the shape of `logits` less its last axis."""
    at = np.broadcast_to(np.asarray(token), logits.shape[:-1])[..., None]
    value = np.take_along_axis(logits, at, -1)
    before = (logits > value) | ((logits == value) & (np.arange(logits.shape[-1]) < at))
    return 1 + before.sum(-1)


class LensReading(NamedTuple):
    """The distribution that each layer would give if the model ended there, all [layer, position].

    Attributes
    ----------
    best : the most likely token
    entropy : nats
    rank : of the token that is the most likely in the end
    kl : KL(final || lens), nats; 0 for the last layer
    """

    best: NDArray[np.intp]
    entropy: Array
    rank: NDArray[np.intp]
    kl: Array


def read_lens(run: Run) -> LensReading:
    answer = np.broadcast_to(run.logits.argmax(-1), run.lens.shape[:-1])
    return LensReading(run.lens.argmax(-1), entropy(run.lens), rank(run.lens, answer), kl(run.logits, run.lens))


class Attribution(NamedTuple):
    """Who added what to the logit of a token at a position, the final norm's scale taken as it was there.

    `embedding`, `attn_out`, `mlp`, `added` and `constant` sum to the logit (before a soft cap). `heads` tells
    `attn_out` apart (a norm behind the block is taken as it was, too); what is missing is the projection's bias.

    Attributes
    ----------
    embedding : of the token at the position, and of the position itself where it is learned
    attn_out, mlp : [layer]
    added : [layer], by interventions on the residual stream
    heads : [layer, head]
    constant : the bias of the final norm
    """

    embedding: float
    attn_out: Array
    mlp: Array
    added: Array
    heads: Array
    constant: float

    @property
    def total(self) -> float:
        return float(self.embedding + (self.attn_out + self.mlp + self.added).sum() + self.constant)


def previous_token_scores(attention: Array) -> Array:
    """[layer, head]: the mean weight on the token before; the first token, which has none, is left out."""
    return np.diagonal(attention, -1, -2, -1).mean(-1)


def induction_scores(attention: Array, ids: Sequence[int]) -> Array:
    """[layer, head]: the mean weight on what came after earlier occurrences of the token, where there are any."""
    ids = np.asarray(ids)
    after_the_same = np.zeros((len(ids), len(ids)), bool)
    after_the_same[:, 1:] = ids[:, None] == ids[None, :-1]
    after_the_same = np.tril(after_the_same)
    repeated = after_the_same.any(-1)
    return np.where(after_the_same, attention, 0).sum(-1)[..., repeated].mean(-1)
