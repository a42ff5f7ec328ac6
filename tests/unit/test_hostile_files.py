"""``.inferno`` files and settings by somebody who means harm: refused in words, within time and memory, or harmless."""

from __future__ import annotations

import copy
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferno_widget import Inferno, files, sound
from inferno_widget.browse import Files
from inferno_widget.errors import TraceFileError
from inferno_widget.export import write as export
from inferno_widget.export.fallback import bundle
from inferno_widget.files import MAX_BYTES, MAX_DIRECTORY, MAX_JSON
from inferno_widget.gestures.telling import speed
from inferno_widget.preferences import MAX_BYTES as SETTINGS_BYTES
from inferno_widget.preferences import MAX_PRESETS, Preferences
from inferno_widget.reading import DEPTH
from inferno_widget.trace import Trace
from inferno_widget.tree import branches_of
from tests.traces import made_trace
from tests.unit.test_files import assert_refused, edited, marked_trace, members, with_column, write

EXAMPLES = int(os.environ.get("EXAMPLES", "0")) or 50
FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
ODD: list[Any] = [
    None, True, False, 0, -1, 7, 2**31, -(2**31), 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "x", "\0", "\ud800", "</script>", "9" * 5_000, [], [[]], {}, {"": {}}, {"1": "x"}, [None], ["1", 1],
]  # fmt: skip
FULL_RUN = {
    "sampler": {"temperature": 0.8, "seed": 7, "logit_bias": {"3": -1.0}, "grammar": None, "top_k": 40},
    "started": 1.7e9,
    "versions": {"inferno_widget": "0.1"},
    "n_ctx": 512,
    "on_full": "slide",
    "keep": 0,
    "run": 0,
    "tokens": 4,
    "seed": 7,
    "chain": [],
    "replay": {"at": 1, "mu": 10.0},
    "interventions": [{"kind": "scale", "layer": 1, "head": 2, "factor": 0.5}, {"kind": "steer", "strength": 2.0}],
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The members of a file that has everything a file can have."""
    trace = marked_trace()
    trace.model |= {"architecture": "llama", "parameters": 5, "bytes": 6, "fingerprint": "ab", "file": "/a/b.gguf"}
    trace.runs = [copy.deepcopy(FULL_RUN), copy.deepcopy(FULL_RUN)]
    path = tmp_path_factory.mktemp("whole") / "whole.inferno"
    trace.save(path)
    used(Trace.load(path))
    return members(path)


def used(trace: Trace) -> None:
    """All that a person does with a trace that was opened."""
    for name in ("html", "json", "markdown", "svg", "inferno"):
        export(trace, name)
    bundle(trace)
    for node in range(len(trace)):
        trace.record(node)
        trace.window(node)
    for at in range(trace.length):
        trace.alternatives(at)
        trace.to_svg(what="distribution", at=at)
    if trace.length:
        figures = (trace.plot.surprisal, trace.plot.entropy, trace.plot.rank, trace.plot.time, trace.plot.distribution)
        assert all(figure().to_json() for figure in figures)
    branches_of(trace)
    trace.to_pandas(tree=True)
    trace.copy()
    speed(trace)
    repr(trace)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything within a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, part in inside for place in places(part, (*here, key)))]


def changed(value: Any, place: tuple[Any, ...], odd: Any) -> Any:
    """A copy with something else in one place."""
    if not place:
        return odd
    made = copy.copy(value)
    made[place[0]] = changed(made[place[0]], place[1:], odd)
    return made


def opened(path: Path) -> bool:
    """Whether a file is a trace; then everything can be done with it."""
    try:
        trace = Trace.load(path)
    except TraceFileError as error:
        said = str(error)
    else:
        used(trace)
        return True
    assert said.startswith(f"{path}: ")
    assert len(said) < 2_000
    assert said.isprintable()
    return False


# --- mutations --------------------------------------------------------------------------------------------


@FUZZ
@given(data=st.data())
def test_any_value_of_the_manifest_may_be_any_other(
    data: st.DataObject, parts: dict[str, bytes], tmp_path: Path
) -> None:
    manifest = json.loads(parts["trace.json"])
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(places(manifest)))
        manifest = changed(manifest, place, data.draw(st.sampled_from(ODD)))
    opened(write(tmp_path / "x.inferno", {**parts, "trace.json": json.dumps(manifest).encode()}))


@FUZZ
@given(data=st.data())
def test_any_number_of_a_column_may_be_any_other(data: st.DataObject, parts: dict[str, bytes], tmp_path: Path) -> None:
    name = data.draw(st.sampled_from([name for name in parts if name.endswith(".npy")]))
    header, column = parts[name][:128], bytearray(parts[name][128:])
    width = np.load(io.BytesIO(parts[name])).dtype.itemsize
    at = width * data.draw(st.integers(0, len(column) // width - 1))
    wild = [bytes(8), b"\xff" * 8, b"\x7f" * 8, b"\0\0\x80\x7f" * 2, b"\0\0\xc0\x7f" * 2, b"\1" + bytes(7)]
    column[at : at + width] = data.draw(st.sampled_from(wild) | st.binary(min_size=8, max_size=8))[:width]
    opened(write(tmp_path / "x.inferno", {**parts, name: header + bytes(column)}))


@FUZZ
@given(data=st.data())
def test_any_token_may_have_any_bytes(data: st.DataObject, parts: dict[str, bytes], tmp_path: Path) -> None:
    pieces = json.loads(parts["pieces.json"])
    for _ in range(data.draw(st.integers(1, 3))):
        token = data.draw(st.sampled_from(sorted(pieces)) | st.sampled_from(["-1", "99999999999", "x", "1.5", ""]))
        piece = st.binary(max_size=12).map(bytes.hex) | st.text(max_size=4).map(
            lambda text: text.encode(errors="replace").hex()
        )
        pieces[token] = data.draw(piece | st.sampled_from(ODD))
    opened(write(tmp_path / "x.inferno", {**parts, "pieces.json": json.dumps(pieces).encode()}))


@FUZZ
@given(data=st.data())
def test_any_bytes_of_the_file_may_be_any_others(data: st.DataObject, parts: dict[str, bytes], tmp_path: Path) -> None:
    """The archive's own structure: sizes, offsets, methods, flags, and what zlib makes of the rest."""
    path = write(tmp_path / "x.inferno", parts)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1) | st.integers(len(whole) - 1_500, len(whole) - 1))
        whole[at : at + 1] = data.draw(st.binary(max_size=4))
    path.write_bytes(whole)
    opened(path)


