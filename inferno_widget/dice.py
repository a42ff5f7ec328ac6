"""The same dice under other settings: where a run would have gone another way.

Every choice is recorded with its dice (seed and position) and with the most likely candidates, so that most of this can
be read off a trace, without the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arguments import function, several
from .errors import GrammarError, InfernoError, brief, check_keywords
from .record import Floats, Kind, StepRecord
from .sampling import Moment, Sampler, Vocabulary
from .sampling.stored import NeedsRow, decide

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .trace import Trace

MANY = 10_000
"""Values of a parameter that can be asked about at once."""
Rows = Callable[[int], Floats]
"""Position -> the raw row, float32 [n_vocab], that predicts the token there."""


class FirstChange(NamedTuple):
    """Where a run would first differ under one value of a parameter.

    Attributes
    ----------
    value : of the parameter
    at : position of the first token that certainly differs; None where none does
    token : what would come there; None where nothing differs
    unknown : positions before `at` (or anywhere, without one) of which the stored candidates prove nothing: the run may
        differ there already
    """

    value: Any
    at: int | None
    token: int | None
    unknown: tuple[int, ...]

    @property
    def certain(self) -> bool:
        """Whether `at` is the first difference, and not only the first that is proved."""
        return not self.unknown

    @property
    def earliest(self) -> int | None:
        """The first position that may differ; None where none can."""
        return self.unknown[0] if self.unknown else self.at


@dataclass(frozen=True, eq=False)
class WhatIf(Sequence[FirstChange]):
    """What `what_if` found, a value at a time.

    Attributes
    ----------
    parameter : of the sampler, by name
    changes : one a value, in the order in which they were given
    chosen : positions whose token was chosen by the sampler, int32 [n]
    current : the value that the run had; None where it had several
    """

    parameter: str
    changes: tuple[FirstChange, ...]
    chosen: NDArray[np.int32] = field(repr=False)
    current: Any = None

    def __getitem__(self, index: Any) -> Any:
        return self.changes[index]

    def __len__(self) -> int:
        return len(self.changes)

    @property
    def values(self) -> list[Any]:
        return [change.value for change in self.changes]

    @property
    def at(self) -> NDArray[np.int32]:
        """Position of the first proved difference a value, int32; -1 where there is none."""
        return np.array([-1 if c.at is None else c.at for c in self.changes], np.int32)

    @property
    def unknown(self) -> list[int]:
        """Positions that need the whole row for some value."""
        return sorted({position for change in self.changes for position in change.unknown})

    def __str__(self) -> str:
        return "\n".join(_sentence(self.parameter, change) for change in self.changes)

    def plot(self, **options: Any) -> go.Figure:
        """The figure; see `figures.what_if`."""
        from .figures import what_if as figure

        return figure(self, **options)


def what_if(
    trace: Trace,
    logits: Rows | None = None,
    *,
    node: int | None = None,
    vocabulary: Vocabulary | None = None,
    **parameter: Iterable[Any],
) -> WhatIf:
    """Where a run would first differ if one parameter had had another value, with the same dice.

    Up to its first difference a run under other settings sees the same text and gets the same predictions: so the
    stored ones answer, as far as they suffice. ``sampling.stored`` says when they do.

    Parameters
    ----------
    trace : the run; forced tokens and the prompt were not chosen and cannot differ
    logits : fetches a whole row where the stored candidates do not suffice; without it such positions are marked. With
        a branch of an engine that holds the text: ``lambda position: engine.logits(branch, position)``
    node : end of the path to look at; the head when None
    vocabulary : an `Engine`, as `Model.engine`, for DRY's sequence breakers; the trace's own pieces when None, which
        suffices for breakers of one byte
    **parameter : one parameter of `Sampler` and the values to try, as ``temperature=[0.2, 0.5, 1]``; all others stay as
        they were in each run

    Notes
    -----
    A run with a logits processor was chosen from other numbers than the recorded ones; what is said of one does not
    hold. Nor does it beyond rounding where `logits` computes a row anew: a draw at the very edge may fall elsewhere.
    """
    from .trace import Trace

    if not isinstance(trace, Trace):
        raise TypeError(f"trace must be a Trace, such as session.trace or Trace.load(path), not {brief(trace)}")
    if vocabulary is not None and not hasattr(vocabulary, "tokenize"):
        raise TypeError(f"vocabulary must be an Engine, such as model.engine, or None, not {brief(vocabulary)}")
    logits = function("logits", logits)
    name, values = one_parameter(parameter)
    path = trace.path(node)
    breakers = vocabulary or Pieces(trace.pieces)
    worlds = [World(_changed(name, value), breakers) for value in values]
    chosen, current = [], list[Any]()
    for step in steps(trace, path, logits):
        chosen.append(step.record.position)
        if (now := getattr(step.sampler, name)) not in current:
            current.append(now)
        for world in worlds:
            if world.at is None:
                world.see(step)
    changes = tuple(
        FirstChange(value, w.at, w.token, tuple(w.unknown)) for value, w in zip(values, worlds, strict=True)
    )
    return WhatIf(name, changes, np.array(chosen, np.int32), current[0] if len(current) == 1 else None)


def mu_of(trace: Trace, sampler: Sampler, node: int | None = None, run: int = -1) -> float:
    """Mirostat's state behind a node (the head when None): what `Sampler.choose` needs to go on there, bits.

    It is folded from the records: mu begins anew where the mirostat settings were others, forced tokens leave it as it
    is, and what is on other branches does not count. A run of a replay began where another had been under other
    settings, so that its records do not say how: its row of `trace.runs` does.

    Parameters
    ----------
    run : of the token to come, where it is known
    """
    rows, path, probabilities = trace.nodes, trace.path(node), list[float]()
    known: dict[int, tuple[float, ...]] = {}
    begun = mu_at_start(trace, run)
    if begun is not None and trace.runs[run]["replay"]["at"] == len(path):
        return begun
    for at in path[::-1]:
        row = rows[at]
        if row["kind"] != Kind.GENERATED:
            continue
        if probabilities and begun is not None and int(row["run"]) != run:
            break
        run = int(row["run"])
        begun = mu_at_start(trace, run)
        if run not in known:
            known[run] = _target(sampler_of(trace, run))
        if known[run] != _target(sampler):
            begun = None
            break
        probabilities.append(float(row["sampled_prob"]))
    return reduce(sampler.mu_next, reversed(probabilities), sampler.mu_after([]) if begun is None else begun)


def said_of(trace: Trace, node: int | None = None) -> list[int]:
    """Token ids behind the prompt, up to a node (the head when None): what a grammar goes by."""
    rows = trace.nodes[trace.path(node)]
    said: list[int] = rows["token_id"][behind_prompt(rows["kind"]) :].tolist()
    return said


def behind_prompt(kinds: NDArray[np.uint8]) -> int:
    """Position behind the last token of a path's prompt."""
    prompt = np.flatnonzero(kinds == Kind.PROMPT)
    return int(prompt[-1]) + 1 if len(prompt) else 0


