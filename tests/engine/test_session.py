"""Sessions over a real engine: whatever way a text comes about, it is the same, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inferno_widget import (
    Cancelled,
    ContextFullError,
    EngineDiedError,
    InfernoError,
    Kind,
    Model,
    Sampler,
    Session,
    StepRecord,
    Trace,
)
from inferno_widget.sampling import draw
from tests.engine.tools import DEMO, EOS, NATS, PROMPT, assert_same, dice, kill, loaded, slowly, tokens, until
from tests.make_models import tiny_qwen2


def saying(ids: list[int], begun: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A logits processor that makes the text behind the first `begun` tokens."""

    def process(so_far: np.ndarray, logits: np.ndarray) -> np.ndarray:
        only = np.full_like(logits, -np.inf)
        only[ids[len(so_far) - begun]] = 0
        return only

    return process


@pytest.fixture
def own(tiny: Path) -> Iterator[Model]:
    """A model that a test may kill."""
    with loaded(tiny) as model:
        yield model


@pytest.fixture
def calls(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[object, ...]]]:
    """Every call that makes the engine work, as it happens."""
    log: list[tuple[str, tuple[object, ...]]] = []

    def spied(name: str) -> Callable[..., object]:
        original = getattr(model.engine, name)

        def call(*arguments: object, **options: object) -> object:
            log.append((name, arguments))
            return original(*arguments, **options)

        return call

    for name in ("tokenize", "branch", "append", "prefill", "generate", "logits"):
        monkeypatch.setattr(model.engine, name, spied(name))
    return log


def reference(model: Model, n: int, sampler: Sampler | None = None) -> list[StepRecord]:
    """The records of a run that nothing disturbed."""
    with model.session(PROMPT, sampler or dice()) as session:
        session.generate(n)
        return list(session.trace)


# --- one run ----------------------------------------------------------------------------------------------


def test_nothing_is_computed_before_it_is_asked_for(model: Model, calls: list) -> None:
    session = model.session(PROMPT, dice())
    assert [name for name, _ in calls] == ["tokenize"]
    assert (session.state, len(session.trace.nodes), session.finish) == ("ready", 0, None)


def test_score_reads_the_prompt_and_nothing_more(model: Model) -> None:
    session = model.session(PROMPT, dice())
    trace = session.score()
    assert trace is session.trace
    assert trace.column("token_id").tolist() == session.prompt_ids
    assert {record.kind for record in trace} == {Kind.PROMPT}
    assert math.isnan(trace.record(0).logprob)
    assert (session.text, session.state) == (PROMPT, "ready")
    session.score()
    assert len(trace.runs) == 1


