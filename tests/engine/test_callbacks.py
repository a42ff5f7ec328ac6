"""What a person's own code may do where a session calls it: logits processors, listeners, handlers of signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from inferno_widget import InfernoError, Model, Session
from tests.engine.tools import PROMPT, dice, loaded

ENDS: dict[str, Callable[[Session], object]] = {
    "close": Session.close,
    "wait": Session.wait,
    "fork": lambda session: session.fork(3, 300),
    "edit": lambda session: session.edit("a king"),
    "goto": lambda session: session.goto(2),
}
"""What cannot be done before the run has ended."""


@pytest.fixture(scope="module")
def model(models: dict[str, tuple[Path, int]]) -> Iterator[Model]:
    with loaded(models["tiny"][0]) as model:
        yield model


class Curious:
    """A logits processor that does something to its own session at the second token; the rows stay as they are."""

    def __init__(self, does: Callable[[Session], object]) -> None:
        self.session: Session | None = None
        self._does = does
        self._calls = 0

    def __call__(self, _: object, logits: np.ndarray) -> np.ndarray:
        self._calls += 1
        if self._calls == 2:
            self._does(self.session)
        return logits


# --- from within a run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ENDS)
def test_a_processor_that_waits_for_its_own_run_is_told(what: str, model: Model) -> None:
    curious = Curious(ENDS[what])
    with model.session(PROMPT, dice(), logits_processor=curious) as session:
        curious.session = session
        with pytest.raises(InfernoError, match=r"the logits processor failed: .*cannot wait for the run to end"):
            session.generate(5)
        assert session.trace.length == len(session.prompt_ids) + 1
        assert session.generate(2), "it goes on"


@pytest.mark.parametrize("what", ENDS)
def test_so_is_a_listener(what: str, model: Model) -> None:
    with model.session(PROMPT, dice()) as session:
        session.score()
        session.observe(lambda: ENDS[what](session) if session.trace.length > len(session.prompt_ids) else None)
        with pytest.raises(InfernoError, match=r"a listener of the session failed.*cannot wait for the run"):
            session.generate(5)
        assert session.generate(2), "it goes on"


WORK: dict[str, Callable[[Session], object]] = {
    "generate": lambda session: session.generate(1),
    "start": lambda session: session.start(1),
    "lookahead": lambda session: session.lookahead(1, 1),
    "next": lambda session: session.model.next("a king"),
    "score": lambda session: session.model.score("a king"),
}


@pytest.mark.parametrize("what", WORK)
def test_a_processor_that_has_its_own_model_work_is_told(what: str, model: Model) -> None:
    curious = Curious(WORK[what])
    with model.session("a", dice()) as other, model.session(PROMPT, dice(), logits_processor=curious) as session:
        curious.session = other
        other.generate(3)
        with pytest.raises(InfernoError, match=r"the logits processor failed: .*cannot have its own model read or"):
            session.generate(5)
        assert session.generate(2), "it goes on"
        assert WORK[what](other) or what == "start"


def test_a_processor_may_ask_another_model(model: Model) -> None:
    with loaded(model.path) as second:
        curious = Curious(lambda _: second.next(PROMPT))
        with model.session(PROMPT, dice(), logits_processor=curious) as session:
            assert session.generate(3)


# --- listeners ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 2, 3, 12])
def test_a_listener_that_fails_changes_nothing_and_is_told_of_once(at: int, model: Model) -> None:
    with model.session(PROMPT, dice()) as plain, model.session(PROMPT, dice()) as session:
        calls: list[int] = []

        def fail() -> None:
            calls.append(session.trace.length)
            if len(calls) == at:
                raise ZeroDivisionError("mine")

        end = session.observe(fail)
        with pytest.raises(InfernoError, match=r"a listener .* failed, and is not called any more: ZeroDivisionError"):
            session.generate(8)
        plain.generate(8)
        assert session.text == plain.text
        assert len(calls) == at
        assert session.generate(2)
        end()


# --- interrupts -----------------------------------------------------------------------------------------------


class Enough(Exception):
    """What somebody's handler of a signal raises."""


def _soon(seconds: float, call: Callable[[], object]) -> None:
    """Call it, and send SIGALRM meanwhile."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
@pytest.mark.parametrize("error", [Enough, RuntimeError])
def test_an_error_out_of_a_signals_handler_ends_the_run(error: type[Exception], model: Model) -> None:
    def raises(*_: object) -> None:
        raise error("mine")

    before = signal.signal(signal.SIGALRM, raises)
    try:
        with model.session(PROMPT, dice(), on_full="slide") as session:
            session.score()
            with pytest.raises(error, match="mine"):
                _soon(0.1, lambda: session.generate(100_000))
            assert session.wait()
            assert session.generate(2), "it goes on"
    finally:
        signal.signal(signal.SIGALRM, before)


BEGIN, WAIT = (threading.Thread, "start"), (Session, "_join")


@pytest.mark.parametrize("error", [Enough, KeyboardInterrupt])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("where", [BEGIN, WAIT], ids=["begin", "wait"])
@pytest.mark.parametrize("call", [Session.generate, Session.step, lambda session: list(session.stream(100_000))])
def test_a_signal_may_come_at_any_line_of_a_beginning(
    call: Callable[..., object],
    where: tuple[type, str],
    after: bool,
    error: type[BaseException],
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that was begun and is not waited for would hold the session until its last token."""
    real, meant = getattr(*where), [error("mine")]

    def interrupted(*args: object) -> object:
        if after:
            result = real(*args)
        if meant:
            raise meant.pop()
        return result if after else real(*args)

    args = (100_000,) if call is Session.generate else ()
    with model.session(PROMPT, dice(), on_full="slide") as session:
        session.score()
        with monkeypatch.context() as patched:
            patched.setattr(*where, interrupted)
            with pytest.raises(error, match="mine"):
                call(session, *args)
        assert session.wait(5)
        assert session.state == "ready"
        assert session.generate(2), "it goes on"


def test_where_no_thread_can_begin_it_is_said_and_the_session_goes_on(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with model.session(PROMPT, dice()) as session:
        session.generate(2)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", full)
            for call in (session.generate, session.start, session.step, lambda: list(session.stream(2))):
                with pytest.raises(InfernoError, match="no run can begin: can't start new thread"):
                    call()
        assert session.state == "ready"
        assert session.generate(2)