# --- limits -----------------------------------------------------------------------------------------------


def limited(code: str, path: Path, *, seconds: int = 60, megabytes: int = 900) -> str:
    """What a process prints that may take so much: memory is the kernel's, and so is the end of it."""
    frame = (
        "import resource, sys\nfrom pathlib import Path\n"
        "import inferno_widget.files, inferno_widget.memory, inferno_widget.preferences\n"
        f"inferno_widget.memory.free_memory = lambda: 1 << 40\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (used + ({megabytes} << 20),) * 2)\n"
        f"path = Path(sys.argv[1])\n{code}"
    )
    ran = subprocess.run(
        [sys.executable, "-c", frame, str(path)], capture_output=True, text=True, timeout=seconds, check=False
    )
    assert not ran.returncode, ran.stderr
    return ran.stdout


LOAD = """
try:
    inferno_widget.files.load(path)
except inferno_widget.errors.TraceFileError as error:
    print(error)
"""
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are Linux's")


def of_values(count: int, value: str = "[]") -> bytes:
    return b'{"format": "inferno", "path": [' + ",".join([value] * count).encode() + b"]}"


DEEP = b'{"a":' * 500 + b"1" + b"}" * 500
BOMBS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "values": ("trace.json", lambda: of_values(20_000_000), "about 40,000,002 values, where"),
    "strings": ("trace.json", lambda: of_values(9_000_000, '"ab"'), "values, where 8,388,608 are allowed"),
    "text": ("trace.json", lambda: b" " * (MAX_JSON + 1), "bytes, where 67,108,864 are allowed"),
    "pieces": ("pieces.json", lambda: b" " * (MAX_JSON + 1), "bytes, where 67,108,864 are allowed"),
    "depth": ("trace.json", lambda: DEEP, "nested deeper than 100 levels"),
    "column": ("columns/rank.npy", lambda: forked_column() + bytes(1 << 28), "cannot reshape"),
    "columns": ("columns/rank.npy", lambda: bytes(MAX_BYTES), "would unpack to"),
}
"""Member, what it holds, and what is said of it."""


def forked_column() -> bytes:
    out = io.BytesIO()
    np.save(out, marked_trace().nodes["rank"])
    return out.getvalue()


@linux
@pytest.mark.parametrize("name", BOMBS)
def test_what_would_burst_is_refused_before_it_does(name: str, parts: dict[str, bytes], tmp_path: Path) -> None:
    member, make, match = BOMBS[name]
    path = write(tmp_path / "bomb.inferno", {**parts, member: make()})
    assert match in limited(LOAD, path)


