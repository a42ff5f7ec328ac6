"""The native engine: llama.cpp through llama-cpp-python's low-level bindings, and nothing above them."""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, Protocol, TypeVar

import llama_cpp.llama_cpp as C
import numpy as np
from numpy.typing import NDArray

from inferno_widget.engine import Branch, Finish, Holdings, Options, Processor, Progress, Request, Watch
from inferno_widget.engine.channel import is_stopped
from inferno_widget.engine.grammar import Grammar, Grammars
from inferno_widget.engine.log import Log
from inferno_widget.engine.pool import Entry, Pool
from inferno_widget.engine.text import Tail
from inferno_widget.errors import Cancelled, ContextFullError, GrammarError, InfernoError, ModelLoadError, printable
from inferno_widget.record import Floats, Ids, Kind, StepRecord, WatchedRecord
from inferno_widget.sampling import Choice, Chooser
from inferno_widget.stats import describe, mass

MOST_PIECE = 1 << 16
"""Bytes of a token's text that are told, as many as a trace's file takes: broken vocabularies have megabytes."""
CTX_STEP = 256
"""A context has a multiple of so many tokens."""
N_SEQ_MAX = 64
"""Branches in the KV cache at once. Every decode looks at all: 256 would cost the demo model a sixth of its speed."""
ROWS_BYTES = 32 << 20
"""Most that the logits of one prefill batch may take, whatever the vocabulary."""
LARGE_VOCABULARY = 1 << 15
"""From here on another thread does a step's sums while the next token is decoded."""
NO_WRITER = (
    "this model does not continue a text token by token: {}. What is needed is a model that predicts the next token, "
    "such as Llama, Qwen, Gemma or GPT-2"
)
TOGETHER = N_SEQ_MAX // 2
"""Most branches that are decoded in one batch: the others in the cache need not give way to them."""
KV_TYPES = {"f32": 0, "f16": 1, "q8_0": 8, "bf16": 30}


class Flag(Protocol):
    """A cancel flag that native code can look at: `address` is what `channel.is_stopped` takes."""

    address: int

    def is_set(self) -> bool: ...


_abort_when_set = ctypes.cast(is_stopped, C.ggml_abort_callback)

T = TypeVar("T")
Stretch = tuple[Entry, Sequence[int]]
"""A branch, and the next of its tokens to be decoded."""


@dataclass
class _Run:
    """One of several generations under way.

    Attributes
    ----------
    chooser : chooses its tokens
    text : its end, where a stop string may be
    left : tokens still to generate
    finish : why it ended, or None
    misfit : what the grammar said, if that ended it
    """

    index: int
    entry: Entry
    request: Request
    chooser: Chooser
    text: Tail
    left: int
    finish: Finish | None = None
    misfit: GrammarError | None = None


class BrokenRow(Exception):
    """Logits that are no finite numbers.

    Attributes
    ----------
    position : what they should have predicted, as the model counts
    """

    def __init__(self, row: Floats, position: int) -> None:
        bad = np.flatnonzero(~np.isfinite(row))
        first = f"that of token {bad[0]} is {row[bad[0]]}"
        super().__init__(f"{len(bad):,} of {len(row):,} are no finite numbers ({first})")
        self.position = position

    def told(self, left_out: int = 0) -> InfernoError:
        """The error of a text of which the model does not see `left_out` tokens."""
        return InfernoError(
            f"the logits for position {self.position + left_out} are broken: {self}, and no probability can be made of "
            "that. The model's file is damaged, or its numbers grow too large on the way: try type_k='f32' and "
            "type_v='f32', or another file of this model"
        )


