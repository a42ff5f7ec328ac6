"""The sampler alone: what it accepts, its dice, its stages on rows made by hand."""

from __future__ import annotations

import inspect
import json
import math
import pickle
from dataclasses import FrozenInstanceError, replace
from types import MappingProxyType

import llama_cpp
import numpy as np
import pytest

from inferno_widget.errors import EngineDiedError, GrammarError, InfernoError, ModelFileError
from inferno_widget.sampling import Sampler, draw, softmax
from inferno_widget.sampling.candidates import fewest
from inferno_widget.stats import leading

OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
ROW = np.random.default_rng(4).standard_normal(50).astype(np.float32) * 2


def chosen(row: np.ndarray, **settings: object) -> list[int]:
    """Ids that the stages leave, in order of id."""
    return sorted(Sampler(**{**OFF, "seed": 1, **settings}).candidates(row, []).ids.tolist())


# --- what it accepts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["temperature", "top_p", "min_p", "typical_p", "top_n_sigma", "repeat_penalty"])
@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("nan")])
def test_what_is_not_finite_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be finite, not"):
        Sampler(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", -math.inf),
        ("top_p", -0.01),
        ("top_p", 1.01),
        ("min_p", -0.01),
        ("min_p", 1.5),
        ("typical_p", 2),
        ("typical_p", -1),
        ("repeat_penalty", 0),
        ("repeat_penalty", -1),
        ("frequency_penalty", 1e9),
        ("frequency_penalty", math.nan),
        ("presence_penalty", -1e9),
        ("presence_penalty", math.inf),
        ("penalty_last_n", -2),
        ("top_k", 2**31),
        ("seed", -1),
        ("seed", 2**64),
        ("logit_bias", {5: math.nan}),
        ("logit_bias", {5: math.inf}),
        ("logit_bias", {-1: 0.5}),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        Sampler(**{name: value})


def test_bounds_are_written_out() -> None:
    with pytest.raises(ValueError, match=r"^seed must be between 0 and 18,446,744,073,709,551,615, not -1$"):
        Sampler(seed=-1)
    with pytest.raises(ValueError, match=r"^temperature must be between 0 and 1e\+06, not -0.5$"):
        Sampler(temperature=-0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "hot"),
        ("temperature", None),
        ("temperature", True),
        ("top_k", 3.0),
        ("top_k", "40"),
        ("top_p", [0.9]),
        ("min_p", 1j),
        ("penalty_last_n", 1.5),
        ("seed", 1.5),
        ("seed", "x"),
        ("logit_bias", [(5, 1.0)]),
        ("logit_bias", {"5": 1.0}),
        ("logit_bias", {5: "much"}),
    ],
)
def test_what_is_no_number_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=name):
        Sampler(**{name: value})


