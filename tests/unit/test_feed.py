"""What is due to a page: rows once, and once more where a watched probability was worked out later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inferno_widget import feed as feed_module
from inferno_widget.feed import Feed, Frame
from inferno_widget.trace import Trace
from tests.frames import decode
from tests.traces import PIECES, made_trace, record


class Page:
    """A page that keeps what it is sent: number of rows and, by name, the watched values of each node."""

    def __init__(self) -> None:
        self.seq = self.rows = 0
        self.values: dict[str, np.ndarray] = {}
        self.spans: list[tuple[int, int]] = []

    def take(self, frame: Frame) -> None:
        header = decode(frame.buffers[0])["header"]
        start, n = header["start"], header["rows"]
        assert header["seq"] == self.seq + 1
        assert start <= self.rows, "a gap"
        self.seq, self.rows = header["seq"], max(self.rows, start + n)
        self.spans.append((start, start + n))
        names = frame.content.get("watched", [])
        assert len(frame.buffers) == (2 if names else 1)
        if names:
            values = np.frombuffer(frame.buffers[1], "<f4").reshape(len(names), n)
            for name, row in zip(names, values, strict=True):
                column = np.full(self.rows, np.nan, np.float32)
                before = self.values.get(name, column[:0])
                column[: len(before)] = before
                column[start : start + n] = row
                self.values[name] = column

    def drain(self, feed: Feed) -> list[tuple[int, int]]:
        """Take all that is due; the spans that came."""
        seen = len(self.spans)
        while frame := feed.frame():
            self.take(frame)
        assert feed.complete
        return self.spans[seen:]


def long_trace(n: int) -> Trace:
    trace = made_trace()
    for position in range(4, n):
        trace.append(record(3, 1)._replace(position=position), PIECES)
    return trace


@pytest.fixture
def trace() -> Trace:
    return long_trace(30)


@pytest.fixture
def feed(trace: Trace) -> Feed:
    feed = Feed()
    feed.show(trace)
    return feed


def note(trace: Trace, name: str, nodes: Any, value: float) -> None:
    for node in nodes:
        trace.note_watched(node, [name], [value + node / 1000])


def assert_knows(page: Page, trace: Trace) -> None:
    assert page.rows == len(trace)
    for name in trace.watches:
        np.testing.assert_array_equal(page.values[name], trace.watched(name, tree=True))


def test_who_watches_nothing_is_sent_nothing_more(feed: Feed) -> None:
    frame = feed.frame()
    assert frame.content == {"kind": "rows"}
    assert len(frame.buffers) == 1


def test_values_come_with_their_rows(trace: Trace, feed: Feed) -> None:
    trace.watch({"a": (1,), "b": (2, 3)})
    note(trace, "a", range(1, 30), 0.5)
    note(trace, "b", range(1, 30), 0.25)
    frame = feed.frame()
    assert frame.content == {"kind": "rows", "watched": ["a", "b"]}
    values = np.frombuffer(frame.buffers[1], "<f4").reshape(2, 30)
    np.testing.assert_array_equal(values, [trace.watched("a", tree=True), trace.watched("b", tree=True)])
    assert np.isnan(values[:, 0]).all()
    assert feed.complete


def test_what_is_scored_later_is_sent_once_more_and_only_that(trace: Trace, feed: Feed) -> None:
    page = Page()
    assert page.drain(feed) == [(0, 30)]
    trace.watch({"a": (1,)})
    assert page.drain(feed) == [], "nothing is known of it yet"
    note(trace, "a", range(5, 12), 0.5)
    assert not feed.complete
    assert page.drain(feed) == [(5, 12)]
    note(trace, "a", range(12, 30), 0.5)
    trace.append(record(3, 1)._replace(position=30), PIECES)
    assert page.drain(feed) == [(30, 31), (12, 30)], "what is new comes first"
    assert_knows(page, trace)
    note(trace, "a", [7], 0.75)
    assert page.drain(feed) == [(7, 8)]
    assert_knows(page, trace)


def test_a_second_watch_and_the_end_of_one(trace: Trace, feed: Feed) -> None:
    page = Page()
    trace.watch({"a": (1,)})
    note(trace, "a", range(1, 30), 0.5)
    page.drain(feed)
    trace.watch({"b": (2,)})
    note(trace, "b", range(3, 30), 0.25)
    assert page.drain(feed) == [(3, 30)]
    assert_knows(page, trace)
    trace.unwatch("a")
    assert page.drain(feed) == [], "the page hears of it by its marks"
    trace.append(record(3, 1)._replace(position=30), PIECES)
    frame = feed.frame()
    assert frame.content["watched"] == ["b"]


def test_a_page_that_lost_values_is_sent_them_again(trace: Trace, feed: Feed) -> None:
    page = Page()
    page.drain(feed)
    trace.watch({"a": (1,)})
    note(trace, "a", range(5, 12), 0.5)
    feed.frame()  # lost
    assert feed.known_at(page.seq) == 5
    assert feed.known_at(feed.seq) == 30
    feed.replay(feed.epoch, page.rows, page.seq)
    page.seq = feed.seq
    assert page.drain(feed) == [(5, 30)]
    assert_knows(page, trace)
    feed.replay(feed.epoch, 20, page.seq)
    assert page.drain(feed) == [(20, 30)], "what it saw it has"
    feed.replay(feed.epoch - 1, 20, page.seq)
    assert page.drain(feed) == [(0, 30)]


def test_long_watches_come_in_frames_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "ROWS_PER_FRAME", 100)
    trace, feed, page = long_trace(450), Feed(), Page()
    feed.show(trace)
    page.drain(feed)
    trace.watch({"a": (1,)})
    note(trace, "a", range(1, 450), 0.5)
    assert [stop - start for start, stop in page.drain(feed)] == [100, 100, 100, 100, 49]
    assert_knows(page, trace)


def test_another_trace_is_watched_afresh(trace: Trace, feed: Feed) -> None:
    trace.watch({"a": (1,)})
    note(trace, "a", range(1, 30), 0.5)
    Page().drain(feed)
    other = trace.copy()
    feed.show(other)
    page = Page()
    page.seq = feed.seq
    assert page.drain(feed) == [(0, 30)]
    assert_knows(page, other)


@pytest.mark.parametrize(
    ("have", "span"), [(-5, (0, 30)), (0, (0, 30)), (29, (29, 30)), (30, (30, 30)), (99, (30, 30))]
)
def test_a_replay_is_what_is_lacking_and_where_the_path_ends(
    trace: Trace, feed: Feed, have: int, span: tuple[int, int]
) -> None:
    """The frame that was lost may have said no more than that."""
    page = Page()
    page.drain(feed)
    feed.replay(feed.epoch, have, page.seq)
    assert page.drain(feed) == [span]
    trace.append(record(3, 1)._replace(position=30), PIECES)
    assert page.drain(feed) == [(30, 31)]


def test_a_page_that_slept_for_longer_than_frames_are_remembered_is_sent_everything(trace: Trace, feed: Feed) -> None:
    feed.frame()
    for position in range(30, 1_030):
        trace.append(record(3, 1)._replace(position=position), PIECES)
        feed.frame()
    assert [feed.known_at(seq) for seq in (0, 1, 2, feed.seq - 1, feed.seq)] == [0, 30, 31, 1_029, 1_030]


@pytest.mark.parametrize(("epoch", "seq"), [(9, 0), (9, 3), (1, 900), (2**29, 2**29)])
def test_a_page_that_saw_what_was_never_sent_is_met_where_it_is(trace: Trace, feed: Feed, epoch: int, seq: int) -> None:
    """It would pass over all that has a lower number."""
    feed.frame()
    feed.replay(epoch, 700, seq)
    header = decode(feed.frame().buffers[0])["header"]
    assert (header["epoch"] > epoch, header["seq"] > seq) == (True, True)
    assert (header["start"], header["rows"]) == (0, len(trace))
    feed.replay(2**40, -5, 2**40)
    assert decode(feed.frame().buffers[0])["header"]["rows"] == len(trace), "no number that a frame could have"
