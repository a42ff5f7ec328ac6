"""What a head looks at, in numbers."""

from __future__ import annotations

import numpy as np
import pytest

from inferno_widget import attention
from tests import reference as ref


def weights(n: int = 12, layers: int = 3, heads: int = 2, seed: int = 0) -> np.ndarray:
    """Random causal attention, float32 [layer, head, query, key]."""
    scores = np.random.default_rng(seed).normal(size=(layers, heads, n, n))
    return ref.softmax(np.where(np.tri(n, dtype=bool), scores, -np.inf)).astype(np.float32)


def only(n: int, look: dict[int, int]) -> np.ndarray:
    """[1, 1, n, n], each query looking at one key: itself, unless `look` names another."""
    table = np.zeros((1, 1, n, n), np.float32)
    for query in range(n):
        table[0, 0, query, look.get(query, query)] = 1
    return table


def test_scores_are_those_of_the_reference() -> None:
    table, ids = weights(), [1, 2, 3, 1, 2, 3, 3, 4, 1, 5, 2, 6]
    found = attention.statistics(table, ids)
    assert np.allclose(found.previous, ref.previous_token_scores(table))
    assert np.allclose(found.induction, ref.induction_scores(table, ids))


def test_entropy_is_zero_at_one_token_and_ln_n_at_n_alike() -> None:
    assert attention.entropy(only(4, {})).tolist() == [[[0, 0, 0, 0]]]
    alike = (np.tri(4) / np.arange(1, 5)[:, None])[None, None]
    assert np.allclose(attention.entropy(alike), np.log([1, 2, 3, 4]))


def test_distance_counts_tokens_back() -> None:
    assert attention.distance(only(5, {4: 1, 3: 0})).tolist() == [[[0, 0, 0, 3, 3]]]


def test_the_first_token_is_no_query_of_its_own() -> None:
    assert attention.first_token(only(5, {4: 0, 2: 0})).tolist() == [[0.5]]
    assert np.isnan(attention.first_token(only(1, {}))).all()


def test_a_previous_token_head_and_an_induction_head_are_found() -> None:
    ids = [7, 8, 9, 7, 8, 9]
    before = only(6, {i: i - 1 for i in range(1, 6)})
    again = only(6, {3: 1, 4: 2, 5: 3})
    assert attention.previous_token(before).tolist() == [[1.0]]
    assert attention.induction(before, ids).tolist() == [[0.0]]
    assert attention.induction(again, ids).tolist() == [[1.0]]
    assert np.isnan(attention.induction(again, range(6))).all()


def test_some_queries_say_what_they_say_among_all() -> None:
    table, ids = weights(), [1, 2, 3, 1, 2, 3, 3, 4, 1, 5, 2, 6]
    last = attention.statistics(table[:, :, 8:], ids)
    named = attention.statistics(table[:, :, 8:], ids, range(8, 12))
    assert all(np.array_equal(a, b) for a, b in zip(last, named, strict=True))
    assert np.allclose(last.distance, attention.distance(table)[..., 8:].mean(-1))
    assert np.allclose(last.first, table[:, :, 8:, 0].mean(-1))
    with pytest.raises(ValueError, match="places of 4 queries among 12 keys"):
        attention.distance(table[:, :, 8:], [1, 2])
    with pytest.raises(ValueError, match="those of the 12 keys, not 3"):
        attention.induction(table, [1, 2, 3])


def test_rollout_multiplies_through_the_layers() -> None:
    table = weights()
    rolled = attention.rollout(table)
    assert rolled.shape == (3, 12, 12)
    assert np.allclose(rolled.sum(-1), 1)
    mixed = [0.5 * np.eye(12) + 0.5 * layer.mean(0) for layer in table.astype(np.float64)]
    assert np.allclose(rolled[-1], mixed[2] @ mixed[1] @ mixed[0])
    assert np.array_equal(attention.rollout(table, kept=1)[-1], np.eye(12))
    with pytest.raises(ValueError, match="of a whole text"):
        attention.rollout(table[:, :, 5:])
    with pytest.raises(ValueError, match="between 0 and 1"):
        attention.rollout(table, kept=2)
