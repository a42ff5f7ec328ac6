"""Many cases in several processes, and what became of each."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from tests.fuzz.mutate import Case

SECONDS = 120.0
"""In which a kernel must have done everything with a file: every limit of ours is shorter."""
FAULTS = ("unclear", "noise", "dead", "hung")
"""Outcomes that must not be."""


@dataclass(frozen=True)
class Result:
    """What became of a case.

    Attributes
    ----------
    outcome : "works", "refused" (before the child), "error" (a clear one, from the child), "killed" (the child died
        and the kernel said so), or a fault: "unclear" (no `InfernoError`, or one that cannot be read), "noise" (the
        kernel printed something), "dead" (the kernel died), "hung"
    stage : what it was doing
    kernel_mb : most memory that the kernel has had by then, the making of the files included; 0 where not known
    """

    case: str
    outcome: str
    stage: str = ""
    seconds: float = 0.0
    error: str = ""
    message: str = ""
    kernel_mb: int = 0

    def __str__(self) -> str:
        said = f"{self.error}: {self.message}" if self.error else self.message
        return f"{self.outcome} during {self.stage} after {self.seconds:.1f} s: {self.case}\n    {said}"


class _Process:
    """A kernel, or a peer; a new one wherever the old one died."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: subprocess.Popen[str] | None = None
        self._noise: IO[bytes]

    def _living(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._noise = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._noise,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )
        return self._process

    def use(self, case: Case) -> Result:
        process = self._living()
        with contextlib.suppress(BrokenPipeError):  # it died: there is no answer then
            process.stdin.write(f"{case}\n")
            process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            answered = selector.select(SECONDS)
        line = process.stdout.readline() if answered else ""
        noise = self._heard()
        if not line:
            self.end()
            if answered:
                return Result(str(case), "dead", message=f"exit code {process.returncode}; it last said: {noise}")
            return Result(str(case), "hung", seconds=SECONDS, message=noise)
        result = Result(**json.loads(line))
        if noise and result.outcome != "unclear":
            result = Result(str(case), "noise", result.stage, result.seconds, message=noise)
        return result

    def _heard(self) -> str:
        """What it printed since."""
        self._noise.seek(0)
        said = self._noise.read().decode(errors="replace").strip()
        self._noise.seek(0)
        self._noise.truncate()
        return said[-2_000:]

    def end(self) -> None:
        """With the children it may have left behind."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with self._process, self._noise:
            self._process.wait()
        self._process = None


def hunt(cases: Iterable[Case], *, jobs: int, module: str = "tests.fuzz.kernel") -> Iterator[Result]:
    """Use every case, `jobs` at a time; results as they come."""
    waiting: queue.SimpleQueue[Case | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[Result | None] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)
    for _ in range(jobs):
        waiting.put(None)

    def work() -> None:
        process = _Process(module)
        try:
            while (case := waiting.get()) is not None:
                done.put(process.use(case))
        finally:
            process.end()
            done.put(None)

    for _ in range(jobs):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(jobs):
        yield from iter(done.get, None)
