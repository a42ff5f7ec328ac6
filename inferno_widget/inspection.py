"""What went on inside the model while it read a text: attention, residual stream, logit lens, attribution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray

from .arguments import count, function, index, predicted, several, token_id, whole
from .attention import HeadStatistics, statistics
from .engine import unheard
from .engine.inside import LENS, Asked, Look
from .engine.inside import What as Tensor
from .engine.stop import Stop, interruptible
from .errors import brief, check_text
from .record import Floats, Ids
from .spelling import Speller
from .window import Window

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .inside import Inside
    from .plot import InspectionPlot

What = Literal["attention", "residual", "lens", "mlp", "attn_out", "heads"]
"""What can be looked at; see `Inspection`."""
Positions = int | slice | range | None
"""Tokens of the current path: one, counted from the end where negative, or several; all when None."""
Telling = Callable[[float], object]
"""Told the finished fraction, 0 to 1; answers False to end the work, which raises `Cancelled`."""


class Ended:
    """Progress that is told to somebody who may also end the work in between, by setting `cancel`."""

    def __init__(self, tell: Telling = lambda _: None) -> None:
        self._tell, self.cancel = tell, Stop()

    def __call__(self, fraction: float) -> object:
        return self._tell(fraction)


MOST_LAYERS = 10_000
WHATS: tuple[What, ...] = get_args(What)
LIMIT = 1 << 30
"""Bytes that an inspection may take unless it is told otherwise."""


@dataclass(frozen=True, repr=False)
class Lens:
    """What the model would say if it stopped behind a layer: the last norm and the output matrix on its stream.

    A layer's row is the distribution of the token that follows a position. The last layer's is the model's own.

    Attributes
    ----------
    layers : int32 [layer]
    positions : int32 [position], of the tokens that were read
    top_ids, top_logprobs : int32 and float32 [layer, position, k], the most likely first, nats
    top_texts : their texts, in the same nesting
    entropy : float32 [layer, position], nats
    kl : float32 [layer, position], KL(final || layer), nats: what is lost by stopping there
    answer : int32 [position], the most likely token in the end
    rank, logprob : int32 and float32 [layer, position], of that token
    token_rank, token_logprob : the same of the token that came; 0 and NaN where none has yet
    """

    layers: Ids
    positions: Ids
    top_ids: NDArray[np.int32]
    top_logprobs: Floats
    top_texts: list[list[list[str]]]
    entropy: Floats
    kl: Floats
    answer: Ids
    rank: NDArray[np.int32]
    logprob: Floats
    token_rank: NDArray[np.int32]
    token_logprob: Floats

    def __repr__(self) -> str:
        k = self.top_ids.shape[-1]
        return f"<Lens {len(self.layers)} layers x {len(self.positions)} positions, {k} tokens each>"

    @property
    def decided(self) -> Ids:
        """int32 [position], the first layer from which on the final answer stays the most likely token.

        -1 where another token is the most likely behind the last layer that was looked at.
        """
        order = np.argsort(self.layers)
        stays = np.array(self.rank[order[::-1]] == 1).cumprod(axis=0).sum(axis=0)
        decided: Ids = np.append(self.layers[order], np.int32(-1))[len(order) - stays]
        return decided

    def plot(self, **options: Any) -> go.Figure:
        """The figure; see `figures.lens`."""
        from .figures import lens

        return lens(self, **options)

    def at(self, position: int) -> str:
        """The lines of one position: each layer's most likely token, its probability, entropy and KL."""
        found = np.flatnonzero(self.positions == index("position", position))
        if not len(found):
            raise IndexError(f"position {brief(position)} was not looked at")
        at = int(found[0])
        rows = zip(self.layers, self.top_texts, self.top_logprobs, self.entropy, self.kl, self.rank, strict=True)
        return "\n".join(
            f"{layer:4}  {texts[at][0]!r:16} {100 * np.exp(logprobs[at, 0]):5.1f} %  entropy {entropy[at]:5.2f}  "
            f"KL {kl[at]:6.3f}  rank of the answer {rank[at]}"
            for layer, texts, logprobs, entropy, kl, rank in rows
        )


