"""Why a process ended, in words, as far as that can be known from outside."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from inferno_widget.errors import quoted

DUMP, STACK = "Fatal Python error", "Current thread"
"""How faulthandler begins, and the part of it that has the stack to blame."""
NEWS = "[info] ", "[warn] "
"""How `log.Log` prints what is no complaint."""
STOPPED = re.compile(r"graph_compute: .* error 1|.* compute status: 1|llama_decode: .* ret = 2")
"""What llama.cpp complains of when we stop it, which is no fault."""
STATES = {
    psutil.STATUS_STOPPED: "somebody had stopped it with a signal",
    psutil.STATUS_TRACING_STOP: "a debugger held it",
    psutil.STATUS_DISK_SLEEP: "it waited for a disk",
    psutil.STATUS_RUNNING: "it was computing",
}
FOLDERS = re.compile(r"""(?<=")[^"]*[/\\](?=[^"/\\]+")|[^\s"]*[/\\](?=[^\s"/\\]+\.(?:cp?p?|cuh?|hp?p?|m)\b)""")
"""Where source lay when it was compiled or installed, which nobody who reads of a death needs to know."""
MOST_SAID = 400
"""Characters of one of its last words: native code may have put any text of a file into them."""
_VMSTAT = Path("/proc/vmstat")


class Witness:
    """What is noted of a process while it lives, since nobody can be asked later.

    Parameters
    ----------
    pid : of a process that has just begun

    Attributes
    ----------
    held : bytes of memory that it had, when last looked at; 0 if that is not known
    free : bytes that the machine had left then
    """

    def __init__(self, pid: int) -> None:
        self._process: psutil.Process | None = None
        self.held = self.free = 0
        self._killed = _killed_for_memory()
        with suppress(psutil.Error):
            self._process = psutil.Process(pid)

    def look(self) -> None:
        """Take note; once a second is enough."""
        with suppress(psutil.Error):
            held = int(self._process.memory_info().rss) if self._process else 0
            if held:  # else it has just ended, and what follows would be too late
                self.held, self.free = held, int(psutil.virtual_memory().available)
                self._killed = _killed_for_memory()

    def state(self) -> str:
        """What the process is doing, for a sentence about one that hangs; empty if it is only waiting."""
        with suppress(psutil.Error):
            if self._process:
                return STATES.get(self._process.status(), "")
        return ""

    def of_sigkill(self) -> str:
        """Who may have sent a SIGKILL, which nothing says."""
        had = f"it held {self.held / 2**20:,.0f} MiB, and {self.free / 2**20:,.0f} MiB were free" if self.held else ""
        if _killed_for_memory() > self._killed:
            return f"the system ended it because memory ran out{f': {had}' if had else ''}"
        return f"somebody ended it, or perhaps memory ran out{f': {had}' if had else ''}"


def _killed_for_memory() -> int:
    """Processes that Linux has ended because memory ran out, in a control group or in all."""
    with suppress(OSError, ValueError):
        counts = dict(line.split() for line in _VMSTAT.read_text().splitlines())
        return int(counts.get("oom_kill", 0))
    return 0


def reason_of(code: int | None, witness: Witness) -> str:
    """What an exit code says, as `subprocess.Popen.returncode`."""
    if code is None:
        return "it does not end, though it was told to: perhaps it waits for a disk that does not answer"
    if code >= 0:
        return f"exit code {code}"
    reason = f"killed by signal {-code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name
        reason += f" ({name})"
        if name == "SIGKILL":
            reason += f": {witness.of_sigkill()}"
    return reason


def last_words(log: Sequence[str]) -> list[str]:
    """What was complained of before faulthandler's dump, and the top of the stack that it blames."""
    said = [line for line in log if line and not line.startswith(NEWS) and not STOPPED.fullmatch(line)]
    dump, stack = (
        next((i for i, line in enumerate(said) if line.startswith(mark)), len(said)) for mark in (DUMP, STACK)
    )
    last = said[max(0, dump - 4) : dump + 1] + said[stack + 1 : stack + 3]
    return [quoted(FOLDERS.sub("", line), MOST_SAID) for line in last]
