"""Records through bytes and back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inferno_widget.engine.batch import pack, unpack
from inferno_widget.record import Kind, StepRecord, from_row, record_dtype, write_row

FIRST = StepRecord(0, 1, Kind.PROMPT, ms=0.25)
PROMPT = StepRecord(
    1, 300, Kind.PROMPT, -2.5, 3.25, 17, ms=1.5, tail=0.125, left_out=70_000,
    top_ids=np.array([7, 3, 0], np.int32),
    top_logprobs=np.array([-0.5, -1.5, -8.0], np.float32),
    top_kept=np.zeros(3, np.bool_),
)  # fmt: skip
GENERATED = StepRecord(
    2, 151_935, Kind.GENERATED, -math.inf, 0.0, 151_936, 0.5, 40, 0.1234567890123456, 2.5, 0.0, 2048,
    np.array([2, 151_935], np.int32),
    np.array([0.0, -math.inf], np.float32),
    np.array([True, False]),
)  # fmt: skip
FORCED = GENERATED._replace(kind=Kind.FORCED, draw=math.nan, position=3)
ALL = [FIRST, PROMPT, GENERATED, FORCED]


def assert_equal(left: StepRecord, right: StepRecord) -> None:
    for name, a, b in zip(StepRecord._fields, left, right, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert type(a) is type(b), name
        assert not isinstance(a, np.ndarray) or a.dtype == b.dtype, name


@pytest.mark.parametrize("k", [3, 20, 32])
@pytest.mark.parametrize("records", [[], ALL[:1], ALL, ALL * 100], ids=len)
def test_records_come_back_as_they_were(records: list[StepRecord], k: int) -> None:
    data = pack(records, k)
    assert len(data) == len(records) * record_dtype(k).itemsize
    for record, back in zip(records, unpack(data, k), strict=True):
        assert_equal(record, back)


@pytest.mark.parametrize("k", [3, 20])
def test_bytes_are_an_array_of_record_dtype(k: int) -> None:
    rows = np.frombuffer(pack(ALL, k), record_dtype(k))
    for row, record in zip(rows, ALL, strict=True):
        written = np.zeros(1, record_dtype(k))[0]
        write_row(written, record)
        assert written.tobytes() == row.tobytes()
        assert_equal(from_row(row), record)
    assert rows["top_ids"][:, 2:].tolist() == [[-1] * (k - 2), [0] + [-1] * (k - 3), [-1] * (k - 2), [-1] * (k - 2)]


def test_probability_and_surprisal_follow_from_the_logprob() -> None:
    assert PROMPT.surprisal == 2.5
    assert PROMPT.probability == math.exp(-2.5)
    assert math.isnan(FIRST.probability)
