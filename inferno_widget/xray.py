"""One token's X-ray: what each stage of a sampler made of its prediction, from the record or from the whole row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from .dice import mu_of, said_of, sampler_of
from .errors import brief

if TYPE_CHECKING:
    from .dice import Rows
    from .sampling import Sampler, Vocabulary
    from .sampling.explain import Stage
    from .trace import Trace


class Xray(NamedTuple):
    """What each stage of a sampler made of one prediction.

    Attributes
    ----------
    node : of the token
    source : whether its record sufficed, or the whole row was fetched
    sampler : the settings that it was explained with
    recorded : whether those are the ones that the token's run had
    stages : the last is the draw
    """

    node: int
    source: Literal["record", "row"]
    sampler: Sampler
    recorded: bool
    stages: list[Stage]


def xray(trace: Trace, at: int | None, sampler: Sampler | None, top: int, *, vocabulary: Vocabulary, row: Rows) -> Xray:
    """`Session.explain`, with its arguments checked, and where it was read from.

    Parameters
    ----------
    trace, at, sampler, top : as there
    vocabulary : for the sampler's strings: an `Engine`, or the trace's own `dice.Pieces`
    row : gives the whole row where the record does not suffice
    """
    node = trace.node_at(-1 if at is None else at)
    record, run = trace.record(node), int(trace.nodes["run"][node])
    if not record.rank:
        raise ValueError(f"at must be that of a predicted token, not {brief(at)}: nothing predicts the first token")
    own = sampler_of(trace, run)
    chosen = sampler or own
    chosen = (chosen if chosen.seed is not None else replace(chosen, seed=own.seed)).bound(vocabulary)
    path, n_vocab = trace.path(node), trace.model.get("n_vocab")
    history = trace.window(node).of(trace.nodes["token_id"][path[:-1]]).tolist()
    mu = mu_of(trace, chosen, int(path[-2]), run) if chosen.mirostat_mode else None
    said = said_of(trace, int(path[-2])) if chosen.grammar is not None else ()
    stages = None
    if len(record.top_ids) >= min(top, n_vocab or top):
        stages = chosen.explain_stored(record, history, mu, said, n_vocab=n_vocab)
    if stages is not None:
        return Xray(node, "record", chosen, chosen == own, stages)
    stages = chosen.explain(row(record.position), history, record.position, mu, said, top=top)
    return Xray(node, "row", chosen, chosen == own, stages)
