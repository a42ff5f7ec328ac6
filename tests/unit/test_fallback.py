"""What a saved notebook shows without a kernel."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET

import pytest

from inferno_widget.export import fallback
from inferno_widget.export.fallback import NOTHING, PICTURE_BYTES, PICTURE_TOKENS, Keeper, bundle
from inferno_widget.export.snapshot import pack
from inferno_widget.trace import Trace
from tests.traces import made_trace
from tests.unit.test_html import HOSTILE, Parsed, hostile_trace, realistic_trace


def picture_of(html: str) -> str:
    (img,) = Parsed(html).all("img")
    kind, data = img["src"].split(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(data).decode()


def test_it_is_made_of_what_survives_an_untrusted_notebook():
    parsed = Parsed(bundle(made_trace())["text/html"])
    assert {tag for tag, _ in parsed.elements} <= {"div", "img", "p", "details", "summary", "pre"}
    assert {name for _, attributes in parsed.elements for name in attributes} <= {"class", "src", "alt", "dir"}


def test_the_picture_is_an_svg_of_the_text():
    svg = picture_of(bundle(made_trace())["text/html"])
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "upon" in svg


def test_the_text_stands_in_both():
    made = bundle(made_trace())
    assert made["text/plain"].endswith("\n\nOnce upon a")
    assert Parsed(made["text/html"]).texts["pre"] == "Once upon a"
    assert "none: 1 prompt, 3 generated tokens" in made["text/plain"]


def test_a_hostile_text_is_text():
    parsed = Parsed(bundle(hostile_trace())["text/html"])
    assert [tag for tag, _ in parsed.elements] == ["div", "img", "p", "details", "summary", "pre"]
    assert HOSTILE.decode() in parsed.texts["pre"]


@pytest.mark.parametrize("trace", [None, Trace(3)])
def test_without_a_run_it_says_so(trace):
    made = bundle(trace)
    assert made["text/plain"] == NOTHING
    assert Parsed(made["text/html"]).texts["p"] == NOTHING


def test_a_long_text_is_cut_and_says_so(monkeypatch):
    made = bundle(realistic_trace(1_000, k=3))
    assert len(made["text/html"]) < PICTURE_BYTES + 25_000
    assert f"The picture shows the first {PICTURE_TOKENS} tokens." in made["text/html"]
    monkeypatch.setattr(fallback, "TEXT_LENGTH", 5)
    made = bundle(made_trace())
    assert made["text/plain"].endswith("\n\nOnce \n[6 more characters are not kept in the notebook]")
    assert "shows the first" not in made["text/html"]


def test_a_large_picture_has_fewer_tokens(monkeypatch):
    monkeypatch.setattr(fallback, "PICTURE_BYTES", 30_000)
    html = bundle(realistic_trace(300, k=3))["text/html"]
    assert len(re.search('src="(.*?)"', html)[1]) <= 31_000
    shown = int(re.search(r"the first (\d+) tokens", html)[1])
    assert 10 < shown < 300


class Publisher:
    def __init__(self):
        self.published = []

    def publish(self, data, *, transient, update):
        self.published.append((data["text/plain"], transient["display_id"], update))


@pytest.fixture
def kept(monkeypatch):
    """A keeper in a pretended notebook, what it published, the snapshots it gave, and a clock."""

    class Kept:
        publisher, snapshots, now = Publisher(), [], 100.0

    shell = type("Shell", (), {"kernel": object(), "display_pub": Kept.publisher})
    Kept.snapshots, Kept.publisher.published = [], []
    monkeypatch.setattr(fallback, "get_ipython", lambda: shell)
    monkeypatch.setattr(fallback.time, "monotonic", lambda: Kept.now)
    Kept.keeper = Keeper(Kept.snapshots.append)
    return Kept


class TestKeeper:
    def test_keeps_what_is_there_when_it_is_displayed(self, kept):
        trace = made_trace()
        kept.keeper.display(trace)
        ((text, _, update),) = kept.publisher.published
        assert text.endswith("Once upon a")
        assert not update
        assert kept.snapshots == [pack(trace)]

    def test_updates_the_same_output_after_a_run_at_rest(self, kept):
        kept.keeper.display(None)
        trace = made_trace()
        assert kept.keeper.watch(trace, resting=False) is None
        assert kept.keeper.watch(trace, resting=True) == pytest.approx(0.5)
        kept.now += 0.3
        assert kept.keeper.watch(trace, resting=True) == pytest.approx(0.2)
        assert len(kept.publisher.published) == 1
        kept.now += 0.3
        assert kept.keeper.watch(trace, resting=True) is None
        (_, first, _), (text, second, update) = kept.publisher.published
        assert (first, update) == (second, True)
        assert text.endswith("Once upon a")
        assert kept.snapshots[-1] == pack(trace)

    def test_keeps_steps_in_a_row_once(self, kept):
        kept.keeper.display(None)
        for n in range(1, 5):
            kept.now += 0.3
            kept.keeper.watch(made_trace(tuple(range(n))), resting=True)
        assert len(kept.publisher.published) == 1

    def test_keeps_nothing_twice(self, kept):
        trace = made_trace()
        kept.keeper.display(trace)
        for _ in range(3):
            kept.now += 1
            assert kept.keeper.watch(trace, resting=True) is None
        assert len(kept.publisher.published) == 1

    def test_follows_a_change_of_branch(self, kept):
        trace = made_trace()
        kept.keeper.display(trace)
        trace.goto(1)
        kept.keeper.watch(trace, resting=True)
        kept.now += 1
        kept.keeper.watch(trace, resting=True)
        assert kept.publisher.published[-1][0].endswith("\n\nOnce")

    def test_keeps_nothing_before_it_is_displayed(self, kept):
        kept.keeper.watch(made_trace(), resting=True)
        kept.now += 1
        kept.keeper.watch(made_trace(), resting=True)
        assert not kept.publisher.published
        assert not kept.snapshots

    def test_outside_a_notebook_only_the_snapshot_is_kept(self, kept, monkeypatch):
        monkeypatch.setattr(fallback, "get_ipython", lambda: None)
        kept.keeper.display(made_trace())
        assert not kept.publisher.published
        assert len(kept.snapshots) == 1

    def test_a_snapshot_beyond_its_limit_is_none(self, kept, monkeypatch):
        monkeypatch.setattr(fallback, "SNAPSHOT_BYTES", 100)
        kept.keeper.display(made_trace())
        assert kept.snapshots == [b""]
