"""The road not taken at the workbench: every gesture does what its line of Python says, and is never in the way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferno_widget import InfernoError, Model, Sampler, Session, what_if
from inferno_widget.errors import Cancelled
from inferno_widget.gestures import xrays
from inferno_widget.gestures.words import Speller
from inferno_widget.jobs import Job
from inferno_widget.workbench import Workbench
from tests.engine.tools import DEMO, PROMPT, loaded, slowly, until, workbenches
from tests.make_models import tiny_llama
from tests.traces import forked_trace

WAIT = 20
LONG = 10_000


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model(DEMO, n_ctx=2048) as model:
        yield model


@pytest.fixture
def benches() -> Iterator[Callable[..., Workbench]]:
    with workbenches(max_tokens=20) as make:
        yield make


@pytest.fixture
def bench(benches: Callable[..., Workbench], model: Model) -> Workbench:
    """With a run of twenty tokens."""
    bench = benches(model)
    bench.set("seed", 7)
    bench.set("logit_bias", {str(token): None for token in model.control})
    bench.run(PROMPT)
    bench.session.wait()
    return bench


def value(job: Job[Any]) -> Any:
    """What a job came to, as JSON can hold it."""
    return json.loads(json.dumps(job.result(WAIT), allow_nan=False))


def followed(job: Job[Any]) -> tuple[list[Any], Any]:
    """The parts of a job, and what it came to."""
    parts: list[Any] = []
    job.listen(parts.append)
    result = value(job)
    return json.loads(json.dumps(parts, allow_nan=False)), result


def run_code(bench: Workbench, code: str = "", **names: Any) -> Any:
    """What a line of Python gives; that of the last gesture if none is said."""
    names = {"session": bench.session, "model": bench.model, "Sampler": Sampler, **names}
    return eval(code or bench.code, names)


def ids(bench: Workbench) -> list[int]:
    return bench.trace.column("token_id").tolist()


# --- the tree ---------------------------------------------------------------------------------------------


def test_there_and_back(bench: Workbench) -> None:
    """Nobody starts to generate who only goes to and fro."""
    trace, end = bench.trace, bench.trace.head
    bench.select(4)
    bench.goto(10)
    assert (trace.head, bench.selection, bench.session.state) == (10, -1, "ready")
    assert bench.code == "session.goto(10)"
    bench.rewind(3)
    assert (trace.head, bench.session.state) == (7, "ready")
    assert bench.code == "session.rewind(3)"
    bench.goto(end)
    assert (trace.head, len(trace.nodes)) == (end, end + 1)
    bench.rewind(trace.length)
    assert trace.length == 0
    bench.resume()
    bench.session.wait()
    assert trace.column("token_id").tolist() == trace.column("token_id", tree=True)[trace.path()].tolist()
    assert trace.length == len(bench.session.prompt_ids) + 20


@pytest.mark.parametrize("n", [0, -1, 10_000])
def test_one_goes_back_by_what_there_is(n: int, bench: Workbench) -> None:
    with pytest.raises(InfernoError, match=f"cannot be rewound by {n:,}"):
        bench.rewind(n)


@pytest.mark.parametrize("node", [-2, 10_000])
def test_a_node_that_is_none_is_named(node: int, bench: Workbench) -> None:
    with pytest.raises(InfernoError, match=f"there is no node {node}"):
        bench.goto(node)
    for gesture in (
        bench.fork,
        lambda node, _: bench.lookahead(node, 2, 2),
        lambda node, _: bench.resample(5000, 2, 2, ""),
    ):
        with pytest.raises(InfernoError, match="this token is on another branch"):
            gesture(10_000, 5)


def test_the_text_is_edited(bench: Workbench) -> None:
    before, n = bench.text(), len(bench.trace.nodes)
    assert before == bench.trace.text
    text = before[:40] + " and a green dragon"
    assert value(bench.edit(text)) is None
    assert bench.text() == text
    assert bench.session.state == "ready"
    added = bench.trace.nodes[n:]
    assert set(added["kind"]) == {2}
    assert run_code(bench).text == text, "it is there already"
    assert value(bench.edit(before)) is None
    assert bench.text() == before
    assert len(bench.trace.nodes) == n + len(added), "what was there is found again"
    with pytest.raises(ValueError, match="half a character"):
        bench.edit("\ud800").result(WAIT)


def test_branches_have_names_and_are_hidden_and_shown(bench: Workbench) -> None:
    old = bench.trace.head
    bench.name_branch(old, "first")
    assert bench.marks["names"] == {"first": old}
    bench.fork(12, int(bench.trace.record(12).top_ids[3]))
    bench.session.wait()
    with pytest.raises(ValueError, match="goto\\(\\) another before it is pruned"):
        bench.prune(bench.trace.head)
    bench.prune(old)
    assert bench.marks["pruned"] == [12]
    assert bench.code == f"session.prune({old})"
    with pytest.raises(InfernoError, match="this branch is hidden: restore it first"):
        bench.goto(old)
    assert bench.library_dict()["undo"] == "prune a branch"
    bench.undo()
    assert bench.marks["pruned"] == []
    bench.prune(old)
    bench.restore(old)
    assert bench.marks["pruned"] == []
    bench.goto(old)
    bench.undo()  # of what was restored already
    assert (bench.marks["pruned"], bench.trace.head) == ([], old)
    bench.undo()
    assert bench.marks["names"] == {}
    bench.name_branch(old, "first")
    bench.name_branch(old, "")
    assert (bench.marks["names"], bench.library_dict()["undo"]) == ({}, "take a name away")
    bench.undo()
    assert bench.marks["names"] == {"first": old}


def test_undo_hides_nothing_that_was_shown_again(bench: Workbench) -> None:
    ends = [bench.trace.head]
    for at in (12, 16):
        bench.goto(ends[0])
        bench.fork(at, int(bench.trace.record(at).top_ids[3]))
        bench.session.wait()
        ends.append(bench.trace.head)
    bench.prune(ends[0])
    bench.prune(ends[1])
    bench.restore(ends[0])
    bench.undo()
    assert bench.marks["pruned"] == []


def test_a_recorded_run_is_walked_without_a_model(benches: Callable[..., Workbench]) -> None:
    trace = forked_trace()
    bench, head = benches(trace), trace.head
    bench.goto(3)
    assert (trace.head, bench.code) == (3, "trace.goto(3)")
    bench.rewind(1)
    assert trace.length == 3
    bench.goto(head)
    assert bench.text() == trace.text
    for gesture in (lambda: bench.edit("x"), lambda: bench.lookahead(-1, 2, 2)):
        with pytest.raises(InfernoError, match="this is a recorded run, without a model"):
            gesture()


# --- look-ahead -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", [12, -1])
def test_what_would_follow_comes_token_by_token(node: int, bench: Workbench) -> None:
    before = (bench.trace.head, len(bench.trace.nodes), bench.session.state)
    parts, told = followed(bench.lookahead(node, 4, 6))
    assert (bench.trace.head, len(bench.trace.nodes), bench.session.state) == before
    assert told["node"] == node
    assert all(len(part) == 1 and set(part[0]) == {"index", "id", "text", "probability"} for part in parts)
    for index, way in enumerate(told["ways"]):
        assert [token for (token,) in parts if token["index"] == index] == [
            {**token, "index": index} for token in way["tokens"]
        ]
    python = run_code(bench, told["code"])
    assert [[token["id"] for token in way["tokens"]] for way in told["ways"]] == [way.token_ids for way in python]
    for way, mine in zip(told["ways"], python, strict=True):
        assert "".join(token["text"] for token in way["tokens"]) == mine.text
        assert (way["finish"], way["logprob"]) == (mine.finish, pytest.approx(mine.logprob, abs=0.05))
        assert sum(np.log([token["probability"] for token in way["tokens"]])) == pytest.approx(way["logprob"], abs=1e-4)


def test_what_would_follow_is_drawn_where_it_is_asked_for(bench: Workbench) -> None:
    """With the run's dice under the settings that hold now, as a fork and Run would."""
    for settings in ("session.sampler", "Sampler(temperature=1.7"):
        told = value(bench.lookahead(12, 2, 5, True))
        assert settings in told["code"]
        ways = [[token["id"] for token in way["tokens"]] for way in told["ways"]]
        assert ways == [way.token_ids for way in run_code(bench, told["code"])]
        bench.set("temperature", 1.7)
    bench.fork(12, ways[1][0])
    bench.session.wait()
    assert ids(bench)[12:18] == ways[1]
    bench.set("grammar", 'root ::= " " [a-z ]*')
    told = value(bench.lookahead(len(bench.session.prompt_ids), 3, 4))
    assert "Sampler(temperature=0, grammar=" in told["code"], "the most likely of those that may come now"
    assert [way["finish"] for way in told["ways"]] == [way.finish for way in run_code(bench, told["code"])]