@pytest.mark.parametrize(
    ("unknown", "near"),
    [
        ("temprature", "temperature"),
        ("topk", "top_k"),
        ("repetition_penalty", "repeat_penalty"),
        ("typical", "typical_p"),
        ("temp", "temperature"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(unknown: str, near: str) -> None:
    with pytest.raises(TypeError, match=f"Sampler has no parameter '{unknown}'; did you mean '{near}'"):
        Sampler(**{unknown: 1})
    with pytest.raises(TypeError, match=unknown):
        Sampler.from_dict({unknown: 1})


def test_an_unknown_name_like_none_is_refused_with_all() -> None:
    with pytest.raises(TypeError, match=r"no parameter 'zzz'; it has temperature, top_k, .*seed"):
        Sampler(zzz=1)


def test_edges_of_the_ranges_are_accepted() -> None:
    Sampler(temperature=0, top_k=-1, top_p=0, min_p=1, typical_p=0, top_n_sigma=-math.inf, penalty_last_n=-1, seed=0)
    Sampler(temperature=np.float32(0.5), top_k=np.int64(3), seed=2**64 - 1, logit_bias={np.int32(3): -math.inf})


def test_names_and_defaults_are_llama_cpp_pythons() -> None:
    theirs = inspect.signature(llama_cpp.Llama.create_completion).parameters
    ours = Sampler().to_dict()
    shared = ours.keys() & theirs.keys()
    assert {"temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_penalty", "seed"} <= shared
    for name in shared - {"logit_bias"}:
        assert ours[name] == theirs[name].default, name
    assert (
        ours["penalty_last_n"] == inspect.signature(llama_cpp.Llama.__init__).parameters["last_n_tokens_size"].default
    )


def test_settings_survive_json_and_pickle() -> None:
    sampler = Sampler(temperature=0.3, logit_bias={7: -1.5}, seed=2**63)
    assert sampler.stages  # cached: must not travel
    assert Sampler.from_dict(json.loads(json.dumps(sampler.to_dict()))) == sampler
    assert pickle.loads(pickle.dumps(sampler)) == sampler


@pytest.mark.parametrize(
    ("sampler", "line"),
    [
        (Sampler(), "Sampler()"),
        (Sampler(top_k=40, temperature=0.5, seed=7), "Sampler(temperature=0.5, seed=7)"),
        (Sampler(logit_bias={7: -1.5, 2: -math.inf}), 'Sampler(logit_bias={7: -1.5, 2: float("-inf")})'),
        (Sampler(temperature=np.float32(0.5), top_k=np.int64(3)), "Sampler(temperature=0.5, top_k=3)"),
        (Sampler(logit_bias={np.int32(3): 1}, top_n_sigma=-math.inf), None),
    ],
)
def test_it_shows_the_line_that_makes_it(sampler: Sampler, line: str | None) -> None:
    assert line in (None, repr(sampler))
    assert eval(repr(sampler)) == sampler


def test_changed_is_what_differs_from_the_defaults() -> None:
    assert Sampler().changed() == {}
    assert Sampler(top_k=40, min_p=0.1).changed() == {"min_p": 0.1}


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (7, TypeError, "GBNF as text, a JSON schema as a mapping, or None, not 7"),
        (["a"], TypeError, "not \\['a'\\]"),
        ("", ValueError, "grammar is empty"),
        (" \n", ValueError, "grammar is empty"),
        ('root ::= "a"\nb ::= "\0"', ValueError, "a null character in line 2"),
        ('root ::= "\ud800"', ValueError, "half a character at position 10"),
        ("x" * 1_000_001, ValueError, "1,000,001 characters, and 1,000,000 are the most"),
        ({"const": object()}, ValueError, "no JSON schema"),
        ({"const": math.nan}, ValueError, "no JSON schema"),
        ({"const": "\ud800"}, ValueError, "half a character"),
    ],
    ids=str,
)
def test_what_can_be_no_grammar_is_refused(value: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Sampler(grammar=value)


@pytest.mark.parametrize(
    "grammar", ['root ::= "it\'s" | "\\n"\n', {"type": "object", "properties": {"é": {"const": None}}}]
)
def test_a_grammar_is_kept_as_it_was_given(grammar: object) -> None:
    sampler = Sampler(grammar=grammar, seed=1)
    assert next(iter(sampler.stages)) == "grammar"
    assert sampler.changed() == {"grammar": grammar, "seed": 1}
    assert eval(repr(sampler)) == sampler
    assert Sampler.from_dict(json.loads(json.dumps(sampler.to_dict()))) == sampler
    copy = pickle.loads(pickle.dumps(sampler.bound(None, lambda *_, **__: pytest.fail("travelled"))))
    assert (copy, copy.allowed) == (sampler, None)


def test_a_schema_of_other_mappings_becomes_json() -> None:
    schema = MappingProxyType({"properties": MappingProxyType({"b": {}, "a": {}})})
    settings = Sampler(grammar=schema).to_dict()
    assert json.dumps(settings["grammar"]) == '{"properties": {"b": {}, "a": {}}}'
    assert eval(repr(Sampler(grammar=schema))).grammar == settings["grammar"]


def test_a_bias_of_a_text_is_told_where_ids_come_from() -> None:
    with pytest.raises(TypeError, match=r"token id must be a whole number, as model.token\(\) gives it, not ' king'"):
        Sampler(logit_bias={" king": 5})


def test_a_sampler_does_not_change_and_says_what_does() -> None:
    sampler = Sampler(top_k=3)
    with pytest.raises(FrozenInstanceError, match=r"by dataclasses.replace\(sampler, temperature=...\), and give that"):
        sampler.temperature = 0.2
    assert replace(sampler, temperature=0.2) == Sampler(top_k=3, temperature=0.2)


def test_a_seed_is_taken_once_and_kept() -> None:
    with pytest.raises(ValueError, match="seed is None"):
        Sampler().choose(ROW, [], 0)
    seeded = Sampler().seeded()
    assert seeded.seed is not None
    assert seeded.seeded() is seeded
    assert Sampler().seeded().seed != seeded.seed


def test_errors_cross_a_pipe() -> None:
    for error in (
        InfernoError("why"),
        EngineDiedError("load", -9, "killed"),
        ModelFileError("a.gguf", "too short", field="magic", offset=4),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.__dict__) == (type(error), str(error), error.__dict__)


# --- the dice ---------------------------------------------------------------------------------------------


def test_draw_is_a_pure_function_of_seed_and_position() -> None:
    numbers = [draw(7, position) for position in range(100)]
    assert [draw(7, position) for position in reversed(range(100))] == numbers[::-1]
    assert len(set(numbers)) == 100
    assert draw(8, 0) not in numbers
    assert draw(0, 0) != draw(2**64 - 1, 0)


@pytest.mark.parametrize(("seed", "position"), [(0, 0), (7, 0), (7, 1), (2**64 - 1, 123_456)])
def test_draw_is_philox(seed: int, position: int) -> None:
    """Salmon et al., 2011, table 2: runs that were kept must play again, whatever NumPy becomes."""
    words, key = [position + 1, 0, 0, 0], [seed, 0]
    for _ in range(10):
        left, right = words[0] * 0xD2E7470EE14C6C93, words[2] * 0xCA5A826395121157
        words = [(right >> 64) ^ words[1] ^ key[0], right % 2**64, (left >> 64) ^ words[3] ^ key[1], left % 2**64]
        key = [(key[0] + 0x9E3779B97F4A7C15) % 2**64, (key[1] + 0xBB67AE8584CAA73B) % 2**64]
    assert draw(seed, position) == (words[0] >> 11) / 2**53


def test_draws_are_uniform_and_unrelated() -> None:
    for seed in range(5):
        u = np.array([draw(seed, position) for position in range(4_000)])
        assert ((u >= 0) & (u < 1)).all()
        counts = np.histogram(u, bins=20, range=(0, 1))[0]
        assert chi_square(counts, np.full(20, 0.05)) < 43.8  # 0.1 % of 19 degrees of freedom
        for lag in (1, 2, 3, 4, 8):
            assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 0.06
    assert abs(np.corrcoef(*([draw(seed, p) for p in range(2_000)] for seed in (1, 2)))[0, 1]) < 0.08


@pytest.mark.parametrize(
    ("seed", "settings"),
    [
        (0, {}),
        (1, {"temperature": 0.5}),
        (2, {"temperature": 3.0, "top_k": 12}),
        (2**64 - 1, {"top_p": 0.8, "min_p": 0.02}),
    ],
)
def test_frequencies_fit_the_probabilities(seed: int, settings: dict[str, float]) -> None:
    sampler = Sampler(**{**OFF, **settings, "seed": seed})
    left = sampler.candidates(ROW, [])
    p = dict(zip(left.ids.tolist(), softmax(left.logits), strict=True))
    n = 20_000
    choices = [sampler.choose(ROW, [], position) for position in range(n)]
    assert all(choice.probability == pytest.approx(p[choice.token], abs=1e-12) for choice in choices)
    counts = np.bincount([choice.token for choice in choices], minlength=len(ROW))
    assert set(np.flatnonzero(counts)) <= set(p)
    common = [token for token in p if n * p[token] >= 5]
    rare = n - counts[common].sum()
    expected = np.array([p[token] for token in common])
    observed, expected = np.append(counts[common], rare), np.append(expected, max(1 - expected.sum(), 0))
    if n * expected[-1] < 5:
        observed, expected = observed[:-1], expected[:-1]
    freedom = len(observed) - 1
    assert chi_square(observed, expected, n) < freedom + 3.3 * math.sqrt(2 * freedom) + 5  # about 0.1 %


def chi_square(counts: np.ndarray, p: np.ndarray, n: int | None = None) -> float:
    expected = p * (counts.sum() if n is None else n)
    return float(((counts - expected) ** 2 / expected).sum())


def test_the_token_is_where_the_number_falls_in_falling_order() -> None:
    row = np.log(np.array([0.1, 0.4, 0.1, 0.4], np.float32))
    sampler = Sampler(**OFF, seed=3)
    for position in range(200):
        choice = sampler.choose(row, [], position)
        assert choice.draw == draw(3, position)
        assert choice.token == [1, 3, 0, 2][int(np.searchsorted([0.4, 0.8, 0.9], choice.draw, side="right"))]


def test_a_large_flat_vocabulary_is_sorted_as_far_as_needed() -> None:
    row = np.random.default_rng(1).standard_normal(151_936).astype(np.float32) * np.float32(0.01)
    order = np.argsort(-row, kind="stable")
    cumulative = np.cumsum(softmax(row)[order])
    for position in range(12):
        choice = Sampler(**OFF, seed=2).choose(row, [], position)
        assert choice.token == order[np.searchsorted(cumulative, choice.draw, side="right")]


def test_as_few_as_it_takes_whatever_the_distribution() -> None:
    dice = np.random.default_rng(6)
    for i in range(200):
        keys = (
            (dice.standard_normal(int(dice.integers(1, 20_000))) * dice.uniform(0, 3)).round(i % 3).astype(np.float32)
        )
        keys[dice.random(len(keys)) < 0.1] = -np.inf
        keys[0] = 0.0
        p, mass, beyond = softmax(keys), float(dice.uniform(0, 1)), bool(i % 2)
        order = np.argsort(-keys, kind="stable")
        count = int(p[order].cumsum().searchsorted(mass, "right" if beyond else "left")) + 1
        found = fewest(keys, p, mass, beyond=beyond)
        assert found[-1] == order[count - 1]
        assert sorted(found.tolist()) == sorted(order[:count].tolist())


# --- stages -----------------------------------------------------------------------------------------------


def test_nothing_asked_nothing_done() -> None:
    sampler = Sampler(**OFF)
    assert sampler.stages == {}
    assert sampler.candidates(ROW, [1, 2]).logits is ROW


def test_the_row_is_never_changed() -> None:
    row = ROW.copy()
    Sampler(temperature=0.5, repeat_penalty=1.3, logit_bias={3: 2.0}, top_n_sigma=2, typical_p=0.9, seed=1).choose(
        row, [1, 1, 4], 0
    )
    assert np.array_equal(row, ROW)


def test_greedy_draws_nothing_and_takes_the_lower_id_of_equals() -> None:
    row = np.array([1, 3, 3, 2], np.float32)
    for settings in ({"temperature": 0}, {"top_k": 1}, {"top_p": 0}, {"temperature": 1e-300, "seed": 1, "top_k": 1}):
        choice = Sampler(**settings).choose(row, [], 0)
        assert (choice.token, choice.probability, choice.kept.tolist()) == (1, 1.0, [1])
        assert math.isnan(choice.draw)


@pytest.mark.parametrize("temperature", [1e-300, 1e-30, 1e-6])
def test_a_tiny_temperature_is_as_good_as_greedy(temperature: float) -> None:
    choice = Sampler(**{**OFF, "temperature": temperature, "seed": 1}).choose(ROW, [], 5)
    assert (choice.token, choice.probability) == (int(ROW.argmax()), 1.0)


def test_min_p_of_one_keeps_the_best_and_its_equals() -> None:
    assert chosen(np.array([2, 5, 5, 1], np.float32), min_p=1.0) == [1, 2]


def test_bias_forbids_forces_and_knows_the_vocabulary() -> None:
    best = int(ROW.argmax())
    banned = Sampler(temperature=0, logit_bias={best: -math.inf}).choose(ROW, [], 0)
    assert banned.token == int(np.argsort(-ROW)[1])
    assert Sampler(temperature=0, logit_bias={9: 1e3}).choose(ROW, [], 0).token == 9
    with pytest.raises(ValueError, match="logit_bias names token 50, but the vocabulary ends at 49"):
        Sampler(temperature=0, logit_bias={50: 1.0}).choose(ROW, [], 0)


def test_a_bias_that_leaves_nothing_is_told() -> None:
    with pytest.raises(ValueError, match="logit_bias forbids every token"):
        Sampler(logit_bias=dict.fromkeys(range(3), -math.inf), seed=1).choose(np.zeros(3, np.float32), [], 0)


def test_a_forbidden_token_never_comes() -> None:
    bias = {int(token): -math.inf for token in np.argsort(-ROW)[:10]}
    for settings in (OFF, {**OFF, "typical_p": 0.9}, {**OFF, "top_n_sigma": 1.5}, {**OFF, "top_p": 0.9}):
        sampler = Sampler(**settings, logit_bias=bias, seed=1)
        assert not {sampler.choose(ROW, [], position).token for position in range(300)} & bias.keys()


class Fence:
    """A grammar made by hand: the same tokens whatever was said. It notes how many were asked about each time."""

    def __init__(self, allowed: np.ndarray) -> None:
        self.allowed, self.asked = allowed, list[int]()

    def __call__(self, said: object, ids: np.ndarray | None = None, *, first: int = 0) -> np.ndarray:
        mine = self.allowed if ids is None else self.allowed[ids]
        self.asked.append(len(mine))
        return mine


def random_settings(dice: np.random.Generator) -> dict[str, object]:
    def maybe(value: float, off: float) -> float:
        return float(value) if dice.random() < 0.5 else off

    return {
        "temperature": maybe(dice.uniform(0.1, 2), 0.0),
        "top_k": int(maybe(dice.integers(1, 400), 0)),
        "top_p": maybe(0.9, 1.0),
        "min_p": maybe(10 ** dice.uniform(-4, -0.3), 0.0),
        "typical_p": maybe(0.9, 1.0) if dice.random() < 0.3 else 1.0,
        "top_n_sigma": maybe(1.5, -1.0) if dice.random() < 0.3 else -1.0,
        "xtc_probability": maybe(0.5, 0.0) if dice.random() < 0.3 else 0.0,
        "mirostat_mode": int(dice.choice([0, 0, 0, 0, 1, 2])),
        "frequency_penalty": maybe(0.5, 0.0),
        "logit_bias": {int(token): -math.inf for token in dice.integers(0, 10_000, 3)},
    }


def test_a_grammar_looks_no_further_than_it_must_and_chooses_the_same() -> None:
    """Against the whole row with the forbidden tokens taken out first, which is llama.cpp's way; ties included."""
    dice, short = np.random.default_rng(8), 0
    for position in range(300):
        row = (dice.standard_normal(10_000) * 3).round(int(dice.integers(0, 3))).astype(np.float32)
        fence = Fence(dice.random(10_000) < 10 ** dice.uniform(-3, 0))
        settings = random_settings(dice)
        history = dice.integers(0, 10_000, 20).tolist()
        sampler = Sampler(grammar="g", seed=3, **settings).bound(None, fence)
        plain = Sampler(seed=3, **settings)
        ours = sampler.choose(row, history, position)
        masked = np.where(fence.allowed, row, -np.inf).astype(np.float32)
        left = plain.candidates(masked, history, position)
        left = left.take(left.logits > -np.inf)
        assert set(ours.kept.tolist()) == set(left.ids.tolist()), settings
        theirs = plain.choose(masked, history, position)
        assert ours.token == theirs.token
        assert ours.probability == pytest.approx(theirs.probability, abs=1e-9)
        assert fence.allowed[ours.token]
        short += sum(fence.asked) < 10_000
    assert short > 100


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({}, [1024]),
        ({"temperature": 0, "top_k": 0}, [1024]),
        ({"top_k": 0, "min_p": 0.1, "top_p": 1.0}, [1024]),
        ({"top_k": 600}, [1024, 1024]),
        ({"top_k": 0}, [40_000]),
        ({"mirostat_mode": 2}, [40_000]),
        ({"temperature": 0, "typical_p": 0.5, "top_k": 0}, [40_000]),
    ],
    ids=str,
)
def test_how_far_a_grammar_looks(settings: dict[str, object], asked: list[int]) -> None:
    row = np.random.default_rng(2).standard_normal(40_000).astype(np.float32) * 3
    fence = Fence(np.arange(40_000) % 2 == 0)
    Sampler(grammar="g", seed=3, **settings).bound(None, fence).choose(row, [], 0)
    assert fence.asked == asked


