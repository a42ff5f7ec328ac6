"""One step of a language model: what it predicted and which token came."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Floats = NDArray[np.float32]
MAX_K = 32
"""Most alternatives that are recorded: the page gets a bit for each, in 32."""
Bools = NDArray[np.bool_]


class Kind(IntEnum):
    """Where a token came from."""

    PROMPT = 0
    GENERATED = 1
    FORCED = 2
    """Typed, forked or edited by the person."""


class StepRecord(NamedTuple):
    """What was predicted before a token, and the token.

    Predictions are taken from the model's raw distribution: temperature 1, before any sampler stage,
    over the whole vocabulary. What the sampler made of them stands beside them. The first token of a
    sequence has no prediction: `logprob` and `entropy` are NaN, `rank` is 0 and `top_ids` is empty.

    Attributes
    ----------
    position : index of the token in its sequence, from 0
    token_id : in the model's vocabulary
    kind : prompt, generated or forced
    logprob : ln p(token), nats
    entropy : of the distribution, nats
    rank : 1 is the most likely; ties go to the lower id
    sampled_prob : probability after the sampler's last stage; NaN where no sampler ran
    kept : candidates that the sampler's last stage left; 0 where no sampler ran
    draw : uniform number in [0, 1) of the final draw; NaN where nothing was drawn
    ms : wall time of the step, milliseconds
    tail : probability of all tokens outside `top_ids`
    left_out : tokens after the first `keep` of the text that the model did not see when it predicted this one,
        because the context had been full; 0 where it saw all. `keep` stands in the node's run
    top_ids : int32 [k], most likely first, ties by id
    top_logprobs : float32 [k], nats
    top_kept : bool [k], whether the sampler's last stage left the candidate
    text : the token's text, in a record that a session or a trace gives; a character belongs to the token that
        completes it, and control tokens have none. Empty in others: in a `Continuation`, which has the text of all
    """

    position: int
    token_id: int
    kind: Kind
    logprob: float = math.nan
    entropy: float = math.nan
    rank: int = 0
    sampled_prob: float = math.nan
    kept: int = 0
    draw: float = math.nan
    ms: float = 0.0
    tail: float = math.nan
    left_out: int = 0
    top_ids: Ids = np.empty(0, np.int32)
    top_logprobs: Floats = np.empty(0, np.float32)
    top_kept: Bools = np.empty(0, np.bool_)
    text: str = ""

    def __repr__(self) -> str:
        said = (
            f"p {self.probability:.3g}, rank {self.rank}, entropy {self.entropy:.2f}" if self.rank else "no prediction"
        )
        text = f" {self.text!r}" if self.text else ""
        return f"<StepRecord {self.position}: token {self.token_id}{text}, {self.kind.name.lower()}, {said}>"

    @property
    def probability(self) -> float:
        """p(token) under the raw distribution."""
        return math.exp(self.logprob)

    @property
    def surprisal(self) -> float:
        """-ln p(token), nats."""
        return -self.logprob


class WatchedRecord(StepRecord):
    """A `StepRecord` with the probabilities of tokens that somebody watches.

    Attributes
    ----------
    watched : float32 [m], the raw probability of each set of tokens that is watched
    """

    watched: Floats

    @classmethod
    def of(cls, record: StepRecord, watched: Floats) -> WatchedRecord:
        """`record` with what is watched."""
        made = cls(*record)
        made.watched = watched
        return made

    def _replace(self, **changed: Any) -> WatchedRecord:
        """With some fields changed; what is watched stays."""
        return WatchedRecord.of(StepRecord(*self)._replace(**changed), self.watched)


def watched_of(record: StepRecord) -> Floats | None:
    """Probabilities of what is watched, float32 [m]; None where the record has none."""
    return record.watched if isinstance(record, WatchedRecord) else None


def record_dtype(k: int) -> np.dtype[np.void]:
    """The columns of a `StepRecord` that holds `k` alternatives, packed as one array element."""
    return np.dtype(
        [
            ("position", np.int32),
            ("token_id", np.int32),
            ("kind", np.uint8),
            ("logprob", np.float32),
            ("entropy", np.float32),
            ("rank", np.int32),
            ("sampled_prob", np.float32),
            ("kept", np.int32),
            ("draw", np.float64),
            ("ms", np.float32),
            ("tail", np.float32),
            ("left_out", np.int32),
            ("top_ids", np.int32, (k,)),
            ("top_logprobs", np.float32, (k,)),
            ("top_kept", np.bool_, (k,)),
        ]
    )


ALTERNATIVES = StepRecord._fields.index("top_ids")
"""Where they begin; before them are numbers."""


def write_row(row: np.void, record: StepRecord) -> None:
    """Put a record into an element of an array of `record_dtype`; missing alternatives get id -1 and NaN.

    Its text has no place there: whoever keeps rows keeps the tokens' bytes beside them.
    """
    for name, value in zip(StepRecord._fields[:ALTERNATIVES], record[:ALTERNATIVES], strict=True):
        row[name] = value
    n = len(record.top_ids)
    row["top_ids"][:n], row["top_logprobs"][:n], row["top_kept"][:n] = record[ALTERNATIVES:-1]
    row["top_ids"][n:], row["top_logprobs"][n:] = -1, np.nan


def from_row(row: np.void, text: str = "") -> StepRecord:
    """The inverse of `write_row`, with the token's text."""
    position, token, kind, *numbers = (row[name].item() for name in StepRecord._fields[:ALTERNATIVES])
    n = int(np.count_nonzero(row["top_ids"] >= 0))
    alternatives = [row[name][:n] for name in StepRecord._fields[ALTERNATIVES:-1]]
    return StepRecord(position, token, Kind(kind), *[*numbers, *alternatives, text])
