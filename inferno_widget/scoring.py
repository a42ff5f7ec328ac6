"""What a model makes of given texts, many at once: the next token, and every token's probability."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import numpy as np

from .arguments import token_ids
from .engine import Branch, Request, unheard
from .engine.stop import Stop, interruptible
from .errors import ContextFullError, check_text
from .record import Kind, StepRecord
from .rows import Told
from .sampling import Sampler
from .trace import Alternative, Trace

if TYPE_CHECKING:
    from .model import Model

AT_ONCE = 32
"""Texts that are read together."""


def next_of(model: Model, texts: Sequence[list[int]], top: int) -> list[list[Alternative]]:
    """The `top` most likely tokens behind each text, the most likely first."""
    found: list[list[Alternative]] = [[] for _ in texts]
    request = Request(Sampler(temperature=0, seed=0), 1, top)
    for start in range(0, len(texts), AT_ONCE):
        now, cancel = texts[start : start + AT_ONCE], Stop()
        with _branches(model, len(now)) as branches:
            for branch, ids in zip(branches, now, strict=True):
                model.engine.append(branch, ids)
            steps = model.engine.generate_many(branches, [request] * len(now), cancel=cancel, progress=unheard)
            with interruptible(cancel), closing(steps):
                for index, record in steps:
                    found[start + index] = _alternatives(model, record)
    return found


def scored(
    model: Model, texts: Sequence[tuple[list[int], list[int]]], k: int, progress: Told | None = None
) -> list[Trace]:
    """A trace for each (what is given, text): every token scored, those given as "prompt", the text as "forced".

    Where `progress` returned False, the traces hold what was scored by then.
    """
    traces = [Trace(k, model=model.card, control=model.control) for _ in texts]
    done, total, cancel = 0, sum(len(given) + len(text) for given, text in texts), Stop()
    for start in range(0, len(texts), AT_ONCE):
        now = texts[start : start + AT_ONCE]
        with _branches(model, len(now)) as branches:
            ids = [given + text for given, text in now]
            steps = model.engine.prefill_many(branches, ids, k=k, cancel=cancel, progress=unheard)
            with interruptible(cancel), closing(steps):
                for index, record in steps:
                    kind = Kind.PROMPT if record.position < len(now[index][0]) else Kind.FORCED
                    _add(model, traces[start + index], record._replace(kind=kind))
                    done += 1
                    if progress and not cancel.is_set() and progress(done / total) is False:
                        cancel.set()
        if cancel.is_set():
            break
    return traces


def perplexity(trace: Trace) -> float:
    """Exp of the mean surprisal of the forced tokens of a trace that have a prediction; NaN where none has."""
    logprobs = trace.column("logprob")[(trace.column("kind") == Kind.FORCED) & (trace.column("rank") > 0)]
    return math.exp(-logprobs.mean(dtype=np.float64)) if len(logprobs) else math.nan


def parted(model: Model, text: str | Sequence[int], given: str | Sequence[int] | None) -> tuple[list[int], list[int]]:
    """Token ids of what is given, a token that begins every text included, and of the text.

    Both are tokenised as one where the tokens of what is given stay the same: a text that begins with a space would
    else be cut otherwise by some models.
    """
    ids = list[int]() if isinstance(text, str) else _ids(model, text, "text")
    if not isinstance(text, str):
        before = [] if given is None else _prompt(model, given, "given")
    else:
        check_text("text", text)
        given = "" if given is None else given
        before = _prompt(model, given, "given")
        whole = model.tokenize(given + text) if isinstance(given, str) else []
        together = isinstance(given, str) and whole[: len(before)] == before
        ids = whole[len(before) :] if together else model.continued(text)
    if not ids:
        raise ValueError("the text is empty: there is nothing to score")
    return before, ids


def prompt_ids(model: Model, text: str | Sequence[int]) -> list[int]:
    """Token ids of a text that something is to follow."""
    ids = _prompt(model, text, "text")
    if not ids:
        raise ValueError("the text is empty, and this model has no token to begin with: give it some text")
    if len(ids) >= model.n_ctx:
        raise ContextFullError(
            f"{len(ids):,} tokens leave no room for the next in a context of {model.n_ctx:,}; shorten the text or load "
            "the model with a larger n_ctx"
        )
    return ids


def _prompt(model: Model, text: str | Sequence[int], name: str) -> list[int]:
    if not isinstance(text, str):
        return _ids(model, text, name)
    check_text(name, text)
    return model.tokenize(text)


def _ids(model: Model, ids: Sequence[int], name: str) -> list[int]:
    return token_ids(ids, model.info.n_vocab, f"{name} must be text or token ids")


@contextmanager
def _branches(model: Model, n: int) -> Iterator[list[Branch]]:
    """`n` new branches, for as long as the block runs."""
    model.engine.start()
    branches: list[Branch] = []
    generation = model.engine.generation
    try:
        branches.extend(model.engine.branch(None, 0) for _ in range(n))
        yield branches
    finally:
        for branch in branches:
            if model.engine.pid is not None and model.engine.generation == generation:
                model.engine.drop(branch)


def _alternatives(model: Model, record: StepRecord) -> list[Alternative]:
    ids = record.top_ids.tolist()
    texts = [piece.decode(errors="backslashreplace") for piece in model.engine.pieces(ids)]
    chances = np.exp(record.top_logprobs.astype(np.float64)).tolist()
    return [Alternative(token, text, p, kept=True) for token, text, p in zip(ids, texts, chances, strict=True)]


def _add(model: Model, trace: Trace, record: StepRecord) -> None:
    ids = [record.token_id, *record.top_ids.tolist()]
    trace.append(record, dict(zip(ids, model.engine.pieces(ids), strict=True)))