def test_a_character_comes_with_its_last_token(bench: Workbench, model: Model) -> None:
    """Wherever one begins to read; a stray byte is written out, and a control token named."""
    bench.edit("once 🐉 upon").result(WAIT)
    trace, path = bench.trace, bench.trace.path().tolist()
    pieces = [trace.pieces[token] for token in ids(bench)]
    texts = trace.texts(path)
    assert texts.index("") < texts.index("🐉"), "it has several tokens"
    for begin in range(1, len(path)):
        speller = Speller(trace, path[begin - 1], model.control)
        spelled = [speller.spell(token, pieces[begin + i]) for i, token in enumerate(ids(bench)[begin:])]
        assert spelled == texts[begin:]
    inside = texts.index("🐉")
    told = value(bench.lookahead(path[inside], 60, 1))
    firsts = [way["tokens"][0]["text"] for way in told["ways"]]
    assert [text for text in firsts if text.startswith("\\xf0")], "most tokens cannot go on with it"
    assert "\ufffd" not in "".join(firsts)
    (bos,) = model.control.intersection(ids(bench)[:1])
    assert Speller(trace, path[-1], model.control).spell(bos, trace.pieces[bos]) == trace.pieces[bos].decode()


def test_what_the_page_asks_by_itself_leaves_the_line_of_the_last_gesture(bench: Workbench) -> None:
    """It asks when somebody rests on a token, or writes: nobody pressed anything."""
    bench.goto(10)
    told = [value(job) for job in (bench.lookahead(8, 2, 2), bench.explain(8, None))]
    bench.variants("king").result(WAIT)
    assert bench.code == "session.goto(10)"
    assert [one["code"] for one in told] == ["session.lookahead(k=2, depth=2, at=8)", "session.explain(at=8)"]


