"""The same dice under other settings: what a trace alone says, against runs that were really made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from inferno_widget import Model, Sampler
from inferno_widget.dice import mu_of, what_if
from inferno_widget.errors import InfernoError
from inferno_widget.record import Kind
from inferno_widget.trace import Trace

PROMPT = "Once upon a time there was a king"
N = 60


def opened() -> Model:
    """A model of its own for each run: next to another session's cells the same logits come out a little different."""
    return Model(n_ctx=512, n_threads=1)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with opened() as model:
        yield model


Rows = dict[int, np.ndarray]


def run(sampler: Sampler, rows: Rows | None = None) -> Trace:
    """What the demo model makes of the prompt; `rows` gets the raw rows from which the tokens were chosen."""

    def note(ids: np.ndarray, logits: np.ndarray) -> np.ndarray:
        rows[len(ids)] = logits.copy()
        return logits

    processor = None if rows is None else note
    with opened() as model, model.session(PROMPT, sampler, logits_processor=processor) as session:
        session.generate(N)
        return session.trace


def first_difference(left: Trace, right: Trace) -> tuple[int | None, int | None]:
    a, b = left.column("token_id"), right.column("token_id")
    n = min(len(a), len(b))
    differs = np.flatnonzero(a[:n] != b[:n])
    return (int(differs[0]), int(b[differs[0]])) if len(differs) else (None, None)


RUNS: list[tuple[dict[str, Any], dict[str, list[Any]]]] = [
    ({"seed": 7}, {"temperature": [0.0, 0.6, 0.79, 1.1]}),
    ({"seed": 3, "top_k": 15, "top_p": 0.9}, {"top_p": [0.3, 0.85, 0.95]}),
    ({"seed": 4, "temperature": 1.0, "top_k": 0}, {"min_p": [0.0, 0.04, 0.3]}),
    ({"seed": 5}, {"frequency_penalty": [0.05, 0.5]}),
    ({"seed": 6}, {"repeat_penalty": [1.02, 1.3]}),
    ({"seed": 8, "top_k": 20}, {"xtc_probability": [0.1, 0.6]}),
    ({"seed": 9}, {"dry_multiplier": [0.2, 2.0]}),
    ({"seed": 10, "mirostat_mode": 2}, {"mirostat_tau": [4.9, 2.0]}),
    ({"seed": 11}, {"mirostat_mode": [1, 2]}),
]


@pytest.mark.parametrize(("settings", "asked"), RUNS, ids=str)
def test_it_says_where_a_real_run_goes_another_way(
    model: Model, settings: dict[str, Any], asked: dict[str, list[Any]]
) -> None:
    ((name, values),) = asked.items()
    rows: Rows = {}
    trace = run(Sampler(**settings), rows)
    alone = what_if(trace, vocabulary=model.engine, **asked)
    known = what_if(trace, rows.__getitem__, vocabulary=model.engine, **asked)
    for value, blind, seen in zip(values, alone, known, strict=True):
        at, token = first_difference(trace, run(Sampler(**{**settings, name: value})))
        assert (seen.at, seen.token, seen.unknown) == (at, token, ())
        if at is None:
            assert blind.at is None
        elif blind.certain:
            assert (blind.at, blind.token) == (at, token)
        else:
            assert blind.earliest <= at
            assert blind.at is None or blind.at >= at


def test_stored_candidates_answer_most_of_it() -> None:
    trace = run(Sampler(seed=7, top_k=20))
    found = what_if(trace, temperature=np.linspace(0.1, 2, 20))
    assert all(change.certain for change in found)
    assert found.unknown == []
    assert (found.at >= -1).all()
    assert str(found).splitlines()[0].startswith("temperature 0.1: another token at position")


def test_unchanged_settings_change_nothing_and_need_no_row() -> None:
    trace = run(Sampler(seed=7, repeat_penalty=1.2, top_n_sigma=3.0, mirostat_mode=1))
    (change,) = what_if(trace, mirostat_tau=[5.0])
    assert (change.at, change.unknown, change.certain, change.earliest) == (None, (), True, None)


def test_what_cannot_be_proved_is_marked() -> None:
    trace = run(Sampler(seed=7, top_k=20))
    found = what_if(trace, top_n_sigma=[2.0])
    assert found[0].at is None
    assert found.unknown == found.chosen.tolist() == np.flatnonzero(trace.column("kind") == Kind.GENERATED).tolist()
    assert str(found) == (
        f"top_n_sigma 2.0: no difference is proved; {N} earlier predictions need the whole row, "
        f"from position {found.chosen[0]}"
    )


