"""What `import inferno_widget` takes in a fresh process, and what it leaves alone."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.measure import Figure, Setting

HEAVY = ("llama_cpp", "plotly", "pandas")
CODE = """
import sys, time
started = time.perf_counter()
{statement}
print(time.perf_counter() - started, *(name for name in {heavy} if name in sys.modules))
"""


def run(setting: Setting) -> list[Figure]:
    return [
        _figure(statement, setting.rounds)
        for statement in ("import inferno_widget", "from inferno_widget import Model, Sampler, Inferno")
    ]


def _figure(statement: str, rounds: int) -> Figure:
    code = CODE.format(statement=statement, heavy=HEAVY)
    outputs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
        for _ in range(rounds)
    ]
    loaded = sorted({name for output in outputs for name in output[1:]})
    value = statistics.median(float(output[0]) for output in outputs)
    detail = f"loads {', '.join(loaded)}" if loaded else f"loads none of {', '.join(HEAVY)}"
    return Figure(f"`{statement}`, s", float("inf") if loaded else value, 0.4, detail, at_least=False)
