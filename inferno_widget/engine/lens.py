"""What a residual stream would say if the model stopped there: its last norm and its output matrix, once more.

The nodes between the last residual stream and the logits are built again over rows of our own, on the backend that has
the model's output matrix, with the weights as they are: so a scale, a bias or a soft cap that a model has there is
there too.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferno_widget.errors import Cancelled, InfernoError
from inferno_widget.record import Floats
from inferno_widget.stats import describe, rank

from . import Cancel, ggml
from .graph import Node

ROWS_BYTES = 32 << 20
"""Most that the logits of one evaluation may take."""
PRODUCTS = 3_500_000_000
"""Multiplications of one evaluation at most, unless one row takes more: about a tenth of a second on three cores, in
which nothing ends it. Smaller pieces are slower, as each reads the whole output matrix.
"""
SAME = 0.01
"""How far two computations of the same logits may be apart, in parts of their spread."""
CPU = 0
"""GGML_BACKEND_DEVICE_TYPE_CPU"""
TANH = 4
"""GGML_UNARY_OP_TANH"""
NORMS = {"RMS_NORM", "NORM"}


class Said(NamedTuple):
    """What rows of logits say.

    Attributes
    ----------
    top_ids, top_logprobs : int32, float32 [..., k], the most likely first
    entropy : float32 [...], nats
    kl : float32 [...], KL(final || here), nats: what is lost by stopping here
    rank, logprob : int32, float32 [...], of the final answer, the most likely token at the end
    token_rank, token_logprob : the same of the token that came; 0 and NaN where none did
    """

    top_ids: NDArray[np.int32]
    top_logprobs: Floats
    entropy: Floats
    kl: Floats
    rank: NDArray[np.int32]
    logprob: Floats
    token_rank: NDArray[np.int32]
    token_logprob: Floats

    @classmethod
    def room(cls, shape: tuple[int, ...], k: int) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of each."""
        ids, numbers = np.dtype(np.int32).str, np.dtype(np.float32).str
        tops = {"top_ids": ((*shape, k), ids), "top_logprobs": ((*shape, k), numbers)}
        rest = {name: (shape, ids if name.endswith("rank") else numbers) for name in cls._fields[2:]}
        return {**tops, **rest}