def test_rows_are_fetched_only_where_needed_and_once() -> None:
    trace = run(Sampler(seed=7, top_k=20))
    asked: list[int] = []

    def row(position: int) -> np.ndarray:
        asked.append(position)
        logits = np.full(5_000, -np.inf, np.float32)
        logits[trace.column("token_id")[position]] = 0
        return logits

    what_if(trace, row, top_k=[5, 19, 20])
    assert asked == []
    found = what_if(trace, row, top_n_sigma=[1.0, 2.0])
    assert asked == found.chosen.tolist()
    assert found.at.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"temprature": [1]}, TypeError, "did you mean 'temperature'"),
        ({}, TypeError, "needs one parameter"),
        ({"top_k": [1], "top_p": [1]}, TypeError, "needs one parameter"),
        ({"seed": [1]}, ValueError, "not the same dice"),
        ({"top_p": [2]}, ValueError, "top_p must be between"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], error: type[Exception], message: str) -> None:
    trace = run(Sampler(seed=1))
    with pytest.raises(error, match=message):
        what_if(trace, **asked)


def test_a_breaker_that_a_trace_cannot_resolve_is_named(model: Model) -> None:
    trace = run(Sampler(seed=1, dry_sequence_breakers=[" king"]))
    piece = trace.pieces[int(trace.column("token_id")[5])].decode(errors="ignore")
    trace.runs[-1]["sampler"]["dry_sequence_breakers"] = [piece + "zzz"]
    with pytest.raises(ValueError, match=r"pass vocabulary=model\.engine"):
        what_if(trace, dry_multiplier=[1.0])
    assert len(what_if(trace, vocabulary=model.engine, dry_multiplier=[1.0])) == 1


def test_a_trace_that_does_not_say_how_it_was_chosen_is_refused() -> None:
    trace = run(Sampler(seed=1))
    trace.runs[-1]["sampler"] = {}
    with pytest.raises(InfernoError, match="does not say with which sampler"):
        what_if(trace, top_k=[3])


# --- mirostat's state ---------------------------------------------------------------------------------------

MIROSTAT = Sampler(mirostat_mode=2, mirostat_tau=4.0, mirostat_eta=0.3, seed=3)


def test_mirostat_goes_on_where_it_was(tmp_path) -> None:
    whole = run(MIROSTAT)
    with opened() as model, model.session(PROMPT, MIROSTAT) as session:
        for n in (1, 1, 20, N - 22):
            session.generate(n)
        assert session.trace.column("token_id").tolist() == whole.column("token_id").tolist()
        np.testing.assert_array_equal(session.trace.column("sampled_prob"), whole.column("sampled_prob"))
    whole.save(tmp_path / "a.inferno")
    assert mu_of(Trace.load(tmp_path / "a.inferno"), MIROSTAT) == mu_of(whole, MIROSTAT)


def test_mirostat_forks_with_its_own_past(model: Model) -> None:
    with model.session(PROMPT, MIROSTAT) as session:
        session.generate(20)
        first = session.trace.length - 20
        p = session.trace.column("sampled_prob")[first : first + 10].tolist()
        session.fork(first + 10, " dragon")
        assert mu_of(session.trace, MIROSTAT) == MIROSTAT.mu_after(p)
        session.step()
        made = session.trace.record(session.trace.head)
        assert mu_of(session.trace, MIROSTAT) == MIROSTAT.mu_after([*p, made.sampled_prob])


def test_mirostat_begins_anew_with_other_settings(model: Model) -> None:
    with model.session(PROMPT, Sampler(seed=3)) as session:
        session.generate(5)
        assert mu_of(session.trace, MIROSTAT) == 8.0
        session.sampler = MIROSTAT
        session.generate(2)
        assert mu_of(session.trace, MIROSTAT) == MIROSTAT.mu_after(session.trace.column("sampled_prob")[-2:].tolist())
        assert mu_of(session.trace, Sampler(mirostat_mode=1, seed=3)) == 10.0
        session.sampler = Sampler(mirostat_mode=1, seed=3)
        session.step()
        assert mu_of(session.trace, MIROSTAT) == 8.0


def test_dry_reaches_a_session(model: Model) -> None:
    (token,) = model.tokenize(" king", special=False)
    usual = {"temperature": 0, "logit_bias": {token: 40.0}}

    def kings(**settings: object) -> int:
        with model.session(PROMPT, Sampler(**usual, **settings)) as session:
            session.generate(12)
            return session.trace.column("token_id")[-12:].tolist().count(token)

    assert kings() == 12
    assert kings(dry_multiplier=10.0) < 12
    assert kings(dry_multiplier=10.0, dry_sequence_breakers=["kin"]) == 12
    with model.session(PROMPT, Sampler(**usual, dry_multiplier=10.0)) as session:
        session.generate(12)
        assert "dry (dry_multiplier 10" in (session.trace.to_markdown() or "")
