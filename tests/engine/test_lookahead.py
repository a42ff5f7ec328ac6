"""Looking ahead: what is shown is what a fork would give, and the session does not notice."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest

from inferno_widget import ContextFullError, InfernoError, Kind, Model, Sampler, Session
from inferno_widget.engine.stop import Stop
from inferno_widget.lookahead import Lookahead
from inferno_widget.sampling import softmax
from tests.engine.tools import NATS, PROMPT, assert_same, dice, loaded, snapshot, tokens


@pytest.mark.parametrize("at", [None, 12])
def test_each_way_is_what_a_fork_would_give(session: Session, model: Model, at: int | None) -> None:
    ahead = session.lookahead(k=4, depth=8, at=at)
    place = session.trace.length if at is None else at
    row = model.engine.logits(session._branches.at_head(session.room(), cancel=Stop(), progress=print), place)
    assert (ahead.at, ahead.depth, len(ahead)) == (place, 8, 4)
    head, chances = session.trace.head, softmax(row)
    assert [way.token_ids[0] for way in ahead] == np.argsort(-row, kind="stable")[:4].tolist()
    for i, way in enumerate(ahead):
        assert way.probability == pytest.approx(chances[way.token_ids[0]], abs=NATS)
        session.goto(head)
        session.sampler = Sampler(temperature=0)
        session.fork(place, way.token_ids[0]).generate(8)
        fresh = [session.trace.record(int(node)) for node in session.trace.path()[place:]]
        assert_same(fresh, way.records, nats=NATS)
        assert (fresh[0].rank, way.records[0].rank) == (i + 1, i + 1)
        assert way.finish == "length"
        assert way.logprob == pytest.approx(sum(record.logprob for record in fresh), abs=9 * NATS)
        assert way.text == b"".join(model.engine.pieces(way.token_ids)).decode(errors="backslashreplace")


@pytest.mark.parametrize("mode", [0, 2])
def test_with_the_sessions_own_sampler_it_shows_what_would_come(model: Model, mode: int) -> None:
    session = model.session(PROMPT, dice(mirostat_mode=mode, mirostat_tau=2.0))
    session.generate(20)
    ahead = session.lookahead(k=3, depth=8, at=12, sampler=session.sampler)
    unseeded = session.lookahead(k=3, depth=8, at=12, sampler=dice(None, mirostat_mode=mode, mirostat_tau=2.0))
    for way, same in zip(ahead, unseeded, strict=True):
        assert_same(way.records, same.records, nats=NATS)
        session.goto(way.place.node)
        session.fork(12, way.token_ids[0]).generate(8)
        assert_same([session.trace.record(int(node)) for node in session.trace.path()[12:]], way.records, nats=NATS)


def test_nothing_of_it_is_left_behind(session: Session, model: Model) -> None:
    expected, held = snapshot(session), model.engine.holdings()
    told = []
    session.observe(lambda: told.append(1))
    session.lookahead(k=8, depth=12)
    session.lookahead(k=8, depth=12, at=9)
    assert snapshot(session) == expected
    assert len(model.engine.holdings().branches) <= len(held.branches) + 1
    assert not told
    after = session.generate(5)
    with model.session(PROMPT, dice()) as other:
        assert other.generate(25).endswith(after)


def test_more_alternatives_than_the_trace_stores(model: Model) -> None:
    with model.session(PROMPT, dice(), k=2) as session:
        session.generate(5)
        few, many = session.lookahead(k=2, depth=1, at=10), session.lookahead(k=30, depth=1, at=10)
        assert [way.token_ids[0] for way in many[:2]] == [way.token_ids[0] for way in few]
        assert [way.records[0].rank for way in many] == list(range(1, 31))
        assert all(a.probability >= b.probability for a, b in itertools.pairwise(many))
        assert len(many[20].records[0].top_ids) == 2


def test_a_prompt_that_is_not_scored_yet_is_scored(model: Model) -> None:
    with model.session(PROMPT, dice()) as session:
        ahead = session.lookahead(k=2, depth=3)
        assert session.trace.length == len(session.prompt_ids) == ahead.at


def test_a_pause_stays_a_pause_and_a_run_is_in_the_way(model: Model) -> None:
    begun = threading.Event()

    def slowly(_: object, logits: np.ndarray) -> np.ndarray:
        begun.set()
        threading.Event().wait(0.005)
        return logits

    with model.session(PROMPT, dice(), logits_processor=slowly) as session:
        session.start(100)
        begun.wait(10)
        with pytest.raises(InfernoError, match="already running"):
            session.lookahead()
        session.pause()
        session.lookahead(k=2, depth=2)
        assert session.state == "paused"
        assert session.resumable
        session.resume()
        session.stop()


def test_tokens_are_told_as_they_come_and_false_ends_it(session: Session) -> None:
    told: list[tuple[int, int]] = []
    ahead = session.lookahead(k=3, depth=5, each=lambda i, record: told.append((i, record.token_id)))
    for i, way in enumerate(ahead):
        assert [token for owner, token in told if owner == i] == way.token_ids
    short = session.lookahead(k=3, depth=400, each=lambda _, record: record.position < ahead.at + 4)
    assert {way.finish for way in short} == {"cancelled"}
    assert all(1 <= len(way.records) < 300 for way in short)


def test_a_way_is_taken_as_it_was_shown(session: Session, model: Model) -> None:
    head, n = session.trace.head, len(session.trace.nodes)
    way = session.lookahead(k=4, depth=6, at=12)[3]
    state = model.engine.holdings()
    session.take(way)
    path = session.trace.path()
    assert session.trace.length == 12 + 7
    assert_same([session.trace.record(int(node)) for node in path[12:]], way.records, nats=1e-9)
    assert [session.trace.record(int(node)).kind for node in path[12:]] == [Kind.FORCED] + [Kind.GENERATED] * 6
    assert session.trace.runs[-1]["sampler"]["temperature"] == 0
    assert len(session.trace.nodes) == n + 7
    assert model.engine.holdings() == state, "nothing was computed"
    after = session.step()
    with model.session(session.trace.column("token_id")[:-1].tolist(), dice()) as fresh:
        assert_same([after], [fresh.step()], nats=NATS)
    session.goto(head)
    session.take(way, 3)
    assert len(session.trace.nodes) == n + 8, "these tokens are in the tree already"
    assert session.trace.length == 12 + 3


def test_a_way_over_the_path_itself_is_not_recorded_again(session: Session) -> None:
    n = len(session.trace.nodes)
    ahead = session.lookahead(k=20, depth=2, at=12)
    mine = int(session.trace.column("token_id")[12])
    found = [way for way in ahead if way.token_ids[0] == mine]
    for way in found:
        session.take(way, 1)
        assert len(session.trace.nodes) == n
    assert found, "the path's token should be among the twenty most likely"


def test_what_is_no_way_of_this_session_is_refused(session: Session, model: Model) -> None:
    """Its records would be taken for predictions behind a text that they do not know."""
    way = model.session(session.trace.text[:20], Sampler(seed=1)).lookahead(k=1, depth=2)[0]
    before = snapshot(session)
    with pytest.raises(ValueError, match="shown by another session"):
        session.take(way)
    with pytest.raises(TypeError, match=r"way must be a continuation, such as lookahead\(\)\[0\], not 3"):
        session.take(3)  # type: ignore[arg-type]
    assert snapshot(session) == before


def test_the_repr_is_a_table(session: Session) -> None:
    said = repr(session.lookahead(k=2, depth=3)).splitlines()
    assert said[0] == f"<Lookahead at {session.trace.length}: 2 alternatives, 3 tokens after each>"
    assert len(said) == 3
    assert said[1].endswith(" nats")
    assert " % " in said[1]


def test_arguments_are_checked(session: Session, model: Model) -> None:
    with pytest.raises(IndexError, match="at must be between 1 and"):
        session.lookahead(at=0)
    with pytest.raises(IndexError, match="at must be between 1 and"):
        session.lookahead(at=session.trace.length + 1)
    for wrong in (0, True, "3"):
        with pytest.raises(ValueError, match="k must be a whole number"):
            session.lookahead(k=wrong)
        with pytest.raises(ValueError, match="depth must be a whole number"):
            session.lookahead(depth=wrong)
    with pytest.raises(TypeError, match="did you mean 'depth'"):
        session.lookahead(dept=3)
    assert len(session.lookahead(k=10_000, depth=1)) == model.info.n_vocab


def test_where_the_context_ends(tiny: Path) -> None:
    with loaded(tiny, n_ctx=256) as model, model.session(PROMPT, dice()) as session:
        session.generate(1000)
        assert session.finish == "context"
        with pytest.raises(ContextFullError):
            session.lookahead()
        ahead = session.lookahead(k=6, depth=40, at=200)  # 6 x 40 cells behind 200, where 56 are left
        assert [len(way.records) for way in ahead] == [41] * 6
        near = session.lookahead(k=3, depth=40, at=250)
        assert {way.finish for way in near} == {"context"}
        assert [len(way.records) for way in near] == [6] * 3
        way = ahead[2]
        session.sampler = Sampler(temperature=0)
        session.fork(200, way.token_ids[0]).generate(40)
        assert tokens([session.trace.record(int(n)) for n in session.trace.path()[200:]]) == way.token_ids


def test_after_a_slide_it_sees_what_the_model_saw(tiny: Path) -> None:
    with loaded(tiny, n_ctx=256) as model, model.session(PROMPT, dice(), on_full="slide", keep=4) as session:
        session.generate(400)
        ahead = session.lookahead(k=3, depth=6, at=350, sampler=session.sampler)
        assert ahead[0].records[1].left_out > 0
        head = session.trace.head
        for way in ahead:
            session.goto(head)
            session.fork(350, way.token_ids[0]).generate(6)
            fresh = [session.trace.record(int(node)) for node in session.trace.path()[350:]]
            assert_same(fresh, way.records, nats=NATS)
        session.goto(head)
        session.take(ahead[1])
        assert session.trace.window().keep == 4
        assert session.trace.window().left_out == ahead[1].records[0].left_out


def test_a_process_that_died_is_replaced(tiny: Path) -> None:
    with loaded(tiny) as model, model.session(PROMPT, dice()) as session:
        session.generate(10)
        before = session.lookahead(k=3, depth=4, at=12)
        model.engine._child.process.kill()
        model.engine._child.exited.wait(10)
        after = session.lookahead(k=3, depth=4, at=12)
        assert isinstance(after, Lookahead)
        for old, new in zip(before, after, strict=True):
            assert_same(old.records, new.records, nats=NATS)
