"""The page of its own: complete, quiet, and deaf to what its trace says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from inferno_widget.export import html
from inferno_widget.export.snapshot import WATCHED, pack
from inferno_widget.record import Kind, StepRecord
from inferno_widget.trace import Trace
from inferno_widget.wire import ROWS_PER_FRAME
from tests.frames import decode
from tests.traces import forked_trace, made_trace

HOSTILE = b'</pre></script><script>alert(1)</script><img src="x" onerror="alert(2)"><!--'


class Parsed(HTMLParser):
    """Elements with their attributes, and the text in each."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open:
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def unpacked(snapshot: bytes) -> list[dict]:
    data, frames = zlib.decompress(snapshot), []
    while data:
        (length,) = struct.unpack_from("<I", data)
        size = length % WATCHED
        part, data = data[4 : 4 + size], data[4 + size :]
        if length < WATCHED:
            frames.append(decode(part))
            continue
        names, _, values = part.partition(b"\n")
        rows = np.frombuffer(values, "<f4").reshape(len(json.loads(names)), -1)
        frames[-1]["watched"] = dict(zip(json.loads(names), rows, strict=True))
    return frames


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def hostile_trace() -> Trace:
    trace = Trace(2, model={"name": HOSTILE.decode(), "n_vocab": 2, "file": HOSTILE.decode()})
    trace.runs.append({"sampler": {"seed": 7}})
    pieces = {0: HOSTILE, 1: b"\x00\xff\x1b]0;\xe2\x80\xae"}
    trace.append(StepRecord(0, 0, Kind.PROMPT), pieces)
    for position in (1, 2, 3):
        trace.append(StepRecord(position, position % 2, Kind.GENERATED, -0.5, 0.6, 1), pieces)
    return trace


def realistic_trace(n: int = 1_000, k: int = 20, vocabulary: int = 151_936) -> Trace:
    """Numbers that deflate badly: a model of a large vocabulary that is seldom sure."""
    dice = np.random.default_rng(1)
    trace = Trace(k, model={"name": "large", "n_vocab": vocabulary})
    trace.runs.append({"sampler": {"seed": 1, "temperature": 0.8}})
    common = dice.choice(vocabulary, 4_000, replace=False)
    pieces = {int(token): f" w{token:x}".encode() for token in common}
    for position in range(n):
        ids = dice.choice(common, k, replace=False).astype(np.int32)
        logprobs = np.sort(-9 * dice.random(k).astype(np.float32))[::-1]
        numbers = (float(logprobs[0]), dice.random() * 5, 1, dice.random(), 9, dice.random(), dice.random() * 90, 0.1)
        trace.append(
            StepRecord(
                position,
                int(ids[0]),
                Kind.GENERATED,
                *numbers,
                top_ids=ids,
                top_logprobs=logprobs,
                top_kept=dice.random(k) < 0.5,
            ),
            pieces,
        )
    return trace