def test_steps_under_the_same_settings_are_one_run(model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.step()
    session.step()
    session.sampler = dice(temperature=0.3)
    session.step()
    assert [run["sampler"]["temperature"] for run in session.trace.runs] == [dice().temperature, 0.3]
    assert session.trace.column("run")[-3:].tolist() == [0, 0, 1]


def test_step_scores_the_prompt_first_and_gives_the_new_record(model: Model) -> None:
    session = model.session(PROMPT, dice())
    record = session.step()
    assert record.position == len(session.prompt_ids)
    assert record.kind is Kind.GENERATED
    assert record.draw == draw(7, record.position)
    assert session.trace.length == len(session.prompt_ids) + 1
    assert session.step().position == record.position + 1


def test_generate_returns_what_is_new(model: Model) -> None:
    session = model.session(PROMPT, dice())
    first, second = session.generate(12), session.generate(5)
    assert session.text == PROMPT + first + second
    assert (session.finish, session.state) == ("length", "ready")
    assert session.trace.length == len(session.prompt_ids) + 17


def test_a_character_across_two_calls_belongs_to_the_call_that_completes_it(model: Model) -> None:
    fire = [3 + byte for byte in "🌋".encode()]  # byte tokens
    session = model.session(PROMPT, dice(), logits_processor=None)
    session.logits_processor = saying(fire, len(session.prompt_ids))
    assert [session.generate(1) for _ in fire] == ["", "", "", "🌋"]


def test_stream_gives_what_generate_gives(model: Model) -> None:
    session = model.session(PROMPT, dice())
    records = list(session.stream(30))
    n = len(session.prompt_ids)
    assert_same(records, reference(model, 30)[n:], nats=NATS)
    assert [record.position for record in records] == list(range(n, n + 30))
    assert PROMPT + "".join(record.text for record in records) == session.text
    assert len(list(session.stream(3))) == 3


def test_a_stream_that_is_shorter_than_the_wait_for_it_is_whole(model: Model) -> None:
    session = model.session(PROMPT, dice())
    for _ in range(40):
        assert len(list(session.stream(1))) == 1


def test_leaving_a_stream_stops_the_run(model: Model) -> None:
    session = model.session(PROMPT, dice(), logits_processor=slowly)
    for record in session.stream(500):
        if record.position > len(session.prompt_ids) + 3:
            break
    until(lambda: session.state == "ready")
    assert session.finish == "cancelled"
    assert session.trace.length < 100
    n = session.trace.length
    session.step()
    assert session.trace.length == n + 1


def test_a_stream_raises_what_went_wrong_after_what_came(model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.logits_processor = saying(session.prompt_ids[:3], len(session.prompt_ids))
    got = []
    with pytest.raises(InfernoError, match="IndexError"):
        got.extend(session.stream(10))
    assert session.trace.length == len(session.prompt_ids) + 3


def test_start_returns_at_once_and_wait_waits(model: Model) -> None:
    session = model.session(PROMPT, dice(), logits_processor=slowly)
    session.start(100)
    assert session.wait(timeout=0.02) is False
    assert session.state in ("prefill", "generating")
    with pytest.raises(InfernoError, match="already running"):
        session.start(5)
    with pytest.raises(InfernoError, match="already running"):
        session.step()
    with pytest.raises(InfernoError, match="already running"):
        session.resume()
    assert session.wait() is True
    assert session.finish == "length"
    assert session.wait() is True


def test_pause_holds_and_resume_goes_on(model: Model) -> None:
    session = model.session(PROMPT, dice(), logits_processor=slowly)
    session.start(60)
    until(lambda: session.trace.length > len(session.prompt_ids) + 5)
    session.pause()
    assert session.resumable
    assert session.wait()
    n = session.trace.length
    assert (session.state, session.finish) == ("paused", None)
    time.sleep(0.05)
    assert session.trace.length == n
    session.resume()
    assert session.wait()
    assert not session.resumable
    assert (session.state, session.finish) == ("ready", "length")
    assert session.trace.length == len(session.prompt_ids) + 60


def test_pause_and_stop_may_be_followed_by_anything_at_once(model: Model) -> None:
    session = model.session(PROMPT, dice(), logits_processor=slowly)
    n = len(session.prompt_ids)
    session.start(200)
    session.pause()
    session.resume()
    session.stop()
    session.pause()  # a stop is no pause any more
    assert session.wait()
    assert session.state == "ready"
    session.start(200)
    session.stop()
    session.generate(2)
    assert session.finish == "length"
    session.start(200)
    session.pause()
    assert session.step().kind is Kind.GENERATED
    assert session.trace.length < n + 50


def test_a_run_is_held_and_goes_on_as_if_nothing_had_happened(model: Model) -> None:
    with model.session(PROMPT, dice()) as plain, model.session(PROMPT, dice()) as session:
        plain.generate(40)
        session.logits_processor = slowly
        session.start(40)
        until(lambda: session.trace.length > len(session.prompt_ids) + 3)
        with session.held():
            assert session.state == "paused"
            session.stop()
        assert session.state == "generating"
        session.pause()
        until(lambda: session.state == "paused")
        with pytest.raises(ValueError, match="text"), session.held():
            session.edit("\ud800")
        assert session.state == "paused", "it stays what it was, also after an error"
        session.resume()
        session.wait()
        assert session.trace.column("token_id").tolist() == plain.trace.column("token_id").tolist()
        with session.held():
            pass
        assert (session.state, session.finish) == ("ready", "length")


def test_stop_ends_a_pause(model: Model) -> None:
    session = model.session(PROMPT, dice(), logits_processor=slowly)
    session.start(60)
    session.pause()
    session.wait()
    session.stop()
    assert (session.state, session.finish) == ("ready", "cancelled")
    with pytest.raises(InfernoError, match="the session is ready, not paused"):
        session.resume()


def test_await_leaves_the_loop_free(model: Model) -> None:
    session = model.session(PROMPT, dice(), logits_processor=slowly)

    async def main() -> int:
        session.start(30)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.005)

        clock = asyncio.create_task(tick())
        assert await session is True
        clock.cancel()
        return ticks

    assert asyncio.run(main()) > 5
    assert session.finish == "length"


def test_an_await_that_is_cancelled_stops_the_run(model: Model) -> None:
    session = model.session(PROMPT, dice(), logits_processor=slowly)

    async def main() -> None:
        session.start(5_000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session, 0.1)

    asyncio.run(main())
    assert session.wait(timeout=5)
    assert session.finish == "cancelled"


def test_await_raises_what_went_wrong(model: Model) -> None:
    session = model.session(PROMPT, dice(), logits_processor=lambda ids, logits: 1 / 0)

    async def main() -> None:
        session.start(5)
        await session

    with pytest.raises(InfernoError, match="division by zero"):
        asyncio.run(main())


# --- the same text ----------------------------------------------------------------------------------------


def by_steps(session: Session) -> None:
    for _ in range(40):
        session.step()


def by_pauses(session: Session) -> None:
    session.logits_processor = slowly
    session.start(40)
    pauses = 0
    while session.trace.length < len(session.prompt_ids) + 40:
        before = session.trace.length
        session.pause()
        session.wait()
        if session.state == "paused":
            pauses += 1
            session.resume()
        until(lambda before=before: session.trace.length > before or session.state == "ready")
    session.wait()
    assert pauses > 10


def by_a_detour(session: Session) -> None:
    session.generate(25)
    there = session.trace.head
    session.fork(at=20, token="dragon")
    session.generate(10)
    session.fork(at=5, token="queen")
    session.generate(10)
    session.goto(there)
    session.generate(15)


def by_stops(session: Session) -> None:
    while (left := len(session.prompt_ids) + 40 - session.trace.length) > 0:
        session.generate(min(left, 7))
        session.start(1_000)
        session.stop()
        session.wait()
        extra = session.trace.length - len(session.prompt_ids) - 40
        if extra > 0:
            session.goto(int(session.trace.path()[len(session.prompt_ids) + 39]))


@pytest.mark.parametrize("way", [by_steps, by_pauses, by_a_detour, by_stops])
def test_the_same_seed_gives_the_same_text_however_it_came_about(way: Callable, model: Model) -> None:
    session = model.session(PROMPT, dice())
    way(session)
    path = session.trace.path()
    assert_same([session.trace.record(int(node)) for node in path], reference(model, 40), nats=NATS)
    assert session.text == model.detokenize(session.trace.column("token_id")[1:].tolist()).decode(
        errors="backslashreplace"
    )


def test_two_sessions_at_once_give_what_each_gives_alone(model: Model) -> None:
    alone = [reference(model, 60, dice(seed)) for seed in (1, 2, 3)]
    sessions = [model.session(PROMPT, dice(seed)) for seed in (1, 2, 3)]
    for session in sessions:
        session.start(60)
    for session, records in zip(sessions, alone, strict=True):
        session.wait()
        assert_same(list(session.trace), records, nats=NATS)


def test_more_sessions_than_the_pool_holds_take_turns(tiny: Path) -> None:
    """256 cells for twelve sessions of 60 tokens: what gave way is decoded again when it goes on."""
    with loaded(tiny, n_ctx=256) as model:
        sessions = [model.session(PROMPT, dice(seed)) for seed in range(12)]
        n = 40 - len(sessions[0].prompt_ids)
        for session in sessions:
            session.generate(n)
        for session in sessions:
            session.generate(20)
        for seed, session in list(enumerate(sessions))[::5]:
            with model.session(PROMPT, dice(seed)) as fresh:
                fresh.generate(n + 20)
                assert_same(list(session.trace), list(fresh.trace), nats=NATS)


# --- the road not taken -----------------------------------------------------------------------------------


def scored(model: Model, ids: list[int]) -> list[StepRecord]:
    """What a fresh prefill says of these tokens."""
    with model.session(ids) as session:
        return list(session.score())


def assert_scored(session: Session, model: Model) -> None:
    """Every number on the path is what a fresh prefill says."""
    for mine, true in zip(session.trace, scored(model, session.trace.column("token_id").tolist()), strict=True):
        np.testing.assert_allclose(mine[3:5], true[3:5], atol=NATS, rtol=0, equal_nan=True)
        assert mine.rank == true.rank or abs(mine.rank - true.rank) <= 1
        np.testing.assert_allclose(mine.tail, true.tail, atol=NATS, rtol=0, equal_nan=True)
        np.testing.assert_allclose(mine.top_logprobs, true.top_logprobs, atol=NATS, rtol=0)


def test_a_stored_alternative_needs_no_engine_and_is_true(model: Model, calls: list) -> None:
    session = model.session(PROMPT, dice())
    session.generate(20)
    at = len(session.prompt_ids) + 6
    was = session.trace.record(int(session.trace.path()[at]))
    token = int(next(t for t in was.top_ids[3:] if t != was.token_id))
    del calls[:]
    assert session.fork(at, token) is session
    assert calls == []
    forked = session.trace.record(session.trace.head)
    assert (forked.position, forked.token_id, forked.kind) == (at, token, Kind.FORCED)
    assert forked.rank == was.top_ids.tolist().index(token) + 1
    assert math.isnan(forked.draw)
    assert math.isnan(forked.sampled_prob)
    assert (forked.kept, forked.top_kept.any()) == (0, False)
    assert_scored(session, model)
    assert session.trace.length == at + 1
    session.generate(5)
    assert_scored(session, model)


def test_any_token_can_be_forced(model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.generate(20)
    at = len(session.prompt_ids) + 6
    unlikely = next(t for t in range(300, 512) if t not in session.trace.record(at).top_ids)
    session.fork(at, unlikely)
    assert session.trace.record(session.trace.head).rank > 20
    assert_scored(session, model)
    session.generate(5)
    assert_scored(session, model)


@pytest.mark.parametrize("text", [" dragon", " the king said", "🌋", "火"])
def test_text_of_several_tokens_can_be_forced(text: str, model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.generate(20)
    ids = model.tokenize(text, special=False)
    session.fork(at=12, token=text)
    assert session.trace.column("token_id")[12:].tolist() == ids
    assert session.trace.column("kind")[12:].tolist() == [Kind.FORCED] * len(ids)
    assert session.text.endswith(text)
    assert_scored(session, model)


def test_what_was_there_stays(model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.generate(20)
    before, head = session.trace.nodes.tobytes(), session.trace.head
    session.fork(at=15, token="x")
    session.generate(5)
    assert session.trace.nodes[: head + 1].tobytes() == before
    assert session.goto(head) is session
    assert session.trace.path().tolist() == list(range(head + 1))


def test_a_fork_while_generating_stops_that_first(model: Model) -> None:
    session = model.session(PROMPT, dice(), logits_processor=slowly)
    session.start(1_000)
    until(lambda: session.trace.length > len(session.prompt_ids) + 4)
    session.fork(at=8, token="dragon")
    assert (session.state, session.finish) == ("ready", None)
    n = session.trace.length
    time.sleep(0.03)
    assert session.trace.length == n
    session.logits_processor = None
    session.generate(4)
    assert_scored(session, model)


def test_a_fork_before_the_first_step_scores_the_prompt(model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.fork(at=len(session.prompt_ids), token="x")
    assert session.trace.column("kind").tolist() == [*[Kind.PROMPT] * len(session.prompt_ids), Kind.FORCED]
    assert session.text == PROMPT + "x"
    assert_scored(session, model)


def test_a_fork_inside_the_prompt(model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.fork(at=3, token="queen")
    n = session.trace.length
    assert n < len(session.prompt_ids)
    text = session.generate(6)
    assert session.trace.length == n + 6
    assert session.text == "".join(session.trace.texts(session.trace.path())[:n]) + text
    assert len(text) > 0
    assert_scored(session, model)


@pytest.mark.parametrize("at", [0, -1, 100])
def test_a_fork_out_of_range_changes_nothing(at: int, model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.generate(5)
    n = session.trace.length
    with pytest.raises(IndexError, match=f"at must be between 1 and {n}, not {at}"):
        session.fork(at, "x")
    assert (session.trace.length, len(session.trace.nodes)) == (n, n)


@pytest.mark.parametrize(
    ("token", "error", "match"),
    [
        ("", ValueError, "token is empty"),
        (512, ValueError, "512 is not a token id"),
        (-1, ValueError, "-1 is not"),
        (True, ValueError, "True is not"),
        (1.5, ValueError, "1.5 is not"),
    ],
)
def test_a_fork_to_what_is_no_token_is_refused(token: object, error: type, match: str, model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.generate(2)
    with pytest.raises(error, match=match):
        session.fork(5, token)
    assert session.trace.length == len(session.trace.nodes)


def test_a_fork_that_fails_half_way_leaves_the_path(own: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    session = own.session(PROMPT, dice())
    session.generate(10)
    head = session.trace.head
    rows = iter([own.engine.logits])

    def once(*arguments: object) -> object:
        return next(rows)(*arguments)

    monkeypatch.setattr(own.engine, "logits", once)
    with pytest.raises(StopIteration):
        session.fork(12, " the king said")
    assert session.trace.head == head


def test_goto_the_beginning_and_come_again(model: Model) -> None:
    session = model.session(PROMPT, dice())
    first = session.generate(8)
    session.goto(-1)
    assert (session.text, session.trace.length) == ("", 0)
    assert session.generate(8) == first
    with pytest.raises(IndexError):
        session.goto(10_000)


def test_the_cache_is_used_again(model: Model, calls: list) -> None:
    """How many tokens the engine is given to decode tells how much it had to do."""

    def given() -> int:
        return sum(len(arguments[1]) for name, arguments in calls if name in ("append", "prefill"))

    session = model.session(PROMPT, dice())
    n = len(session.prompt_ids)
    session.generate(60)
    assert given() == n
    del calls[:]
    session.generate(5)
    assert [name for name, _ in calls] == ["generate"], "the same branch goes on"
    head = session.trace.head
    for at in (n + 4, n + 50):
        del calls[:]
        stored = int(session.trace.record(int(session.trace.path()[at])).top_ids[-1])
        session.fork(at, stored)
        session.step()
        assert given() == 1
        assert [arguments[1] for name, arguments in calls if name == "branch"] == [at]
        session.goto(head)
    del calls[:]
    session.step()
    assert given() == 0, "the branch that was left is still there"


# --- what ends a run --------------------------------------------------------------------------------------


def test_a_stop_string_ends_it_also_across_tokens_and_pauses(model: Model) -> None:
    ids = model.tokenize("the sons said no and the sons", special=False)
    said = model.session(PROMPT, dice())
    said.logits_processor = saying(ids, len(said.prompt_ids))
    assert said.generate(100, stop="sons said").endswith("sons said")
    assert said.finish == "stop"
    assert len(model.tokenize("sons said", special=False)) > 1
    again = model.session(PROMPT, dice())
    words = saying(ids, len(again.prompt_ids))
    cut = next(i for i in range(len(ids)) if model.detokenize(ids[:i]).endswith(b"sons"))

    def pausing(so_far: np.ndarray, logits: np.ndarray) -> np.ndarray:
        if len(so_far) == len(again.prompt_ids) + cut - 1:
            again.pause()
        return words(so_far, logits)

    again.logits_processor = pausing
    again.start(100, stop=["nothing", "sons said"])
    again.wait()
    assert again.state == "paused"
    again.logits_processor = words
    again.resume()
    again.wait()
    assert again.finish == "stop"
    assert again.text == said.text


@pytest.mark.parametrize("stop", [None, (), [], ""])
def test_nothing_to_stop_at_is_no_stop(stop: object, model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.generate(12, stop=stop)
    assert session.finish == "length"


@pytest.mark.parametrize("stop", [[3], [None], 5, [b"x"]])
def test_a_stop_that_is_no_string_is_refused(stop: object, model: Model) -> None:
    with pytest.raises(TypeError):
        model.session(PROMPT).generate(4, stop=stop)


@pytest.mark.parametrize("n", [0, -3, 1.5, True, None, "7"])
def test_max_tokens_is_a_whole_number(n: object, model: Model) -> None:
    with pytest.raises(ValueError, match=f"max_tokens must be a whole number of at least 1, not {n!r}"):
        model.session(PROMPT).generate(n)
    session = model.session(PROMPT, dice())
    session.generate(np.int64(2))
    assert session.trace.length == len(session.prompt_ids) + 2


def test_the_end_of_a_text_ends_it(model: Model) -> None:
    session = model.session(PROMPT, dice(logit_bias={}))
    session.logits_processor = saying([300, EOS, 301], len(session.prompt_ids))
    session.generate(10)
    assert (session.finish, session.trace.record(session.trace.head).token_id) == ("eog", EOS)
    assert "</s>" not in session.text


def test_a_full_context(tiny: Path) -> None:
    with loaded(tiny, n_ctx=256) as model:
        session = model.session(PROMPT, dice())
        session.generate(1_000)
        assert (session.finish, session.state, session.trace.length) == ("context", "ready", 256)
        with pytest.raises(ContextFullError, match="context of 256 tokens is full; load the model with a larger n_ctx"):
            session.step()
        with pytest.raises(ContextFullError, match="256"):
            session.fork(256, "x")
        with pytest.raises(ContextFullError, match="256"):
            session.fork(250, "🌋🌋🌋")
        assert session.trace.length == 256
        session.fork(200, "x")
        assert session.step().position == 201
        long = model.session([1] * 300)
        with pytest.raises(ContextFullError, match="300 tokens do not fit into a context of 256"):
            long.step()
        assert long.state == "error"
        assert long.error is not None


def test_stopping_within_the_prompt_keeps_what_was_read(own: Model) -> None:
    ids = [1, *np.random.default_rng(0).integers(300, 500, 900).tolist()]
    session = own.session(ids, dice())
    session.start(5)
    until(lambda: session.trace.length >= 64)
    session.stop()
    session.wait()
    n = session.trace.length
    assert n % 64 == 0 or n >= 901
    session.generate(5)
    assert session.trace.column("token_id")[:901].tolist() == ids
    assert session.trace.length >= 906
    assert_scored(session, own)


# --- what people pass in ----------------------------------------------------------------------------------


def test_a_logits_processor_is_one_more_stage(model: Model) -> None:
    seen: list[tuple[int, np.dtype, tuple[int, ...]]] = []

    def process(ids: np.ndarray, logits: np.ndarray) -> np.ndarray:
        seen.append((len(ids), logits.dtype, logits.shape))
        logits[300] += 1000
        return logits

    session = model.session(PROMPT, dice(), logits_processor=process)
    record = session.step()
    session.generate(3)
    assert record.token_id == 300
    assert record.sampled_prob == 1.0
    assert record.rank >= 1, "the record is of the raw distribution"
    assert_scored(session, model)
    n = len(session.prompt_ids)
    assert seen == [(n + i, np.dtype(np.float32), (512,)) for i in range(4)]


def test_an_exception_in_a_processor_is_shown_with_its_cause(model: Model) -> None:
    def process(ids: np.ndarray, logits: np.ndarray) -> np.ndarray:
        if len(ids) > len(session.prompt_ids) + 2:
            raise KeyError("mine")
        return logits

    session = model.session(PROMPT, dice(), logits_processor=process)
    with pytest.raises(InfernoError, match=r"the logits processor failed: KeyError.'mine'.") as caught:
        session.generate(10)
    assert isinstance(caught.value.__cause__, KeyError)
    assert session.error is caught.value
    assert session.state == "error"
    assert session.trace.length == len(session.prompt_ids) + 3
    with pytest.raises(InfernoError, match="mine"):
        session.wait()
    session.logits_processor = None
    session.generate(5)
    assert (session.state, session.error) == ("ready", None)
    assert_scored(session, model)


def test_a_run_that_fails_gives_its_cache_back(model: Model, calls: list, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[int] = []
    session = model.session(PROMPT, dice(), logits_processor=lambda ids, logits: 1 / 0)
    with monkeypatch.context() as patch:
        patch.setattr(model.engine, "drop", dropped.append)
        with pytest.raises(InfernoError):
            session.step()
    assert len(dropped) == len([name for name, _ in calls if name == "branch"]) == 1


def test_unknown_keywords_are_named_with_the_nearest(model: Model) -> None:
    session = model.session(PROMPT)
    with pytest.raises(TypeError, match="generate has no parameter 'max_token'; did you mean 'max_tokens'"):
        session.generate(max_token=3)
    with pytest.raises(TypeError, match="start has no parameter 'stops'; did you mean 'stop'"):
        session.start(stops="x")
    with pytest.raises(TypeError, match="session has no parameter 'sampller'; did you mean 'sampler'"):
        model.session(PROMPT, sampller=dice())
    with pytest.raises(TypeError, match="Session has no parameter 'temperature'"):
        Session(model, PROMPT, temperature=1)
    with pytest.raises(TypeError, match="Sampler has no parameter 'json_schema'; did you mean 'grammar'"):
        Sampler(json_schema={"type": "object"})
    assert session.state == "ready"


@pytest.mark.parametrize("ids", [[512], [-1], [True], [1.5], ["a"], [None]])
def test_ids_that_are_none_are_refused(ids: list, model: Model) -> None:
    with pytest.raises(ValueError, match=r"is not a token id of this model .0 to 511."):
        model.session(ids)


@pytest.mark.parametrize("k", [0, 33])
def test_k_has_bounds(k: int, model: Model) -> None:
    with pytest.raises(ValueError, match="k must be between 1 and 32"):
        model.session(PROMPT, k=k)


def test_what_a_session_does_not_have_or_change_is_not_set_in_silence(model: Model) -> None:
    session = model.session(PROMPT, dice())
    with pytest.raises(AttributeError, match=r"no temperature of its own: set session.sampler = Sampler\(temperature="):
        session.temperature = 0.2
    session.sampler = replace(session.sampler, temperature=0.2)
    assert session.sampler == replace(dice(), temperature=0.2)
    for name in ("k", "prompt"):
        with pytest.raises(AttributeError, match=f"'{name}'"):
            setattr(session, name, 5)
    session.note = "mine"  # a person's own is his affair


def test_a_prompt_of_ids_has_its_text(model: Model) -> None:
    ids = model.tokenize(PROMPT)
    session = model.session(np.array(ids))
    assert session.prompt == PROMPT
    assert session.prompt_ids == ids
    session.step()
    assert session.trace.column("token_id")[: len(ids)].tolist() == ids


def test_an_empty_prompt_needs_a_token_to_begin_with(model: Model, tmp_path: Path) -> None:
    assert model.session("", dice()).step().position == 1
    with loaded(tiny_qwen2(tmp_path / "q.gguf")) as other, pytest.raises(ValueError, match="the prompt is empty"):
        other.session("")


def test_a_seed_that_was_not_given_is_taken_and_recorded(model: Model) -> None:
    session = model.session(PROMPT, Sampler())
    session.generate(3)
    seed = session.sampler.seed
    assert seed is not None
    assert session.trace.runs[0]["sampler"]["seed"] == seed
    assert model.session(PROMPT, Sampler()).sampler.seed != seed
    with model.session(PROMPT, Sampler(seed=seed)) as again:
        again.generate(3)
        assert tokens(list(again.trace)) == tokens(list(session.trace))


def test_each_run_is_recorded_with_its_settings(model: Model) -> None:
    session = model.session(PROMPT, dice(3))
    session.generate(2)
    session.sampler = dice(3, temperature=0.5)
    session.generate(2)
    runs = session.trace.runs
    assert [run["sampler"]["temperature"] for run in runs] == [1.0, 0.5]
    assert session.trace.column("run").tolist() == [*[0] * (len(session.prompt_ids) + 2), 1, 1]
    assert set(runs[0]) == {"sampler", "started", "versions", "on_full", "keep", *vars(model.options)}
    assert abs(runs[0]["started"] - time.time()) < 100
    assert session.trace.model["fingerprint"] == model.card["fingerprint"]


# --- the end ----------------------------------------------------------------------------------------------


def test_a_closed_session_says_so_and_keeps_its_trace(model: Model) -> None:
    with model.session(PROMPT, dice(), logits_processor=slowly) as session:
        session.start(1_000)
        until(lambda: session.trace.length > len(session.prompt_ids))
    assert session.state == "closed"
    n = session.trace.length
    for call in (session.step, session.generate, session.start, session.resume, lambda: session.goto(0)):
        with pytest.raises(InfernoError, match="the session is closed; its trace can still be read"):
            call()
    with pytest.raises(InfernoError, match="closed"):
        session.fork(1, "x")
    with pytest.raises(InfernoError, match="closed"):
        list(session.stream())
    session.stop()
    session.pause()
    session.close()
    assert session.wait()
    assert (session.state, session.trace.length) == ("closed", n)
    assert session.text.startswith(PROMPT)


def test_closing_gives_the_cache_back(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = []
    monkeypatch.setattr(model.engine, "drop", dropped.append)
    session = model.session(PROMPT, dice())
    session.generate(3)
    session.fork(5, "x")
    session.step()
    session.close()
    assert len(dropped) == len(set(dropped)) == 2


def test_a_session_of_a_closed_model_says_so(tiny: Path) -> None:
    with loaded(tiny) as model:
        session = model.session(PROMPT, dice())
        session.generate(3)
    with pytest.raises(InfernoError, match="the model is closed"):
        session.step()
    session.close()
    assert session.trace.length == len(session.prompt_ids) + 3


def test_no_thread_is_left_when_a_run_has_ended(model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.generate(3)
    until(lambda: not [t for t in threading.enumerate() if t.name == "inferno-session"])


def test_a_session_is_named_after_its_prompt_until_it_is_renamed(model: Model) -> None:
    before = time.time()
    session = model.session("once upon\n  a time there was a king who had many words")
    assert session.name == "once upon a time there was a king who…"
    assert before <= session.started <= time.time()
    session.name = "the king"
    assert session.name == "the king"
    assert model.session([1]).name == "no prompt"


def test_repr_tells_where_it_is(model: Model) -> None:
    session = model.session(PROMPT, dice())
    assert repr(session) == "<Session 'tiny llama', 0 tokens, ready>"
    session.generate(3)
    assert repr(session) == f"<Session 'tiny llama', {len(session.prompt_ids) + 3} tokens, ready>"


def test_observers_hear_of_every_change_until_they_leave(model: Model) -> None:
    heard: list[tuple[str, int]] = []
    session = model.session(PROMPT, dice())
    leave = session.observe(lambda: heard.append((session.state, len(session.trace.nodes))))
    session.generate(4)
    states = [state for state, _ in heard]
    assert list(dict.fromkeys(states)) == ["prefill", "generating", "ready"]
    assert heard[-1] == ("ready", len(session.prompt_ids) + 4)
    leave()
    del heard[:]
    session.step()
    assert heard == []


# --- what goes wrong --------------------------------------------------------------------------------------

INTERRUPTED = """
import sys, time
from inferno_widget import Model, Sampler
with Model({path!r}, n_ctx=4096, n_threads=1) as model:
    def slowly(ids, logits):
        time.sleep(0.002)
        return logits
    session = model.session("once upon", Sampler(seed=1, logit_bias={{2: -1e6}}), logits_processor=slowly)
    print("running", flush=True)
    try:
        {statement}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    n = session.trace.length
    assert 3 < n < 2000, n
    assert (session.state, session.finish) == ("ready", "cancelled"), session.state
    assert session.wait()
    session.generate(5)
    assert session.trace.length == n + 5
    assert model.engine.pid is not None
print("done", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself Ctrl-C there")
@pytest.mark.parametrize(
    "statement",
    ["session.generate(4000)", "list(session.stream(4000))", "session.start(4000); session.wait()"],
    ids=["generate", "stream", "wait"],
)
def test_ctrl_c_keeps_what_was_made(statement: str, tiny: Path) -> None:
    code = INTERRUPTED.format(path=str(tiny), statement=statement)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "running\n"
        time.sleep(0.4)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the child as well
        said, complaint = process.communicate(timeout=60)
    assert said.split() == ["interrupted", "done"], complaint
    assert process.returncode == 0


@pytest.mark.parametrize("during", ["generating", "idle"])
def test_a_killed_engine_costs_nothing_but_time(during: str, own: Model) -> None:
    expected = reference(own, 40)
    session = own.session(PROMPT, dice(), logits_processor=slowly)
    n = len(session.prompt_ids)
    if during == "generating":
        session.start(40)
        until(lambda: session.trace.length > n + 10)
        kill(own)
        with pytest.raises(EngineDiedError, match=r"during generate.*What was recorded is kept"):
            session.wait()
        assert session.state == "error"
        assert isinstance(session.error, EngineDiedError)
    else:
        session.generate(15)
        kill(own)
        until(lambda: own.engine.pid is None)
    kept = session.trace.nodes.tobytes()
    assert own.rss == 0
    session.logits_processor = None
    session.generate(n + 40 - session.trace.length)
    assert session.trace.nodes.tobytes().startswith(kept)
    assert_same(list(session.trace), expected, nats=NATS)
    assert own.rss > 0


def test_a_run_can_be_stopped_while_the_engine_starts_anew(own: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    session = own.session(PROMPT, dice())
    session.generate(3)
    kill(own)
    until(lambda: own.engine.pid is None)

    def cancelled(**_: object) -> None:
        raise Cancelled("loading was cancelled")

    with monkeypatch.context() as patch:
        patch.setattr(own.engine, "start", cancelled)
        session.start(5)
        session.wait()
    assert (session.state, session.finish) == ("ready", "cancelled")
    session.generate(2)
    assert session.trace.length == len(session.prompt_ids) + 5


def test_the_demo_model_goes_on_after_a_death_with_the_same_dice() -> None:
    with Model(DEMO, n_threads=1) as model:
        sampler = Sampler(temperature=0.8, seed=11)
        with model.session("Once upon a time", sampler) as session:
            session.generate(24)
            expected = list(session.trace)
        session = model.session("Once upon a time", sampler)
        session.generate(12)
        kill(model)
        with contextlib.suppress(EngineDiedError):
            session.generate(1)
        session.generate(len(expected) - session.trace.length)
        # Within the noise of a cache that was rebuilt: the same dice, and the same tokens as long as no draw is close.
        for mine, other in zip(session.trace, expected, strict=True):
            assert np.isnan(mine.draw) == np.isnan(other.draw)
            np.testing.assert_equal(mine.draw, other.draw)
            if mine.token_id != other.token_id:
                break
            np.testing.assert_allclose(mine.logprob, other.logprob, atol=0.1, equal_nan=True)
        assert mine.position > len(session.prompt_ids) + 12


# --- what cannot be meant -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.session(None), TypeError, "^prompt must be text, token ids or a Trace, not None"),
        (lambda m: m.session(b"abc"), TypeError, "^prompt must be text, token ids or a Trace, not b'abc'"),
        (lambda m: m.session("a\ud800"), ValueError, r"^prompt holds half a character at position 1 \('\\ud800'\)"),
        (lambda m: m.session("a", {"temperature": 1}), TypeError, r"^sampler must be a Sampler, such as .*, not {"),
        (lambda m: m.session("a", k=3.5), TypeError, "^k must be a whole number, not 3.5"),
        (lambda m: m.session("a", k=True), TypeError, "^k must be a whole number, not True"),
        (lambda m: m.session(Trace(3)), InfernoError, "^the trace is empty: there is nothing to go on with"),
        (lambda m: m.session("a").generate(3, stop=3), TypeError, "^stop must be a string or several, not 3"),
        (lambda m: m.session("a").generate(3, stop=["a", b"b"]), TypeError, "^stop must be a string or several, not"),
        (lambda m: m.session("a").generate(3, stop="\ud800"), ValueError, "^stop holds half a character"),
        (lambda m: m.session("a").fork(1.0, "a"), TypeError, "^at must be a whole number, not 1.0"),
        (lambda m: m.session("a").goto(1.5), TypeError, "^node must be a whole number, not 1.5"),
        (lambda m: m.session("a").goto("x"), KeyError, "no branch is called 'x'; these are: none"),
        (lambda m: m.session("a").edit(3), TypeError, "^text must be text, not 3"),
        (lambda m: m.session("a").edit("a\ud800"), ValueError, "^text holds half a character"),
        (lambda m: m.session("a").name_branch(3), TypeError, "^name must be text, not 3"),
        (lambda m: m.session("a").lookahead(at=1.0), TypeError, "^at must be a whole number, not 1.0"),
        (lambda m: m.session("a").lookahead(sampler=3), TypeError, "^sampler must be a Sampler, such as .*, not 3"),
        (lambda m: m.session("a").resample(stop=3), TypeError, "^stop must be a string or several, not 3"),
        (lambda m: m.next(3), TypeError, "^text must be text, token ids, or a list of texts, not 3"),
        (lambda m: m.next(b"a"), TypeError, "^text must be text, token ids, or a list of texts, not b'a'"),
        (lambda m: m.score(["a", 3]), TypeError, "^text must be text or token ids, not 3"),
        (lambda m: m.score("a", 3), TypeError, "^given must be text or token ids, not 3"),
        (lambda m: m.score([1, 512]), ValueError, "^text: 512 is not a token id of this model"),
        (lambda m: m.perplexity("\ud800"), ValueError, "^text holds half a character"),
        (lambda m: m.session("a").commitment("b"), TypeError, "^start must be a whole number, not 'b'"),
        (lambda m: m.tokenize(3), TypeError, "^text must be text, not 3"),
        (lambda m: m.find_tokens(3), TypeError, "^query must be text, not 3"),
        (lambda m: m.find_tokens("a", 0), ValueError, "^limit must be a whole number of at least 1, not 0"),
    ],
)
def test_what_cannot_be_meant_is_named(call: object, error: type[Exception], message: str, model: Model) -> None:
    with pytest.raises(error, match=message):
        call(model)
