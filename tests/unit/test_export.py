"""What is written for other people: whole, safe, and with what it takes to make it again."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import struct
import sys
import xml.etree.ElementTree as ET
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferno_widget import export
from inferno_widget.export import data, stream
from inferno_widget.export.svg import cells, cut, width
from inferno_widget.export.text import clusters
from inferno_widget.record import Kind
from inferno_widget.trace import Trace
from tests.traces import PIECES, forked_trace, made_trace, record
from tests.unit.test_public_api import loaded_after

SCHEMA = Path(__file__).parents[2] / "docs" / "trace.schema.json"
SVG = "{http://www.w3.org/2000/svg}"
FINGERPRINT = "5eed" * 16

ODD = [
    *(b"<s>", b"Once", b" upon", "火の鳥".encode(), "は「漢字」".encode(), "한국어".encode(), " 👩‍🚀🔥🇩🇪".encode()),
    *(" مرح".encode(), "با".encode(), b" 123", " שלום".encode(), b"\n\n\n", b"\tx", b"\x00\x1b[31m", b"\r\n"),
    *("\u202eevil".encode(), b"e", "\u0301".encode(), b" <script>alert(1)</script>", b"]]>&amp;-->", b"x" * 230),
    *("\u200b\ufeff\ufffe\uffff".encode(), b"\xf0", b"\x9f\x94", b"\xa5", b"\xff", b"", b"<|im_end|>", b"`" * 5),
    *(
        b"| a | b |\n| --- | --- |\n",
        b"# [x](javascript:1) <img src=x onerror=1> http://a.b ![](y)\n~~~\n```",
        b"\xe7\x81",
    ),
]
"""Tokens that somebody will meet."""


def odd_trace(k: int = 5) -> Trace:
    """A trace of all that is awkward, one of each kind of number included."""
    card = {"name": "a <b>`model`</b> | \x00 名前", "file": "x|`.gguf", "fingerprint": FINGERPRINT, "bytes": 5_610_304}
    trace = Trace(k, model={**card, "quantisation": "Q8_0"}, control=(0,))
    sampler = {"seed": 2**63, "temperature": 0.5, "logit_bias": {"3": -math.inf}}
    run = {"started": 1.7e9, "n_ctx": 512, "versions": {"python": "3"}, "type_k": "f16"}
    trace.runs += [{"sampler": {"seed": 1}, **run}, {"sampler": sampler, **run}]
    pieces = dict(enumerate(ODD))
    for position, token in enumerate(pieces):
        kind = Kind.PROMPT if position < 3 else Kind.FORCED if position in (15, 18) else Kind.GENERATED
        ids = np.random.default_rng(position).permutation(len(ODD))[:k].astype(np.int32)
        said = record(position, 1, k, kind)._replace(token_id=token, left_out=0)
        trace.append(said._replace(top_ids=ids) if position else said, pieces)
    trace._rows["logprob"][4] = -np.inf
    return trace


TRACES = {"made": made_trace(), "forked": forked_trace(), "odd": odd_trace(), "empty": Trace(20)}
parametrize_traces = pytest.mark.parametrize("trace", TRACES.values(), ids=TRACES.keys())


# --- all formats --------------------------------------------------------------------------------------------


def made(trace: Trace, name: str) -> bytes:
    return export.write(trace, name)


@pytest.mark.parametrize("name", ["json", "markdown", "svg", "png", "svg_distribution", "png_distribution"])
def test_every_export_holds_the_reproduction_card(name: str) -> None:
    data = made(odd_trace(), name)
    text = text_in_png(data) if name.startswith("png") else data.decode()
    assert FINGERPRINT in text
    assert str(2**63) in text, "the seed"
    assert "temperature 0.5" in text
    assert "2023-11-14T22:13:20Z" in text


@parametrize_traces
@pytest.mark.parametrize("name", ["json", "markdown", "svg", "png", "inferno"])
def test_every_trace_can_be_written(trace: Trace, name: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert export.write(trace, name, path) == path.read_bytes() or name == "inferno"  # a ZIP knows what time it is
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(ValueError, match=r"no export 'pdf'; there are html, json, markdown, svg, png"):
        export.write(made_trace(), "pdf")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace.json"
    path.write_text("older")

    def fails(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="full"):
        made_trace().to_json(path)
    assert [file.name for file in tmp_path.iterdir()] == ["trace.json"]
    assert path.read_text() == "older"


def test_an_inferno_file_can_be_read_again(tmp_path: Path) -> None:
    trace = forked_trace()
    path = tmp_path / "x.inferno"
    path.write_bytes(export.write(trace, "inferno"))
    np.testing.assert_array_equal(Trace.load(path).nodes["token_id"], trace.nodes["token_id"])


def test_a_trace_writes_itself(tmp_path: Path) -> None:
    trace = made_trace()
    for name, method in {"json": trace.to_json, "markdown": trace.to_markdown, "svg": trace.to_svg}.items():
        assert method() == export.write(trace, name).decode()
        assert method(tmp_path / name) is None
        assert (tmp_path / name).read_text(encoding="utf-8") == method()
    assert trace.to_png()[:8] == b"\x89PNG\r\n\x1a\n"
    assert trace.to_svg(what="distribution", at=2) != trace.to_svg(what="distribution", at=3)
    with pytest.raises(ValueError, match="what must be one of stream, distribution, not 'strip'"):
        trace.to_svg(what="strip")


def test_importing_exports_is_cheap() -> None:
    heavy = {"plotly", "pandas", "resvg_py", "llama_cpp", "anywidget", "traitlets", "jsonschema"}
    assert (
        not loaded_after("import inferno_widget.export, inferno_widget.export.picture, inferno_widget.figures") & heavy
    )


# --- the card -----------------------------------------------------------------------------------------------


def test_the_card_says_what_was_done() -> None:
    trace = forked_trace()
    trace.runs[0] |= {"n_ctx": 512, "started": 0.5, "versions": {"numpy": "2"}}
    card = export.card(trace)
    assert card["tokens"] == {"path": 4, "prompt": 1, "generated": 2, "forced": 1, "tree": 7}
    assert [(run["run"], run["seed"], run["tokens"]) for run in card["runs"]] == [(0, 7, 2), (1, 8, 2)]
    assert card["runs"][0]["started"] == datetime.fromtimestamp(0.5, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert card["runs"][0]["chain"] == ["top_k 40", "top_p 0.95", "min_p 0.05", "temperature 0.8"]
    assert card["runs"][0]["n_ctx"] == 512
    assert card["runs"][1]["started"] is None
    assert card["model"] == {"name": "none", "n_vocab": len(PIECES)}


@pytest.mark.parametrize(
    ("settings", "chain"),
    [
        ({"top_k": 0, "top_p": 1, "min_p": 0, "temperature": 1}, []),
        ({"top_k": 0, "top_p": 1, "min_p": 0, "temperature": 0}, ["temperature 0"]),
        (
            {"top_k": 3, "top_p": 1, "min_p": 0, "temperature": 1, "logit_bias": {"4": 1.5}},
            ["logit_bias (1)", "top_k 3"],
        ),
        ({"mirostat": 2}, None),  # of a version to come
    ],
)
def test_the_card_names_the_stages_that_act(settings: dict[str, Any], chain: list[str] | None) -> None:
    trace = made_trace()
    trace.runs[0]["sampler"] = settings
    assert export.card(trace)["runs"][0]["chain"] == chain
    assert ("unknown" in (trace.to_markdown() or "")) == (chain is None)


# --- JSON ---------------------------------------------------------------------------------------------------


def strictly(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@parametrize_traces
def test_json_follows_its_schema(trace: Trace) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    schema = strictly(SCHEMA.read_text(encoding="utf-8"))
    validator.check_schema(schema)
    contents = strictly(trace.to_json())
    validator(schema).validate(contents)
    del contents["nodes"]["draw"]
    assert not validator(schema).is_valid(contents)


def test_the_schema_names_every_column_of_every_node() -> None:
    nodes = strictly(SCHEMA.read_text(encoding="utf-8"))["properties"]["nodes"]
    contents = strictly(forked_trace().to_json())
    assert set(nodes["required"]) == set(nodes["properties"]) == set(contents["nodes"])
    assert {len(column) for column in contents["nodes"].values()} == {7}
    assert contents["version"] == data.VERSION


def test_json_has_what_was_noted_on_a_trace() -> None:
    trace = forked_trace()
    trace.names, trace.pruned, trace.diverged = {"trunk": 6}, frozenset({5, 3}), [4]
    trace.watch({"yes": (1, 2)})
    trace.note_watched(1, ["yes"], [0.25])
    contents = strictly(trace.to_json())
    schema = strictly(SCHEMA.read_text(encoding="utf-8"))
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema)
    validator.validate(contents)
    assert {name: contents[name] for name in ("names", "pruned", "diverged", "watches")} == {
        "names": {"trunk": 6},
        "pruned": [3, 5],
        "diverged": [4],
        "watches": {"yes": [1, 2]},
    }
    assert contents["nodes"]["p(yes)"] == [None, 0.25, *[None] * 5]
    contents["nodes"]["p(yes)"][0] = "much"
    assert not validator.is_valid(contents)


@parametrize_traces
def test_a_trace_can_be_built_again_from_its_json(trace: Trace) -> None:
    contents = strictly(trace.to_json())
    columns = contents["nodes"]
    rows = np.zeros(len(columns["parent"]), trace.nodes.dtype)
    kinds = [kind.name.lower() for kind in Kind]
    for name in rows.dtype.names:
        column = [kinds.index(kind) for kind in columns["kind"]] if name == "kind" else columns[name]
        if rows.dtype[name].base.kind == "f":
            column = np.array(column, object)
            column = np.where(column == None, np.nan, column).astype(float)  # noqa: E711
        rows[name] = np.array(column, rows.dtype[name].base).reshape(rows[name].shape)
    pieces = {int(token): bytes.fromhex(piece["hex"]) for token, piece in contents["pieces"].items()}
    again = Trace.restored(
        rows,
        path=contents["path"],
        pieces=pieces,
        runs=contents["runs"],
        model=contents["model"],
        control=contents["control"],
    )
    for name in rows.dtype.names:
        np.testing.assert_array_equal(again.nodes[name], trace.nodes[name], err_msg=name)
    assert (again.text, again.pieces) == (trace.text, trace.pieces)
    assert contents["text"] == trace.text
    assert columns["text"] == trace.texts(range(len(trace.nodes)))
    assert {token: piece["text"] for token, piece in contents["pieces"].items() if piece["text"] is not None} == {
        str(token): piece.decode()
        for token, piece in trace.pieces.items()
        if piece.decode(errors="ignore").encode() == piece
    }


def test_what_is_missing_is_null_and_what_is_infinite_says_so() -> None:
    nodes = strictly(odd_trace().to_json())["nodes"]
    assert nodes["logprob"][0] is None
    assert nodes["logprob"][4] == "-inf"
    assert nodes["top_logprobs"][0] == [None] * 5
    assert strictly(odd_trace().to_json())["runs"][1]["sampler"]["logit_bias"] == {"3": "-inf"}


# --- Markdown -----------------------------------------------------------------------------------------------


def rendered(markdown: str) -> Any:
    mistune = pytest.importorskip("mistune")
    soup = pytest.importorskip("bs4")
    return soup.BeautifulSoup(mistune.create_markdown(escape=False, plugins=["table", "url"])(markdown), "html.parser")


def test_a_transcript_marks_the_prompt_and_what_was_forced() -> None:
    trace = forked_trace()
    trace.goto(5)
    page = rendered(trace.to_markdown())
    prompt, rest = [block.get_text().rstrip("\n") for block in page.find_all("pre")]
    assert (prompt, rest) == ("", "Once⟦⟧")
    assert [heading.get_text() for heading in page.find_all("h2")] == ["Prompt", "What followed", "Reproduction card"]


def test_nothing_in_a_transcript_acts() -> None:
    trace = odd_trace()
    page = rendered(trace.to_markdown())
    tags = {tag.name for tag in page.find_all()}
    assert tags <= {"h1", "h2", "h3", "p", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"}
    said = "".join(block.get_text().rstrip("\n") for block in page.find_all("pre"))
    for part in (
        "<script>alert(1)</script>",
        "`````",
        "# [x](javascript:1) <img",
        "火の鳥",
        "👩‍🚀",
        "\\u202eevil⟧",
        "\\u001b[31m",
    ):
        assert part in said
    assert re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", trace.to_markdown()) is None
    assert "a <b>`model`</b> | \\u0000 名前" in page.h1.get_text()
    rows = {
        cells[0].get_text(): cells[1].get_text()
        for cells in (row.find_all("td") for row in page.find_all("tr"))
        if len(cells) == 2
    }
    assert rows["file"].replace("\\|", "|") == "x|`.gguf"  # GitHub's tables undo that escape in code, mistune's do not
    assert rows["fingerprint"] == FINGERPRINT


def test_a_transcript_has_a_row_for_each_run() -> None:
    page = rendered(forked_trace().to_markdown())
    table = next(table for table in page.find_all("table") if table.th.get_text() == "run")
    rows = [[cell.get_text() for cell in row.find_all("td")] for row in table.find_all("tr")[1:]]
    assert [row[:4] for row in rows] == [["0", "2", "", "7"], ["1", "2", "", "8"]]


# --- SVG ----------------------------------------------------------------------------------------------------


@parametrize_traces
@pytest.mark.parametrize("what", ["stream", "distribution"])
@pytest.mark.parametrize(("theme", "columns"), [("light", 88), ("dark", 88), ("light", 56)])
def test_a_picture_is_complete_in_itself(trace: Trace, what: str, theme: str, columns: int) -> None:
    if what == "distribution" and not len(trace):
        with pytest.raises(IndexError, match="no token at position -1: the text is empty"):
            trace.to_svg(what=what)
        return
    drawn = trace.to_svg(what=what, theme=theme, columns=columns)
    root = ET.fromstring(drawn)
    assert {tag.tag.removeprefix(SVG) for tag in root.iter()} <= {
        "svg",
        "title",
        "metadata",
        "rect",
        "g",
        "text",
        "circle",
        "path",
    }
    assert {name for tag in root.iter() for name in tag.attrib} & {"href", "style", "onload"} == set()
    assert not any(":" in value or "url(" in value for tag in root.iter() for value in tag.attrib.values())
    assert json.loads(root.find(f"{SVG}metadata").text)["Reproduction card"] == export.card(trace)
    wide, high = int(root.get("width")), int(root.get("height"))
    for box in root.iter(f"{SVG}rect"):
        assert float(box.get("x", 0)) + float(box.get("width")) <= wide
        assert float(box.get("y", 0)) + float(box.get("height")) <= high
    for text in root.iter(f"{SVG}text"):
        assert 0 < float(text.get("y")) < high
        assert float(text.get("x")) + float(text.get("textLength", 0)) <= wide + 0.01


def test_a_picture_shows_every_token_in_its_colour() -> None:
    trace = odd_trace()
    groups = list(ET.fromstring(trace.to_svg()).iter(f"{SVG}g"))
    units = stream.units([trace.pieces[token] for token in trace.column("token_id").tolist()])
    assert len(groups) == len(units)
    surprisals = -trace.column("logprob").astype(float)
    for group, (first, behind) in zip(groups, units, strict=True):
        said = "".join(text.text for text in group.iter(f"{SVG}text"))
        plain = b"".join(trace.pieces[t] for t in trace.column("token_id")[first:behind].tolist()).decode(
            errors="ignore"
        )
        for word in re.findall(r"[a-zA-Z\[\]]{3,}", plain):
            assert word in said
        grounds = {box.get("fill") for box in group.findall(f"{SVG}rect")} - {"none"}
        step = min(36, round(min(9.0, surprisals[first:behind].sum()) * 4)) if first else 0
        coloured = first >= 3 and step > 0
        assert len(grounds) == (1 if coloured else 0), plain
        if coloured:
            assert grounds == {stream.css(stream.ground(step, "light", "inferno"))}


@pytest.mark.parametrize(
    "option", [{"palette": "viridis"}, {"metric": "rank"}, {"theme": "dark"}, {"title": "mine"}, {"columns": 120}]
)
def test_every_option_changes_the_picture(option: dict[str, Any]) -> None:
    assert odd_trace().to_svg(**option) != odd_trace().to_svg()


def test_what_the_model_no_longer_sees_is_faint() -> None:
    trace = odd_trace()
    assert 'opacity="0.45"><title' not in trace.to_svg()
    assert "no longer sees" not in trace.to_svg()
    trace._rows["left_out"][len(trace.nodes) - 1] = 6
    trace.runs[1]["keep"] = 2
    groups = list(ET.fromstring(trace.to_svg()).iter(f"{SVG}g"))
    assert [i for i, group in enumerate(groups) if group.get("opacity") == "0.45"] == [2, 3, 4, 5, 6, 7]
    assert "faint: the model no longer sees it" in trace.to_svg()


def test_a_part_of_the_text_can_be_drawn() -> None:
    drawn = odd_trace().to_svg(span=(1, 3))
    assert [group.find(f"{SVG}title").text.split(" ")[0] for group in ET.fromstring(drawn).iter(f"{SVG}g")] == [
        "Once",
        "·upon",
    ]
    with pytest.raises(ValueError, match=r"span must be \(from, to\) with 0 <= from <= to <= 32, not \(2, 1\)"):
        odd_trace().to_svg(span=(2, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"theme": "blue"}, "theme must be one of light, dark, not 'blue'"),
        ({"metric": "loss"}, "metric must be one of probability, surprisal, entropy, rank, time, not 'loss'"),
        ({"palette": "jet"}, "palette must be one of inferno, viridis, cividis, contrast, not 'jet'"),
        ({"columns": 5}, "columns must be between 56 and 400, not 5"),
    ],
)
def test_an_option_that_cannot_be_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made_trace().to_svg(**options)


def test_a_distribution_has_a_bar_for_all_of_the_probability() -> None:
    trace = made_trace()
    record = trace.record(2)._replace(
        token_id=8, top_ids=np.array([1, 2, 3], np.int32), logprob=math.log(0.05), rank=40
    )
    record = record._replace(top_logprobs=np.log(np.float32([0.5, 0.25, 0.1])), tail=0.15, kept=2)
    trace.goto(1)
    trace.append(record._replace(top_kept=np.array([True, False, True])), PIECES)
    root = ET.fromstring(trace.to_svg(what="distribution", at=2, theme="dark"))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    rows = [
        "1",
        "Once",
        "50.0%",
        "2",
        "·upon",
        "25.0%",
        "3",
        "·a",
        "10.0%",
        "40",
        "火",
        "5.0%",
        "everything else",
        "10.0%",
    ]
    assert texts[-15:-1] == rows
    bars = [box for box in root.iter(f"{SVG}rect") if box.get("height") in ("11", "10")]
    assert [box.get("stroke-dasharray") for box in bars] == [None, "3 2", None, None, None]
    lengths = [float(box.get("width")) for box in bars]
    np.testing.assert_allclose(np.array(lengths) / lengths[0], [1, 0.5, 0.2, 0.1, 0.2], atol=0.01)


def test_the_first_token_has_no_distribution() -> None:
    assert "nothing before it to predict it from" in made_trace().to_svg(what="distribution", at=0)


# --- lines --------------------------------------------------------------------------------------------------


def items(text: str) -> list[stream.Item]:
    kinds = {" ": "space", "\n": "newline"}
    return [stream.Item(0, kinds.get(cluster, "text"), cluster, cells(cluster)) for cluster in clusters(text)]


def lines(text: str, columns: int) -> list[str]:
    return ["".join(item.text for item in line) for line in stream.wrapped(items(text), columns)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the old man", ["the ", "old ", "man"]),
        ("the oldest man", ["the ", "oldest ", "man"]),
        ("abcdefghij", ["abcdef", "ghij"]),
        ("火火火火", ["火火火", "火"]),
        ("a火火火", ["a火火", "火"]),
        ("a\n\nb", ["a\n", "\n", "b"]),
        ("abcdef   b", ["abcdef   ", "b"]),
        ("", []),
    ],
)
def test_lines_break_between_words(text: str, expected: list[str]) -> None:
    assert lines(text, 6) == expected


def test_no_line_is_too_wide_and_nothing_is_lost() -> None:
    dice = np.random.default_rng(0)
    for _ in range(300):
        text = "".join(dice.choice(list("ab  火\ne\u0301"), size=60))
        broken = list(stream.wrapped(items(text), 9))
        assert "".join(item.text for line in broken for item in line) == text
        assert max(sum(item.cells for item in line) for line in broken) <= 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abc", 3),
        ("火", 2),
        ("한", 2),
        ("e\u0301", 1),
        ("👩‍🚀", 2),
        ("🇩🇪", 2),
        ("👍🏽", 2),
        ("❤️", 2),
        ("ｶ", 1),
        ("", 0),
    ],
)
def test_the_width_of_text_is_known(text: str, expected: int) -> None:
    assert width(text) == expected


@pytest.mark.parametrize(("text", "most", "expected"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("火火火", 5, "火火…")])
def test_long_names_are_cut(text: str, most: int, expected: str) -> None:
    assert cut(text, most) == expected
    assert width(cut(text, most)) <= most


def test_words_of_right_to_left_scripts_stand_in_their_order() -> None:
    pieces = ["then ", "مرح", "با", " ", "ثم", " 12", " שלום", "!", " end"]
    line = [item._replace(unit=unit) for unit, piece in enumerate(pieces) for item in items(piece)]
    shown = [group[0].unit for group in stream._in_reading_order(line)]
    assert list(dict.fromkeys(shown)) == [0, 6, 5, 4, 3, 2, 1, 7, 8]
    word = ["".join(item.text for item in group) for group in stream._in_reading_order(line) if group[0].unit in (1, 2)]
    expected = ["\u200dبا", "مرح\u200d"]  # noqa: RUF001
    assert word == expected, "the letters keep the shapes that they have within a word"


# --- PNG ----------------------------------------------------------------------------------------------------


def chunks(image: bytes) -> list[tuple[bytes, bytes]]:
    """Of a PNG, their checksums checked."""
    found, at = [], 8
    while at < len(image):
        size = struct.unpack(">I", image[at : at + 4])[0]
        name, body = image[at + 4 : at + 8], image[at + 8 : at + 8 + size]
        assert struct.unpack(">I", image[at + 8 + size : at + 12 + size])[0] == zlib.crc32(name + body)
        found.append((name, body))
        at += 12 + size
    return found


def text_in_png(image: bytes) -> str:
    body = dict(chunks(image))[b"iTXt"]
    return zlib.decompress(body[body.index(b"\0") + 5 :]).decode()


needs_resvg = pytest.mark.skipif(importlib.util.find_spec("resvg_py") is None, reason="resvg_py is not installed")


@needs_resvg
@pytest.mark.parametrize("scale", [1, 2])
def test_a_png_is_the_svg_drawn(scale: int) -> None:
    image = odd_trace().to_png(scale=scale, theme="dark")
    root = ET.fromstring(odd_trace().to_svg())
    kinds = [name for name, _ in chunks(image)]
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    assert struct.unpack(">II", image[16:24]) == (scale * int(root.get("width")), scale * int(root.get("height")))
    assert json.loads(text_in_png(image)) == export.card(odd_trace())


@needs_resvg
def test_a_picture_of_a_million_lines_is_refused() -> None:
    trace = made_trace()
    trace.pieces[3] = b"\n" * 40_000
    with pytest.raises(ValueError, match=r"1,688 x 2,240,\d+ pixels.*span=\(from, to\), a smaller scale, or SVG"):
        trace.to_png()
    assert trace.to_png(span=(0, 2))


def test_without_resvg_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(ImportError, match=r'pip install "inferno_widget\[png\]"'):
        made_trace().to_png()


# --- what is no option --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["html", "svg", "png"])
def test_an_unknown_option_is_named_with_the_nearest(form: str) -> None:
    wrong = {"html": ("titel", "title"), "svg": ("metrik", "metric"), "png": ("scal", "scale")}[form]
    with pytest.raises(
        TypeError, match=f"the export '{form}' has no parameter '{wrong[0]}'; did you mean '{wrong[1]}'"
    ):
        getattr(forked_trace(), f"to_{form}")(**{wrong[0]: 1})


@pytest.mark.parametrize("span", [3, (0, None), (0,), "ab", (0.5, 2)])
def test_what_is_no_span_is_refused(span: object) -> None:
    with pytest.raises(ValueError, match=r"span must be \(from, to\) with 0 <= from <= to <= \d+, not "):
        forked_trace().to_svg(span=span)


def test_half_a_character_in_the_name_of_a_file_is_written_out(tmp_path: Path) -> None:
    """As a file has it whose name is no UTF-8."""
    trace = forked_trace()
    trace.model = {"name": "caf\udce9", "file": "caf\udce9.gguf", "fingerprint": "0" * 64, "\ud800": 1}
    for form in export.FORMATS:
        export.write(trace, form, tmp_path / form)
    assert "caf\\udce9.gguf" in (tmp_path / "markdown").read_text()
    assert json.loads((tmp_path / "json").read_text())["model"]["file"] == "caf\\udce9.gguf"
