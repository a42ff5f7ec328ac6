"""Tokens per second of the bundled model over its bare loop: so small that everything else shows."""

from __future__ import annotations

from benchmarks.decode import Contest
from benchmarks.measure import Figure, Setting, compare


def run(setting: Setting) -> list[Figure]:
    contest = Contest(None, n=200)
    result = compare(contest.ours, contest.theirs, 3 * setting.rounds)
    contest.close()
    threads = contest.model.options.n_threads
    return [Figure("all records over the bare loop, demo model", result.ratio, 0.6, f"{result}, {threads} threads")]
