"""The trace: a tree that only grows, its text, its frames."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from inferno_widget.record import Kind
from inferno_widget.trace import Trace, interventions_of, node_dtype
from inferno_widget.window import Window
from tests.traces import CONTROL, PIECES, assert_same_record, forked_trace, impatient_threads, made_trace, record

# --- the tree ---------------------------------------------------------------------------------------------


def test_nodes_are_numbered_as_they_come_and_hang_on_the_head() -> None:
    trace = forked_trace()
    assert trace.column("parent", tree=True).tolist() == [-1, 0, 1, 2, 1, 4, 4]
    assert trace.column("position", tree=True).tolist() == [0, 1, 2, 3, 2, 3, 3]
    assert trace.column("run", tree=True).tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert (trace.head, trace.length, len(trace.nodes)) == (6, 4, 7)


def test_a_trace_is_the_list_of_its_paths_records() -> None:
    trace = forked_trace()
    assert [record.token_id for record in trace] == trace.column("token_id").tolist()
    assert len(trace) == len(list(trace)) == 4
    assert [trace[at].token_id for at in (0, 3, -1)] == [trace.record(trace.node_at(at)).token_id for at in (0, 3, 3)]
    assert [record.position for record in trace[1:]] == [1, 2, 3]
    with pytest.raises(IndexError, match="there is no token at position 4: the last is at 3"):
        trace[4]


def test_a_path_leads_from_the_root() -> None:
    trace = forked_trace()
    assert trace.path().tolist() == [0, 1, 4, 6]
    assert trace.path(3).tolist() == [0, 1, 2, 3]
    assert trace.path(-1).tolist() == []
    assert trace.path().dtype == np.int32
    trace.goto(5)
    assert trace.path().tolist() == [0, 1, 4, 5]
    assert trace.column("token_id").tolist() == [0, 1, 4, 5]
    trace.goto(-1)
    assert (trace.head, trace.length, trace.text) == (-1, 0, "")


@pytest.mark.parametrize("node", [-2, 7, 100])
def test_a_node_that_is_not_there_is_named(node: int) -> None:
    trace = forked_trace()
    for call in (trace.path, trace.goto, trace.record):
        with pytest.raises(IndexError, match=f"node {node} is not in a trace of 7 nodes"):
            call(node)
    assert trace.head == 6


def test_records_come_back_as_they_went_in() -> None:
    trace = made_trace()
    for node, (said, text) in enumerate(zip(trace, ["", "Once", " upon", " a"], strict=True)):
        assert_same_record(said, record(node, node)._replace(text=text))
    assert len(list(trace)) == 4


def test_alternatives_are_what_might_have_come_at_a_position() -> None:
    trace = forked_trace()
    said = trace.record(4)
    assert trace.alternatives(2) == [
        (token, PIECES[token].decode(errors="backslashreplace"), pytest.approx(math.exp(logprob)), kept)
        for token, logprob, kept in zip(said.top_ids, said.top_logprobs, said.top_kept, strict=True)
    ]
    assert trace.alternatives(0) == []
    with pytest.raises(IndexError):
        trace.alternatives(4)


def test_what_was_appended_never_changes() -> None:
    trace = forked_trace()
    early, bytes_ = trace.nodes, trace.nodes.tobytes()
    for i in range(500):
        trace.goto(i % 7)
        trace.append(record(1 + i % 7, 1), PIECES)
    assert early.tobytes() == bytes_
    assert trace.nodes[:7].tobytes() == bytes_


def test_rows_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        made_trace().nodes["logprob"][0] = 0


def test_a_token_without_bytes_leaves_the_trace_as_it_was() -> None:
    trace = made_trace()
    with pytest.raises(KeyError):
        trace.append(record(4, 99), PIECES)
    assert (len(trace.nodes), trace.head) == (4, 3)


def test_pieces_are_held_for_everything_that_is_mentioned() -> None:
    trace = forked_trace()
    mentioned = {*trace.column("token_id", tree=True).tolist(), *trace.column("top_ids", tree=True).ravel().tolist()}
    assert trace.pieces == {token: PIECES[token] for token in mentioned - {-1}}


def look(trace: Trace) -> None:
    """Row i holds i in every column, so a row half written or lost shows."""
    before = len(trace.nodes)
    rows = trace.nodes
    assert len(rows) >= before
    index = np.arange(len(rows))
    for name in ("position", "token_id", "kept", "draw"):
        assert np.array_equal(rows[name], index), name
    assert np.array_equal(rows["parent"], index - 1)
    assert np.array_equal(rows["top_ids"][:, 1], index + 1)
    column = trace.column("token_id")
    assert np.array_equal(column, np.arange(len(column)))
    if before:
        assert trace.record(before - 1).rank == before
        assert before - 1 in trace.pieces
        assert len(trace.texts(range(before - 1, before))) == 1


def test_a_reader_sees_whole_rows_while_another_thread_appends() -> None:
    trace, n = Trace(2), 20_000
    said = record(1, 1, 2)
    done = threading.Event()

    def write() -> None:
        for i in range(n):
            numbers = {"rank": i + 1, "draw": i, "kept": i, "top_ids": np.array([i, i + 1], np.int32)}
            trace.append(said._replace(position=i, token_id=i, **numbers), {i: b"x", i + 1: b"y"})
        done.set()

    with impatient_threads():
        writer = threading.Thread(target=write)
        writer.start()
        looks = 0
        while not done.is_set() or looks < 3:
            look(trace)
            looks += 1
        writer.join()
    assert len(trace.nodes) == trace.length == n
    assert looks > 3


class Growing(Trace):
    """A trace to which another thread always adds a token just before its path is read."""

    def path(self, node: int | None = None) -> np.ndarray:
        if node is None:
            self.append(record(self.length, 1), PIECES)
        return super().path(node)


def test_a_column_holds_the_path_that_was_read(tmp_path: Path) -> None:
    trace = Growing(3)
    for _ in range(3):
        trace.column("token_id")
    assert len(trace.to_pandas()) == trace.length == 4
    trace.runs.append({})
    trace.save(tmp_path / "x.inferno")
    assert Trace.load(tmp_path / "x.inferno").length == 5


# --- text -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "texts"),
    [
        ((1, 2, 3), ["Once", " upon", " a"]),
        ((0, 1, 12), ["", "Once", ""]),  # control tokens are no text
        ((4, 5, 6, 7), ["", "", "", "🔥"]),  # a character belongs to the token that completes it
        ((9, 10, 8), ["", "火", "火"]),
        ((1, 9), ["Once", ""]),  # not whole yet
        ((11, 1), ["\\xff", "Once"]),
        ((4, 5, 1), ["", "", "\\xf0\\x9fOnce"]),  # a character that never came
        ((7, 1), ["\\xa5", "Once"]),
        ((9, 0, 10), ["", "", "火"]),
        ((4, 0, 5, 0, 0, 0, 6, 0, 0, 7), [*[""] * 9, "🔥"]),
        ((4, 5, 9, 10, 1), ["", "", "\\xf0\\x9f", "火", "Once"]),
    ],
)
def test_text_of_tokens(tokens: tuple[int, ...], texts: list[str]) -> None:
    trace = made_trace(tokens)
    assert trace.texts(trace.path()) == texts
    assert trace.text == "".join(texts)
    assert [record.text for record in trace] == texts
    assert "\ufffd" not in trace.text


def test_text_of_a_tree_goes_on_from_each_nodes_parent() -> None:
    trace = made_trace((1, 4, 5, 6, 7))  # 🔥
    trace.goto(2)
    trace.append(record(3, 1), PIECES)
    trace.goto(3)
    trace.append(record(4, 7), PIECES)
    texts = ["Once", "", "", "", "🔥", "\\xf0\\x9fOnce", "🔥"]
    assert trace.texts(range(len(trace.nodes))) == texts
    assert [trace.record(node).text for node in range(len(trace.nodes))] == texts


# --- frames -----------------------------------------------------------------------------------------------

COLUMNS = {
    "node": "int32",
    "parent": "int32",
    "position": "int32",
    "token_id": "int32",
    "piece": "object",
    "text": "str",
    "kind": "category",
    "logprob": "float32",
    "entropy": "float32",
    "rank": "int32",
    "sampled_prob": "float32",
    "kept": "int32",
    "draw": "float64",
    "ms": "float32",
    "tail": "float32",
    "left_out": "int32",
    "top_ids": "object",
    "top_logprobs": "object",
    "top_kept": "object",
    "run": "int32",
}


@pytest.mark.parametrize("tree", [False, True])
def test_a_frame_has_a_row_a_token(tree: bool) -> None:
    trace = forked_trace()
    frame = trace.to_pandas(tree=tree)
    nodes = list(range(7)) if tree else [0, 1, 4, 6]
    assert frame["node"].tolist() == nodes
    assert frame["parent"].tolist() == [trace.nodes["parent"][node] for node in nodes]
    assert frame["piece"].tolist() == [PIECES[trace.record(node).token_id] for node in nodes]
    assert frame["text"].tolist() == trace.texts(nodes)
    assert frame["kind"].tolist() == [trace.record(node).kind.name.lower() for node in nodes]
    assert list(frame["kind"].cat.categories) == ["prompt", "generated", "forced"]
    for name in ("logprob", "entropy", "rank", "sampled_prob", "kept", "draw", "ms", "tail", "left_out", "run"):
        np.testing.assert_array_equal(frame[name], trace.nodes[name][nodes], err_msg=name)
    dtypes = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    assert dtypes | {"text": "str"} == COLUMNS
    assert list(frame) == list(COLUMNS)
    np.testing.assert_array_equal(np.stack(frame["top_logprobs"]), trace.nodes["top_logprobs"][nodes])
    assert np.isnan(frame["top_logprobs"][0]).all(), "the first token had no alternatives"


@pytest.mark.parametrize("tree", [False, True])
def test_a_frame_of_nothing_has_the_same_columns(tree: bool) -> None:
    frame = Trace(3).to_pandas(tree=tree)
    assert len(frame) == 0
    assert list(frame) == list(COLUMNS)
    assert str(frame["kind"].dtype) == "category"


def test_a_frame_of_a_large_tree_takes_time_in_proportion() -> None:
    """20,000 nodes in one path: quadratic work would take minutes, not the timeout's seconds."""
    trace = made_trace(k=1)
    for position in range(4, 20_000):
        trace.append(record(4, 1, 1)._replace(position=position), PIECES)
    assert len(trace.to_pandas(tree=True)) == 20_000


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"inferno_widget\[pandas\]"):
        made_trace().to_pandas()


