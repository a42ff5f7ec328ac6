"""A GGUF file -> llama.cpp's model in this process, or why it is none that a text can be gone on with."""

from __future__ import annotations

import ctypes
import os

import llama_cpp.llama_cpp as C

from inferno_widget.errors import Cancelled, ModelLoadError, printable

from . import Cancel, Options, Progress
from .log import Log

NO_WRITER = (
    "this model does not continue a text token by token: {}. What is needed is a model that predicts the next token, "
    "such as Llama, Qwen, Gemma or GPT-2"
)

_listeners: list[object] = []


def listen(log: Log) -> None:
    """Make llama.cpp tell `log`. It keeps the pointer, also when the engine is gone."""
    callback = C.llama_log_callback(log.note)
    C.llama_log_set(callback, ctypes.c_void_p(0))
    _listeners[:] = [callback]


def load(path: str, options: Options, log: Log, *, cancel: Cancel, progress: Progress) -> int:
    """Address of the model in a file.

    Parameters
    ----------
    log : what llama.cpp tells its reasons
    cancel : ends the loading when it is set
    progress : told the loaded fraction

    Raises
    ------
    ModelLoadError
        With llama.cpp's own reason.
    Cancelled
        If `cancel` was set.
    """
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
        raise ModelLoadError(f"llama.cpp cannot load {printable(path)}: {log.reason()}")
    require_writer(model)
    return int(model)


def require_writer(model: int) -> None:
    """Refuse what could be loaded and would then end the process, or make nothing that means anything."""
    if C.llama_model_has_encoder(model):
        raise ModelLoadError(NO_WRITER.format("it has an encoder, as T5 does"))
    vocabulary = C.llama_model_get_vocab(model)
    if not C.llama_vocab_n_tokens(vocabulary) or C.llama_vocab_type(vocabulary) == C.LLAMA_VOCAB_TYPE_NONE:
        raise ModelLoadError(
            "the model's file has no vocabulary: no text can be read or made. Get another copy, or convert the "
            "model with its tokenizer"
        )