@dataclass(frozen=True, repr=False)
class Attribution:
    """Who added how much to a token's logit: a direct logit attribution.

    Each contribution to the residual stream is read as the model reads the whole stream in the end, with the last norm
    *linearised*: divided by the size that the whole stream has there. What a block adds by way of later blocks is
    counted as theirs. The parts sum to `logit`.

    Attributes
    ----------
    position : of the last token that was read
    token, text : whose logit it is
    attn_out, mlp : float32 [layer], logits that each block's attention and MLP added
    start : that was there before the first block: the embedding
    added : that interventions on the stream added
    bias : of the last norm or of the output
    logit : all together: the model's own logit, before it is capped softly, where it is
    """

    position: int
    token: int
    text: str
    attn_out: Floats
    mlp: Floats
    start: float
    added: float
    bias: float
    logit: float

    def __repr__(self) -> str:
        head = f"<Attribution of {self.text!r} behind position {self.position}: logit {self.logit:.2f}>"
        lines = [f"start {self.start:8.3f}"]
        rows = enumerate(zip(self.attn_out.tolist(), self.mlp.tolist(), strict=True))
        lines += [f"{layer:5} {attention:8.3f} attention  {mlp:8.3f} MLP" for layer, (attention, mlp) in rows]
        return "\n".join([head, *lines])

    def plot(self, **options: Any) -> go.Figure:
        """The figure; see `figures.attribution`."""
        from .figures import attribution

        return attribution(self, **options)


@dataclass(frozen=True, repr=False)
class Inspection:
    """What went on inside while some tokens of a text were read. What was not asked for raises AttributeError.

    Attributes
    ----------
    what : what was asked for
    layers : int32 [layer], the blocks
    positions : int32 [query], of the tokens that were read, on the path
    keys : int32 [key], of the tokens that they could look at
    ids, texts : int32 [key] and as many str, of the keys
    """

    what: tuple[What, ...]
    layers: Ids
    positions: Ids
    keys: Ids
    ids: Ids
    texts: list[str]
    arrays: Mapping[str, NDArray[Any]]
    lenses: Lens | None = None

    def __repr__(self) -> str:
        where = f"{len(self.layers)} layers x {len(self.positions)} positions"
        return f"<Inspection {where}: {', '.join(self.what)}; {self.nbytes / 2**20:.1f} MiB>"

    @property
    def attention(self) -> Floats:
        """[layer, head, query, key], weights; a row sums to 1, or to less where a model has attention sinks (gpt-oss).

        Zero where a key comes later, or is out of a window.
        """
        return self._array("attention")

    @property
    def residual(self) -> Floats:
        """[layer, position, n_embd], the stream behind each block."""
        return self._array("residual")

    @property
    def heads(self) -> Floats:
        """[layer, head, position, head_size], what each head read, before the output matrix mixes the heads."""
        return self._array("heads")

    @property
    def attn_out(self) -> Floats:
        """[layer, position, n_embd], what attention added to the stream (behind a norm, where there is one)."""
        return self._array("attn_out")

    @property
    def mlp(self) -> Floats:
        """[layer, position, n_embd], what the MLP added to the stream (behind a norm, where there is one)."""
        return self._array("mlp")

    @property
    def head_statistics(self) -> HeadStatistics:
        """What each head looks at, in numbers, float64 [layer, head]; `attention` has them one by one."""
        return statistics(self.attention, self.ids.tolist(), np.searchsorted(self.keys, self.positions))

    @property
    def lens(self) -> Lens:
        """What the model would say behind each layer."""
        if self.lenses is None:
            raise self._missing("lens")
        return self.lenses

    @property
    def plot(self) -> InspectionPlot:
        """Figures: ``inspection.plot.attention(layer, head)``."""
        from .plot import InspectionPlot

        return InspectionPlot(self)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def _array(self, name: What) -> Floats:
        if name not in self.arrays:
            raise self._missing(name)
        return self.arrays[name]

    def _missing(self, name: What) -> AttributeError:
        return AttributeError(f'{name} was not asked for, only {", ".join(self.what)}: inspect(..., what=("{name}",))')


