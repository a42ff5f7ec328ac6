"""``python -m tests.fuzz``: thousands of broken model files, and what became of each; beside plain llama-cpp-python."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from tests.fuzz.hunt import FAULTS, Result, hunt
from tests.fuzz.mutate import Case, cases
from tests.fuzz.mutations import MUTATIONS

README = Path(__file__).parents[2] / "benchmarks" / "README.md"
BEGIN, END = "<!-- fuzz: begin -->", "<!-- fuzz: end -->"
COLUMNS = ("files", "works", "clear error", "child killed, said so", "unclear", "hung", "process killed")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="CASE", help="such as gemma2/offset/17; all of a seed when left out"
    )
    parser.add_argument("--count", type=int, default=3_000, help="files to try (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="other files for another seed (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="kernels at once (%(default)s)")
    parser.add_argument("--only", default="", help="mutations with this in their name")
    parser.add_argument("--alone", action="store_true", help="without llama-cpp-python")
    parser.add_argument("--keep", type=Path, help="write the named files into this folder, and use none")
    parser.add_argument("--verbose", action="store_true", help="say what became of every file")
    asked = parser.parse_args()
    chosen = [Case.named(name) for name in asked.names] or [
        case for case in cases(asked.count, asked.seed) if asked.only in case.mutation
    ]
    if asked.keep:
        _keep_files(chosen, asked.keep)
        return
    ours = _watched(hunt(chosen, jobs=asked.jobs), len(chosen), verbose=asked.verbose or bool(asked.names))
    theirs = [] if asked.alone or asked.names else list(hunt(chosen, jobs=asked.jobs, module="tests.fuzz.peer"))
    report = told(ours, theirs, asked.seed)
    print(f"\n{report}")
    if not asked.names and not asked.only and not asked.alone:
        _write(report)
    sys.exit(any(result.outcome in FAULTS for result in ours))


def _keep_files(chosen: Iterable[Case], folder: Path) -> None:
    for case in chosen:
        place = folder / str(case).replace("/", "-")
        place.mkdir(parents=True, exist_ok=True)
        print(case.write(place))


def _watched(results: Iterable[Result], count: int, *, verbose: bool) -> list[Result]:
    """The results; faults and killed children are said as they come."""
    found = []
    for result in results:
        found.append(result)
        if verbose or result.outcome in (*FAULTS, "killed"):
            print(result, flush=True)
        if len(found) % 100 == 0:
            print(f"{len(found):,} of {count:,}: {dict(Counter(each.outcome for each in found))}", file=sys.stderr)
    return found


def told(ours: list[Result], theirs: list[Result], seed: int) -> str:
    """The table of a run, in Markdown."""
    head = (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, llama-cpp-python {version('llama-cpp-python')}, seed {seed}: "
        f"{len(ours):,} files, {len(MUTATIONS)} mutations."
    )
    rows = [("Inferno", ours), *([("llama-cpp-python alone", theirs)] if theirs else [])]
    lines = ["| with | " + " | ".join(COLUMNS) + " |", "| --- " * (len(COLUMNS) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{n:,}" for n in _counted(results)) + " |" for name, results in rows]
    slow = sorted(each.seconds for each in ours)
    stages = Counter(each.stage for each in ours if each.outcome == "killed")
    at = ", ".join(f"{stage} {n}" for stage, n in stages.most_common()) or "none"
    before = sum(each.outcome == "refused" for each in ours)
    tail = (
        f"Refused before the child: {before:,}. Children killed, by stage: {at}. "
        f"Seconds for a file: median {slow[len(slow) // 2]:.2f}, longest {slow[-1]:.1f}. "
        f"Most memory of a kernel: {max(each.kernel_mb for each in ours):,} MB."
    )
    return "\n\n".join((head, "\n".join(lines), tail))


def _counted(results: list[Result]) -> tuple[int, ...]:
    """In the order of `COLUMNS`. llama-cpp-python has no child: what is killed there is the process itself."""
    n = Counter(each.outcome for each in results)
    own = any(each.stage for each in results)
    killed, dead = (n["killed"], n["dead"]) if own else (0, n["killed"] + n["dead"])
    clear = n["refused"] + n["error"]
    return len(results), n["works"], clear, killed, n["unclear"] + n["noise"], n["hung"], dead


def _write(report: str) -> None:
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{report}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
