"""A second context of a model, in which the graph is looked at, and changed, while it is evaluated.

It has a cache of its own and runs without flash attention, which would keep its weights to itself. Whoever asks for
nothing has none: even a callback that wants nothing would cost the live context a twentieth of its speed. Its cache is
filled by reading the text again: llama.cpp refuses a state whose values were laid out for flash attention.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import llama_cpp.llama_cpp as C
import numpy as np
from numpy.typing import NDArray

from inferno_widget.errors import InfernoError
from inferno_widget.record import Floats
from inferno_widget.window import Window

from . import Branch, Options, Progress, ggml, unheard
from .channel import OwnFlag
from .context import Context, Flag, Stretch
from .graph import STREAM, Node, Plan, Tap, plan
from .inside import Asked, Edit, What
from .lacking import chosen
from .lens import Head
from .llama import LlamaEngine
from .onerow import OneRow
from .pool import Entry
from .recording import Recorder
from .sights import Rows, Sights, as_slice

MOST_NODES = 1 << 17
"""Of a graph, as far as it is looked at."""
MOST_BATCH = 128
"""Tokens decoded at once. The scores of all heads stand in memory for each, and more would hardly be quicker."""

Take = Callable[[int], bool]
"""What is done with a tensor when it comes; it answers whether the graph is to go on."""


Sink = Callable[[What, int, Rows, Floats], None]
"""Told (what, layer, stretch, values): "attention" [head, row, key], "heads" [head, row, size], others [row, width]."""


class Capturing(Protocol):
    """What keeps something of every decode; see `capturing.Capture`."""

    def collector(self, stretches: Sequence[Rows]) -> Collector | None: ...
    def keep(self, ids: Sequence[int], rows: Rows) -> None: ...


@dataclass
class Collector:
    """What is to be read while something is decoded.

    Attributes
    ----------
    wanted : (what, layer), in any order
    sink : where it goes
    ends : whether nothing behind the last of it needs to be evaluated
    one : what takes it instead, where one token is decoded
    """

    wanted: frozenset[tuple[What, int]]
    sink: Sink
    ends: bool = False
    one: OneRow | None = None


class Tapped(LlamaEngine):
    """Another context over the model of an engine.

    Parameters
    ----------
    source : the engine whose model it is
    edits : changes that are made whatever is decoded
    first : number of the first branch
    cancel : ends the making when it is set
    """

    def __init__(
        self, source: LlamaEngine, edits: Sequence[Edit] = (), *, first: int = 0, cancel: Flag | None = None
    ) -> None:
        ggml.check_layout()
        self.edits: tuple[Edit, ...] = ()
        self._nodes: list[Node] | None = None
        self._tried: tuple[Floats, Floats] = np.zeros(0, np.float32), np.zeros(0, np.float32)  # a stream, its logits
        self._takes: dict[int, list[tuple[Tap, Take]]] = {}
        self._peeks: dict[int, Callable[[int], None]] = {}
        self._at, self._marks, self._taken_count = [0], set[int](), 0  # the next node; those that are meant
        self._problem: BaseException | None = None
        self._stretches: list[Rows] = []
        self._collector: Collector | None = None
        self._latest: Branch | None = None
        self.capture: Capturing | None = None
        self._callback = ggml.Evaluated(self._watcher())
        self._head: Head | None = None
        flash_only = source.options.type_v not in ("f32", "f16", "bf16")
        options = replace(
            source.options,
            n_batch=max(2, min(source.options.n_batch, MOST_BATCH)),
            type_v="f16" if flash_only else source.options.type_v,
        )
        Context.__init__(self, source.model, options, source.log, first)  # an engine's own would load the model again
        self.n_embd: int = C.llama_model_n_embd(self.model)
        self.sights = Sights(self._room)
        self._recorder = Recorder(self.n_vocab)
        self._grammars, self._texts = source._grammars, source._texts  # noqa: SLF001  the same vocabulary
        try:
            self.plans = {n: self._discovered(n, cancel or OwnFlag()) for n in (1, 2)}
            self.edits = tuple(edits)
            self.check_edits(self.edits)
        except BaseException:
            self.close()
            raise

    def _params(self, options: Options) -> Any:
        params = super()._params(options)
        params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cb_eval = ctypes.cast(self._callback, type(params.cb_eval))
        return params

    def close(self) -> None:
        """Free the context; the model is the other engine's."""
        self._recorder.close()
        if self._head:
            self._head.close()
        C.llama_free(self.context)

    # --- what is where ----------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        return self.plans[1]

    @property
    def room(self) -> int:
        """Cells of the cache."""
        return self._room

    @property
    def head(self) -> Head:
        """From the residual stream to the logits; made and tried when it is first asked for."""
        if self._head is None:
            head = Head(self.plan.head, self.options.n_threads)
            head.check(*self._tried)
            self._head = head
        return self._head

    def _discovered(self, n: int, cancel: Flag) -> Plan:
        """Decode `n` tokens, to see what the graph is made of: that of one token may differ from that of more."""
        self._nodes, self._at[0], self._problem = [], 0, None
        self._marks.update(range(MOST_NODES))
        entry = Entry(tokens=[0] * n)
        self.pool.alone(entry)
        try:
            super()._decode([(entry, entry.tokens)], cancel, score=True)
            if self._problem is not None:
                raise self._problem
            self._tried = self._tried[0], self._output(n - 1).copy()
            return plan(self._nodes, self.n_embd)
        finally:
            self._nodes = None
            self._marks.clear()
            self.pool._evict(entry)  # noqa: SLF001  it was never one of its branches
            C.llama_memory_clear(C.llama_get_memory(self.context), False)

    def layers(self, asked: Asked) -> tuple[int, ...]:
        """The blocks that are asked for; raises InfernoError for what this model does not have there."""
        return chosen(self.plan, asked, self._who())

    def _who(self) -> str:
        buffer = ctypes.create_string_buffer(128)
        C.llama_model_desc(self.model, buffer, 128)
        return f"this model ({buffer.value.decode(errors='replace')})"

    def check_edits(self, edits: Sequence[Edit]) -> None:
        """Raise InfernoError for an edit of what is not there."""
        for edit in edits:
            self.layers(Asked((edit.what,), (edit.layer,)))
            n_head = self.plan.layers[edit.layer].n_head
            if edit.head is not None and not 0 <= edit.head < n_head:
                raise InfernoError(f"there is no head {edit.head}: layer {edit.layer} has heads 0 to {n_head - 1}")

    # --- while it is evaluated ----------------------------------------------------------------------------

    def _watcher(self) -> Callable[[int, bool], bool]:
        """What ggml calls before and, where that wants it, after each node: a thousand times a token."""
        at, marks = self._at, self._marks

        def evaluated(address: int, asks: bool) -> bool:
            if not asks:
                return self._came(at[0] - 1, address)
            index = at[0]
            at[0] = index + 1
            return index in marks and self._asked(index, address)

        return evaluated

    def _asked(self, index: int, address: int) -> bool:
        """Whether a node that is meant is to be read when it is evaluated. It must not raise."""
        try:
            if self._nodes is not None:
                node = Node.of(index, address)
                self._nodes.append(node)
                return STREAM.fullmatch(node.name) is not None and len(node.shape) == 2
            if index in self._peeks:
                self._peeks[index](address)
        except BaseException as error:  # noqa: BLE001  raised again when the native code is done
            self._problem = self._problem or error
            return False
        return index in self._takes

    def _came(self, index: int, address: int) -> bool:
        """Do what is to be done with a node; whether the graph is to go on. It must not raise."""
        try:
            if self._nodes is not None:
                self._tried = ggml.read(address)[-1], self._tried[1]
                return True
            self._taken_count += 1
            on = True
            for tap, take in self._takes[index]:
                on &= self._taken(address, tap, take)
        except BaseException as error:  # noqa: BLE001  as above
            self._problem = self._problem or error
            return False
        return on

    def _taken(self, address: int, tap: Tap, take: Take) -> bool:
        if ggml.name(address) != tap.name:
            raise self._other_graph(f"{tap.name} was not where it is known to be")
        return take(address)

    def _other_graph(self, problem: str) -> InfernoError:
        return InfernoError(f"{self._who()} was evaluated by another graph than before: {problem}")

    def _decode(
        self, stretches: Sequence[Stretch], cancel: Flag, *, score: bool, besides: Sequence[Entry] = ()
    ) -> None:
        starts = [0, *np.cumsum([len(tokens) for _, tokens in stretches]).tolist()]
        self._stretches = [
            Rows(entry, slice(start, stop), np.arange(entry.decoded, entry.decoded + len(tokens)))
            for (entry, tokens), start, stop in zip(stretches, starts, starts[1:], strict=False)
        ]
        self._at[0], self._taken_count, self._problem = 0, 0, None
        self.sights.clear()
        texts = [entry.tokens[: entry.decoded] + list(tokens) for entry, tokens in stretches] if self.capture else []
        collector = self._collector or (self.capture.collector(self._stretches) if self.capture else None)
        self._prepare(self.plans[min(2, starts[-1])], collector)
        # Some of the last block is there of those tokens alone whose logits are wanted.
        super()._decode(stretches, cancel, score=score or collector is not None, besides=besides)
        if self._problem is None and self._taken_count < len(self._takes):
            self._problem = self._other_graph(f"{len(self._takes) - self._taken_count} tensors never came")
        if self._problem is not None:
            for entry, tokens in stretches:  # what stands in the cache may be wrong
                self.pool.shorten(entry, entry.decoded - len(tokens))
            raise self._problem
        if self.capture and collector and not self._collector:
            (rows,), (ids,) = self._stretches, texts
            self.capture.keep(ids, rows)

    def _prepare(self, where: Plan, collector: Collector | None) -> None:
        """What is to be done at which node of the graph of this decode."""
        self._peeks = {tap.index: self.sights.noting(name, self._stretches) for name, tap in where.writes.items()}
        takes: dict[int, list[tuple[Tap, Take]]] = {}
        for edit in self.edits:
            if edit.branch is not None and all(self.pool[edit.branch] is not rows.entry for rows in self._stretches):
                continue
            tap = where.layers[edit.layer].tap(edit.what)
            assert tap is not None
            takes.setdefault(tap.index, []).append((tap, self._editing(edit)))
        if collector and collector.one is not None:
            for tap, take in collector.one.takes(where):
                takes.setdefault(tap.index, []).append((tap, take))
        elif collector:
            for what, layer in collector.wanted:
                tap = where.stem if layer < 0 else where.layers[layer].tap(what)
                assert tap is not None
                takes.setdefault(tap.index, []).append((tap, self._collecting(what, layer, where, collector.sink)))
            if collector.ends:
                last = max(takes)
                takes[last].append((takes[last][0][0], lambda _: False))
        self._takes = takes
        self._marks.clear()
        self._marks.update(self._peeks, takes)

    def _editing(self, edit: Edit) -> Take:
        def change(address: int) -> bool:
            values, touched = ggml.read(address), False
            block = values.reshape(-1, *values.shape[-2:])
            heads = slice(None) if edit.head is None else slice(edit.head, edit.head + 1)
            for rows in self._stretches:
                if edit.branch is not None and self.pool[edit.branch] is not rows.entry:
                    continue
                at, kept = self._rows_in(rows, block.shape[1])
                if edit.positions is not None:
                    meant = np.isin(rows.in_text[kept], edit.positions)
                    at = at[meant]
                if len(at):
                    touched = True
                    block[heads, at] *= np.float32(edit.factor)
                    if edit.shift is not None:
                        block[heads, at] += edit.shift
            if touched:
                ggml.write(address, values)
            return True

        return change

    def _collecting(self, what: What, layer: int, where: Plan, sink: Sink) -> Take:
        def collect(address: int) -> bool:
            values = ggml.read(address).astype(np.float32, copy=False)
            if what == "attention":
                values = values.reshape(-1, *values.shape[-2:])
                mask, cells = ggml.Tensor.at(address).src[1], where.layers[layer].cells
                for rows in self._stretches:
                    weights = self.sights.by_position(values[:, rows.at], mask, ggml.read(mask), cells, rows)
                    sink(what, layer, rows, weights)
            else:
                for rows in self._stretches:
                    at, kept = self._rows_in(rows, values.shape[-2])
                    some = rows._replace(positions=rows.positions[kept])
                    sink(what, layer, some, values[..., as_slice(at), :])
            return True

        return collect

    def _rows_in(self, rows: Rows, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where a stretch stands in a tensor of `n` rows, and which of the stretch's tokens those are.

        From some point of the last block on there are only the rows whose logits are wanted.
        """
        total = self._stretches[-1].at.stop
        inside = np.arange(rows.at.start, rows.at.stop)
        if n == total:
            return inside, inside - rows.at.start
        outputs = np.flatnonzero(self._batch.wanted[:total])
        if n != len(outputs):
            raise InfernoError(f"a tensor has {n} rows where {total} tokens were decoded and {len(outputs)} asked for")
        mine = (outputs >= rows.at.start) & (outputs < rows.at.stop)
        return np.flatnonzero(mine), outputs[mine] - rows.at.start

    # --- several branches -----------------------------------------------------------------------------------

    def rows_together(self, entries: Sequence[Entry], cancel: Flag) -> list[Floats]:
        """The logits after the last token of each, float32 [n_vocab]; they share the cells that they have already."""
        return [row.copy() for row in self._rows_of(entries, cancel, unheard)]

    # --- looking at a text --------------------------------------------------------------------------------

    def look(
        self,
        ids: Sequence[int],
        start: int,
        collector: Collector,
        window: Window,
        *,
        cancel: Flag,
        progress: Progress,
    ) -> None:
        """Decode `ids`, which `window` shows, and collect from `start` on. What was looked at before is used again."""
        for token in ids:
            self._check_id(token)
        branch = self.pool.branch(None, 0)
        entry = self.pool.use(branch)
        entry.tokens, entry.window = list(ids[: start + 1]), window
        self.pool.enter(entry)
        if self._latest is not None:
            self.pool.drop(self._latest)
        self._latest = branch
        entry.tokens = list(ids)
        total = len(ids) - entry.decoded
        capture, self.capture = self.capture, None
        try:
            self._look_on(entry, start, collector, cancel, lambda: progress(1 - (len(ids) - entry.decoded) / total))
        finally:
            self.capture = capture
            if collector.ends and max(layer for _, layer in collector.wanted) < len(self.plan.layers) - 1:
                # The blocks behind were not evaluated: their cells hold nothing that another look could use.
                self.pool.shorten(entry, min(start, entry.decoded))

    def _look_on(self, entry: Entry, start: int, collector: Collector, cancel: Flag, told: Callable[[], None]) -> None:
        ids = entry.tokens
        while entry.decoded < len(ids):
            collecting = entry.decoded >= start
            size, end = (self._most_rows, len(ids)) if collecting else (self.options.n_batch, start)
            chunk = entry.tokens[entry.decoded : min(end, entry.decoded + size)]
            self._collector = collector if collecting else None
            try:
                self._decode([(entry, chunk)], cancel, score=collecting)
            finally:
                self._collector = None
            told()
