"""From a fork to the next record, over one decode step at the same position; model H, 1,510 tokens of prompt."""

from __future__ import annotations

import statistics
from collections import defaultdict

import numpy as np

from benchmarks.bare import BareLoop
from benchmarks.measure import Figure, Setting, seconds
from inferno_widget import Model, Sampler

POSITIONS = (16, 1500)
REACH = {"a stored alternative": 1.5, "any token": 2.5}
STEPS = 4


def run(setting: Setting) -> list[Figure]:
    generator = np.random.default_rng(0)
    model = Model(setting.model_h)
    ids = generator.integers(1000, model.info.n_vocab - 1000, max(POSITIONS) + 10).tolist()
    session = model.session(ids, Sampler(seed=7))
    session.step()
    main = session.trace.head
    bare = {at: BareLoop(setting.model_h, n_ctx=model.n_ctx, n_threads=model.options.n_threads) for at in POSITIONS}
    for at, loop in bare.items():
        loop.begin(ids[:at])
    spent, steps = defaultdict(list), defaultdict(list)

    def fork(at: int, token: int) -> float:
        session.goto(main)
        return seconds(lambda: session.fork(at, token).step())

    for i in range(-1, 2 * setting.rounds):  # the first round only warms
        for at in POSITIONS:
            step = seconds(lambda loop=bare[at]: loop.generate(STEPS)) / STEPS
            stored = session.trace.record(at).top_ids.tolist()
            tokens = {"a stored alternative": stored[i % len(stored)], "any token": int(generator.integers(1000, 9999))}
            for kind, token in tokens.items():
                taken = fork(at, token)
                if i >= 0:
                    steps[kind, at].append(step)
                    spent[kind, at].append(taken)
    model.close()
    for loop in bare.values():
        loop.close()
    return [
        Figure(
            f"fork at {at:,} to {kind}, over a step",
            statistics.median(a / b for a, b in zip(spent[kind, at], steps[kind, at], strict=True)),
            reach,
            f"{1e3 * statistics.median(spent[kind, at]):.1f} against {1e3 * statistics.median(steps[kind, at]):.1f} ms",
            at_least=False,
        )
        for kind, reach in REACH.items()
        for at in POSITIONS
    ]
