"""The native engine: what `Engine` promises, over a context of llama.cpp."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count

import llama_cpp.llama_cpp as C
import numpy as np
from numpy.typing import NDArray

from inferno_widget.errors import Cancelled, ContextFullError, GrammarError, InfernoError
from inferno_widget.record import Floats, Ids, Kind, StepRecord
from inferno_widget.sampling import Chooser

from . import Branch, Finish, Holdings, Options, Processor, Progress, Request, Watch, unheard
from .context import TOGETHER, BrokenRow, Context, Flag, Stretch, check_row, packed, sound
from .grammar import Grammar, Grammars
from .loading import listen, load
from .log import Log
from .pool import Entry
from .recording import Recorder, record_of
from .text import Tail

MOST_PIECE = 1 << 16
"""Bytes of a token's text that are told, as many as a trace's file takes: broken vocabularies have megabytes."""


@dataclass
class _Run:
    """A generation under way.

    Attributes
    ----------
    chooser : chooses its tokens
    text : its end, where a stop string may be
    left : tokens still to generate
    index : its place among several
    finish : why it ended, or None
    misfit : what the grammar said, if that ended it
    """

    entry: Entry
    request: Request
    chooser: Chooser
    text: Tail
    left: int
    index: int = 0
    finish: Finish | None = None
    misfit: GrammarError | None = None


class LlamaEngine(Context):
    """One model in this process; see `Engine` for what its methods promise.

    Parameters
    ----------
    path : a GGUF file
    options : how to load it
    first : number of the first branch, so that those of a child that died never come again
    cancel : ends the loading when it is set
    progress : told the loaded fraction

    Raises
    ------
    ModelLoadError
        With llama.cpp's own reason.
    Cancelled
        If `cancel` was set.
    """

    def __init__(self, path: str, options: Options, *, first: int = 0, cancel: Flag, progress: Progress) -> None:
        log = Log()
        listen(log)
        model = load(path, options, log, cancel=cancel, progress=progress)
        super().__init__(model, options, log, first)
        self._recorder = Recorder(self.n_vocab)
        self._grammars = Grammars(path, self._piece, self.n_vocab)
        self._texts = count(1)

    def close(self) -> None:
        self._grammars.close()
        self._recorder.close()
        C.llama_free(self.context)
        C.llama_model_free(self.model)

    # --- text -----------------------------------------------------------------------------------------

    def tokenize(self, text: str | bytes, *, special: bool) -> list[int]:
        data = text.encode() if isinstance(text, str) else text
        size = len(data) + 8
        while True:
            ids = (ctypes.c_int * size)()
            n = C.llama_tokenize(self.vocabulary, data, len(data), ids, size, special, special)
            if n >= 0:
                return ids[:n]
            size = -n

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        return [self._piece(token) for token in ids]

    def _check_id(self, token: int) -> None:
        if not 0 <= token < self.n_vocab:
            raise InfernoError(f"token id {token} is outside the vocabulary of {self.n_vocab:,}")

    def _piece(self, token: int) -> bytes:
        self._check_id(token)
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            n = C.llama_token_to_piece(self.vocabulary, token, buffer, size, 0, True)
            if n >= 0:
                return buffer.raw[: min(n, MOST_PIECE)]
            size = -n

    # --- branches -------------------------------------------------------------------------------------

    def branch(self, parent: Branch | None, keep: int) -> Branch:
        return self.pool.branch(parent, keep)

    def append(self, branch: Branch, ids: Sequence[int]) -> None:
        entry = self.pool[branch]
        self._check_fit(entry, ids)
        entry.tokens += ids
        entry.row = None

    def drop(self, branch: Branch) -> None:
        self.pool.drop(branch)

    def holdings(self) -> Holdings:
        return Holdings(self._room, self._cache_bytes, self.pool.held())

    def _check_fit(self, entry: Entry, ids: Sequence[int]) -> None:
        for token in ids:
            self._check_id(token)
        if len(entry.tokens) + len(ids) > self.n_ctx:
            raise ContextFullError(
                f"{len(entry.tokens) + len(ids):,} tokens do not fit into a context of {self.n_ctx:,}; "
                "shorten the text or load the model with a larger n_ctx"
            )

    # --- scoring ------------------------------------------------------------------------------------------

    def prefill(
        self, branch: Branch, ids: Sequence[int], *, k: int, watch: Watch = (), cancel: Flag, progress: Progress
    ) -> Generator[StepRecord, None, Finish]:
        entry = self.pool.use(branch)
        self._check_fit(entry, ids)
        try:
            for start in range(0, len(ids), self._most_rows):
                chunk = list(ids[start : start + self._most_rows])
                for _, records in self._score_all([(entry, chunk)], k, watch, cancel, progress):
                    yield from records
                progress((start + len(chunk)) / len(ids))
        except Cancelled:
            return "cancelled"
        return "length"

    def prefill_many(
        self,
        branches: Sequence[Branch],
        ids: Sequence[Sequence[int]],
        *,
        k: int,
        watch: Watch = (),
        cancel: Flag,
        progress: Progress,
    ) -> Generator[tuple[int, StepRecord], None, list[Finish]]:
        entries = [self.pool.use(branch) for branch in branches]
        for entry, mine in zip(entries, ids, strict=True):
            self._check_fit(entry, mine)
        left, total, done = [len(mine) for mine in ids], sum(map(len, ids)), 0
        try:
            for batch in packed(ids, self._most_rows, TOGETHER):
                stretches = [(entries[i], chunk) for i, chunk in batch]
                for at, records in self._score_all(stretches, k, watch, cancel, progress):
                    i = batch[at][0]
                    left[i] -= len(records)
                    done += len(records)
                    for record in records:
                        yield i, record
                progress(done / total)
        except Cancelled:
            return ["cancelled" if n else "length" for n in left]
        return ["length"] * len(left)

    def rows(
        self, branch: Branch, ids: Sequence[int], wanted: Iterable[int], *, cancel: Flag
    ) -> Generator[tuple[int, Floats], None, Finish]:
        entry, wanted = self.pool.use(branch), set(wanted)
        self._check_fit(entry, ids)
        try:
            for start in range(0, len(ids), self._most_rows):
                chunk = list(ids[start : start + self._most_rows])
                mine = [i for i in range(len(chunk)) if start + i in wanted]
                found = self._again(partial(self._rows_before, entry, chunk, mine, cancel))
                entry.row, entry.row_ms = sound(self._output(len(chunk) - 1)), 0.0
                entry.tokens += chunk
                yield from ((start + i, row) for i, row in zip(mine, found, strict=True))
        except Cancelled:
            return "cancelled"
        return "length"

    def _rows_before(self, entry: Entry, chunk: Sequence[int], wanted: Sequence[int], cancel: Flag) -> list[Floats]:
        """The rows that predict some tokens of a chunk, which is decoded."""
        before = self._row(entry, cancel, unheard)
        self._decode([(entry, chunk)], cancel, score=True)
        rows = ((i, self._output(i - 1).copy() if i else before) for i in wanted)
        return [check_row(row, len(entry.tokens) + i) for i, row in rows]

    def logits(self, branch: Branch, at: int, *, cancel: Flag) -> Floats:
        """The raw row that predicts position `at`."""
        entry = self.pool.use(branch)
        if not 0 < at <= len(entry.tokens):
            raise InfernoError(f"nothing predicts position {at} of {len(entry.tokens)} tokens")
        if at == len(entry.tokens):
            return self._again(partial(self._row, entry, cancel, unheard))
        scratch = self.branch(branch, at)
        try:
            return self._again(partial(self._row, self.pool[scratch], cancel, unheard))
        finally:
            self.drop(scratch)

    def _score_all(
        self, stretches: Sequence[Stretch], k: int, watch: Watch, cancel: Flag, progress: Progress
    ) -> Iterator[tuple[int, list[StepRecord]]]:
        """(index of the stretch, records), as `_score` has them.

        One stretch after the other where the cache has no room for all; in halves where numbers are broken, so that
        what comes before them is told.
        """
        parts: list[tuple[int, Stretch]] = list(enumerate(stretches))
        try:
            scored = self._twice(partial(self._score, stretches, k, watch, cancel, progress))
        except ContextFullError:
            if len(stretches) == 1:
                raise
        except BrokenRow as problem:
            if len(stretches) == 1:
                ((entry, chunk),) = stretches
                if len(chunk) == 1:
                    raise problem.told() from None
                half = len(chunk) // 2
                parts = [(0, (entry, chunk[:half])), (0, (entry, chunk[half:]))]
        else:
            yield from enumerate(scored)
            return
        for i, stretch in parts:
            yield from ((i, records) for _, records in self._score_all([stretch], k, watch, cancel, progress))

    def _score(
        self, stretches: Sequence[Stretch], k: int, watch: Watch, cancel: Flag, progress: Progress
    ) -> list[list[StepRecord]]:
        """Add tokens and describe each, all at once: the next decode, whoever's, overwrites the rows."""
        entries = [entry for entry, _ in stretches]
        before = iter(self._rows_of([entry for entry in entries if entry.tokens], cancel, progress))
        started = time.perf_counter()
        self._decode(stretches, cancel, score=True, besides=entries)
        spent = 1e3 * (time.perf_counter() - started)
        ms = spent / sum(len(chunk) for _, chunk in stretches)
        scored, at = [], 0
        for entry, chunk in stretches:
            rows = [next(before) if entry.tokens else None, *(self._output(at + i) for i in range(len(chunk)))]
            at, first = at + len(chunk), len(entry.tokens)
            for position, row in enumerate(rows[:-1], first):
                if row is not None:
                    check_row(row, position)
            entry.row, entry.row_ms = sound(self._output(at - 1)), spent
            scored.append(
                [
                    record_of(row, first + i, token, Kind.PROMPT, k, ms, watch=watch)
                    for i, (row, token) in enumerate(zip(rows, chunk, strict=False))
                ]
            )
        for entry, chunk in stretches:
            entry.tokens += chunk
        return scored

    # --- generating ---------------------------------------------------------------------------------------

    def generate(
        self, branch: Branch, request: Request, *, cancel: Flag, progress: Progress, processor: Processor | None = None
    ) -> Generator[StepRecord, None, Finish]:
        run = self._run(branch, request, cancel)
        while not self._over(run, cancel):
            try:
                row = self._again(partial(self._row, run.entry, cancel, progress), request.left_out)
                record = self._choose(run, row, processor)
            except Cancelled:
                return "cancelled"
            if self._recorder.aside and not run.finish and 0 < run.left < request.n - 1:
                with suppress(InfernoError, BrokenRow):  # met again at the top of the loop, when this record is safe
                    self._row(run.entry, cancel, progress)
            yield record()
        return run.finish or "length"

    def generate_many(
        self,
        branches: Sequence[Branch],
        requests: Sequence[Request],
        *,
        cancel: Flag,
        progress: Progress,
        processor: Processor | None = None,
    ) -> Generator[tuple[int, StepRecord], None, list[Finish]]:
        runs = [self._run(*each, cancel, i) for i, each in enumerate(zip(branches, requests, strict=True))]
        groups = [runs[start : start + TOGETHER] for start in range(0, len(runs), TOGETHER)]
        while groups:
            group = [run for run in groups.pop(0) if not self._over(run, cancel)]
            if not group:
                continue
            try:
                entries, left_out = [run.entry for run in group], group[0].request.left_out
                rows = self._again(partial(self._rows_of, entries, cancel, progress), left_out)
            except Cancelled:
                groups.insert(0, group)  # the flag is set: they are told that they ended
                continue
            except ContextFullError:
                if len(group) == 1:
                    raise
                half = len(group) // 2
                groups[:0] = group[:half], group[half:]
                continue
            groups.insert(0, group)
            made = [self._go_on(run, row, processor) for run, row in zip(group, rows, strict=True)]
            for run, record in zip(group, made, strict=True):
                if record:
                    yield run.index, record()
        misfits = [run.misfit for run in runs if run.misfit and run.left == run.request.n]
        if misfits and len(misfits) == len(runs):
            raise misfits[0]
        return [run.finish or "length" for run in runs]

    def _over(self, run: _Run, cancel: Flag) -> bool:
        """Whether a generation has ended."""
        if run.finish is None and not run.left:
            run.finish = "length"
        elif run.finish is None and cancel.is_set():
            run.finish = "cancelled"
        elif run.finish is None and len(run.entry.tokens) >= self.n_ctx:
            run.finish = "context"
        return run.finish is not None

    def _go_on(self, run: _Run, row: Floats, processor: Processor | None) -> Callable[[], StepRecord] | None:
        """A token more; None where the grammar ends this text, or somebody its work. The others go on."""
        try:
            return self._choose(run, row, processor)
        except Cancelled:
            run.finish = "cancelled"
        except GrammarError as error:
            if error.position is None:
                raise
            run.finish, run.misfit = "grammar", error
        return None

    def _choose(self, run: _Run, row: Floats, processor: Processor | None) -> Callable[[], StepRecord]:
        """Add the token that `row` predicts; what returns its record."""
        started = time.perf_counter()
        entry, request = run.entry, run.request
        position = len(entry.tokens) + request.left_out
        logits = processor(np.array(entry.tokens, np.int32), row.copy()) if processor else row
        try:
            choice = run.chooser.choose(logits, entry.tokens, position)
        except FloatingPointError as error:
            raise InfernoError(
                f"the logits for position {position} are broken: {error}, as the logits processor left them"
            ) from error
        entry.tokens.append(choice.token)
        entry.row = None
        run.left -= 1
        run.finish = self._finish(choice.token, run.text)
        spent = entry.row_ms + 1e3 * (time.perf_counter() - started)
        kind, k = Kind.GENERATED, request.k
        return self._recorder.begin(
            row, position, choice.token, kind, k, spent, choice, request.left_out, request.watch
        )

    def _finish(self, token: int, text: Tail) -> Finish | None:
        """Why a text ends with a token, if it does."""
        if C.llama_vocab_is_eog(self.vocabulary, token):
            return "eog"
        return "stop" if text.stops(self._piece, token) else None

    def _run(self, branch: Branch, request: Request, cancel: Flag, index: int = 0) -> _Run:
        """What a request begins."""
        chooser, text = self._chooser(request, cancel), Tail(request.stop, request.begun)
        return _Run(self.pool.use(branch), request, chooser, text, request.n, index)

    def _chooser(self, request: Request, cancel: Flag) -> Chooser:
        grammar = request.sampler.grammar
        if grammar is None:
            return Chooser(request.sampler, self, request.mu)
        allowed = partial(self._grammars.allowed, grammar, key=next(self._texts), cancel=cancel)
        return Chooser(request.sampler, self, request.mu, request.said, allowed)

    def allowed(
        self, grammar: Grammar, said: Sequence[int], ids: Ids | None = None, *, first: int = 0, cancel: Flag
    ) -> NDArray[np.bool_]:
        for token in said:
            self._check_id(token)
        return self._grammars.allowed(grammar, said, ids, key=0, first=first, cancel=cancel)
