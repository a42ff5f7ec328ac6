"""Attention and residual stream of a whole text, model H: ours beside transformers, each in a process of its own."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from benchmarks.make_model_h import N_VOCAB, SHAPE
from benchmarks.measure import Figure, Setting, seconds
from inferno_widget import Model

LENGTH = 512
THREADS = max(1, (os.cpu_count() or 1) - 1)


def run(setting: Setting) -> list[Figure]:
    makers = {
        "ours": partial(_ours, setting.model_h),
        "float32": partial(_theirs, "float32"),
        "bfloat16": partial(_theirs, "bfloat16"),
    }
    with ExitStack() as stack:
        looks = {name: stack.enter_context(_Alone(maker)) for name, maker in makers.items()}
        for look in looks.values():
            look.seconds()  # does not count
        spent = _in_turn({name: look.seconds for name, look in looks.items()}, max(3, setting.rounds // 3))
        lens = looks["ours"].seconds("lens")
        peaks = {name: look.peak() for name, look in looks.items()}
    times = {name: statistics.median(each) for name, each in spent.items()}
    ratio = statistics.median(b / a for a, b in zip(spent["ours"], spent["float32"], strict=True))
    what = f"attention and residual, {LENGTH} tokens"
    return [
        Figure(f"{what}, over float32", ratio, 1.5, f"{_told(times, '.2f')} s; the lens {lens:.1f} s more"),
        Figure(
            f"{what}, peak memory", peaks["ours"] / peaks["float32"], 0.5, f"{_told(peaks, '.0f')} MiB", at_least=False
        ),
    ]


def _told(values: dict[str, float], form: str) -> str:
    told = {name: format(value, form) for name, value in values.items()}
    return f"{told['ours']} against {told['float32']} (bfloat16 {told['bfloat16']})"


def _in_turn(works: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each takes, A B C C B A A B C ..."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for i in range(rounds):
        for name in sorted(works, reverse=bool(i % 2)):
            spent[name].append(works[name]())
    return spent


class _Look(NamedTuple):
    """Something that can look at a text, and the processes in which it does."""

    inside: Callable[[Sequence[int], str], object]
    pids: list[int]


_here: dict[str, Any] = {}
"""What a process of its own keeps between two calls."""


class _Alone:
    """A look in a process of its own."""

    def __init__(self, maker: Callable[[], _Look]) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (maker,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.submit(_here.clear).result()
        self._pool.shutdown()

    def seconds(self, what: str = "") -> float:
        """What a look at a new text takes; "lens" is looked at behind the rest, with the same text."""
        return self._pool.submit(_timed, what).result()

    def peak(self) -> float:
        """The most memory that its processes hold at once during a look, MiB."""
        pids = self._pool.submit(_pids).result()
        look, most = self._pool.submit(_timed, ""), 0
        while not look.done():
            most = max(most, sum(map(_held, pids)))
            time.sleep(0.01)
        return most / 1024


def _held(pid: int) -> int:
    """Resident memory of a process, kB; what several share is divided among them."""
    return int(re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1])


def _begin(maker: Callable[[], _Look]) -> None:
    _here["look"], _here["numbers"] = maker(), itertools.count()


def _timed(what: str) -> float:
    if not what:
        _here["ids"] = np.random.default_rng(next(_here["numbers"])).integers(N_VOCAB - 1, size=LENGTH).tolist()
    return seconds(lambda: _here["look"].inside(_here["ids"], what))


def _pids() -> list[int]:
    return _here["look"].pids


def _ours(path: Path) -> _Look:
    model = Model(path, n_ctx=2 * LENGTH, n_threads=THREADS)
    with model.session([0]) as session:
        session.inspect()  # which makes the second context

    def inside(ids: Sequence[int], what: str) -> object:
        with model.session(ids) as session:
            return session.inspect(what=what or ("attention", "residual"))

    assert model.engine.pid is not None
    return _Look(inside, [os.getpid(), model.engine.pid])


def _theirs(dtype: str) -> _Look:
    import torch
    import transformers

    torch.set_num_threads(THREADS)
    torch.set_default_dtype(getattr(torch, dtype))
    config = transformers.LlamaConfig(
        hidden_size=SHAPE.n_embd,
        intermediate_size=SHAPE.n_ff,
        num_hidden_layers=SHAPE.n_layer,
        num_attention_heads=SHAPE.n_head,
        num_key_value_heads=SHAPE.n_head_kv,
        vocab_size=N_VOCAB,
        tie_word_embeddings=SHAPE.tied,
        attn_implementation="eager",
    )
    model = transformers.LlamaForCausalLM(config).eval()

    def inside(ids: Sequence[int], _: str) -> object:
        with torch.inference_mode():  # ours computes no logits either, so of theirs it makes one row
            return model(
                torch.tensor([ids]),
                output_attentions=True,
                output_hidden_states=True,
                use_cache=False,
                logits_to_keep=1,
            )

    return _Look(inside, [os.getpid()])
