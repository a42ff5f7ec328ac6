"""The inside of a model against a forward pass in numpy: what is seen of it, and what comes of changing it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from inferno_widget import (
    Ablate,
    Cancelled,
    EngineDiedError,
    InfernoError,
    Model,
    Patch,
    Sampler,
    Scale,
    Steer,
    Trace,
    steering_vector,
    verify,
)
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.engine.taps import Tapped
from tests import reference as ref
from tests.engine.conftest import EXACT
from tests.engine.tools import DEMO, Switch, dice, ignore
from tests.make_models import f32_copy
from tests.reference import Reference

NAMES = ["demo f32", "tiny", "qwen2", "gemma2", "gemma3", "gpt2"]
TEXT = 100
GREEDY = Sampler(temperature=0)


class Case(NamedTuple):
    """A model, its reference, and a text with what goes on inside while it is read."""

    path: Path
    model: Model
    reference: Reference
    ids: list[int]
    run: ref.Run


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest, models: dict, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("f32")
    path = f32_copy(DEMO, folder / "demo.gguf") if request.param == "demo f32" else models[request.param][0]
    yield from opened(path)


@pytest.fixture(scope="module")
def tiny(models: dict) -> Iterator[Case]:
    yield from opened(models["tiny"][0])


def opened(path: Path) -> Iterator[Case]:
    reference = Reference(path, tabled=True)
    ids = [1, *np.random.default_rng(2).integers(259, 511, TEXT - 1).tolist()]
    with Model(path, n_ctx=1024, n_threads=1, n_batch=64, type_k="f32", type_v="f32") as model:
        yield Case(path, model, reference, ids, reference.run(ids))


# --- against the reference ------------------------------------------------------------------------------


def test_what_goes_on_inside_is_what_the_reference_says(case: Case) -> None:
    with case.model.session(case.ids) as session:
        seen = session.inspect(what=("attention", "residual", "heads", "attn_out", "mlp"))
    assert seen.attention.shape == case.run.attention.shape
    assert np.abs(seen.attention - case.run.attention).max() < 2e-3
    assert relative(seen.residual, case.run.residual) < 2e-3
    for name in ("heads", "attn_out", "mlp"):
        assert getattr(seen, name).shape == getattr(case.run, name).shape
        assert relative(getattr(seen, name), getattr(case.run, name)) < 2e-3, name
    assert seen.positions.tolist() == seen.keys.tolist() == list(range(TEXT))


def test_the_lens_says_what_the_reference_says_at_every_layer_and_position(case: Case) -> None:
    with case.model.session(case.ids) as session:
        lens = session.inspect(what="lens", k=5).lens
    expected = ref.read_lens(case.run)
    assert np.array_equal(lens.top_ids[:, :, 0], expected.best)
    assert np.array_equal(lens.answer, expected.best[-1])
    assert np.abs(lens.entropy - expected.entropy).max() < 2e-3
    assert np.abs(lens.kl - expected.kl).max() < 2e-3
    assert (lens.rank != expected.rank).mean() < 0.01  # where two are as good as equally likely
    logprobs = ref.log_softmax(case.run.lens)
    assert np.abs(lens.top_logprobs - np.take_along_axis(logprobs, lens.top_ids, -1)).max() < 2e-3
    assert np.abs(lens.logprob - np.take_along_axis(logprobs, lens.answer[None, :, None], -1)[..., 0]).max() < 2e-3
    came = np.array(case.ids[1:])
    of_those = np.take_along_axis(logprobs[:, :-1], came[None, :, None], -1)[..., 0]
    assert np.abs(lens.token_logprob[:, :-1] - of_those).max() < 2e-3
    assert (lens.token_rank[:, :-1] != ref.rank(case.run.lens[:, :-1], came)).mean() < 0.01
    assert np.isnan(lens.token_logprob[:, -1]).all()
    assert not lens.token_rank[:, -1].any()


def test_the_head_gives_the_distributions_of_the_reference(case: Case) -> None:
    first = LlamaEngine(str(case.path), EXACT, cancel=Switch(), progress=ignore)
    second = Tapped(first)
    try:
        logits = second.head.logits(case.run.residual.astype(np.float32), cancel=Switch()).astype(np.float64)
    finally:
        second.close()
        first.close()
    assert ref.kl(case.run.lens, logits).max() < 1e-4


def test_the_contributions_are_those_of_the_reference_and_sum_to_the_logit(case: Case) -> None:
    with case.model.session(case.ids) as session:
        for at, token in ((60, 300), (TEXT, None)):
            found = session.attribution(at, token)
            expected = case.reference.attribution(case.run, at - 1, found.token)
            assert np.abs(found.attn_out - expected.attn_out).max() < 2e-3
            assert np.abs(found.mlp - expected.mlp).max() < 2e-3
            assert found.start == pytest.approx(expected.embedding, abs=2e-3)
            assert found.bias == pytest.approx(expected.constant, abs=2e-3)
            assert found.logit == pytest.approx(expected.total, abs=5e-3)
            assert found.added == pytest.approx(0, abs=1e-3)
        assert found.token == case.run.logits[-1].argmax()


def surgery(case: Case) -> list[tuple[list[object], list[object]]]:
    """(interventions, the same for the reference)"""
    last, row = case.run.residual.shape[0] - 1, case.run.residual[0, 7].astype(np.float32)
    vector = np.random.default_rng(5).standard_normal(row.shape).astype(np.float32)
    return [
        ([Ablate(0, 1)], [ref.Ablate(0, 1)]),
        ([Ablate(last, 0), Ablate(0, 2)], [ref.Ablate(last, 0), ref.Ablate(0, 2)]),
        ([Scale(1, 3, 2.5, positions=range(10, 60))], [ref.Scale(1, 3, 2.5, positions=range(10, 60))]),
        ([Steer(0, vector, 0.5)], [ref.Steer(0, vector, 0.5)]),
        ([Steer(last, vector, positions=[TEXT - 1])], [ref.Steer(last, vector, positions=[TEXT - 1])]),
        ([Patch(1, 20, row)], [ref.Patch(1, 20, row)]),
        ([Patch(0, 99, row), Scale(1, 0, -1)], [ref.Patch(0, 99, row), ref.Scale(1, 0, -1)]),
    ]


@pytest.mark.parametrize("which", range(7))
def test_an_intervention_is_the_same_surgery_as_in_the_reference(case: Case, which: int) -> None:
    interventions, same = surgery(case)[which]
    expected = case.reference.run(case.ids, *same)
    with case.model.session(case.ids) as session:
        session.score()
        plain = session.row(TEXT)
        with session.intervene(*interventions):
            row = session.row(TEXT)
            seen = session.inspect()
            part = session.attribution(TEXT, 300)
        assert np.array_equal(session.row(TEXT), plain)
    assert np.abs(case.run.residual - expected.residual).max() > 0.1, "the surgery does nothing"
    assert np.abs(row - expected.logits[-1]).max() < 5e-3
    assert np.abs(seen.attention - expected.attention).max() < 2e-3
    assert relative(seen.residual, expected.residual) < 2e-3
    assert part.logit == pytest.approx(case.reference.attribution(expected, TEXT - 1, 300).total, abs=5e-3)


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


# --- looking ----------------------------------------------------------------------------------------------


def test_looking_changes_nothing_of_what_comes(tiny: Case) -> None:
    """Bit for bit: the same runs of two models, of which one is looked at all the time."""
    made = []
    for looks in (False, True):
        with Model(tiny.path, n_ctx=1024, n_threads=1, n_batch=64) as model, model.session(tiny.ids, GREEDY) as session:
            for _ in range(4):
                session.generate(3)
                if looks:
                    session.inspect(what=("attention", "lens"))
                    session.attribution()
            made.append((session.trace.column("token_id"), session.trace.column("logprob"), session.row(TEXT + 12)))
    assert all(np.array_equal(one, other, equal_nan=one.dtype.kind == "f") for one, other in zip(*made, strict=True))


@pytest.mark.parametrize(
    ("at", "positions"),
    [(-1, [99]), (0, [0]), (slice(90, None, 4), [90, 94, 98]), (range(30, 20, -5), [25, 30]), (None, range(100))],
)
def test_positions_that_are_meant(tiny: Case, at: object, positions: Sequence[int]) -> None:
    with tiny.model.session(tiny.ids) as session:
        seen = session.inspect(at, what=("attention", "residual", "lens"), layers=1)
    rows = list(positions)
    assert seen.positions.tolist() == rows
    assert seen.layers.tolist() == [1]
    assert np.abs(seen.attention[0] - tiny.run.attention[1][:, rows, : rows[-1] + 1]).max() < 2e-3
    assert relative(seen.residual[0], tiny.run.residual[1][rows]) < 2e-3
    assert np.array_equal(seen.lens.top_ids[0, :, 0], tiny.run.lens[1, rows].argmax(-1))
    assert len(seen.texts) == len(seen.keys) == rows[-1] + 1


def test_what_was_read_before_is_not_read_again_and_says_the_same(tiny: Case) -> None:
    with tiny.model.session(tiny.ids) as session:
        told: list[float] = []
        for at in (50, 51, 99, 20, range(98, 100)):
            seen = session.inspect(at, progress=told.append)
            rows = [at] if isinstance(at, int) else list(at)
            assert np.abs(seen.attention - tiny.run.attention[:, :, rows, : rows[-1] + 1]).max() < 2e-3
    assert told[-1] == 1


def test_blocks_behind_the_last_that_was_looked_at_are_read_by_whoever_looks_at_them(tiny: Case) -> None:
    with tiny.model.session(tiny.ids) as session:
        for at in (None, 60):
            session.inspect(at, "attention", layers=0)
            seen = session.inspect(99, "attention")
            assert np.abs(seen.attention - tiny.run.attention[:, :, 99:]).max() < 2e-3
        with session.intervene(Scale(0, 0, 1)):  # the changed context writes and is looked at with one cache
            session.inspect(None, "attention", layers=0)
            session.score()
            assert np.abs(session.row(99) - tiny.run.logits[98]).max() < 2e-2


def test_keys_are_positions_where_the_cells_of_the_cache_are_not(tiny: Case) -> None:
    """Under an intervention all branches share the second context's cache, whose cells are used anew when they go."""
    with tiny.model.session(tiny.ids[:60], GREEDY) as session, session.intervene(Scale(0, 0, 0.5)):
        session.generate(5)
        session.lookahead(4, 6)
        session.fork(40, tiny.ids[70])
        session.generate(20)
        session.lookahead(3, 6, at=50)
        ids = session.trace.column("token_id").tolist()
        expected = tiny.reference.run(ids, ref.Scale(0, 0, 0.5))
        seen = session.inspect()
        assert np.abs(seen.attention - expected.attention).max() < 2e-3
        later = session.inspect(slice(55, None))
        assert np.abs(later.attention - expected.attention[:, :, 55:]).max() < 2e-3