def test_a_single_token_is_found_wherever_it_is() -> None:
    row = np.random.default_rng(2).standard_normal(40_000).astype(np.float32)
    for rank in (0, 1023, 1024, 5_000, 39_999):
        only = int(leading(row, 40_000)[rank])
        fence = Fence(np.arange(40_000) == only)
        choice = Sampler(grammar="g", seed=1).bound(None, fence).choose(row, [], 0)
        assert (choice.token, choice.probability, choice.kept.tolist()) == (only, 1.0, [only])


def test_where_a_grammar_leaves_nothing_it_says_where() -> None:
    for mask, bias in ((np.zeros(50, bool), {}), (np.arange(50) == 3, {3: -math.inf})):
        with pytest.raises(GrammarError, match="at position 9 the grammar allows no token") as caught:
            Sampler(grammar="g", logit_bias=bias, seed=1).bound(None, Fence(mask)).choose(ROW, [], 9)
        assert caught.value.position == 9


def test_a_grammar_needs_a_model() -> None:
    with pytest.raises(ValueError, match=r"use sampler.bound\(model.engine\)"):
        Sampler(grammar="g", seed=1).choose(ROW, [], 0)


@pytest.mark.parametrize(("last_n", "touched"), [(0, set()), (2, {3}), (3, {3, 7}), (64, {3, 7, 9}), (-1, {3, 7, 9})])
def test_penalties_see_as_far_back_as_told(last_n: int, touched: set[int]) -> None:
    sampler = Sampler(**OFF, presence_penalty=1.0, penalty_last_n=last_n)
    changed = np.flatnonzero(sampler.candidates(ROW, [9, 7, 3, 3]).logits != ROW)
    assert set(changed.tolist()) == touched


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_row_without_a_distribution_is_refused(broken: float) -> None:
    row = ROW.copy()
    row[2] = broken
    for settings in ({}, {"temperature": 0}, OFF):
        with pytest.raises(FloatingPointError, match="largest logit"):
            Sampler(**settings, seed=1).choose(row, [], 0)


