"""Texts that are given: what could come next, and how likely each was."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from inferno_widget import ContextFullError, Kind, Model
from inferno_widget.sampling import softmax
from tests.engine.tools import NATS, assert_same, loaded
from tests.make_models import tiny_qwen2
from tests.reference import Reference

TEXTS = ["once upon a time", "there was a king who had three sons", "the dragon", "in the forest said"] * 12


def test_next_is_the_softmax_of_the_last_row(model: Model, tiny: Path) -> None:
    chances = softmax(Reference(tiny).logits(model.tokenize(TEXTS[1]))[-1])
    found = model.next(TEXTS[1], top=7)
    assert [each.token_id for each in found] == np.argsort(-chances, kind="stable")[:7].tolist()
    np.testing.assert_allclose([each.probability for each in found], np.sort(chances)[::-1][:7], atol=1e-4)
    assert [each.text.encode() for each in found] == [model.detokenize([each.token_id]) for each in found] or any(
        "\\x" in each.text for each in found
    )
    assert sum(each.probability for each in model.next(TEXTS[1], top=10**6)) == pytest.approx(1, abs=1e-5)


def test_many_texts_are_each_what_they_are_alone(model: Model) -> None:
    many = model.next(TEXTS, top=3)
    assert len(many) == len(TEXTS)
    for text, found in zip(TEXTS[:4], many[-4:], strict=True):
        alone = model.next(text, top=3)
        assert [each.token_id for each in alone] == [each.token_id for each in found]
        np.testing.assert_allclose([a.probability for a in alone], [b.probability for b in found], atol=1e-5)
    assert model.next(model.tokenize("the dragon"), top=3) == model.next("the dragon", top=3)
    assert model.next(["the dragon"], top=3) == [model.next("the dragon", top=3)]


def test_a_score_is_what_a_session_would_record(model: Model) -> None:
    traces = model.score(TEXTS)
    assert len(traces) == len(TEXTS)
    for text, trace in [*zip(TEXTS, traces, strict=True)][-4:]:
        with model.session(text) as session:
            fresh = [record._replace(kind=Kind.FORCED) for record in session.score()]
        fresh[0] = fresh[0]._replace(kind=Kind.PROMPT)  # the token that begins every text
        assert_same(fresh, list(trace), nats=NATS)
        assert trace.text == text
    assert_same(list(model.score(TEXTS[0])), list(traces[0]), nats=NATS)


def test_scoring_can_be_followed_and_ended(model: Model) -> None:
    told: list[float] = []
    whole = model.score(TEXTS, progress=told.append)
    n = sum(trace.length for trace in whole)
    assert told == pytest.approx([(i + 1) / n for i in range(n)])
    ended = model.score(TEXTS, progress=lambda fraction: fraction < 0.2)
    lengths = [trace.length for trace in ended]
    assert len(ended) == len(TEXTS)
    assert 0 < sum(lengths) < 0.9 * n
    for mine, theirs in zip(ended, whole, strict=True):
        assert_same(list(mine), list(theirs)[: mine.length], nats=NATS)
    assert model.score(TEXTS[0]).length == whole[0].length, "nothing is left of it"


def test_what_is_given_is_not_meant(model: Model) -> None:
    trace = model.score(" who had three sons", given="there was a king")
    whole = model.tokenize("there was a king who had three sons")
    assert trace.column("token_id").tolist() == whole
    n = len(model.tokenize("there was a king"))
    assert (trace.column("kind") == [Kind.PROMPT] * n + [Kind.FORCED] * (len(whole) - n)).all()
    surprisals = -trace.column("logprob")[n:].astype(np.float64)
    assert model.perplexity(" who had three sons", "there was a king") == pytest.approx(math.exp(surprisals.mean()))
    both = model.perplexity([" dragon", " sons"], given=["the", "three"])
    assert both == pytest.approx([model.perplexity(" dragon", "the"), model.perplexity(" sons", "three")], abs=1e-2)
    same = model.perplexity([" dragon", " sons"], given="the")
    assert same[0] == pytest.approx(both[0], abs=1e-2)


def test_perplexity_of_a_model_without_a_first_token_leaves_the_first_out(tmp_path: Path) -> None:
    with loaded(tiny_qwen2(tmp_path / "qwen.gguf")) as model:
        ids = model.tokenize("there was a king")
        trace = model.score(ids)
        assert (trace.column("kind") == Kind.FORCED).all()
        expected = math.exp(-trace.column("logprob")[1:].astype(np.float64).mean())
        assert model.perplexity("there was a king") == pytest.approx(expected)
        assert math.isnan(model.perplexity(ids[:1]))
        with pytest.raises(ValueError, match="no token to begin with"):
            model.next("")


def test_sessions_do_not_notice(model: Model) -> None:
    with model.session(TEXTS[0]) as session:
        session.generate(5)
        held = len(model.engine.holdings().branches)
        model.next(TEXTS)
        model.score(TEXTS)
        assert len(model.engine.holdings().branches) <= held
        session.generate(5)


def test_texts_longer_than_the_context_together(tiny: Path) -> None:
    with loaded(tiny, n_ctx=256) as model:
        texts = [(" the king" * n).strip() for n in (90, 100, 60, 110)]
        many = model.score(texts, k=2)
        for text, trace in zip(texts, many, strict=True):
            assert_same(list(model.score(text, k=2)), list(trace), nats=NATS)
        assert [len(found) for found in model.next(texts)] == [20] * 4
        with pytest.raises(ContextFullError, match="leave no room"):
            model.next([300] * 256)
        with pytest.raises(ContextFullError, match="do not fit"):
            model.score([300] * 257)


def test_arguments_are_checked(model: Model) -> None:
    with pytest.raises(ValueError, match="the text is empty"):
        model.score("")
    with pytest.raises(ValueError, match="2 for 3 texts"):
        model.score(["a", "b", "c"], given=["x", "y"])
    with pytest.raises(ValueError, match="top must be between"):
        model.next("a", top=0)
    with pytest.raises(TypeError, match="did you mean 'given'"):
        model.score("a", give="b")
