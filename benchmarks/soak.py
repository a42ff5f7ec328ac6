"""``python -m benchmarks.soak [--minutes 10]``: two hours of use in ten minutes, and what they leave behind.

A person who works for two hours makes some hundreds of runs. Here three sessions of the demo model generate, fork, look
ahead, look inside and close as fast as they can, and now and then the engine's process is killed. What kernel and child
hold at the start, after a tenth of the time, and at the end is compared.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
import psutil

from inferno_widget import EngineDiedError, Model, Sampler, Session

PROMPTS = ("Once upon a time", "The king had three sons,", "In the forest there lived")
LOOKS, KILLS, DEATHS = 10, 0.5, 30
"""How often is measured; the share of the time in which processes are killed, and how many are."""
MAY_GROW = 32 << 20
"""Bytes by which each process may grow: arenas of the allocator settle for a long time."""


@dataclass(frozen=True)
class Held:
    """What kernel and child hold.

    Attributes
    ----------
    kernel, child : bytes of resident memory
    descriptors, threads : of the kernel and of the child
    children : processes of the kernel
    """

    kernel: int
    child: int
    descriptors: tuple[int, int]
    threads: tuple[int, int]
    children: int

    @classmethod
    def now(cls, model: Model) -> Held:
        model.tokenize("x")  # it lives, and is warm
        both = psutil.Process(), psutil.Process(model.engine.pid)
        counts = [process.num_fds() if os.name != "nt" else process.num_handles() for process in both]
        return cls(
            *(process.memory_info().rss for process in both),
            (counts[0], counts[1]),
            (both[0].num_threads(), both[1].num_threads()),
            len(both[0].children()),
        )

    def __str__(self) -> str:
        return (
            f"kernel {self.kernel / 2**20:6.1f} MiB, {self.descriptors[0]} descriptors, {self.threads[0]} threads; "
            f"child {self.child / 2**20:6.1f} MiB, {self.descriptors[1]} descriptors, {self.threads[1]} threads"
        )


def use(model: Model, rng: np.random.Generator, done: Counter[str]) -> None:
    """One text: written, forked, looked at, closed."""
    sampler = Sampler(temperature=0.9, seed=int(rng.integers(1 << 30)))
    with model.session(PROMPTS[rng.integers(len(PROMPTS))], sampler) as session:
        for _ in range(6):
            session.generate(40)
            fork(session, rng)
            session.generate(20)
            done["forks"] += 1
        session.lookahead(k=6, depth=8)
        session.resample(n=8, max_tokens=12)
        session.inspect(at=-1, what=("attention", "residual"))
        done["looks"] += 3
        done["tokens"] += len(session.trace.nodes)
    done["sessions"] += 1


def fork(session: Session, rng: np.random.Generator) -> None:
    """Take another way somewhere in what was generated."""
    at = int(rng.integers(len(session.prompt_ids), session.trace.length))
    options = session.trace.alternatives(at)
    session.fork(at, options[rng.integers(len(options))].token_id)


class Workers:
    """Threads that use a model until it is over, and rest between two texts when they are told to."""

    def __init__(self, model: Model, count: int = 3) -> None:
        self.done, self.problems = Counter[str](), list[BaseException]()
        self.over = threading.Event()
        self._model, self._may_go_on, self._resting = model, threading.Event(), 0
        self._changed = threading.Condition()
        self._may_go_on.set()
        self._threads = [threading.Thread(target=self._work, args=(seed,)) for seed in range(count)]
        for thread in self._threads:
            thread.start()

    def _work(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not self.over.is_set():
            self._rest()
            try:
                use(self._model, rng, self.done)
            except EngineDiedError:
                self.done["deaths told"] += 1
            except BaseException as problem:  # noqa: BLE001  told at the end
                self.problems.append(problem)
                self.over.set()

    def _rest(self) -> None:
        with self._changed:
            self._resting += 1
            self._changed.notify_all()
        self._may_go_on.wait()
        with self._changed:
            self._resting -= 1

    def measured(self) -> Held:
        """What is held while all rest."""
        self._may_go_on.clear()
        try:
            with self._changed:
                while self._resting < len(self._threads) and not self.over.is_set():
                    self._changed.wait(1)
            time.sleep(0.5)  # threads that have said their last word may still be there
            return Held.now(self._model)
        finally:
            self._may_go_on.set()

    def join(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()


def soak(minutes: float) -> bool:
    """Whether anything was left behind. Kills end in the middle, so that a child can be looked at for half the time."""
    seconds, started = 60 * minutes, time.monotonic()
    looks: list[Held] = []
    with Model(n_ctx=2048) as model:
        workers, killed = Workers(model), started
        while not workers.over.wait(1):
            now = time.monotonic()
            if now - started > seconds * (len(looks) + 1) / LOOKS:
                looks.append(workers.measured())
                say(f"{now - started:5.0f} s  {looks[-1]}")
            if len(looks) == LOOKS:
                break
            if now - killed > seconds * KILLS / DEATHS and now - started < seconds * KILLS and model.engine.pid:
                os.kill(model.engine.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
                killed, workers.done["kills"] = now, workers.done["kills"] + 1
        workers.join()
    say(", ".join(f"{count:,} {name}" for name, count in workers.done.items()) + f" in {minutes:g} minutes")
    found = [*left_behind(looks), *map(repr, workers.problems)]
    say("\n".join(f"NOT HELD: {each}" for each in found) or "nothing was left behind")
    return bool(found)


def left_behind(looks: list[Held]) -> list[str]:
    """What there is more of at the end than there may be.

    Of the kernel's since the first look, of the child's since the first after it was last replaced.
    """
    if len(looks) < LOOKS:
        return ["it was over too soon"]
    first, settled, end = looks[0], looks[int(LOOKS * KILLS)], looks[-1]
    sizes = [
        f"the {name} grew by {(after - before) / 2**20:.1f} MiB"
        for name, before, after in (("kernel", first.kernel, end.kernel), ("child", settled.child, end.child))
        if after - before > MAY_GROW
    ]
    counts = [
        f"{name} of the {whose}: {before} became {after}"
        for i, (whose, then) in enumerate((("kernel", first), ("child", settled)))
        for name in ("descriptors", "threads")
        if (before := getattr(then, name)[i]) < (after := getattr(end, name)[i])
    ]
    return [*sizes, *counts, *([f"{end.children} children"] if end.children > first.children else [])]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="two hours of use take ten")
    sys.exit(soak(parser.parse_args().minutes))


if __name__ == "__main__":
    main()
