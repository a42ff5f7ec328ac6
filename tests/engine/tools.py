"""What the engine's tests share."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np

from inferno_widget.engine import Branch, Finish, Request
from inferno_widget.record import StepRecord
from inferno_widget.sampling import Sampler

DEMO = Path(__file__).parents[2] / "inferno_widget" / "models" / "demo.gguf"
GREEDY = Sampler(temperature=0)
NATS = 1e-3
GELU_NATS = 5e-3
"""llama.cpp looks GELU up in a table by float16: how one text is cut into batches moves its numbers by up to 0.002."""


class Switch:
    """A cancel flag for an engine in this process."""

    def __init__(self) -> None:
        self._bytes = ctypes.create_string_buffer(2)
        self.address = ctypes.addressof(self._bytes)

    def is_set(self) -> bool:
        return self._bytes.raw[0] != 0

    def set(self) -> None:
        self._bytes[0] = b"\1"


def ignore(_: float) -> None: ...


def drain(steps: Generator[StepRecord, None, Finish]) -> tuple[list[StepRecord], Finish]:
    """All records, and why they ended."""
    records: list[StepRecord] = []
    while True:
        try:
            records.append(next(steps))
        except StopIteration as end:
            return records, end.value


class Driver:
    """Short forms of an engine's calls, the same for the native engine and for the client.

    `nats` is how near its numbers are, and `eos` the token that ends a text.
    """

    def __init__(self, engine: object, make_flag: Callable[[], object], *, nats: float = NATS, eos: int = 2) -> None:
        self.engine = engine
        self.make_flag = make_flag
        self.nats, self.eos = nats, eos

    def prefill(
        self, ids: Sequence[int], *, branch: Branch | None = None, k: int = 20, cancel: object = None
    ) -> Branch:
        """A branch (a new one unless given) with `ids` added; the records are in `records`, the end in `finish`."""
        branch = self.engine.branch(None, 0) if branch is None else branch
        steps = self.engine.prefill(branch, ids, k=k, cancel=cancel or self.make_flag(), progress=ignore)
        self.records, self.finish = drain(steps)
        return branch

    def steps(
        self,
        branch: Branch,
        n: int,
        sampler: Sampler = GREEDY,
        *,
        cancel: object = None,
        processor: object = None,
        **request: object,
    ) -> Generator[StepRecord, None, Finish]:
        return self.engine.generate(
            branch,
            Request(sampler, n, **request),
            cancel=cancel or self.make_flag(),
            progress=ignore,
            processor=processor,
        )

    def generate(self, branch: Branch, n: int, sampler: Sampler = GREEDY, **options: object) -> list[StepRecord]:
        self.records, self.finish = drain(self.steps(branch, n, sampler, **options))
        return self.records


def tokens(records: Sequence[StepRecord]) -> list[int]:
    return [record.token_id for record in records]


def assert_same(left: Sequence[StepRecord], right: Sequence[StepRecord], *, nats: float) -> None:
    """The same tokens, with numbers as near as `nats`; times are nobody's business."""
    assert tokens(left) == tokens(right)
    for a, b in zip(left, right, strict=True):
        assert (a.position, a.kind, a.left_out) == (b.position, b.kind, b.left_out)
        for name in ("logprob", "entropy", "sampled_prob", "draw", "tail"):
            np.testing.assert_allclose(
                getattr(a, name), getattr(b, name), rtol=0, atol=nats, equal_nan=True, err_msg=name
            )
        mine, other = (dict(zip(r.top_ids.tolist(), r.top_logprobs.tolist(), strict=True)) for r in (a, b))
        for token in mine.keys() & other.keys():
            assert abs(mine[token] - other[token]) < nats
        assert len(mine.keys() & other.keys()) >= len(mine) - 2  # two at the edge may have changed places