# --- repetitions, top choices, mirostat ---------------------------------------------------------------------


LONGER = {256: b"ab", 257: b"x\n", 258: b"en", 259: b"d of"}


class Letters:
    """A vocabulary of single bytes, with a few longer tokens behind."""

    def pieces(self, ids):
        return [LONGER.get(token) or bytes([token]) for token in ids]

    def tokenize(self, text, *, special):
        assert not special
        return list(text)


def lost(history: list[int], *breakers: str, **settings: object) -> dict[int, float]:
    """What DRY takes from the logits of which tokens."""
    usual = {"dry_multiplier": 1.0, "dry_base": 2.0, "dry_sequence_breakers": breakers}
    row = np.zeros(260, np.float32)
    left = Sampler(**{**OFF, **usual, **settings}).bound(Letters()).candidates(row, history)
    return {token: -float(left.logits[token]) for token in np.flatnonzero(left.logits != 0).tolist()}


def ids(text: str) -> list[int]:
    return list(text.encode())


def test_dry_grows_with_the_repetition() -> None:
    assert lost(ids("abcabXab")) == {ord("X"): 1.0, ord("c"): 1.0}
    assert lost(ids("abcdZZabcd")) == {ord("Z"): 4.0}
    assert lost(ids("abcdZZabcd"), dry_allowed_length=4) == {ord("Z"): 1.0}
    assert lost(ids("abcdZZabcd"), dry_allowed_length=5) == {}
    assert lost(ids("abcdZZabcd"), dry_penalty_last_n=6) == {}
    assert lost(ids("abcdZZabcd"), dry_base=0.5) == {}