def inspect(
    session: Inside,
    at: Positions,
    what: What | Sequence[What],
    layers: int | Sequence[int] | None,
    *,
    k: int,
    limit: int,
    progress: Telling | None,
) -> Inspection:
    """`Session.inspect`."""
    k, limit = count("k", k), count("limit", limit, 1 << 60)
    names, chosen = whats(what), None if layers is None else layer_numbers(layers)
    sight = session.sight()
    rows = _rows(sight.seen, at, len(sight.path))
    ids = sight.path[sight.seen]
    following = np.append(ids[1:], -1)[rows]
    asked = Asked(cast("tuple[Tensor, ...]", tuple(name for name in names if name != "lens")), chosen, limit)
    text = ids[: rows[-1] + 1].tolist()
    look = Look(text, rows.tolist(), asked, k if "lens" in names else 0, following.tolist(), sight.window)
    with working(progress) as (cancel, tell):
        arrays = session.taps.inspect(look, cancel=cancel, progress=tell)
    return inspection_of(session, sight, names, chosen, rows, arrays)


class Predicted(NamedTuple):
    """A place on the path whose token is predicted.

    Attributes
    ----------
    at : its position
    ids : of the tokens that the model sees before it
    came : the token there; None behind the path
    window : what `ids` are of the path
    """

    at: int
    ids: list[int]
    came: int | None
    window: Window

    def token(self, session: Inside, wanted: str | int | None) -> int:
        """The token that is wanted; the one that came, or else the most likely one, where none is."""
        if wanted is not None:
            return _token(session, wanted)
        if self.came is not None:
            return self.came
        look = Look(self.ids, [len(self.ids) - 1], Asked((), (0,)), 1, window=self.window)
        found = session.taps.inspect(look, cancel=Stop(), progress=unheard)
        return int(found[LENS + "answer"][0])


def predicted_at(session: Inside, at: int | None) -> Predicted:
    """The place at position `at` of the path; the one behind it when None."""
    sight = session.sight()
    length, seen, ids = len(sight.path), sight.seen, sight.path
    at = length if at is None else predicted("at", at, length)
    row = int(_rows(seen, at - 1, length)[0])
    came = int(ids[at]) if at < length else None
    return Predicted(at, ids[seen[: row + 1]].tolist(), came, sight.window)


def attribution(session: Inside, at: int | None, token: str | int | None, progress: Telling | None) -> Attribution:
    """`Session.attribution`."""
    place = predicted_at(session, at)
    chosen = place.token(session, token)
    with working(progress) as (cancel, tell):
        found = session.taps.attribute(place.ids, chosen, place.window, cancel=cancel, progress=tell)
    numbers = {name: float(found[name][0]) for name in ("start", "added", "bias", "logit")}
    text = session.model.detokenize([chosen]).decode(errors="backslashreplace")
    return Attribution(place.at - 1, chosen, text, found["attn_out"], found["mlp"], **numbers)


def inspection_of(
    session: Inside,
    sight: Sight,
    what: tuple[What, ...],
    layers: Sequence[int] | None,
    rows: NDArray[np.int64],
    arrays: Mapping[str, NDArray[Any]],
) -> Inspection:
    """Arrays from the engine, of some of the tokens that the model sees, with what they are of."""
    seen = sight.seen
    chosen = range(session.model.info.n_layer) if layers is None else layers
    numbers, positions = np.array(chosen, np.int32), seen[rows].astype(np.int32)
    keys = seen[: rows[-1] + 1].astype(np.int32)
    lens = lens_of(session, arrays, numbers, positions) if "lens" in what else None
    kept = {name: array for name, array in arrays.items() if not name.startswith(LENS)}
    pieces = session.engine.pieces(sight.path.tolist())
    texts = list(map(Speller(session.model.control).spell, sight.path.tolist(), pieces))
    ids = sight.path[keys]
    return Inspection(what, numbers, positions, keys, ids, [texts[key] for key in keys], kept, lens)