def test_a_way_is_taken(bench: Workbench) -> None:
    told = value(bench.lookahead(12, 4, 6))
    bench.take(2, 3)
    assert ids(bench)[12:] == [token["id"] for token in told["ways"][2]["tokens"][:3]]
    assert (bench.session.state, bench.selection) == ("ready", -1)
    assert bench.code == f"ahead = {told['code']}; session.take(ahead[2], 3)"
    n = len(bench.trace.nodes)
    bench.take(2, 5)
    assert len(bench.trace.nodes) == n + 2, "the same way, two tokens further"
    for index in (-1, 4):
        with pytest.raises(InfernoError, match=f"there is no way {index}: the latest look-ahead has 4"):
            bench.take(index, 1)
    with pytest.raises(ValueError, match="n must be a whole number of at least 1"):
        bench.take(0, 0)


def test_ways_belong_to_their_session(bench: Workbench) -> None:
    value(bench.lookahead(12, 4, 2))
    bench.run("a knight")
    bench.session.wait()
    with pytest.raises(InfernoError, match="look ahead first"):
        bench.take(0, 1)
    bench.show(bench.library.sessions[0].id)
    bench.take(0, 1)
    assert bench.trace.length == 13


# --- jobs and gestures ------------------------------------------------------------------------------------


@pytest.fixture
def busy(benches: Callable[..., Workbench], model: Model) -> Iterator[tuple[Workbench, Session]]:
    """A workbench whose model takes its time, so that previews last."""
    session = model.session(PROMPT, Sampler(seed=7, logit_bias=dict.fromkeys(model.control, -np.inf)))
    session.generate(20)
    session.logits_processor = slowly
    yield benches(session), session
    session.close()


def begun(job: Job[Any]) -> Job[Any]:
    heard = threading.Event()
    job.listen(lambda _: heard.set())
    assert heard.wait(WAIT)
    return job


PREVIEWS = {
    "lookahead": lambda bench: bench.lookahead(10, 3, 1000),
    "resample": lambda bench: bench.resample(10, 4, 1000, ""),
    "commitment": lambda bench: bench.commitment(10, 2, 1, ""),
}
GESTURES = {
    "goto": lambda bench: bench.goto(9),
    "rewind": lambda bench: bench.rewind(2),
    "edit": lambda bench: bench.edit("another text").result(WAIT),
    "resume": lambda bench: bench.resume(),
    "step": lambda bench: bench.step(bench.prompt),
    "fork": lambda bench: bench.fork(9, 300).result(WAIT),
    "run": lambda bench: bench.run("a knight"),
    "stop": lambda bench: bench.stop(),
    "delete": lambda bench: bench.delete(bench.library.shown.id),
}