def test_dry_does_not_look_across_a_breaker() -> None:
    assert lost(ids("ab\ncdZZab\ncd"), "\n") == {ord("Z"): 1.0}  # "cd" alone
    assert lost(ids("ab\ncdZZab\ncd")) == {ord("Z"): 8.0}
    assert lost(ids("abcdZZabcd"), "cd") == {}
    assert lost([*ids("qabcZZqab"), ord("c")], "Z") == {}  # a breaker itself costs nothing
    assert lost([97, 98, 257, 99, 100, 90, 97, 98, 257, 99, 100], "\n") == {90: 1.0}  # inside a longer token
    assert lost([258, 259, 97, 98, 90, 258, 259, 97, 98], "end of") == {90: 4.0}  # it ends with other tokens
    assert lost([258, *ids("d of"), 97, 98, 90, 258, *ids("d of"), 97, 98], "end of") == {90: 1.0}


def test_dry_knows_a_breaker_of_which_every_byte_is_a_token() -> None:
    assert lost(ids("ab\u201dcdZZab\u201dcd"), "\u201d") == {ord("Z"): 1.0}


def test_dry_on_endless_repetition_forbids() -> None:
    assert lost([7] * 400, dry_penalty_last_n=-1)[7] > 1e30
    assert lost([7] * 400, dry_penalty_last_n=-1, dry_base=1.0)[7] == 1.0
    assert math.isinf(lost([7] * 400, dry_penalty_last_n=-1, dry_multiplier=1e6)[7])


