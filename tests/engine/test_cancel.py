"""Each kind of work is stopped in its midst, by a job's end and by Ctrl-C; nothing is lost, and the session goes on.

That it was its midst is told by the cells of the cache that it fills, and that it was not done by what came of it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest

from inferno_widget import Cancelled, InfernoError, Model, Sampler, Session, steering_vector, verify
from inferno_widget.causal import CausalMap
from inferno_widget.engine import Options
from inferno_widget.engine.client import EngineClient
from inferno_widget.engine.lens import Head
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.engine.second import SecondClient
from inferno_widget.engine.stop import Stop
from inferno_widget.engine.taps import Tapped
from inferno_widget.jobs import Job
from tests.engine.tools import Switch, ignore, kill, until
from tests.make_models import Shape, random_weights, spm_vocabulary, write_model

LONG = 400
"""Tokens of a text; all of it takes seconds."""
WAIT = 60
EXPLODES = "many ::= item{0,1900}\nitem ::= [a-z]? [a-z]? [a-z]?"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is slow enough to be met in the midst of something."""
    shape = Shape(n_layer=2, n_embd=1024, n_head=16, n_head_kv=8, n_ff=4096, n_ctx=8192)
    path = tmp_path_factory.mktemp("models") / "slow.gguf"
    return write_model(path, shape, spm_vocabulary(512), random_weights("Q8_0", 0), dtype="Q8_0", name="slow")


@pytest.fixture(scope="module")
def slow(path: Path) -> Iterator[Model]:
    with Model(path, n_ctx=8192, n_threads=1, n_batch=32) as model:
        yield model


def text(seed: int, n: int = LONG) -> list[int]:
    """Tokens that no other text begins with."""
    return np.random.default_rng(seed).integers(10, 500, n).tolist()


class Work(NamedTuple):
    """Something that takes seconds.

    Attributes
    ----------
    do : does it
    ended : whether what it gave, where that is no error, was ended before it was done
    prompt : tokens of the session's prompt, scored before; none are when 0
    more : tokens that are generated before
    cold : whether the process is another one then, so that all has to be read anew
    where : the engine whose cells it fills; None while there is none
    moves : whether the path may be another one then
    k : alternatives that are stored
    """

    do: Callable[[Session], Any]
    ended: Callable[[Session, Any], bool] = lambda _, __: False
    prompt: int = 0
    more: int = 0
    cold: bool = False
    where: Callable[[Session], EngineClient | None] = lambda session: session.model.engine
    moves: bool = False
    k: int = 20


def taps(session: Session) -> EngineClient:
    return session.model.taps


def captured(session: Session) -> EngineClient | None:
    return session.engine if isinstance(session.engine, SecondClient) else None


def stream_all(session: Session) -> None:
    for _ in session.stream(1_000):
        pass


def fork_to_what_is_not_stored(session: Session) -> Session:
    stored = session.trace.record(session.trace.head).top_ids
    return session.fork(session.trace.length - 1, next(token for token in range(10, 500) if token not in stored))


def steer(session: Session) -> Any:
    texts = [session.model.detokenize(text(seed, 200)).decode(errors="ignore") for seed in range(100, 104)]
    return steering_vector(session.model, texts[:2], texts[2:], 1)


def capture(session: Session) -> str:
    with session.capture("residual", 1):
        return session.generate(200)


def was_cancelled(session: Session, _: object) -> bool:
    return session.finish == "cancelled"


def some_nan(_: Session, found: CausalMap) -> bool:
    return bool(np.isnan(found.kl).any())


def some_unwatched(session: Session, names: dict[str, object]) -> bool:
    return bool(np.isnan(session.trace.watched(next(iter(names)))[1:]).any())