@pytest.mark.parametrize("preview", PREVIEWS)
def test_enough_is_an_answer_at_once(preview: str, busy: tuple[Workbench, Session]) -> None:
    bench, session = busy
    before = (session.trace.head, len(session.trace.nodes))
    job = begun(PREVIEWS[preview](bench))
    start = time.monotonic()
    job.enough()
    told = value(job)
    assert time.monotonic() - start < 1, "a few tokens' time"
    assert (session.trace.head, len(session.trace.nodes)) == before
    if preview == "lookahead":
        assert 3 <= sum(len(way["tokens"]) for way in told["ways"]) < 3_000
        assert {way["finish"] for way in told["ways"]} == {"cancelled"}
    elif preview == "resample":
        assert told["done"] == sum(answer["count"] for answer in told["answers"]) <= told["n"] == 4
    else:
        assert len(told["positions"]) < told["of"]


@pytest.mark.parametrize("gesture", GESTURES)
def test_a_gesture_is_never_refused_because_of_a_preview(gesture: str, busy: tuple[Workbench, Session]) -> None:
    bench, session = busy
    job = begun(bench.lookahead(10, 3, 1000))
    GESTURES[gesture](bench)
    assert job.done(), "it ended first"
    assert job.result()["ways"]
    for opened in bench.library.sessions:
        opened.session.stop()
    session.stop()


def test_a_new_look_ahead_ends_the_one_before(busy: tuple[Workbench, Session]) -> None:
    bench, _ = busy
    first = begun(bench.lookahead(10, 3, 1000))
    second = begun(bench.lookahead(11, 2, 3))
    assert value(first)["node"] == 10
    assert value(second)["node"] == 11
    bench.take(1, 2)
    assert bench.trace.length == 13, "the latest is meant"


def test_what_ends_is_what_can_be_taken(busy: tuple[Workbench, Session]) -> None:
    bench, _ = busy
    begun(bench.lookahead(10, 3, 1000))
    bench.take(0, 1)
    assert bench.trace.length == 11


def test_a_preview_that_waits_for_the_prompt_is_ended_with_it(
    benches: Callable[..., Workbench], tmp_path: Path
) -> None:
    with loaded(tiny_llama(tmp_path / "tiny.gguf"), n_ctx=8192) as own:
        session = own.session([1] + [300] * 8_000)
        bench = benches(session)
        job = bench.lookahead(-1, 3, 4)
        until(lambda: session.state == "prefill")
        start = time.monotonic()
        bench.stop()
        assert job.done()
        assert time.monotonic() - start < 3


def test_unloading_ends_what_is_under_way(benches: Callable[..., Workbench], tmp_path: Path) -> None:
    tiny_llama(tmp_path / "tiny.gguf")
    bench = benches(None, root=tmp_path)
    until(lambda: bench.model)
    bench.run(PROMPT)
    bench.session.wait()
    bench.session.logits_processor = slowly
    job = begun(bench.lookahead(5, 3, 200))
    bench.unload(bench.library.models[0].id).result(WAIT)
    assert value(job)["ways"]
    assert bench.session is None


def test_closing_ends_what_is_under_way(busy: tuple[Workbench, Session]) -> None:
    bench, session = busy
    jobs = [begun(PREVIEWS[preview](bench)) for preview in PREVIEWS if preview != "commitment"]
    bench.close()
    assert all(job.done() for job in jobs)
    assert session.state == "ready", "it was handed in"


def test_a_preview_of_a_run_under_way_is_refused_in_words(busy: tuple[Workbench, Session]) -> None:
    bench, session = busy
    session.start(LONG)
    for preview in PREVIEWS.values():
        with pytest.raises(InfernoError, match="already running"):
            preview(bench).result(WAIT)
    session.stop()


# --- the sampler's X-ray ----------------------------------------------------------------------------------


