"""Chat templates as the kernel sees them: each runs in a process of its own, which may take only so much."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inferno_widget.errors import InfernoError, check_text, quoted

from .process import Process

SECONDS = 5
"""A template takes a hundredth of one, its process a tenth to start."""
BYTES = 512 << 20
"""Of address space, where the system can limit it."""
WORKER = Path(__file__).with_name("template_worker.py")


def written(template: str, names: Mapping[str, Any]) -> str:
    """What a Jinja template writes.

    Parameters
    ----------
    template : from a model's file: nothing of it is trusted
    names : what it knows; must be JSON

    Raises
    ------
    InfernoError
        With the template's own words, and the line, if it refuses or is broken; or that it takes too long, or too much.
    """
    asked = json.dumps({"template": template, "names": names}).encode()
    process = Process([sys.executable, "-P", str(WORKER), str(SECONDS), str(BYTES)], stderr=subprocess.PIPE)
    try:
        answer, log = process.communicate(asked, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise _useless(f"takes longer than {SECONDS} s") from None
    finally:
        process.end()
    if not answer:
        said = log.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        raise _useless(f"ended the process that it ran in (exit code {process.returncode}), which said {said[0]!r}")
    return _text(json.loads(answer))


def _text(answer: dict[str, Any]) -> str:
    if "problem" in answer:
        where = f" (line {answer['line']} of the template)" if answer["line"] else ""
        raise _useless(f"{answer['problem']}{where}")
    text: str = answer["text"]
    try:
        check_text("what it writes", text)
    except ValueError:
        raise _useless("writes half a character, which no model can read") from None
    return text


def _useless(problem: str) -> InfernoError:
    return InfernoError(f"the model's chat template {quoted(problem)}")