def test_a_prompt_need_not_be_scored_to_be_looked_at(tiny: Case) -> None:
    with tiny.model.session("a \N{DRAGON FACE} na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve day") as session:
        before = session.inspect(slice(1, 5), ("attention", "lens"))
        assert len(session.trace) == 0
        session.score()
        after = session.inspect(slice(1, 5), ("attention", "lens"))
        assert before.texts == after.texts == session.trace.texts(session.trace.path())[:5]
        assert np.array_equal(before.ids, after.ids)
        assert np.array_equal(before.lens.token_rank, after.lens.token_rank)
        assert np.allclose(before.attention, after.attention, atol=1e-5)


def test_what_cannot_be_had_is_said(tiny: Case) -> None:
    with tiny.model.session(tiny.ids) as session:
        with pytest.raises(InfernoError, match=r"no layer 5: this model has layers 0 to 1"):
            session.inspect(layers=[0, 5])
        with pytest.raises(InfernoError, match=r"2 layers at 100 positions take .*attention 0\.3 MiB.*fewer layers"):
            session.inspect(limit=100_000)
        with pytest.raises(ValueError, match="what must be of attention"):
            session.inspect(what="attenton")
        with pytest.raises(IndexError, match="no token at position 100"):
            session.inspect(100)
        with pytest.raises(AttributeError, match=r'what=\("mlp",\)'):
            session.inspect(3).mlp  # noqa: B018
        with pytest.raises(ValueError, match="no position"):
            session.inspect(slice(5, 5))


