"""What goes on inside the model, as the page shows it: attention, lens, attribution, what single heads do."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..arguments import count, one_of
from ..attention import rollout, statistics
from ..errors import Cancelled, EngineDiedError, InfernoError
from ..inspection import Ended
from ..jobs import Job
from .base import Answer, Base, alone
from .seen import Seen
from .words import strict, texts_of

if TYPE_CHECKING:
    from ..attention import HeadStatistics
    from ..causal import CausalMap
    from ..inspection import Attribution, Inspection, Lens, Positions, What
    from ..record import Floats
    from ..session import Session
    from ..trace import Trace

R = TypeVar("R")
Bytes = NDArray[np.uint8]

SMALL = 64
"""Rows and columns of a small map, at most."""
MOST = 1024
"""Tokens of a text whose maps are drawn: a layer of 16 heads is 64 MiB while it is looked at."""
AT_ONCE, TOGETHER = 16 << 20, 64 << 20
"""Bytes of attention up to which all layers are fetched for the sake of one, and bytes that are fetched together."""
OVER: dict[str, Callable[[Floats, int, int], Floats]] = {
    "one": lambda rows, layer, head: rows[layer, head],
    "mean": lambda rows, layer, _: rows[layer].mean(axis=0),
    "max": lambda rows, layer, _: rows[layer].max(axis=0),
    "all_mean": lambda rows, _, __: rows.mean(axis=(0, 1)),
    "all_max": lambda rows, _, __: rows.max(axis=(0, 1)),
}
"""What becomes of weights [layer, head, key], in the words of the page."""
ALL_LAYERS = ("all_mean", "all_max")


class Insides(Base):
    """Heads, attention, head_map, lens, attribution, causal_map."""

    @alone
    def heads(self, node: int, layer: int) -> Job[Answer]:
        """Small maps of all heads of a layer while the text up to a node was read, and what they look at: `Heads`."""

        def answer(view: View) -> Answer:
            maps = self._maps(view, layer)
            value = {
                "node": view.node,
                "layer": layer,
                "n_layer": view.session.model.info.n_layer,
                "n_head": len(maps.small),
                "length": view.length,
                "size": maps.small.shape[-1],
                "statistics": maps.statistics,
                "code": f'session.inspect({view.text}what="attention", layers={layer}).head_statistics',
            }
            return Answer(value, [maps.small.tobytes()])

        return self._view("heads", node, answer)

    @alone
    def attention(self, node: int, layer: int, head: int, over: str) -> Job[Answer]:
        """What the model looked at when it read a node's token (the newest for -1): `AttentionRow`."""
        one_of("over", over, (*OVER, "rollout"))

        def answer(view: View) -> Answer:
            if over == "rollout":
                row = self._through(view)[-1]
            else:
                rows, at = self._weights(view, layer, everything=over in ALL_LAYERS)
                check_head(rows, head)
                row = OVER[over](rows, at, head)
            value = {"node": view.node, "layer": layer, "head": head, "over": over, "length": view.length}
            code = attention_code(view, layer, head, over)
            return Answer({**value, "code": code}, [view.spread(row).astype("<f4").tobytes()])

        return self._view("attention", node, answer)

    @alone
    def head_map(self, node: int, layer: int, head: int) -> Job[Answer]:
        """One map whole: which tokens looked at which: `HeadMap`."""

        def answer(view: View) -> Answer:
            maps = self._maps(view, layer).whole
            check_head(maps[None], head)
            value = {"node": view.node, "layer": layer, "head": head, "length": view.length}
            code = f'session.inspect({view.text}what="attention", layers={layer}).plot.attention({layer}, {head})'
            return Answer({**value, "code": code}, [maps[head].tobytes()])

        return self._view("head_map", node, answer)

    @alone
    def lens(self, node: int, n: int, k: int) -> Job[Answer]:
        """What the model would say behind each layer, at the last `n` tokens read up to a node: `LensTable`."""
        n, k = count("n", n), count("k", k)

        def answer(view: View) -> Answer:
            start = max(view.first, view.length - n)
            following = view.trace.path()[view.length : view.length + 1].tolist()  # whose rank it tells
            return view.known(("lens", n, k, *following), lambda: lens_answer(view, start, k))

        return self._view("lens", node, answer)

    @alone
    def attribution(self, node: int) -> Job[dict[str, Any]]:
        """How much each layer's attention and MLP added to the logit of a node's token: `Attributed`."""

        def answer(view: View) -> dict[str, Any]:
            at = view.length - 1
            found = view.known(("attribution",), lambda: view.session.attribution(at, progress=view.ended))
            return {"node": view.node, **_attributed(found), "code": f"session.attribution({at})"}

        return self._view("attribution", node, answer)

    @alone
    def causal_map(self, node: int, last: bool) -> Job[dict[str, Any]]:
        """What the prediction of a node's token loses without each head, where a layer has any: `Causal`. Its parts
        are the same, layer by layer.

        Parameters
        ----------
        last : switch the heads off only while the last token before it is read
        """

        def answer(view: View) -> dict[str, Any]:
            at = view.length - 1
            found: dict[int, CausalMap] = {}
            lacking: InfernoError | None = None
            for layer in range(view.session.model.info.n_layer):
                if not view.job.wanted:
                    break
                try:
                    found[layer] = view.session.causal_map(at, layer, last=last, progress=view.ended)
                except Cancelled:
                    break
                except EngineDiedError:
                    raise
                except InfernoError as error:  # a layer may have no heads
                    lacking = error
                    continue
                view.job.tell(_causal(view, found, last))
            if lacking and not found:
                raise lacking
            return _causal(view, found, last)

        job = self._view("causal_map", node, answer)
        at = self._something().trace.length - 1 if node < 0 else self._position(node)
        self.code = f"session.causal_map({at}{', last=True' if last else ''})"
        return job

    # --- what they share ------------------------------------------------------------------------------------

    def _view(self, kind: str, node: int, answer: Callable[[View], R]) -> Job[R]:
        """Ask something of the text up to a node, beside the run, which has to rest."""
        session, opened = self._awake(), self._something()
        if opened.busy:
            raise InfernoError("the model is busy: pause the run to look inside")
        at = None if node < 0 else self._position(node)

        def work(job: Job[R]) -> R:
            return answer(View(self._looked, opened.id, session, at, job))

        return self._start_job(kind, work)

    def _maps(self, view: View, layer: int) -> Maps:
        """The maps of a layer; where the text is short, those of all layers are fetched with them."""
        info = view.session.model.info
        check_layer(layer, info.n_layer)
        if view.length > MOST:
            raise InfernoError(
                f"maps are drawn of texts of {MOST:,} tokens at most, and this one has {view.length:,} up to here: "
                "select an earlier token, or look at one row"
            )

        def fetch() -> Maps:
            size = info.n_layer * info.n_head * view.length**2 * 4
            seen = view.inspect(range(view.first, view.length), layer, alike=size <= AT_ONCE)
            keep = {int(each): maps_of(view, seen, i) for i, each in enumerate(seen.layers)}
            for each, maps in keep.items():
                view.keep(("maps", each), maps)
            return keep[layer]

        return view.known(("maps", layer), fetch)

    def _weights(self, view: View, layer: int, *, everything: bool) -> tuple[Floats, int]:
        """Weights [layer, head, key] of one token, and where the layer stands in them."""
        check_layer(layer, view.session.model.info.n_layer)
        at = view.length - 1
        seen: Inspection = view.known(("rows",), lambda: view.inspect(at, layer, alike=True))
        layers = seen.layers.tolist()
        if layer not in layers or (everything and len(layers) < view.session.model.info.n_layer):
            seen = view.session.inspect(at, "attention", None if everything else layer, progress=view.ended)
            layers = seen.layers.tolist()
        return seen.attention[:, :, 0], layers.index(layer)

    def _through(self, view: View) -> NDArray[np.float64]:
        """Attention rollout up to the last layer, [token, token] of what the model sees."""
        info = view.session.model.info
        if view.length > MOST or view.first:
            raise InfernoError(f"rollout follows whole texts of at most {MOST:,} tokens: look at single layers instead")

        def fetch() -> NDArray[np.float64]:
            n = max(1, TOGETHER // (info.n_head * view.length**2 * 4))
            means = []
            for start in range(0, info.n_layer, n):
                layers = range(start, min(start + n, info.n_layer))
                seen = view.session.inspect(slice(view.length), "attention", layers, progress=view.ended)
                means.append(seen.attention.mean(axis=1, keepdims=True))
            through: NDArray[np.float64] = rollout(np.concatenate(means))[-1]
            return through

        return view.known(("rollout",), fetch)


class Maps(NamedTuple):
    """All heads of a layer.

    Attributes
    ----------
    whole : uint8 [head, token, token], the square root of the weight times 255: little can be told from nothing
    small : uint8 [head, size, size], the largest of these in each cell
    statistics : by their names on the page, a number a head
    """

    whole: Bytes
    small: Bytes
    statistics: dict[str, list[float | None]]


class View:
    """A text as the model reads it up to one of its tokens, and what has been seen of its inside.

    Parameters
    ----------
    seen : what is kept
    number : of the run in the list
    session : whose path it is
    at : position of the last token; that of the newest when None
    job : which looks; when it is enough, the work ends in between

    Attributes
    ----------
    node, length : of that token, and how many there are up to it
    first : position from which on the model sees all tokens
    ended : the progress to hand on, by which the work ends early
    """

    def __init__(self, seen: Seen, number: int, session: Session, at: int | None, job: Job[Any]) -> None:
        trace = session.trace
        if not trace.length:
            raise InfernoError("nothing has been read yet: press Run")
        self.session, self.job, self._seen = session, job, seen
        self.length = trace.length if at is None else at + 1
        self.node = int(trace.node_at(self.length - 1))
        window = trace.window()
        self.first = window.keep + window.left_out if window.left_out else 0
        self._key = (number, self.node, window, session.interventions)
        self.ended = Ended()
        job.at_enough(self.ended.cancel.set)

    @property
    def trace(self) -> Trace:
        return self.session.trace

    @property
    def text(self) -> str:
        """The text as an argument in Python; empty where it is the whole path."""
        if self.length == self.trace.length and not self.first:
            return ""
        return f"slice({f'{self.first}, ' if self.first else ''}{self.length}), "

    def known(self, what: tuple[Hashable, ...], fetch: Callable[[], R]) -> R:
        """What was seen before, or else is now."""
        found: R | None = self._seen.get((*self._key, *what))
        if found is None:
            found = fetch()
            self.keep(what, found)
        return found

    def keep(self, what: tuple[Hashable, ...], found: object) -> None:
        self._seen.keep((*self._key, *what), found)

    def inspect(self, at: Positions, layer: int, *, alike: bool, what: What = "attention") -> Inspection:
        """A layer at some positions; all that have it alike, where `alike`."""
        if alike:
            try:
                return self.session.inspect(at, what, progress=self.ended)
            except Cancelled:
                raise
            except InfernoError:  # some layers have none, or have it otherwise
                pass
        return self.session.inspect(at, what, layer, progress=self.ended)

    def spread(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Weights over the tokens that the model sees as weights over all tokens of the text: [..., length]."""
        if weights.shape[-1] == self.length:
            return weights
        seen = self.session.sight().seen
        whole = np.zeros((*weights.shape[:-1], self.length), weights.dtype)
        whole[..., seen[seen < self.length]] = weights
        return whole


def maps_of(view: View, seen: Inspection, layer: int) -> Maps:
    """The maps of the layer that stands at a place in what was seen."""
    weights = seen.attention[layer]
    numbers = statistics(weights[None], seen.ids.tolist(), np.searchsorted(seen.keys, seen.positions))
    if weights.shape[1:] != (view.length, view.length):
        whole = np.zeros((len(weights), view.length, view.length), np.float32)
        whole[:, seen.positions] = view.spread(weights)
        weights = whole
    roots = np.rint(np.sqrt(weights) * 255).astype(np.uint8)
    return Maps(roots, pooled(roots), named(numbers))


def pooled(maps: Bytes) -> Bytes:
    """Maps [head, n, n] as [head, size, size] of the largest in each cell."""
    n = maps.shape[-1]
    size = min(n, SMALL)
    edges = np.arange(size) * n // size
    small: Bytes = np.maximum.reduceat(np.maximum.reduceat(maps, edges, axis=1), edges, axis=2)
    return small


def named(found: HeadStatistics) -> dict[str, list[float | None]]:
    """By their names on the page; None for NaN."""
    names = {"first": "first_token", "previous": "previous_token"}
    return {names.get(name, name): strict(values[0].tolist()) for name, values in found._asdict().items()}


def lens_answer(view: View, start: int, k: int) -> Answer:
    """`LensTable`."""
    found: Lens = view.session.inspect(range(start, view.length), "lens", k=k, progress=view.ended).lens
    trace, names = view.trace, texts_of(np.unique(found.top_ids).tolist(), view.trace, view.session.model)
    names |= texts_of(found.answer.tolist(), trace, view.session.model)
    numbers = [found.entropy, found.kl, found.rank, found.token_logprob, found.token_rank, found.logprob]
    given = f"range({start}, {view.length})" if start or view.length < trace.length else "None"
    value = {
        "layers": found.layers.tolist(),
        "positions": found.positions.tolist(),
        "nodes": trace.path(view.node)[found.positions].tolist(),
        "k": found.top_ids.shape[-1],
        "texts": {str(token): text for token, text in names.items()},
        "answer": found.answer.tolist(),
        "decided": found.decided.tolist(),
        "code": f'session.inspect({given}, "lens", k={k}).lens',
    }
    buffers = [
        found.top_ids.astype("<i4").tobytes(),
        found.top_logprobs.astype("<f4").tobytes(),
        np.stack(numbers).astype("<f4").tobytes(),
    ]
    return Answer(value, buffers)


def attention_code(view: View, layer: int, head: int, over: str) -> str:
    """What gives the same row in Python."""
    at, layers = view.length - 1, "" if over in (*ALL_LAYERS, "rollout") else f", {layer}"
    if over == "rollout":
        return f'attention.rollout(session.inspect({view.text}what="attention").attention)[-1, -1]'
    part = {
        "one": f"[0, {head}, 0]",
        "mean": "[0, :, 0].mean(0)",
        "max": "[0, :, 0].max(0)",
        "all_mean": "[:, :, 0].mean((0, 1))",
        "all_max": "[:, :, 0].max((0, 1))",
    }[over]
    return f'session.inspect({at}, "attention"{layers}).attention{part}'


def check_layer(layer: int, n: int) -> None:
    """Raise InfernoError unless a model of `n` layers has this one."""
    if not 0 <= layer < n:
        raise InfernoError(f"there is no layer {layer}: this model has layers 0 to {n - 1}")


def check_head(rows: NDArray[Any], head: int) -> None:
    """Raise InfernoError unless [layer, head, ...] has such a head."""
    if not 0 <= head < rows.shape[1]:
        raise InfernoError(f"there is no head {head}: this layer has heads 0 to {rows.shape[1] - 1}")


def _attributed(found: Attribution) -> dict[str, Any]:
    return {
        "token": {"id": found.token, "text": found.text},
        "attn_out": found.attn_out.tolist(),
        "mlp": found.mlp.tolist(),
        **{name: getattr(found, name) for name in ("start", "added", "bias", "logit")},
    }


def _causal(view: View, found: dict[int, CausalMap], last: bool) -> dict[str, Any]:
    info = view.session.model.info
    token = int(view.trace.nodes["token_id"][view.node])
    untried: list[float | None] = [None] * info.n_head
    layers = list(range(info.n_layer))
    return {
        "node": view.node,
        "token": {"id": token, "text": texts_of([token], view.trace, view.session.model)[token]},
        "layers": layers,
        "kl": [strict(found[layer].kl[0].tolist()) if layer in found else untried for layer in layers],
        "change": [strict(found[layer].change[0].tolist()) if layer in found else untried for layer in layers],
        "last": last,
    }
