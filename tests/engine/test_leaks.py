"""Nothing is left behind, however often something is begun and ended: the grammar's process, second contexts."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from inferno_widget.engine import grammar as grammar_module
from inferno_widget.engine.grammar import Grammars
from inferno_widget.errors import Cancelled, GrammarError
from tests.engine.tools import DEMO, GREEDY, PROMPT, Driver, Switch, loaded, until

POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
WORDS = 'root ::= ([a-z]+ " ")+'


def left() -> dict[str, int]:
    me = psutil.Process()
    return {
        "descriptors": me.num_fds() if os.name != "nt" else me.num_handles(),
        "threads": threading.active_count(),
        "children": len(me.children()),
    }


def nothing_more_than(before: dict[str, int]) -> None:
    gc.collect()
    until(lambda: all(left()[name] <= n for name, n in before.items()))


@pytest.fixture
def grammars(demo: Driver) -> Iterator[Grammars]:
    grammars = Grammars(str(DEMO), demo.engine._piece, demo.engine.n_vocab)
    yield grammars
    grammars.close()


def mask(grammars: Grammars) -> np.ndarray:
    return grammars.allowed(WORDS, [], None, key=0, first=0, cancel=Switch())


def process(grammars: Grammars) -> psutil.Process:
    return psutil.Process(grammars._process._process.pid)


@POSIX
@pytest.mark.parametrize("number", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_a_grammars_process_may_die_between_two_questions_and_leaves_nothing(grammars: Grammars, number: str) -> None:
    expected, before = mask(grammars), left()
    for _ in range(8):
        process(grammars).send_signal(getattr(signal, number))
        assert np.array_equal(mask(grammars), expected)
    nothing_more_than(before)


@POSIX
def test_a_grammars_process_that_hangs_is_replaced(grammars: Grammars) -> None:
    expected, before = mask(grammars), left()
    grammars._process._limit = 1
    first = process(grammars)
    first.suspend()
    assert np.array_equal(mask(grammars), expected)
    assert not first.is_running()
    nothing_more_than(before)


@POSIX
def test_a_hang_that_comes_again_is_told(grammars: Grammars, monkeypatch: pytest.MonkeyPatch) -> None:
    mask(grammars)
    ask = grammar_module._Process.ask

    def hanging(self: object, message: tuple, cancel: object) -> object:
        if message[0] == "allowed":
            self._limit = 1
            psutil.Process(self._process.pid).suspend()
        return ask(self, message, cancel)

    with monkeypatch.context() as patch:
        patch.setattr(grammar_module._Process, "ask", hanging)
        with pytest.raises(GrammarError, match="followed to position 0: its process made no progress for 1"):
            mask(grammars)
    assert mask(grammars).any()


@POSIX
def test_a_question_to_a_process_that_hangs_can_be_cancelled(grammars: Grammars) -> None:
    mask(grammars)
    process(grammars).suspend()
    cancel = Switch()
    threading.Timer(0.2, cancel.set).start()
    with pytest.raises(Cancelled):
        grammars.allowed(WORDS, [], None, key=0, first=0, cancel=cancel)
    assert mask(grammars).any()


@pytest.mark.skipif(os.name == "nt", reason="a pipe of POSIX")
def test_a_grammars_process_that_writes_anything_else_is_replaced(grammars: Grammars) -> None:
    expected, before = mask(grammars), left()
    for reader in (_Garbage(), _Closed()):
        grammars._process._channel._reader = reader
        assert np.array_equal(mask(grammars), expected)
    nothing_more_than(before)


class _Garbage:
    def read(self, n: int) -> bytes:
        return b"?" * n


class _Closed:
    def read(self, n: int) -> bytes:
        return b""


def test_second_contexts_come_and_go(tiny: Path) -> None:
    with loaded(tiny) as model, model.session(PROMPT, GREEDY) as session:
        session.generate(3)

        def once() -> None:
            session.inspect(what=("attention", "residual"))
            with session.capture("residual"):
                session.generate(1)

        for _ in range(5):
            once()
        worker, before = psutil.Process(model.engine.pid), left()
        held, descriptors = worker.memory_info().rss, worker.num_fds() if os.name != "nt" else 0
        for _ in range(30):
            once()
        nothing_more_than(before)
        assert worker.memory_info().rss - held < 48 << 20
        assert os.name == "nt" or worker.num_fds() <= descriptors
