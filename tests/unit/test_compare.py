"""Two branches side by side: what both begin with, and what each has behind that."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inferno_widget.record import Kind
from inferno_widget.trace import Trace
from tests.traces import PIECES, made_trace, record


@pytest.fixture
def trace() -> Trace:
    """0 1 2 3 | 4 5 6 7 (one character) and 0 1 2 | 8 1, and nothing behind 3."""
    trace = made_trace((0, 1, 2, 3))
    for position, token in enumerate((4, 5, 6, 7), 4):
        trace.append(record(position, token), PIECES)
    trace.goto(2)
    trace.append(record(3, 8, kind=Kind.FORCED), PIECES)
    trace.append(record(4, 1), PIECES)
    trace.names = {"fire": 5, "火": 8}
    return trace


def test_both_are_aligned_where_they_part(trace: Trace) -> None:
    found = trace.compare("fire", "火")
    assert found.shared == 3
    assert (found.a.nodes.tolist(), found.b.nodes.tolist()) == ([3, 4, 5, 6, 7], [8, 9])
    assert (found.a.token_ids.tolist(), found.b.token_ids.tolist()) == ([3, 4, 5, 6, 7], [8, 1])
    assert found.a.texts == (" a", "", "", "", "🔥")
    assert (found.a.text, found.b.text) == (" a🔥", "火Once")
    for side in (found.a, found.b):
        rows = trace.nodes[side.nodes]
        np.testing.assert_array_equal(side.logprobs, rows["logprob"])
        np.testing.assert_array_equal(side.ranks, rows["rank"])
        assert side.logprob == pytest.approx(float(rows["logprob"].astype(np.float64).sum()))
        assert side.mean == pytest.approx(side.logprob / len(rows))
        assert side.perplexity == pytest.approx(math.exp(-side.mean))
    assert trace.compare(7, 9).a.token_ids.tolist() == found.a.token_ids.tolist(), "by their last nodes"
    swapped = trace.compare("火", "fire")
    assert (swapped.shared, swapped.a.text) == (3, "火Once")


def test_a_branch_and_its_own_beginning(trace: Trace) -> None:
    found = trace.compare(7, 4)
    assert (found.shared, len(found.a), len(found.b)) == (5, 3, 0)
    assert found.b.logprob == 0
    assert math.isnan(found.b.mean)
    same = trace.compare(7, 7)
    assert (same.shared, len(same.a), len(same.b)) == (8, 0, 0)
    assert "8 tokens shared, then 0 and 0" in repr(same)


def test_two_texts_that_share_nothing(trace: Trace) -> None:
    trace.goto(-1)
    trace.append(record(0, 1), PIECES)
    found = trace.compare(7, trace.head)
    assert (found.shared, len(found.a), len(found.b)) == (0, 8, 1)
    assert "no prediction" in repr(found)
    assert math.isnan(found.b.mean)
    assert found.a.logprob == pytest.approx(float(np.nansum(found.a.logprobs)))


def test_the_table_of_a_cell(trace: Trace) -> None:
    lines = repr(trace.compare("fire", "火")).splitlines()
    assert lines[0] == "<Comparison: 3 tokens shared, then 5 and 2>"
    assert lines[1].split() == ["fire", "火"]
    a, b = trace.nodes[3], trace.nodes[8]
    assert lines[2].split("'")[1] == " a"
    assert f"{a['logprob']:.2f}, rank {a['rank']}" in lines[2]
    assert lines[2].endswith(f"{b['logprob']:.2f}, rank {b['rank']}")
    assert [line.split()[0] for line in lines[2:]] == ["3", "4", "5", "6", "7", "logprob", "mean"]
    trace.goto(7)
    for position in range(8, 60):
        trace.append(record(position, 3), PIECES)
    assert "  and 33 more" in repr(trace.compare(trace.head, "火"))
    assert max(map(len, repr(trace.compare(trace.head, "火")).splitlines())) < 100


def test_a_frame_of_both(trace: Trace) -> None:
    pd = pytest.importorskip("pandas")
    frame = trace.compare("fire", "火").to_pandas()
    assert list(frame) == [
        "position",
        *("node_a", "token_id_a", "rank_a", "text_a", "logprob_a"),
        *("node_b", "token_id_b", "rank_b", "text_b", "logprob_b"),
    ]
    assert frame["position"].tolist() == [3, 4, 5, 6, 7]
    assert frame["node_a"].tolist() == [3, 4, 5, 6, 7]
    assert frame["node_b"].tolist()[:2] == [8, 9]
    assert frame.loc[2:, "node_b"].isna().all()
    assert frame.loc[2:, "text_b"].isna().all()
    assert frame.loc[2:, "logprob_b"].isna().all()
    assert frame["logprob_a"].to_numpy() == pytest.approx(trace.nodes["logprob"][3:8])
    assert isinstance(trace.compare(7, 7).to_pandas(), pd.DataFrame)


def test_what_is_not_there_is_named(trace: Trace) -> None:
    with pytest.raises(KeyError, match="no branch is called 'ice'; these are: 'fire', '火'"):
        trace.compare("ice", 3)
    with pytest.raises(IndexError, match="node 99 is not in a trace"):
        trace.compare(99, 3)
    with pytest.raises(TypeError, match="a must be a node or the name of a branch"):
        trace.compare(1.5, 3)
