"""How soon work ends when somebody stops it, at random moments: until the call returns, and the process is free again.

Every second time it is Ctrl-C, else a stop as that of a job. What the kernel does by itself knows Ctrl-C alone.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.measure import Figure, Setting
from inferno_widget import Cancelled, Model, Sampler, Session, Trace, read_info, steering_vector, verify
from inferno_widget.engine.stop import Stop

REACH_MS = 100
N_CTX = 4096
LONG = 2000
"""Tokens of a long text."""
SLOW_GRAMMAR = "root ::= many{0,1900}\nmany ::= item{0,1900}\nitem ::= [a-z]? [a-z]? [a-z]?"
_seeds = itertools.count()


class Work(NamedTuple):
    """A kind of work.

    Attributes
    ----------
    what : in words
    make : what it takes, which is not timed -> the work, never the same as before
    span : seconds within which it is stopped
    kernels : whether the kernel does it by itself
    """

    what: str
    make: Callable[[], Callable[[], object]]
    span: float
    kernels: bool = False


def run(setting: Setting) -> list[Figure]:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background ignores it
    with Model(setting.model_h, n_ctx=N_CTX, force=True) as model, tempfile.TemporaryDirectory() as folder:
        works = itertools.chain(
            _files(setting, model, Path(folder)), _decoding(model), _beside(model), _inside(model), _grammar(model)
        )
        figures = [_figure(work, setting.rounds, model) for work in works]
    return [*figures, *(_figure(work, setting.rounds, None) for work in _loading(setting))]


def _decoding(model: Model) -> Iterator[Work]:
    def texts() -> list[list[int]]:
        return [_ids(500) for _ in range(4)]

    yield Work("prefill of a long prompt", lambda: _session(model, LONG).score, 3)
    yield Work("generate", lambda: partial(_read(model, 20).generate, 300), 1.5)
    yield Work("score, several texts", lambda: partial(model.score, texts()), 3)
    yield Work("next, several texts", lambda: partial(model.next, texts()), 2)


def _beside(model: Model) -> Iterator[Work]:
    read, names = _read(model, 400), itertools.count(300)
    read.generate(20)
    yield Work("look-ahead, 16 ways", lambda: partial(read.lookahead, 16, 100), 2)
    yield Work("resample, 32 ways", lambda: partial(read.resample, n=32, max_tokens=50), 2)
    yield Work("commitment", lambda: partial(read.commitment, n=16), 2)
    yield Work("explain, its row", lambda: partial(_cold(read).row, 400), 0.5)
    yield Work("what if, its rows", lambda: partial(_cold(read).what_if, temperature=[0.2, 2, 4]), 0.5)
    yield Work("watch", lambda: partial(read.watch, next(names)), 2)
    yield Work("fork to any token", lambda: partial(_cold(read).fork, 399, next(names)), 0.5)
    yield Work("edit", lambda: partial(read.edit, _text(model, LONG)), 3)
    yield Work("verify", lambda: partial(verify, read.trace, model), 2)


def _inside(model: Model) -> Iterator[Work]:
    def steering() -> Callable[[], object]:
        return partial(steering_vector, model, [_text(model, 150)] * 4, [_text(model, 150)] * 4, 12)

    yield Work("inspect attention", lambda: partial(_session(model, 500).inspect, None, "attention", 12), 1)
    yield Work("inspect residual, all layers", lambda: partial(_session(model, 500).inspect, None, "residual"), 1)
    yield Work("logit lens", lambda: partial(_session(model, 200).inspect, range(100, 200), "lens"), 4)
    yield Work("capture, a run", lambda: partial(_captured, _session(model, 200)), 1.5)
    yield Work("attribution", lambda: _session(model, 500).attribution, 2)
    yield Work("causal map", lambda: partial(_session(model, 100).causal_map, layers=range(4)), 3)
    yield Work("steering vector, 8 texts", steering, 4)


def _grammar(model: Model) -> Iterator[Work]:
    def make() -> Callable[[], object]:
        grammar = SLOW_GRAMMAR.replace("1900}\nmany", f"{1900 - next(_seeds) % 100}}}\nmany")
        return lambda: model.engine.allowed(grammar, [])

    yield Work("a grammar that takes long", make, 2)


def _files(setting: Setting, model: Model, folder: Path) -> Iterator[Work]:
    trace, path = _long_trace(model), folder / "long.inferno"
    trace.save(path)
    yield Work("checking a file", lambda: partial(read_info, setting.model_h), 0.1, kernels=True)
    yield Work("loading an .inferno file", lambda: partial(Trace.load, path), 0.1, kernels=True)
    for end in ("inferno", "html", "json"):
        what = f"export of {len(trace.nodes):,} tokens as {end}"
        yield Work(what, partial(partial, trace.save, folder / f"export.{end}"), 0.1, kernels=True)


def _loading(setting: Setting) -> Iterator[Work]:
    for n_ctx in (N_CTX, 8 * N_CTX):
        yield Work(f"loading, n_ctx {n_ctx:,}", partial(partial, Model, setting.model_h, n_ctx=n_ctx, force=True), 0.5)


# --- what is stopped --------------------------------------------------------------------------------------


def _ids(n: int) -> list[int]:
    ids: list[int] = np.random.default_rng(next(_seeds)).integers(1_000, 100_000, n).tolist()
    return ids


def _session(model: Model, n: int) -> Session:
    return model.session(_ids(n), Sampler(seed=7))


def _read(model: Model, n: int) -> Session:
    session = _session(model, n)
    session.score()
    return session


def _text(model: Model, n: int) -> str:
    return model.detokenize(_ids(n)).decode(errors="ignore")


def _cold(session: Session) -> Session:
    """A session whose text has to be read anew, as if others had needed the room."""
    session._branches.release()
    return session


def _captured(session: Session) -> None:
    with session.capture("residual"):
        session.generate(100)


def _long_trace(model: Model, n: int = 20_000) -> Trace:
    """A trace of many tokens, each of them once more."""
    trace = _read(model, 100).trace
    records = [trace.record(node) for node in range(1, len(trace.nodes))]
    while len(trace.nodes) < n:
        for record in records:
            trace.append(record._replace(position=trace.length), {})
    return trace


# --- stopping ---------------------------------------------------------------------------------------------


def _figure(work: Work, rounds: int, model: Model | None) -> Figure:
    moments, spent = random.Random(work.what), list[tuple[float, float]]()
    for i in itertools.count():
        if len(spent) == rounds or i == 4 * rounds:
            break
        how = _by_ctrl_c if work.kernels or i % 2 else _by_a_stop
        stopped = how(work.make(), moments.uniform(0.01, work.span))
        if stopped is None:
            continue  # it was done before
        returned = time.perf_counter() - stopped
        if model is not None and not work.kernels:
            model.tokenize("x")
        spent.append((returned, time.perf_counter() - stopped))
    worst = [1e3 * max((times[i] for times in spent), default=0.0) for i in (0, 1)]
    told = f"{worst[0]:.0f} ms to the return, worst of {len(spent)} moments"
    detail = told if spent else "over before it was stopped"
    print(f"{work.what}: {detail}, {worst[1]:.0f} until all is free", file=sys.stderr, flush=True)
    return Figure(f"stopping: {work.what}, ms until all is free", worst[1], REACH_MS, detail, at_least=False)


def _by_a_stop(work: Callable[[], object], after: float) -> float | None:
    """When it was stopped; None if it was done by then."""
    stop, stopped = Stop(), list[float]()

    def end() -> None:
        stopped.append(time.perf_counter())
        stop.set()

    timer = threading.Timer(after, end)
    timer.start()
    with stop.stopping(), contextlib.suppress(Cancelled):
        _closed(work())
    timer.cancel()
    return _first(stopped)


def _by_ctrl_c(work: Callable[[], object], after: float) -> float | None:
    main, stopped, over = threading.main_thread().ident or 0, list[float](), threading.Event()

    def end() -> None:
        if not over.is_set():
            stopped.append(time.perf_counter())
            signal.pthread_kill(main, signal.SIGINT)

    timer = threading.Timer(after, end)
    try:
        timer.start()
        _closed(work())
        over.set()
        timer.join()  # where it struck just now it is heard here
    except KeyboardInterrupt:
        return stopped[0]
    return None


def _closed(made: object) -> None:
    if isinstance(made, Model):
        made.close()


def _first(times: Sequence[float]) -> float | None:
    return times[0] if times else None