# --- the rest ---------------------------------------------------------------------------------------------


def test_repr_is_cheap_and_tells_the_sizes() -> None:
    assert repr(forked_trace()) == "<Trace 4 tokens on the path, 7 nodes, 2 runs>"
    assert repr(made_trace((1,))) == "<Trace 1 token on the path, 1 node, 1 run>"
    assert repr(Trace(20)) == "<Trace 0 tokens on the path, 0 nodes, 0 runs>"


def test_node_dtype_is_the_record_with_its_place() -> None:
    assert node_dtype(3).names is not None
    assert node_dtype(3).names[-2:] == ("parent", "run")
    assert Trace(3, control=CONTROL).control == {0, 12}
    assert Kind(made_trace().nodes["kind"][0]) is Kind.PROMPT


def test_a_copy_goes_its_own_way() -> None:
    trace = forked_trace()
    copy = trace.copy()
    assert copy.nodes.tobytes() == trace.nodes.tobytes()
    for name in ("k", "runs", "pieces", "model", "control", "text", "head"):
        assert getattr(copy, name) == getattr(trace, name), name
    copy.append(record(4, 100), PIECES | {100: b"new"})
    copy.runs[0]["sampler"]["seed"] = 9
    copy.goto(2)
    assert (len(copy.nodes), len(trace.nodes), trace.head) == (8, 7, 6)
    assert 100 not in trace.pieces
    assert trace.runs[0]["sampler"]["seed"] == 7
    assert len(Trace(3).copy()) == 0


