"""``python -m benchmarks [NAME ...]``: run benchmarks, print their table, and keep the table of a whole run."""

from __future__ import annotations

import argparse
import datetime as dt
import multiprocessing
import os
import platform
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import Figure, Setting, run, table

HERE = Path(__file__).parent
NAMES = (
    "decode",
    "page",
    "completion",
    "guidance_gen",
    "demo",
    "fork",
    "lookahead",
    "explain",
    "inside",
    "cancel",
    "whole_text",
    "imports",
    "check",
    "wire",
)
PACKAGES = ("llama-cpp-python", "numpy", "anywidget", "ipykernel", "jupyterlab", "guidance", "torch", "transformers")
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--model-h", type=Path, default=HERE.parent / "build" / "model-h.gguf", help="made if missing")
    parser.add_argument("--rounds", type=int, default=9, help="how often each pair is measured")
    asked = parser.parse_args()
    if not asked.model_h.exists():
        subprocess.run([sys.executable, HERE / "make_model_h.py", asked.model_h], check=True)
    setting = Setting(asked.model_h.resolve(), asked.rounds)
    figures = [figure for name in asked.names or NAMES for figure in _alone(name, setting)]
    report = f"{_conditions()}\n\n{table(figures)}"
    print(f"\n{report}")
    if not asked.names:
        _keep(report)
    sys.exit(not all(figure.met for figure in figures))


def _alone(name: str, setting: Setting) -> list[Figure]:
    """The figures of one benchmark, in a process of its own, so that none leaves threads to the next."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, name, setting).result()


def _conditions() -> str:
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {_processor()}, {os.cpu_count()} cores{load}, "
        f"{platform.system()}, Python {platform.python_version()}, {packages}."
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _keep(report: str) -> None:
    readme = HERE / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    readme.write_text(f"{before}{BEGIN}\n{report}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
