"""Traces made by hand, without a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from inferno_widget.record import Kind, StepRecord
from inferno_widget.trace import Trace

PIECES = {
    0: b"<s>",
    1: b"Once",
    2: b" upon",
    3: b" a",
    4: b"\xf0",
    5: b"\x9f",
    6: b"\x94",
    7: b"\xa5",
    8: "火".encode(),
}
PIECES |= {9: b"\xe7\x81", 10: b"\xab", 11: b"\xff", 12: b"</s>"}
CONTROL = (0, 12)


def record(position: int, token: int, k: int = 3, kind: Kind = Kind.GENERATED, seed: int = 0) -> StepRecord:
    """A record whose every field has a value of its own; the first of a sequence has no prediction."""
    if position == 0:
        return StepRecord(0, token, Kind.PROMPT, ms=1.5)
    dice = np.random.default_rng([seed, position, token])
    logprobs = np.sort(-4 * dice.random(k).astype(np.float32))[::-1]
    return StepRecord(
        position,
        token,
        kind,
        *np.float32([-dice.random(), dice.random()]).tolist(),
        1 + int(9 * dice.random()),
        float(np.float32(dice.random())),
        1 + int(k * dice.random()),
        dice.random(),
        *np.float32([dice.random(), dice.random()]).tolist(),
        position // 2,
        np.argsort(dice.random(len(PIECES)))[:k].astype(np.int32),
        logprobs,
        dice.random(k) < 0.5,
    )


def made_trace(tokens: Sequence[int] = (0, 1, 2, 3), k: int = 3) -> Trace:
    """A trace with one path of these tokens."""
    trace = Trace(k, model={"name": "none", "n_vocab": len(PIECES)}, control=CONTROL)
    trace.runs.append({"sampler": {"seed": 7}})
    for position, token in enumerate(tokens):
        trace.append(record(position, token, k), PIECES)
    return trace


def forked_trace() -> Trace:
    """Seven nodes: 0-1-2-3, then 4-5 behind node 1, then 6 behind 4."""
    trace = made_trace()
    trace.goto(1)
    trace.runs.append({"sampler": {"seed": 8}})
    for position, token, kind in ((2, 4, Kind.FORCED), (3, 5, Kind.GENERATED)):
        trace.append(record(position, token, kind=kind), PIECES)
    trace.goto(4)
    trace.append(record(3, 11), PIECES)
    return trace


@contextmanager
def impatient_threads() -> Iterator[None]:
    """Threads give way to one another all the time, so that a race is lost soon."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def assert_same_record(left: StepRecord, right: StepRecord) -> None:
    for name, a, b in zip(StepRecord._fields, left, right, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
