"""A llama.cpp context: tokens go in, rows of logits come out, and its KV cache is one pool for all branches."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import llama_cpp.llama_cpp as C
import numpy as np

from inferno_widget.errors import Cancelled, ContextFullError, InfernoError, ModelLoadError
from inferno_widget.record import Floats

from . import Options, Progress
from .channel import is_stopped
from .loading import NO_WRITER
from .log import Log
from .pool import Entry, Pool

CTX_STEP = 256
"""A context has a multiple of so many tokens."""
N_SEQ_MAX = 64
"""Branches in the KV cache at once. Every decode looks at all: 256 would cost the demo model a sixth of its speed."""
TOGETHER = N_SEQ_MAX // 2
"""Most branches that are decoded in one batch: the others in the cache need not give way to them."""
FEW = 32
"""Tokens that are read again without a word of it: that takes no time to speak of."""
ROWS_BYTES = 32 << 20
"""Most that the logits of one prefill batch may take, whatever the vocabulary."""
KV_TYPES = {"f32": 0, "f16": 1, "q8_0": 8, "bf16": 30}


class Flag(Protocol):
    """A cancel flag that native code can look at: `address` is what `channel.is_stopped` takes."""

    address: int

    def is_set(self) -> bool: ...


T = TypeVar("T")
Stretch = tuple[Entry, Sequence[int]]
"""A branch, and the next of its tokens to be decoded."""

_abort_when_set = ctypes.cast(is_stopped, C.ggml_abort_callback)


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


class Context:
    """A context of a loaded model.

    Parameters
    ----------
    model : its address
    options : how it was loaded; n_batch is lowered to what the context takes
    log : what llama.cpp tells its reasons
    first : number of the first branch

    Attributes
    ----------
    vocabulary, context : addresses of llama.cpp's own
    n_vocab : tokens in the vocabulary
    n_ctx : tokens of context
    pool : the branches
    """

    def __init__(self, model: int, options: Options, log: Log, first: int) -> None:
        self.model, self.log = model, log
        self.vocabulary = C.llama_model_get_vocab(model)
        self.n_vocab: int = C.llama_vocab_n_tokens(self.vocabulary)
        self._most_rows = max(1, min(options.n_batch, ROWS_BYTES // (4 * self.n_vocab)))
        taken = log.cache_bytes
        self.context = self._opened(options)
        self._cache_bytes = log.cache_bytes - taken
        # no larger than the context: more at once would end the process
        self.options = options = replace(options, n_batch=C.llama_n_batch(self.context))
        self._most_rows = min(self._most_rows, options.n_batch)
        self._room: int = C.llama_n_ctx(self.context)
        turned = C.llama_model_rope_type(model) != C.LLAMA_ROPE_TYPE_NONE
        self.n_ctx: int = self._room if turned else min(self._room, options.n_ctx)  # a table of positions may end there
        self._batch = _Batch(options.n_batch)
        recurrent = C.llama_model_is_recurrent(model) or C.llama_model_is_hybrid(model)
        self.cells = _Cells(C.llama_get_memory(self.context), C.llama_model_n_swa(model), recurrent)
        self.pool = Pool(self.cells, N_SEQ_MAX, first)

    def _opened(self, options: Options) -> int:
        context = C.llama_init_from_model(self.model, self._params(options))
        if not context:
            raise ModelLoadError(f"llama.cpp cannot make a context of {options.n_ctx:,} tokens: {self.log.reason()}")
        if not C.llama_get_memory(context):
            C.llama_free(context)
            raise ModelLoadError(NO_WRITER.format("it reads a text as a whole, for embeddings or diffusion"))
        return int(context)

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
        params.n_outputs_max = max(N_SEQ_MAX, self._most_rows)  # with fewer than sequences it aborts
        params.n_outputs_max_per_seq = params.n_outputs_max
        return params

    # --- the rows behind texts ------------------------------------------------------------------------------

    def _row(self, entry: Entry, cancel: Flag, progress: Progress, besides: Sequence[Entry] = ()) -> Floats:
        """The logits after the last token; decodes whatever is not in the cache yet."""
        if entry.row is not None:
            return entry.row
        self._enter(entry, besides)
        started = time.perf_counter()
        total = len(entry.tokens) - entry.decoded
        if total > FEW:
            progress(0)
        while entry.decoded < len(entry.tokens):
            chunk = entry.tokens[entry.decoded : entry.decoded + self.options.n_batch]
            self._decode([(entry, chunk)], cancel, score=False, besides=besides)
            if total > FEW:
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
            # alone, so that what the others begin with too is in the cache when they come
            self._row(waiting.pop(0), cancel, progress, besides=entries)
        for entry in waiting:
            self._enter(entry, entries)
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

    def _enter(self, entry: Entry, besides: Sequence[Entry]) -> None:
        """Have a branch without a row in the cache, all but its last token at most: that is decoded, perhaps again."""
        if not entry.tokens:
            raise InfernoError("a branch without a token predicts nothing; prefill it first")
        if entry.seq is not None and entry.decoded == len(entry.tokens):
            self.pool.shorten(entry, entry.decoded - 1)
        if entry.seq is None:
            self.pool.enter(entry, besides)

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

    # --- decoding -------------------------------------------------------------------------------------------

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


def sound(row: Floats) -> Floats | None:
    """A copy of a row that may be used later; None if it is broken, so that it is computed again then."""
    return row.copy() if np.isfinite(row).all() else None