def test_the_x_ray_of_what_was_chosen(bench: Workbench) -> None:
    node = 15
    told = value(bench.explain(node, None))
    assert (told["node"], told["source"], told["recorded"]) == (node, "record", True)
    assert told["settings"] == bench.settings
    stages = {stage["name"]: stage for stage in told["stages"]}
    assert list(stages)[-1] == "draw"
    record = bench.trace.record(node)
    draw = stages["draw"]["draw"]
    assert (draw["token"]["id"], draw["uniform"]) == (record.token_id, pytest.approx(record.draw))
    assert draw["token"]["text"] == bench.trace.pieces[record.token_id].decode()
    (drawn,) = [part for part in draw["bar"] if part["id"] == record.token_id]
    assert drawn["from"] <= draw["uniform"] < drawn["to"]
    removed = [token for stage in told["stages"] for token in stage["removed"]["tokens"]]
    assert removed
    assert all(token["reason"] for token in removed)
    python = run_code(bench, told["code"])
    assert [stage.name for stage in python] == list(stages)
    for stage, mine in zip(told["stages"], python, strict=True):
        for part in ("before", "after", "removed"):
            assert [token["id"] for token in stage[part]["tokens"]] == getattr(mine, part).ids.tolist()
    assert value(bench.explain(-1, None))["node"] == bench.trace.head


def test_a_slider_fetches_the_row_once(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[int] = []
    row = Session.row
    monkeypatch.setattr(Session, "row", lambda self, at: fetched.append(at) or row(self, at))
    for temperature in (0.5, 1.5, 2.0):
        told = value(bench.explain(15, {"temperature": temperature, "top_k": 0, "top_p": 1, "min_p": 0}))
        assert (told["source"], told["recorded"]) == ("row", False)
        assert told["settings"]["temperature"] == temperature
        assert told["stages"][0]["before"]["size"] == bench.model.info.n_vocab
        assert f"sampler=Sampler(temperature={temperature}" in told["code"]
    assert fetched == [15]
    for node in range(8, 8 + xrays.ROWS):
        value(bench.explain(node, {"top_k": 0, "top_p": 1, "min_p": 0}))
    value(bench.explain(15, {"top_k": 0, "top_p": 1, "min_p": 0}))
    assert fetched.count(15) == 2, "only a few are kept"


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"temperature": -1}, ValueError, "temperature must be between"),
        ({"tmperature": 1}, ValueError, "there is no setting 'tmperature'"),
        ({"top_k": "many"}, TypeError, "top_k must be a whole number"),
        ([1], TypeError, "settings must be an object of sampler parameters or null"),
    ],
)
def test_settings_of_an_x_ray_are_checked(settings: Any, error: type, match: str, bench: Workbench) -> None:
    with pytest.raises(error, match=match):
        bench.explain(12, settings)


def test_the_first_token_has_no_x_ray(bench: Workbench) -> None:
    with pytest.raises(ValueError, match="nothing predicts the first token"):
        bench.explain(0, None).result(WAIT)


def test_an_x_ray_of_a_run_under_way_is_of_what_is_recorded(busy: tuple[Workbench, Session]) -> None:
    bench, session = busy
    session.start(LONG)
    until(lambda: session.state == "generating")
    assert value(bench.explain(15, None))["source"] == "record"
    with pytest.raises(InfernoError, match="the whole row is needed, and the model is busy"):
        bench.explain(15, {"top_k": 0, "top_p": 1, "min_p": 0}).result(WAIT)
    assert session.state == "generating"
    session.stop()


def test_an_x_ray_of_a_recorded_run(bench: Workbench, benches: Callable[..., Workbench]) -> None:
    told = value(bench.explain(15, None))
    recorded = benches(bench.trace.copy())
    again = value(recorded.explain(15, None))
    assert again["stages"] == told["stages"]
    assert again["code"] == "model.session(trace).explain(at=15)"
    with pytest.raises(InfernoError, match="the whole row is needed, which takes the model"):
        recorded.explain(15, {"top_k": 0, "top_p": 1, "min_p": 0}).result(WAIT)


# --- same dice --------------------------------------------------------------------------------------------


def test_the_same_dice_under_other_settings(bench: Workbench) -> None:
    before, seed = ids(bench), bench.session.sampler.seed
    bench.set("seed", 99)  # which the dice that were thrown know nothing of
    bench.same_dice(-1)
    bench.session.wait()
    assert ids(bench) == before
    assert bench.marks["diverged"] == []
    bench.set("temperature", 1.7)
    bench.same_dice(-1)
    bench.session.wait()
    (node,) = bench.marks["diverged"]
    at = int(bench.trace.nodes["position"][node])
    assert ids(bench)[:at] == before[:at]
    assert ids(bench)[at] != before[at]
    assert bench.trace.runs[-1]["sampler"]["seed"] == seed
    first = ids(bench)
    bench.session.goto(len(before) - 1)
    run_code(bench)
    assert ids(bench) == first
    assert value(bench.explain(node, None))["settings"]["temperature"] == 1.7


