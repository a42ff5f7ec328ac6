"""``python -m benchmarks.ui``: our stream beside a page with one span a token, in one Chromium; prints a table.

Each length is measured in the order ours, plain, plain, ours, each time on a fresh page, and the better of the two
counts for either side: what disturbs a frame comes from outside.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import chromium

ROOT = Path(__file__).parents[1]
LENGTHS = (1_000, 10_000, 100_000)
REACH = {"first": 100, "append_p95": 20, "recolour": 33, "scroll_p95": 18, "heap": 100}
"""At 100,000 tokens: milliseconds, and of the heap megabytes."""
README = Path(__file__).with_name("README.md")
BUNDLE = """
import { build } from "esbuild";
const options = { bundle: true, format: "esm", target: "es2022" };
await build({ ...options, entryPoints: ["scripts/bench.ts"], outfile: process.argv[1] });
"""
BEGIN, END = "<!-- ui: begin -->", "<!-- ui: end -->"


@dataclass(frozen=True)
class Measured:
    """One page. Milliseconds; `heap` is what JavaScript holds after a collection, in megabytes, with its buffers."""

    read: float
    first: float
    append: float
    append_p95: float
    recolour: float
    scroll: float
    scroll_p95: float
    heap: float
    nodes: int


NAMES = tuple(Measured.__dataclass_fields__)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ui", description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="tokens")
    parser.add_argument("--keep", action="store_true", help="write the table into benchmarks/README.md")
    asked = parser.parse_args()
    browser_path = chromium.find()
    if browser_path is None:
        sys.exit("no Chromium was found: `make browser` gets one")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = build(Path(folder))
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        rows = [(n, *_pair(browser, page, n)) for n in asked.lengths]
        version = browser.version
    report = f"{_conditions(version)}\n\n{_table(rows)}"
    print(report)
    if asked.keep:
        _keep(report)
    longest, ours, _ = rows[-1]
    sys.exit(longest == LENGTHS[-1] and any(getattr(ours, name) > most for name, most in REACH.items()))


def build(folder: Path) -> Path:
    """The page that is measured: the widget's own style sheet, and the script of ``js/scripts/bench.ts``."""
    node = shutil.which("node", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if node is None:
        sys.exit("node was not found: `make front-end` gets it")
    script = folder / "bench.js"
    subprocess.run([node, "--input-type=module", "-e", BUNDLE, script], cwd=ROOT / "js", check=True)
    style = (ROOT / "inferno_widget" / "static" / "widget.css").read_text(encoding="utf-8")
    code = script.read_text(encoding="utf-8").replace("</script", "<\\/script")
    page = folder / "bench.html"
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><style>{style}</style><body><div id="host" style="width:900px"></div>'
        f'<script type="module">{code}</script>',
        encoding="utf-8",
    )
    return page


def _pair(browser: Browser, page: Path, n: int) -> tuple[Measured, Measured]:
    runs: dict[str, list[Measured]] = {"ours": [], "plain": []}
    for who in ("ours", "plain", "plain", "ours"):
        print(f"{n:,} tokens, {who} ...", file=sys.stderr, flush=True)
        runs[who].append(_measure(browser, f"{page.as_uri()}?who={who}&n={n}"))
    return _better(runs["ours"]), _better(runs["plain"])


def _better(runs: Sequence[Measured]) -> Measured:
    values: dict[str, Any] = {name: min(getattr(run, name) for run in runs) for name in NAMES}
    return Measured(**values)


def _measure(browser: Browser, address: str) -> Measured:
    page = browser.new_page(viewport={"width": 1000, "height": 700})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    times = page.evaluate("bench()")
    heap, nodes = _memory(page)
    page.close()
    if errors or not times["text"]:
        raise RuntimeError("\n".join(errors) or f"{address} showed no text")
    return Measured(
        read=times["read"],
        first=times["first"],
        append=statistics.median(times["append"]),
        append_p95=_p95(times["append"]),
        recolour=statistics.median(times["recolour"]),
        scroll=statistics.median(times["scroll"]),
        scroll_p95=_p95(times["scroll"]),
        heap=heap,
        nodes=nodes,
    )


def _memory(page: Page) -> tuple[float, int]:
    """Megabytes that JavaScript holds, its buffers and the page's elements included, and how many nodes there are."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("HeapProfiler.collectGarbage")
    usage = devtools.send("Runtime.getHeapUsage")
    size = sum(usage.get(name, 0) for name in ("usedSize", "embedderHeapUsedSize", "backingStorageSize"))
    nodes = devtools.send("Memory.getDOMCounters")["nodes"]
    return size / 1e6, nodes


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def _table(rows: Sequence[tuple[int, Measured, Measured]]) -> str:
    columns = ("read", "first paint", "append, median", "append, p95", "recolour", "scroll, p95", "heap, MB", "nodes ")
    rule = " | ".join("-" * (len(column) - 1) + ":" for column in columns)
    head = f"|  tokens |       | {' | '.join(columns)} |\n| ------: | ----- | {rule} |"
    lines = []
    for n, ours, plain in rows:
        for who, it in (("ours", ours), ("plain", plain)):
            times = f"| {it.read:4,.0f} | {it.first:11,.0f} | {it.append:14,.1f} | {it.append_p95:11,.1f} "
            rest = f"| {it.recolour:8,.1f} | {it.scroll_p95:11,.1f} | {it.heap:8,.1f} | {it.nodes:6} |"
            lines.append(f"| {n:7,} | {who:5} {times}{rest}")
    first, append, recolour, scroll, heap = (f"<= {most}" for most in REACH.values())
    lines.append(
        f"| {LENGTHS[-1]:7,} | reach |      | {first:>11} | {'':14} | {append:>11} | {recolour:>8} | {scroll:>11} "
        f"| {heap:>8} | {'':6} |"
    )
    return "\n".join([head, *lines])


def _conditions(version: str) -> str:
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, Chromium {version}, {os.cpu_count()} cores{load}. Milliseconds."


def _keep(report: str) -> None:
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{report}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
