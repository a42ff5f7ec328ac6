"""Models whose numbers are no numbers: an error names the position, and no text is ever made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from inferno_widget import InfernoError, Model, Sampler, Session, Steer
from tests.engine.tools import EOS, PROMPT, dice, loaded
from tests.make_models import broken_llama

VALUES = pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
POISON = 500
"""A token whose embedding is broken: what is predicted behind it is too."""
FORCED = Sampler(temperature=0, seed=1, logit_bias={POISON: 1e5})


def broken(at: int) -> str:
    return f"^the logits for position {at} are broken: .* no finite numbers .*(nan|inf)"


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """A model that breaks when it has read one token, `POISON`; before that it is a good one."""
    with loaded(broken_llama(tmp_path_factory.mktemp("broken") / "poisoned.gguf", POISON, math.nan)) as model:
        yield model


@pytest.fixture
def good(poisoned: Model) -> Iterator[Session]:
    """A session that has not met the poison yet."""
    with poisoned.session(PROMPT, dice()) as session:
        session.generate(6)
        yield session


@pytest.fixture
def ill(poisoned: Model) -> Iterator[Session]:
    """A session whose last token is the poison: all that is recorded is sound, and nothing can follow."""
    with poisoned.session(PROMPT, FORCED) as session:
        session.step()
        assert session.trace.column("token_id")[-1] == POISON
        yield session


@VALUES
@pytest.mark.parametrize("tensor", ["token_embd.weight", "output.weight"])
def test_a_prompt_is_read_up_to_where_it_breaks(value: float, tensor: str, tmp_path: Path) -> None:
    with loaded(broken_llama(tmp_path / "model.gguf", POISON, value, tensor=tensor)) as model:
        ids = [*model.tokenize(PROMPT), POISON, 300, 301]
        at = 1 if tensor == "output.weight" else ids.index(POISON) + 1
        for work in (
            lambda: model.session(ids).score(),
            lambda: model.session(ids).generate(3),
            lambda: model.score(ids),
            lambda: model.score([ids, ids]),
            lambda: model.perplexity(ids),
        ):
            with pytest.raises(InfernoError, match=broken(at)):
                work()
        with pytest.raises(InfernoError, match=broken(len(ids))):
            model.next(ids)
        with model.session(ids) as session, pytest.raises(InfernoError):
            session.score()
        assert session.trace.length == at, "what is sound is recorded"
        assert model.score(PROMPT) if tensor == "token_embd.weight" else True, "and nobody else is harmed"


def test_a_run_ends_where_it_breaks_and_keeps_what_it_made(poisoned: Model) -> None:
    n, pid = len(poisoned.tokenize(PROMPT)), poisoned.engine.pid

    def started(session: Session) -> None:
        session.start(5)
        session.wait()

    for work in (lambda s: s.generate(5), lambda s: list(s.stream(5)), started, lambda s: [s.step() for _ in range(5)]):
        with poisoned.session(PROMPT, FORCED) as session:
            with pytest.raises(InfernoError, match=broken(n + 1)):
                work(session)
            assert session.trace.column("token_id").tolist()[n:] == [POISON]
            assert np.isfinite(session.trace.column("logprob")[1:]).all()
            session.goto(n - 1)
            session.sampler = dice(logit_bias={EOS: -math.inf, POISON: -math.inf})
            session.generate(5)  # another way
            assert session.trace.length == n + 5
    assert poisoned.engine.pid == pid


@pytest.mark.parametrize(
    "look",
    [
        lambda s, n: s.row(n),
        lambda s, _: s.step(),
        lambda s, _: s.lookahead(),
        lambda s, _: s.lookahead(sampler=FORCED),
        lambda s, _: s.resample(n=3),
        lambda s, n: s.fork(n, 300),
        lambda s, n: s.fork(n, " king"),
        lambda s, _: s.edit(s.text + " king said"),
        lambda s, _: s.attribution(),
        lambda s, _: s.attribution(token=300),
        lambda s, _: s.causal_map(),
    ],
)
def test_nothing_is_made_of_what_follows(look: Callable[[Session, int], object], ill: Session) -> None:
    n, before = ill.trace.length, ill.trace.nodes.tobytes()
    with pytest.raises(InfernoError, match=rf"position ({n}|{n - 1})\b.* broken"):
        look(ill, n)
    assert (ill.trace.length, ill.trace.nodes.tobytes()) == (n, before)


def test_ways_into_the_poison(good: Session) -> None:
    n, before = good.trace.length, good.trace.nodes.tobytes()
    for work in (
        lambda: good.resample(n=40, max_tokens=4, sampler=FORCED),
        lambda: good.lookahead(k=512, depth=1),
        lambda: good.resample(n=1, max_tokens=2, sampler=FORCED),
    ):
        with pytest.raises(InfernoError, match=broken(n + 1)):
            work()
    assert good.trace.nodes.tobytes() == before
    with pytest.raises(InfernoError, match=broken(n)):
        good.fork(n - 1, POISON).fork(n, 300)
    assert good.trace.length == n  # the poison itself was predicted well


def test_the_inside_shows_where_it_breaks(ill: Session) -> None:
    n = ill.trace.length
    assert np.isnan(ill.inspect(-1, "residual").residual).all()
    assert np.isfinite(ill.inspect(n - 2, "residual").residual).all(), "and what comes before is not harmed"
    with pytest.raises(InfernoError, match=f"no lens at position {n - 1}: the numbers of the model are broken"):
        ill.inspect(-1, "lens")
    assert np.isfinite(ill.inspect(n - 2, "lens").lens.entropy).all()


def test_an_intervention_that_is_too_strong_is_named(good: Session) -> None:
    n_embd = good.model.info.n_embd
    at = good.trace.length
    with good.intervene(Steer(0, np.full(n_embd, 3e38), strength=1e6)), pytest.raises(InfernoError, match=broken(at)):
        good.step()
    good.step()


@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf])
def test_a_processor_that_leaves_no_distribution_is_named(good: Session, fill: float) -> None:
    n = good.trace.length
    good.logits_processor = lambda _, row: np.full_like(row, fill)
    with pytest.raises(InfernoError, match=f"^the logits for position {n} are broken: .* as the logits processor left"):
        good.step()
    assert good.trace.length == n