@linux
def test_a_million_members_are_not_listed(parts: dict[str, bytes], tmp_path: Path) -> None:
    """Their list alone: a record of 46 bytes each, that `zipfile` would make an object of each of."""
    record = b"PK\1\2" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"x"
    n = 3_000_000
    path = write(tmp_path / "many.inferno", parts)
    data = path.read_bytes()[: -22 - 46]
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, n * len(record), len(data), 0)
    path.write_bytes(data + record * n + end)
    assert f"its list of members has {n * len(record):,} bytes" in limited(LOAD, path)


@pytest.mark.parametrize("size", [MAX_DIRECTORY, 2**32 - 1])
def test_a_zip_of_the_large_sort_is_refused(size: int, parts: dict[str, bytes], tmp_path: Path) -> None:
    """Its true end stands elsewhere, where no limit would look."""
    path = write(tmp_path / "large.inferno", parts)
    data = path.read_bytes()
    locator = b"PK\6\7" + struct.pack("<IQI", 0, len(data), 1)
    path.write_bytes(data[:-22] + locator + data[-22:])
    assert_refused(path, "does not end as a zip file of ours does")


def test_a_text_of_many_long_tokens_is_refused(tmp_path: Path) -> None:
    """A node a byte would be a text of terabytes."""
    path = tmp_path / "x.inferno"
    marked_trace().save(path)
    parts = members(path)
    pieces = json.loads(parts["pieces.json"])
    long = write(path, {**parts, "pieces.json": json.dumps(pieces | {"2": "61" * (sound.PIECE_BYTES + 1)}).encode()})
    assert_refused(long, "a token has 65,537 bytes, where 65,536 are allowed")


def test_the_whole_text_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.inferno"
    marked_trace().save(path)
    monkeypatch.setattr(sound, "TEXT_BYTES", 10)
    assert_refused(path, "the text has [0-9]+ bytes, where 10 are allowed")


def test_what_there_is_no_room_for_is_refused_with_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.inferno"
    marked_trace().save(path)
    monkeypatch.setattr(files, "_SMALL", 0)
    monkeypatch.setattr("inferno_widget.memory.free_memory", lambda: 1_000)
    assert_refused(path, "would unpack to [0-9,]+ bytes and take twice that, where 1,000 bytes are free")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.inferno"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="this is a pipe, not a file"):
        Trace.load(pipe)
    os.mkfifo(tmp_path / "preferences.json")
    assert "this is a pipe, not a file" in Preferences(tmp_path).note


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_to_pack_are_read_or_refused(method: int, parts: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.inferno"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    assert opened(path)


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("logprob", lambda a: a + np.float32(100), "logprob is out of its range"),
        ("tail", lambda a: a - np.float32(9), "tail is out of its range"),
        ("draw", lambda a: a + 1, "draw is out of its range"),
        ("ms", lambda a: a * np.float32(np.inf), "ms is out of its range"),
        ("top_logprobs", lambda a: -a, "top_logprobs is out of its range"),
        ("rank", lambda a: -a, "rank is out of its range"),
        ("top_ids", lambda a: np.where(a == a[1, 0], np.int32(-1), a), "stand behind where they end"),
        ("top_ids", lambda a: a * 0 - np.int32(2), "stand behind where they end"),
    ],
)
def test_numbers_that_nothing_could_show_are_refused(
    name: str, change: Callable[[np.ndarray], np.ndarray], match: str, tmp_path: Path
) -> None:
    marked_trace().save(tmp_path / "x.inferno")
    assert_refused(with_column(tmp_path / "x.inferno", name, change), match)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"runs": [{"sampler": 5}, {}]}, "sampler of run 0 is no object"),
        ({"runs": [{}, {"sampler": {"logit_bias": [1]}}]}, "logit_bias of run 1 is no object"),
        ({"runs": [{"started": 1e300}, {}]}, "run 0 did not begin at any time"),
        ({"runs": [{"interventions": [{"kind": "steer"}]}, {}]}, "an intervention that is none"),
        (
            {"runs": [{"interventions": [{"kind": "ablate", "positions": {"a": 1}}]}, {}]},
            "an intervention that is none",
        ),
        ({"runs": [{"interventions": [{"kind": "ablate", "positions": ["1"]}]}, {}]}, "an intervention that is none"),
        ({"model": {"parameters": "many"}}, "the model's parameters is no whole number"),
        ({"model": {"name": 5}}, "the model's name is no text"),
        ({"model": {"n_vocab": 2}}, "the bytes of some tokens are missing"),  # that are, but not of this model
        ({"names": {"\ud800": 1}}, "holds half a character"),
        ({"version": 1.5}, "version is 1.5, no whole number"),
        ({"nodes": 7.0}, "nodes is 7.0, no whole number"),
        ({"k": True}, "k is True, no whole number"),
    ],
)
def test_facts_that_nothing_could_show_are_refused(changes: dict[str, object], match: str, tmp_path: Path) -> None:
    marked_trace().save(tmp_path / "x.inferno")
    assert_refused(edited(tmp_path / "x.inferno", **changes), match)


