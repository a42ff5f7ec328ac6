"""The loop to beat: llama.cpp over ctypes, with nothing but what generating takes.

One sequence, a batch of one token, llama.cpp's own sampler chain with the stages and settings of our default
`Sampler`, the context parameters of `llama_context_default_params` but for n_ctx and n_threads, which are those
of the model it is compared with. So it has neither the unified cache of 256 sequences that forks need, nor the
abort callback that Stop needs, nor any record.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

import llama_cpp.llama_cpp as C

from inferno_widget import Sampler

_quiet = C.llama_log_callback(lambda *_: None)


class BareLoop:
    """A model, and one text that it goes on with."""

    def __init__(self, path: Path, *, n_ctx: int, n_threads: int) -> None:
        C.llama_backend_init()
        C.llama_log_set(_quiet, ctypes.c_void_p(0))
        self.model = C.llama_model_load_from_file(os.fsencode(path), C.llama_model_default_params())
        params = C.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_threads = params.n_threads_batch = n_threads
        self.context = C.llama_init_from_model(self.model, params)
        self.chain = _chain(Sampler())

    def begin(self, ids: Sequence[int]) -> None:
        """Forget the text, read a prompt of at most n_batch (2,048) tokens, and choose the first token after it."""
        C.llama_memory_clear(C.llama_get_memory(self.context), True)
        tokens = (ctypes.c_int * len(ids))(*ids)
        C.llama_decode(self.context, C.llama_batch_get_one(tokens, len(ids)))
        self._token = (ctypes.c_int * 1)(C.llama_sampler_sample(self.chain, self.context, -1))
        self._batch = C.llama_batch_get_one(self._token, 1)

    def generate(self, n: int) -> None:
        """Go on by `n` tokens."""
        for _ in range(n):
            if C.llama_decode(self.context, self._batch):
                raise RuntimeError("llama_decode failed: is the context full?")
            self._token[0] = C.llama_sampler_sample(self.chain, self.context, -1)

    def close(self) -> None:
        C.llama_sampler_free(self.chain)
        C.llama_free(self.context)
        C.llama_model_free(self.model)


def _chain(sampler: Sampler, seed: int = 7) -> int:
    chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
    for stage in (
        C.llama_sampler_init_top_k(sampler.top_k),
        C.llama_sampler_init_top_p(sampler.top_p, 1),
        C.llama_sampler_init_min_p(sampler.min_p, 1),
        C.llama_sampler_init_temp(sampler.temperature),
        C.llama_sampler_init_dist(seed),
    ):
        C.llama_sampler_chain_add(chain, stage)
    return chain
