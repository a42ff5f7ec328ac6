"""What the engine's tests share."""

from __future__ import annotations

import itertools
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from inferno_widget import Model, Sampler, Session, StepRecord, Trace
from inferno_widget.engine import Branch, Finish, Options, Request
from inferno_widget.engine.channel import OwnFlag
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.window import Window
from inferno_widget.workbench import Workbench

DEMO = Path(__file__).parents[2] / "inferno_widget" / "models" / "demo.gguf"
GREEDY = Sampler(temperature=0)
PROMPT = "once upon a time there was a king"
EOS = 2
"""The token that ends a text of the tiny models with a SentencePiece vocabulary."""
NATS = 1e-3
"""How near two computations of the same logits are, F32 weights and cache."""
GELU_NATS = 5e-3
"""llama.cpp looks GELU up in a table by float16: how one text is cut into batches moves its numbers by up to 0.002."""


class Switch(OwnFlag):
    """A cancel flag for an engine in this process."""


def ignore(_: float) -> None: ...


def drain(steps: Generator[StepRecord, None, Finish]) -> tuple[list[StepRecord], Finish]:
    """All records, and why they ended."""
    records: list[StepRecord] = []
    while True:
        try:
            records.append(next(steps))
        except StopIteration as end:
            return records, end.value


class Driver:
    """Short forms of an engine's calls, the same for the native engine and for the client.

    `nats` is how near its numbers are, and `eos` the token that ends a text.
    """

    def __init__(self, engine: object, make_flag: Callable[[], object], *, nats: float = NATS, eos: int = 2) -> None:
        self.engine = engine
        self.make_flag = make_flag
        self.nats, self.eos = nats, eos

    def prefill(
        self, ids: Sequence[int], *, branch: Branch | None = None, k: int = 20, cancel: object = None
    ) -> Branch:
        """A branch (a new one unless given) with `ids` added; the records are in `records`, the end in `finish`."""
        branch = self.engine.branch(None, 0) if branch is None else branch
        steps = self.engine.prefill(branch, ids, k=k, cancel=cancel or self.make_flag(), progress=ignore)
        self.records, self.finish = drain(steps)
        return branch

    def steps(
        self,
        branch: Branch,
        n: int,
        sampler: Sampler = GREEDY,
        *,
        cancel: object = None,
        processor: object = None,
        **request: object,
    ) -> Generator[StepRecord, None, Finish]:
        return self.engine.generate(
            branch,
            Request(sampler, n, **request),
            cancel=cancel or self.make_flag(),
            progress=ignore,
            processor=processor,
        )

    def generate(self, branch: Branch, n: int, sampler: Sampler = GREEDY, **options: object) -> list[StepRecord]:
        self.records, self.finish = drain(self.steps(branch, n, sampler, **options))
        return self.records


def tokens(records: Sequence[StepRecord]) -> list[int]:
    return [record.token_id for record in records]


def assert_same(left: Sequence[StepRecord], right: Sequence[StepRecord], *, nats: float) -> None:
    """The same tokens, with numbers as near as `nats`; times are nobody's business."""
    assert tokens(left) == tokens(right)
    for a, b in zip(left, right, strict=True):
        assert (a.position, a.kind, a.left_out) == (b.position, b.kind, b.left_out)
        for name in ("logprob", "entropy", "sampled_prob", "draw", "tail"):
            np.testing.assert_allclose(
                getattr(a, name), getattr(b, name), rtol=0, atol=nats, equal_nan=True, err_msg=name
            )
        mine, other = (dict(zip(r.top_ids.tolist(), r.top_logprobs.tolist(), strict=True)) for r in (a, b))
        for token in mine.keys() & other.keys():
            assert abs(mine[token] - other[token]) < nats
        assert len(mine.keys() & other.keys()) >= len(mine) - 2  # two at the edge may have changed places


# --- sessions -----------------------------------------------------------------------------------------------


def dice(seed: int = 7, **settings: object) -> Sampler:
    """A sampler that never ends a text by itself."""
    return Sampler(**{"temperature": 1.0, "seed": seed, "logit_bias": {EOS: -math.inf}, **settings})


def loaded(path: Path, n_ctx: int = 1024, kv: str = "f32") -> Model:
    return Model(path, n_ctx=n_ctx, n_threads=1, n_batch=64, type_k=kv, type_v=kv)


def slowly(ids: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """A logits processor that leaves time to do something meanwhile."""
    time.sleep(0.004)
    return logits


def snapshot(session: Session) -> tuple[object, ...]:
    """All that looking must not change."""
    trace = session.trace
    return session.state, session.finish, trace.head, trace.nodes.tobytes(), len(trace.runs), dict(trace.pieces)


def until(done: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.001)


@contextmanager
def workbenches(**defaults: Any) -> Generator[Callable[..., Workbench]]:
    """Makes workbenches, and closes them; none leaves a thread or a process behind."""
    threads, children = set(threading.enumerate()), set(psutil.Process().children())
    made: list[Workbench] = []

    def make(target: object = None, **options: Any) -> Workbench:
        made.append(Workbench(**{**defaults, **options}))
        made[-1].begin_with(target)
        return made[-1]

    yield make
    for bench in made:
        bench.close()
    until(lambda: not [t for t in set(threading.enumerate()) - threads if t.name.startswith("inferno-w")])
    assert set(psutil.Process().children()) <= children


def kill(model: Model) -> None:
    """End the model's process as the system does when memory runs out."""
    os.kill(model.engine.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)


def opened(path: Path, kv: str = "f32") -> LlamaEngine:
    """Another engine with the same model and room for everything: a judge of what was recorded."""
    options = Options(n_ctx=1024, n_threads=1, n_batch=512, type_k=kv, type_v=kv)
    return LlamaEngine(str(path), options, cancel=Switch(), progress=ignore)


def assert_seen(
    trace: Trace, judge: LlamaEngine, *, nats: float = NATS, node: int | None = None, n_ctx: int = 256
) -> list[Window]:
    """Every record of a path is what a fresh prefill of its window predicts. Returns the windows, in order."""
    path, driver = trace.path(node), Driver(judge, Switch)
    ids = trace.column("token_id", tree=True)[path]
    windows = [trace.window(int(node)) for node in path]
    at = 0
    for window, group in itertools.groupby(windows):
        n = len(list(group))
        seen = window.of(ids[: at + n]).tolist()
        assert len(seen) <= n_ctx, "more than the context holds"
        judge.drop(driver.prefill(seen, k=trace.k))
        for node, fresh in zip(path[at : at + n], driver.records[-n:], strict=True):
            said = trace.record(int(node))
            assert (said.rank == 0) == (fresh.rank == 0)
            if not said.rank:
                continue
            assert abs(said.logprob - fresh.logprob) < nats
            theirs = dict(zip(fresh.top_ids.tolist(), fresh.top_logprobs.tolist(), strict=True))
            mine = dict(zip(said.top_ids.tolist(), said.top_logprobs.tolist(), strict=True))
            others = [abs(mine[token] - theirs[token]) for token in mine.keys() & theirs.keys()]
            worst = max(abs(said.entropy - fresh.entropy), abs(said.tail - fresh.tail), *others)
            assert worst < 3 * nats, "the largest of thousands; as large where nothing was left out"
        at += n
    return [window for window, _ in itertools.groupby(windows)]