def test_layers_are_named_once_in_any_order(tiny: Case) -> None:
    with tiny.model.session(tiny.ids) as session:
        seen = session.inspect(-1, ("attention", "residual", "lens"), layers=[1, 0])
        assert np.abs(seen.attention - tiny.run.attention[::-1, :, 99:]).max() < 2e-3
        assert relative(seen.residual, tiny.run.residual[::-1, 99:]) < 2e-3
        assert seen.lens.kl[0, 0] < 1e-4 < seen.lens.kl[1, 0]
        for look in (session.inspect, session.causal_map, session.capture):
            with pytest.raises(ValueError, match="each block once, and 1 comes twice"):
                look(layers=[1, 0, 1])


def test_what_is_decided_is_told_of_the_layers_that_were_looked_at(tiny: Case) -> None:
    best = tiny.run.lens.argmax(-1)
    with tiny.model.session(tiny.ids) as session:
        for layers in ([0, 1], [1, 0]):
            decided = session.inspect(None, "lens", layers).lens.decided
            assert np.array_equal(decided, np.where(best[0] == best[1], 0, 1))
        first = session.inspect(None, "lens", 0).lens.decided
        assert np.array_equal(first, np.where(best[0] == best[1], 0, -1))
        assert {0, -1} == {*first.tolist()}