def test_the_window_of_a_node_is_what_its_run_kept_and_what_its_record_left_out() -> None:
    trace = made_trace()
    assert trace.window(0) == trace.window(1) == Trace(3).window() == Window()
    assert trace.window() == trace.window(3) == Window(0, 1)
    trace.runs.append({"keep": 2})
    trace.append(record(4, 1)._replace(left_out=1), PIECES)
    assert trace.window() == Window(2, 1)
    assert trace.window().of(trace.path()[:-1]).tolist() == [0, 1, 3]


def test_a_trace_needs_no_engine_no_widget_and_no_pandas() -> None:
    code = "import sys, inferno_widget.trace, inferno_widget.files; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"llama_cpp", "pandas", "anywidget", "traitlets", "psutil", "inferno_widget.session"} & set(loaded)


def test_alternatives_are_those_of_a_position_on_the_path() -> None:
    trace = forked_trace()
    found, said = trace.alternatives(2), record(2, 4)
    assert [one.token_id for one in found] == said.top_ids.tolist()
    assert [one.probability for one in found] == pytest.approx(np.exp(said.top_logprobs).tolist())
    assert [one.kept for one in found] == said.top_kept.tolist()
    trace.goto(3)
    assert trace.alternatives(2) != found
    assert trace.alternatives(0) == []


def test_positions_are_those_of_the_current_path() -> None:
    trace = forked_trace()
    path = trace.path().tolist()
    assert [trace.node_at(at) for at in range(-len(path), len(path))] == path * 2
    for at in (len(path), -len(path) - 1):
        with pytest.raises(IndexError, match=f"no token at position {at}: the last is at {len(path) - 1}"):
            trace.alternatives(at)
    with pytest.raises(IndexError, match="no token at position 0: the text is empty"):
        Trace(3).alternatives(0)


def test_a_run_that_says_nothing_of_interventions_had_none() -> None:
    trace = made_trace()
    assert interventions_of(trace, 1) == []
    trace.runs[0]["interventions"] = None  # as a file may say
    assert interventions_of(trace, 1) == []