class Head:
    """The end of a model, from a residual stream to logits.

    Parameters
    ----------
    chain : its nodes, from the last residual stream to the logits, as `graph.Plan.head` has them
    n_threads : that work at it
    """

    def __init__(self, chain: Sequence[Node], n_threads: int) -> None:
        if not chain:
            raise InfernoError("the way from the residual stream to the logits was not found: this model has no lens")
        self.chain = chain
        self.n_embd, self.n_vocab = chain[0].shape[-1], chain[-1].shape[-1]
        self.most = max(1, min(ROWS_BYTES // (4 * self.n_vocab), PRODUCTS // (self.n_embd * self.n_vocab)))
        self._backend = _backend(self._matrix, n_threads)
        self._pool = ThreadPoolExecutor(n_threads, "lens") if n_threads > 1 else None

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()
        ggml.function("ggml_backend_free")(self._backend)

    @property
    def _matrix(self) -> int:
        """The output matrix."""
        last = next((node for node in reversed(self.chain) if node.op == "MUL_MAT"), None)
        if last is None:
            raise InfernoError("there is no output matrix between the residual stream and the logits")
        return last.sources[0]

    def check(self, stream: Floats, logits: Floats) -> None:
        """Raise InfernoError unless a stream behind the last block, float32 [n_embd], gives the model's own logits."""
        off = np.abs(self._evaluate(stream[None])[0] - logits).max()
        if not off <= SAME * np.ptp(logits):
            self.close()
            raise InfernoError(
                f"done once more, the end of this model gives other logits than its own (by {off:.3g}): it has no lens"
            )

    # --- logits -------------------------------------------------------------------------------------------

    def logits(self, streams: Floats, *, cancel: Cancel) -> Floats:
        """float32 [..., n_vocab] of residual streams [..., n_embd]."""
        rows, parts = streams.reshape(-1, self.n_embd), list[Floats]()
        for start in range(0, len(rows), self.most):
            if cancel.is_set():
                raise Cancelled("the lens was cancelled")
            parts.append(self._evaluate(rows[start : start + self.most]))
        whole: Floats = np.concatenate(parts) if len(parts) != 1 else parts[0]
        return whole.reshape(*streams.shape[:-1], self.n_vocab)

    def _evaluate(self, rows: Floats) -> Floats:
        def build(context: int, given: int) -> int:
            made = {self.chain[0].address: given}
            for before, node in pairwise(self.chain):
                taken = node.op == "GET_ROWS"  # the rows are chosen already
                made[node.address] = made[before.address] if taken else _again(context, node, made, len(rows))
            return made[self.chain[-1].address]

        return self._computed(rows, build)

    def _computed(self, values: NDArray[Any], build: Any) -> Floats:
        """What the graph that `build` makes over an input says."""
        call = ggml.function
        room = (len(self.chain) + 8) * call("ggml_tensor_overhead")() + call("ggml_graph_overhead")()
        context = call("ggml_init")(ggml.InitParams(room, None, True))
        allocator = call("ggml_gallocr_new")(call("ggml_backend_get_default_buffer_type")(self._backend))
        try:
            given = ggml.new_tensor(context, values.shape, ggml.I32 if values.dtype == np.int32 else ggml.F32)
            call("ggml_set_input")(given)
            result = build(context, given)
            call("ggml_set_output")(result)
            graph = call("ggml_new_graph")(context)
            call("ggml_build_forward_expand")(graph, result)
            if not call("ggml_gallocr_alloc_graph")(allocator, graph):
                raise InfernoError(f"there is no memory for the logits of {len(values)} rows")
            values = np.ascontiguousarray(values)
            call("ggml_backend_tensor_set")(given, values.ctypes.data, 0, values.nbytes)
            if call("ggml_backend_graph_compute")(self._backend, graph):
                raise InfernoError("the backend failed to apply the output matrix")
            logits: Floats = ggml.read(result).reshape(len(values), -1)
            return logits
        finally:
            call("ggml_gallocr_free")(allocator)
            call("ggml_free")(context)

    # --- what they say ------------------------------------------------------------------------------------

    def say(
        self,
        streams: Floats,
        final: Floats | None,
        tokens: Sequence[int],
        into: Said,
        *,
        positions: Sequence[int],
        cancel: Cancel,
    ) -> NDArray[np.int32]:
        """Fill `into` [layer, position]; the most likely token at the end, int32 [position].

        Parameters
        ----------
        streams : float32 [layer, position, n_embd]
        final : float32 [position, n_embd], behind the last block; the last of `streams` when None
        tokens : that came at each position; -1 where none did
        positions : for messages

        Raises
        ------
        InfernoError
            If some of it is no finite number: there is no distribution then.
        """
        whole = streams if final is None else np.concatenate([streams, final[None]])
        answers = np.zeros(streams.shape[1], np.int32)
        for at in range(len(answers)):
            rows = self.logits(whole[:, at], cancel=cancel)
            if not np.isfinite(rows).all():
                raise InfernoError(
                    f"there is no lens at position {positions[at]}: the numbers of the model are broken there (NaN or "
                    'infinite), and no distribution can be made of that. inspect(..., what="residual") shows them'
                )
            end = rows[-1]
            answers[at] = end.argmax()
            p, minus_entropy = _distribution(end)
            against = (int(answers[at]), int(tokens[at]), p, minus_entropy, into)
            jobs = [(rows[layer], *against, (layer, at)) for layer in range(len(streams))]
            done = self._pool.map(_note, jobs) if self._pool else map(_note, jobs)
            for _ in done:
                pass
        return answers

    # --- what added what ------------------------------------------------------------------------------------

    def attribute(self, parts: Floats, final: Floats, token: int) -> tuple[Floats, float]:
        """How much each part of a residual stream adds to a token's logit, the norm held at what it is at the end.

        Parameters
        ----------
        parts : float32 [n, n_embd], whose sum is `final`
        final : float32 [n_embd], behind the last block
        token : whose logit

        Returns
        -------
        float32 [n], and what a bias of the norm or of the output adds; their sum is the logit before a soft cap
        """
        nothing = np.zeros((1, self.n_embd))
        logits = self._frozen(np.concatenate([parts.astype(np.float64), nothing]), final.astype(np.float64), token)
        return (logits[:-1] - logits[-1]).astype(np.float32), float(logits[-1])

    def _frozen(self, rows: NDArray[np.float64], final: NDArray[np.float64], token: int) -> NDArray[np.float64]:
        """The token's logit of each of `rows`, by the norm of `final`."""
        for node in self._uncapped:
            bound = [source for source in node.sources if ggml.is_weight(source)]
            if node.op == "MUL_MAT" and rows.ndim > 1:
                rows, final = rows @ self._row(token).astype(np.float64), np.zeros(0)
            elif node.op in NORMS and rows.ndim > 1:
                mean = (lambda x: x.mean(-1, keepdims=True)) if node.op == "NORM" else (lambda _: 0.0)
                rows, final = rows - mean(rows), final - mean(final)
                size = math.sqrt(float((final**2).mean()) + _numbers(node)[0])
                rows, final = rows / size, final / size
            elif node.op == "SCALE":
                factor, shift = _numbers(node)[:2]
                rows, final = rows * factor + shift, final * factor + shift
            elif node.op in ("MUL", "ADD"):
                by = ggml.read(bound[0]).ravel().astype(np.float64)
                if rows.ndim == 1:  # behind the matrix there is one number a row
                    by = by[token if len(by) > 1 else 0]
                rows, final = (rows * by, final * by) if node.op == "MUL" else (rows + by, final + by)
            elif node.op != "GET_ROWS":
                raise InfernoError(f"a contribution cannot be followed through {node.op}, which this model ends with")
        return rows

    @property
    def _uncapped(self) -> list[Node]:
        """The chain up to where logits are capped softly, if they are: scaled down, tanh, scaled up."""
        ends = [node.op for node in self.chain[-3:]]
        capped = ends == ["SCALE", "UNARY", "SCALE"] and self.chain[-2].params[0] == TANH
        return list(self.chain[1:-3] if capped else self.chain[1:])

    def _row(self, token: int) -> Floats:
        """A row of the output matrix, float32 [n_embd]."""
        matrix = self._matrix

        def build(context: int, given: int) -> int:
            return int(ggml.function("ggml_get_rows")(context, matrix, given))

        row: Floats = self._computed(np.array([token], np.int32), build)[0]
        return row


def _numbers(node: Node) -> NDArray[np.float64]:
    """The parameters of an operation as floats: what SCALE scales by and adds, the epsilon of a norm."""
    return np.array(node.params, np.int32).view(np.float32).astype(np.float64)


def _again(context: int, node: Node, made: dict[int, int], n: int) -> int:
    """A node of the chain once more, over `n` rows."""
    address = ggml.new_tensor(context, (n, node.shape[-1]))
    tensor = ggml.Tensor.at(address)
    tensor.op = node.number
    tensor.op_params[:] = node.params
    for i, source in enumerate(node.sources):
        tensor.src[i] = made.get(source, source)
    return address


def _backend(matrix: int, n_threads: int) -> int:
    """A backend on the device that has `matrix`."""
    call = ggml.function
    buffer = ggml.Tensor.at(matrix).buffer
    device = call("ggml_backend_buft_get_device")(call("ggml_backend_buffer_get_type")(buffer))
    if not device and call("ggml_backend_buffer_is_host")(buffer):  # the mapped file says nothing of a device
        device = call("ggml_backend_dev_by_type")(CPU)
    backend = call("ggml_backend_dev_init")(device, None) if device else None
    if not backend:
        raise InfernoError("the device that has the output matrix cannot be used a second time: there is no lens")
    setter = call("ggml_backend_reg_get_proc_address")(
        call("ggml_backend_dev_backend_reg")(device), b"ggml_backend_set_n_threads"
    )
    if setter:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)(setter)(backend, n_threads)
    return int(backend)


def _distribution(logits: Floats) -> tuple[Floats, float]:
    """softmax(logits), float32, and sum p ln p."""
    shifted = np.maximum(logits - logits.max(), np.float32(-1000))
    weights = np.exp(shifted)
    total = float(weights.sum(dtype=np.float64))
    return weights / np.float32(total), float((shifted * weights).sum(dtype=np.float64)) / total - math.log(total)


def _note(job: tuple[Floats, int, int, Floats, float, Said, tuple[int, int]]) -> None:
    """What one row says, into its place."""
    row, answer, token, p, minus_entropy, into, at = job
    told = describe(row, answer, into.top_ids.shape[-1])
    total = float(row[answer]) - told.logprob  # the logarithm of the sum of all exponentials
    finite = np.maximum(row, np.float32(total - 1000))
    into.top_ids[at], into.top_logprobs[at] = told.top_ids, told.top_logprobs
    into.entropy[at], into.rank[at], into.logprob[at] = told.entropy, told.rank, told.logprob
    into.kl[at] = max(0.0, minus_entropy - float((p * finite).sum(dtype=np.float64)) + total)
    if token >= 0:
        into.token_rank[at], into.token_logprob[at] = rank(row, token), float(row[token]) - total
    else:
        into.token_logprob[at] = math.nan
