"""What is captured while a session runs, and which heads a prediction hangs on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from inferno_widget import Ablate, InfernoError, Model, Sampler
from inferno_widget.causal import CausalMap
from inferno_widget.engine.causal import causal_map, heads_of
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.engine.second import SecondClient
from inferno_widget.engine.taps import Tapped
from inferno_widget.window import Window
from tests import reference as ref
from tests.engine.conftest import EXACT
from tests.engine.test_inside import TEXT, Case, opened, relative
from tests.engine.tools import Switch, ignore

GREEDY = Sampler(temperature=0)
START = 40


@pytest.fixture(scope="module")
def tiny(models: dict) -> Iterator[Case]:
    yield from opened(models["tiny"][0])


@pytest.fixture(scope="module")
def gemma(models: dict) -> Iterator[Case]:
    yield from opened(models["gemma2"][0])


# --- capturing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["tiny", "gemma"])
def test_what_is_captured_is_what_the_reference_says(which: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(which)
    with case.model.session(case.ids[:START], GREEDY) as session:
        session.generate(3)
        with session.capture(("attention", "residual", "heads", "attn_out", "mlp", "lens"), k=3) as capture:
            session.generate(12)
        seen = capture.take()
        ids = session.trace.column("token_id").tolist()
        expected = case.reference.run(ids)
        rows = seen.positions.tolist()
        assert rows == list(range(START + 2, START + 14))  # the last token is not read before the next is wanted
        assert np.abs(seen.attention - expected.attention[:, :, rows, : rows[-1] + 1]).max() < 2e-3
        assert relative(seen.residual, expected.residual[:, rows]) < 2e-3
        assert relative(seen.heads, expected.heads[:, :, rows]) < 2e-3
        assert relative(seen.attn_out, expected.attn_out[:, rows]) < 2e-3
        assert relative(seen.mlp, expected.mlp[:, rows]) < 2e-3
        assert np.array_equal(seen.lens.top_ids[:, :, 0], expected.lens[:, rows].argmax(-1))
        assert np.isfinite(seen.lens.token_logprob).all()
        assert session.engine is case.model.engine


def test_a_captured_run_says_what_another_says(tiny: Case) -> None:
    texts, logprobs = [], []
    for captures in (False, True):
        with tiny.model.session(tiny.ids[:START], GREEDY) as session:
            session.score()
            if captures:
                with session.capture():
                    texts.append(session.generate(20))
            else:
                texts.append(session.generate(20))
            logprobs.append(session.trace.column("logprob"))
    assert texts[0] == texts[1]
    assert np.nanmax(np.abs(logprobs[0] - logprobs[1])) < 1e-3


def test_only_what_is_new_may_be_taken(tiny: Case) -> None:
    with tiny.model.session(tiny.ids[:START], GREEDY) as session, session.capture("attention", 1) as capture:
        session.generate(6)
        whole = capture.take()
        new = capture.take(START + 2)
        assert new.positions.tolist() == whole.positions.tolist()[START + 2 :] != []
        assert np.array_equal(new.attention, whole.attention[:, :, START + 2 :])
        for since, match in (
            (session.trace.length - 1, "nothing was captured"),
            (10_000, "no token at position 10,000"),
        ):
            with pytest.raises(InfernoError, match=match):
                capture.take(since)


def test_a_prompt_that_is_not_read_yet_is_captured_too(tiny: Case) -> None:
    with tiny.model.session(tiny.ids[:START], GREEDY) as session, session.capture(layers=1) as capture:
        session.generate(2)
        seen = capture.take()
        assert seen.positions.tolist() == list(range(START + 1))
        expected = tiny.reference.run(session.trace.column("token_id").tolist())
        assert np.abs(seen.attention[0] - expected.attention[1, :, : START + 1, : START + 1]).max() < 2e-3


def test_rows_are_found_by_their_text_after_forks(tiny: Case) -> None:
    with tiny.model.session(tiny.ids[:START], GREEDY) as session, session.capture("residual") as capture:
        session.generate(10)
        home = session.trace.head
        token = int(session.trace.record(session.trace.path()[START + 3]).top_ids[2])
        session.fork(START + 3, token).generate(4)
        for node in (session.trace.head, home):
            session.goto(node)
            seen = capture.take()
            expected = tiny.reference.run(session.trace.column("token_id").tolist())
            assert relative(seen.residual, expected.residual[:, seen.positions]) < 2e-3
        assert len(seen.positions) == START + 9


def test_only_positions_that_are_meant_are_kept(tiny: Case) -> None:
    meant = range(START + 2, START + 8, 2)
    with tiny.model.session(tiny.ids[:START], GREEDY) as session, session.capture("attention", None, meant) as capture:
        session.generate(12)
        assert capture.take().positions.tolist() == list(meant)
        capture.clear()
        with pytest.raises(InfernoError, match="nothing was captured"):
            capture.take()


def test_what_is_read_again_is_captured_whole(tiny: Case) -> None:
    """Of the last block too, which has nothing of a token whose prediction nobody wants."""
    what = ("attention", "residual", "heads", "attn_out", "mlp", "lens")
    with tiny.model.session(tiny.ids[:START], GREEDY) as session:
        session.score()
        with session.capture(what, positions=range(1_000)) as capture:
            session.generate(3)
        seen = capture.take()
        expected = tiny.reference.run(session.trace.column("token_id").tolist())
        rows = seen.positions.tolist()
        assert rows == list(range(START + 2))
        assert np.abs(seen.attention - expected.attention[:, :, rows, : len(rows)]).max() < 2e-3
        for name in ("residual", "heads", "attn_out", "mlp"):
            assert relative(getattr(seen, name), getattr(expected, name)[..., rows, :]) < 2e-3, name
        assert np.array_equal(seen.lens.top_ids[:, :, 0], expected.lens[:, rows].argmax(-1))


@pytest.mark.parametrize("positions", [None, range(240, 1_000)])
def test_a_text_that_slides_is_captured_on(tiny: Case, positions: range | None) -> None:
    """Positions are those of the text, wherever its tokens stand in the cache."""
    with (
        Model(tiny.path, n_ctx=256, n_threads=1, type_k="f32", type_v="f32") as model,
        model.session(tiny.ids[:START], GREEDY, on_full="slide", keep=2) as session,
    ):
        session.score()
        with session.capture(positions=positions) as capture:
            session.generate(230)
            window, seen = session.trace.window(), capture.take()
            assert window.left_out
            first = max(window.keep + window.left_out, positions[0] if positions else START - 1)
            assert seen.positions.tolist() == list(range(first, session.trace.length - 1))
            ids = session.trace.column("token_id")
            expected = tiny.reference.run(window.of(ids).tolist()).residual[:, first - window.left_out : -1]
            assert relative(seen.residual, expected) < 2e-3


@pytest.mark.parametrize("wrong", [range(-3, 0), range(0), range(2, -3, -1)])
def test_positions_are_those_of_tokens(tiny: Case, wrong: range) -> None:
    with tiny.model.session(tiny.ids) as session, pytest.raises(ValueError, match="counted from 0, not range"):
        session.capture(positions=wrong)


def test_a_capture_outside_an_intervention_says_why_it_has_nothing(tiny: Case) -> None:
    with tiny.model.session(tiny.ids, GREEDY) as session:
        with session.capture() as capture, session.intervene(Ablate(0, 0)):
            session.generate(2)
        for _ in range(2):
            with pytest.raises(InfernoError, match=r"under interventions is kept by a capture that begins inside"):
                capture.take()


def test_why_nothing_could_be_taken_is_told_when_it_is_over_too(tiny: Case) -> None:
    def broken(*_: object, **__: object) -> None:
        raise InfernoError("there is no lens at position 39")

    with tiny.model.session(tiny.ids[:START], GREEDY) as session:
        capture = session.capture("lens")
        session.generate(2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SecondClient, "captured", broken)
            capture.stop()
        with pytest.raises(InfernoError, match="no lens at position 39"):
            capture.take()
        assert session.engine is tiny.model.engine


def test_a_full_capture_ends_the_run_and_says_what_to_do(tiny: Case) -> None:
    with tiny.model.session(tiny.ids[:START], GREEDY) as session:
        session.score()
        with session.capture(limit=20_000) as capture:
            with pytest.raises(InfernoError, match=r"its limit is 0\.0 MiB: take what it has and clear\(\) it"):
                session.generate(40)
            made = session.trace.length
            assert len(capture.take().positions)
            capture.clear()
            session.generate(2)
        assert session.trace.length == made + 2
        session.generate(1)


def test_a_capture_under_an_intervention_sees_it(tiny: Case) -> None:
    with tiny.model.session(tiny.ids[:START], GREEDY) as session:
        session.score()
        with session.intervene(Ablate(0, 2)):
            with session.capture("heads") as capture:
                session.generate(4)
            heads = capture.take().heads
            assert not heads[0, 2].any()
            assert np.abs(heads[0, 1]).min() > 0
            session.generate(1)


def test_what_was_captured_inside_an_intervention_is_there_behind_it(tiny: Case) -> None:
    with tiny.model.session(tiny.ids[:START], GREEDY) as session:
        with session.intervene(Ablate(0, 2)):
            capture = session.capture("heads")
            session.generate(4)
        assert not capture.on
        assert not capture.take().heads[0, 2].any()
        with session.capture("residual") as another:
            session.generate(1)
        assert another.take().residual.any()


def test_there_is_one_capture_at_a_time(tiny: Case) -> None:
    with tiny.model.session(tiny.ids[:START], GREEDY) as session:
        with session.capture(("attention", "residual")) as capture:
            with pytest.raises(InfernoError, match=r"attention, residual is captured already, .*: stop that first"):
                session.capture("heads")
            with session.intervene(Ablate(0, 0)), session.capture("heads") as inner:
                session.generate(2)
            assert session.capturing is capture
            session.generate(3)
            assert len(capture.take().positions) == START + 2
            assert not inner.take().heads[0, 0].any()
        assert session.capturing is None
        assert session.engine is tiny.model.engine


def test_what_began_later_ends_first(tiny: Case) -> None:
    with tiny.model.session(tiny.ids[:START], GREEDY) as session:
        capture = session.capture()
        with session.intervene(Ablate(0, 0)), pytest.raises(InfernoError, match="what began later ends first"):
            capture.stop()
        capture.stop()
        assert session.engine is tiny.model.engine


# --- causal maps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["tiny", "gemma"])
@pytest.mark.parametrize("last", [False, True])
def test_a_causal_map_is_the_reference_without_each_head(
    which: str, last: bool, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(which)
    ids, positions = case.ids[:START], [START - 1] if last else None
    with case.model.session(case.ids) as session:
        session.inspect()  # whose cache, of the same text, is no use to the changed model
        found = session.causal_map(START, last=last)
    base = case.reference.logits(ids)[-1]
    assert found.kl.shape == (case.run.attention.shape[:2])
    assert found.token == case.ids[START]
    for (layer, head), kl in np.ndenumerate(found.kl):
        without = case.reference.logits(ids, ref.Ablate(layer, head, positions=positions))[-1]
        assert kl == pytest.approx(ref.kl(base, without), abs=1e-3)
        change = ref.log_softmax(without)[found.token] - ref.log_softmax(base)[found.token]
        assert found.change[layer, head] == pytest.approx(change, abs=3e-3)
    best = found.top(1)[0]
    assert found.kl[best[0], best[1]] == found.kl.max() == best[2]


def test_a_causal_map_where_texts_do_not_fit_together(tiny: Case) -> None:
    with (
        Model(tiny.path, n_ctx=256, n_threads=1, type_k="f32", type_v="f32") as model,
        model.session(tiny.ids) as session,
    ):
        told: list[float] = []
        small = session.causal_map(progress=told.append)
        assert len(told) == 8
        with tiny.model.session(tiny.ids) as other:
            assert np.abs(small.kl - other.causal_map().kl).max() < 1e-3


def test_a_causal_map_that_is_ended_has_the_heads_that_were_tried(tiny: Case) -> None:
    first = LlamaEngine(str(tiny.path), replace(EXACT, n_ctx=256), cancel=Switch(), progress=ignore)
    second, cancel = Tapped(first), Switch()

    def told(fraction: float) -> None:
        if fraction >= 0.5:
            cancel.set()

    try:
        kl, change = causal_map(
            second, tiny.ids, heads_of(second, None), 300, Window(), last=False, cancel=cancel, progress=told
        )
    finally:
        second.close()
        first.close()
    assert np.isfinite(kl).tolist() == np.isfinite(change).tolist() == [True] * 4 + [False] * 4
    found = CausalMap(TEXT, 300, "king", np.arange(2, dtype=np.int32), kl.reshape(2, 4), change.reshape(2, 4), False)
    assert "4 of 8 heads" in repr(found)
    assert {layer for layer, *_ in found.top()} == {0}


def test_whoever_is_told_the_progress_can_end_a_causal_map(tiny: Case) -> None:
    with tiny.model.session(np.resize(tiny.ids, 900).tolist()) as session:  # which takes a while for each head
        ended = session.causal_map(progress=lambda _: False)
    assert 0 < np.isfinite(ended.kl).sum() < 8
