"""Many continuations from one point: each is a run of its own, and their answers are counted right."""

from __future__ import annotations

import gc
import math
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import psutil
import pytest

from inferno_widget import Model, Sampler, Session
from inferno_widget.engine import search
from inferno_widget.resample import Commitment, answering, seed_of
from tests.engine.tools import DEMO, NATS, assert_same, dice, snapshot, until


@pytest.fixture(scope="module")
def demo() -> Iterator[Model]:
    with Model(DEMO, n_ctx=1024) as model:
        yield model


@pytest.mark.parametrize("at", [None, 12])
def test_each_continuation_is_a_run_with_its_own_dice(session: Session, model: Model, at: int | None) -> None:
    before = snapshot(session)
    made = session.resample(at, n=40, max_tokens=6)
    assert snapshot(session) == before
    place = session.trace.length if at is None else at
    assert (made.at, len(made), len({seed_of(7, i) for i in range(40)})) == (place, 40, 40)
    ids = session.trace.column("token_id")[:place].tolist()
    for i in (0, 1, 31, 32, 39):
        assert made[i].sampler == replace(dice(), seed=seed_of(7, i))
        with model.session(ids, made[i].sampler, k=1) as fresh:
            fresh.generate(6)
            assert_same(list(fresh.trace)[place:], made[i].records, nats=NATS)


def test_the_same_call_gives_the_same_and_another_seed_another(session: Session) -> None:
    first, again = session.resample(n=5, max_tokens=4), session.resample(n=5, max_tokens=4)
    assert [way.text for way in first] == [way.text for way in again]
    other = session.resample(n=5, max_tokens=4, sampler=dice(8))
    assert [way.text for way in first] != [way.text for way in other]


def test_first_tokens_come_as_often_as_the_model_says(session: Session, model: Model) -> None:
    sampler = Sampler(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=3)
    made = session.resample(12, n=600, max_tokens=1, by=lambda text: text, sampler=sampler)
    chances = Counter[int]()
    for alternative in session.trace.alternatives(12)[:8]:
        chances[alternative.token_id] = alternative.probability
    came = Counter(way.records[0].token_id for way in made)
    for token, p in chances.items():
        assert abs(came[token] / 600 - p) < 4 * math.sqrt(p * (1 - p) / 600)


def test_answers_are_counted(session: Session) -> None:
    made = session.resample(n=30, max_tokens=3, by=lambda text: len(text) % 3)
    assert sum(made.counts.values()) == 30
    assert list(made.counts.values()) == sorted(made.counts.values(), reverse=True)
    assert sum(made.shares.values()) == pytest.approx(1)
    assert made.entropy == pytest.approx(-sum(p * math.log(p) for p in made.shares.values()))
    for answer, n in made.counts.items():
        assert len(made.where(answer)) == n
        assert {len(way.text) % 3 for way in made.where(answer)} == {answer}
    said = repr(made).splitlines()
    assert said[0].startswith(f"<Resample at {made.at}: 30 continuations, {len(made.counts)} answers, entropy")
    assert len(said) == 1 + len(made.counts)


@pytest.mark.parametrize(
    ("by", "text", "answer"),
    [
        (None, ' "Don\u2019t-go, he said', "Don\u2019t-go"),
        (None, " ... ", None),
        (r"\d+", "in 1984 or 1985", "1984"),
        (r"is (\w+)", "it is blue", "blue"),
        (re.compile("BLUE", re.IGNORECASE), "it is blue", "blue"),
        (str.isdigit, "12", True),
    ],
)
def test_what_an_answer_is(by: object, text: str, answer: object) -> None:
    assert answering(by)(text) == answer


@pytest.mark.parametrize("by", [5, b"a", re.compile(b"a")])
def test_what_can_give_no_answer_is_refused(by: object) -> None:
    with pytest.raises(TypeError, match="by must be a regular expression, a function of a text, or None, not "):
        answering(by)


