"""Whatever is done to a session, in whatever order, its records are those of a fresh scoring of their path.

Hypothesis makes up the order. The normal run tries the same few every time and shows what it did where one fails;
``EXAMPLES=300 pytest`` tries as many new ones for each shape of model, and looks for the shortest that fails.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from inferno_widget import Model, Sampler
from inferno_widget.engine.llama import LlamaEngine
from tests.engine.tools import GELU_NATS, NATS, PROMPT, assert_seen, kill, loaded, opened
from tests.make_models import tiny_gemma2, tiny_gemma3, tiny_gpt2, tiny_llama, tiny_qwen2

EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
N_CTX = 256
WAYS = settings(
    max_examples=EXAMPLES or 6,
    stateful_step_count=40,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=True,
    phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)
SHAPES = {
    "llama": (tiny_llama, NATS),
    "qwen2": (tiny_qwen2, NATS),
    "gemma2": (tiny_gemma2, GELU_NATS),
    "gemma3": (tiny_gemma3, GELU_NATS),
    "gpt2": (tiny_gpt2, GELU_NATS),
}
ANY = st.integers(0, 9_999)
"""Whatever there is to choose from is as long as it is: a choice is taken modulo that."""
ENDS = {0: -math.inf, 2: -math.inf, 511: -math.inf}
"""Tokens that would end a text of one of the models."""


class Ground(NamedTuple):
    """Where a session lives, and who judges what it records."""

    model: Model
    judge: LlamaEngine
    nats: float


@pytest.fixture(scope="module", params=SHAPES)
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    make, nats = SHAPES[request.param]
    path = make(tmp_path_factory.mktemp("any") / "tiny.gguf")
    judge = opened(path)
    with loaded(path, N_CTX) as model:
        yield Ground(model, judge, nats)
    judge.close()


class AnyWay(RuleBasedStateMachine):
    """A session to which anything may be done, in a pool that has room for one text."""

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        self.model, self.judge, self.nats = ground
        sampler = Sampler(temperature=1.0, seed=7, logit_bias=ENDS)
        self.session = self.model.session(PROMPT, sampler, on_full="slide", keep=3)
        self.session.generate(10)
        self.trace = self.session.trace
        self.rows = self.trace.nodes.copy()

    def teardown(self) -> None:
        ends = self.session.branches
        for branch in ends[:: max(1, len(ends) // 6)]:
            assert_seen(self.trace, self.judge, nats=self.nats, node=branch.node)
        self.session.close()
        self._end_process()  # the next one begins with an empty pool, or nothing could be reproduced

    def _end_process(self) -> None:
        child: Any = self.model.engine._child
        if self.model.engine.pid is not None:
            kill(self.model)
            assert child.exited.wait(10)

    def _position(self, choice: int) -> int:
        """From 1 to the length of the path."""
        return 1 + choice % self.trace.length

    # --- what can be done ---------------------------------------------------------------------------------

    @rule(n=st.integers(1, 20))
    def generate(self, n: int) -> None:
        self.session.generate(n)

    @rule()
    def slide(self) -> None:
        self.session.generate(90)

    @rule(at=ANY, which=ANY)
    def fork_to_an_alternative(self, at: int, which: int) -> None:
        position = min(self._position(at), self.trace.length - 1)
        options = self.trace.alternatives(position)
        if options:
            self.session.fork(position, options[which % len(options)].token_id)

    @rule(at=ANY, token=st.integers(3, 510))
    def fork_to_any_token(self, at: int, token: int) -> None:
        self.session.fork(self._position(at), token)

    @rule(node=ANY)
    def goto(self, node: int) -> None:
        self.session.goto(1 + node % (len(self.trace.nodes) - 1))

    @rule(which=ANY)
    def goto_an_end(self, which: int) -> None:
        ends = self.session.branches
        self.session.goto(ends[which % len(ends)].node)

    @precondition(lambda self: self.trace.length > 1)
    @rule(n=ANY)
    def rewind(self, n: int) -> None:
        self.session.rewind(1 + n % (self.trace.length - 1))

    @rule(at=ANY, word=st.sampled_from([" king", "🌋", " who had three sons", "s", ""]))
    def edit(self, at: int, word: str) -> None:
        text = self.session.text
        kept = text[: 1 + at % len(text)] if text else ""
        if kept + word:
            self.session.edit(kept + word)

    @rule(at=ANY, which=st.integers(0, 2), n=st.integers(1, 7))
    def take(self, at: int, which: int, n: int) -> None:
        ways = self.session.lookahead(k=3, depth=6, at=self._position(at), sampler=self.session.sampler)
        self.session.take(ways[which], n)

    @rule(at=ANY)
    def look(self, at: int) -> None:
        position = self._position(at)
        self.session.lookahead(k=8, depth=10, at=position)
        self.session.resample(position, n=8, max_tokens=8)
        self.session.row(position)

    @rule(at=ANY, temperature=st.sampled_from([0.5, 0.9, 1.0]))
    def replay(self, at: int, temperature: float) -> None:
        chosen = np.flatnonzero(self.trace.column("kind") == 1)
        if len(chosen):
            from_ = int(chosen[at % len(chosen)])
            self.session.replay(Sampler(temperature=temperature, logit_bias=ENDS), from_, max_tokens=15)

    @rule(which=ANY)
    def prune(self, which: int) -> None:
        others = [branch.node for branch in self.session.branches if not branch.current]
        if others:
            with contextlib.suppress(ValueError):  # the session may stand on it
                self.session.prune(others[which % len(others)])

    @precondition(lambda self: not self.trace.watches)
    @rule()
    def watch(self) -> None:
        self.session.watch({"some": [300, 301, 302]})

    @rule(seed=st.integers(0, 99))
    def crowd(self, seed: int) -> None:
        """Somebody else needs the room."""
        ids = [1, *np.random.default_rng(seed).integers(3, 510, 200).tolist()]
        with self.model.session(ids, Sampler(seed=seed)) as other:
            other.generate(3)

    @rule()
    def kill(self) -> None:
        self._end_process()

    # --- what must hold -----------------------------------------------------------------------------------

    @invariant()
    def what_was_recorded_stays(self) -> None:
        nodes = self.trace.nodes
        assert nodes[: len(self.rows)].tobytes() == self.rows.tobytes()
        self.rows = nodes.copy()

    @invariant()
    def it_is_a_tree(self) -> None:
        above, positions = self.trace.nodes["parent"], self.trace.nodes["position"]
        assert (above < np.arange(len(above))).all()
        assert (positions == np.where(above < 0, 0, positions[above] + 1)).all()

    @invariant()
    def the_pool_holds_no_more_than_it_can(self) -> None:
        assert self.session.held_tokens <= N_CTX

    @invariant()
    def the_path_is_what_a_fresh_scoring_says(self) -> None:
        assert_seen(self.trace, self.judge, nats=self.nats)

    @invariant()
    def all_that_was_predicted_is_watched(self) -> None:
        for name in self.trace.watches:
            watched = self.trace.watched(name, tree=True)
            assert (np.isnan(watched) == (self.trace.nodes["rank"] == 0)).all()


@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_records_are_those_of_a_fresh_scoring(ground: Ground) -> None:
    run_state_machine_as_test(lambda: AnyWay(ground), settings=WAYS)
