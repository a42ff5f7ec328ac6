"""The sampler's X-ray at 151,936 tokens, over llama.cpp's own stages one by one; and what a grammar costs a run."""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Sequence
from dataclasses import replace

import llama_cpp.llama_cpp as C
import numpy as np

from benchmarks.measure import Figure, Rate, Setting, compare, seconds
from inferno_widget import Model, Sampler

PROMPT = "Once upon a time there was a king who had three sons"
GRAMMAR = r'root ::= [^"\\]*'
TOP, TOKENS = 40, 48
ALL = {
    "repeat_penalty": 1.1,
    "dry_multiplier": 0.8,
    "dry_sequence_breakers": (),
    "top_n_sigma": 4.0,
    "top_k": 0,
    "typical_p": 0.95,
    "xtc_probability": 0.5,
}


def run(setting: Setting) -> list[Figure]:
    sampler = Sampler(seed=7)
    with Model(setting.model_h) as model, model.session(PROMPT, sampler) as session:
        session.generate(16)
        history = session.trace.column("token_id").tolist()
        row = session.row(session.trace.length - 1).copy()
        cost = _cost_of_a_grammar("model H", model, sampler, setting.rounds)
    with Model() as demo:
        small = _cost_of_a_grammar("demo model", demo, sampler, setting.rounds)
    return [_explain(sampler, row, history, setting.rounds), cost, small]


def _explain(sampler: Sampler, row: np.ndarray, history: Sequence[int], rounds: int) -> Figure:
    works = {
        "ours": lambda i: sampler.explain(row, history, i, top=TOP),
        "all": lambda i: replace(sampler, **ALL).explain(row, history, i, top=TOP),
        "theirs": lambda _: stage_by_stage(sampler, row),
    }
    same = [set(stage.after.ids.tolist()) for stage in works["ours"](0)[:-1]]
    assert same == [set(after) for after, _ in works["theirs"](0)]
    spent: dict[str, list[float]] = {name: [] for name in works}
    for i in range(-1, 5 * rounds):  # the first only warms
        for name in works if i % 2 else reversed(works):
            taken = seconds(lambda work=works[name], i=i: work(i + 1))
            if i >= 0:
                spent[name].append(1e3 * taken)
    ours, everything, theirs = (statistics.median(spent[name]) for name in works)
    said = f"against {theirs:.1f} for llama.cpp's stages one by one; {everything:.1f} with every stage on"
    return Figure(f"explain at {len(row):,} tokens, ms", ours, 3, said, at_least=False)


def stage_by_stage(s: Sampler, row: np.ndarray) -> list[tuple[list[int], list[int]]]:
    """The plain way: for each stage, the most likely of what it left and of what it removed, sorted by probability."""
    data = np.zeros(len(row), np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)]))
    data["id"], data["logit"] = np.arange(len(row)), row
    pointer = data.ctypes.data_as(C.llama_token_data_p)
    array = C.llama_token_data_array(data=pointer, size=len(data), selected=-1, sorted=False)
    told, left = [], data.copy()
    for stage in (
        C.llama_sampler_init_top_k(s.top_k),
        C.llama_sampler_init_top_p(s.top_p, 1),
        C.llama_sampler_init_min_p(s.min_p, 1),
        C.llama_sampler_init_temp(s.temperature),
    ):
        C.llama_sampler_apply(stage, ctypes.byref(array))
        C.llama_sampler_free(stage)
        kept = data[: array.size].copy()
        gone = left[~np.isin(left["id"], kept["id"])]
        told.append((_most_likely(kept), _most_likely(gone)))
        left = kept
    return told


def _most_likely(candidates: np.ndarray) -> list[int]:
    if not len(candidates):
        return []
    weights = np.exp(candidates["logit"] - candidates["logit"].max())
    order = np.argsort(-(weights / weights.sum()), kind="stable")
    return candidates["id"][order[:TOP]].tolist()


def _cost_of_a_grammar(name: str, model: Model, sampler: Sampler, rounds: int) -> Figure:
    def rate(chosen: Sampler) -> Rate:
        def go() -> float:
            with model.session(PROMPT, chosen) as session:
                session.step()
                return TOKENS / seconds(lambda: session.generate(TOKENS))

        return go

    found = compare(rate(replace(sampler, grammar=GRAMMAR)), rate(sampler), rounds)
    return Figure(f"a run with a grammar over one without, {name}", found.ratio, _REACH[name], str(found))


_REACH = {"model H": 0.9, "demo model": 0.5}