class _Batch:
    """A llama_batch over numpy arrays."""

    def __init__(self, size: int) -> None:
        self.token = np.zeros(size, np.int32)
        self.position = np.zeros(size, np.int32)
        self.wanted = np.zeros(size, np.int8)
        self._seq = np.zeros(size, np.int32)
        self._n_seq = np.ones(size, np.int32)
        self._seq_at = self._seq.ctypes.data + 4 * np.arange(size, dtype=np.uintp)
        self.native = C.llama_batch(
            n_tokens=0,
            token=self.token.ctypes.data_as(ctypes.POINTER(ctypes.c_int)),
            embd=None,
            pos=self.position.ctypes.data_as(ctypes.POINTER(ctypes.c_int)),
            n_seq_id=self._n_seq.ctypes.data_as(ctypes.POINTER(ctypes.c_int)),
            seq_id=ctypes.cast(self._seq_at.ctypes.data, ctypes.POINTER(ctypes.POINTER(ctypes.c_int))),
            logits=self.wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_byte)),
        )

    def fill(self, stretches: Sequence[Stretch], *, score: bool) -> None:
        """Put the stretches behind one another; each goes on where its branch ends in the cache."""
        end = 0
        for entry, tokens in stretches:
            start, end = end, end + len(tokens)
            self.token[start:end] = tokens
            self.position[start:end] = np.arange(entry.decoded, entry.decoded + len(tokens))
            self._seq[start:end] = entry.seq  # type: ignore[assignment]
            self.wanted[start:end] = score
            self.wanted[end - 1] = True
        self.native.n_tokens = end


class _Cells:
    """llama.cpp's KV cache, as the pool needs it.

    Parameters
    ----------
    memory : that of a context
    window : of layers that look at the latest tokens alone; 0 without
    recurrent : whether some layers keep a state instead of cells
    """

    def __init__(self, memory: object, window: int, recurrent: bool) -> None:
        self._memory, self._window, self._recurrent = memory, window, recurrent

    def copy(self, source: int, target: int, n: int) -> None:
        C.llama_memory_seq_cp(self._memory, source, target, 0, n)

    def clear(self) -> None:
        C.llama_memory_clear(self._memory, True)

    def cut(self, seq: int, start: int) -> None:
        C.llama_memory_seq_rm(self._memory, seq, start, -1)

    def holds(self, seq: int, n: int) -> bool:
        if self._recurrent:  # a state is that behind the last token, and no earlier one can be had from it
            return bool(C.llama_memory_seq_pos_max(self._memory, seq) == n - 1)
        # swa_full keeps all cells, but once the cache has been full llama.cpp hands on those behind the window
        return not self._window or 0 <= C.llama_memory_seq_pos_min(self._memory, seq) <= max(0, n - self._window)


_listeners: list[object] = []


def _listen(log: Log) -> None:
    """Make llama.cpp tell `log`. It keeps the pointer, also when the engine is gone."""
    callback = C.llama_log_callback(log.note)
    C.llama_log_set(callback, ctypes.c_void_p(0))
    _listeners[:] = [callback]


