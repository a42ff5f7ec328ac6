"""The exact probability of chosen tokens at every step, past and future, whatever token came."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .arguments import several, token_id
from .engine import Branch, Watch, unheard
from .engine.stop import Stop, interruptible
from .errors import brief, check_text
from .record import watched_of
from .window import Window

if TYPE_CHECKING:
    from .model import Model
    from .running import Running
    from .trace import Trace

Watchable = str | int | Mapping[str, Sequence[str | int]]
"""A token, by its exact text or its id; or names, each with the tokens whose probability is added up."""
AT_ONCE = 16
"""Stretches of text that are scored together."""


@dataclass(frozen=True)
class Chain:
    """Nodes that follow one another, each predicted from the same beginning.

    Attributes
    ----------
    window : what the model saw of the text
    nodes : in order
    """

    window: Window
    nodes: list[int]


def sets_of(model: Model, tokens: Sequence[Watchable], *, variants: bool) -> dict[str, tuple[int, ...]]:
    """Name -> ids, none twice; with `variants`, a text stands for all that `Model.variants` finds."""
    sets: dict[str, tuple[int, ...]] = {}
    for token in tokens:
        groups = token if isinstance(token, Mapping) else {_name(model, token): [token]}
        for name, members in groups.items():
            if not isinstance(name, str):
                raise TypeError(f"tokens: a watch has a text for its name, not {brief(name)}")
            check_text("tokens", name)
            if isinstance(members, str | int):
                raise TypeError(f"{brief(name)} must name several tokens, in a list, not {brief(members)}")
            members = several(f"tokens[{brief(name)}]", members, "tokens")
            ids = dict.fromkeys(each for member in members for each in _ids(model, member, variants))
            if not ids:
                raise ValueError(f"tokens: {brief(name)} names no token")
            if sets.setdefault(name, tuple(ids)) != tuple(ids):
                raise ValueError(f"{name!r} names two different sets of tokens")
    return sets


def chains(trace: Trace, nodes: Sequence[int]) -> list[Chain]:
    """`nodes`, which come in order, in as few chains as hold them all; those that nothing predicts are left out."""
    rows, open_ = trace.nodes, dict[int, Chain]()
    found: list[Chain] = []
    for node in nodes:
        parent = int(rows["parent"][node])
        if parent < 0:
            continue
        window, chain = trace.window(node), open_.pop(parent, None)
        if chain is None or chain.window != window:
            chain = Chain(window, [])
            found.append(chain)
        chain.nodes.append(node)
        open_[node] = chain
    return found


def rescored(
    session: Running, nodes: Sequence[int], watch: Watch
) -> Generator[tuple[int, NDArray[np.float32]], None, None]:
    """(node, float32 [m] probabilities of the sets in `watch`), by reading the text before each again, in batches."""
    trace, engine = session.trace, session.engine
    todo = chains(trace, nodes)
    for start in range(0, len(todo), AT_ONCE):
        group, branches = todo[start : start + AT_ONCE], list[Branch]()
        ids = [trace.nodes["token_id"][chain.nodes].tolist() for chain in group]
        cancel = Stop()
        if cancel.is_set():  # with the job that this is a part of
            return
        try:
            for chain in group:
                before = int(trace.nodes["parent"][chain.nodes[0]])
                branches.append(session.beside(before, chain.window))
            steps = engine.prefill_many(branches, ids, k=1, watch=watch, cancel=cancel, progress=unheard)
            upcoming = [iter(chain.nodes) for chain in group]
            with interruptible(cancel), closing(steps):
                for index, record in steps:
                    session.check_open()
                    node, values = next(upcoming[index]), watched_of(record)
                    if values is not None:
                        yield node, values
        finally:
            session.let_go(branches)


def _name(model: Model, token: str | int) -> str:
    if isinstance(token, str):
        return token
    _ids(model, token, False)  # raises where it is none
    return model.detokenize([token]).decode(errors="backslashreplace")


def _ids(model: Model, token: str | int, variants: bool) -> list[int]:
    if isinstance(token, str):
        return list(model.variants(token).values()) if variants else [model.token(token)]
    return [token_id("tokens", token, model.info.n_vocab, or_text=True)]
