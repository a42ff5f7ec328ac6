"""What looking at a file costs before it is loaded: a header with 151,936 tokens, read and checked."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Figure, Setting
from inferno_widget.gguf import check, read_info


def run(setting: Setting) -> list[Figure]:
    read, checked = (min(_seconds(work, setting) for _ in range(setting.rounds)) for work in (read_info, check))
    n = read_info(setting.model_h).n_vocab
    detail = f"{n:,} tokens; {1000 * read:.0f} ms to read it alone"
    return [Figure("`gguf.check`, model H, ms, the best of all rounds", 1000 * checked, 200, detail, at_least=False)]


def _seconds(work: Callable[[Path], object], setting: Setting) -> float:
    started = time.perf_counter()
    work(setting.model_h)
    return time.perf_counter() - started
