"""Whole rows of many tokens at once: those that one call after the other gives, and the cache as it was."""

from __future__ import annotations

import numpy as np
import pytest

from inferno_widget.engine.stop import Stop
from tests.engine.tools import Driver, drain

IDS = [1, *(3 + np.arange(199) * 7 % 300).tolist()]
NEAR = 1e-3


@pytest.mark.parametrize("name", ["native", "client"])
def test_rows_are_those_of_one_call_after_the_other(name: str, request: pytest.FixtureRequest) -> None:
    driver: Driver = request.getfixturevalue(name)
    engine = driver.engine
    whole = driver.prefill(IDS)
    wanted = [0, 1, 62, 63, 64, 65, 130, 179]  # batches end after 64 tokens
    branch = engine.branch(whole, 20)
    found = dict(engine.rows(branch, IDS[20:], wanted, cancel=driver.make_flag()))
    assert list(found) == wanted
    for i, row in found.items():
        expected = engine.logits(whole, 20 + i, **({"cancel": driver.make_flag()} if name == "native" else {}))
        np.testing.assert_allclose(row, expected, rtol=0, atol=NEAR)
    driver.generate(branch, 1)
    assert driver.records[0].position == len(IDS), "the branch holds all tokens now"


def test_rows_end_early(client: Driver) -> None:
    whole, cancel = client.prefill(IDS), Stop()
    branch = client.engine.branch(whole, 1)
    steps = client.engine.rows(branch, IDS[1:] * 4, range(4 * 199), cancel=cancel)
    next(steps)
    cancel.set()
    rest, finish = drain(steps)
    assert finish == "cancelled"
    assert len(rest) < 4 * 199 - 1