def test_whoever_is_told_the_progress_can_end_it(tiny: Case) -> None:
    with tiny.model.session(10 * tiny.ids) as session:
        told: list[float] = []
        session.inspect(what="attention", progress=told.append)
        with pytest.raises(Cancelled):
            session.inspect(what="lens", progress=lambda _: False)  # 1,000 positions take a while
        assert told == sorted(told)
        assert told[-1] == 1
        assert session.inspect(-1).attention.shape[2] == 1


def test_a_slid_text_is_seen_as_the_model_sees_it(tiny: Case) -> None:
    with Model(tiny.path, n_ctx=256, n_threads=1, type_k="f32", type_v="f32") as model:
        ids = [1, *np.random.default_rng(3).integers(259, 511, 250).tolist()]
        with model.session(ids, GREEDY, on_full="slide", keep=2) as session:
            session.generate(12)
            window = session.trace.window()
            assert window.left_out
            seen = session.inspect(-1)
            tokens = window.of(session.trace.column("token_id")).tolist()
            expected = Reference(tiny.path).run(tokens)
            assert np.abs(seen.attention[:, :, 0] - expected.attention[:, :, -1]).max() < 2e-3
            assert seen.keys[:3].tolist() == [0, 1, 2 + window.left_out]
            with pytest.raises(IndexError, match="left out"):
                session.inspect(20)


