"""Tokens and names by somebody who means harm, in everything that is written of a run: text there, and nothing else."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import xml.etree.ElementTree as ET

import mistune
import nbformat
import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbconvert import HTMLExporter, MarkdownExporter

from inferno_widget import figures as plots
from inferno_widget.export import html, markdown
from inferno_widget.export.data import page as json_page
from inferno_widget.export.fallback import bundle
from inferno_widget.export.picture import svg
from inferno_widget.export.text import visible
from inferno_widget.record import Kind, StepRecord
from inferno_widget.resample import Commitment
from inferno_widget.trace import Trace
from tests.make_models import MARKUP
from tests.unit.test_html import Parsed, data_of

EXAMPLES = int(os.environ.get("EXAMPLES", "0")) or 25
FUZZ = settings(max_examples=EXAMPLES, deadline=None, print_blob=True)
CHARACTERS = "<>&\"'`|[]()!#*_~\\\n\r\t -=/:;{}%$\0\x1b\x7f\u2028\u2029\u202e\u2066\ufeff\ufffe\u200d火é"
BITS = st.lists(st.sampled_from(MARKUP) | st.text(CHARACTERS, max_size=6), min_size=1, max_size=12)
SVG = "{http://www.w3.org/2000/svg}"
DRAWN = {f"{SVG}{tag}" for tag in ("svg", "title", "metadata", "rect", "text", "circle", "path", "g")}
UNSEEN = re.compile("[\u0000-\u0008\u000b-\u001f\u007f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def spoken(pieces: list[str], name: str = "x") -> Trace:
    """A run that says these pieces, by a model of this name, whose branch and watch are called so too."""
    trace = Trace(2, model={"name": name, "file": name, "architecture": name, "n_vocab": 99}, control=())
    trace.runs.append({"sampler": {"seed": 7}, "versions": {name: name}, "on_full": name})
    known = dict(enumerate(piece.encode(errors="replace") for piece in pieces))
    for token in known:
        kind = (Kind.PROMPT, Kind.GENERATED, Kind.FORCED)[token % 3]
        others = {
            "top_ids": np.array([token, 0], np.int32),
            "top_logprobs": np.float32([-0.5, -1]),
            "tail": 0.1,
            "ms": 1.0,
        }
        record = StepRecord(token, token, kind, -0.5, 0.6, 1, **others, top_kept=np.array([True, False]))
        trace.append(record if token else StepRecord(0, 0, Kind.PROMPT), known)
    trace.names = {name: trace.head}
    trace.watch({name: (0,)})
    return trace


def assert_plain(parsed: Parsed, *, scripts: int = 0, images: int = 0) -> None:
    """No element and no attribute of a document is of the text."""
    assert (len(parsed.all("script")), len(parsed.all("img"))) == (scripts, images)
    ours = {"a", "b", "svg", "iframe", "marquee", "form", "input", "object", "link", "base"}
    assert not ours & {tag for tag, _ in parsed.elements}
    names = {name for _, attributes in parsed.elements for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("href", "srcdoc", "autofocus", "style")]


@FUZZ
@given(BITS, st.sampled_from(MARKUP))
def test_the_page_of_its_own(pieces: list[str], name: str) -> None:
    trace = spoken(pieces, name)
    page = html.page(trace, title=name)
    parsed = Parsed(page)
    assert_plain(parsed, scripts=2)
    shown = parsed.texts["pre"] + parsed.texts.get("span", "")
    for piece in trace.texts(trace.path()):
        for line in visible(piece).replace("\r", "\n").split("\n"):
            assert line in shown
    assert data_of(page)["traits"]["marks"]["names"] == {name: trace.head}
    assert not UNSEEN.search(page.replace(html._built("page.js"), ""))


@FUZZ
@given(BITS, st.sampled_from(MARKUP))
def test_pictures(pieces: list[str], name: str) -> None:
    trace = spoken(pieces, name)
    for drawn in (svg(trace), svg(trace, "distribution")):
        root = ET.fromstring(drawn)
        assert {element.tag for element in root.iter()} <= DRAWN
        names = {key for element in root.iter() for key in element.attrib}
        assert not [key for key in names if key.startswith("on") or "href" in key or key == "style"]
        assert not UNSEEN.search(re.sub("<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL))


@FUZZ
@given(BITS, st.sampled_from(MARKUP))
def test_markdown(pieces: list[str], name: str) -> None:
    """As a renderer draws it that lets raw HTML through."""
    written = markdown.page(spoken(pieces, name))
    rendered = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "url"])(written)
    parsed = Parsed(rendered)
    known = {"h1", "h2", "h3", "p", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert {tag for tag, _ in parsed.elements} <= known
    assert not UNSEEN.search(written)


@FUZZ
@given(BITS, st.sampled_from(MARKUP))
def test_json(pieces: list[str], name: str) -> None:
    trace = spoken(pieces, name)
    found = json.loads(json_page(trace))
    assert found["model"]["name"] == name
    assert [bytes.fromhex(found["pieces"][str(token)]["hex"]) for token in range(len(pieces))] == list(
        trace.pieces.values()
    )


@FUZZ
@given(BITS, st.sampled_from(MARKUP))
def test_the_output_of_a_notebook(pieces: list[str], name: str) -> None:
    made = bundle(spoken(pieces, name))
    parsed = Parsed(made["text/html"])
    assert_plain(parsed, images=1)
    picture = base64.b64decode(parsed.all("img")[0]["src"].removeprefix("data:image/svg+xml;base64,"))
    assert {element.tag for element in ET.fromstring(picture).iter()} <= DRAWN
    assert not UNSEEN.search(made["text/plain"]), "no terminal obeys it"


@pytest.mark.parametrize("exporter", [HTMLExporter, MarkdownExporter])
@pytest.mark.filterwarnings("ignore")  # nbconvert's own, about its templates
def test_a_notebook_that_is_converted(exporter: type[HTMLExporter | MarkdownExporter]) -> None:
    data = bundle(spoken(list(MARKUP), MARKUP[0]))
    output = nbformat.v4.new_output("display_data", data)
    cell = nbformat.v4.new_code_cell("Inferno()", outputs=[output])
    made, _ = exporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    ours = made[made.index('<div class="inferno-fallback">') :].replace("/>", ">")
    parsed = Parsed(f"{ours[: ours.index('</details>')]}</details></div>")
    assert_plain(parsed, images=1)
    assert MARKUP[0] in parsed.texts["pre"]


def test_a_table_of_the_tree_is_data() -> None:
    frame = spoken(list(MARKUP), MARKUP[0]).to_pandas(tree=True)
    assert frame["text"].tolist()[0] == MARKUP[0]
    out = io.StringIO()
    frame[["text"]].to_html(out)
    assert "<img" not in out.getvalue(), "pandas writes it as text"


def figures(trace: Trace) -> list[go.Figure]:
    """Of a run, and of what people found in it: answers are cut out of the model's text."""
    counts = np.ones((2, len(MARKUP)), np.int32)
    found = Commitment(np.array([1, 2], np.int32), (b"<b>", b"%{x}"), MARKUP, counts, MARKUP[0])
    return [trace.plot.surprisal(), trace.plot.distribution(3), trace.plot.time(), plots.commitment(found, most=99)]


def test_figures_escape_what_plotly_would_draw() -> None:
    """It reads tags and entities in its texts, and what stands in percent signs and braces in its templates."""
    for figure in figures(spoken(list(MARKUP), MARKUP[0])):
        told = json.loads(figure.to_json())
        texts = strings(told)
        assert any("__pwned" in text for text in texts)
        assert not [text for text in texts if re.search(r"<(?!br>|/?extra>)", text)]
        assert not [text for text in templates(told) if "__pwned" in text or "constructor" in text]


def strings(value: object) -> list[str]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] if isinstance(value, str) else [text for part in inside for text in strings(part)]


def templates(value: object) -> list[str]:
    """What plotly fills in: hover and text templates."""
    if not isinstance(value, dict):
        return [text for part in value for text in templates(part)] if isinstance(value, list) else []
    mine = [text for key, text in value.items() if key.endswith("template") and isinstance(text, str)]
    return mine + [text for part in value.values() for text in templates(part)]
