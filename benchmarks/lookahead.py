"""Several continuations in one batch, over the same ones made one after the other by forks; model H."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

from benchmarks.measure import Figure, Setting, seconds
from inferno_widget import Model, Sampler, Session

PROMPT = "Once upon a time there was a king who had three sons"
WAYS, DEPTH = 8, 12
SAMPLES, TOKENS = 32, 8


def run(setting: Setting) -> list[Figure]:
    with Model(setting.model_h) as model, model.session(PROMPT, Sampler(seed=7)) as session:
        session.generate(32)
        return [_look_ahead(session, setting.rounds), _resample(session, setting.rounds)]


def _look_ahead(session: Session, rounds: int) -> Figure:
    at, head, sampler = session.trace.length - 16, session.trace.head, replace(session.sampler, temperature=0)

    def together() -> None:
        session.lookahead(WAYS, DEPTH, at)

    def one_by_one() -> None:
        session.sampler = sampler
        for token in session.trace.record(int(session.trace.path(head)[at])).top_ids[:WAYS].tolist():
            session.goto(head)
            session.fork(at, token).generate(DEPTH)
        session.goto(head)

    return _figure(f"look-ahead, {WAYS} branches of {DEPTH} tokens, over forks", together, one_by_one, rounds, 0.5)


def _resample(session: Session, rounds: int) -> Figure:
    sampler, head = replace(session.sampler, temperature=1.0), session.trace.head

    def together() -> None:
        session.resample(n=SAMPLES, max_tokens=TOKENS, sampler=sampler)

    def one_by_one() -> None:
        for i in range(SAMPLES):
            session.sampler = replace(sampler, seed=i)
            session.goto(head)
            session.generate(TOKENS)
        session.goto(head)

    return _figure(f"resample, {SAMPLES} times {TOKENS} tokens, over runs", together, one_by_one, rounds, 0.5)


def _figure(
    what: str, together: Callable[[], None], one_by_one: Callable[[], None], rounds: int, reach: float
) -> Figure:
    pairs = []
    for i in range(-1, rounds):  # the first only warms
        works = (together, one_by_one) if i % 2 else (one_by_one, together)
        spent = {work: seconds(work) for work in works}
        if i >= 0:
            pairs.append((spent[together], spent[one_by_one]))
    ours, theirs = (1e3 * statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return Figure(what, ratio, reach, f"{ours:,.0f} against {theirs:,.0f} ms", at_least=False)