def test_the_same_dice_from_a_token_on(bench: Workbench) -> None:
    before = ids(bench)
    bench.set("temperature", 1.7)
    bench.same_dice(20)
    assert "from_=20" in bench.code
    bench.session.wait()
    assert ids(bench)[:20] == before[:20]
    with pytest.raises(InfernoError, match="another branch"):
        bench.same_dice(10_000)


@pytest.mark.parametrize("rows", [False, True])
def test_what_if(rows: bool, bench: Workbench) -> None:
    told = value(bench.what_if("temperature", [0.1, 0.8, 1.7], rows))
    assert (told["parameter"], told["current"], told["length"]) == ("temperature", 0.8, bench.trace.length)
    python = run_code(bench, what_if=what_if)
    assert [change["value"] for change in told["changes"]] == [0.1, 0.8, 1.7]
    assert told["changes"][1] == {"value": 0.8, "at": None, "text": None, "unknown": None}
    for change, mine in zip(told["changes"], python, strict=True):
        assert (change["at"], change["unknown"]) == (mine.at, next(iter(mine.unknown), None))
        assert change["text"] == (None if mine.token is None else bench.trace.pieces[mine.token].decode())
        assert not rows or mine.certain
    bench.set("temperature", 1.7)
    bench.same_dice(-1)
    bench.session.wait()
    if rows:
        assert bench.session.replayed == told["changes"][2]["at"]
    for parameter, values, match in (("warmth", [1], "has no parameter 'warmth'"), ("seed", [1], "another seed")):
        with pytest.raises((TypeError, ValueError), match=match):
            bench.what_if(parameter, values, rows).result(WAIT)


# --- what comes out ---------------------------------------------------------------------------------------


