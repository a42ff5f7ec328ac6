"""The native engine: llama.cpp through llama-cpp-python's low-level bindings, and nothing above them."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import llama_cpp.llama_cpp as C
import numpy as np

from inferno_widget.engine import Branch, Finish, Options, Processor, Progress, Request
from inferno_widget.errors import Cancelled, ContextFullError, InfernoError, ModelLoadError
from inferno_widget.record import Floats, Ids, Kind, StepRecord
from inferno_widget.sampling import Choice
from inferno_widget.stats import describe

N_SEQ_MAX = 64
"""Branches in the KV cache at once. Every decode looks at all: 256 would cost the demo model a sixth of its speed."""
ROWS_BYTES = 32 << 20
"""Most that the logits of one prefill batch may take, whatever the vocabulary."""
LARGE_VOCABULARY = 1 << 15
"""From here on another thread does a step's sums while the next token is decoded."""
KV_TYPES = {"f32": 0, "f16": 1, "q8_0": 8, "bf16": 30}


class Flag(Protocol):
    r"""A cancel flag that native code can read: `address` points at "\0", or at "\1\0" when it is set."""

    address: int

    def is_set(self) -> bool: ...


# The abort callback runs before every node of the graph, hundreds of times a token: a Python one would
# cost a tenth of the speed. strlen has its signature and answers 0 or 1 for the two states of a flag.
_libc = ctypes.CDLL("msvcrt" if os.name == "nt" else None)
_abort_when_set = ctypes.cast(_libc.strlen, C.ggml_abort_callback)


