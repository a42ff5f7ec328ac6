"""The KV cache as one pool: who holds what of it, who gives way, and what that costs."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from inferno_widget import Model, Session, StepRecord
from inferno_widget.engine import Options
from inferno_widget.engine.client import EngineClient
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.engine.stop import Stop
from inferno_widget.engine.worker import LONG_TURN, Job, Worker
from inferno_widget.record import Kind
from tests.engine.tools import PROMPT, Driver, Switch, assert_same, dice, ignore, loaded
from tests.make_models import Shape, tiny_llama

N_CTX = 256


@pytest.fixture
def model(tiny: Path) -> Iterator[Model]:
    with loaded(tiny, N_CTX) as model:
        yield model


# --- what it says -----------------------------------------------------------------------------------------


def test_a_session_holds_what_it_has_decoded(model: Model) -> None:
    session = model.session(PROMPT, dice())
    assert session.held_tokens == 0
    session.generate(20)
    assert session.held_tokens == session.trace.length - 1, "nothing needed the last one yet"
    session.fork(15, int(session.trace.record(15).top_ids[2]))
    session.generate(10)
    assert session.held_tokens == (len(session.prompt_ids) + 19) + 10, "the first 15 are shared, and the last not there"
    assert model.engine.holdings().cells() == session.held_tokens
    session.close()
    assert session.held_tokens == 0
    assert model.engine.holdings().cells() == 0


def test_two_sessions_hold_what_is_theirs(model: Model) -> None:
    one, other = (model.session(PROMPT, dice(seed)) for seed in (1, 2))
    one.generate(20)
    other.generate(40)
    held = model.engine.holdings()
    assert held.cells() == one.held_tokens + other.held_tokens
    assert other.held_tokens - one.held_tokens == 20
    assert held.n_ctx == N_CTX
    assert held.used == pytest.approx(held.reserved * held.cells() / N_CTX, abs=1)


def test_without_a_process_nothing_is_held(model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.generate(5)
    model.engine._child.process.kill()
    model.engine._child.exited.wait(10)
    assert session.held_tokens == 0
    session.generate(1)
    assert session.held_tokens == session.trace.length - 1


SIZES = {("f32", "f32"): 4 + 4, ("f16", "f16"): 2 + 2, ("q8_0", "f16"): 34 / 32 + 2}


@pytest.mark.parametrize("kinds", SIZES)
def test_the_caches_size_is_what_the_models_shape_says(kinds: tuple[str, str], tmp_path: Path) -> None:
    """A key and a value of n_embd_kv numbers in every layer, for each of n_ctx cells."""
    shape = Shape(n_layer=4, n_embd=256, n_head=4, n_head_kv=2)
    path = tiny_llama(tmp_path / "x.gguf", shape=shape)
    options = Options(n_ctx=1024, n_threads=1, type_k=kinds[0], type_v=kinds[1])
    engine = LlamaEngine(str(path), options, cancel=Switch(), progress=ignore)
    expected = 4 * (2 * 64) * SIZES[kinds] * 1024
    assert engine.holdings().reserved == pytest.approx(expected, abs=0.01 * 2**20)
    assert engine.holdings().used == 0
    engine.close()


def test_it_is_answered_at_once_while_the_engine_works(tmp_path: Path) -> None:
    """Within a prefill of seconds, and without a word about it in what a death would say."""
    shape = Shape(n_layer=8, n_embd=512, n_head=8, n_head_kv=8, n_ff=2048, n_ctx=2048)
    path = tiny_llama(tmp_path / "slow.gguf", shape=shape)
    engine = EngineClient(str(path), Options(n_ctx=2048, n_threads=1, n_batch=2048), 512)
    engine.start()
    try:
        stop, driver = Stop(), Driver(engine, Stop)
        branch = driver.prefill([1, 5, 6])
        engine.append(branch, [7] * 1500)
        steps = driver.steps(branch, 3, cancel=stop)
        times, cells = [], []

        def ask() -> None:
            for _ in range(20):
                started = time.perf_counter()
                cells.append(engine.holdings().cells())
                times.append(time.perf_counter() - started)
            stop.set()

        asking = threading.Timer(0.2, ask)
        asking.start()
        assert list(steps) == [], "stopped within the prefill"
        asking.join()
        assert sorted(times)[10] < 0.05
        assert set(cells) == {3}
        assert engine._child.stage == "generate"
    finally:
        engine.close()


# --- who gives way ----------------------------------------------------------------------------------------


def test_the_least_recently_used_session_gives_way_first(model: Model) -> None:
    first, second, third = (model.session(PROMPT, dice(seed)) for seed in (1, 2, 3))
    for session in (first, second, third):
        session.generate(60)
    first.generate(1)
    third.generate(90)
    assert second.held_tokens == 0
    assert first.held_tokens == first.trace.length - 1
    second.generate(1)
    assert second.held_tokens == second.trace.length - 1


def side_by_side(sessions: list[Session], n: int) -> None:
    for session in sessions:
        session.start(n)
    for session in sessions:
        session.wait()


def in_turn(sessions: list[Session], n: int) -> None:
    for _ in range(n // 30):
        for session in sessions:
            session.generate(30)


@pytest.mark.parametrize("way", [side_by_side, in_turn])
def test_sessions_that_do_not_fit_together_both_go_on(way: Callable, tiny: Path) -> None:
    """Three of 190 tokens in 256 cells: what gives way is decoded again; each says what it would alone."""
    with loaded(tiny, 1024) as roomy:
        alone = [roomy.session(PROMPT, dice(seed)) for seed in (1, 2, 3)]
        for session in alone:
            session.generate(180)
        expected = [list(session.trace) for session in alone]
    with loaded(tiny, N_CTX) as model:
        sessions = [model.session(PROMPT, dice(seed)) for seed in (1, 2, 3)]
        way(sessions, 180)
        for session, records in zip(sessions, expected, strict=True):
            assert_same(list(session.trace), records, nats=1e-3)
        assert model.engine.holdings().cells() <= N_CTX


def test_forks_that_come_back_share_their_beginning_again(model: Model) -> None:
    """Four forks behind 150 tokens: 256 cells hold them, as long as the 150 are there once."""
    session = model.session(PROMPT, dice())
    session.generate(150)
    trunk, tips = session.trace.head, []
    for token in (20, 21, 22, 23):
        session.goto(trunk)
        session.fork(session.trace.length, token)
        session.generate(15)
        tips.append(session.trace.head)
    with model.session("said the queen", dice()) as guest:
        guest.generate(230)
        assert session.held_tokens < 60
    for tip in tips:
        session.goto(tip)
        session.generate(2)
    assert session.held_tokens <= session.trace.length + 3 * 18


# --- turns ------------------------------------------------------------------------------------------------


class Clock:
    """A pool too small for two: the branch that was not used last takes `cost` seconds to come back."""

    def __init__(self, cost: float) -> None:
        self.evictions, self.cost, self.last, self.now = 0, cost, "", 0.0
        self.order: list[str] = []

    def steps(self, name: str) -> Generator[StepRecord, None, str]:
        for position in itertools.count():
            if self.last not in (name, ""):
                self.evictions += 1
                self.now += self.cost
            self.now += 0.001
            self.last = name
            self.order.append(name)
            yield StepRecord(position, 1, Kind.GENERATED)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(0.02)
    monkeypatch.setattr("inferno_widget.engine.worker.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def worker_of(clock: Clock) -> Worker:
    worker = Worker(SimpleNamespace(send=lambda message: None), SimpleNamespace(), SimpleNamespace())
    worker._engine = SimpleNamespace(pool=clock, pieces=lambda ids: [b""] * len(ids))
    worker._jobs = {i: Job(clock.steps(name), 20, Switch()) for i, name in enumerate("ab")}
    return worker


def test_branches_that_do_not_fit_together_take_long_turns(clock: Clock) -> None:
    worker = worker_of(clock)
    for _ in range(4):
        for request, job in list(worker._jobs.items()):
            worker._take_turn(request, job)
    lengths = [len(list(group)) for _, group in itertools.groupby(clock.order)]
    assert lengths[0] == 1
    assert lengths[1:-1] == [pytest.approx(1 + 21 * LONG_TURN, abs=1)] * 6, (
        "three times as long as it took to come back"
    )


def test_a_long_turn_ends_when_another_is_to_stop(clock: Clock) -> None:
    worker = worker_of(clock)
    worker._take_turn(0, worker._jobs[0])
    worker._jobs[0].cancel.set()
    worker._take_turn(1, worker._jobs[1])
    assert clock.order == ["a", "b"]


def test_branches_that_fit_take_a_token_each(clock: Clock) -> None:
    worker = worker_of(clock)
    for i in (0, 1, 0, 1):
        clock.last = ""
        worker._take_turn(i, worker._jobs[i])
    assert clock.order == ["a", "b", "a", "b"]