def mu_at_start(trace: Trace, run: int) -> float | None:
    """Mirostat's state before the first token of a replay's run; None for any other run."""
    replay = trace.runs[run].get("replay") if 0 <= run < len(trace.runs) else None
    mu: float | None = replay.get("mu") if replay else None
    return mu


def sampler_of(trace: Trace, run: int) -> Sampler:
    """With which the tokens of a run were chosen. Raises InfernoError where the trace does not say."""
    settings = trace.runs[run].get("sampler") if 0 <= run < len(trace.runs) else None
    if not settings:
        raise InfernoError(f"the trace does not say with which sampler the tokens of run {run} were chosen")
    return Sampler.from_dict(settings)


def _target(s: Sampler) -> tuple[float, ...]:
    """The settings with which mu goes on; with others it begins anew."""
    return (s.mirostat_mode, s.mirostat_tau, s.mirostat_eta)


def _changed(name: str, value: Any) -> Callable[[Sampler], Sampler]:
    """What gives one parameter of a sampler another value."""
    changes: dict[str, Any] = {name: value}
    return lambda sampler: replace(sampler, **changes)


def one_parameter(parameter: Mapping[str, Iterable[Any]]) -> tuple[str, list[Any]]:
    """The one parameter of a sampler that is asked about, and its values."""
    check_keywords("Sampler", parameter, [f.name for f in fields(Sampler)])
    if len(parameter) != 1:
        raise TypeError("what_if needs one parameter and its values, as temperature=[0.2, 0.5, 1]")
    ((name, values),) = parameter.items()
    if name == "seed":
        raise ValueError("another seed is not the same dice: what_if asks about the other parameters")
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"what_if needs several values, in a list, as {name}=[{brief(values)}]")
    found = several(name, values, "values", most=MANY)
    for value in found:
        Sampler(**{name: value})  # raises where it cannot have that value
    return name, found


