"""A model that is loaded and ready to be used."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast, overload

import numpy as np
import psutil

from .arguments import file_path, flag, function, number, one_of, whole
from .cells import made_earlier
from .engine import Options, Processor
from .engine.child import HANG_SECONDS
from .engine.client import EngineClient
from .engine.inside import Edit
from .engine.second import SecondClient
from .engine.stop import Stop
from .errors import Cancelled, InfernoError, brief, check_keywords, counted, hint_unknown_keywords, printable
from .gguf import Finding, ModelInfo, read_info, rows
from .memory import default_n_ctx, estimate, require, require_second, rounded, weight_bytes
from .record import MAX_K
from .rows import Told
from .scoring import next_of, parted, perplexity, prompt_ids, scored
from .session import Session
from .settings import OnFull, check_settings
from .source import Source
from .trace import Trace
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from .chat import Message
    from .sampling import Sampler
    from .trace import Alternative

Given = str | Sequence[int] | None
"""Text, token ids or nothing."""

Texts = list[str] | tuple[str, ...]
"""Several texts."""

KV_TYPES = ("f32", "f16", "bf16", "q8_0")
PARAMETERS_A_THREAD = 20_000_000


@hint_unknown_keywords
class Model(Vocabulary):
    """A GGUF model in a process of its own, which the kernel outlives.

    Parameters
    ----------
    path : a GGUF file (any part of a split one); the bundled demo model when left out
    n_ctx : tokens of context, one pool for all sessions; rounded up to a multiple of 256. The model's own,
        but at most 4,096, when None. A model with a table of positions (GPT-2) has no more than it learned
    n_threads : threads that decode; when None the usable cores less one, and fewer for a tiny model
    n_batch : tokens decoded at once in a prefill
    n_gpu_layers : layers offloaded to a GPU, where llama-cpp-python was built for one; -1 is all
    type_k, type_v : number formats of the KV cache: "f32", "f16", "bf16" or "q8_0"
    force : load it, and look inside, also where that needs more memory than is free
    progress : called with the loaded fraction, 0 to 1; Cancelled is raised if it returns False
    hang_seconds : a process that makes no progress for so long with what was asked of it counts as hung: it is ended,
        and the next action starts a new one. None waits for ever

    Notes
    -----
    A notebook's cell that runs again makes a new model. Those it made before give their memory back, unless they are at
    work, and are loaded again when somebody uses them.

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
    NotEnoughMemoryError
        If it needs more memory than is free; the message has the numbers, and the longest context that fits.
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
        force: bool = False,
        progress: Callable[[float], object] | None = None,
        hang_seconds: float | None = HANG_SECONDS,
    ) -> None:
        function("progress", progress)
        self.info: ModelInfo = read_info(file_path("path", path) if path is not None else demo_path())
        self.path = self.info.path  # llama.cpp takes a split model by its first part alone, and knows no ~
        self.options = Options(
            n_ctx=_context(n_ctx, self.info),
            n_threads=whole("n_threads", n_threads if n_threads is not None else default_threads(self.info), 1, 1024),
            n_batch=whole("n_batch", n_batch, 1, 2**16),
            n_gpu_layers=whole("n_gpu_layers", n_gpu_layers, -1, 2**16),
            type_k=one_of("type_k", type_k, KV_TYPES),
            type_v=one_of("type_v", type_v, KV_TYPES),
        )
        self._force = flag("force", force)
        if not self._force:
            require(self.info, estimate(self.info, self.options.n_ctx, **self._memory_options()))
        source = Source(self.info)
        self.card = self._card(source.fingerprint)
        patience = None if hang_seconds is None else number("hang_seconds", hang_seconds, 0.1, 1e9)
        self.engine = EngineClient(str(self.path), self.options, self.info.n_vocab, source, hang_seconds=patience)
        cancel = Stop()

        def report(fraction: float) -> None:
            if progress and progress(fraction) is False:
                cancel.set()

        self.engine.start(cancel=cancel, progress=report)
        if cancel.is_set():  # the last news came when nothing was left to cancel
            self.close()
            raise Cancelled("loading was cancelled")
        for earlier in made_earlier(self):  # a notebook keeps what it showed; who uses one of these gets it back
            earlier.engine.rest()

    @classmethod
    def from_hub(
        cls,
        repo: str,
        pattern: str = "*.gguf",
        *,
        revision: str = "main",
        progress: Callable[[float], object] | None = None,
        **options: Any,
    ) -> Self:
        """Download a model from the Hugging Face hub, unless it is in the cache, and load it.

        Needs huggingface_hub: ``pip install "inferno_widget[hub]"``. A download that broke off goes on where it
        stopped; without a connection what the cache holds is taken.

        Parameters
        ----------
        repo : such as "owner/name-GGUF"
        pattern : which of its files, such as "*Q8_0.gguf"; it must match one model
        revision : a branch, a tag or a commit
        progress : called with the downloaded fraction, 0 to 1; Cancelled is raised if it returns False. A bar is
            shown when None
        options : as `Model` takes them
        """
        check_keywords("Model", options, [*inspect.signature(cls).parameters][1:])  # before anything is downloaded
        from .hub import fetch

        return cls(fetch(repo, pattern, revision=revision, progress=progress), **options)

    def __repr__(self) -> str:
        state = "closed" if self.engine.closed else "loaded" if self.engine.pid is not None else "not running"
        odd = f", {counted(len(self.findings), 'warning')}: see .findings" if self.findings else ""
        return f"<Model {self.info.name!r}, n_ctx {self.n_ctx:,}, {state}{odd}>"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            "a model cannot be copied, pickled or sent to another process: send its path, and load it there"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Warnings about what is odd in its file; see `inferno_widget.gguf.check`."""
        return self.info.findings

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

    def memory(self) -> dict[str, int]:
        """What it takes of this machine's memory now, in bytes; all 0 when its process does not run.

        "rss" is the process's resident memory, in which the rest is contained: "weights", "kv_reserved", the whole
        KV cache, and "kv_used", the part of it that holds tokens.
        """
        try:
            held = self.engine.holdings() if self.engine.pid is not None else None
        except InfernoError:  # it ended just now
            held = None
        if held is None:
            return dict.fromkeys(("rss", "weights", "kv_reserved", "kv_used"), 0)
        weights = weight_bytes(self.info)
        return {"rss": self.rss, "weights": weights, "kv_reserved": held.reserved, "kv_used": held.used}

    @cached_property
    def taps(self) -> SecondClient:
        """A second context, made when it is first used, in which the inside of the model is looked at."""
        return self.second()

    def second(self, edits: Sequence[Edit] = ()) -> SecondClient:
        """Another context of the model, where it is decoded under `edits`; made when it is started.

        Raises
        ------
        NotEnoughMemoryError
            If it needs more memory than is free.
        """
        if not self._force:
            require_second(self.info, self.n_ctx, **self._memory_options())
        return SecondClient(self.engine, edits)

    def _memory_options(self) -> dict[str, Any]:
        """What the need for memory hangs on, beside the context."""
        return {name: getattr(self.options, name) for name in ("n_batch", "type_k", "type_v", "n_gpu_layers")}

    def _card(self, fingerprint: str) -> dict[str, Any]:
        return {
            "name": self.info.name,
            "architecture": self.info.architecture,
            "parameters": self.info.parameters,
            "quantisation": self.info.quantisation,
            "n_ctx_train": self.info.n_ctx_train,
            "n_vocab": self.info.n_vocab,
            "file": printable(self.path.name),
            "bytes": self.info.size_bytes,
            "fingerprint": fingerprint,
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

    @overload
    def next(self, text: str | Sequence[int], top: int = ...) -> list[Alternative]: ...
    @overload
    def next(self, text: Texts, top: int = ...) -> list[list[Alternative]]: ...
    def next(self, text: str | Sequence[int] | Texts, top: int = 20) -> list[Alternative] | list[list[Alternative]]:
        """The `top` most likely tokens behind a text, the most likely first: ``model.next("The capital is")``.

        Probabilities are the raw model's, over the whole vocabulary.

        Parameters
        ----------
        text : text, or token ids; or several texts, which are read in batches and get a list each
        top : how many
        """
        top = min(whole("top", top, 1, 2**24), self.info.n_vocab)
        texts = _as_list(text)
        found = next_of(self, [prompt_ids(self, each) for each in texts], top)
        return found[0] if _is_one(text) else found

    @overload
    def score(
        self, text: str | Sequence[int], given: Given = ..., *, k: int = ..., progress: Told | None = ...
    ) -> Trace: ...
    @overload
    def score(
        self, text: Texts, given: Given | Sequence[Given] = ..., *, k: int = ..., progress: Told | None = ...
    ) -> list[Trace]: ...
    @hint_unknown_keywords
    def score(
        self,
        text: str | Sequence[int] | Texts,
        given: Given | Sequence[Given] = None,
        *,
        k: int = 20,
        progress: Told | None = None,
    ) -> Trace | list[Trace]:
        """How likely a text is, token by token: logprob, rank, entropy and alternatives of each (teacher forcing).

        Parameters
        ----------
        text : text, or token ids, as they stand; or several texts, which are read in batches and get a trace each
        given : what stands before the text and is not meant; for several texts one for all, or one for each
        k : alternatives to record for each token
        progress : told the fraction that is done, 0 to 1, for every token. If it returns False, it ends there, and the
            traces hold what was scored by then

        Returns
        -------
        a `Trace`, or a list of them : tokens of what is given (and one that begins every text, where the model has
            one) are "prompt", those of the text "forced"
        """
        k, progress = whole("k", k, 1, MAX_K), function("progress", progress)
        texts = _as_list(text)
        several = isinstance(given, list | tuple) and not _is_one(given)
        givens = list(cast("Sequence[Given]", given)) if several else [cast("Given", given)] * len(texts)
        if len(givens) != len(texts):
            raise ValueError(
                f"given must be one for all texts or one for each: {len(givens)} for {len(texts)} texts, {brief(given)}"
            )
        pairs = [parted(self, each, before) for each, before in zip(texts, givens, strict=True)]
        traces = scored(self, pairs, k, progress)
        return traces[0] if _is_one(text) else traces

    @overload
    def perplexity(self, text: str | Sequence[int], given: Given = ...) -> float: ...
    @overload
    def perplexity(self, text: Texts, given: Given | Sequence[Given] = ...) -> list[float]: ...
    def perplexity(
        self, text: str | Sequence[int] | Texts, given: Given | Sequence[Given] = None
    ) -> float | list[float]:
        """Exp of the mean surprisal of a text's tokens; of what is given, and of a first token, none counts.

        The parameters are those of `score`.
        """
        traces = self.score(cast("str", text), cast("Given", given), k=1)
        return perplexity(traces) if isinstance(traces, Trace) else [perplexity(trace) for trace in traces]

    @property
    def template(self) -> str | None:
        """The chat template in the file, in Jinja; None for a base model."""
        return self.info.chat_template

    @hint_unknown_keywords
    def chat(
        self,
        messages: Sequence[Message],
        sampler: Sampler | None = None,
        *,
        k: int = 20,
        logits_processor: Processor | None = None,
        on_full: OnFull = "stop",
        keep: int = 0,
    ) -> Session:
        """The model's answer to a conversation: a session whose prompt is what its chat template makes of `messages`.

        Parameters
        ----------
        messages : such as ``[{"role": "user", "content": "Hello"}]``; roles are usually "system", "user", "assistant"
        sampler, k, logits_processor, on_full, keep : see `Session`

        Raises
        ------
        InfernoError
            If the model has no template, or with the template's own words if it refuses the messages.
        """
        check_settings(self, sampler, k, logits_processor, on_full)
        prompt = self.render(messages)
        return self.session(prompt, sampler, k=k, logits_processor=logits_processor, on_full=on_full, keep=keep)

    def render(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, as the model's chat template writes it, up to where the answer begins."""
        from .chat import render

        if self.template is None:
            raise InfernoError(
                f"{self.info.name} is a base model without a chat template: it goes on from a text. Give it one with "
                "model.session(...), or load a model made for chat (often named -Instruct or -it)"
            )
        bos, eos = (self._token_text(token) for token in (self.info.bos_id, self.info.eos_id))
        ids = self.tokenize(render(self.template, messages, bos=bos, eos=eos))
        twice = self.info.bos_id is not None and ids[:2] == [self.info.bos_id] * 2  # the template wrote it already
        return ids[1:] if twice else ids

    def _token_text(self, token: int | None) -> str:
        tokens = cast("Sequence[str]", self.info.metadata.get("tokenizer.ggml.tokens", ()))
        return tokens[token] if token is not None and 0 <= token < len(tokens) else ""

    def metadata_rows(self) -> list[dict[str, str]]:
        """Everything the file says of the model: key, type, value; of long arrays and texts the beginning."""
        return [{"key": key, "type": kind, "value": value} for key, kind, value in self.info.metadata.rows()]

    def close(self) -> None:
        """End the model's process and free its memory."""
        self.engine.close()