def test_breakers_need_a_vocabulary() -> None:
    with pytest.raises(ValueError, match=r"use sampler\.bound\(model\.engine\)"):
        Sampler(dry_multiplier=1.0, seed=1).choose(ROW, [1, 2, 3, 1, 2, 3], 6)
    bound = Sampler(dry_multiplier=1.0, seed=1).bound(Letters())
    assert bound == Sampler(dry_multiplier=1.0, seed=1)
    assert "breakers" not in pickle.loads(pickle.dumps(bound)).__dict__
    unused = Sampler()
    assert unused.bound(Letters()) is unused


@pytest.mark.parametrize("value", ["\n", ["a", 3], 5])
def test_breakers_are_strings(value: object) -> None:
    with pytest.raises(TypeError, match="dry_sequence_breakers must be"):
        Sampler(dry_sequence_breakers=value)
    with pytest.raises(ValueError, match="dry_sequence_breakers must not be empty"):
        Sampler(dry_sequence_breakers=["a", ""])


def test_xtc_takes_its_chance_from_the_dice() -> None:
    row = np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32))
    sampler = Sampler(**{**OFF, "seed": 5}, xtc_probability=0.3, xtc_threshold=0.15)
    left = [sampler.candidates(row, [], position).ids.tolist() for position in range(400)]
    assert all(kept == ([2, 3] if draw(5, at, 1) < 0.3 else [0, 1, 2, 3]) for at, kept in enumerate(left))
    assert 80 < left.count([2, 3]) < 160
    assert draw(5, 9, 1) != draw(5, 9)
    assert sampler.choose(row, [], 3).draw == draw(5, 3)