def test_a_resample_can_be_ended_early(session: Session) -> None:
    told = []

    def enough(index: int, _: object) -> bool:
        told.append(index)
        return len(told) < 100

    made = session.resample(n=70, max_tokens=400, each=enough)
    assert 0 < len(made) < 70
    assert max(told) < 32
    assert {way.finish for way in made} == {"cancelled"}
    full = []
    session.resample(n=70, max_tokens=1, each=lambda index, _: full.append(index))
    assert sorted(full) == list(range(70))


def test_an_answer_that_cannot_be_counted_is_refused_before_anything_is_made(session: Session) -> None:
    made = []
    for ask in (session.resample, session.commitment):
        with pytest.raises(TypeError, match=r"^by must return what can be counted, .* not \["):
            ask(by=lambda text: text.split(), each=lambda *_: made.append(1))
    assert not made


def test_a_search_that_is_interrupted_says_nothing_of_the_next_text() -> None:
    slow = answering("(a+)+b")
    assert slow("ab") == "a"
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        slow("a" * 60)
    assert slow("xaab") == "aa"


def test_an_expression_that_takes_for_ever_holds_nobody_up(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SECONDS", 0.5)
    slow, turns = answering("(a+)+b"), []
    other = threading.Thread(target=lambda: [turns.append(time.sleep(0.01)) for _ in range(20)])
    other.start()
    with pytest.raises(ValueError, match=r"^by took longer than 0.5 s in a text of 60 characters, .*'\(a\+\)\+b'"):
        slow("a" * 60)
    assert turns, "the other threads went on"
    other.join()
    children = psutil.Process().children()
    assert answering("(a+)b")("xaab") == "aa"
    gc.collect()
    until(lambda: len(psutil.Process().children()) <= len(children))
    with model.session("a" * 40, dice()) as session:
        session.generate(3)
        with pytest.raises(ValueError, match="by took longer"):
            session.commitment(start=2, n=2, by="(a+)+\x00")


def test_a_huge_number_is_begun_at_once(session: Session) -> None:
    made = session.resample(n=2**31 - 1, max_tokens=1, each=lambda index, _: index < 40)
    assert 40 <= len(made) < 100


def test_arguments_are_checked(session: Session) -> None:
    with pytest.raises(ValueError, match="by is no regular expression"):
        session.resample(by="(")
    with pytest.raises(ValueError, match="by has 3,000,000 characters, and 10,000 are the most"):
        session.resample(by="a" * 3_000_000)
    with pytest.raises(ValueError, match="n must be a whole number"):
        session.resample(n=0)
    with pytest.raises(IndexError, match="at must be"):
        session.resample(at=0)
    with pytest.raises(TypeError, match="did you mean 'max_tokens'"):
        session.resample(max_token=4)
    with pytest.raises(IndexError, match="start must be"):
        session.commitment(start=session.trace.length)


# --- the commitment curve ---------------------------------------------------------------------------------


def test_each_point_of_the_curve_is_a_resample(session: Session) -> None:
    before = snapshot(session)
    curve = session.commitment(start=12, n=10, max_tokens=8, by=r"\w+")
    assert snapshot(session) == before
    assert curve.positions.tolist() == list(range(12, 20))
    assert (curve.n, curve.shares.shape) == (10, (8, len(curve.answers)))
    np.testing.assert_allclose(curve.shares.sum(axis=1), 1)
    path, trace = session.trace.path(), session.trace
    pieces = [trace.pieces[int(token)] for token in trace.column("token_id")]
    for row, at in zip(curve.counts, curve.positions.tolist(), strict=True):
        begun = b"".join(pieces[12:at]).decode(errors="backslashreplace")
        made = session.resample(at, n=10, max_tokens=20 - at)
        found = Counter((m := re.search(r"\w+", begun + way.text)) and m[0] for way in made)
        assert {a: n for a, n in zip(curve.answers, row.tolist(), strict=True) if n} == found
    assert len(path) == trace.length


def test_an_answer_that_is_there_already_is_decided(demo: Model) -> None:
    with demo.session("Once upon a time there was a", Sampler(seed=3)) as session:
        text = session.generate(12)
        word = re.search(r"\w+", text)[0]
        curve = session.commitment(n=8)
        assert curve.answer == word
        assert curve.positions[0] == len(session.prompt_ids)
        decided = curve.decided()
        assert decided is not None
        own = curve.shares[:, curve.answers.index(word)]
        assert (own[curve.positions >= decided] >= 0.9).all()
        assert decided == curve.positions[0] or own[curve.positions == decided - 1] < 0.9
        assert own[-1] == 1
        assert repr(curve).startswith(f"<Commitment: 12 positions, 8 continuations each, {len(curve.answers)} answers")
        assert len(session.commitment(n=2, every=5, max_tokens=11).positions) == 3


def curve_of(rows: list[list[int]], answer: object = "a") -> Commitment:
    answers = tuple("abcdefghijklmnop"[: len(rows[0])])
    n = len(rows)
    return Commitment(np.arange(5, 5 + n, dtype=np.int32), (b" x",) * n, answers, np.array(rows, np.int32), answer)


@pytest.mark.parametrize(
    ("rows", "answer", "decided"),
    [
        ([[5, 5], [9, 1], [10, 0]], "a", 6),
        ([[10, 0], [9, 1], [10, 0]], "a", 5),
        ([[10, 0], [5, 5], [10, 0]], "a", 7),
        ([[10, 0], [10, 0], [5, 5]], "a", None),
        ([[5, 5]], "z", None),
    ],
)
def test_decided_is_the_first_position_from_which_it_stays(
    rows: list[list[int]], answer: str, decided: int | None
) -> None:
    assert curve_of(rows, answer).decided() == decided


def test_the_figure_stacks_the_answers_and_marks_the_decision() -> None:
    curve = curve_of([[5, 5, *[0] * 10], [9, 1, *[0] * 10], [10, 0, *[0] * 10]])
    figure = curve.plot(most=4, theme="dark")
    assert [area.name for area in figure.data] == ["a", "b", "c", "all others"]
    np.testing.assert_allclose(sum(np.array(area.y) for area in figure.data), 100)
    assert figure.layout.shapes[0].x0 == 6
    assert figure.layout.xaxis.ticktext == ("·x<br>5", "·x<br>6", "·x<br>7")
    assert curve_of([[5, 5]] * 17).plot().layout.xaxis.ticktext is None, "there is no room for more"
    lowest = curve_of([[5, 5], [1, 9]], "b").plot()
    assert lowest.data[0].name == "b"
    assert not lowest.layout.shapes or lowest.layout.shapes[0].x0 == 6
    with pytest.raises(ValueError, match="most must be"):
        curve.plot(most=0)


def test_a_commitment_can_be_followed_and_ended(session: Session) -> None:
    """What is told grows by a position at a time, and is what comes of it when that is enough."""
    curves: list[Commitment] = []

    def each(curve: Commitment) -> bool:
        curves.append(curve)
        return len(curve.positions) < 3

    whole = session.commitment(start=12, n=4, max_tokens=6)
    ended = session.commitment(start=12, n=4, max_tokens=6, each=each)
    assert sorted({len(curve.positions) for curve in curves}) == [0, 1, 2, 3]
    assert ended is curves[-1]
    assert ended.positions.tolist() == whole.positions[:3].tolist()
    assert [dict(zip(ended.answers, row, strict=True)) for row in ended.counts.tolist()] == [
        {answer: n for answer, n in zip(whole.answers, row, strict=True) if answer in ended.answers}
        for row in whole.counts[:3].tolist()
    ]
    nothing = session.commitment(start=12, n=4, each=lambda _: False)
    assert (len(nothing.positions), nothing.counts.shape, nothing.decided()) == (0, (0, 0), None)