@pytest.mark.parametrize("what", ["scale", "patch"])
def test_positions_of_interventions_are_those_of_the_text(tiny: Case, what: str) -> None:
    """When it slides the cache has other tokens there, and nothing happens to them."""
    row = tiny.run.residual[0, 7].astype(np.float32)
    change = {"scale": Scale(0, 2, 5.0, positions=[1, *range(200, 400)]), "patch": Patch(0, 200, row)}[what]
    ids = [1, *np.random.default_rng(3).integers(259, 511, 250).tolist()]
    with (
        Model(tiny.path, n_ctx=256, n_threads=1, type_k="f32", type_v="f32") as model,
        model.session(ids, GREEDY, on_full="slide", keep=2) as session,
    ):
        session.score()
        with session.intervene(change):
            session.generate(12)
            window = session.trace.window()
            at, seen = 200 - window.left_out, window.of(session.trace.column("token_id")).tolist()

            def run(ids: list[int], *more: object) -> ref.Run:
                scale = ref.Scale(0, 2, 5.0, positions=[1, *range(at, len(ids))])
                return tiny.reference.run(ids, scale if what == "scale" else ref.Patch(0, at, row), *more)

            expected = run(seen)
            came = np.take_along_axis(ref.log_softmax(expected.logits)[:-1], np.array(seen)[1:, None], -1)[-5:, 0]
            assert np.abs(session.trace.column("logprob")[-5:] - came).max() < 2e-3
            inside = session.inspect(slice(window.keep + window.left_out, None), "residual")
            assert relative(inside.residual, expected.residual[:, window.keep :]) < 2e-3
            assert session.attribution(token=300).logit == pytest.approx(expected.logits[-1, 300], abs=5e-3)
            for positions in (None, [len(seen) - 1]):
                found = session.causal_map(layers=1, last=positions is not None)
                without = run(seen, ref.Ablate(1, 2, positions=positions))
                assert found.kl[0, 2] == pytest.approx(ref.kl(expected.logits[-1], without.logits[-1]), abs=1e-4)
            first, second, _ = (record.logprob for record in session.lookahead(1, 2)[0].records)
            ways = run([*seen, int(expected.logits[-1].argmax())]).logits[-2:]
            assert [first, second] == pytest.approx(ref.log_softmax(ways).max(-1), abs=2e-3)


# --- intervening ------------------------------------------------------------------------------------------


def test_leaving_brings_the_untouched_branch_back(tiny: Case) -> None:
    with tiny.model.session(tiny.ids, GREEDY) as session:
        session.generate(6)
        path, rows, cells = session.trace.path(), session.trace.nodes.copy(), session.held_tokens
        with session.intervene(Ablate(0, 0), Ablate(1, 1)) as same:
            assert same is session
            session.generate(6)
            inner = session.trace.head
            with session.intervene(Ablate(0, 1)):
                session.generate(2)
                assert len(session.trace.runs[-1]["interventions"]) == 3
            assert session.trace.head == inner
        assert np.array_equal(session.trace.path(), path)
        assert session.trace.nodes[: len(rows)].tobytes() == rows.tobytes()
        assert session.held_tokens == cells
        run = session.trace.runs[int(session.trace.nodes["run"][inner])]
        assert run["interventions"] == [
            {"kind": "ablate", "layer": 0, "head": 0},
            {"kind": "ablate", "layer": 1, "head": 1},
        ]
        session.generate(1)
        assert "interventions" not in session.trace.runs[-1]
        assert session.state == "ready"


def test_what_is_generated_is_what_the_changed_model_says(tiny: Case) -> None:
    changes, same = [Ablate(0, 0), Ablate(1, 1)], [ref.Ablate(0, 0), ref.Ablate(1, 1)]
    with tiny.model.session(tiny.ids, GREEDY) as session, session.intervene(*changes):
        session.score()
        session.generate(8)
        ids = session.trace.column("token_id")
        logprobs = ref.log_softmax(tiny.reference.logits(ids.tolist(), *same))
        expected = np.take_along_axis(logprobs[:-1], ids[1:, None], -1)[:, 0]
        assert np.abs(session.trace.column("logprob")[1:] - expected).max() < 2e-3
        ahead = session.lookahead(3, 2)
        assert np.abs([way.records[0].logprob for way in ahead] - np.sort(logprobs[-1])[::-1][:3]).max() < 2e-3


