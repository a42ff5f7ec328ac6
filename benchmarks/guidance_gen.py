"""Tokens per second over guidance's `gen`; model H."""

from __future__ import annotations

from guidance import gen, models

from benchmarks.decode import PROMPT
from benchmarks.measure import Figure, Setting, compare, seconds
from inferno_widget import Model, Sampler

N = 64


def run(setting: Setting) -> list[Figure]:
    model = Model(setting.model_h)
    sampler = Sampler(seed=7)
    lm = models.LlamaCpp(str(setting.model_h), n_ctx=1024, n_threads=model.options.n_threads, echo=False)

    def ours() -> float:
        with model.session(PROMPT, sampler) as session:
            return N / seconds(lambda: session.generate(N))

    def theirs() -> float:
        return N / seconds(lambda: lm + PROMPT + gen(max_tokens=N, temperature=sampler.temperature))

    result = compare(ours, theirs, setting.rounds)
    model.close()
    return [Figure("over guidance's `gen`, model H", result.ratio, 2, f"{result}")]
