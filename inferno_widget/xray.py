"""One token's X-ray: what each stage of a sampler made of its prediction, from the record or from the whole row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from .dice import mu_of, sampler_of

if TYPE_CHECKING:
    from .looking import Looking
    from .sampling import Sampler
    from .sampling.explain import Stage


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


def xray(session: Looking, at: int | None, sampler: Sampler | None, top: int) -> Xray:
    """`Session.explain`, with its arguments checked, and where it was read from."""
    trace = session.trace
    node = trace.node_at(-1 if at is None else at)
    record, run = trace.record(node), int(trace.nodes["run"][node])
    if not record.rank:
        raise ValueError("nothing predicts the first token: there is nothing to explain")
    own = sampler_of(trace, run)
    chosen = sampler or own
    if chosen.seed is None:
        chosen = replace(chosen, seed=own.seed)
    chosen = chosen.bound(session.model.engine)
    path = trace.path(node)
    history = trace.window(node).of(trace.nodes["token_id"][path[:-1]]).tolist()
    mu = mu_of(trace, chosen, int(path[-2]), run) if chosen.mirostat_mode else None
    stages = None
    if len(record.top_ids) >= min(top, session.model.info.n_vocab):
        stages = chosen.explain_stored(record, history, mu, n_vocab=session.model.info.n_vocab)
    if stages is not None:
        return Xray(node, "record", chosen, chosen == own, stages)
    row = session.row(record.position)
    return Xray(node, "row", chosen, chosen == own, chosen.explain(row, history, record.position, mu, top=top))
