"""Processes of this package, which do what could end the one that wants it, or take for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from inferno_widget.errors import InfernoError

_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""Without it Windows would open a console for each."""


class Process(subprocess.Popen[bytes]):
    """A process with a pipe to it and one from it; if it is Python, it imports what this one would.

    Parameters
    ----------
    command : program and arguments
    options : as `subprocess.Popen` takes them

    Raises
    ------
    InfernoError
        If the system does not let it begin.
    """

    stdin: IO[bytes]
    stdout: IO[bytes]

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        try:
            super().__init__(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_surroundings(),
                creationflags=_NO_WINDOW,
                **options,
            )
        except OSError as error:
            raise InfernoError(f"the system lets no process begin: {error}; close what is not needed") from error

    def end(self) -> None:
        """Kill it, whatever it does, and close its pipes."""
        self.kill()
        with suppress(OSError, ValueError), self:  # what nobody has read any more cannot be written
            pass


def _surroundings() -> dict[str, str]:
    path = [*filter(None, sys.path), str(Path(__file__).parents[2])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "GGML_NO_BACKTRACE": "1"}