def test_the_policy_allows_our_two_blocks_and_nothing_else():
    page = html.page(made_trace())
    (policy,) = (
        meta["content"] for meta in Parsed(page).all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    )
    rules = {name: sources.split() for name, sources in (rule.strip().split(" ", 1) for rule in policy.split(";"))}
    script = re.search(r'<script type="module">(.*?)</script>', page, re.DOTALL)[1]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'" for block in (script, style)
    ]
    assert rules == {
        "default-src": ["'none'"],
        "script-src": hashes[:1],
        "style-src": hashes[1:],
        "img-src": ["data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }


def test_the_policy_stands_before_anything_that_it_forbids():
    page = html.page(made_trace())
    assert page.index("Content-Security-Policy") < min(page.index("<style"), page.index("<title"))


def test_nothing_is_named_that_would_be_requested():
    page = Parsed(html.page(made_trace()))
    assert {"link", "img", "iframe", "object", "embed", "base", "form"}.isdisjoint(tag for tag, _ in page.elements)
    assert not [attributes for _, attributes in page.elements if {"src", "href", "style"} & attributes.keys()]


@pytest.mark.parametrize("title", [HOSTILE.decode(), None])
def test_a_hostile_trace_and_title_are_text(title):
    page = html.page(hostile_trace(), title=title)
    parsed = Parsed(page)
    assert [attributes.get("type") for attributes in parsed.all("script")] == ["application/json", "module"]
    assert not parsed.all("img")
    assert not [attributes for _, attributes in parsed.elements if any(name.startswith("on") for name in attributes)]
    assert HOSTILE.decode() in parsed.texts["pre"] + parsed.texts["span"]
    assert page.count("<!--") == html._built("page.js").count("<!--")
    assert "\x00" not in page
    assert "\u202e" not in page, "what would turn the text of the page around is written out"
    assert data_of(page)["traits"]["status"]["model"]["name"] == HOSTILE.decode()


def test_a_title_that_is_no_text_is_refused():
    with pytest.raises(TypeError, match="title must be text, not b'A title'"):
        html.page(made_trace(), title=b"A title")


def test_the_page_holds_the_frames_that_a_kernel_sends():
    trace = forked_trace()
    data = data_of(html.page(trace))
    (frame,) = unpacked(base64.b64decode(data["snapshot"]))
    assert frame["header"]["head"] == trace.head
    np.testing.assert_array_equal(frame["columns"]["parent"], trace.nodes["parent"])
    np.testing.assert_array_equal(frame["columns"]["top_ids"], trace.nodes["top_ids"])
    assert frame["pieces"] == {token: trace.pieces[token] for token in frame["pieces"]}
    assert set(trace.nodes["token_id"].tolist()) <= frame["pieces"].keys()


def test_the_text_is_there_without_scripts():
    parsed = Parsed(html.page(made_trace((0, 1, 2, 3, 4, 5, 6, 7)), title="A title"))
    assert parsed.texts["title"] == parsed.texts["h1"] == "A title"
    assert "JavaScript" in parsed.texts["p"]
    assert "Once upon a🔥" in parsed.texts["pre"]
    assert len(parsed.all("details")) == 2
    assert all("open" in details for details in parsed.all("details"))


def test_the_title_is_the_beginning_of_the_text():
    assert Parsed(html.page(made_trace())).texts["h1"] == "Once upon a"
    long = Parsed(html.page(made_trace((0, *[1, 2, 3] * 40)))).texts["h1"]
    assert long.startswith("Once upon")
    assert long.endswith(" …")
    assert len(long) < 70


def test_an_empty_trace_is_a_page_too():
    parsed = Parsed(html.page(Trace(3)))
    assert "A recording of a model without a name: no tokens" in parsed.texts["p"]


def test_a_thousand_tokens_stay_below_600_kb():
    page = html.page(realistic_trace())
    assert len(page.encode()) <= 600_000
    assert len(html._built("page.js")) < len((html.STATIC / "widget.js").read_text(encoding="utf-8")) / 1.8, (
        "a page without a kernel carries none of the panels that need one"
    )


def test_the_look_is_handed_on():
    assert data_of(html.page(made_trace(), look={"palette": "viridis"}))["traits"]["look"] == {"palette": "viridis"}


def test_what_was_watched_is_named():
    trace = made_trace()
    trace.watch({"the": (1, 3_000)})
    (watch,) = data_of(html.page(trace))["traits"]["marks"]["watches"]
    assert watch == {
        "name": "the",
        "tokens": [{"id": 1, "text": trace.pieces[1].decode()}, {"id": 3_000, "text": "#3000"}],
    }


def test_what_was_made_under_interventions_is_marked_and_said():
    trace = forked_trace()
    trace.runs[1]["interventions"] = [
        {"kind": "ablate", "layer": 2, "head": 3},
        {"kind": "patch", "layer": 1, "position": 4},
    ]
    said = "layer 2 head 3 off; layer 1 patched at token 4"
    page = html.page(trace)
    assert data_of(page)["traits"]["marks"]["altered"] == [{"node": 4, "edits": said}]
    assert f"under {said}" in page
    assert f"under {said}" in trace.to_markdown()
    assert "under layer" not in html.page(made_trace())


def test_our_own_script_cannot_end_its_element(monkeypatch, tmp_path):
    for name in ("page.js", "page.css"):
        (tmp_path / name).write_text('"</script><script>"')
    monkeypatch.setattr(html, "STATIC", tmp_path)
    assert len(Parsed(html.page(made_trace())).all("script")) == 2


def test_what_was_not_built_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(html, "STATIC", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"page\.js was not built: run `python hatch_build\.py`"):
        html.page(made_trace())


class TestSnapshot:
    def test_of_nothing_is_nothing(self):
        assert pack(Trace(3)) == b""

    def test_of_a_long_trace_is_several_frames(self):
        trace = made_trace((0, *[1, 2, 3] * ROWS_PER_FRAME))
        frames = unpacked(pack(trace))
        assert [frame["header"]["start"] for frame in frames] == [0, *(ROWS_PER_FRAME * i for i in (1, 2, 3))]
        assert {(frame["header"]["head"], frame["header"]["epoch"]) for frame in frames} == {(trace.head, 0)}
        tokens = np.concatenate([frame["columns"]["token_id"] for frame in frames])
        np.testing.assert_array_equal(tokens, trace.nodes["token_id"])

    def test_what_is_watched_comes_behind_each_frame(self):
        trace = made_trace((0, *[1, 2, 3] * ROWS_PER_FRAME))
        trace.watch({"a\nb": (1,), "é": (2, 3)})
        for node in range(1, len(trace)):
            trace.note_watched(node, ["a\nb", "é"], [node / len(trace), 0.5])
        frames = unpacked(pack(trace))
        for name in trace.watches:
            values = np.concatenate([frame["watched"][name] for frame in frames])
            np.testing.assert_array_equal(values, trace.watched(name, tree=True))
        size = len(pack(trace))
        assert pack(trace, limit=size) == pack(trace)
        assert pack(trace, limit=size - 1) == b""

    def test_beyond_the_limit_is_nothing(self):
        trace = made_trace((0, *[1, 2, 3] * ROWS_PER_FRAME))
        size = len(pack(trace))
        assert pack(trace, limit=size) == pack(trace)
        assert pack(trace, limit=size - 1) == b""
        assert pack(trace, limit=1_000) == b""