def test_what_comes_out(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferno_widget.gestures.chances.PART_SECONDS", 0)
    parts, told = followed(bench.resample(12, 40, 5, r"\w+"))
    made = run_code(bench)
    assert (told["node"], told["done"], told["n"]) == (12, 40, 40)
    assert {answer["answer"]: answer["count"] for answer in told["answers"]} == made.counts
    for answer in told["answers"]:
        assert answer["example"] == made.where(answer["answer"])[0].text
    assert all(part["done"] == sum(answer["count"] for answer in part["answers"]) <= 40 for part in parts)
    assert parts[10]["done"] < 20 < parts[-1]["done"]
    assert parts[-1] == told, "with the last token all is known"
    with pytest.raises(ValueError, match="by is no regular expression"):
        bench.resample(12, 4, 5, "(")
    with pytest.raises(ValueError, match="n must be a whole number of at least 1"):
        bench.resample(12, 0, 5, "").result(WAIT)


def test_what_comes_out_under_the_settings_of_now(bench: Workbench) -> None:
    """Which are not those of the run: its line says so."""
    at = len(bench.session.prompt_ids)
    before = value(bench.resample(at, 12, 6, ""))
    assert "sampler" not in bench.code
    bench.set("temperature", 3.0)
    bench.set("min_p", 0.0)
    told = value(bench.resample(at, 12, 6, ""))
    assert told["answers"] != before["answers"]
    assert {answer["answer"]: answer["count"] for answer in told["answers"]} == run_code(bench).counts
    curve = value(bench.commitment(-1, 4, 8, ""))
    assert "temperature=3.0" in bench.code
    assert curve["counts"] == run_code(bench).counts.tolist()
    assert bench.session.sampler.temperature == 0.8, "what looks leaves the session as it is"


def test_a_line_brings_the_settings_that_the_gesture_brought(bench: Workbench, model: Model) -> None:
    """Pasted behind the lines before it, it makes the same text."""
    names: dict[str, Any] = {"model": model, "Sampler": Sampler}
    session = model.session(PROMPT, bench.session.sampler)
    names["session"] = session.generate(20) and session
    node = len(session.prompt_ids) + 3
    for name, now, gesture in (
        ("temperature", 1.7, bench.resume),
        ("on_full", "slide", lambda: bench.step(PROMPT)),
        ("top_k", 3, lambda: bench.fork(node, int(bench.trace.record(node).top_ids[2]))),
        ("max_tokens", 5, bench.resume),
    ):
        bench.set(name, now)
        gesture()
        bench.session.wait()
        exec(bench.code, names)
        assert session.trace.column("token_id").tolist() == ids(bench), bench.code
    bench.set("seed", 5)
    bench.step("Another king")
    bench.session.wait()
    exec(bench.code, names)
    assert names["session"].trace.column("token_id").tolist() == ids(bench)
    names["session"].close()
    session.close()


def test_every_line_pasted_into_another_kernel_makes_the_same_tree(bench: Workbench, model: Model) -> None:
    names: dict[str, Any] = {"model": model, "Sampler": Sampler}

    def whole(session: Session) -> tuple[Any, ...]:
        trace = session.trace
        nodes = [trace.nodes[name].tolist() for name in ("token_id", "parent", "kind")]
        marks = (trace.names, trace.pruned, trace.diverged, trace.watches)
        return *nodes, trace.head, *marks, session.sampler, session.name

    def did(gesture: Callable[[], Any]) -> None:
        job = gesture()
        if isinstance(job, Job):
            job.result(WAIT)
        bench.session.wait()
        exec(bench.code, names)
        assert whole(names["session"]) == whole(bench.session), bench.code

    did(lambda: bench.run(PROMPT))
    at = len(bench.session.prompt_ids) + 2
    node = int(bench.trace.path()[at])
    did(lambda: bench.fork(node, int(bench.trace.record(node).top_ids[3])))
    did(lambda: bench.fork(int(bench.trace.path()[at]), 4000))
    old = bench.trace.head
    did(lambda: bench.goto(node + 4))
    did(lambda: bench.rewind(2))
    did(lambda: bench.edit(bench.text() + " 🐉 said"))
    did(lambda: bench.edit(bench.text().replace("king", "dragon")))
    did(lambda: bench.name_branch(old, "the old one"))
    did(lambda: bench.prune(old))
    did(lambda: bench.restore(old))
    did(lambda: bench.goto(old))
    bench.set("temperature", 1.7)
    did(lambda: bench.same_dice(-1))
    value(bench.lookahead(int(bench.trace.path()[at]), 4, 5, True))
    did(lambda: bench.take(2, 4))
    did(bench.resume)
    did(lambda: bench.watch("some", [" king", 1234]))
    did(lambda: bench.watch("king", ["king"], True))
    did(lambda: bench.unwatch("some"))
    did(lambda: bench.rename(bench.library.shown.id, "a tale"))
    did(lambda: bench.step(PROMPT))
    names["session"].close()


def test_when_it_was_decided(bench: Workbench) -> None:
    start = len(bench.session.prompt_ids)
    parts, told = followed(bench.commitment(-1, 4, 5, ""))
    python = run_code(bench)
    assert told["positions"] == python.positions.tolist() == list(range(start, bench.trace.length, 5))
    assert told["nodes"] == bench.trace.path()[told["positions"]].tolist()
    assert (told["of"], told["n"], told["answers"]) == (4, 4, list(python.answers))
    assert told["counts"] == python.counts.tolist()
    assert (told["answer"], told["decided"]) == (python.answer, python.decided())
    assert [len(part["positions"]) for part in parts] == [1, 2, 3]
    assert all(len(part["counts"]) == len(part["positions"]) and part["of"] == 4 for part in parts)
    later = value(bench.commitment(20, 2, 3, "a"))
    assert later["positions"][0] == 20
    with pytest.raises(ValueError, match="by is no regular expression"):
        bench.commitment(-1, 4, 5, "(")
    with pytest.raises(ValueError, match="every must be"):
        bench.commitment(-1, 4, 0, "").result(WAIT)


# --- the watchlist ----------------------------------------------------------------------------------------


def test_tokens_are_watched(bench: Workbench) -> None:
    token = ids(bench)[15]
    parts, told = followed(bench.watch("one", [token]))
    assert told is None
    assert parts == list(range(1, bench.trace.length)), "how many are done"
    assert bench.code == f"session.watch({{'one': [{token}]}})"
    text = bench.trace.pieces[token].decode()
    assert bench.marks["watches"] == [{"name": "one", "tokens": [{"id": token, "text": text}]}]
    np.testing.assert_allclose(bench.trace.watched("one")[15], np.exp(bench.trace.column("logprob")[15]), rtol=0.01)
    bench.watch(" the ", [" the"], variants=True).result(WAIT)
    found = bench.variants("the").result(WAIT)
    assert bench.marks["watches"][1]["name"] == "the"
    assert {token["id"]: token["text"] for token in bench.marks["watches"][1]["tokens"]} == {
        token["id"]: token["text"] for token in found
    }
    assert run_code(bench, "model.variants('the')") == {token["text"]: token["id"] for token in found}
    bench.resume()
    bench.session.wait()
    assert not np.isnan(bench.trace.watched("the")[1:]).any()
    bench.unwatch("one")
    assert [watch["name"] for watch in bench.marks["watches"]] == ["the"]
    with pytest.raises(InfernoError, match="'one' is not watched"):
        bench.unwatch("one")


@pytest.mark.parametrize(
    ("name", "tokens", "match"),
    [
        ("", ["x"], "a watch has a name of 1 to 80 characters"),
        ("x", [], "'x' names no token"),
        ("x", [None], "tokens must be texts or ids"),
        ("x", ["no single token"], "is no single token of this model"),
        ("x", [10**6], "is neither a text nor a token id"),
    ],
)
def test_what_cannot_be_watched_is_said(name: str, tokens: list[Any], match: str, bench: Workbench) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        bench.watch(name, tokens).result(WAIT)
    assert bench.marks["watches"] == []


def test_a_run_does_not_end_a_watch(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at nodes, which never change."""
    go_on, told = threading.Event(), Job.tell
    monkeypatch.setattr(Job, "tell", lambda job, part: go_on.wait(WAIT) and told(job, part))
    watch = bench.watch("the", [" the"])
    bench.resume()
    bench.session.wait()
    assert not watch.done()
    go_on.set()
    value(watch)
    assert not np.isnan(bench.trace.watched("the")[1:]).any()


def test_a_second_watch_finishes_what_the_first_was_at(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Job.tell
    monkeypatch.setattr(Job, "tell", lambda job, part: told(job, part) and not time.sleep(0.02))
    first = begun(bench.watch("the", [" the"]))
    second = bench.watch("a", [" a"])
    assert first.done()
    value(second)
    for name in ("the", "a"):
        assert not np.isnan(bench.trace.watched(name)[1:]).any()


def test_a_recorded_run_keeps_its_marks(bench: Workbench, benches: Callable[..., Workbench]) -> None:
    bench.watch("the", [" the"]).result(WAIT)
    bench.name_branch(bench.trace.head, "first")
    recorded = benches(bench.trace.copy())
    assert recorded.marks == bench.marks
    recorded.unwatch("the")
    assert (recorded.marks["watches"], recorded.code) == ([], "trace.unwatch('the')")


def test_a_recorded_run_is_marked_without_its_model(bench: Workbench, benches: Callable[..., Workbench]) -> None:
    old = bench.trace.head
    bench.fork(12, int(bench.trace.record(12).top_ids[3]))
    bench.session.wait()
    recorded = benches(bench.trace.copy())
    recorded.name_branch(old, "first")
    recorded.prune(old)
    assert (recorded.marks["names"], recorded.marks["pruned"]) == ({"first": old}, [12])
    assert recorded.code == f"trace.prune({old})"
    recorded.restore(old)
    recorded.prune(old)
    recorded.undo()
    assert (recorded.marks["pruned"], bench.marks["names"]) == ([], {})


def test_without_anything_there_is_nothing_to_mark(benches: Callable[..., Workbench], model: Model) -> None:
    bench = benches(model)
    empty = {"names": {}, "pruned": [], "diverged": [], "watches": [], "edits": [], "altered": []}
    assert bench.marks == empty
    assert bench.variants("the").result(WAIT)
    for gesture in (lambda: bench.goto(1), bench.text, lambda: bench.explain(1, None), lambda: bench.unwatch("x")):
        with pytest.raises(InfernoError, match="there is nothing yet"):
            gesture()
    with pytest.raises(InfernoError, match="press Run"):
        bench.take(0, 1)


def test_a_job_that_has_not_begun_is_not_begun_by_a_gesture(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(bench.files, "list", lambda path, hidden: go_on.wait(WAIT))
    for _ in range(8):  # every hand that there is
        bench.browse("")
    job = bench.lookahead(12, 3, 4)
    bench.goto(10)
    go_on.set()
    with pytest.raises(Cancelled):
        job.result(WAIT)