def test_a_fork_does_not_take_the_numbers_of_another_world(tiny: Case) -> None:
    with tiny.model.session(tiny.ids, GREEDY) as session:
        session.generate(4)
        token = int(session.trace.record(session.trace.head).top_ids[1])
        with session.intervene(Ablate(0, 0)):
            session.fork(TEXT + 3, token)
            node = session.trace.head
            ids = session.trace.column("token_id").tolist()
        expected = ref.log_softmax(tiny.reference.logits(ids, ref.Ablate(0, 0)))[-2, token]
        assert session.trace.record(node).logprob == pytest.approx(expected, abs=2e-3)
        assert session.trace.runs[int(session.trace.nodes["run"][node])]["interventions"]


def test_a_replay_throws_the_dice_on_the_changed_model(tiny: Case) -> None:
    """What the untouched model predicted proves nothing of what the changed one would have taken, and the other way."""
    with tiny.model.session(tiny.ids[:30], Sampler(temperature=1, seed=5)) as session:
        session.generate(12)
        home = session.trace.head
        with session.intervene(Scale(0, 0, 0.7)):
            session.replay()
            assert session.replayed is not None
            changed, ids = session.trace.head, session.trace.column("token_id").tolist()
            logprobs = ref.log_softmax(tiny.reference.logits(ids, ref.Scale(0, 0, 0.7)))
            expected = np.take_along_axis(logprobs[:-1], np.array(ids)[1:, None], -1)[:, 0]
            recorded = session.trace.column("logprob")[1:]
            assert np.abs(recorded - expected)[session.replayed - 1 :].max() < 2e-3
        session.goto(changed)
        session.replay()  # the same dice on the untouched model: the first text once more
        assert (
            session.trace.column("token_id").tolist()
            == session.trace.column("token_id", tree=True)[session.trace.path(home)].tolist()
        )


def test_a_replay_joins_no_node_of_another_world(tiny: Case) -> None:
    with tiny.model.session(tiny.ids[:30], Sampler(temperature=1, seed=5)) as session:
        session.generate(8)
        home, other = session.trace.head, Sampler(temperature=0)
        session.replay(other)
        apart = session.trace.head
        session.goto(home)
        with session.intervene(Scale(0, 0, 1.0)):  # which predicts the same, and is another world all the same
            session.replay(other)
            assert session.trace.column("token_id")[-1] == session.trace.record(apart).token_id
            assert session.trace.runs[int(session.trace.nodes["run"][session.trace.head])]["interventions"]


def test_numbers_of_another_world_are_not_asked_of_this_one(tiny: Case) -> None:
    """Where a record does not suffice, the row comes from a model: not from another than recorded it."""
    hot = Sampler(temperature=1.5, top_k=0, top_p=1.0, min_p=0.0, seed=5)
    with tiny.model.session(tiny.ids[:30], hot, k=3) as session:
        session.generate(4)
        with session.intervene(Ablate(0, 0)):
            with pytest.raises(InfernoError, match=r"predicted under other interventions .* inside the same `with`"):
                session.explain(-1, top=20)
            assert all(change.unknown and change.at is None for change in session.what_if(temperature=[1.4]))
            way = session.lookahead(2, 2)[1]
            session.take(way)
        with pytest.raises(InfernoError, match="shown under other interventions than are in force"):
            session.take(way)
        assert session.explain(-1, top=20)


def test_what_is_no_intervention_is_refused(tiny: Case) -> None:
    with tiny.model.session(tiny.ids) as session:
        for wrong, problem in (
            (Ablate(7, 0), "no layer 7"),
            (Ablate(0, 4), "layer 0 has heads 0 to 3"),
        ):
            with pytest.raises(InfernoError, match=problem), session.intervene(wrong):
                pytest.fail("it began")
        with pytest.raises(ValueError, match="a row of 3 numbers, and this model's residual stream has 64"):
            session.intervene(Steer(0, [1, 2, 3])).__enter__()
        with pytest.raises(TypeError, match="interventions must be Ablate, Scale, Steer or Patch"):
            session.intervene("head 3").__enter__()
        for row in (
            [np.nan, 1],
            [1e300, 1],
            [1j, 1],
            ["1", "2"],
            [True, False],
            np.zeros(2, "M8[s]"),
            itertools.count(),
        ):
            with pytest.raises(ValueError, match="must be one row of finite numbers"):
                Steer(0, row)
        assert session.generate(1)


