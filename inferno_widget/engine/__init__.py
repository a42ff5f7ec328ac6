"""What a session needs of an engine, whoever runs the model.

The token loop runs inside the engine and yields records. `llama.LlamaEngine` is the native one, over a
`context.Context` of llama.cpp; it lives in a child process (`worker`), and `client.EngineClient` is the same engine
seen from the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NewType, Protocol

import numpy as np
from numpy.typing import NDArray

from inferno_widget.record import Floats, Ids, StepRecord
from inferno_widget.sampling import Sampler

Branch = NewType("Branch", int)
"""A sequence of tokens in an engine, possibly sharing its beginning with others."""

Finish = Literal["length", "eog", "stop", "context", "cancelled", "grammar"]
"""Why a run ended: max_tokens, an end-of-generation token, a stop string, no room left, on request, or, as one of
several, because it does not fit the grammar."""

Processor = Callable[[Ids, Floats], Floats]
"""A logits processor: int32 [n] ids so far, float32 [n_vocab] logits -> float32 [n_vocab] logits."""

Watch = tuple[tuple[int, ...], ...]
"""Sets of token ids."""

Progress = Callable[[float], None]
"""Told the finished fraction, 0 to 1."""


def unheard(_: float) -> None:
    """`Progress` that nobody wants to hear of."""


class Cancel(Protocol):
    """A flag that ends work early when it is set."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True)
class Options:
    """How a model is loaded; names are llama-cpp-python's.

    Attributes
    ----------
    n_ctx : tokens of context, one pool for all branches
    n_threads : threads that decode
    n_batch : tokens decoded at once in a prefill
    n_gpu_layers : layers offloaded to a GPU; -1 is all
    type_k, type_v : number formats of the KV cache: "f32", "f16", "bf16" or "q8_0"
    """

    n_ctx: int
    n_threads: int
    n_batch: int = 512
    n_gpu_layers: int = 0
    type_k: str = "f16"
    type_v: str = "f16"


@dataclass(frozen=True)
class Request:
    """What a run of `Engine.generate` is asked for.

    Attributes
    ----------
    sampler : how tokens are chosen; has a seed
    n : tokens at most
    k : alternatives to record
    stop : strings that end the run when the generated text holds one
    begun : the end of what an earlier run generated, where a stop string may have begun
    left_out : tokens of the text that the branch does not hold; they count in the positions of the records, and so
        for the dice
    watch : sets of tokens whose probability each record is to have: it is a `WatchedRecord` then
    mu : mirostat's state before the first token, bits, as `dice.mu_of` folds it; its beginning when None
    said : tokens behind the prompt so far, for the sampler's grammar, as `dice.said_of` finds them
    """

    sampler: Sampler
    n: int
    k: int = 20
    stop: tuple[str, ...] = ()
    begun: bytes = b""
    left_out: int = 0
    watch: Watch = ()
    mu: float | None = None
    said: tuple[int, ...] = ()


@dataclass(frozen=True)
class Holdings:
    """Who holds what of the KV cache. A cell holds a token's keys and values; branches may share it.

    Attributes
    ----------
    n_ctx : cells there are
    reserved : bytes of the whole cache
    branches : for each branch with cells, its stretches (number, first position, behind the last): equal numbers
        are the same cells, as far as both reach
    """

    n_ctx: int
    reserved: int
    branches: Mapping[Branch, Sequence[tuple[int, int, int]]]

    def cells(self, branches: Iterable[Branch] | None = None) -> int:
        """Cells that these branches hold (all branches when None); what they share counts once."""
        longest: dict[int, int] = {}
        for branch in self.branches if branches is None else branches:
            for number, start, stop in self.branches.get(branch, ()):
                longest[number] = max(longest.get(number, 0), stop - start)
        return sum(longest.values())

    @property
    def used(self) -> int:
        """Bytes of the cells that somebody holds."""
        return self.reserved * self.cells() // self.n_ctx


class Engine(Protocol):
    """Runs one model. Every call may raise `EngineDiedError`."""

    def tokenize(self, text: str | bytes, *, special: bool) -> list[int]:
        """Token ids of `text`; bytes may begin or end inside a character.

        With `special`, as a prompt: BOS is added where the model wants it, and the text of a special token
        becomes that token.
        """

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """The tokens' own bytes; a token may be part of a character."""

    def branch(self, parent: Branch | None, keep: int) -> Branch:
        """A new branch that shares the first `keep` tokens of `parent`, and their KV cache."""

    def append(self, branch: Branch, ids: Sequence[int]) -> None:
        """Add tokens whose records are known already; they are decoded when something needs it."""

    def prefill(
        self, branch: Branch, ids: Sequence[int], *, k: int, watch: Watch = (), cancel: Cancel, progress: Progress
    ) -> Generator[StepRecord, None, Finish]:
        """Add tokens and score each; with `watch`, the records are `WatchedRecord`s."""

    def prefill_many(
        self,
        branches: Sequence[Branch],
        ids: Sequence[Sequence[int]],
        *,
        k: int,
        watch: Watch = (),
        cancel: Cancel,
        progress: Progress,
    ) -> Generator[tuple[int, StepRecord], None, list[Finish]]:
        """`prefill` of several branches, as many as fit in one batch: (index of the branch, record).

        Each branch's records come in order. What ended it is told for each.
        """

    def generate(
        self, branch: Branch, request: Request, *, cancel: Cancel, progress: Progress, processor: Processor | None
    ) -> Generator[StepRecord, None, Finish]:
        """Choose tokens one by one and add them."""

    def generate_many(
        self,
        branches: Sequence[Branch],
        requests: Sequence[Request],
        *,
        cancel: Cancel,
        progress: Progress,
        processor: Processor | None,
    ) -> Generator[tuple[int, StepRecord], None, list[Finish]]:
        """`generate` of several branches, a token of each in one batch: (index of the branch, record).

        Each branch's records come in order, and what ended it is told for each. Branches that do not fit into the
        cache together are run in turn. `ms` of a record is its share of the batch.
        """

    def rows(
        self, branch: Branch, ids: Sequence[int], wanted: Iterable[int], *, cancel: Cancel
    ) -> Generator[tuple[int, Floats], None, Finish]:
        """Add tokens, in batches; (index, raw row float32 [n_vocab] that predicts it) for those `wanted`, in order.

        Indices are those of `ids`.
        """

    def logits(self, branch: Branch, at: int) -> Floats:
        """The raw row, float32 [n_vocab], that predicts the token at position `at`."""

    def allowed(
        self, grammar: str | Mapping[str, Any], said: Sequence[int], ids: Ids | None = None, *, first: int = 0
    ) -> NDArray[np.bool_]:
        """For each of `ids` (of the vocabulary when None), whether a grammar allows it behind `said`.

        Parameters
        ----------
        grammar : as `Sampler.grammar`
        said : token ids of all that the grammar holds for
        ids : int32 [n]
        first : position of the first of `said`, for errors

        Raises
        ------
        GrammarError
            If the grammar is no good, or `said` does not fit it.
        """

    def drop(self, branch: Branch) -> None:
        """Forget a branch; what others share of it stays."""

    def holdings(self) -> Holdings:
        """Who holds what of the KV cache now; answered at once, whatever is being decoded."""

    def close(self) -> None:
        """Free everything."""
