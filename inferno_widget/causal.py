"""Which heads a prediction hangs on: each is switched off in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .arguments import flag, whole
from .inspection import Telling, layer_numbers, predicted_at, working
from .record import Floats, Ids

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .inside import Inside


@dataclass(frozen=True, repr=False)
class CausalMap:
    """What switching off each head does to the prediction of one token.

    Attributes
    ----------
    at : position of the token that is predicted
    token, text : the token that came there, or the most likely one behind the path
    layers : int32 [layer]
    kl : float32 [layer, head], KL(with || without the head) of the token's distribution, nats. NaN for heads that were
        not tried before it was ended
    change : float32 [layer, head], by how much the token's logprob changes without the head, nats
    last : whether the heads were off only while the last token before it was read, or for the whole text
    """

    at: int
    token: int
    text: str
    layers: Ids
    kl: Floats
    change: Floats
    last: bool

    def __repr__(self) -> str:
        tried = f"{int(np.isfinite(self.kl).sum())} of {self.kl.size} heads"
        lines = (
            f"layer {layer:3}  head {head:3}  KL {kl:7.4f}  {change:+7.3f} nats"
            for layer, head, kl, change in self.top()
        )
        return "\n".join([f"<CausalMap of {self.text!r} at {self.at}: {tried}>", *lines])

    def plot(self, **options: Any) -> go.Figure:
        """The figure; see `figures.causal_map`."""
        from .figures import causal_map as figure

        return figure(self, **options)

    def top(self, n: int = 8) -> list[tuple[int, int, float, float]]:
        """The `n` heads that it hangs on most: (layer, head, KL, change of the logprob)."""
        order = np.argsort(-np.nan_to_num(self.kl, nan=-1), axis=None, kind="stable")[: whole("n", n, 0)]
        places = [np.unravel_index(int(i), self.kl.shape) for i in order]
        return [
            (int(self.layers[at[0]]), int(at[1]), float(self.kl[at]), float(self.change[at]))
            for at in places
            if np.isfinite(self.kl[at])
        ]


def causal_map(
    session: Inside, at: int | None, layers: int | Sequence[int] | None, *, last: bool, progress: Telling | None
) -> CausalMap:
    """`Session.causal_map`."""
    last = flag("last", last)
    chosen = None if layers is None else layer_numbers(layers)
    place = predicted_at(session, at)
    token = place.token(session, None)
    with working(progress) as (cancel, tell):
        found = session.taps.causal_map(place.ids, chosen, token, place.window, last=last, cancel=cancel, progress=tell)
    numbers = np.arange(session.model.info.n_layer) if chosen is None else np.array(chosen)
    text = session.model.detokenize([token]).decode(errors="backslashreplace")
    return CausalMap(place.at, token, text, numbers.astype(np.int32), found["kl"], found["change"], last)