def _as_list(text: str | Sequence[int] | Texts) -> list[str | Sequence[int]]:
    """One text, or several, as a list."""
    if _is_one(text):
        return [cast("str | Sequence[int]", text)]
    if not isinstance(text, list | tuple):
        raise TypeError(f"text must be text, token ids, or a list of texts, not {brief(text)}")
    return list(cast("Texts", text))


def _is_one(text: object) -> bool:
    """Whether it is one text, as text or as token ids, and not several."""
    return isinstance(text, str) or (
        isinstance(text, Sequence)
        and not isinstance(text, bytes)
        and all(isinstance(each, int | np.integer) for each in text)
    )


def demo_path() -> Path:
    """The bundled demo model."""
    return Path(str(files("inferno_widget") / "models" / "demo.gguf"))


def default_threads(info: ModelInfo) -> int:
    """The usable cores less one, which is for the statistics, the kernel and the page.

    A model with few parameters gets a thread per `PARAMETERS_A_THREAD`: its threads meet hundreds of times
    a token, and each meeting waits for the one that the system put aside. On a busy machine the demo model
    runs fifty times faster with one thread than with three, and as fast on an idle one.
    """
    return max(1, min(usable_cores() - 1, -(-info.parameters // PARAMETERS_A_THREAD)))


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _context(n_ctx: object, info: ModelInfo) -> int:
    """Tokens of context to ask llama.cpp for; beyond a table of learned positions it would end its process."""
    asked = whole("n_ctx", n_ctx if n_ctx is not None else default_n_ctx(info), 1, 2**24)
    learned = rows(info.tensors.get("position_embd.weight"))
    if n_ctx is not None and learned and asked > rounded(learned):
        raise ValueError(
            f"n_ctx must be at most {learned:,} for {info.name}, which learned that many positions and has none "
            f"beyond, not {asked:,}"
        )
    return min(asked, learned or asked)
