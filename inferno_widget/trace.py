"""What a session did: a tree of records in columns that only ever grows."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from . import sound
from .arguments import file_path, flag, index, one_of, several, whole
from .errors import brief, check_text, counted
from .record import MAX_K, Kind, StepRecord, from_row, record_dtype, watched_of, write_row
from .shown import Shown
from .spelling import NOTHING, Speller, State
from .window import Window

if TYPE_CHECKING:
    import pandas as pd

    from .compare import Comparison
    from .plot import Plot

LONGEST_CHARACTER = 4
"""Bytes of UTF-8."""


class Alternative(NamedTuple):
    """A token that might have come.

    Attributes
    ----------
    token_id : in the model's vocabulary
    text : its bytes as text; bytes that are no whole character are written out
    probability : under the model's raw distribution
    kept : whether the sampler's last stage left it
    """

    token_id: int
    text: str
    probability: float
    kept: bool


class Trace(Shown):
    """A tree of tokens, each with what the model predicted there.

    Nodes are numbered as they come; a fork adds a node whose parent is an earlier one. The path from the
    root to `head` is the current text.

    Parameters
    ----------
    k : alternatives stored a token
    model : name, file, size and fingerprint of the model, for the record
    control : ids of control tokens, which are no part of the text

    Attributes
    ----------
    head : node at the end of the current path; -1 while there is none
    names : name of a branch -> a node on it
    pruned : nodes that are hidden with all that follows them; nothing is ever deleted
    diverged : nodes at which a replay first took another token
    watches : name -> ids of the tokens whose probability is noted at each node
    runs : one dict a run: sampler settings, versions, start time, tokens that a slide keeps
    pieces : token id -> its bytes, for every id that occurs here
    """

    def __init__(self, k: int, *, model: Mapping[str, Any] | None = None, control: Iterable[int] = ()) -> None:
        self.k = whole("k", k, 1, MAX_K)
        self.model = dict(model or {})
        self.control = frozenset(control)
        self.runs: list[dict[str, Any]] = []
        self.pieces: dict[int, bytes] = {}
        self.names: dict[str, int] = {}
        self.pruned: frozenset[int] = frozenset()
        self.diverged: list[int] = []
        self.watches: dict[str, tuple[int, ...]] = {}
        self._n = 0
        self._rows = np.zeros(64, node_dtype(k))
        self._watched = np.zeros((64, 0), np.float32)  # [as many as rows, watches]
        self._path: list[int] = []

    @classmethod
    def restored(
        cls,
        rows: NDArray[np.void],
        *,
        path: list[int],
        pieces: dict[int, bytes],
        runs: list[dict[str, Any]],
        model: Mapping[str, Any],
        control: Iterable[int],
        names: Mapping[str, int] | None = None,
        pruned: Iterable[int] = (),
        diverged: Iterable[int] = (),
        watches: Mapping[str, tuple[int, ...]] | None = None,
        watched: NDArray[np.float32] | None = None,
    ) -> Trace:
        """A trace made of parts that were read from a file, checked against one another.

        `watched` is float32 [n, m], a row a node and a column a watch.

        Raises
        ------
        ValueError, TypeError
            If they do not fit together; `sound` says what is looked at.
        """
        trace = cls(rows.dtype["top_ids"].shape[0], model=model, control=control)
        trace.runs, trace.pieces, trace._rows, trace._n = runs, pieces, rows, len(rows)
        trace.names, trace.pruned, trace.diverged = dict(names or {}), frozenset(pruned), list(diverged)
        trace.watches = dict(watches or {})
        trace._watched = np.zeros((len(rows), 0), np.float32) if watched is None else watched.copy()
        if trace._watched.shape != (len(rows), len(trace.watches)):
            raise ValueError("what was watched is not a column a watch")
        sound.check(trace)
        trace.goto(path[-1] if path else -1)
        if path != trace._path:
            raise ValueError("the path is none in the tree")
        return trace

    def __len__(self) -> int:
        """Tokens on the current path; ``len(trace.nodes)`` counts the whole tree."""
        return len(self._path)

    def __repr__(self) -> str:
        tokens, nodes, runs = counted(self.length, "token"), counted(self._n, "node"), counted(len(self.runs), "run")
        return f"<Trace {tokens} on the path, {nodes}, {runs}>"

    def __iter__(self) -> Iterator[StepRecord]:
        """The records of the current path."""
        return (self.record(node) for node in self.path())

    @overload
    def __getitem__(self, at: int) -> StepRecord: ...
    @overload
    def __getitem__(self, at: slice) -> list[StepRecord]: ...
    def __getitem__(self, at: int | slice) -> StepRecord | list[StepRecord]:
        """The record at a position of the current path, or those of a slice of it, as a list has them."""
        if isinstance(at, slice):
            return [self.record(node) for node in self._path[at]]
        return self.record(self.node_at(at))

    def copy(self) -> Trace:
        """A trace of its own that holds the same."""
        other = Trace(self.k, model=self.model, control=self.control)
        other._path = self._path.copy()  # first: the rows hold the path
        other._rows = self.nodes.copy()
        other._n = len(other._rows)
        other.names, other.pruned, other.diverged = self.names.copy(), self.pruned, self.diverged.copy()
        other.watches, other._watched = self.watches.copy(), self._watched[: other._n].copy()
        other.runs, other.pieces = copy.deepcopy(self.runs), self.pieces.copy()
        return other

    # --- growing --------------------------------------------------------------------------------------

    def append(self, record: StepRecord, pieces: Mapping[int, bytes]) -> int:
        """Add a child of the head, move there, and return its node.

        A reader in another thread sees the row whole or not at all.
        """
        if self._n == len(self._rows):
            more = max(64, self._n)
            self._rows = np.concatenate([self._rows, np.zeros(more, self._rows.dtype)])
            self._watched = np.concatenate([self._watched, np.zeros((more, len(self.watches)), np.float32)])
        row = self._rows[self._n]
        write_row(row, record)
        row["parent"], row["run"] = self.head, len(self.runs) - 1
        if self.watches:
            values = watched_of(record)
            self._watched[self._n] = np.nan if values is None else values
        for token in (record.token_id, *record.top_ids.tolist()):
            if token not in self.pieces:
                self.pieces[token] = pieces[token]
        self._n += 1
        self._path.append(self._n - 1)
        return self._n - 1

    def goto(self, node: int) -> None:
        """Make the path to `node` the current one; -1 is the empty path. A hidden branch is shown again."""
        self._path = self.path(node).tolist()
        if self.pruned:
            self.pruned -= set(self._path)  # what somebody stands on is never hidden

    # --- watching -------------------------------------------------------------------------------------

    def watch(self, sets: Mapping[str, tuple[int, ...]]) -> None:
        """Make room for the probability of each set of tokens; NaN until `note_watched` says what it is."""
        kept = [name for name in self.watches if name not in sets]
        watched = np.full((len(self._rows), len(kept) + len(sets)), np.nan, np.float32)
        watched[:, : len(kept)] = self._watched[:, [list(self.watches).index(name) for name in kept]]
        self._watched, self.watches = watched, {**{name: self.watches[name] for name in kept}, **sets}

    def unwatch(self, name: str) -> None:
        """Forget what `watch` made room for."""
        at = list(self.watches).index(name)
        self._watched = np.delete(self._watched, at, axis=1)
        self.watches = {other: ids for other, ids in self.watches.items() if other != name}

    def note_watched(self, node: int, names: Sequence[str], values: Sequence[float] | NDArray[np.float32]) -> None:
        """Note probabilities at a node: those of the watches `names`."""
        order = list(self.watches)
        self._watched[node, [order.index(name) for name in names]] = values

    def watched(self, name: str, *, tree: bool = False) -> NDArray[np.float32]:
        """Probability of what `name` watches, under the raw model, at each node of the current path or of the tree.

        float32 [n]; NaN where nothing was predicted.
        """
        check_text("name", name)
        tree = flag("tree", tree)
        if name not in self.watches:
            raise KeyError(f"{brief(name)} is not watched; these are: {', '.join(map(repr, self.watches)) or 'none'}")
        column = self._watched[: self._n, list(self.watches).index(name)]
        return column.copy() if tree else column[self.path()]

    # --- reading --------------------------------------------------------------------------------------

    @property
    def head(self) -> int:
        path = self._path
        return path[-1] if path else -1

    @property
    def length(self) -> int:
        """Tokens on the current path."""
        return len(self._path)

    @property
    def nodes(self) -> NDArray[np.void]:
        """All rows of the tree, as a read-only array of `node_dtype(k)`."""
        rows = self._rows[: self._n]
        rows.flags.writeable = False
        return rows

    def path(self, node: int | None = None) -> NDArray[np.int32]:
        """Nodes from the root to `node` (the head when None), int32 [n]."""
        if node is None:
            return np.array(self._path, np.int32)
        if not -1 <= index("node", node) < self._n:
            raise IndexError(f"node {brief(node)} is not in a trace of {self._n} nodes")
        parents, found = self._rows["parent"], []
        while node >= 0:
            found.append(node)
            node = int(parents[node])
        return np.array(found[::-1], np.int32)

    def children(self, node: int) -> NDArray[np.int32]:
        """Nodes whose parent is `node`, in the order in which they came, int32 [n]; of -1 those that begin a text."""
        return np.flatnonzero(self.nodes["parent"] == whole("node", node, -1)).astype(np.int32)

    def child(self, node: int, token: int) -> int | None:
        """The first child of `node` that holds `token`, or None."""
        found, token = self.children(node), whole("token", token, 0)
        same = found[self.nodes["token_id"][found] == token]
        return int(same[0]) if len(same) else None

    def node_at(self, at: int) -> int:
        """Node at position `at` of the current path; negative from the end. IndexError if there is none."""
        path = self._path
        if not -len(path) <= index("at", at) < len(path):
            known = f"the last is at {len(path) - 1:,}" if path else "the text is empty"
            raise IndexError(f"there is no token at position {brief(at)}: {known}")
        return path[at]

    def window(self, node: int | None = None) -> Window:
        """What the model saw of the path before `node` (the head when None) when it predicted it.

        ``trace.window(node).of(trace.path(node)[:-1])`` are the nodes that it saw.
        """
        node = self.head if node is None else whole("node", node, -1, self._n - 1)
        row = self.nodes[node] if node >= 0 else None
        if row is None or not row["left_out"]:
            return Window()
        run = self.runs[row["run"]] if row["run"] >= 0 else {}
        return Window(run.get("keep", 0), int(row["left_out"]))

    def record(self, node: int) -> StepRecord:
        """The record of one node, with its text."""
        if not 0 <= index("node", node) < self._n:
            raise IndexError(f"node {brief(node)} is not in a trace of {self._n} nodes")
        return from_row(self.nodes[node], self._text(node))

    def _text(self, node: int) -> str:
        """Text of one node, as `texts` has it."""
        nodes, before = [node], 0
        while before < LONGEST_CHARACTER - 1 and (parent := int(self._rows["parent"][nodes[-1]])) >= 0:
            nodes.append(parent)
            token = int(self._rows["token_id"][parent])
            before += 0 if token in self.control else len(self.pieces[token])
        return self.texts(reversed(nodes))[-1]

    def alternatives(self, at: int) -> list[Alternative]:
        """What might have come at position `at` of the current path (see `node_at`), the most likely first."""
        record = self.record(self.node_at(at))
        columns = (record.top_ids.tolist(), np.exp(record.top_logprobs).tolist(), record.top_kept.tolist())
        return [
            Alternative(token, self.pieces[token].decode(errors="backslashreplace"), probability, kept)
            for token, probability, kept in zip(*columns, strict=True)
        ]

    def column(self, name: str, *, tree: bool = False) -> NDArray[Any]:
        """One column of `node_dtype`, of the current path or of every node."""
        one_of("name", name, self.nodes.dtype.names or ())
        path = slice(None) if flag("tree", tree) else self.path()  # before the rows, which another thread may add to
        column: NDArray[Any] = self.nodes[name][path]
        return column

    @property
    def text(self) -> str:
        """The current path as text: control tokens left out, and a character that is not whole yet."""
        return "".join(self.texts(self.path()))

    def texts(self, nodes: Iterable[int]) -> list[str]:
        r"""Text of each node: a character belongs to the token that completes it, a stray byte is written ``\xff``.

        Nodes come after their parents; one whose parent is not among them begins a text.
        """
        speller = Speller(self.control)
        begun: dict[int, State] = {}  # node -> the character that it leaves unfinished
        texts = []
        for node in several("nodes", nodes, "nodes", most=self._n):
            row = self._rows[whole("nodes", node, 0, self._n - 1)]
            token = int(row["token_id"])
            speller.state = begun.get(int(row["parent"]), NOTHING)
            texts.append(speller.spell(token, self.pieces[token]))
            begun[int(node)] = speller.state
        return texts

    def compare(self, a: int | str, b: int | str) -> Comparison:
        """Two branches side by side from the token where they part: ``trace.compare("trunk", "the dragon")``.

        Parameters
        ----------
        a, b : the last node of each, or its name
        """
        from .compare import compare

        return compare(self, a, b)

    def name_branch(self, name: str, node: int | str | None = None) -> None:
        """Call the branch through `node` by a name; see `Session.name_branch`."""
        from .tree import name_branch

        name_branch(self, name, node)

    def prune(self, node: int | str) -> None:
        """Hide the branch through `node`; see `Session.prune`."""
        from .tree import prune

        prune(self, node)

    def restore(self, node: int | str) -> None:
        """Show a branch again that `prune` hid."""
        from .tree import restore

        restore(self, node)

    def to_pandas(self, *, tree: bool = False) -> pd.DataFrame:
        """A row a token, in order, of the current path (or of every node with ``tree=True``).

        Columns are those of `StepRecord`, with `node`, `parent`, `piece` (the token's own bytes), `text`
        (str, where a whole character ends) and `run`; and ``p(name)`` for each of `watches`.

        Raises
        ------
        ImportError
            Without pandas: ``pip install "inferno_widget[pandas]"``.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError('to_pandas() needs pandas: pip install "inferno_widget[pandas]"') from error
        tree = flag("tree", tree)
        nodes = np.arange(self._n, dtype=np.int32) if tree else self.path()
        rows = self.nodes[nodes]
        columns: dict[str, Any] = {"node": nodes, "parent": rows["parent"], "position": rows["position"]}
        columns["token_id"] = rows["token_id"]
        columns["piece"] = [self.pieces[int(token)] for token in rows["token_id"]]
        columns["text"] = self.texts(nodes)
        columns["kind"] = pd.Categorical.from_codes(rows["kind"], [kind.name.lower() for kind in Kind])
        for name in ("logprob", "entropy", "rank", "sampled_prob", "kept", "draw", "ms", "tail", "left_out"):
            columns[name] = rows[name]
        for name in ("top_ids", "top_logprobs", "top_kept"):
            columns[name] = list(rows[name])
        columns["run"] = rows["run"]
        for name in self.watches:
            columns[f"p({name})"] = self.watched(name, tree=True)[nodes]
        return pd.DataFrame(columns)

    # --- files ----------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write an ``.inferno`` file; `files` documents the format."""
        from .files import save

        save(self, file_path("path", path))

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read an ``.inferno`` file. Raises `TraceFileError` when it is not one."""
        from .files import load

        return load(file_path("path", path))

    # --- exports: the text when no path is given ------------------------------------------------------

    def to_html(self, path: str | Path | None = None, **options: Any) -> str | None:
        """A self-contained page that needs neither kernel nor network; see `export.html.page`."""
        return self._exported("html", path, options)

    def to_json(self, path: str | Path | None = None) -> str | None:
        """Everything recorded, as ``docs/trace.schema.json`` describes it."""
        return self._exported("json", path, {})

    def to_markdown(self, path: str | Path | None = None) -> str | None:
        """The transcript, with what is needed to make it again."""
        return self._exported("markdown", path, {})

    def to_svg(self, path: str | Path | None = None, what: str = "stream", **options: Any) -> str | None:
        """A picture of the text or, with ``what="distribution"``, of a token's; see `export.picture`."""
        return self._exported(_picture("svg", what), path, options)

    def to_png(self, path: str | Path | None = None, what: str = "stream", **options: Any) -> bytes | None:
        """`to_svg`, drawn. Needs ``pip install "inferno_widget[png]"``."""
        from .export import write

        path = None if path is None else file_path("path", path)
        data = write(self, _picture("png", what), path, **options)
        return data if path is None else None

    def _exported(self, name: str, path: str | Path | None, options: dict[str, Any]) -> str | None:
        from .export import write

        data = write(self, name, None if path is None else file_path("path", path), **options)
        return data.decode() if path is None else None

    @property
    def plot(self) -> Plot:
        """Figures, drawn by plotly: ``trace.plot.surprisal()``."""
        from .plot import Plot

        return Plot(self)


def node_dtype(k: int) -> np.dtype[np.void]:
    """`record_dtype(k)` with the node's `parent` (-1 for the root) and its `run`."""
    return np.dtype([*record_dtype(k).descr, ("parent", np.int32), ("run", np.int32)])


def interventions_of(trace: Trace, node: int) -> list[dict[str, Any]]:
    """The interventions under which a node was recorded, as `Trace.runs` keeps them."""
    run = int(trace.nodes["run"][node])
    return list(trace.runs[run].get("interventions") or ()) if run >= 0 else []


def _picture(form: str, what: str) -> str:
    """Name of the export that draws `what`."""
    one_of("what", what, ("stream", "distribution"))
    return form if what == "stream" else f"{form}_{what}"
