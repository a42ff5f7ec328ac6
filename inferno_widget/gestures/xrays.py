"""The sampler's X-ray, in the words and numbers of the page."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..dice import Pieces, sampler_of
from ..errors import InfernoError
from ..jobs import Job
from ..xray import xray
from .base import Base, alone
from .words import strict, texts_of

if TYPE_CHECKING:
    from ..library import Opened
    from ..record import Floats
    from ..sampling import Sampler
    from ..sampling.explain import Draw, Part, Stage
    from ..trace import Trace

TOP = 20
"""Candidates that are listed of each part."""
ROWS = 4
"""Whole rows that are kept of a run: a slider that is moved asks for the same one again and again."""


class Xrays(Base):
    """Explain."""

    @alone
    def explain(self, node: int, settings: Mapping[str, Any] | None = None) -> Job[dict[str, Any]]:
        """What every stage of the sampler did at a node's token (the newest for -1): `Xray`.

        Parameters
        ----------
        settings : parameters of `Sampler` that are to be others than those it was chosen with
        """
        if not isinstance(settings, Mapping | None):
            raise TypeError(f"settings must be an object of sampler parameters or null, not {settings!r}")
        opened, trace = self._something(), self._something().trace
        at = self._position(node) if node >= 0 else trace.length - 1
        sampler = self._sampler(trace, trace.node_at(at), settings or {})
        called = self._marked()[1].replace("trace", "model.session(trace)")  # a recorded run has none yet
        code = f"{called}.explain(at={at}{f', sampler={sampler!r}' if settings else ''})"
        model = self._shown_model()
        vocabulary = model.engine if model else Pieces(trace.pieces)

        def work(_: Job[dict[str, Any]]) -> dict[str, Any]:
            found = xray(trace, at, sampler, TOP, vocabulary=vocabulary, row=lambda at: self._row(opened, at))
            texts = texts_of(_ids(found.stages), trace, model)
            return {
                "node": found.node,
                "source": found.source,
                "settings": replace(self.controls, sampler=found.sampler).to_dict(),
                "recorded": found.recorded,
                "stages": [_stage(stage, texts) for stage in found.stages],
                "code": code,
            }

        return self._start_job("explain", work)

    def _sampler(self, trace: Trace, node: int, settings: Mapping[str, Any]) -> Sampler:
        """The one that a token was chosen with, with other settings; the dice stay if they name none."""
        own = sampler_of(trace, int(trace.nodes["run"][node]))
        controls = replace(self.controls, sampler=own)
        for name, value in settings.items():
            controls = controls.with_(name, value)
        return controls.sampler if controls.sampler.seed is not None else replace(controls.sampler, seed=own.seed)

    def _row(self, opened: Opened, at: int) -> Floats:
        """The whole row at a position, which is computed once."""
        node = opened.trace.node_at(at)
        rows = self._rows.setdefault(opened, OrderedDict())
        if node not in rows:
            rows[node] = self._fetched(opened, at)
        rows.move_to_end(node)
        while len(rows) > ROWS:
            rows.popitem(last=False)
        return rows[node]

    def _fetched(self, opened: Opened, at: int) -> Floats:
        if opened.busy:
            raise InfernoError(
                "what was recorded does not say it: the whole row is needed, and the model is busy. Pause the run"
            )
        if not opened.session or opened.state == "closed":
            raise InfernoError(
                "what was recorded does not say it: the whole row is needed, which takes the model. Load "
                f"{opened.trace.model.get('name', 'it')}, and go on with this run"
            )
        return opened.session.recorded_row(at)


def _stage(stage: Stage, texts: Mapping[int, str]) -> dict[str, Any]:
    """`XrayStage`."""
    return {
        "name": stage.name,
        "rule": stage.rule,
        "parameters": strict(stage.parameters),
        "numbers": strict(stage.numbers),
        "before": _part(stage.before, texts),
        "after": _part(stage.after, texts),
        "removed": _part(stage.removed, texts, stage.reasons),
        "changed": [
            {
                "id": change.token,
                "text": texts[change.token],
                "before": strict(change.before),
                "after": strict(change.after),
                "reason": change.reason,
            }
            for change in stage.changed
        ],
        "draw": _draw(stage.draw, texts) if stage.draw else None,
    }


def _part(part: Part, texts: Mapping[int, str], reasons: Mapping[int, str] | None = None) -> dict[str, Any]:
    """`XrayPart`."""
    tokens = [
        {
            "id": token,
            "text": texts[token],
            "probability": probability,
            **({"reason": reasons[token]} if reasons and token in reasons else {}),
        }
        for token, probability in zip(part.ids.tolist(), part.probabilities.tolist(), strict=True)
    ]
    return {"tokens": tokens, "size": part.size, "rest": part.rest, "error": min(1.0, part.error)}


def _draw(draw: Draw, texts: Mapping[int, str]) -> dict[str, Any]:
    """`XrayDraw`."""
    ids, edges = draw.ids.tolist(), draw.edges.tolist()
    bar = [
        {"id": token, "text": texts[token], "from": low, "to": high}
        for token, low, high in zip(ids, edges[:-1], edges[1:], strict=True)
    ]
    return {
        "token": {"id": draw.token, "text": texts[draw.token]},
        "probability": draw.probability,
        "uniform": strict(draw.uniform),
        "bar": bar,
    }


def _ids(stages: list[Stage]) -> Iterator[int]:
    """Every token that is named."""
    for stage in stages:
        for part in (stage.before, stage.after, stage.removed):
            yield from part.ids.tolist()
        yield from (change.token for change in stage.changed)
        if stage.draw:
            yield from stage.draw.ids.tolist()
