"""The engine's process, which does what no process should when it is told to: ``call("misbehave", how)``."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

from inferno_widget.engine import worker
from inferno_widget.engine.log import INFO, Log
from inferno_widget.engine.worker import Worker


class BadWorker(Worker):
    def _do_misbehave(self, request: int, flag: object, how: str) -> object:
        return getattr(self, how)(request)

    def exits(self, _: int) -> None:
        os.write(2, b"libgomp: Thread creation failed\n")
        os._exit(3)

    def leaves(self, _: int) -> None:
        os._exit(0)

    def crashes(self, _: int) -> None:
        ctypes.string_at(0)

    def aborts(self, _: int) -> None:
        os.write(2, b"ggml.c:1234: GGML_ASSERT(ne00 == ne10) failed\n")
        os.abort()

    def boasts(self, _: int) -> None:
        """What a file is called fills the log, on any number of lines, before it crashes."""
        Log().note(INFO, b"name = " + b"long " * 10_000 + b"\nFatal Python error\n\x1b[31m", None)
        os.write(2, b"\n[info] " + b"longer " * 10_000 + b"\nit \x1b[31m failed: " + b"x" * 10_000 + b"\n")
        os.abort()

    def dies(self, _: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM if os.name == "nt" else signal.SIGKILL)

    def dies_with_heirs(self, _: int) -> None:
        """Somebody keeps its log open."""
        heir = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.DEVNULL)
        os.write(2, b"heir %d\n" % heir.pid)
        os._exit(5)

    def closes(self, _: int) -> None:
        """The pipe, and lives on."""
        self._channel._writer.close()
        time.sleep(600)

    def babbles(self, _: int) -> None:
        self._channel._writer.write(b"llama_print_timings: eval time = 12 ms")
        self._channel._writer.flush()
        time.sleep(600)

    def misleads(self, _: int) -> None:
        """A message that is a pickle of nothing that there is."""
        data = b"cno_such_module\nthing\n."
        self._channel._writer.write(self.header(len(data)) + data)
        self._channel._writer.flush()
        time.sleep(600)

    def surprises(self, request: int) -> None:
        """A message of another shape."""
        self._channel.send("hello")
        time.sleep(600)

    def sleeps(self, _: int) -> None:
        """In native code, without a look at its flag."""
        while True:
            ctypes.CDLL(None).sleep(600)  # which a signal interrupts

    def hides(self, _: int) -> object:
        """What cannot be sent."""
        return lambda: None

    def starves(self, _: int) -> None:
        raise MemoryError

    def waits(self, _: int) -> str:
        time.sleep(0.3)
        return "done"

    @staticmethod
    def header(size: int) -> bytes:
        from inferno_widget.engine.channel import _BEGIN, _HEADER

        return _HEADER.pack(_BEGIN, size)


if __name__ == "__main__":
    worker.Worker = BadWorker
    worker.main()
