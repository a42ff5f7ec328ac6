"""Two branches of a tree, side by side from the token where they part."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import brief
from .tree import end_of

if TYPE_CHECKING:
    import pandas as pd

    from .trace import Trace

LINES = 24
"""Tokens that a table in a cell lists at most."""


@dataclass(frozen=True, eq=False)
class Side:
    """What one of two branches has behind the fork.

    Attributes
    ----------
    name : as it was asked for: a branch's, or a node
    nodes : int32 [n]
    token_ids : int32 [n]
    texts : of each token, [n]; a character belongs to the token that completes it
    logprobs : float32 [n], nats, under the raw model; NaN where there was no prediction
    ranks : int32 [n]; 0 where there was no prediction
    """

    name: str | int
    nodes: NDArray[np.int32]
    token_ids: NDArray[np.int32] = field(repr=False)
    texts: tuple[str, ...] = field(repr=False)
    logprobs: NDArray[np.float32] = field(repr=False)
    ranks: NDArray[np.int32] = field(repr=False)

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def logprob(self) -> float:
        """Of all its tokens together, nats; one without a prediction does not count."""
        return float(np.nansum(self.logprobs.astype(np.float64)))

    @property
    def mean(self) -> float:
        """Logprob a token, nats; NaN where nothing was predicted."""
        n = int(np.count_nonzero(self.ranks))
        return self.logprob / n if n else math.nan

    @property
    def perplexity(self) -> float:
        """Exp of the mean surprisal."""
        return math.exp(-self.mean)


@dataclass(frozen=True, repr=False, eq=False)
class Comparison:
    """Two branches, aligned at the token where they part.

    Attributes
    ----------
    shared : tokens that both begin with, which is the position of the first that is not shared
    a, b : what each has behind that
    """

    shared: int
    a: Side
    b: Side

    def __repr__(self) -> str:
        sides = (self.a, self.b)
        width = min(36, max([8, *(len(_cell(side, i)) for side in sides for i in range(len(side)))]))
        said = f"<Comparison: {self.shared} tokens shared, then {len(self.a)} and {len(self.b)}>"
        lines = [f"{'':>7}  {_fitted(str(self.a.name), width)}  {_fitted(str(self.b.name), width)}"]
        n = max(len(self.a), len(self.b))
        lines += (
            f"{self.shared + i:7,}  {_cell(self.a, i):{width}}  {_cell(self.b, i):{width}}".rstrip()
            for i in range(min(n, LINES))
        )
        if n > LINES:
            lines.append(f"{'':7}  and {n - LINES} more")
        for name in ("logprob", "mean"):
            cells = (f"{getattr(side, name):.2f} nats" if len(side) else "" for side in sides)
            lines.append(f"{name:>7}  " + "  ".join(f"{cell:{width}}" for cell in cells).rstrip())
        return "\n".join([said, *lines])

    def to_pandas(self) -> pd.DataFrame:
        """A row a position behind the fork; of each branch node, token_id, text, logprob and rank.

        Where one branch has ended its entries are missing.

        Raises
        ------
        ImportError
            Without pandas: ``pip install "inferno_widget[pandas]"``.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError('to_pandas() needs pandas: pip install "inferno_widget[pandas]"') from error
        n = max(len(self.a), len(self.b))
        columns: dict[str, Any] = {"position": np.arange(self.shared, self.shared + n, dtype=np.int32)}
        for letter, side in (("a", self.a), ("b", self.b)):
            for name in ("nodes", "token_ids", "ranks"):
                values = pd.array(getattr(side, name), "Int32").tolist() + [pd.NA] * (n - len(side))
                columns[f"{name.removesuffix('s')}_{letter}"] = pd.array(values, "Int32")
            columns[f"text_{letter}"] = [*side.texts, *[None] * (n - len(side))]
            columns[f"logprob_{letter}"] = np.append(side.logprobs, np.full(n - len(side), np.nan, np.float32))
        return pd.DataFrame(columns)


def compare(trace: Trace, a: int | str, b: int | str) -> Comparison:
    """`Trace.compare`."""
    for name, end in (("a", a), ("b", b)):
        if isinstance(end, bool) or not isinstance(end, str | int | np.integer):
            raise TypeError(f"{name} must be a node or the name of a branch, not {brief(end)}")
    paths = [trace.path(end_of(trace, end)) for end in (a, b)]
    shared = 0
    for mine, theirs in zip(*(path.tolist() for path in paths), strict=False):
        if mine != theirs:
            break
        shared += 1
    return Comparison(shared, *(_side(trace, name, path, shared) for name, path in zip((a, b), paths, strict=True)))


def _side(trace: Trace, name: int | str, path: NDArray[np.int32], shared: int) -> Side:
    nodes = path[shared:]
    rows, texts = trace.nodes[nodes], trace.texts(path)[shared:]
    return Side(name, nodes, rows["token_id"], tuple(texts), rows["logprob"], rows["rank"])


def _cell(side: Side, i: int) -> str:
    """A token of a table: its text, its logprob and its rank."""
    if i >= len(side):
        return ""
    said = f"{side.logprobs[i]:.2f}, rank {side.ranks[i]}" if side.ranks[i] else "no prediction"
    return f"{_fitted(repr(side.texts[i]), 14)} {said}"


def _fitted(text: str, width: int) -> str:
    return f"{text if len(text) <= width else text[: width - 1] + '…':{width}}"