EDITED = " and then the king went to the castle" * 30
WORKS = {
    "score": Work(lambda s: s.score(), moves=True),
    "generate": Work(lambda s: s.generate(1_000), was_cancelled, 20, moves=True),
    "stream": Work(stream_all, was_cancelled, 20, moves=True),
    "lookahead": Work(lambda s: s.lookahead(8, 300), lambda _, ways: {w.finish for w in ways} == {"cancelled"}, 50),
    "resample": Work(
        lambda s: s.resample(n=64, max_tokens=300), lambda _, made: sum(len(way.records) for way in made) < 19_000, 50
    ),
    "commitment": Work(lambda s: s.commitment(100, n=16), lambda _, curve: len(curve.positions) < 100, 200),
    "replay": Work(
        lambda s: s.replay(Sampler(temperature=1.9, seed=9), max_tokens=900), was_cancelled, 20, 50, moves=True
    ),
    "next": Work(lambda s: s.model.next([text(1), text(2)]), lambda _, found: not all(found), 20),
    "score many": Work(
        lambda s: s.model.score([text(1), text(2)]), lambda _, traces: sum(map(len, traces)) < 2 * LONG, 20
    ),
    "watch": Work(lambda s: s.watch(300), some_unwatched, LONG, cold=True),
    "row": Work(lambda s: s.row(s.trace.length), prompt=LONG, cold=True),
    "what if": Work(
        lambda s: s.what_if(temperature=[1.9]), lambda _, found: bool(found.unknown), LONG, 8, cold=True, k=1
    ),
    "fork": Work(fork_to_what_is_not_stored, prompt=LONG, cold=True),
    "edit": Work(lambda s: s.edit(s.text + EDITED), prompt=20),
    "verify": Work(lambda s: verify(s.trace, s.model), prompt=LONG, cold=True),
    "inspect": Work(lambda s: s.inspect(-1, "residual"), prompt=LONG, where=taps),
    "attribution": Work(lambda s: s.attribution(), prompt=LONG, where=taps),
    "causal map": Work(lambda s: s.causal_map(), some_nan, 200, where=taps),
    "steering vector": Work(steer, prompt=20, where=taps),
    "capture": Work(capture, was_cancelled, LONG, where=captured, moves=True),
}


def by_a_job(work: Callable[[], Any], midway: Callable[[], object]) -> Any:
    """What comes of work that is a job's, which is ended in its midst; or the error."""
    job: Job[Any] = Job(lambda _: work())
    job.set_running_or_notify_cancel()

    def run() -> None:
        try:
            job.set_result(job())
        except BaseException as error:  # noqa: BLE001  looked at below
            job.set_result(error)

    threading.Thread(target=run, daemon=True).start()
    until(lambda: midway() or job.done(), WAIT)
    job.enough()
    return job.result(WAIT)


def by_ctrl_c(work: Callable[[], Any], midway: Callable[[], object]) -> Any:
    """The same for work of a cell that is interrupted."""
    main = threading.main_thread().ident
    done = threading.Event()

    def interrupt() -> None:
        until(lambda: midway() or done.is_set(), WAIT)
        if not done.is_set():
            signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    try:
        thread.start()
        return work()
    except KeyboardInterrupt as error:
        return error
    finally:
        done.set()
        thread.join()


STOPS = {"a job's end": by_a_job, **({} if os.name == "nt" else {"Ctrl-C": by_ctrl_c})}


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("name", WORKS)
def test_it_ends_in_its_midst(name: str, stop: str, slow: Model) -> None:
    work = WORKS[name]
    seed = 1_000 + 2 * list(WORKS).index(name) + list(STOPS).index(stop)
    with slow.session(text(seed, work.prompt or LONG), Sampler(seed=1), k=work.k) as session:
        prepare(session, work)
        nodes, path = session.trace.nodes.tobytes(), session.trace.path().tolist()
        came = STOPS[stop](lambda: work.do(session), begun(session, work))
        assert isinstance(came, Cancelled | KeyboardInterrupt) or work.ended(session, came), f"it was done: {came!r}"
        assert session.trace.nodes.tobytes()[: len(nodes)] == nodes, "what was recorded stays"
        if not work.moves:
            assert session.trace.path().tolist() == path, "it stands where it stood"
        length = session.score().length
        session.generate(2)
        assert session.trace.length == length + 2, "it goes on"
        assert np.isfinite(session.trace.column("logprob")[1:]).all()


def prepare(session: Session, work: Work) -> None:
    """Bring a session to where the work begins."""
    model = session.model
    model.engine.start()
    if work.prompt:
        session.generate(work.more) if work.more else session.score()
    if work.where is taps:
        session.inspect(0, "residual")  # what is there of an earlier text goes
    if work.cold:
        kill(model)
        until(lambda: model.engine.pid is None)


def begun(session: Session, work: Work) -> Callable[[], bool]:
    """What tells whether it has filled some cells since now."""
    first = cells(work.where(session))
    return lambda: cells(work.where(session)) > first + 40