# --- settings and presets ---------------------------------------------------------------------------------

SETTINGS = {
    "look": {"palette": "viridis", "top_k": 10, "font_size": 20, "glyphs": False},
    "presets": {"mine": {"temperature": 0.6, "top_k": 5, "dry_sequence_breakers": ["\n"]}, "other": {"min_p": 0.1}},
    "recent": ["/models/x.gguf", "/dev/null"],
    "tips": {"seen": [1, 2]},
}


def kept(folder: Path, data: bytes) -> Preferences:
    """Settings that are read, shown and changed, whatever stands in their file."""
    folder.mkdir(exist_ok=True)
    (folder / "preferences.json").write_bytes(data)
    mine = Preferences(folder)
    places = Files(folder).places(mine.recent)
    json.dumps([mine.look, mine.presets, mine.note, places], ensure_ascii=False, allow_nan=False).encode()
    mine.set_look("top_k", 7)
    mine.save_preset("new", {"temperature": 0.5})
    mine.add_recent("/y.gguf")
    again = Preferences(folder)
    assert (again.look["top_k"], again.presets["new"], again.recent[0]) == (7, {"temperature": 0.5}, "/y.gguf")
    return mine


@FUZZ
@given(data=st.data())
def test_any_value_of_the_settings_may_be_any_other(data: st.DataObject, tmp_path: Path) -> None:
    document: Any = SETTINGS
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(document)))
        document = changed(document, place, data.draw(st.sampled_from(ODD)))
    kept(tmp_path, json.dumps(document).encode())


@FUZZ
@given(data=st.binary(max_size=200))
def test_any_bytes_may_be_the_settings(data: bytes, tmp_path: Path) -> None:
    kept(tmp_path, data)


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (b"[" * 100_000, "nested deeper than"),
        (b'{"look":' * (DEPTH + 1) + b"1" + b"}" * (DEPTH + 1), "nested deeper than"),
        (b'{"tips": "' + b"x" * SETTINGS_BYTES + b'"}', "more than 1,048,576 bytes"),
        (b'{"presets": {"mine": {"temperature": NaN}}}', "passed over what cannot be used"),
        (b'{"presets": {"mine": {"temperature": 1e999}}}', "passed over what cannot be used"),
        (b'{"presets": {"mine": {"dry_sequence_breakers": ["\\ud800"]}}}', "half a character"),
        (b'{"presets": {"\\ud800": {}}}', "half a character"),
        (b'{"recent": ["\\udcff", "a\\u0000b", "/\\ud800"], "look": 5, "presets": {"": {}}}', "a preset needs a name"),
        (json.dumps({"presets": {"x" * 201: {}}}).encode(), "at most 200 letters"),
        (json.dumps({"presets": {"x": {"temperature": "y" * 100_000}}}).encode(), "passed over"),
    ],
)
def test_settings_that_would_hurt_are_passed_over_and_said(data: bytes, note: str, tmp_path: Path) -> None:
    (tmp_path / "preferences.json").write_bytes(data)
    mine = Preferences(tmp_path)
    assert note in mine.note
    assert len(mine.note) < 1_000
    kept(tmp_path, data)


def test_more_presets_than_anybody_has_are_not_shown(tmp_path: Path) -> None:
    presets: dict[str, object] = {f"p{i}": {} for i in range(MAX_PRESETS + 9)}
    (tmp_path / "preferences.json").write_text(json.dumps({"presets": presets}))
    mine = Preferences(tmp_path)
    assert "of 509 presets the first 500 are used" in mine.note
    assert len(mine.presets) == MAX_PRESETS
    with pytest.raises(ValueError, match="there are 500 presets already: drop one"):
        mine.save_preset("new", {})
    mine.save_preset("p3", {"top_k": 3})


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b"\xff", b"{}", json.dumps({"look": ODD[:5], "presets": ODD}).encode()]
)
def test_a_widget_opens_whatever_its_settings_are(data: bytes, config: Path) -> None:
    (config / "preferences.json").write_bytes(data)
    widget = Inferno(made_trace())
    assert widget.look["palette"] == "inferno"
    json.dumps([widget.look, widget.workbench.places().result(20)], ensure_ascii=False, allow_nan=False).encode()
    widget.close()
