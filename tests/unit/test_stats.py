"""Statistics against float64 numpy and a full stable sort."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inferno_widget.stats import describe, divergence, leading, logprobs, rank

NATS = 1e-5
GENERATOR = np.random.default_rng(20)


def spread(n: int, deviation: float) -> np.ndarray:
    return (GENERATOR.standard_normal(n) * deviation).astype(np.float32)


def coarse(n: int) -> np.ndarray:
    """Few different values, so that nearly everything ties."""
    return GENERATOR.integers(-3, 4, n).astype(np.float32)


def masked(n: int) -> np.ndarray:
    row = spread(n, 4)
    row[GENERATOR.random(n) < 0.6] = -np.inf
    row[n // 2] = 1
    return row


def peaked(n: int) -> np.ndarray:
    row = spread(n, 1)
    row[n // 3] = 80
    return row


ROWS = {
    "one": np.array([3.5], np.float32),
    "two": np.array([-1.0, 2.0], np.float32),
    "small": spread(17, 3),
    "just above k": spread(21, 3),
    "many groups, some left over": spread(1_003, 2),
    "demo's size": spread(4_096, 4),
    "a large vocabulary": spread(151_936, 3),
    "a large vocabulary, flat": spread(151_936, 0.01),
    "all equal": np.full(5_000, 1.25, np.float32),
    "ties": coarse(4_096),
    "ties in a large vocabulary": coarse(151_936),
    "mostly masked": masked(32_000),
    "all but one masked": np.array([-np.inf] * 999 + [0.5] + [-np.inf] * 1_000, np.float32),
    "nearly certain": peaked(32_000),
    "far from zero": spread(4_096, 3) - np.float32(3_000),
    "rising": np.linspace(-20, 20, 10_000, dtype=np.float32),
    "falling": np.linspace(20, -20, 10_000, dtype=np.float32),
    "wide": spread(4_096, 1e4),
    "huge": spread(4_096, 1e30),
}


def plain(logits: np.ndarray) -> tuple[np.ndarray, float]:
    """ln p of every token and the entropy, float64."""
    exact = logits.astype(np.float64)
    peak = exact.max()
    logprobs = exact - (peak + math.log(np.exp(exact - peak).sum()))
    p = np.exp(logprobs)
    return logprobs, float(-np.sum(p[p > 0] * logprobs[p > 0]))


def order(logits: np.ndarray) -> np.ndarray:
    return np.argsort(-logits.astype(np.float64), kind="stable")


def close(value: float, expected: float) -> bool:
    """Within 1e-5 nats, or within float32's own steps where the numbers are too large for that."""
    return value == expected or abs(value - expected) < max(NATS, 4e-7 * abs(expected))


@pytest.mark.parametrize("logits", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("k", [0, 1, 20, 32, 10**6])
def test_describe_equals_the_plain_formulas(logits: np.ndarray, k: int) -> None:
    n = len(logits)
    logprobs, entropy = plain(logits)
    sequence = order(logits)
    place = np.empty(n, np.int64)
    place[sequence] = np.arange(1, n + 1)
    for token in {0, n - 1, n // 2, int(sequence[0]), int(sequence[-1]), int(GENERATOR.integers(n))}:
        said = describe(logits, token, k)
        assert close(said.logprob, logprobs[token])
        assert close(said.entropy, entropy)
        assert said.rank == place[token]
        assert said.top_ids.tolist() == sequence[:k].tolist()
        assert all(map(close, said.top_logprobs.tolist(), logprobs[sequence[:k]]))
        assert abs(said.tail - np.exp(logprobs[sequence[k:]]).sum()) < 1e-6
        assert (said.top_ids.dtype, said.top_logprobs.dtype) == (np.int32, np.float32)
        assert all(type(number) is float for number in (said.logprob, said.entropy, said.tail))


@pytest.mark.parametrize("n", range(1, 60))
def test_leading_equals_a_stable_sort_at_every_small_size(n: int) -> None:
    for values in (coarse(8 * n + n // 3), spread(8 * n + n // 3, 1)):
        for wanted in (1, 2, n, 3 * n, len(values)):
            assert leading(values, wanted).tolist() == order(values)[:wanted].tolist()


def test_rank_counts_ties_below_the_token() -> None:
    row = np.array([1, 5, 5, 5, 9], np.float32)
    assert [rank(row, token) for token in range(5)] == [5, 2, 3, 4, 1]


def test_entropy_of_the_uniform_distribution_is_the_logarithm_of_its_size() -> None:
    assert describe(np.zeros(4_096, np.float32), 7, 5).entropy == pytest.approx(math.log(4_096), abs=NATS)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_row_without_a_distribution_is_refused(broken: float) -> None:
    row = spread(100, 1)
    row[3] = broken
    with pytest.raises(FloatingPointError, match="largest logit is"):
        describe(row, 0, 5)
    with pytest.raises(FloatingPointError, match="-inf"):
        describe(np.full(9, -np.inf, np.float32), 0, 5)


@pytest.mark.parametrize("name", ROWS)
def test_logprobs_and_divergence_are_those_of_the_definition(name: str) -> None:
    row, other = ROWS[name], np.roll(ROWS[name], 1) if np.isfinite(ROWS[name]).all() else np.zeros_like(ROWS[name])
    p, q = logprobs(row), logprobs(other)
    assert math.isclose(np.exp(p).sum(), 1, abs_tol=1e-9)
    assert p[row.argmax()] == pytest.approx(describe(row, int(row.argmax()), 1).logprob, abs=NATS)
    terms = [a * (b - c) for a, b, c in zip(np.exp(p).tolist(), p.tolist(), q.tolist(), strict=True) if a]
    assert divergence(p, q) == pytest.approx(max(0, math.fsum(terms)), rel=1e-9, abs=1e-12)
    assert divergence(p, p) == 0


def test_what_cannot_come_any_more_is_lost_without_end() -> None:
    both, one = (logprobs(np.array(row, np.float32)) for row in ([0, 0], [0, -np.inf]))
    assert divergence(both, one) == math.inf
    assert divergence(one, both) == pytest.approx(math.log(2))
