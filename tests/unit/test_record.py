"""Records: what they say, and rows of columns that hold the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inferno_widget.record import Kind, StepRecord, from_row, record_dtype, write_row
from tests.traces import assert_same_record, record


@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize("position", [0, 5])
def test_a_row_holds_the_whole_record(k: int, position: int) -> None:
    rows = np.zeros(2, record_dtype(k))
    said = record(position, 3, min(k, 3), Kind.FORCED)
    write_row(rows[1], record(1, 2, min(k, 3)))  # what stood there before leaves nothing behind
    write_row(rows[1], said)
    assert_same_record(from_row(rows[1]), said)
    assert not rows[0].tobytes().strip(b"\0")


def test_missing_alternatives_are_marked_and_have_no_probability() -> None:
    rows = np.zeros(1, record_dtype(4))
    write_row(rows[0], record(1, 2, 3))
    assert rows["top_ids"][0, 3] == -1
    assert math.isnan(rows["top_logprobs"][0, 3])


def test_more_alternatives_than_room_are_refused() -> None:
    with pytest.raises(ValueError):
        write_row(np.zeros(1, record_dtype(2))[0], record(1, 2, 3))


def test_columns_are_as_documented() -> None:
    dtype = record_dtype(5)
    assert (*dtype.names, "text") == StepRecord._fields
    wide = {name: dtype[name].base.str[1:] + str(dtype[name].shape or "") for name in dtype.names or ()}
    assert wide == {
        "position": "i4",
        "token_id": "i4",
        "kind": "u1",
        "logprob": "f4",
        "entropy": "f4",
        "rank": "i4",
        "sampled_prob": "f4",
        "kept": "i4",
        "draw": "f8",
        "ms": "f4",
        "tail": "f4",
        "left_out": "i4",
        "top_ids": "i4(5,)",
        "top_logprobs": "f4(5,)",
        "top_kept": "b1(5,)",
    }


def test_what_was_not_predicted_is_missing() -> None:
    first = StepRecord(0, 1, Kind.PROMPT)
    assert math.isnan(first.logprob)
    assert math.isnan(first.entropy)
    assert (first.rank, len(first.top_ids), first.kept) == (0, 0, 0)
    assert math.isnan(first.probability)


def test_units() -> None:
    said = record(1, 2)._replace(logprob=math.log(0.25))
    assert said.probability == pytest.approx(0.25)
    assert said.surprisal == pytest.approx(math.log(4))


def test_repr_is_one_short_line() -> None:
    said = record(17, 2)._replace(logprob=math.log(0.25), rank=3, entropy=1.234)
    assert repr(said) == "<StepRecord 17: token 2, generated, p 0.25, rank 3, entropy 1.23>"
    assert repr(said._replace(text="\nOnce")) == (
        r"<StepRecord 17: token 2 '\nOnce', generated, p 0.25, rank 3, entropy 1.23>"
    )
    assert repr(StepRecord(0, 1, Kind.PROMPT)) == "<StepRecord 0: token 1, prompt, no prediction>"
