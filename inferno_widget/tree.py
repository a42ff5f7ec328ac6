"""The branches of a trace: which there are, which are hidden, and what of a text stays when it is edited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arguments import index
from .errors import brief, check_text
from .record import Kind
from .spelling import Speller

if TYPE_CHECKING:
    from .trace import Trace


class BranchInfo(NamedTuple):
    """A branch of a tree: a path to a node that nothing follows.

    Attributes
    ----------
    node : its last
    name : what `Session.name_branch` called it, or None
    start : its first node that no other branch goes through
    length : tokens on the path, from the root on
    logprob : of the whole path, nats, under the raw model; a first token without a prediction does not count
    text : of its own tokens, from `start` on
    current : whether it is where the session stands
    pruned : whether it is hidden
    """

    node: int
    name: str | None
    start: int
    length: int
    logprob: float
    text: str
    current: bool
    pruned: bool

    def __repr__(self) -> str:
        told = [f"node {self.node}", f"{self.length} tokens", f"{self.logprob:.2f} nats"]
        told += [word for word, said in (("current", self.current), ("pruned", self.pruned)) if said]
        return f"<Branch {(self.name or self.text[:40])!r}: {', '.join(told)}>"


def branches_of(trace: Trace, *, pruned: bool = False) -> list[BranchInfo]:
    """The branches of a tree in the order in which they ended; hidden ones only with `pruned`."""
    rows = trace.nodes
    parents, n = rows["parent"], len(rows)
    hidden = hidden_nodes(trace)
    counted = np.ones(n, np.bool_) if pruned else ~hidden
    children = np.bincount(parents[counted] + 1, minlength=n + 1)  # of the empty path, then of each node
    alone = children[parents + 1] == 1
    logprobs = np.nan_to_num(rows["logprob"].astype(np.float64))
    named = {node: name for name, node in trace.names.items()}
    names: list[str | None] = []
    starts, totals, first = np.empty(n, np.int32), np.empty(n), set[int]()
    for node in range(n):
        parent = int(parents[node])
        eldest = parent not in first
        first.add(parent)
        starts[node] = starts[parent] if alone[node] and parent >= 0 else node
        totals[node] = logprobs[node] + (totals[parent] if parent >= 0 else 0)
        names.append(named.get(node) or (names[parent] if eldest and parent >= 0 else None))
    ends = np.flatnonzero(counted & (children[1:] == 0)).tolist()
    return [
        BranchInfo(
            node,
            names[node],
            int(starts[node]),
            int(rows["position"][node]) + 1,
            float(totals[node]),
            _own_text(trace, node, int(starts[node])),
            node == trace.head,
            bool(hidden[node]),
        )
        for node in ends
    ]


def end_of(trace: Trace, branch: int | str) -> int:
    """The node itself, or the end of the branch of that name. Raises KeyError where none has it."""
    if not isinstance(branch, str):
        return index("node", branch)
    check_text("node", branch)
    if branch not in trace.names:
        raise KeyError(f"no branch is called {brief(branch)}; these are: {', '.join(map(repr, trace.names)) or 'none'}")
    ends = [info.node for info in branches_of(trace, pruned=True) if info.name == branch]
    return ends[0] if ends else trace.names[branch]


def name_branch(trace: Trace, name: str, node: int | str | None) -> None:
    """`Session.name_branch`."""
    check_text("name", name)
    path = trace.path(None if node is None else end_of(trace, node))
    if not len(path):
        raise ValueError(f"there is no token to name: node {-1 if node is None else brief(node)} is the empty path")
    at = int(path[-1])
    gone = at if name else _named_at(trace, at)
    kept = {other: where for other, where in trace.names.items() if where != gone}
    trace.names = {**kept, name: at} if name else kept


def prune(trace: Trace, node: int | str) -> None:
    """`Session.prune`, but for the KV cache."""
    start = _start_of(trace, end_of(trace, node))
    if start in trace.path():
        raise ValueError(
            f"this branch is the current one, through node {brief(node)}: goto() another before it is pruned"
        )
    trace.pruned |= {start}


def restore(trace: Trace, node: int | str) -> None:
    """`Session.restore`."""
    trace.pruned -= set(trace.path(end_of(trace, node)).tolist())


def _named_at(trace: Trace, node: int) -> int | None:
    """Where the branch through `node` got the name that it has there; None if it has none."""
    named = set(trace.names.values())
    while node >= 0 and node not in named:
        parent = int(trace.nodes["parent"][node])
        node = parent if trace.children(parent)[0] == node else -1  # a later fork does not take the name along
    return node if node >= 0 else None


def hidden_nodes(trace: Trace) -> NDArray[np.bool_]:
    """Of each node whether it is pruned, or one before it is."""
    hidden = np.zeros(len(trace.nodes), np.bool_)
    if trace.pruned:
        for node, parent in enumerate(trace.nodes["parent"].tolist()):
            hidden[node] = node in trace.pruned or (parent >= 0 and hidden[parent])
    return hidden


def _start_of(trace: Trace, node: int) -> int:
    """Where the branch through `node` left the others that are to be seen: its first node that is not also theirs.

    Raises ValueError where there are no others.
    """
    trace.record(node)  # raises where there is none
    asked, hidden = node, hidden_nodes(trace)
    while True:
        parent = int(trace.nodes["parent"][node])
        siblings = trace.children(parent)
        if len(siblings[~hidden[siblings]]) > 1:
            return node
        if parent < 0:
            raise ValueError(f"there is no other branch: all go through node {brief(asked)}")
        node = parent


def stays(trace: Trace, text: str) -> tuple[int, str]:
    """How many tokens of the current path stay when its text is to be `text`, and what of that is new.

    Tokens stay as long as their text does, however a tokeniser would cut it; the new part begins with a whole
    character. Control tokens have no text: they stay with what is before them, but those that were generated at the
    end of what stays, such as the end of a text, do not if something follows or has followed.
    """
    ids, kinds = trace.column("token_id").tolist(), trace.column("kind").tolist()
    speller = Speller(trace.control)
    ends, whole = [0], [True]  # in the text, of each number of tokens that stay; whether a character ends there too
    for token in ids:
        piece = speller.spell(token, trace.pieces[token])
        if not text.startswith(piece, ends[-1]):
            break
        ends.append(ends[-1] + len(piece))
        whole.append(speller.whole)
    n = len(ends) - 1
    if n == len(ids) and ends[n] == len(text):
        return n, ""
    while n and (not whole[n] or (ids[n - 1] in trace.control and kinds[n - 1] != Kind.PROMPT)):
        n -= 1
    return n, text[ends[n] :]


def found(trace: Trace, node: int, text: str) -> int | None:
    """The first node behind `node` at whose end exactly `text` has been added to it, whatever its tokens are."""
    speller = Speller(trace.control)
    waiting = [(node, 0, speller.state)]
    while waiting:
        node, at, state = waiting.pop()
        if at == len(text):
            return node
        for child in trace.children(node)[::-1].tolist():
            speller.state = state
            token = int(trace.nodes["token_id"][child])
            piece = speller.spell(token, trace.pieces[token])
            if text.startswith(piece, at):
                waiting.append((child, at + len(piece), speller.state))
    return None


def walked(trace: Trace, ids: Iterable[int]) -> list[int]:
    """Move along `ids` as far as the tree has them already; the others."""
    left = list(ids)
    while left and (node := trace.child(trace.head, left[0])) is not None:
        trace.goto(node)
        left.pop(0)
    return left


def _own_text(trace: Trace, node: int, start: int) -> str:
    path = trace.path(node)
    return "".join(trace.texts(path)[int(trace.nodes["position"][start]) :])
