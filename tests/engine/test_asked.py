"""Why this token, and what if: asked of a session, which computes the whole rows that its records lack."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from inferno_widget import InfernoError, Model, Sampler, Session
from inferno_widget.dice import what_if
from inferno_widget.engine.client import EngineClient
from inferno_widget.stats import describe
from tests.engine.tools import NATS, PROMPT, dice, loaded, snapshot

# --- a row ------------------------------------------------------------------------------------------------


def test_a_row_is_what_was_recorded_of_it(session: Session) -> None:
    before, held = snapshot(session), session.held_tokens
    for at in (1, 5, session.trace.length - 1):
        row, record = session.row(at), session.trace.record(int(session.trace.path()[at]))
        d = describe(row, record.token_id, 20)
        assert (row.dtype, row.shape) == (np.float32, (512,))
        assert abs(d.logprob - record.logprob) < NATS
        np.testing.assert_allclose(d.top_logprobs, record.top_logprobs, atol=NATS)
    upcoming = session.row(session.trace.length)
    assert snapshot(session) == before
    assert session.held_tokens == held, "beside the path"
    session.sampler = Sampler(temperature=0)
    assert session.step().token_id == int(upcoming.argmax())
    for wrong in (0, session.trace.length + 1, -1):
        with pytest.raises(IndexError, match="at must be between 1 and"):
            session.row(wrong)
    session.close()
    with pytest.raises(InfernoError, match="closed"):
        session.row(3)


# --- why --------------------------------------------------------------------------------------------------

CHAINS: list[dict[str, Any]] = [
    {"top_k": 10, "top_p": 0.9},
    {"top_k": 0, "top_p": 1, "min_p": 0},
    {"repeat_penalty": 1.4, "dry_multiplier": 1.0, "dry_sequence_breakers": ["\n"]},
    {"top_n_sigma": 2.0, "xtc_probability": 0.5},
    {"mirostat_mode": 1, "mirostat_tau": 3.0},
    {"mirostat_mode": 2, "mirostat_tau": 3.0},
]


@pytest.mark.parametrize("settings", CHAINS, ids=str)
def test_the_draw_that_is_explained_is_the_one_that_was(settings: dict[str, Any], model: Model) -> None:
    with model.session(PROMPT, dice(**settings)) as session:
        session.generate(30)
        for at in (len(session.prompt_ids), 25, -1, None):
            record = session.trace.record(session.trace.node_at(-1 if at is None else at))
            stages = session.explain(at)
            assert [stage.name for stage in stages] == [*session.sampler.stages, "draw"]
            draw = stages[-1].draw
            assert draw.token == record.token_id
            assert draw.probability == pytest.approx(record.sampled_prob, abs=NATS)
            assert draw.uniform == record.draw or math.isnan(record.draw)


def test_a_row_is_computed_only_where_the_record_does_not_suffice(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    original = EngineClient.logits

    def spy(self: EngineClient, branch: Any, at: int) -> Any:
        rows.append(at)
        return original(self, branch, at)

    monkeypatch.setattr(EngineClient, "logits", spy)
    with model.session(PROMPT, dice(top_k=10)) as session:
        session.generate(20)
        session.explain()
        session.explain(15, Sampler(temperature=0.3, top_k=5))
        assert rows == []
        assert session.explain(15, Sampler(top_n_sigma=1.0))[0].before.size == 512
        assert rows == [15]
        assert len(session.explain(15, top=30)[0].before.ids) == 30, "more than the record has"
        assert rows == [15, 15]


def test_other_settings_throw_the_recorded_dice(session: Session) -> None:
    at = 20
    record = session.trace.record(int(session.trace.path()[at]))
    for seed, uniform in ((None, record.draw), (99, Sampler(seed=99).chance(at))):
        stages = session.explain(at, Sampler(temperature=0.7, seed=seed))
        assert stages[-1].draw.uniform == uniform
    session.fork(at, " dragon")
    assert session.explain()[-1].draw.token == record.token_id, "what would have come instead of the forced one"


def test_after_a_slide_it_is_explained_from_what_the_model_saw(tiny: Any) -> None:
    with loaded(tiny, 256) as model:
        sampler = dice(repeat_penalty=1.5, penalty_last_n=-1)
        with model.session(PROMPT, sampler, on_full="slide", keep=4) as session:
            session.generate(300)
            for at in (250, 256, 300):
                record = session.trace.record(int(session.trace.path()[at]))
                assert session.explain(at)[-1].draw.token == record.token_id


def test_what_cannot_be_explained_is_refused(session: Session) -> None:
    with pytest.raises(ValueError, match="nothing predicts the first token"):
        session.explain(0)
    with pytest.raises(IndexError, match="no token at position 99"):
        session.explain(99)
    with pytest.raises(TypeError, match="at must be a whole number"):
        session.explain("x")
    with pytest.raises(TypeError, match="sampler must be a Sampler"):
        session.explain(sampler=7)
    with pytest.raises(ValueError, match="top must be"):
        session.explain(top=0)


# --- what if ----------------------------------------------------------------------------------------------

ASKED: list[dict[str, list[Any]]] = [
    {"temperature": [0.0, 0.5, 0.9, 1.0, 1.5]},
    {"top_n_sigma": [0.5, 1.0, 2.0, 4.0]},
    {"repeat_penalty": [1.05, 1.5]},
    {"mirostat_mode": [1, 2]},
]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_it_says_where_a_replay_diverges(asked: dict[str, list[Any]], session: Session) -> None:
    before = snapshot(session)
    ((name, values),) = asked.items()
    found = session.what_if(**asked)
    assert found.unknown == []
    assert found.current == getattr(session.sampler, name)
    assert snapshot(session) == before
    home = session.trace.head
    for value, change in zip(values, found, strict=True):
        session.goto(home)
        session.replay(replace(session.sampler, **{name: value}))
        assert session.replayed == change.at
        if change.at is not None:
            assert session.trace.record(int(session.trace.path()[change.at])).token_id == change.token


def test_before_anything_is_read_there_is_no_row(model: Model) -> None:
    with (
        model.session(PROMPT) as session,
        pytest.raises(IndexError, match="nothing of the text is read yet"),
    ):
        session.row(1)


@pytest.mark.parametrize("given", [{"temperature": 0.5}, {"grammar": 'root ::= "a"'}, {"logit_bias": {5: 1.0}}])
def test_one_value_is_not_several(session: Session, given: dict[str, Any]) -> None:
    """A grammar's characters, or the keys of a bias, would else be taken for values."""
    for ask in (session.what_if, partial(what_if, session.trace)):
        with pytest.raises(TypeError, match="what_if needs several values, in a list, as "):
            ask(**given)


