"""``.inferno`` files: everything comes back, and nothing that does not fit is believed."""

from __future__ import annotations

import io
import json
import pickle
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inferno_widget import files
from inferno_widget.errors import TraceFileError
from inferno_widget.record import WatchedRecord
from inferno_widget.trace import Trace
from tests.traces import PIECES, forked_trace, impatient_threads, made_trace, record

Members = dict[str, bytes]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of `forked_trace`."""
    path = tmp_path / "run.inferno"
    forked_trace().save(path)
    return path


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, parts: Members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def edited(path: Path, /, **changes: object) -> Path:
    """The file with other values in its ``trace.json``."""
    parts = members(path)
    parts["trace.json"] = json.dumps({**json.loads(parts["trace.json"]), **changes}).encode()
    return write(path, parts)


def with_column(path: Path, name: str, change: Callable[[np.ndarray], np.ndarray], **options: object) -> Path:
    """The file with another array as one column."""
    parts = members(path)
    member = f"columns/{name}.npy"
    out = io.BytesIO()
    np.save(out, change(np.load(io.BytesIO(parts[member])).copy()), **options)
    return write(path, {**parts, member: out.getvalue()})


def assert_refused(path: Path, match: str) -> None:
    with pytest.raises(TraceFileError, match=match) as caught:
        Trace.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


# --- there and back ---------------------------------------------------------------------------------------


def test_everything_comes_back_bit_for_bit(file: Path) -> None:
    trace, again = forked_trace(), Trace.load(file)
    assert again.nodes.dtype == trace.nodes.dtype
    assert again.nodes.tobytes() == trace.nodes.tobytes()
    assert again.path().tolist() == trace.path().tolist()
    for name in ("k", "runs", "pieces", "model", "control", "text", "head"):
        assert getattr(again, name) == getattr(trace, name), name


def test_a_second_save_holds_the_same(file: Path, tmp_path: Path) -> None:
    second = tmp_path / "again.inferno"
    Trace.load(file).save(second)
    assert members(second) == members(file)


@pytest.mark.parametrize("trace", [Trace(20), made_trace((0,)), made_trace(k=1), made_trace(k=13)])
def test_small_ones_come_back(trace: Trace, tmp_path: Path) -> None:
    trace.save(tmp_path / "x.inferno")
    assert Trace.load(tmp_path / "x.inferno").nodes.tobytes() == trace.nodes.tobytes()


def test_a_loaded_trace_grows_on(file: Path) -> None:
    trace = Trace.load(file)
    for position in range(4, 200):
        trace.append(record(position, 1), PIECES)
    assert trace.length == 200
    assert trace.nodes[:7].tobytes() == forked_trace().nodes.tobytes()


def test_the_format_is_as_documented(file: Path) -> None:
    parts = members(file)
    assert set(parts) == {
        "trace.json",
        "pieces.json",
        *(f"columns/{name}.npy" for name in forked_trace().nodes.dtype.names or ()),
    }
    manifest = json.loads(parts["trace.json"])
    assert manifest.items() >= {"format": "inferno", "version": 2, "k": 3, "nodes": 7, "path": [0, 1, 4, 6]}.items()
    assert json.loads(parts["pieces.json"])["4"] == "f0"
    for name, data in parts.items():
        if name.endswith(".npy"):
            assert len(np.load(io.BytesIO(data), allow_pickle=False)) == 7


def test_a_file_of_version_1_is_read_as_one_where_nothing_was_left_out(file: Path) -> None:
    parts = members(file)
    del parts["columns/left_out.npy"]
    manifest = json.loads(parts["trace.json"]) | {"version": 1}
    assert [run.pop("keep", None) for run in manifest["runs"]] == [None, None]
    trace = Trace.load(write(file, {**parts, "trace.json": json.dumps(manifest).encode()}))
    expected = forked_trace().nodes.copy()
    expected["left_out"] = 0
    assert trace.nodes.tobytes() == expected.tobytes()
    assert trace.path().tolist() == forked_trace().path().tolist()


def marked_trace() -> Trace:
    """The forked trace with all that is noted on a tree."""
    trace = forked_trace()
    trace.names, trace.pruned, trace.diverged = {"the 火": 4, "": 0}, frozenset({3}), [4, 6]
    trace.watch({"yes": (1, 2), "no": (8,)})
    for node in range(1, len(trace.nodes)):
        trace.note_watched(node, ["no", "yes"], [node / 8, 1 / (node + 2)])
    return trace


def test_what_was_noted_on_a_trace_comes_back(tmp_path: Path) -> None:
    trace, file = marked_trace(), tmp_path / "x.inferno"
    trace.save(file)
    for again in (Trace.load(file), trace.copy(), Trace.load(file).copy()):
        assert (again.names, again.pruned, again.diverged) == (trace.names, trace.pruned, trace.diverged)
        assert list(again.watches.items()) == [("yes", (1, 2)), ("no", (8,))]
        for name in trace.watches:
            np.testing.assert_array_equal(again.watched(name, tree=True), trace.watched(name, tree=True))
            assert np.isnan(again.watched(name)[0])
        again.note_watched(0, ["yes"], [0.5])  # the file's own bytes are read-only
        again.append(WatchedRecord.of(record(4, 1), np.float32([0.25, 0.75])), PIECES)
        assert (again.watched("yes")[-1], again.watched("no")[-1]) == (0.25, 0.75)
    again.unwatch("yes")
    assert (len(trace.nodes), list(trace.watches)) == (7, ["yes", "no"]), "a copy is a copy"
    parts = members(file)
    assert json.loads(parts["trace.json"])["version"] == 3
    assert np.load(io.BytesIO(parts["watched.npy"])).shape == (7, 2)


def test_what_older_readers_know_is_written_for_them(tmp_path: Path) -> None:
    trace = marked_trace()
    for name in list(trace.watches):
        trace.unwatch(name)
    trace.save(tmp_path / "x.inferno")
    parts = members(tmp_path / "x.inferno")
    assert json.loads(parts["trace.json"])["version"] == 2
    assert "watched.npy" not in parts


def test_a_file_from_before_there_were_marks_is_read(file: Path) -> None:
    parts = members(file)
    manifest = json.loads(parts["trace.json"])
    for name in ("names", "pruned", "diverged", "watches"):
        del manifest[name]
    trace = Trace.load(write(file, {**parts, "trace.json": json.dumps(manifest).encode()}))
    assert (trace.names, trace.pruned, trace.diverged, trace.watches) == ({}, frozenset(), [], {})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"diverged": [7]}, "there is none"),
        ({"names": {"x": -1}}, "there is none"),
        ({"pruned": [99]}, "there is none"),
        ({"watches": [["yes", [1]]]}, "where float32 .7, 1. was expected"),
        ({"watches": []}, "do not belong: watched.npy"),
        ({"watches": [["yes", [1]], ["no", [-1]]]}, "no token of this model"),
        ({"watches": [["yes", [1]], ["no", [len(PIECES)]]]}, "no token of this model"),
        ({"watches": [["yes", [1]], ["no", []]]}, "no token of this model"),
        ({"watches": [["yes", [1]], ["yes", [2]]]}, "was expected"),
        ({"watches": {"yes": [1]}}, "damaged"),
        ({"runs": [{"replay": 5}, {}]}, "what it plays again"),
        ({"runs": [{"replay": {"mu": "x"}}, {}]}, "what it plays again"),
    ],
)
def test_marks_that_do_not_fit_are_refused(changes: dict[str, object], match: str, tmp_path: Path) -> None:
    marked_trace().save(tmp_path / "x.inferno")
    assert_refused(edited(tmp_path / "x.inferno", **changes), match)


def test_what_was_watched_must_be_probabilities(tmp_path: Path) -> None:
    trace = marked_trace()
    trace.note_watched(3, ["yes"], [1.5])
    trace.save(tmp_path / "x.inferno")
    assert_refused(tmp_path / "x.inferno", "are no probabilities")


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_has_the_columns_of_its_version(version: int, file: Path) -> None:
    if version == 1:
        assert_refused(edited(file, version=1), "do not belong: columns/left_out.npy")
    else:
        parts = members(file)
        del parts["columns/left_out.npy"]
        assert_refused(write(file, parts), "members are missing .*columns/left_out.npy")


def test_saving_while_another_thread_appends_writes_what_was_there(tmp_path: Path) -> None:
    trace, done = made_trace(), threading.Event()
    trace.model["n_vocab"] = 4_096

    def write() -> None:
        for position in range(4, 3000):
            token = 100 + position  # every token new, so that the pieces grow as well
            trace.append(record(3, 1)._replace(position=position, token_id=token), {**PIECES, token: b"x"})
        done.set()

    with impatient_threads():
        writer = threading.Thread(target=write)
        writer.start()
        while not done.is_set():
            trace.save(tmp_path / "live.inferno")
            again = Trace.load(tmp_path / "live.inferno")
            assert again.nodes.tobytes() == trace.nodes[: len(again.nodes)].tobytes()
        writer.join()


def test_a_save_that_fails_leaves_the_old_file_and_no_other(file: Path) -> None:
    old, trace = file.read_bytes(), made_trace()
    trace.runs.append({"no": {"json", "set"}})
    with pytest.raises(TypeError):
        trace.save(file)
    trace.runs.pop()
    trace.pieces[1] = "no bytes"
    with pytest.raises(AttributeError):
        trace.save(file)
    assert file.read_bytes() == old
    assert list(file.parent.iterdir()) == [file]


# --- what is refused --------------------------------------------------------------------------------------


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Trace.load(tmp_path / "none.inferno")
    with pytest.raises(OSError):
        Trace.load(tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK", b"GGUF" + bytes(100), pickle.dumps({"format": "inferno"})])
def test_what_is_no_zip_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.inferno"
    path.write_bytes(data)
    assert_refused(path, "not an .inferno file")


def test_a_truncated_file_is_refused_wherever_it_ends(file: Path) -> None:
    whole = file.read_bytes()
    for size in range(0, len(whole), 97):
        file.write_bytes(whole[:size])
        assert_refused(file, "not an .inferno file, or a damaged one")


def test_damaged_bytes_are_refused_or_read_as_they_were(file: Path) -> None:
    whole, trace = file.read_bytes(), forked_trace()
    dice = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        data[dice.integers(len(data))] ^= 1 << dice.integers(8)
        file.write_bytes(data)
        try:
            assert Trace.load(file).nodes.tobytes() == trace.nodes.tobytes()  # a byte that says nothing, as a date
        except TraceFileError:
            refused += 1
    assert refused > 150


def test_another_zip_is_refused(tmp_path: Path) -> None:
    assert_refused(write(tmp_path / "x.inferno", {"readme.txt": b"hello"}), "not an .inferno file")


@pytest.mark.parametrize("manifest", [b"[]", b"7", b"{}", b'{"format": "inferno"}', b"{", b"[" * 100_000])
def test_another_manifest_is_refused(manifest: bytes, file: Path) -> None:
    assert_refused(write(file, {**members(file), "trace.json": manifest}), "not an .inferno file")


def test_a_newer_version_is_refused_with_what_to_do(file: Path) -> None:
    assert_refused(edited(file, version=4), "written by a newer version .*format 4.*update inferno_widget")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format": "other"}, "not an .inferno file"),
        ({"version": "1"}, "damaged"),
        ({"k": 0}, "k is 0"),
        ({"k": 33}, "k is 33"),
        ({"k": 4}, "column top_ids is int32 .7, 3., where int32 .7, 4. was expected"),
        ({"nodes": 6}, "column position is int32 .7,., where int32 .6,. was expected"),
        ({"nodes": -1}, "was expected"),
        ({"path": [0, 1, 4, 7]}, "node 7 is not in a trace"),
        ({"path": [0, 4, 6]}, "the path is none in the tree"),
        ({"path": [0, 1, 4, 6.5]}, "damaged"),
        ({"path": "0146"}, "damaged"),
        ({"runs": []}, "unknown kind or run"),
        ({"runs": [1, 2]}, "damaged"),
        ({"runs": [{"keep": 2}, {}]}, "leaves out more than there is"),
        ({"runs": [{"keep": -1}, {}]}, "keeps no whole number"),
        ({"runs": [{"keep": 0.5}, {}]}, "keeps no whole number"),
        ({"runs": [{}, {"keep": None}]}, "keeps no whole number"),
        ({"model": 5}, "damaged"),
        ({"control": [None]}, "damaged"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(changes: dict[str, object], match: str, file: Path) -> None:
    assert_refused(edited(file, **changes), match)


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("logprob", lambda a: a.astype(np.float64), "column logprob is float64"),
        ("rank", lambda a: a.astype(">i4"), "column rank is >i4"),
        ("rank", lambda a: a[:-1], "column rank"),
        ("top_ids", np.ravel, "column top_ids"),
        ("top_ids", np.asfortranarray, "column top_ids"),
        ("parent", lambda a: np.where(a == 4, 6, a).astype(np.int32), "before its parent"),  # a cycle: 6 is its own
        ("parent", lambda a: np.where(a == -1, 3, a).astype(np.int32), "before its parent"),
        ("parent", lambda a: np.where(a == -1, -2, a).astype(np.int32), "before its parent"),
        ("parent", lambda a: np.where(a == 4, 3, a).astype(np.int32), "does not follow its parent"),
        ("position", lambda a: a + np.int32(1), "does not follow its parent"),
        ("kind", lambda a: a + np.uint8(3), "unknown kind"),
        ("left_out", lambda a: a - np.int32(1), "leaves out more than there is"),
        ("left_out", lambda a: a + np.int32(2), "leaves out more than there is"),
        ("run", lambda a: a - np.int32(2), "unknown kind or run"),
        ("token_id", lambda a: a + np.int32(50), "bytes of some tokens are missing"),
        ("token_id", lambda a: a * 0 - np.int32(1), "bytes of some tokens are missing"),
        ("top_ids", lambda a: a + np.int32(50), "bytes of some tokens are missing"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(
    name: str, change: Callable[[np.ndarray], np.ndarray], match: str, file: Path
) -> None:
    assert_refused(with_column(file, name, change), match)


def test_pickles_are_never_read(file: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (tmp_path / "sprung").touch, ()

    def armed(a: np.ndarray) -> np.ndarray:
        return np.array([Trap() for _ in a], object)

    assert_refused(with_column(file, "logprob", armed, allow_pickle=True), "column logprob is object")
    raw = write(file, {**members(file), "columns/logprob.npy": pickle.dumps(Trap())})
    assert_refused(raw, "damaged")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["pieces.json", "trace.json", "columns/run.npy"])
def test_a_missing_member_is_refused_by_name(name: str, file: Path) -> None:
    parts = members(file)
    del parts[name]
    assert_refused(write(file, parts), name)


@pytest.mark.parametrize(
    "name", ["../evil.py", "/etc/evil", "columns/../../evil", "C:\\evil", "columns/more.npy", "\x1b[31m\u202e"]
)
def test_a_member_that_does_not_belong_is_refused_and_nothing_is_unpacked(name: str, file: Path) -> None:
    before = sorted(file.parent.parent.rglob("*"))
    assert_refused(write(file, {**members(file), name: b"evil"}), "do not belong")
    assert sorted(file.parent.parent.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_stands_there_twice_is_refused(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("pieces.json", "{}")
    assert_refused(file, "twice")


@pytest.mark.parametrize("pieces", [b"{}", b"[]", b'{"1": "zz"}', b'{"x": "00"}', b'{"1": 5}'])
def test_pieces_that_are_none_are_refused(pieces: bytes, file: Path) -> None:
    assert_refused(write(file, {**members(file), "pieces.json": pieces}), "damaged")


def _after_magic(npy: bytes) -> io.BytesIO:
    return io.BytesIO(npy[np.lib.format.MAGIC_LEN :])


def test_a_bomb_is_refused_before_it_goes_off(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are only declared, and members that would unpack to more than is allowed."""
    declared = edited(file, nodes=99_999_999)
    parts = members(declared)
    for name, data in parts.items():
        if name.endswith(".npy"):
            shape = b"(7, 3), }" if b"(7, 3)" in data else b"(7,), }"
            parts[name] = data.replace(shape + b" " * 7, shape.replace(b"7", b"9" * 8))
    write(declared, parts)
    assert np.lib.format.read_array_header_1_0(_after_magic(parts["columns/rank.npy"]))[0] == (99_999_999,)
    huge = tmp_path / "huge.inferno"
    write(huge, {"trace.json": bytes(1 << 27)})
    monkeypatch.setattr(files, "MAX_BYTES", (1 << 27) - 1)
    tracemalloc.start()
    try:
        assert_refused(declared, "cannot reshape")
        assert_refused(huge, "would unpack to")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
