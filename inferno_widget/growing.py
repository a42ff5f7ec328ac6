"""A text that grows: what the engine says of it goes into its trace."""

from __future__ import annotations

import platform
import textwrap
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from importlib.metadata import version
from threading import Condition, RLock, Thread
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import __version__
from .arguments import token_ids, whole
from .branches import Branches
from .dice import mu_of, said_of
from .engine import Branch, Finish, Processor, Request, Watch
from .engine.client import EngineClient
from .engine.stop import Stop
from .errors import ContextFullError, InfernoError, brief, check_text, counted
from .forks import tell
from .record import Ids, Kind, StepRecord
from .sampling import Sampler
from .settings import OnFull, Settings, check_settings
from .spelling import Speller
from .trace import Trace, interventions_of
from .window import Window

if TYPE_CHECKING:
    from .interventions import Intervention
    from .model import Model
    from .plot import Plot

State = Literal["ready", "prefill", "generating", "paused", "error", "closed"]


@dataclass
class Run:
    """What is to be done in one go.

    Attributes
    ----------
    left : tokens still to generate
    stop : strings that end it
    first : position of its first token; a stop string begins there or later
    cancel : ends it
    pausing : whether that is a pause
    sampler : what chooses; the session's when None
    replay : what `trace.runs` is to say of it, where it plays another again; then it goes along nodes that hold the
        same tokens already
    beginner, worker : the threads that asked for it and that does it, once it is begun
    """

    left: int
    stop: tuple[str, ...]
    first: int
    cancel: Stop = field(default_factory=partial(Stop, own=True))
    pausing: bool = False
    sampler: Sampler | None = None
    replay: dict[str, Any] | None = None
    beginner: Thread | None = None
    worker: Thread | None = None


