"""The same dice under other settings, played: as a real run would have gone, from the first token that differs."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferno_widget import InfernoError, Kind, Model, Sampler, Session, Trace, rows
from inferno_widget.dice import World, mu_of
from inferno_widget.engine.client import EngineClient
from inferno_widget.sampling import draw
from tests.engine.tools import DEMO, NATS, PROMPT, assert_same, assert_seen, dice, kill, loaded, opened, until

N = 40
DECODING = ("prefill", "prefill_many", "generate", "generate_many", "logits", "rows", "append")


@pytest.fixture
def story(model: Model) -> Iterator[Session]:
    with model.session(PROMPT, dice(top_k=0, top_p=1, min_p=0)) as session:
        session.generate(N)
        yield session


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that make the engine decode, as they come."""
    calls: list[str] = []
    for name in DECODING:
        original = getattr(EngineClient, name)

        def spy(self: EngineClient, *given: Any, name: str = name, original: Any = original, **options: Any) -> Any:
            calls.append(name)
            return original(self, *given, **options)

        monkeypatch.setattr(EngineClient, name, spy)
    return calls


def ids(session: Session) -> list[int]:
    return session.trace.column("token_id").tolist()


SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.7},
    {"top_k": 30, "top_p": 0.8, "repeat_penalty": 1.3},
    {"frequency_penalty": 0.4, "presence_penalty": 0.2},
    {"dry_multiplier": 1.5, "dry_sequence_breakers": ()},
    {"xtc_probability": 0.5, "xtc_threshold": 0.01},
    {"top_n_sigma": 1.5},
    {"typical_p": 0.6},
    {"mirostat_mode": 1, "mirostat_tau": 3.0},
    {"mirostat_mode": 2, "mirostat_tau": 3.0, "mirostat_eta": 0.3},
    {"temperature": 0.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_unchanged_settings_give_the_same_tokens_and_decode_nothing(
    settings: dict[str, Any], model: Model, decoded: list[str]
) -> None:
    with model.session(PROMPT, dice(**settings)) as session:
        session.generate(N)
        trace, state = session.trace.nodes.tobytes(), (session.trace.head, len(session.trace.runs))
        decoded.clear()
        assert session.replay() is session
        assert session.replay(dice(**settings)) is session
        assert decoded == []
        assert (session.replayed, session.trace.diverged) == (None, [])
        assert (session.trace.nodes.tobytes(), (session.trace.head, len(session.trace.runs))) == (trace, state)
        assert (session.state, session.finish) == ("ready", "length")


@pytest.mark.parametrize("was", [{}, {"mirostat_mode": 2, "mirostat_tau": 4.0}, {"xtc_probability": 0.3}], ids=str)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_goes_as_a_real_run_would_have_gone(was: dict[str, Any], settings: dict[str, Any], model: Model) -> None:
    with (
        model.session(PROMPT, dice(top_k=0, top_p=1, min_p=0, **was)) as session,
        model.session(PROMPT, dice(**settings)) as real,
    ):
        session.generate(N)
        real.generate(N)
        old = session.trace.nodes.copy()
        path = session.trace.path()
        session.replay(replace(dice(**settings), seed=None))
        assert ids(session) == ids(real)
        differs = np.flatnonzero(session.trace.path() != path)
        assert session.replayed == (int(differs[0]) if len(differs) else None)
        assert session.trace.nodes[: len(old)].tobytes() == old.tobytes(), "the shared path is as it was"
        if len(differs):
            assert session.trace.diverged == [len(old)] == [session.trace.path()[session.replayed]]
            fresh, theirs = ([*s.trace][session.replayed :] for s in (session, real))
            assert_same(fresh, theirs, nats=NATS)
            assert session.trace.runs[-1]["sampler"]["seed"] == 7
            assert session.trace.runs[-1]["replay"]["of"] == path[-1]


def test_settings_that_change_nothing_leave_the_session_where_it_is(model: Model, decoded: list[str]) -> None:
    """Other settings, the same tokens: the stored candidates prove it."""
    with model.session(PROMPT, dice(top_k=15)) as session:
        session.generate(N)
        home = session.trace.head
        decoded.clear()
        session.replay(dice(top_k=15, penalty_last_n=5))
        assert (session.replayed, session.trace.head, decoded) == (None, home, [])


def test_nothing_is_decoded_before_a_token_differs(story: Session, decoded: list[str]) -> None:
    decoded.clear()
    story.replay(Sampler(temperature=0.0), max_tokens=1)
    assert story.replayed is not None
    assert decoded == ["generate"], "the cache of the path is still there: one token is made"
    assert story.trace.length == story.replayed + 1


def test_played_twice_it_goes_down_the_same_nodes(story: Session) -> None:
    home = story.trace.head
    story.replay(Sampler(temperature=0.6))
    nodes, path, at = len(story.trace.nodes), story.trace.path().tolist(), story.replayed
    story.goto(home)
    story.replay(Sampler(temperature=0.6))
    assert (len(story.trace.nodes), story.trace.path().tolist(), story.replayed) == (nodes, path, at)
    assert len(story.trace.diverged) == 1
    story.goto(home)
    story.replay(Sampler(temperature=0.6), max_tokens=N + 30)
    assert story.trace.length == at + N + 30, "and on from there"
    assert story.trace.path().tolist()[: len(path)] == path


@pytest.mark.parametrize("mode", [1, 2])
def test_a_run_that_was_played_goes_on_as_a_real_one(mode: int, model: Model) -> None:
    """Mirostat's state on the new branch is that of the new settings, though the records before are the old run's."""
    settings = {"mirostat_mode": mode, "mirostat_tau": 3.0, "mirostat_eta": 0.4, "seed": 4}
    cooler = dice(temperature=0.95, **settings)
    with model.session(PROMPT, dice(**settings)) as session, model.session(PROMPT, cooler) as real:
        session.generate(N)
        real.generate(N + 15)
        session.replay(cooler)
        assert session.replayed > len(real.prompt_ids) + 5, "late enough for the two states to be apart"
        session.sampler = cooler
        session.generate(15)
        assert ids(session) == ids(real)
        fresh = session.trace.column("sampled_prob")[session.replayed :]
        np.testing.assert_allclose(fresh, real.trace.column("sampled_prob")[session.replayed :], atol=NATS)
        again = Trace.load(_saved(session))
        assert mu_of(again, cooler) == pytest.approx(mu_of(real.trace, cooler), abs=0.02)
        session.replay(cooler)
        assert session.replayed is None, "what was played is a run like any other"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _saved(session: Session) -> Path:
    session.trace.save("run.inferno")
    return Path("run.inferno")


def test_only_what_is_behind_a_position_may_differ(story: Session) -> None:
    home, begun = story.trace.path().tolist(), len(story.prompt_ids)
    for from_ in (0, begun, begun + 7, story.trace.length - 1):
        story.goto(home[-1])
        story.replay(Sampler(temperature=0.0), from_)
        assert story.replayed is None or story.replayed >= from_
        at = len(home) if story.replayed is None else story.replayed
        assert story.trace.path().tolist()[:at] == home[:at]
        greedy = [r for r in list(story.trace)[max(from_, begun) :] if r.kind is Kind.GENERATED]
        assert all(r.token_id == r.top_ids[r.top_ids != 2][0] for r in greedy)


def test_forced_tokens_on_the_way_stay_and_those_behind_are_generated(story: Session) -> None:
    begun = len(story.prompt_ids)
    story.fork(begun + 5, " dragon").generate(20)
    path = story.trace.path().tolist()
    later = int(ids(story)[begun + 11])
    story.replay(dice(top_k=0, top_p=1, min_p=0, logit_bias={2: -math.inf, later: -math.inf}), begun + 5)
    assert begun + 5 < story.replayed <= begun + 11
    assert story.trace.path().tolist()[: story.replayed] == path[: story.replayed], "the dragon is still there"
    story.goto(path[-1])
    earlier = int(ids(story)[begun + 2])
    story.replay(dice(top_k=0, top_p=1, min_p=0, logit_bias={2: -math.inf, earlier: -math.inf}))
    assert story.replayed <= begun + 2
    assert (story.trace.column("kind")[begun:] == Kind.GENERATED).all()


def test_every_run_keeps_its_own_dice(story: Session) -> None:
    """A path of several runs: the token at a position has the dice of the run that was there."""
    begun = len(story.prompt_ids)
    story.goto(int(story.trace.path()[begun + 9]))
    for seed in (11, 12):
        story.sampler = dice(seed)
        story.generate(10)
    story.replay(Sampler(temperature=0.9, logit_bias={2: -math.inf}, top_k=0, top_p=1, min_p=0.0), begun)
    seeds = [7] * 10 + [11] * 10 + [12] * 10
    column = story.trace.column("draw")
    assert [draw(seed, begun + i) for i, seed in enumerate(seeds)] == column[begun:].tolist()
    runs = [story.trace.runs[run] for run in dict.fromkeys(story.trace.column("run")[story.replayed :].tolist())]
    assert [run["sampler"]["seed"] for run in runs] == list(dict.fromkeys(seeds[story.replayed - begun :]))
    assert all(run["replay"]["at"] == story.replayed for run in runs)


def test_another_seed_is_other_dice(story: Session, model: Model) -> None:
    sampler = dice(99, top_k=0, top_p=1, min_p=0)
    story.replay(sampler)
    with model.session(PROMPT, sampler) as real:
        real.generate(N)
        assert ids(story) == ids(real)
    assert story.trace.runs[-1]["sampler"]["seed"] == 99
    assert story.sampler.seed == 7, "the session's own sampler stays"


def test_without_a_sampler_the_sessions_settings_throw_the_recorded_dice(story: Session) -> None:
    story.sampler = Sampler(temperature=0.0, seed=99)
    story.replay()
    assert story.replayed is not None
    assert story.trace.runs[-1]["sampler"]["seed"] == 7


def test_it_goes_on_for_as_long_as_it_is_told_to(story: Session) -> None:
    home, length = story.trace.head, story.trace.length
    for most, expected in ((None, length), (1, None), (5, None), (60, None)):
        story.goto(home)
        story.replay(Sampler(temperature=0.0, logit_bias={2: -math.inf}), max_tokens=most)
        assert story.trace.length == (expected or story.replayed + most)
        assert story.finish == "length"


def test_after_slides_it_sees_what_the_model_saw(tiny: Path) -> None:
    judge = opened(tiny)
    settings = {"top_k": 0, "top_p": 1, "min_p": 0}
    with loaded(tiny, 256) as model, loaded(tiny, 256) as other:
        session = model.session(PROMPT, dice(**settings), on_full="slide", keep=4)
        session.generate(420)
        path, rare = session.trace.path(), int(ids(session)[400])
        changed = dice(**settings, logit_bias={2: -math.inf, rare: -math.inf})
        session.replay(changed, 300)
        assert 300 <= session.replayed <= 400
        assert session.trace.window(int(session.trace.path()[session.replayed])).left_out
        assert_seen(session.trace, judge)
        session.goto(int(path[-1]))
        session.replay(Sampler(temperature=0.5))
        real = other.session(PROMPT, Sampler(temperature=0.5, seed=7), on_full="slide", keep=4)
        real.generate(420)
        assert ids(session) == ids(real)
        assert session.trace.window() == real.trace.window()
        assert_seen(session.trace, judge)
    judge.close()


def test_the_model_has_the_last_word_where_a_draw_falls_on_an_edge(
    story: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a row says and what the model, asked again, chooses may differ by rounding: then the path is gone along."""
    path, begun, see = story.trace.path().tolist(), len(story.prompt_ids), World.see

    def wrong(self: World, step: Any) -> None:
        see(self, step)
        if step.record.position == begun + 4:
            self.at = begun + 4

    monkeypatch.setattr(World, "see", wrong)
    nodes = len(story.trace.nodes)
    story.replay()
    assert (story.replayed, story.trace.path().tolist(), len(story.trace.nodes)) == (None, path, nodes)
    story.replay(Sampler(temperature=0.0, logit_bias={2: -math.inf}), begun + 4)
    assert story.trace.diverged == [nodes]


# --- stopping ---------------------------------------------------------------------------------------------


def test_it_can_be_stopped_before_anything_differs(story: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    path, began, fetched = story.trace.path().tolist(), threading.Event(), rows.rows_of

    def slowly(*given: Any, **options: Any) -> Iterator[Any]:
        for row in fetched(*given, **options):
            time.sleep(0.02)
            yield row

    monkeypatch.setattr(rows, "rows_of", slowly)
    story.observe(lambda: began.set() if story.progress else None)
    story.start_replay(dice(top_n_sigma=90.0, top_k=0, top_p=1, min_p=0))  # nothing stored says what that does
    assert began.wait(20)
    assert story.state == "generating"
    with pytest.raises(InfernoError, match="already running"):
        story.replay()
    started = time.perf_counter()
    story.stop()
    story.wait()
    assert time.perf_counter() - started < 0.5
    assert (story.finish, story.replayed, story.trace.path().tolist()) == ("cancelled", None, path)
    assert story.progress is None


def test_it_can_be_paused_before_and_after_a_token_differs(story: Session, model: Model) -> None:
    sampler = Sampler(temperature=0.5, logit_bias={2: -math.inf})
    story.start_replay(sampler, max_tokens=500)
    seen = []
    while story.state != "ready":
        story.pause()
        story.wait()
        seen.append(story.trace.length)
        if story.state == "paused":
            story.resume()
            time.sleep(0.01)
    assert story.trace.length == story.replayed + 500
    assert len(set(seen)) > 2, "it was paused under way"
    with model.session(PROMPT, replace(sampler, seed=7)) as real:
        real.generate(len(ids(story)) - len(real.prompt_ids))
        assert ids(story) == ids(real)
    assert len(story.trace.diverged) == 1
    assert len({run["replay"]["at"] for run in story.trace.runs if "replay" in run}) == 1


def test_what_was_made_before_a_stop_is_kept(story: Session) -> None:
    at = story.trace.length
    story.start_replay(Sampler(temperature=0.5, logit_bias={2: -math.inf}), max_tokens=900)
    until(lambda: story.trace.length > at + 10)
    story.stop()
    assert story.wait()
    assert story.finish == "cancelled"
    assert story.trace.length > at + 10
    assert story.trace.path()[story.replayed] == story.trace.diverged[0]
    assert len(story.generate(5)) > 0


def test_an_engine_that_dies_is_replaced(tiny: Path) -> None:
    with loaded(tiny) as model, model.session(PROMPT, dice()) as session:
        session.generate(N)
        child = model.engine._child
        kill(model)
        assert child.exited.wait(10)
        session.replay(Sampler(temperature=0.0, logit_bias={2: -math.inf}))
        assert session.replayed is not None
        assert session.trace.length == len(session.prompt_ids) + N


# --- what cannot be ---------------------------------------------------------------------------------------


def test_there_must_be_something_to_play(model: Model) -> None:
    with model.session(PROMPT, dice()) as session:
        with pytest.raises(InfernoError, match="nothing to play again"):
            session.replay()
        session.score()
        with pytest.raises(InfernoError, match="no token behind position 0 of this path was generated"):
            session.replay()
        session.generate(3)
        last = session.trace.length - 1
        for wrong in (-1, last + 1, 10_000):
            with pytest.raises(IndexError, match=f"from_ must be between 0 and {last}, a position of the path"):
                session.replay(from_=wrong)
        session.fork(last + 1, " king")
        with pytest.raises(InfernoError, match=f"no token behind position {last + 1} of this path was generated"):
            session.replay(from_=last + 1)
        with pytest.raises(TypeError, match="from_ must be a whole number"):
            session.replay(from_="x")
        with pytest.raises(ValueError, match="max_tokens must be"):
            session.replay(max_tokens=0)
        with pytest.raises(TypeError, match="sampler must be a Sampler"):
            session.replay({"temperature": 1})
        with pytest.raises(TypeError, match="did you mean 'from_'"):
            session.replay(from_at=3)
        session.goto(-1)
        with pytest.raises(InfernoError, match="nothing to play again"):
            session.start_replay()
    with pytest.raises(InfernoError, match="closed"):
        session.replay()


def test_a_logits_processor_is_in_the_way(model: Model) -> None:
    """What it changes is not recorded; without it, a replay tells what it had changed."""

    def first(so_far: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(logits)) % 2 == 0, logits, -np.inf).astype(np.float32)

    with model.session(PROMPT, dice(), logits_processor=first) as session, model.session(PROMPT, dice()) as real:
        session.generate(N)
        assert session.trace.runs[-1]["logits_processor"] is True
        with pytest.raises(InfernoError, match=r"session.logits_processor = None to play without it"):
            session.replay()
        session.logits_processor = None
        session.replay()
        real.generate(N)
        assert ids(session) == ids(real)
        assert session.replayed is not None


# --- kept -------------------------------------------------------------------------------------------------


def test_where_it_diverged_is_kept(story: Session, model: Model) -> None:
    story.replay(Sampler(temperature=0.5))
    trace = Trace.load(_saved(story))
    assert trace.diverged == story.trace.diverged == trace.copy().diverged
    assert trace.runs[-1]["replay"] == story.trace.runs[-1]["replay"]
    with model.session(trace) as again:
        assert again.replay(Sampler(temperature=0.5)).replayed is None


def test_the_demo_model_is_played_again_too() -> None:
    """In Q8_0 with an f16 cache, where rows that are computed anew are a little different."""
    with Model(DEMO, n_ctx=512) as model, model.session("Once upon a time", Sampler(seed=5)) as session:
        session.generate(60)
        path = session.trace.path().tolist()
        session.replay()
        assert (session.replayed, session.trace.path().tolist()) == (None, path)
        session.replay(Sampler(temperature=1.4))
        assert session.replayed is not None
        assert session.trace.length == len(path)