def cells(engine: EngineClient | None) -> int:
    """Cells that are held; 0 where there is no process, or not yet."""
    with suppress(InfernoError):
        return engine.holdings().cells() if engine and engine.pid is not None else 0
    return 0


# --- what has no cells ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.3, 1.0])
def test_a_load_ends_wherever_it_is(fraction: float, path: Path) -> None:
    """Also when it has told all its progress, and makes the context; its process ends with it."""
    stop, told = Stop(), list[float]()

    def progress(now: float) -> None:
        told.append(now)
        if now >= fraction:
            stop.set()

    children = set(psutil.Process().children())
    with stop.stopping(), pytest.raises(Cancelled, match="loading was cancelled"):
        Model(path, n_ctx=8192, progress=progress)
    assert told
    assert set(psutil.Process().children()) <= children


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal")
def test_ctrl_c_ends_a_load_and_its_process(path: Path) -> None:
    children = set(psutil.Process().children())

    def progress(now: float) -> None:
        if now > 0.3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Model(path, progress=progress)
    assert set(psutil.Process().children()) <= children


@pytest.mark.parametrize("stop", STOPS)
def test_a_grammar_that_would_take_long_is_given_up(stop: str, slow: Model) -> None:
    engine = slow.engine
    engine.start()
    engine.tokenize("so that it is at nothing else", special=False)
    grammar = f"root ::= many{{0,{1900 + list(STOPS).index(stop)}}}\n{EXPLODES}"
    came = STOPS[stop](lambda: engine.allowed(grammar, []), lambda: engine.child().stage == "allowed")
    assert isinstance(came, Cancelled | KeyboardInterrupt), "and no GrammarError, which it would be after 5 seconds"
    assert engine.allowed('root ::= "a"', []).any(), "the next grammar is followed"


def test_a_second_context_that_nobody_waits_for_is_not_kept(slow: Model) -> None:
    slow.engine.start()
    second, stop = SecondClient(slow.engine), Stop()
    stop.set()
    with pytest.raises(Cancelled):
        second.start(cancel=stop)
    second.start()
    assert second.pid == slow.engine.pid
    second.close()


class Later:
    """A flag that is set once it has been looked at `n` times."""

    def __init__(self, n: int) -> None:
        self.left = n

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_the_lens_is_worked_out_in_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing ends an evaluation in between, so that none may be large."""
    first = LlamaEngine(str(path), Options(n_ctx=256, n_threads=1), cancel=Switch(), progress=ignore)
    second = Tapped(first)
    try:
        streams = np.random.default_rng(0).normal(size=(20, second.n_embd)).astype(np.float32)
        whole = second.head.logits(streams, cancel=Later(99))
        monkeypatch.setattr("inferno_widget.engine.lens.PRODUCTS", 4 * second.n_embd * second.n_vocab)
        head, rows = Head(second.plan.head, 1), list[int]()
        assert head.most == 4
        evaluate = head._evaluate
        monkeypatch.setattr(head, "_evaluate", lambda some: (rows.append(len(some)), evaluate(some))[1])
        np.testing.assert_allclose(head.logits(streams, cancel=Later(99)), whole, atol=1e-4)
        assert rows == [4] * 5
        with pytest.raises(Cancelled):
            head.logits(streams, cancel=Later(2))
        assert rows == [4] * 7
        head.close()
    finally:
        second.close()
        first.close()


# --- flags ------------------------------------------------------------------------------------------------


def test_a_stop_reaches_those_that_are_made_under_it_and_no_others() -> None:
    before, outer = Stop(), Stop()
    with outer.stopping():
        inner, own = Stop(), Stop(own=True)
        with inner.stopping():
            innermost = Stop()
        made = Stop()
    after = Stop()
    outer.set()
    assert [each.is_set() for each in (inner, innermost, made)] == [True] * 3
    assert [each.is_set() for each in (before, own, after)] == [False] * 3
    with outer.stopping():
        assert Stop().is_set(), "it is over already"


def test_a_run_in_the_background_goes_on_when_the_job_that_began_it_ends(slow: Model) -> None:
    with slow.session(text(7, 20), Sampler(seed=1)) as session:
        job: Job[None] = Job(lambda _: session.start(30))
        job()
        job.enough()
        assert session.wait()
        assert (session.finish, session.trace.length) == ("length", 50)