class LlamaEngine:
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
        self.log = Log()
        _listen(self.log)
        self.options = options
        self.model = self._load(path, options, cancel, progress)
        self._attach(first)
        self._grammars = Grammars(path, self._piece, self.n_vocab)
        self._texts = count(1)

    def _attach(self, first: int) -> None:
        """Make a context of the loaded model, and all that goes with it."""
        self.vocabulary = C.llama_model_get_vocab(self.model)
        self.n_vocab: int = C.llama_vocab_n_tokens(self.vocabulary)
        self._check_kind()
        self._rows = max(1, min(self.options.n_batch, ROWS_BYTES // (4 * self.n_vocab)))
        self.context = self._open(self.options)
        # no larger than the context: more at once would end the process
        self.options = options = replace(self.options, n_batch=C.llama_n_batch(self.context))
        self._rows = min(self._rows, options.n_batch)
        self._room: int = C.llama_n_ctx(self.context)
        turned = C.llama_model_rope_type(self.model) != C.LLAMA_ROPE_TYPE_NONE
        self.n_ctx: int = self._room if turned else min(self._room, options.n_ctx)  # a table of positions may end there
        self._batch = _Batch(options.n_batch)
        recurrent = C.llama_model_is_recurrent(self.model) or C.llama_model_is_hybrid(self.model)
        self.cells = _Cells(C.llama_get_memory(self.context), C.llama_model_n_swa(self.model), recurrent)
        self.pool = Pool(self.cells, N_SEQ_MAX, first)
        self._sums = ThreadPoolExecutor(1, "sums") if self.n_vocab >= LARGE_VOCABULARY else None

    def _load(self, path: str, options: Options, cancel: Flag, progress: Progress) -> int:
        C.llama_backend_init()
        params = C.llama_model_default_params()
        params.n_gpu_layers = options.n_gpu_layers

        def report(fraction: float, _: object) -> bool:
            progress(fraction)
            return not cancel.is_set()

        params.progress_callback = callback = C.llama_progress_callback(report)
        model = C.llama_model_load_from_file(os.fsencode(path), params)
        del callback  # llama.cpp calls it only while it loads
        if cancel.is_set():
            raise Cancelled("loading was cancelled")
        if not model:
            raise ModelLoadError(f"llama.cpp cannot load {printable(path)}: {self.log.reason()}")
        return int(model)

    def _open(self, options: Options) -> int:
        context = C.llama_init_from_model(self.model, self._params(options))
        if not context:
            raise ModelLoadError(f"llama.cpp cannot make a context of {options.n_ctx:,} tokens: {self.log.reason()}")
        if not C.llama_get_memory(context):
            C.llama_free(context)
            raise ModelLoadError(NO_WRITER.format("it reads a text as a whole, for embeddings or diffusion"))
        return int(context)

    def _check_kind(self) -> None:
        """Refuse what could be loaded and would then end the process, or make nothing that means anything."""
        if C.llama_model_has_encoder(self.model):
            raise ModelLoadError(NO_WRITER.format("it has an encoder, as T5 does"))
        if not self.n_vocab or C.llama_vocab_type(self.vocabulary) == C.LLAMA_VOCAB_TYPE_NONE:
            raise ModelLoadError(
                "the model's file has no vocabulary: no text can be read or made. Get another copy, or convert the "
                "model with its tokenizer"
            )

    def _params(self, options: Options) -> Any:
        """What the context is made with."""
        params = C.llama_context_default_params()
        params.n_ctx = -(-options.n_ctx // CTX_STEP) * CTX_STEP  # llama.cpp rounds too, but not for how long a batch is
        params.n_batch = params.n_ubatch = options.n_batch
        params.n_threads = params.n_threads_batch = options.n_threads
        params.n_seq_max = N_SEQ_MAX
        params.kv_unified = True  # a fork of part of a sequence ends the process otherwise
        params.swa_full = True  # a fork behind the attention window is wrong otherwise
        params.type_k, params.type_v = KV_TYPES[options.type_k], KV_TYPES[options.type_v]
        if options.type_k == options.type_v == "f32":
            params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it would round the cache to f16
        params.n_outputs_max = params.n_outputs_max_per_seq = max(
            N_SEQ_MAX, self._rows
        )  # with fewer than sequences it aborts
        return params

    def close(self) -> None:
        self._grammars.close()
        if self._sums:
            self._sums.shutdown()
        C.llama_free(self.context)
        C.llama_model_free(self.model)

    # --- text -----------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        data = text.encode()
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
        return Holdings(self._room, self.log.cache_bytes, self.pool.held())

    def _check_fit(self, entry: Entry, ids: Sequence[int]) -> None:
        for token in ids:
            self._check_id(token)
        if len(entry.tokens) + len(ids) > self.n_ctx:
            raise ContextFullError(
                f"{len(entry.tokens) + len(ids):,} tokens do not fit into a context of {self.n_ctx:,}; "
                "shorten the text or load the model with a larger n_ctx"
            )

    # --- decoding -------------------------------------------------------------------------------------

    def prefill(
        self, branch: Branch, ids: Sequence[int], *, k: int, watch: Watch = (), cancel: Flag, progress: Progress
    ) -> Generator[StepRecord, None, Finish]:
        entry = self.pool.use(branch)
        self._check_fit(entry, ids)
        try:
            for start in range(0, len(ids), self._rows):
                chunk = list(ids[start : start + self._rows])
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
            for batch in packed(ids, self._rows, TOGETHER):
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
            for start in range(0, len(ids), self._rows):
                chunk = list(ids[start : start + self._rows])
                mine = [i for i in range(len(chunk)) if start + i in wanted]
                found = self._again(partial(self._rows_before, entry, chunk, mine, cancel))
                entry.row, entry.row_ms = _sound(self._output(len(chunk) - 1)), 0.0
                entry.tokens += chunk
                yield from ((start + i, row) for i, row in zip(mine, found, strict=True))
        except Cancelled:
            return "cancelled"
        return "length"

    def _rows_before(self, entry: Entry, chunk: Sequence[int], wanted: Sequence[int], cancel: Flag) -> list[Floats]:
        """The rows that predict some tokens of a chunk, which is decoded."""
        before = self._row(entry, cancel, _ignore)
        self._decode([(entry, chunk)], cancel, score=True)
        rows = ((i, self._output(i - 1).copy() if i else before) for i in wanted)
        return [check_row(row, len(entry.tokens) + i) for i, row in rows]

    def _twice(self, work: Callable[[], T]) -> T:
        """What `work` computes from the cache; once more in an empty one where numbers are broken.

        Broken numbers in the cells of one branch break all others: what is masked is still no number.
        """
        try:
            return work()
        except BrokenRow:
            self.pool.empty()
        try:
            return work()
        except BrokenRow:
            self.pool.empty()
            raise

    def _again(self, work: Callable[[], T], left_out: int = 0) -> T:
        """The same, with an error in words."""
        try:
            return self._twice(work)
        except BrokenRow as problem:
            raise problem.told(left_out) from None

    def generate(
        self, branch: Branch, request: Request, *, cancel: Flag, progress: Progress, processor: Processor | None = None
    ) -> Generator[StepRecord, None, Finish]:
        entry = self.pool.use(branch)
        chooser, text = self._chooser(request, cancel), Tail(request.stop, request.begun)
        for left in range(request.n - 1, -1, -1):
            if cancel.is_set():
                return "cancelled"
            if len(entry.tokens) >= self.n_ctx:
                return "context"
            try:
                row = self._again(partial(self._row, entry, cancel, progress), request.left_out)
                record, finish = self._choose(entry, row, request, chooser, text, processor)
            except Cancelled:
                return "cancelled"
            if self._sums and not finish and 0 < left < request.n - 1:
                with suppress(InfernoError, BrokenRow):  # met again at the top of the loop, when this record is safe
                    self._row(entry, cancel, progress)
            yield record()
            if finish:
                return finish
        return "length"

    def generate_many(
        self,
        branches: Sequence[Branch],
        requests: Sequence[Request],
        *,
        cancel: Flag,
        progress: Progress,
        processor: Processor | None = None,
    ) -> Generator[tuple[int, StepRecord], None, list[Finish]]:
        runs = [
            _Run(
                i,
                self.pool.use(branch),
                request,
                self._chooser(request, cancel),
                Tail(request.stop, request.begun),
                request.n,
            )
            for i, (branch, request) in enumerate(zip(branches, requests, strict=True))
        ]
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
            record, run.finish = self._choose(run.entry, row, run.request, run.chooser, run.text, processor)
        except Cancelled:
            run.finish = "cancelled"
            return None
        except GrammarError as error:
            if error.position is None:
                raise
            run.finish, run.misfit = "grammar", error
            return None
        run.left -= 1
        return record

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

    def _choose(
        self,
        entry: Entry,
        row: Floats,
        request: Request,
        chooser: Chooser,
        text: Tail,
        processor: Processor | None,
    ) -> tuple[Callable[[], StepRecord], Finish | None]:
        """Add the token that `row` predicts; its record, and why the run ends with it, if it does."""
        started = time.perf_counter()
        position = len(entry.tokens) + request.left_out
        logits = processor(np.array(entry.tokens, np.int32), row.copy()) if processor else row
        try:
            choice = chooser.choose(logits, entry.tokens, position)
        except FloatingPointError as error:
            raise InfernoError(
                f"the logits for position {position} are broken: {error}, as the logits processor left them"
            ) from error
        entry.tokens.append(choice.token)
        entry.row = None
        finish = self._finish(choice.token, text)
        spent = entry.row_ms + 1e3 * (time.perf_counter() - started)
        kind, k = Kind.GENERATED, request.k
        made = (row, position, choice.token, kind, k, spent, choice, request.left_out, request.watch)
        return self._later(*made), finish

    def logits(self, branch: Branch, at: int, *, cancel: Flag) -> Floats:
        """The raw row that predicts position `at`."""
        entry = self.pool.use(branch)
        if not 0 < at <= len(entry.tokens):
            raise InfernoError(f"nothing predicts position {at} of {len(entry.tokens)} tokens")
        if at == len(entry.tokens):
            return self._again(partial(self._row, entry, cancel, _ignore))
        scratch = self.branch(branch, at)
        try:
            return self._again(partial(self._row, self.pool[scratch], cancel, _ignore))
        finally:
            self.drop(scratch)

    def _row(self, entry: Entry, cancel: Flag, progress: Progress, besides: Sequence[Entry] = ()) -> Floats:
        """The logits after the last token; decodes whatever is not in the cache yet."""
        if entry.row is not None:
            return entry.row
        if not entry.tokens:
            raise InfernoError("a branch without a token predicts nothing; prefill it first")
        if entry.seq is not None and entry.decoded == len(entry.tokens):  # its row is gone: decode the last token again
            self.pool.shorten(entry, entry.decoded - 1)
        if entry.seq is None:
            self.pool.enter(entry, besides)
        started = time.perf_counter()
        total = len(entry.tokens) - entry.decoded
        while entry.decoded < len(entry.tokens):
            chunk = entry.tokens[entry.decoded : entry.decoded + self.options.n_batch]
            self._decode([(entry, chunk)], cancel, score=False, besides=besides)
            if total > self.options.n_batch:
                progress(1 - (len(entry.tokens) - entry.decoded) / total)
        entry.row = check_row(self._output(len(chunk) - 1), len(entry.tokens)).copy()
        entry.row_ms = 1e3 * (time.perf_counter() - started)
        return entry.row

    def _rows_of(self, entries: Sequence[Entry], cancel: Flag, progress: Progress) -> list[Floats]:
        """The logits after the last token of each, decoded together.

        Raises ContextFullError where they do not fit into the cache at once.
        """
        waiting = [entry for entry in entries if entry.row is None]
        if waiting and len(waiting[0].tokens) - waiting[0].decoded != 1:
            self._row(
                waiting.pop(0), cancel, progress, besides=entries
            )  # what the others begin with too is in the cache then
        for entry in waiting:
            if not entry.tokens:
                raise InfernoError("a branch without a token predicts nothing; prefill it first")
            if entry.seq is not None and entry.decoded == len(entry.tokens):
                self.pool.shorten(entry, entry.decoded - 1)
            if entry.seq is None:
                self.pool.enter(entry, entries)
        missing = [entry.tokens[entry.decoded :] for entry in waiting]
        for batch in packed(missing, self.options.n_batch, TOGETHER):
            started = time.perf_counter()
            self._decode([(waiting[i], chunk) for i, chunk in batch], cancel, score=False, besides=entries)
            share = 1e3 * (time.perf_counter() - started) / len(batch)
            last = -1
            for i, chunk in batch:
                last += len(chunk)
                if waiting[i].decoded == len(waiting[i].tokens):
                    row = check_row(self._output(last), len(waiting[i].tokens))
                    waiting[i].row, waiting[i].row_ms = row.copy(), share
        return [self._row(entry, cancel, progress) for entry in entries]

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
            entry.row, entry.row_ms = _sound(self._output(at - 1)), spent
            scored.append(
                [
                    self._record(row, first + i, token, Kind.PROMPT, k, ms, watch=watch)
                    for i, (row, token) in enumerate(zip(rows, chunk, strict=False))
                ]
            )
        for entry, chunk in stretches:
            entry.tokens += chunk
        return scored

    def _decode(
        self, stretches: Sequence[Stretch], cancel: Flag, *, score: bool, besides: Sequence[Entry] = ()
    ) -> None:
        """Decode in one batch. Others than these, and those `besides`, give way where the cache is full."""
        if cancel.is_set():  # the abort callback works on the CPU only
            raise Cancelled("decoding was cancelled")
        kept = [*(entry for entry, _ in stretches), *besides]
        for entry in kept[: len(stretches)]:
            if entry.seq is None:
                self.pool.enter(entry, kept)
        self._batch.fill(stretches, score=score)
        C.llama_set_abort_callback(self.context, _abort_when_set, cancel.address)
        while True:
            code = C.llama_decode(self.context, self._batch.native)
            if code == 0:
                for entry, tokens in stretches:
                    self.pool.grown(entry, len(tokens))
                return
            for entry, _ in stretches:
                self.cells.cut(entry.seq, entry.decoded)  # type: ignore[arg-type]
            if code != 1:  # a part was decoded, perhaps in cells behind the window
                for entry, _ in stretches:
                    self.pool.shorten(entry, entry.decoded)
            if code == 2:
                raise Cancelled("decoding was cancelled")
            if code != 1:
                raise InfernoError(f"llama.cpp failed to decode (code {code}): {self.log.reason()}")
            if not self.pool.give_way(*kept):
                raise ContextFullError(
                    f"the context of {self.n_ctx:,} tokens is full; load the model with a larger n_ctx"
                )

    def _output(self, i: int) -> Floats:
        """Row `i` of the last batch, float32 [n_vocab]: a view that the next decode overwrites."""
        row = C.llama_get_logits_ith(self.context, i)
        return np.ctypeslib.as_array(row, (self.n_vocab,))

    # --- records --------------------------------------------------------------------------------------

    def _later(self, *arguments: Any) -> Callable[[], StepRecord]:
        """The record's sums: done meanwhile by another thread where that pays, else now."""
        if self._sums:
            return self._sums.submit(self._record, *arguments).result
        record = self._record(*arguments)
        return lambda: record

    def _record(
        self,
        row: Floats | None,
        position: int,
        token: int,
        kind: Kind,
        k: int,
        ms: float,
        choice: Choice | None = None,
        left_out: int = 0,
        watch: Watch = (),
    ) -> StepRecord:
        if row is None:
            return StepRecord(position, token, kind, ms=ms)
        d = describe(row, token, k)
        probability, kept, u, top_kept = math.nan, 0, math.nan, np.zeros(len(d.top_ids), np.bool_)
        if choice:
            probability, kept, u = choice.probability, len(choice.kept), choice.draw
            top_kept = _members(d.top_ids, choice.kept, self.n_vocab)
        raw = (position, token, kind, d.logprob, d.entropy, d.rank)
        sampled = (probability, kept, u)
        record = StepRecord(*raw, *sampled, ms, d.tail, left_out, d.top_ids, d.top_logprobs, top_kept)
        return WatchedRecord.of(record, mass(row, watch)) if watch else record

    def _finish(self, token: int, text: Tail) -> Finish | None:
        if C.llama_vocab_is_eog(self.vocabulary, token):
            return "eog"
        return "stop" if text.stops(self._piece, token) else None


def packed(ids: Sequence[Sequence[int]], size: int, most: int) -> Iterator[list[tuple[int, Sequence[int]]]]:
    """Batches of stretches (index, some of its tokens), each with at most `size` tokens and `most` stretches."""
    batch: list[tuple[int, Sequence[int]]] = []
    room = size
    for i, tokens in enumerate(ids):
        start = 0
        while start < len(tokens):
            chunk = tokens[start : start + room]
            batch.append((i, chunk))
            start, room = start + len(chunk), room - len(chunk)
            if not room or len(batch) == most:
                yield batch
                batch, room = [], size
    if batch:
        yield batch


def check_row(row: Floats, position: int) -> Floats:
    """The row, if all of it are finite numbers. Raises `BrokenRow`."""
    if np.isfinite(row).all():
        return row
    raise BrokenRow(row, position)


def _sound(row: Floats) -> Floats | None:
    """A copy of a row that may be used later; None if it is broken, so that it is computed again then."""
    return row.copy() if np.isfinite(row).all() else None


def _ignore(_: float) -> None: ...


def _members(ids: Ids, of: Ids, n_vocab: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros(n_vocab, np.bool_)
    mask[of] = True
    return mask[ids]
