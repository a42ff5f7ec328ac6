"""Bytes that the widget hands to its comm for each token of a run, k = 20.

Counted is what a kernel would send: the JSON of custom messages and trait updates, and their buffers. The page's
own part (a replay when it opens) is played here.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from benchmarks.decode import PROMPT
from benchmarks.measure import Figure, Setting
from inferno_widget import Inferno, Model, Sampler

N = 500


def run(setting: Setting) -> list[Figure]:
    return [
        _figure("demo model", None, PROMPT),
        _figure("demo model at 20 tokens/s", None, PROMPT, pause=0.05),
        _figure("model H", setting.model_h, PROMPT),
    ]


def _figure(name: str, path: Path | None, prompt: str, *, pause: float = 0) -> Figure:
    def slowly(_: Any, logits: Any) -> Any:
        time.sleep(pause)
        return logits

    with Model(path) as model:
        session = model.session(prompt, Sampler(seed=7), logits_processor=slowly if pause else None)
        widget = Inferno(session)
        counted: dict[str, int] = {}

        def publish(_: str, data: Any = None, buffers: Any = None, **__: Any) -> None:
            part = data["content"]["kind"] if data.get("method") == "custom" else "traits"
            size = len(json.dumps(data).encode()) + sum(memoryview(buffer).nbytes for buffer in buffers or ())
            counted[part] = counted.get(part, 0) + size

        widget.comm.publish_msg = publish
        while (made := len(session.trace)) < N:
            session.generate(N - made)  # also past the end of a story
        time.sleep(1)  # the last frame, and the last status
        widget.close()
    parts = ", ".join(f"{part} {size / made:.0f}" for part, size in counted.items())
    return Figure(
        f"bytes a token on the wire, {name}",
        sum(counted.values()) / made,
        300,
        f"{parts}; {made} tokens",
        at_least=False,
    )