@pytest.mark.parametrize(
    ("threshold", "kept"), [(0.0, [3]), (0.1, [3]), (0.15, [2, 3]), (0.45, [0, 1, 2, 3]), (0.6, [0, 1, 2, 3])]
)
def test_xtc_leaves_the_last_top_choice(threshold: float, kept: list[int]) -> None:
    row = np.log(np.array([0.4, 0.3, 0.2, 0.1001], np.float32))
    assert chosen(row, xtc_probability=1.0, xtc_threshold=threshold) == kept


def test_xtc_never_leaves_what_is_forbidden_alone() -> None:
    sampler = Sampler(**OFF, seed=1, xtc_probability=1.0, xtc_threshold=0.0, logit_bias={0: -math.inf, 3: -math.inf})
    assert sampler.choose(np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32)), [], 0).token == 2


@pytest.mark.parametrize("mode", [1, 2])
def test_mirostat_keeps_the_surprisal_near_its_target(mode: int) -> None:
    dice = np.random.default_rng(2)
    rows = (dice.standard_normal((600, 400)) * 3).astype(np.float32)
    sampler, mu, bits = Sampler(mirostat_mode=mode, mirostat_tau=3.0, temperature=1.0, seed=1), None, []
    for position, row in enumerate(rows):
        choice = sampler.choose(row, [], position, mu)
        mu = choice.mu
        bits.append(-math.log2(choice.probability))
    assert np.mean(bits[100:]) == pytest.approx(3.0, abs=0.3)