def test_rows_come_in_batches_and_can_be_had_enough_of(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = EngineClient.rows

    def spy(self: EngineClient, branch: Any, ids: Any, wanted: Any, **options: Any) -> Any:
        calls.append(len(list(wanted)))
        return original(self, branch, ids, wanted, **options)

    monkeypatch.setattr(EngineClient, "rows", spy)
    with model.session(PROMPT, dice(top_k=15)) as session:
        session.generate(100)
        told: list[float] = []
        whole = session.what_if(top_n_sigma=[50.0, 60.0], progress=told.append)
        assert calls == [4, 8, 16, 32, 40]
        assert told == pytest.approx([(i + 1) / 100 for i in range(100)])
        assert whole.at.tolist() == [-1, -1]
        calls.clear()
        ended = session.what_if(top_n_sigma=[50.0, 60.0], progress=lambda fraction: fraction < 0.1)
        assert sum(calls) < 50
        assert 50 < len(ended.unknown) < 100, "what was not computed is not known"
        assert ended.unknown == whole.chosen.tolist()[-len(ended.unknown) :]
        calls.clear()
        assert session.what_if(top_k=[5, 10]).changes == what_if(session.trace, top_k=[5, 10]).changes
        assert calls == [], "the stored candidates said it all"
        with pytest.raises(TypeError, match="did you mean 'temperature'"):
            session.what_if(temprature=[1])