class Pieces:
    """The vocabulary as far as a trace knows it."""

    def __init__(self, pieces: Mapping[int, bytes]) -> None:
        self._pieces = pieces

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        return [self._pieces[token] for token in ids]

    def tokenize(self, text: str | bytes, *, special: bool) -> list[int]:  # noqa: ARG002  as the protocol has it
        raise ValueError(
            f"a breaker of DRY ends in {text!r}, and a trace cannot make tokens of that: pass vocabulary=model.engine"
        )


# --- one token at a time ------------------------------------------------------------------------------------


@dataclass
class Step:
    """A token that was chosen.

    Attributes
    ----------
    record : what was predicted
    history : token ids that the model saw
    run : its run's number
    sampler : its run's
    n_vocab : tokens there are; 0 where nobody knows
    processed : whether a logits processor changed what the sampler saw
    mu : mirostat's state, bits, where a replay began with this token; else None
    said : token ids behind the prompt
    elsewhere : whether it was predicted under other interventions than are asked about, so that its record says nothing
    """

    record: StepRecord
    history: list[int]
    run: int
    sampler: Sampler
    n_vocab: int
    processed: bool
    mu: float | None
    said: list[int]
    elsewhere: bool
    fetch: Rows | None
    _row: Floats | None = None

    def stored(self) -> StepRecord:
        """The record, where it tells the prediction that is asked about. Raises `NeedsRow` where it does not."""
        if self.elsewhere:
            raise NeedsRow
        return self.record

    def row(self) -> Floats:
        """The whole row. Raises `NeedsRow` where it cannot be had."""
        if self._row is None:
            if self.fetch is None:
                raise NeedsRow
            self._row = self.fetch(self.record.position)
        return self._row


def steps(
    trace: Trace,
    path: NDArray[np.int32],
    fetch: Rows | None,
    first: int = 0,
    interventions: Sequence[Mapping[str, Any]] | None = None,
) -> Iterator[Step]:
    """The tokens of a path that were chosen, from position `first` on; asked about under the interventions of each, or
    under these.
    """
    rows = trace.nodes[path]
    ids, samplers = rows["token_id"], dict[int, Sampler]()
    n_vocab, prompt = int(trace.model.get("n_vocab") or 0), behind_prompt(rows["kind"])
    for i in np.flatnonzero(rows["kind"] == Kind.GENERATED).tolist():
        if i < first:
            continue
        run = int(rows["run"][i])
        mu = mu_at_start(trace, run) if run not in samplers else None
        if run not in samplers:
            samplers[run] = sampler_of(trace, run)
        history = trace.window(int(path[i])).of(ids[:i]).tolist()
        processed = bool(trace.runs[run].get("logits_processor"))
        said = ids[prompt:i].tolist()
        elsewhere = interventions is not None and list(interventions) != (trace.runs[run].get("interventions") or [])
        record = trace.record(int(path[i]))
        yield Step(record, history, run, samplers[run], n_vocab, processed, mu, said, elsewhere, fetch)


