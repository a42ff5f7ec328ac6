"""Tokens per second, with every record, through the child process, over the bare loop; model H."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from benchmarks.bare import BareLoop
from benchmarks.measure import Figure, Setting, compare, seconds
from inferno_widget import Model, Sampler

PROMPT = "Once upon a time"


class Contest:
    """A session and a bare loop, each going on with its own text by `n` tokens at a time."""

    def __init__(self, path: Path | None, n: int) -> None:
        self.model, self.n = Model(path), n
        options = self.model.options
        self.bare = BareLoop(self.model.path, n_ctx=self.model.n_ctx, n_threads=options.n_threads)
        self._seeds = count(7)
        self._begin()
        self._begin_bare()

    def _begin(self) -> None:
        self.session = self.model.session(PROMPT, Sampler(seed=next(self._seeds)))
        self.session.step()  # reads the prompt

    def _begin_bare(self) -> None:
        self.bare.begin(self.session.prompt_ids)
        self._room = self.model.n_ctx - len(self.session.prompt_ids)

    def ours(self) -> float:
        """Tokens per second of the session; a text that has ended, or has no room left, makes way for a new one."""
        while True:
            if len(self.session.trace) + self.n > self.model.n_ctx or self.session.finish == "eog":
                self.session.close()
                self._begin()
            spent = seconds(lambda: self.session.generate(self.n))
            if self.session.finish == "length":
                return self.n / spent

    def theirs(self) -> float:
        """Tokens per second of the bare loop."""
        if self._room < self.n:
            self._begin_bare()
        self._room -= self.n
        return self.n / seconds(lambda: self.bare.generate(self.n))

    def close(self) -> None:
        self.model.close()
        self.bare.close()


def run(setting: Setting) -> list[Figure]:
    contest = Contest(setting.model_h, n=128)
    result = compare(contest.ours, contest.theirs, setting.rounds)
    contest.close()
    threads = contest.model.options.n_threads
    return [Figure("all records over the bare loop, model H", result.ratio, 0.95, f"{result}, {threads} threads")]
