"""The sampler against llama.cpp's own chain, and greedy decoding against `llama_cpp.Llama`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import llama_cpp.llama_cpp as C
import numpy as np
import pytest
from llama_cpp import Llama, LogitsProcessorList

from inferno_widget.engine import Options
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.sampling import Sampler, softmax
from tests.engine.tools import DEMO, Driver, Switch, ignore, tokens

SETTINGS = 300
NEAR = 1e-5
ROUNDING = 2e-4
OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}

Models = dict[str, tuple[Path, int]]


class Chain:
    """llama.cpp's samplers one after the other; a stage that llama.cpp skips is left out."""

    def __init__(self, sampler: Sampler, n_vocab: int) -> None:
        s = sampler
        self._stages = []
        if s.logit_bias:
            pairs = (C.llama_logit_bias * len(s.logit_bias))(*s.logit_bias.items())
            self._stages.append(C.llama_sampler_init_logit_bias(n_vocab, len(pairs), pairs))
        if s.penalty_last_n:
            last = 1 << 12 if s.penalty_last_n < 0 else s.penalty_last_n
            self._stages.append(
                C.llama_sampler_init_penalties(n_vocab, last, s.repeat_penalty, s.frequency_penalty, s.presence_penalty)
            )
        self._stages += [
            C.llama_sampler_init_top_n_sigma(s.top_n_sigma),
            C.llama_sampler_init_top_k(s.top_k),
            C.llama_sampler_init_typical(s.typical_p, 1),
            C.llama_sampler_init_top_p(s.top_p, 1),
            C.llama_sampler_init_min_p(s.min_p, 1),
            C.llama_sampler_init_temp(s.temperature),
        ]

    def probabilities(self, logits: np.ndarray, history: list[int]) -> dict[int, float]:
        """Token -> probability, of what is left; from the logits, since `p` is stale after some stages."""
        data = np.zeros(len(logits), np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)]))
        data["id"], data["logit"] = np.arange(len(logits)), logits
        pointer = data.ctypes.data_as(C.llama_token_data_p)
        array = C.llama_token_data_array(data=pointer, size=len(data), selected=-1, sorted=False)
        for stage in self._stages:
            for token in history:
                C.llama_sampler_accept(stage, token)
            C.llama_sampler_apply(stage, ctypes.byref(array))
            C.llama_sampler_free(stage)
            # Top-n-sigma masks with -inf, of which typical makes 0 * -inf: the masked ones go at once.
            left = data[: array.size]
            left = left[np.isfinite(left["logit"])]
            data[: len(left)], array.size = left, len(left)
        return dict(zip(left["id"].tolist(), softmax(left["logit"]).tolist(), strict=True))


def random_sampler(dice: np.random.Generator, n_vocab: int) -> Sampler:
    """Each stage on or off, with values people use and some that they do not."""

    def maybe(value: float, off: float) -> float:
        return value if dice.random() < 0.5 else off

    return Sampler(
        temperature=float(maybe(dice.uniform(0.05, 3), 1.0)) if dice.random() < 0.95 else 0.0,
        top_k=int(maybe(dice.integers(1, 300), 0)),
        top_p=float(maybe(dice.uniform(0.05, 1), 1.0)),
        min_p=float(maybe(10 ** dice.uniform(-4, -0.3), 0.0)),
        typical_p=float(maybe(dice.uniform(0.1, 1), 1.0)),
        top_n_sigma=float(maybe(dice.uniform(0.2, 4), -1.0)),
        repeat_penalty=float(maybe(dice.uniform(0.7, 2), 1.0)),
        frequency_penalty=float(maybe(dice.uniform(-1, 1), 0.0)),
        presence_penalty=float(maybe(dice.uniform(-1, 1), 0.0)),
        penalty_last_n=int(dice.choice([-1, 0, 5, 64])),
        logit_bias={int(token): float(dice.normal(0, 3)) for token in dice.integers(0, n_vocab, 5)}
        if dice.random() < 0.3
        else {},
        seed=1,
    )


Rows = list[tuple[list[int], np.ndarray]]


def real_rows(path: Path) -> Rows:
    """Rows of a sentence, each with the tokens before it."""
    engine = LlamaEngine(str(path), Options(n_ctx=512, n_threads=1), cancel=Switch(), progress=ignore)
    ids = engine.tokenize("Once upon a time there was a king who had three sons, and the king said", special=True)
    branch = Driver(engine, Switch).prefill(ids)
    found = [(ids[:at], engine.logits(branch, at, cancel=Switch()).copy()) for at in range(3, len(ids) + 1)]
    engine.close()
    return found


@pytest.fixture(scope="module", params=["demo", "tiny"])
def rows(request: pytest.FixtureRequest, models: Models) -> Rows:
    return real_rows(models[request.param][0])


