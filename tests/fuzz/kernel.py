"""``python -m tests.fuzz.kernel``: a process that must live, whatever files it is given.

Reads names of cases, a line each, and answers each with a line of JSON. Nothing but that may ever be printed:
standard error is the judge's.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from inferno_widget.errors import EngineDiedError, InfernoError, ModelFileError
from tests.fuzz.bounds import bound_this_process, peak
from tests.fuzz.clear import LONGEST, is_clear
from tests.fuzz.mutate import Case
from tests.fuzz.use import use


def judged(case: Case, folder: Path) -> dict[str, Any]:
    """Use a case's file; what became of it."""
    path = case.write(folder)
    started, stage, error = time.monotonic(), "load", None
    try:
        for at in use(path):
            stage = at
    except BaseException as caught:  # noqa: BLE001  it is the very thing that is looked for
        error = caught
    found = {"stage": stage, "seconds": time.monotonic() - started, "outcome": outcome(error), "kernel_mb": peak()}
    if error is not None:
        found |= {"error": type(error).__name__, "message": str(error)[:LONGEST]}
    return found


def outcome(error: BaseException | None) -> str:
    """ "works", "refused" before the child, "error" from it, "killed" child, or "unclear": a fault of ours."""
    if error is None:
        return "works"
    if not isinstance(error, InfernoError) or not is_clear(str(error)):
        return "unclear"
    if isinstance(error, EngineDiedError):
        return "killed"
    return "refused" if isinstance(error, ModelFileError) else "error"


def main() -> None:
    bound_this_process()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        case = Case.named(line.strip())
        with tempfile.TemporaryDirectory() as folder:
            found = judged(case, Path(folder))
        print(json.dumps({"case": str(case), **found}), file=answers, flush=True)


if __name__ == "__main__":
    main()