class World:
    """A run as it would have been under other settings, as long as no token differs.

    Parameters
    ----------
    change : the sampler of a run -> the one to choose with instead
    vocabulary : for DRY's sequence breakers

    Attributes
    ----------
    at, token : the first difference that is proved
    mu : mirostat's state there, bits; NaN without mirostat
    unknown : positions before it of which nothing is proved
    """

    def __init__(self, change: Callable[[Sampler], Sampler], vocabulary: Vocabulary) -> None:
        self._change, self._vocabulary = change, vocabulary
        self.at: int | None = None
        self.token: int | None = None
        self.mu: float = math.nan
        self.unknown: list[int] = []
        self._samplers: dict[int, Sampler] = {}
        self._target: tuple[float, ...] | None = None
        self._mu: float | None = None
        self._apart = False  # whether mirostat's state may be another than the run's was

    def begin(self, sampler: Sampler, mu: float) -> None:
        """Begin in the midst of a text, where mirostat's state is `mu` already."""
        self._target, self._mu = _target(sampler), mu

    def see(self, step: Step) -> None:
        """Choose the token once more."""
        sampler = self._sampler(step)
        if _target(sampler) != self._target:
            self._target, self._mu = _target(sampler), sampler.mu_after([])
        same = sampler == step.sampler and not step.processed and not step.elsewhere
        if same and step.mu is not None and not self._apart:
            self._mu = step.mu
        if same and not (self._apart and sampler.mirostat_mode):
            self._follow(sampler, step.record.sampled_prob)
            return
        self._apart = True
        try:
            token, probability = self._choose(sampler, step)
        except (NeedsRow, GrammarError) as problem:
            if isinstance(problem, GrammarError) and not self.unknown:
                raise  # else another token may have come already, that fits
            self.unknown.append(step.record.position)
            self._mu = None
            return
        if token != step.record.token_id:
            self.at, self.token = step.record.position, token
            if sampler.mirostat_mode and self._mu is not None:
                self.mu = self._mu
        self._follow(sampler, probability)

    def _sampler(self, step: Step) -> Sampler:
        if step.run not in self._samplers:
            self._samplers[step.run] = self._change(step.sampler).bound(self._vocabulary)
        return self._samplers[step.run]

    def _choose(self, sampler: Sampler, step: Step) -> tuple[int, float | None]:
        record, mu = step.record, self._mu if sampler.mirostat_mode else math.nan
        if mu is None:
            raise NeedsRow
        try:
            now = Moment(step.history, record.position, step.n_vocab, mu, step.said)
            token, probability = decide(sampler, step.stored(), now)
            if probability is not None or not sampler.mirostat_mode:
                return token, probability
        except NeedsRow:
            pass
        if sampler.grammar is not None and sampler.allowed is None:
            raise NeedsRow  # and the model itself, which knows what the grammar allows
        choice = sampler.choose(step.row(), step.history, record.position, mu, step.said)
        return choice.token, choice.probability

    def _follow(self, sampler: Sampler, probability: float | None) -> None:
        """Keep mirostat's state."""
        if sampler.mirostat_mode:
            self._mu = None if self._mu is None or probability is None else sampler.mu_next(self._mu, probability)


def _sentence(name: str, change: FirstChange) -> str:
    said = f"{name} {change.value}: "
    if change.at is not None:
        said += f"another token at position {change.at:,}"
    else:
        said += "no token differs" if change.certain else "no difference is proved"
    if change.unknown:
        said += f"; {len(change.unknown):,} earlier predictions need the whole row, from position {change.unknown[0]:,}"
    return said