def kept(sampler: Sampler, row: np.ndarray, history: list[int]) -> dict[int, float]:
    left = sampler.candidates(row, history)
    return dict(zip(left.ids.tolist(), softmax(left.logits).tolist(), strict=True))


def test_the_same_candidates_and_probabilities(rows: Rows) -> None:
    """llama.cpp adds up probabilities in float32: where that ends within rounding of top-p or typical-p, one
    candidate more or less may stay. At most one setting in a hundred may be so; the rest agree exactly.
    """
    dice = np.random.default_rng(11)
    borderline = 0
    for _ in range(SETTINGS):
        history, row = rows[dice.integers(len(rows))]
        sampler = random_sampler(dice, len(row))
        ours, theirs = kept(sampler, row, history), Chain(sampler, len(row)).probabilities(row, history)
        odd = ours.keys() ^ theirs.keys()
        borderline += bool(odd)
        assert len(odd) <= 1, sampler
        assert odd or max(abs(ours[token] - theirs[token]) for token in ours) < NEAR, sampler
    assert borderline <= SETTINGS // 100


@pytest.mark.parametrize(
    "alone",
    [{"top_k": k} for k in (1, 7, 300, 10**6)]
    + [{"min_p": p} for p in (0.01, 0.1, 0.5, 0.9, 1.0)]
    + [{"top_n_sigma": n} for n in (0.5, 1.0, 3.0)]
    + [{"repeat_penalty": r} for r in (0.8, 1.5)]
    + [{"frequency_penalty": 0.7, "presence_penalty": 0.4, "penalty_last_n": 3}]
    + [{"temperature": t} for t in (0.0, 0.1, 2.5)],
    ids=str,
)
def test_a_stage_alone(rows: Rows, large: Rows, alone: dict[str, float]) -> None:
    sampler = Sampler(**{**OFF, **alone})
    for history, row in rows + large:
        ours, theirs = kept(sampler, row, history), Chain(sampler, len(row)).probabilities(row, history)
        assert ours.keys() == theirs.keys()
        assert max(abs(ours[token] - theirs[token]) for token in ours) < NEAR


@pytest.mark.parametrize("stage", ["top_p", "typical_p"])
@pytest.mark.parametrize("mass", [0.1, 0.5, 0.9, 0.99])
def test_a_stage_that_adds_up_alone(rows: Rows, large: Rows, stage: str, mass: float) -> None:
    """Of 40,000 candidates float32 sums are off by 1e-4: theirs must lie between ours a little below and above.

    Of so many, typical's order is not comparable: it hangs on an entropy summed in float32.
    """
    for history, row in rows + (large if stage == "top_p" else []):
        theirs = Chain(Sampler(**{**OFF, stage: mass}), len(row)).probabilities(row, history)
        less, more = (kept(Sampler(**{**OFF, stage: mass + by}), row, history) for by in (-ROUNDING, ROUNDING))
        assert less.keys() <= theirs.keys() <= more.keys()


@pytest.mark.parametrize(("stage", "count"), [("top_p", 2), ("typical_p", 3)])
def test_top_p_reaches_its_mass_and_typical_p_goes_beyond(stage: str, count: int) -> None:
    row, sampler = np.zeros(4, np.float32), Sampler(**{**OFF, stage: 0.5})
    assert len(kept(sampler, row, [])) == len(Chain(sampler, 4).probabilities(row, [])) == count


@pytest.fixture(scope="module")
def large(models: Models) -> Rows:
    return real_rows(models["large"][0])[::4]


@pytest.fixture(scope="module")
def peer() -> Iterator[Llama]:
    # With flash attention, as llama.cpp decides by itself; llama-cpp-python's default is to go without.
    model = Llama(str(DEMO), n_ctx=512, n_threads=1, n_threads_batch=1, flash_attn=True, verbose=False)
    yield model
    model.close()


@pytest.mark.parametrize(
    "text", ["Once upon a time there was a king who had three", "The wolf", "“Who are you?” said", "It"]
)
def test_greedy_equals_llama_cpp_python(demo: Driver, peer: Llama, text: str) -> None:
    ids = demo.engine.tokenize(text, special=True)
    assert ids == peer.tokenize(text.encode(), special=True)
    ours = tokens(demo.generate(demo.prefill(ids), 100))
    seen: list[list[int]] = []

    def note(so_far: np.ndarray, logits: np.ndarray) -> np.ndarray:
        seen.append(so_far.tolist())
        return logits

    said = peer.create_completion(text, max_tokens=100, temperature=0, logits_processor=LogitsProcessorList([note]))[
        "choices"
    ][0]["text"]
    assert len(ours) == 100
    assert ours[:-1] == seen[-1][len(ids) :]
    assert b"".join(demo.engine.pieces(ours)).decode(errors="ignore") == said
