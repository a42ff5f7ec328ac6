"""A model that is loaded and ready to be used."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import psutil

from .engine import Options, Processor
from .engine.client import EngineClient, Stop
from .errors import Cancelled, hint_unknown_keywords
from .gguf import ModelInfo, read_info
from .session import OnFull, Session
from .shown import Shown

if TYPE_CHECKING:
    from .sampling import Sampler
    from .trace import Trace

DEFAULT_N_CTX = 4096
KV_TYPES = ("f32", "f16", "bf16", "q8_0")
PARAMETERS_A_THREAD = 20_000_000
CONTROL = 3
"""tokenizer.ggml.token_type of a control token."""


@hint_unknown_keywords
class Model(Shown):
    """A GGUF model in a process of its own, which the kernel outlives.

    Parameters
    ----------
    path : a GGUF file (any part of a split one); the bundled demo model when left out
    n_ctx : tokens of context, one pool for all sessions; rounded up to a multiple of 256. The model's own,
        but at most 4,096, when None
    n_threads : threads that decode; when None the usable cores less one, and fewer for a tiny model
    n_batch : tokens decoded at once in a prefill
    n_gpu_layers : layers offloaded to a GPU, where llama-cpp-python was built for one; -1 is all
    type_k, type_v : number formats of the KV cache: "f32", "f16", "bf16" or "q8_0"
    progress : called with the loaded fraction, 0 to 1; Cancelled is raised if it returns False

    Attributes
    ----------
    info : what the file says about its model
    card : what a trace remembers of it

    Raises
    ------
    ModelFileError
        If the file is not a GGUF model.
    ModelLoadError
        If llama.cpp refuses it; the message holds its reason.
    Cancelled
        If `progress` returned False.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        n_ctx: int | None = None,
        n_threads: int | None = None,
        n_batch: int = 512,
        n_gpu_layers: int = 0,
        type_k: str = "f16",
        type_v: str = "f16",
        progress: Callable[[float], object] | None = None,
    ) -> None:
        self.path = Path(path) if path is not None else demo_path()
        self.info: ModelInfo = read_info(self.path)
        self.options = Options(
            n_ctx=_whole("n_ctx", n_ctx if n_ctx is not None else self._default_n_ctx(), 1, 2**24),
            n_threads=_whole("n_threads", n_threads if n_threads is not None else default_threads(self.info), 1, 1024),
            n_batch=_whole("n_batch", n_batch, 1, 2**16),
            n_gpu_layers=_whole("n_gpu_layers", n_gpu_layers, -1, 2**16),
            type_k=_one_of("type_k", type_k, KV_TYPES),
            type_v=_one_of("type_v", type_v, KV_TYPES),
        )
        self.card = self._card()
        self.engine = EngineClient(str(self.path), self.options, self.info.n_vocab)
        cancel = Stop()

        def report(fraction: float) -> None:
            if progress and progress(fraction) is False:
                cancel.set()

        self.engine.start(cancel=cancel, progress=report)
        if cancel.is_set():  # the last news came when nothing was left to cancel
            self.close()
            raise Cancelled("loading was cancelled")

    def _default_n_ctx(self) -> int:
        return min(self.info.n_ctx_train or DEFAULT_N_CTX, DEFAULT_N_CTX)

    def __repr__(self) -> str:
        state = "loaded" if self.engine.pid is not None else "not running"
        return f"<Model {self.info.name!r}, n_ctx {self.n_ctx:,}, {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def n_ctx(self) -> int:
        """Tokens of context, as llama.cpp rounded them."""
        return self.engine.n_ctx

    @property
    def rss(self) -> int:
        """Resident memory of the model's process, bytes; 0 when it does not run."""
        pid = self.engine.pid
        try:
            return int(psutil.Process(pid).memory_info().rss) if pid is not None else 0
        except psutil.Error:  # it ended just now
            return 0

    @cached_property
    def control(self) -> frozenset[int]:
        """Ids of the control tokens, such as the beginning of a sequence."""
        types = cast("Sequence[int]", self.info.metadata.get("tokenizer.ggml.token_type", ()))
        return frozenset(token for token, kind in enumerate(types) if kind == CONTROL)

    def _card(self) -> dict[str, Any]:
        return {
            "name": self.info.name,
            "architecture": self.info.architecture,
            "parameters": self.info.n_params,
            "quantisation": self.info.quantisation,
            "n_ctx_train": self.info.n_ctx_train,
            "n_vocab": self.info.n_vocab,
            "file": self.path.name,
            "bytes": self.info.size_bytes,
            "fingerprint": fingerprint(self.path),
        }

    @hint_unknown_keywords
    def session(
        self,
        prompt: str | Sequence[int] | Trace = "",
        sampler: Sampler | None = None,
        *,
        k: int = 20,
        logits_processor: Processor | None = None,
        on_full: OnFull = "stop",
        keep: int = 0,
    ) -> Session:
        """A new text, or one that goes on from a `Trace`; see `Session`."""
        return Session(self, prompt, sampler, k=k, logits_processor=logits_processor, on_full=on_full, keep=keep)

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of `text`: as a prompt (BOS added, special tokens read), or as it stands."""
        self.engine.start()
        return self.engine.tokenize(text, special=special)

    def detokenize(self, ids: Sequence[int]) -> bytes:
        """The bytes of `ids`."""
        self.engine.start()
        return b"".join(self.engine.pieces(ids))

    def close(self) -> None:
        """End the model's process and free its memory."""
        self.engine.close()


def demo_path() -> Path:
    """The bundled demo model."""
    return Path(str(files("inferno_widget") / "models" / "demo.gguf"))


def default_threads(info: ModelInfo) -> int:
    """The usable cores less one, which is for the statistics, the kernel and the page.

    A model with few parameters gets a thread per `PARAMETERS_A_THREAD`: its threads meet hundreds of times
    a token, and each meeting waits for the one that the system put aside. On a busy machine the demo model
    runs fifty times faster with one thread than with three, and as fast on an idle one.
    """
    return max(1, min(usable_cores() - 1, -(-info.n_params // PARAMETERS_A_THREAD)))


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fingerprint(path: Path, blocks: int = 64, size: int = 1 << 16) -> str:
    """SHA-256 of a file's length and of blocks spread evenly over it: 5 ms, however large it is."""
    length = path.stat().st_size
    digest = hashlib.sha256(str(length).encode())
    with path.open("rb") as file:
        for i in range(blocks):
            file.seek(max(0, length - size) * i // (blocks - 1))
            digest.update(file.read(size))
    return digest.hexdigest()


def _whole(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be between {low:,} and {high:,}, not {value!r}")
    return value


def _one_of(name: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
    return value