def test_a_steering_vector_is_the_difference_of_two_means(tiny: Case) -> None:
    good, bad = ["the king was good", "a good king"], ["the king was bad"]
    vector = steering_vector(tiny.model, good, bad, layer=1)
    ends = [tiny.reference.run(tiny.model.tokenize(text)).residual[1, -1] for text in (*good, *bad)]
    assert relative(vector, (ends[0] + ends[1]) / 2 - ends[2]) < 2e-3
    mean = steering_vector(tiny.model, good, bad, layer=1, pool="mean")
    means = [tiny.reference.run(tiny.model.tokenize(text)).residual[1].mean(0) for text in (*good, *bad)]
    assert relative(mean, (means[0] + means[1]) / 2 - means[2]) < 2e-3


def test_a_patch_is_taken_from_another_session(tiny: Case) -> None:
    other = tiny.ids[::-1]
    with tiny.model.session(tiny.ids) as session, tiny.model.session(other) as source:
        session.score()
        patch = Patch(0, 30, source, at=40)
        with session.intervene(patch):
            row = session.row(TEXT)
    taken = tiny.reference.run(other).residual[0, 40]
    expected = tiny.reference.logits(tiny.ids, ref.Patch(0, 30, taken))[-1]
    assert np.abs(row - expected).max() < 5e-3


def test_a_child_that_dies_under_an_intervention_is_replaced(tiny: Case) -> None:
    with (
        Model(tiny.path, n_ctx=1024, n_threads=1, type_k="f32", type_v="f32") as model,
        model.session(tiny.ids, GREEDY) as session,
        session.intervene(Ablate(0, 0)),
    ):
        session.generate(2)
        model.engine.child().process.kill()
        with pytest.raises(EngineDiedError):
            session.generate(400)
        session.generate(2)
        ids = session.trace.column("token_id")
        logprobs = ref.log_softmax(tiny.reference.logits(ids.tolist(), ref.Ablate(0, 0)))
        assert session.trace.record(session.trace.head).logprob == pytest.approx(logprobs[-2, ids[-1]], abs=2e-3)


def test_a_trace_with_interventions_is_kept_and_verified_where_it_can_be(tiny: Case, tmp_path: Path) -> None:
    with tiny.model.session(tiny.ids[:20], GREEDY) as session:
        session.generate(4)
        with session.intervene(Ablate(0, 0), Steer(1, np.ones(64), 2.5)):
            session.generate(5)
            session.trace.save(tmp_path / "changed.inferno")
    trace = Trace.load(tmp_path / "changed.inferno")
    steer = trace.runs[-1]["interventions"][1]
    assert (steer["kind"], steer["strength"], steer["vector"]["norm"]) == ("steer", 2.5, 8)
    found = verify(trace, tiny.model)
    assert found.same
    assert found.compared == 19 + 4
    assert "5 predictions were made under interventions" in found.message


def test_a_look_tells_of_the_path_as_it_was_when_it_began(tiny: Case) -> None:
    """Another thread goes elsewhere meanwhile."""
    with tiny.model.session(tiny.ids[:20], dice()) as session:
        session.generate(4)
        end, ids = session.trace.head, session.path_ids.tolist()
        texts = session.path_texts

        def leave(_: float) -> None:
            if session.trace.head == end:
                session.fork(3, 300)

        seen = session.inspect(what=("attention", "lens"), progress=leave)
        assert session.trace.head != end
        assert seen.ids.tolist() == ids
        assert seen.texts == texts
        assert seen.positions.tolist() == list(range(24))
