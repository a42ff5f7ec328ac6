"""The page's end of a widget without a browser: it says what a page may say, and checks what it hears."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import numpy as np

from inferno_widget import Inferno, Trace
from tests.engine.tools import until
from tests.frames import decode

PLAIN = ["panels", "prompt", "settings", "status", "selection", "look", "library", "marks"]
"""Traits that cross as JSON."""


def strictly(value: object) -> bytes:
    """As it crosses the wire: strict JSON in UTF-8, or an error."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


class Page:
    """What JavaScript would be: posts messages, and holds frames, replies and statuses as they come."""

    def __init__(self, widget: Inferno) -> None:
        self.widget = widget
        self.frames: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.replies: dict[int, dict[str, Any]] = {}
        self.buffers: dict[int, Any] = {}
        self.statuses: list[dict[str, Any]] = [widget.status]
        self.libraries: list[dict[str, Any]] = [widget.library]
        self.parts: dict[int, list[Any]] = {}
        self.part_times: list[float] = []
        self.watched: list[tuple[int, list[str], np.ndarray]] = []  # first node, names, values
        self.told: dict[str, Any] = {}
        self.notes: list[dict[str, str]] = []
        self._ids = itertools.count(1)
        widget.send = self._hear
        widget.observe(lambda change: strictly(change["new"]), PLAIN)
        widget.observe(lambda change: self.statuses.append(change["new"]), "status")
        widget.observe(lambda change: self.libraries.append(change["new"]), "library")

    def _hear(self, content: dict[str, Any], buffers: list[bytes] = ()) -> None:
        strictly(content)
        if content["kind"] == "rows":
            self.times.append(time.monotonic())
            self.frames.append(decode(buffers[0]))
            assert len(buffers) == (2 if content.get("watched") else 1)
            if content.get("watched"):
                names, values = content["watched"], np.frombuffer(buffers[1], "<f4")
                start = self.frames[-1]["header"]["start"]
                self.watched.append((start, names, values.reshape(len(names), -1)))
        elif content["kind"] == "partial":
            assert content["id"] not in self.replies, "a part after the whole"
            self.part_times.append(time.monotonic())
            self.parts.setdefault(content["id"], []).append(json.loads(strictly(content["value"])))
        elif content["kind"] == "note":
            self.notes.append(content["error"])
        elif content["kind"] == "trait":
            self.told[content["name"]] = content["value"]
        else:
            self.buffers[content["id"]] = buffers
            self.replies[content["id"]] = content

    def post(self, content: object) -> None:
        self.widget._handle_custom_msg(content, [])

    def tell(self, kind: str, **fields: object) -> int:
        number = next(self._ids)
        self.post({"kind": kind, "id": number, **fields})
        return number

    def ask(self, kind: str, **fields: object) -> dict[str, Any]:
        """The reply to a message."""
        number = self.tell(kind, **fields)
        until(lambda: number in self.replies)
        return self.replies[number]

    def value(self, kind: str, **fields: object) -> Any:
        """What a question is answered with, as JSON can hold it."""
        reply = self.ask(kind, **fields)
        assert reply["ok"] is True, reply
        return json.loads(strictly(reply.get("value")))

    def order(self, kind: str, **fields: object) -> None:
        reply = self.ask(kind, **fields)
        assert reply == {"kind": "reply", "id": reply["id"], "ok": True}

    def values(self, name: str) -> np.ndarray:
        """What a page knows of a watch, by node."""
        known = np.full(max((start + values.shape[1] for start, _, values in self.watched), default=0), np.nan)
        for start, names, values in self.watched:
            if name in names:
                known[start : start + values.shape[1]] = values[names.index(name)]
        return known

    def refused(self, kind: str, **fields: object) -> dict[str, str]:
        reply = self.ask(kind, **fields)
        assert reply["ok"] is False
        return reply["error"]

    @property
    def state(self) -> str:
        return self.widget.status["state"]

    def until(self, *states: str) -> None:
        until(lambda: self.state in states)

    def states(self) -> list[str]:
        """The states that were shown, each once while it lasted."""
        return [state for state, _ in itertools.groupby(status["state"] for status in self.statuses)]

    def rows(self) -> dict[int, bytes]:
        """Node -> the bytes of its columns, of the latest epoch; a node that comes again is the same."""
        held: dict[int, bytes] = {}
        epoch = self.frames[-1]["header"]["epoch"]
        for frame in self.frames:
            if frame["header"]["epoch"] == epoch:
                for i in range(frame["header"]["rows"]):
                    said = b"".join(column[i].tobytes() for column in frame["columns"].values())
                    assert held.setdefault(frame["header"]["start"] + i, said) == said
        return held

    def assert_shows(self, trace: Trace) -> None:
        """The frames together are the whole trace, and the last names its head."""
        until(lambda: self.frames and self.frames[-1]["header"]["head"] == trace.head)
        until(lambda: len(self.rows()) == len(trace.nodes))
        assert sorted(self.rows()) == list(range(len(trace.nodes)))
        tokens = {i: np.frombuffer(said[4:8], np.int32)[0] for i, said in self.rows().items()}
        assert [tokens[i] for i in range(len(trace.nodes))] == trace.column("token_id", tree=True).tolist()
        epoch = self.frames[-1]["header"]["epoch"]
        pieces = {k: v for f in self.frames if f["header"]["epoch"] == epoch for k, v in f["pieces"].items()}
        assert pieces == trace.pieces