class Growing(Settings):
    """What every session's text is made of, and how tokens join it; see `Session` for parameters and attributes."""

    def __init__(
        self,
        model: Model,
        prompt: str | Sequence[int] | Trace = "",
        sampler: Sampler | None = None,
        *,
        k: int = 20,
        logits_processor: Processor | None = None,
        on_full: OnFull = "stop",
        keep: int = 0,
    ) -> None:
        from .model import Model

        if not isinstance(model, Model):
            raise TypeError(f"model must be a loaded Model, not {brief(model)}")
        check_settings(model, sampler, k, logits_processor, on_full)
        self.model = model
        if isinstance(prompt, str):
            check_text("prompt", prompt)
        if isinstance(prompt, Trace):
            self.trace, sampler = _continued(prompt, model), sampler or _last_sampler(prompt)
            prompt = _prompt_of(self.trace)
        else:
            self.trace = Trace(whole("k", k), model=model.card, control=model.control)
        self.prompt_ids = model.tokenize(prompt) if isinstance(prompt, str) else token_ids(prompt, model.info.n_vocab)
        if not self.prompt_ids:
            raise ValueError("the prompt is empty, and this model has no token to begin with: give it some text")
        self._prompt = prompt if isinstance(prompt, str) else _text(model, self.prompt_ids)
        self._unscored = [] if self.trace.length else list(self.prompt_ids)
        self.sampler = sampler or Sampler()
        self.logits_processor = logits_processor
        self.on_full = on_full
        self.keep = keep
        self.name = textwrap.shorten(self.prompt, 40, placeholder="…") or "no prompt"
        self.started = time.time()
        self.state: State = "ready"
        self.finish: Finish | None = None
        self.error: BaseException | None = None
        self.progress: float | None = None
        self._changed = Condition()
        self._changing = RLock()  # held by whoever changes the path, and by whoever begins a run: before `_changed`
        self._listeners: list[Callable[[], None]] = []
        self._deaf: Exception | None = None
        self.engine: EngineClient = model.engine
        self.interventions: tuple[Intervention, ...] = ()
        self._branches = Branches(model.engine, self.trace)
        tell(self)

    def __repr__(self) -> str:
        return f"<Session {self.model.info.name!r}, {counted(self.trace.length, 'token')}, {self.state}>"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            "a session cannot be copied, pickled or sent to another process: send session.trace, and go on with it by "
            "model.session(trace) where the model is loaded"
        )

    @property
    def prompt(self) -> str:
        """What it began with, as text; another one needs another session."""
        return self._prompt

    @property
    def k(self) -> int:
        """Alternatives that are recorded for each token."""
        return self.trace.k

    @property
    def text(self) -> str:
        """Prompt and what followed, as far as characters are whole."""
        return self.trace.text

    @property
    def path_ids(self) -> Ids:
        """int32, the tokens of the path, of a prompt that is not scored yet too."""
        return np.array(self.prompt_ids, np.int32) if self._unscored else self.trace.column("token_id")

    @property
    def path_texts(self) -> list[str]:
        """Texts of these tokens; see `Trace.texts`."""
        if not self._unscored:
            return self.trace.texts(self.trace.path())
        return list(map(Speller(self.model.control).spell, self.prompt_ids, self.engine.pieces(self.prompt_ids)))

    @property
    def held_tokens(self) -> int:
        """Tokens that this session has in the KV cache now; what its branches share counts once."""
        return self._branches.cells()

    @property
    def plot(self) -> Plot:
        """Figures of the trace: ``session.plot.surprisal()``."""
        return self.trace.plot

    def forked(self) -> None:
        """See `forks.Forkable`."""
        self._changed, self._changing = Condition(), RLock()
        self._branches.forked()

    # --- what a run does ------------------------------------------------------------------------------------

    def _advance(self, run: Run) -> Finish:
        if self._unscored:
            finish = self._read_prompt(run)
            if finish == "cancelled" or not run.left:
                return finish
            self._set("generating", None)
        return self._go_on(run)

    def _go_on(self, run: Run) -> Finish:
        """Generate what is left of a run, in as many windows as that takes."""
        while True:
            window = self._window()
            if window is None:
                return "context"
            finish = self._generate(run, window)
            if finish != "context":
                return finish

    def _read_prompt(self, run: Run) -> Finish:
        """Score the prompt, or what is left of it."""
        window, engine = Window(), self.engine
        branch = self._branches.at_head(window, cancel=run.cancel, progress=self._report)
        if len(self.prompt_ids) > engine.n_ctx:
            raise ContextFullError(
                f"the prompt's {len(self.prompt_ids):,} tokens do not fit into a context of {engine.n_ctx:,}, and a "
                'prompt is read whole, also with on_full="slide"; shorten it or load the model with a larger n_ctx'
            )
        self._note_settings(window)
        scoring = engine.prefill(
            branch, self._unscored, k=self.k, watch=self._watch, cancel=run.cancel, progress=self._report
        )
        try:
            return self._record(branch, window, scoring)
        finally:
            self._unscored = self.prompt_ids[self.trace.length :]

    def _window(self) -> Window | None:
        """What the model may see of the path and predict a token behind it; None where `on_full` says to stop."""
        now, length, n_ctx = self.trace.window(), self.trace.length, self.engine.n_ctx
        if now.size(length) < n_ctx:
            return now
        if self.on_full == "error":
            raise self._full()
        return Window.slid(length, self.keep, n_ctx) if self.on_full == "slide" else None

    def _generate(self, run: Run, window: Window) -> Finish:
        """Generate as far as there is room in `window`."""
        branch = self._branches.at_head(window, cancel=run.cancel, progress=self._report)
        sampler = run.sampler or self.sampler
        number = self._note_settings(window, sampler, run.replay)
        begun = b"".join(self.trace.pieces[int(token)] for token in self.trace.column("token_id")[run.first :])
        mu = mu_of(self.trace, sampler, run=number) if sampler.mirostat_mode else None
        said = tuple(said_of(self.trace)) if sampler.grammar is not None else ()
        steps = self.engine.generate(
            branch,
            Request(sampler, run.left, self.k, run.stop, begun, window.left_out, self._watch, mu, said),
            cancel=run.cancel,
            progress=self._report,
            processor=self.logits_processor,
        )
        return self._record(branch, window, steps, run)

    def _record(
        self, branch: Branch, window: Window, steps: Generator[StepRecord, None, Finish], run: Run | None = None
    ) -> Finish:
        with closing(steps):
            while True:
                try:
                    record = next(steps)
                except StopIteration as end:
                    finish: Finish = end.value
                    return finish
                node = self._joined(record) if run and run.replay else self._add(record)
                self._branches.grown(branch, node, window)
                if run:
                    run.left -= 1

    def _joined(self, record: StepRecord) -> int:
        """The node behind the head where this token was chosen already, else a new one; the head is there then."""
        rows = self.trace.nodes
        for node in self.trace.children(self.trace.head).tolist():
            row = rows[node]
            same = (row["token_id"], row["kind"], row["left_out"]) == (record.token_id, record.kind, record.left_out)
            if same and self.recorded_alike(int(node)):
                with self._changed:
                    self.trace.goto(node)
                    self._notify()
                return int(node)
        return self._add(record)

    def _add(self, record: StepRecord) -> int:
        ids = [record.token_id, *record.top_ids.tolist()]
        pieces = dict(zip(ids, self.engine.pieces(ids), strict=True))
        with self._changed:
            node = self.trace.append(record, pieces)
            self._notify()
        return node

    # --- what `trace.runs` says of it -------------------------------------------------------------------------

    def _note_settings(
        self, window: Window, sampler: Sampler | None = None, replay: dict[str, Any] | None = None
    ) -> int:
        """Begin a row of `trace.runs`, unless the latest has the same settings: a thousand steps are one run.

        Returns its number.
        """
        keep = window.keep if window.left_out else self.keep
        card, runs = {**self._card(sampler or self.sampler), "on_full": self.on_full, "keep": keep}, self.trace.runs
        if replay:
            card["replay"] = replay
        if not runs or runs[-1] | {"started": card["started"]} != card:
            runs.append(card)
        return len(runs) - 1

    def _card(self, sampler: Sampler) -> dict[str, Any]:
        return {
            "sampler": sampler.to_dict(),
            "started": time.time(),
            "versions": _versions(),
            **asdict(self.model.options),
            "n_ctx": self.engine.n_ctx,  # as llama.cpp rounded it
            **({"logits_processor": True} if self.logits_processor else {}),
            **self._changes(),
        }

    def _changes(self) -> dict[str, Any]:
        """What `trace.runs` says of the interventions in force; nothing where there are none."""
        return {"interventions": self.in_force} if self.interventions else {}

    def _note_changes(self, window: Window) -> None:
        """Begin a row of `trace.runs` for a token that nobody generated, where the latest says otherwise."""
        latest = self.trace.runs[-1].get("interventions", []) if self.trace.runs else []
        if window.left_out or latest != self.in_force:
            self._note_settings(window)

    def recorded_alike(self, node: int) -> bool:
        """Whether a node was recorded under the interventions that are in force now."""
        return bool(interventions_of(self.trace, node) == self.in_force)

    @property
    def in_force(self) -> list[dict[str, Any]]:
        """The interventions in force, as `trace.runs` keeps them."""
        return [each.to_dict() for each in self.interventions]

    # --- beside the path ------------------------------------------------------------------------------------

    def beside(self, node: int, window: Window) -> Branch:
        """A branch of the engine, for whoever looks at what might come behind `node`; he lets go of it."""
        return self._branches.beside(node, window, cancel=Stop(), progress=self._report)

    def let_go(self, branches: Sequence[Branch]) -> None:
        """Drop branches that `beside` made, or copies of them."""
        self._branches.let_go(branches)

    def room(self) -> Window:
        """What the model sees of the path when it predicts what follows. Raises ContextFullError when it is full."""
        window = self._window()
        if window is None:
            raise self._full()
        return window

    @property
    def _watch(self) -> Watch:
        return tuple(self.trace.watches.values())

    def _full(self) -> ContextFullError:
        return ContextFullError(
            f"the context of {self.engine.n_ctx:,} tokens is full; load the model with a larger n_ctx, or go on "
            'with on_full="slide"'
        )

    # --- who is told ----------------------------------------------------------------------------------------

    def observe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change, from whichever thread made it; it must only take note.

        One that fails is not called again; whoever waits for a run next is told. Returns a function that ends this.
        """
        if not callable(listener):
            raise TypeError(f"listener must be a function, not {brief(listener)}")
        self._listeners.append(listener)
        return partial(self._unobserve, listener)

    def _unobserve(self, listener: Callable[[], None]) -> None:
        with suppress(ValueError):  # it failed, and is none any more
            self._listeners.remove(listener)

    def _report(self, fraction: float) -> None:
        with self._changed:
            self.progress = fraction if fraction < 1 else None
            self._notify()

    def _set(self, state: State, finish: Finish | None, error: BaseException | None = None) -> None:
        with self._changed:
            if self.state == "closed":  # whatever another thread had under way
                return
            self.finish, self.error, self.progress = finish, error, None
            self.state = state  # the last: who sees it sees the rest too
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        for listener in tuple(self._listeners):
            try:
                listener()
            except Exception as error:  # noqa: BLE001  nobody's listener may end a run, or leave it half begun
                self._unobserve(listener)
                self._deaf = error


@cache
def _versions() -> dict[str, str]:
    installed = {name: version(name) for name in ("llama-cpp-python", "numpy")}
    return {
        "inferno_widget": __version__,
        **installed,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _continued(trace: Trace, model: Model) -> Trace:
    """A copy of `trace` for `model` to go on with."""
    if not len(trace.nodes):
        raise InfernoError("the trace is empty: there is nothing to go on with")
    made_by = trace.model.get("fingerprint")
    if made_by != model.card["fingerprint"]:
        raise InfernoError(
            f"the trace was made by {trace.model.get('name', 'a model')} ({trace.model.get('file', 'no file')}), and "
            f"{model.card['file']} holds another model: go on with the one that made it"
        )
    return trace.copy()


def _last_sampler(trace: Trace) -> Sampler | None:
    settings = trace.runs[-1].get("sampler") if trace.runs else None
    return Sampler.from_dict(settings) if settings else None


def _prompt_of(trace: Trace) -> list[int]:
    """Token ids of the prompt, as far as it was scored."""
    nodes = np.flatnonzero(trace.column("kind", tree=True) == Kind.PROMPT)
    if not len(nodes):
        raise InfernoError("the trace has no prompt: there is nothing to go on with")
    last = nodes[trace.column("position", tree=True)[nodes].argmax()]
    ids: list[int] = trace.column("token_id", tree=True)[trace.path(int(last))].tolist()
    return ids


def _text(model: Model, ids: Sequence[int]) -> str:
    return model.detokenize([token for token in ids if token not in model.control]).decode(errors="backslashreplace")