def lens_of(session: Inside, arrays: Mapping[str, NDArray[Any]], layers: Ids, positions: Ids) -> Lens:
    """The lens among the arrays of an inspection."""
    said = {name.removeprefix(LENS): array for name, array in arrays.items() if name.startswith(LENS)}
    ids = np.unique(said["top_ids"]).tolist()
    pieces = session.engine.pieces(ids)
    text = {token: piece.decode(errors="backslashreplace") for token, piece in zip(ids, pieces, strict=True)}
    texts = [[[text[token] for token in row] for row in layer] for layer in said["top_ids"].tolist()]
    return Lens(layers, positions, top_texts=texts, **said)


def whats(what: object) -> tuple[What, ...]:
    """What is asked for, in the order of `WHATS`; ValueError names what is none of these."""
    names = [what] if isinstance(what, str) else several("what", what, f"of {', '.join(WHATS)}", 1, 100)
    for name in names:
        if not isinstance(name, str) or name not in WHATS:
            raise ValueError(f"what must be of {', '.join(WHATS)}, not {brief(name)}")
    return tuple(name for name in WHATS if name in names)


def layer_numbers(layers: int | Sequence[int]) -> tuple[int, ...]:
    """Numbers of blocks, as a tuple."""
    if not isinstance(layers, Iterable) or (isinstance(layers, np.ndarray) and not layers.ndim):
        return (whole("layers", layers, 0, MOST_LAYERS),)
    given = several("layers", layers, "numbers of blocks", 1, MOST_LAYERS)
    numbers = tuple(whole("layers", number, 0, MOST_LAYERS) for number in given)
    if len(set(numbers)) < len(numbers):
        twice = next(number for i, number in enumerate(numbers) if number in numbers[:i])
        raise ValueError(f"layers must name each block once, and {twice} comes twice")
    return numbers


class Sight(NamedTuple):
    """A path as it is at one moment: while it is looked at, another thread may go elsewhere.

    Attributes
    ----------
    path : its tokens
    window : what the model sees of them
    """

    path: Ids
    window: Window

    @property
    def seen(self) -> NDArray[np.int32]:
        """Positions of the path that the model sees."""
        return self.window.of(np.arange(len(self.path), dtype=np.int32))


def _rows(seen: NDArray[np.int32], at: Positions, length: int) -> NDArray[np.int64]:
    """Where the positions that are meant stand among those that the model sees."""
    if isinstance(at, int | np.integer) and not isinstance(at, bool):
        if not -length <= at < length:
            raise IndexError(f"at: there is no token at position {brief(at)} of {length:,}")
        meant = np.array([at % length])
    elif at is None or isinstance(at, slice):
        for bound in (at.start, at.stop, at.step) if at is not None else ():
            if bound is not None:
                index("at", bound)
        meant = np.arange(length)[slice(None) if at is None else at]
    elif isinstance(at, range):
        meant = np.sort(np.array(at, np.int64))
        if len(meant) and not 0 <= meant[0] <= meant[-1] < length:
            raise IndexError(f"the positions {at.start} to {at.stop - 1} are not all within the {length:,} of the text")
    else:
        raise TypeError(f"at must be a position, a slice or a range, not {brief(at)}")
    rows = np.searchsorted(seen, np.sort(meant))
    if not len(rows):
        raise ValueError("no position is meant")
    if not np.array_equal(seen[np.minimum(rows, len(seen) - 1)], np.sort(meant)):
        raise IndexError("some of these tokens were left out when the text slid: the model does not see them any more")
    return rows


def _token(session: Inside, token: str | int) -> int:
    if isinstance(token, str):
        check_text("token", token)
        return session.model.token(token)
    return token_id("token", token, session.model.info.n_vocab)


@contextmanager
def working(progress: Telling | None) -> Iterator[tuple[Stop, Callable[[float], None]]]:
    """A flag that Ctrl-C sets, or whoever is told the progress, and what tells him."""
    function("progress", progress)
    cancel = progress.cancel if isinstance(progress, Ended) else Stop()

    def tell(fraction: float) -> None:
        if progress and progress(fraction) is False:
            cancel.set()

    with interruptible(cancel):
        yield cancel, tell
