"""What it costs to look inside while generating, and to ask the lens at one position; model H."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks.measure import Figure, Setting, seconds
from inferno_widget import Model, Sampler, Session

PROMPT = "Once upon a time there was a king who had three sons"
STEPS = 16
EVERYTHING = ("attention", "residual", "heads", "attn_out", "mlp")


def run(setting: Setting) -> list[Figure]:
    with Model(setting.model_h) as model, model.session(PROMPT, Sampler(seed=7)) as session:
        session.generate(32)
        return [_capture(session, setting.rounds), _lens(session, setting.rounds)]


def _capture(session: Session, rounds: int) -> Figure:
    def plain() -> float:
        session.generate(2)  # the first step reads what was captured meanwhile
        return _step(session)

    def captured() -> float:
        with session.capture(EVERYTHING):
            session.generate(2)  # the first step reads the whole text
            return _step(session)

    ratio, ours, theirs = _in_turn(captured, plain, rounds)
    detail = f"{ours:.1f} against {theirs:.1f} ms a token"
    return Figure("capturing all but the lens, over a run without", ratio, 1.15, detail, at_least=False)


def _lens(session: Session, rounds: int) -> Figure:
    def lens() -> float:
        session.generate(1)
        session.inspect(-1, what="residual")  # so that only the lens is to be computed, and a step
        return 1e3 * seconds(lambda: session.inspect(-1, what="lens"))

    ratio, ours, theirs = _in_turn(lens, lambda: _step(session), rounds)
    detail = f"{ours:.1f} against {theirs:.1f} ms, with the step that makes the residual stream"
    return Figure("lens of 24 layers at 1 position, over a step", ratio, 4, detail, at_least=False)


def _step(session: Session) -> float:
    """Median milliseconds of a step."""
    return statistics.median(record.ms for record in session.stream(STEPS))


def _in_turn(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Medians of the ratio of neighbours, and of both; A B B A, after one of each that does not count."""
    pairs = []
    for i in range(-1, rounds):
        works = (ours, theirs) if i % 2 else (theirs, ours)
        spent = {work: work() for work in works}
        if i >= 0:
            pairs.append((spent[ours], spent[theirs]))
    a, b = (statistics.median(times) for times in zip(*pairs, strict=True))
    return statistics.median(x / y for x, y in pairs), a, b
