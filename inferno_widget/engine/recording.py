"""A row of logits, and the token that came behind it -> its record."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from inferno_widget.record import Floats, Kind, StepRecord, WatchedRecord
from inferno_widget.sampling import Choice
from inferno_widget.stats import describe, mass

from . import Watch

LARGE_VOCABULARY = 1 << 15
"""From here on another thread does a step's sums while the next token is decoded."""


def record_of(
    row: Floats | None,
    position: int,
    token: int,
    kind: Kind,
    k: int,
    ms: float,
    choice: Choice | None = None,
    left_out: int = 0,
    watch: Watch = (),
) -> StepRecord:
    """The record of a token.

    Parameters
    ----------
    row : float32 [n_vocab], the raw logits that predict it; None where nothing does
    position : of the token, in the whole text
    k : alternatives to record
    ms : what its step took
    choice : how it was chosen; None where it was given
    left_out : tokens of the text that the model did not see
    watch : sets of tokens whose probability is to be there too
    """
    if row is None:
        return StepRecord(position, token, kind, ms=ms)
    d = describe(row, token, k)
    probability, kept, u, top_kept = math.nan, 0, math.nan, np.zeros(len(d.top_ids), np.bool_)
    if choice:
        probability, kept, u = choice.probability, len(choice.kept), choice.draw
        mask = np.zeros(len(row), np.bool_)
        mask[choice.kept] = True
        top_kept = mask[d.top_ids]
    raw = (position, token, kind, d.logprob, d.entropy, d.rank)
    sampled = (probability, kept, u)
    record = StepRecord(*raw, *sampled, ms, d.tail, left_out, d.top_ids, d.top_logprobs, top_kept)
    return WatchedRecord.of(record, mass(row, watch)) if watch else record


class Recorder:
    """Makes the records of generated tokens, in another thread where that pays."""

    def __init__(self, n_vocab: int) -> None:
        self._thread = ThreadPoolExecutor(1, "sums") if n_vocab >= LARGE_VOCABULARY else None

    @property
    def aside(self) -> bool:
        """Whether something else can be done meanwhile."""
        return self._thread is not None

    def begin(self, *arguments: Any) -> Callable[[], StepRecord]:
        """What returns `record_of` these arguments, when it is done."""
        if self._thread:
            return self._thread.submit(record_of, *arguments).result
        record = record_of(*arguments)
        return lambda: record

    def close(self) -> None:
        if self._thread:
            self._thread.shutdown()