@dataclass
class _Sequence:
    """A branch, and how much of it stands in the KV cache.

    Attributes
    ----------
    tokens : all of them, decoded or not
    decoded : how many are in the cache
    row : float32 [n_vocab], the raw logits after the last token, or None where they are not at hand
    row_ms : what decoding that row took
    seq : llama.cpp's id of the sequence, or None while nothing is in the cache
    """

    tokens: list[int] = field(default_factory=list)
    decoded: int = 0
    row: Floats | None = None
    row_ms: float = 0.0
    seq: int | None = None


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

    def fill(self, tokens: Sequence[int], position: int, seq: int, *, score: bool) -> None:
        n = len(tokens)
        self.token[:n] = tokens
        self.position[:n] = np.arange(position, position + n)
        self._seq[:n] = seq
        self.wanted[:n] = score
        self.wanted[n - 1] = True
        self.native.n_tokens = n


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
        self.log = _Log()
        self.options = options
        self.model = self._load(path, options, cancel, progress)
        self.vocabulary = C.llama_model_get_vocab(self.model)
        self.n_vocab: int = C.llama_vocab_n_tokens(self.vocabulary)
        self._rows = max(1, min(options.n_batch, ROWS_BYTES // (4 * self.n_vocab)))
        self.context = self._open(options)
        self.n_ctx: int = C.llama_n_ctx(self.context)
        self.memory = C.llama_get_memory(self.context)
        self._batch = _Batch(options.n_batch)
        self._sequences: dict[Branch, _Sequence] = {}  # the least recently used first
        self._free = list(range(N_SEQ_MAX))
        self._next = Branch(first)
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
            raise ModelLoadError(f"llama.cpp cannot load {path}: {self.log.reason()}")
        return int(model)

    def _open(self, options: Options) -> int:
        params = C.llama_context_default_params()
        params.n_ctx = options.n_ctx
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
        context = C.llama_init_from_model(self.model, params)
        if not context:
            raise ModelLoadError(f"llama.cpp cannot make a context of {options.n_ctx:,} tokens: {self.log.reason()}")
        return int(context)

    def close(self) -> None:
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
                return buffer.raw[:n]
            size = -n

    # --- branches -------------------------------------------------------------------------------------

    def branch(self, parent: Branch | None, keep: int) -> Branch:
        branch, self._next = self._next, Branch(self._next + 1)
        s = self._sequences[branch] = _Sequence()
        if parent is not None:
            source = self._sequences[parent]
            s.tokens = source.tokens[:keep]
            s.decoded = min(keep, source.decoded)
            if s.decoded:
                s.seq = self._take_seq(besides={parent, branch})
                C.llama_memory_seq_cp(self.memory, source.seq, s.seq, 0, s.decoded)
            if s.tokens == source.tokens:
                s.row, s.row_ms = source.row, source.row_ms
        return branch

    def append(self, branch: Branch, ids: Sequence[int]) -> None:
        s = self._sequences[branch]
        self._check_fit(s, ids)
        s.tokens += ids
        s.row = None

    def drop(self, branch: Branch) -> None:
        self._evict(self._sequences.pop(branch))

    def _use(self, branch: Branch) -> _Sequence:
        s = self._sequences.pop(branch)
        self._sequences[branch] = s
        return s

    def _evict(self, s: _Sequence) -> None:
        """Take a sequence out of the cache; its tokens stay, and are decoded again when it is used."""
        if s.seq is not None:
            C.llama_memory_seq_rm(self.memory, s.seq, -1, -1)
            self._free.append(s.seq)
        s.seq, s.decoded, s.row = None, 0, None

    def _evict_oldest(self, besides: set[Branch]) -> bool:
        for branch, s in self._sequences.items():
            if branch not in besides and s.seq is not None:
                self._evict(s)
                return True
        return False

    def _take_seq(self, besides: set[Branch]) -> int:
        if not self._free:
            self._evict_oldest(besides)
        return self._free.pop()

    def _check_fit(self, s: _Sequence, ids: Sequence[int]) -> None:
        for token in ids:
            self._check_id(token)
        if len(s.tokens) + len(ids) > self.n_ctx:
            raise ContextFullError(
                f"{len(s.tokens) + len(ids):,} tokens do not fit into a context of {self.n_ctx:,}; "
                "shorten the text or load the model with a larger n_ctx"
            )

    # --- decoding -------------------------------------------------------------------------------------

    def prefill(
        self, branch: Branch, ids: Sequence[int], *, k: int, cancel: Flag, progress: Progress
    ) -> Generator[StepRecord, None, Finish]:
        s = self._use(branch)
        self._check_fit(s, ids)
        try:
            for start in range(0, len(ids), self._rows):
                chunk = list(ids[start : start + self._rows])
                records = self._score(branch, s, chunk, k, cancel, progress)
                progress((start + len(chunk)) / len(ids))
                yield from records
        except Cancelled:
            return "cancelled"
        return "length"

    def generate(
        self, branch: Branch, request: Request, *, cancel: Flag, progress: Progress, processor: Processor | None = None
    ) -> Generator[StepRecord, None, Finish]:
        s = self._use(branch)
        text = _Tail(request.stop, request.begun)
        for left in range(request.n - 1, -1, -1):
            if cancel.is_set():
                return "cancelled"
            if len(s.tokens) >= self.n_ctx:
                return "context"
            try:
                row = self._row(branch, s, cancel, progress)
            except Cancelled:
                return "cancelled"
            started = time.perf_counter()
            logits = processor(np.array(s.tokens, np.int32), row.copy()) if processor else row
            with _naming(len(s.tokens)):
                choice = request.sampler.choose(logits, s.tokens, len(s.tokens))
            s.tokens.append(choice.token)
            s.row = None
            finish = self._finish(choice.token, text)
            spent = s.row_ms + 1e3 * (time.perf_counter() - started)
            record = self._later(row, len(s.tokens) - 1, choice.token, Kind.GENERATED, request.k, spent, choice)
            if self._sums and not finish and 0 < left < request.n - 1:
                with suppress(InfernoError):  # met again at the top of the loop, when this record is safe
                    self._row(branch, s, cancel, progress)
            yield record()
            if finish:
                return finish
        return "length"

    def logits(self, branch: Branch, at: int, *, cancel: Flag) -> Floats:
        """The raw row that predicts position `at`."""
        if not 0 < at <= len(self._sequences[branch].tokens):
            raise InfernoError(f"nothing predicts position {at} of {len(self._sequences[branch].tokens)} tokens")
        if at == len(self._sequences[branch].tokens):
            return self._row(branch, self._use(branch), cancel, _ignore)
        scratch = self.branch(branch, at)
        try:
            return self._row(scratch, self._sequences[scratch], cancel, _ignore)
        finally:
            self.drop(scratch)

    def _row(self, branch: Branch, s: _Sequence, cancel: Flag, progress: Progress) -> Floats:
        """The logits after the last token; decodes whatever is not in the cache yet."""
        if s.row is not None:
            return s.row
        if not s.tokens:
            raise InfernoError("a branch without a token predicts nothing; prefill it first")
        if s.decoded == len(s.tokens):  # in the cache, but its row is gone: decode the last token once more
            C.llama_memory_seq_rm(self.memory, s.seq, s.decoded - 1, -1)
            s.decoded -= 1
        started = time.perf_counter()
        total = len(s.tokens) - s.decoded
        while s.decoded < len(s.tokens):
            chunk = s.tokens[s.decoded : s.decoded + self.options.n_batch]
            self._decode(branch, s, chunk, cancel, score=False)
            if total > self.options.n_batch:
                progress(1 - (len(s.tokens) - s.decoded) / total)
        s.row = self._output(len(chunk) - 1).copy()
        s.row_ms = 1e3 * (time.perf_counter() - started)
        return s.row

    def _score(
        self, branch: Branch, s: _Sequence, chunk: list[int], k: int, cancel: Flag, progress: Progress
    ) -> list[StepRecord]:
        """Add `chunk` and describe each of its tokens, all at once: the next decode, whoever's, overwrites the rows."""
        before = self._row(branch, s, cancel, progress) if s.tokens else None
        started = time.perf_counter()
        self._decode(branch, s, chunk, cancel, score=True)
        s.row_ms = 1e3 * (time.perf_counter() - started)
        rows = [before, *(self._output(i) for i in range(len(chunk)))]
        s.row = self._output(len(chunk) - 1).copy()
        first = len(s.tokens)
        s.tokens += chunk
        return [
            self._record(row, first + i, token, Kind.PROMPT, k, s.row_ms / len(chunk))
            for i, (row, token) in enumerate(zip(rows, chunk, strict=False))
        ]

    def _decode(self, branch: Branch, s: _Sequence, tokens: Sequence[int], cancel: Flag, *, score: bool) -> None:
        if cancel.is_set():  # the abort callback works on the CPU only
            raise Cancelled("decoding was cancelled")
        if s.seq is None:
            s.seq = self._take_seq(besides={branch})
        self._batch.fill(tokens, s.decoded, s.seq, score=score)
        C.llama_set_abort_callback(self.context, _abort_when_set, cancel.address)
        while True:
            code = C.llama_decode(self.context, self._batch.native)
            if code == 0:
                s.decoded += len(tokens)
                return
            C.llama_memory_seq_rm(self.memory, s.seq, s.decoded, -1)
            if code == 2:
                raise Cancelled("decoding was cancelled")
            if code != 1:
                raise InfernoError(f"llama.cpp failed to decode (code {code}): {self.log.reason()}")
            if not self._evict_oldest(besides={branch}):
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
        self, row: Floats | None, position: int, token: int, kind: Kind, k: int, ms: float, choice: Choice | None = None
    ) -> StepRecord:
        if row is None:
            return StepRecord(position, token, kind, ms=ms)
        with _naming(position):
            d = describe(row, token, k)
        probability, kept, u, top_kept = math.nan, 0, math.nan, np.zeros(len(d.top_ids), np.bool_)
        if choice:
            probability, kept, u = choice.probability, len(choice.kept), choice.draw
            top_kept = _members(d.top_ids, choice.kept, self.n_vocab)
        before_sampling = (position, token, kind, d.logprob, d.entropy, d.rank)
        return StepRecord(*before_sampling, probability, kept, u, ms, d.tail, 0, d.top_ids, d.top_logprobs, top_kept)

    def _finish(self, token: int, text: _Tail) -> Finish | None:
        if C.llama_vocab_is_eog(self.vocabulary, token):
            return "eog"
        return "stop" if text.stops(self._piece, token) else None


@contextmanager
def _naming(position: int) -> Iterator[None]:
    try:
        yield
    except FloatingPointError as error:
        raise InfernoError(f"the logits for position {position} are broken: {error}") from error


def _ignore(_: float) -> None: ...


def _members(ids: Ids, of: Ids, n_vocab: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros(n_vocab, np.bool_)
    mask[of] = True
    return mask[ids]


class _Tail:
    """The end of a generated text, as far as a stop string can reach back."""

    def __init__(self, stop: Sequence[str], begun: bytes) -> None:
        self._stop = [text.encode() for text in stop if text]
        self._reach = max(map(len, self._stop), default=1) - 1
        self._bytes = self._end(begun)

    def stops(self, piece: Callable[[int], bytes], token: int) -> bool:
        """Whether the text holds a stop string once `token` has come, also one across tokens."""
        if not self._stop:
            return False
        text = self._bytes + piece(token)
        self._bytes = self._end(text)
        return any(stop in text for stop in self._stop)

    def _end(self, text: bytes) -> bytes:
        return text[max(0, len(text) - self._reach) :]


class _Log:
    """llama.cpp's log: the only place where it says why a load failed."""

    WARN, ERROR, CONTINUED = 3, 4, 5
    latest: _Log

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []
        self._callback = C.llama_log_callback(self._note)
        C.llama_log_set(self._callback, ctypes.c_void_p(0))
        _Log.latest = self  # llama.cpp keeps the pointer, also when the engine is gone

    def _note(self, level: int, text: bytes, _: object) -> None:
        line = text.decode(errors="replace")
        if level == self.ERROR:
            sys.stderr.write(line)  # all that is left of it if the process ends here
        if level == self.CONTINUED and self.lines:
            level, begun = self.lines.pop()
            line = begun + line
        self.lines = [*self.lines[-199:], (level, line)]

    def reason(self) -> str:
        """The last things it complained about."""
        worst = [line.strip() for level, line in self.lines if level >= self.WARN]
        return "; ".join(worst[-3:]) or "no reason was given"