def test_mirostats_state_is_folded_from_the_records() -> None:
    sampler, mu, stored = Sampler(mirostat_mode=2, mirostat_tau=3.0, seed=1), None, []
    for position in range(30):
        choice = sampler.choose(ROW, [], position, mu)
        mu = choice.mu
        stored.append(float(np.float32(choice.probability)))  # as a record has it
        assert sampler.mu_after(stored) == mu
    assert sampler.mu_after([]) == 6.0
    assert math.isnan(Sampler(seed=1).choose(ROW, [], 0).mu)


def test_mirostat_takes_the_place_of_what_cuts() -> None:
    settings = {
        "logit_bias": {1: 1.0},
        "repeat_penalty": 1.1,
        "dry_multiplier": 1.0,
        "top_n_sigma": 1.0,
        "typical_p": 0.5,
    }
    every = Sampler(**settings, xtc_probability=0.5)
    first, cuts = ["logit_bias", "penalties", "dry"], ["top_n_sigma", "top_k", "typical_p", "top_p", "min_p", "xtc"]
    assert list(every.stages) == [*first, *cuts, "temperature"]
    assert list(Sampler(**settings, mirostat_mode=1).stages) == [*first, "temperature", "mirostat"]


@pytest.mark.parametrize("mode", [1, 2])
@pytest.mark.parametrize("mu", [-50.0, 0.0, 1e-3, 400.0])
def test_mirostat_leaves_something_wherever_mu_is(mode: int, mu: float) -> None:
    flat, single = np.zeros(50, np.float32), np.full(50, -np.inf, np.float32)
    single[3] = 1.0
    for row in (ROW, flat, single):
        left = Sampler(mirostat_mode=mode, seed=1).candidates(row, [], 0, mu).ids
        assert 1 <= len(left) <= 50
        if mu > 300 and row is not single:
            assert len(left) == 50
    assert Sampler(mirostat_mode=mode, temperature=0, seed=1).choose(ROW, [], 0, mu).token == ROW.argmax()
