"""The sampler's X-ray, from whole rows and from records alone."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from inferno_widget.record import Kind, StepRecord
from inferno_widget.sampling import Moment, Part, Sampler, Stage, draw, softmax
from inferno_widget.sampling.stored import NeedsRow, decide
from inferno_widget.stats import describe

OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
LOGS = np.log(np.array([0.4, 0.3, 0.15, 0.1, 0.04, 0.01], np.float32))
ROW = np.random.default_rng(4).standard_normal(500).astype(np.float32) * 3


def of(row: np.ndarray, position: int = 0, k: int = 20) -> StepRecord:
    d = describe(row, 0, k)
    known = {"tail": d.tail, "top_ids": d.top_ids, "top_logprobs": d.top_logprobs}
    return StepRecord(position, 0, Kind.GENERATED, d.logprob, d.entropy, d.rank, **known)


def random_sampler(dice: np.random.Generator, n_vocab: int) -> Sampler:
    def maybe(value: float, off: float, often: float = 0.5) -> float:
        return float(value) if dice.random() < often else off

    return Sampler(
        temperature=0.0 if dice.random() < 0.05 else maybe(dice.uniform(0.1, 2), 1.0),
        top_k=int(maybe(dice.integers(1, 60), 0)),
        top_p=maybe(dice.uniform(0.1, 1), 1.0),
        min_p=maybe(10 ** dice.uniform(-3, -0.3), 0.0),
        typical_p=maybe(dice.uniform(0.2, 1), 1.0, 0.2),
        top_n_sigma=maybe(2.0, -1.0, 0.05),
        repeat_penalty=maybe(1.2, 1.0, 0.1),
        frequency_penalty=maybe(0.5, 0.0, 0.2),
        xtc_probability=maybe(0.5, 0.0, 0.2),
        xtc_threshold=float(dice.choice([0.0, 0.01, 0.1])),
        dry_multiplier=maybe(0.8, 0.0, 0.2),
        dry_sequence_breakers=(),
        dry_allowed_length=0,
        logit_bias={int(dice.integers(0, n_vocab)): float(dice.normal(0, 2))} if dice.random() < 0.2 else {},
        mirostat_mode=int(maybe(dice.integers(1, 3), 0, 0.2)),
        seed=5,
    )


def cases(n: int):
    """Random rows, histories and settings."""
    dice = np.random.default_rng(3)
    for position in range(n):
        n_vocab = int(dice.choice([30, 500, 4000]))
        row = (dice.standard_normal(n_vocab) * dice.uniform(1, 6)).astype(np.float32)
        history = dice.integers(0, n_vocab, 30).tolist()
        yield random_sampler(dice, n_vocab), row, history, position


def stage(name: str, row: np.ndarray = LOGS, history: tuple[int, ...] = (), **settings: object) -> Stage:
    (found,) = (s for s in Sampler(**{**OFF, "seed": 1, **settings}).explain(row, history, 3) if s.name == name)
    return found


def listed(part: Part) -> dict[int, float]:
    return dict(zip(part.ids.tolist(), part.probabilities.tolist(), strict=True))


# --- whole rows -------------------------------------------------------------------------------------------


def test_it_says_what_choose_does() -> None:
    for sampler, row, history, position in cases(600):
        stages, choice = sampler.explain(row, history, position), sampler.choose(row, history, position)
        assert [s.name for s in stages] == [*sampler.stages, "draw"]
        last = stages[-1]
        assert last.draw.token == choice.token
        assert last.draw.probability == pytest.approx(choice.probability, abs=1e-9)
        assert last.draw.uniform == choice.draw or math.isnan(choice.draw)
        assert last.before.size == len(choice.kept)
        assert last.draw.token in last.draw.ids


def test_a_stage_begins_where_the_one_before_ended() -> None:
    for sampler, row, history, position in cases(300):
        stages = sampler.explain(row, history, position)
        np.testing.assert_allclose(stages[0].before.probabilities, np.sort(softmax(row))[::-1][:40], rtol=1e-5)
        for left, right in pairwise(stages):
            assert left.after is right.before
        for found in stages[:-1]:
            before, after, gone = found.before, found.after, found.removed
            assert before.size - after.size == gone.size
            assert not set(gone.ids.tolist()) & set(after.ids.tolist())
            assert gone.ids.tolist() == list(found.reasons)
            for part in (before, after):
                assert part.probabilities.sum() + part.rest == pytest.approx(1, abs=1e-6)
                assert len(part.ids) == min(part.size, 40)


def test_the_mass_that_went_is_what_was_not_kept() -> None:
    gone = stage("top_k", ROW, top_k=7).removed
    p = np.sort(softmax(ROW))[::-1]
    assert gone.size == 493
    assert gone.probabilities.sum() + gone.rest == pytest.approx(p[7:].sum(), abs=1e-6)
    np.testing.assert_allclose(gone.probabilities, p[7:47], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "removed", "reason"),
    [
        ("top_k", {"top_k": 2}, [2, 3, 4, 5], "the 3rd most likely, beyond the 2nd"),
        ("top_p", {"top_p": 0.8}, [3, 4, 5], "outside top-p: the likelier tokens have 0.85 already, of 0.8"),
        ("min_p", {"min_p": 0.3}, [3, 4, 5], "0.1 is below min-p's 0.12"),
        ("top_n_sigma", {"top_n_sigma": 0.5}, [2, 3, 4, 5], "logit -1.897 is below -1.543"),
        ("temperature", {"temperature": 0}, [1, 2, 3, 4, 5], "not the most likely"),
        ("xtc", {"xtc_probability": 1.0}, [0, 1, 2], "a top choice: 0.4 is at least 0.1, and so is a less likely one"),
        (
            "typical_p",
            {"typical_p": 0.4},
            [0, 3, 4, 5],
            "surprisal 0.916 is 0.501 from the entropy; nearer tokens have more than 0.4 already",
        ),
        ("mirostat", {"mirostat_mode": 2, "mirostat_tau": 1.0}, [2, 3, 4, 5], "surprisal 2.74 bits is beyond mu's 2"),
        ("mirostat", {"mirostat_mode": 1, "mirostat_tau": 0.5}, [1, 2, 3, 4, 5], "the 2nd most likely, beyond k = 1"),
    ],
)
def test_why_a_token_went(name: str, settings: dict[str, object], removed: list[int], reason: str) -> None:
    found = stage(name, **settings)
    assert found.removed.ids.tolist() == removed
    assert found.reasons[removed[0]] == reason
    assert all(found.parameters[key] == value for key, value in settings.items())


def test_why_a_logit_moved() -> None:
    found = stage("penalties", history=(1, 1, 2), frequency_penalty=0.5, presence_penalty=1.0)
    assert [(c.token, round(c.after - c.before, 4), c.reason) for c in found.changed] == [
        (1, -2.0, "penalised by 2: came twice in the last 64 tokens"),
        (2, -1.5, "penalised by 1.5: came once in the last 64 tokens"),
    ]
    (change,) = stage("penalties", history=(1,), frequency_penalty=-0.25, penalty_last_n=-1).changed
    assert change.reason == "favoured by 0.25: came once in the text"
    dry = {"dry_multiplier": 0.5, "dry_sequence_breakers": ()}
    (change,) = stage("dry", history=(1, 2, 3, 4, 1, 2, 3), **dry).changed
    assert change.token == 4
    assert change.reason == "would go on with a repetition of 3 tokens: 0.875 = 0.5 x 1.75^1"
    (change,) = stage("logit_bias", logit_bias={3: -math.inf}).changed
    assert (change.token, change.reason) == (3, "forbidden")


def fence(*allowed: int) -> object:
    return lambda said, ids=None, *, first=0: np.isin(np.arange(6), allowed)


def test_what_a_grammar_forbids_and_its_mass() -> None:
    sampler = Sampler(**OFF, grammar="g", seed=1).bound(None, fence(1, 3))
    found = sampler.explain(LOGS, [], 3)[0]
    assert (found.name, found.before.size, found.after.size) == ("grammar", 6, 2)
    assert found.removed.ids.tolist() == [0, 2, 4, 5]
    assert found.removed.probabilities.sum() == pytest.approx(0.6)
    assert found.reasons == dict.fromkeys([0, 2, 4, 5], "the grammar does not allow it here")
    assert found.rule == "allows 2 of 6 tokens here, which have 0.4 together: 0.6 is forbidden"
    assert found.numbers == pytest.approx({"allowed": 0.4, "forbidden": 0.6})
    assert sampler.explain(LOGS, [], 3, top=1)[0].removed.rest == pytest.approx(0.2)


def test_a_grammar_is_asked_about_all_when_it_is_explained() -> None:
    asked = []

    def allowed(said: object, ids: object = None, *, first: int = 0) -> np.ndarray:
        asked.append((said, ids, first))
        return np.ones(500, bool)

    Sampler(grammar="g", seed=1).bound(None, allowed).explain(ROW, [5, 6, 7, 8], said=[7, 8])
    assert asked == [([7, 8], None, 2)]


def test_xtc_says_when_it_did_nothing() -> None:
    found = stage("xtc", xtc_probability=1e-6)
    assert found.rule == f"does nothing this time: its number {draw(1, 3, 1):.4f} is not below 1e-06"
    assert found.removed.size == 0


def test_the_draw_stands_on_the_cumulative_bar() -> None:
    for position in range(50):
        bar = Sampler(**OFF, seed=1).explain(LOGS, [], position)[-1].draw
        at = bar.ids.tolist().index(bar.token)
        np.testing.assert_allclose(bar.edges, np.append(0, np.cumsum(softmax(LOGS)))[: len(bar.edges)], rtol=1e-6)
        assert bar.edges[at] <= bar.uniform < bar.edges[at + 1]
    single = Sampler(temperature=0).explain(LOGS, [])[-1]
    assert (single.draw.token, single.rule) == (0, "one candidate is left: nothing is drawn")


def test_the_history_ends_where_the_position_is() -> None:
    sampler = Sampler(**OFF, seed=1)
    assert sampler.explain(ROW, [1, 2, 3])[-1].draw.uniform == draw(1, 3)


# --- records alone ----------------------------------------------------------------------------------------


def test_a_record_says_what_the_row_says_or_nothing() -> None:
    told = 0
    for sampler, row, history, position in cases(2_000):
        n_vocab = len(row) if position % 2 else None
        stages = sampler.explain_stored(of(row, position), history, n_vocab=n_vocab)
        if stages is None:
            continue
        told += 1
        for ours, whole in zip(stages, sampler.explain(row, history, position), strict=True):
            assert ours.name == whole.name
            for mine, true in ((ours.before, whole.before), (ours.after, whole.after)):
                assert mine.size in (None, true.size)
                known = listed(true)
                for token, p in listed(mine).items():
                    assert abs(p - known.get(token, p)) <= mine.error + 2e-5, sampler
            assert ours.removed.size in (None, whole.removed.size)
            assert set(listed(ours.removed)) <= set(range(len(row))) - set(listed(whole.after)), sampler
            gone = sum(listed(ours.removed).values()) + ours.removed.rest
            missing = sum(listed(whole.removed).values()) + whole.removed.rest
            assert abs(gone - missing) <= ours.removed.error + 2e-5, sampler
        assert ours.draw.token == whole.draw.token
        assert ours.draw.probability == pytest.approx(whole.draw.probability, abs=1e-5)
    assert 700 < told < 1_300


def test_the_token_is_known_more_often_than_all_probabilities() -> None:
    tokens, exact = 0, 0
    for sampler, row, history, position in cases(2_000):
        choice = sampler.choose(row, history, position)
        mu = 2 * sampler.mirostat_tau
        try:
            token, probability = decide(sampler, of(row, position), Moment(history, position, len(row), mu))
        except NeedsRow:
            continue
        tokens += 1
        exact += probability is not None
        assert token == choice.token, sampler
        assert probability is None or probability == pytest.approx(choice.probability, abs=1e-5)
    assert 700 < exact < tokens < 1_700


@pytest.mark.parametrize(
    ("settings", "suffices"),
    [
        ({"top_k": 20}, True),
        ({"top_k": 21}, False),
        ({"top_k": 21, "min_p": 0.1}, True),
        ({"top_k": 40, "top_p": 0.2}, True),
        ({"top_p": 0.999}, False),
        ({"temperature": 0}, True),
        ({"temperature": 0, "frequency_penalty": 0.1}, True),
        ({"temperature": 0.5}, False),
        ({"top_n_sigma": 2.0, "top_k": 5}, False),
        ({"typical_p": 0.9, "top_k": 5}, True),
        ({"typical_p": 0.9}, False),
        ({"repeat_penalty": 1.1, "top_k": 5}, False),
        ({"repeat_penalty": 1.1, "penalty_last_n": 0, "top_k": 5}, True),
        ({"logit_bias": {499: 50.0}, "top_k": 5}, False),
        ({"mirostat_mode": 2, "mirostat_tau": 1.5}, True),
        ({"mirostat_mode": 1}, False),
    ],
    ids=str,
)
def test_when_a_record_suffices(settings: dict[str, object], suffices: bool) -> None:
    history = [int(ROW.argmax())]
    assert 0.7 < softmax(ROW)[np.argsort(-ROW)[:20]].sum() < 0.98
    found = Sampler(**{**OFF, "seed": 1, **settings}).explain_stored(of(ROW), history)
    assert (found is not None) == suffices


def test_at_temperature_1_a_record_suffices_where_the_draw_falls_on_it() -> None:
    sampler, reached = Sampler(**OFF, seed=1), 1 - of(ROW).tail
    for position in range(300):
        assert (sampler.explain_stored(of(ROW, position), []) is not None) == (draw(1, position) < reached)


def test_a_stage_in_between_says_how_far_it_may_be_off() -> None:
    stages = Sampler(**{**OFF, "top_k": 40, "min_p": 0.1, "seed": 1}).explain_stored(of(ROW), [], n_vocab=500)
    assert [s.name for s in stages] == ["top_k", "min_p", "draw"]
    assert stages[0].before.error == 0
    assert (stages[0].after.size, stages[0].removed.size) == (40, 460)
    assert 0 < stages[0].after.error < 0.1
    assert stages[1].after.error == 0


@pytest.mark.parametrize("n_vocab", [500, None])
def test_a_bias_of_what_is_not_stored_removes_nothing(n_vocab: int | None) -> None:
    """The last of the stored may then be no more likely than what is not: it is among the others, and still there."""
    unlikely = int(ROW.argmin())
    sampler = Sampler(**{**OFF, "logit_bias": {unlikely: -math.inf}, "top_k": 5, "seed": 1})
    bias = sampler.explain_stored(of(ROW), [], n_vocab=n_vocab)[0]
    assert (bias.name, len(bias.removed.ids), bias.after.size) == ("logit_bias", 0, n_vocab)


def test_what_a_record_says_of_a_grammar() -> None:
    """Which of the stored tokens are allowed; of the others only whether any is."""
    sampler = Sampler(**{**OFF, "temperature": 0, "grammar": "g", "seed": 1})
    record, now = of(LOGS, k=3), Moment([], 0, 6, 0.0)
    for allowed, token in (((1, 3), 1), ((2, 4), 2)):
        assert decide(sampler.bound(None, fence(*allowed)), record, now) == (token, 1.0)
    with pytest.raises(NeedsRow):
        decide(sampler.bound(None, fence(3, 5)), record, now)
    with pytest.raises(NeedsRow):
        decide(sampler, record, now)
    drawn = Sampler(**OFF, grammar="g", seed=1)
    assert drawn.explain_stored(record, [], n_vocab=6) is None
    assert drawn.bound(None, fence(0, 1, 4)).explain_stored(record, [], n_vocab=6) is None
    stages = drawn.bound(None, fence(0, 1)).explain_stored(record, [], n_vocab=6)
    whole = drawn.bound(None, fence(0, 1)).explain(LOGS, [], 0)
    assert stages[0].numbers == pytest.approx(whole[0].numbers, abs=1e-6)
    assert stages[0].removed.rest == pytest.approx(0.15, abs=1e-6)
    assert stages[-1].draw.token == whole[-1].draw.token


def test_what_was_not_predicted_explains_nothing() -> None:
    assert Sampler(seed=1).explain_stored(StepRecord(0, 1, Kind.PROMPT), []) is None
