"""Tokens per second over the other way to get alternatives from llama-cpp-python; model H."""

from __future__ import annotations

import llama_cpp

from benchmarks.decode import PROMPT
from benchmarks.measure import Figure, Setting, compare, seconds
from inferno_widget import Model, Sampler

N = 24


def run(setting: Setting) -> list[Figure]:
    model = Model(setting.model_h)
    sampler = Sampler(seed=7)
    llama = llama_cpp.Llama(
        str(setting.model_h), n_ctx=512, n_threads=model.options.n_threads, logits_all=True, verbose=False
    )

    def ours() -> float:
        with model.session(PROMPT, sampler) as session:
            return N / seconds(lambda: session.generate(N))

    def theirs() -> float:
        settings = {"temperature": sampler.temperature, "top_k": sampler.top_k, "seed": sampler.seed}
        return N / seconds(lambda: llama.create_completion(PROMPT, max_tokens=N, logprobs=20, **settings))

    result = compare(ours, theirs, setting.rounds)
    model.close()
    llama.close()
    return [Figure("over `create_completion(logprobs=20)`, model H", result.ratio, 8, f"{result}")]
