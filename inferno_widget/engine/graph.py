"""What is where in the graph of a model: found by following it, whatever the architecture calls its tensors.

llama.cpp names a few tensors alike in every architecture: `l_out-N`, the residual stream behind block N, and
`kq_soft_max-N`, its attention. The rest is found from these: what a block adds to the stream stands in the additions
that lead to `l_out-N`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .ggml import Tensor, op

LOOKED_THROUGH = {"GET_ROWS", "VIEW", "RESHAPE", "CONT", "PERMUTE", "TRANSPOSE"}
"""What only takes rows out of a tensor, or gives it another form."""
RECURRENT = {"SSM_SCAN", "SSM_CONV", "RWKV_WKV6", "RWKV_WKV7", "GATED_LINEAR_ATTN", "GATED_DELTA_NET"}
_CACHE = re.compile(r"cache_k_l(\d+)")


@dataclass(frozen=True)
class Node:
    """A tensor of a graph that was evaluated.

    Attributes
    ----------
    index : when it is evaluated; -1 for weights and inputs
    address : where it was
    sources : addresses of what it is made from
    shape : as numpy has it
    number, params : the operation as ggml stores it
    """

    index: int
    address: int
    name: str
    op: str
    sources: tuple[int, ...]
    shape: tuple[int, ...]
    number: int = 0
    params: tuple[int, ...] = ()

    @classmethod
    def of(cls, index: int, address: int) -> Node:
        tensor = Tensor.at(address)
        return cls(
            index,
            address,
            tensor.name.decode(errors="replace"),
            op(tensor),
            tuple(tensor.sources),
            tensor.shape,
            tensor.op,
            tuple(tensor.op_params),
        )


@dataclass(frozen=True)
class Tap:
    """A tensor that can be read while the graph is evaluated: when it comes, and what it is called then."""

    index: int
    name: str


@dataclass(frozen=True)
class Layer:
    """What can be read of one block.

    Attributes
    ----------
    residual : the stream behind it, [position, n_embd]
    attention : weights, [head, query, cell]
    heads : what each head read, before the output matrix mixes them, [head, position, head_size]
    attn_out, mlp : what attention and the rest of the block added to the stream, [position, n_embd]
    cells : name of the input that says where the block keeps its keys
    n_head, head_size : of its attention
    recurrent : whether it has a state instead of a cache of keys
    """

    residual: Tap
    attention: Tap | None = None
    heads: Tap | None = None
    attn_out: Tap | None = None
    mlp: Tap | None = None
    cells: str = ""
    n_head: int = 0
    head_size: int = 0
    recurrent: bool = False

    def tap(self, what: str) -> Tap | None:
        """One of them by its name."""
        found: Tap | None = getattr(self, what)
        return found


@dataclass(frozen=True)
class Plan:
    """Where everything is.

    Attributes
    ----------
    layers : the blocks, in order
    stem : the residual stream before the first, or None where it was not found
    writes : name of an input that says where keys are kept -> the node that first uses it
    head : from the last residual stream to the logits: nodes in order; each has one source in the one before it
    n_nodes : evaluated in all
    """

    layers: list[Layer]
    stem: Tap | None
    writes: dict[str, Tap]
    head: list[Node] = field(default_factory=list)
    n_nodes: int = 0


class Graph:
    """The nodes of a graph, in the order in which they were evaluated."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self._at = {node.address: node for node in nodes}

    def __getitem__(self, address: int) -> Node:
        """A node, or the weight or input that is there."""
        return self._at.get(address) or Node.of(-1, address)

    def sources(self, node: Node) -> list[Node]:
        return [self[address] for address in node.sources]

    def named(self, name: str) -> Node | None:
        """The last node of that name."""
        return next((node for node in reversed(self.nodes) if node.name == name), None)

    def under(self, node: Node) -> Node:
        """The node itself, or what it takes its rows from."""
        while node.op in LOOKED_THROUGH and node.sources:
            node = self[node.sources[0]]
        return node

    def reaches(self, node: Node, goal: Node, without: Sequence[Node] = ()) -> bool:
        """Whether `node` is made from `goal` (or is it), by a way that does not go through any of `without`."""
        barred = {each.address for each in without}
        seen, waiting = set[int](), [node]
        while waiting:
            now = waiting.pop()
            if now.address == goal.address:
                return True
            if now.address in seen or now.address in barred or now.index < goal.index:
                continue
            seen.add(now.address)
            waiting += self.sources(now)
        return False


def plan(nodes: Sequence[Node]) -> Plan:
    """Where everything is in a graph."""
    graph = Graph(nodes)
    outs = sorted(
        ((int(node.name.removeprefix("l_out-")), node) for node in nodes if re.fullmatch(r"l_out-\d+", node.name)),
        key=lambda pair: pair[0],
    )
    writes = {name: Tap(node.index, node.name) for name, node in _writes(graph).items()}
    kept = dict(_caches(graph))
    layers, stem, before = [], None, -1
    for number, out in outs:
        layer, base = _layer(graph, number, out, kept, before)
        layers.append(layer)
        if number == 0 and base is not None and base.index >= 0:
            stem = Tap(base.index, base.name)
        before = out.index
    return Plan(layers, stem, writes, _head(graph, outs[-1][1]) if outs else [], len(nodes))


def _layer(graph: Graph, number: int, out: Node, kept: dict[int, str], before: int) -> tuple[Layer, Node | None]:
    """Block `number`, whose nodes come behind `before`, and the residual stream that it began with."""
    residual = Tap(out.index, out.name)
    soft = graph.named(f"kq_soft_max-{number}")
    if soft is None:
        inside = {node.op for node in graph.nodes if before < node.index < out.index}
        return Layer(residual, recurrent=bool(inside & RECURRENT)), None
    attn_out, mlp, base = _added(graph, out, soft)
    heads = next((n for n in graph.nodes[soft.index :] if n.op == "MUL_MAT" and n.sources[1] == soft.address), None)
    if heads is not None and not _is_mixed_next(graph, heads, _n_head(soft)):
        heads = None
    layer = Layer(
        residual,
        attention=Tap(soft.index, soft.name),
        heads=_tap(heads),
        attn_out=_tap(attn_out),
        mlp=_tap(mlp),
        cells=kept.get(_cache_of(graph, soft, number), ""),
        n_head=_n_head(soft),
        head_size=heads.shape[-1] if heads else 0,
    )
    return layer, base


def _tap(node: Node | None) -> Tap | None:
    return Tap(node.index, node.name) if node else None


def _added(graph: Graph, out: Node, soft: Node) -> tuple[Node | None, Node | None, Node | None]:
    """What attention and the rest added on the way to `out`, and where that way began.

    An addition has the stream on the side that the other is made from.
    """
    stream, bases, parts = out, list[Node](), list[Node]()
    while stream.op == "ADD":
        left, right = graph.sources(stream)
        if left.index >= 0 and graph.reaches(right, graph.under(left)):
            stream, part = left, right
        elif right.index >= 0 and graph.reaches(left, graph.under(right)):
            stream, part = right, left
        else:
            break
        parts.append(part)
        bases.append(graph.under(stream))
        if stream.index < soft.index and not graph.reaches(stream, soft):
            break
    if not parts:
        return None, None, None
    pieces = [piece for part in parts for piece in _split(graph, part, soft, bases)]
    of_attention = [piece for piece in pieces if graph.reaches(piece, soft, bases)]
    others = [piece for piece in pieces if piece not in of_attention]
    single = len(of_attention) == 1, len(others) == 1
    return of_attention[0] if single[0] else None, others[0] if single[1] else None, stream


def _split(graph: Graph, part: Node, soft: Node, bases: Sequence[Node]) -> list[Node]:
    """The two of an addition where only one comes from attention (blocks whose two halves stand side by side)."""
    if part.op != "ADD":
        return [part]
    sides = graph.sources(part)
    reach = [graph.reaches(side, soft, bases) for side in sides]
    made = all(side.index >= 0 and side.shape == part.shape for side in sides)
    return sides if made and any(reach) and not all(reach) else [part]


def _n_head(soft: Node) -> int:
    return soft.shape[0] if len(soft.shape) > 2 else 1


def _is_mixed_next(graph: Graph, heads: Node, n_head: int) -> bool:
    """Whether the heads' outputs go into the output matrix as they are (with MLA they do not)."""
    follower = next((node for node in graph.nodes if node.op == "CONT" and graph.under(node) == heads), None)
    return follower is not None and follower.shape[-1] == n_head * heads.shape[-1]


def _writes(graph: Graph) -> dict[str, Node]:
    """The first node that writes keys by each input that says where to."""
    found: dict[str, Node] = {}
    for node in graph.nodes:
        if node.op == "SET_ROWS" and _CACHE.match(graph[node.sources[-1]].name):
            found.setdefault(graph[node.sources[1]].name, node)
    return found


def _caches(graph: Graph) -> Iterator[tuple[int, str]]:
    """(block, name of the input that says where its keys are kept)."""
    for node in graph.nodes:
        known = node.op == "SET_ROWS" and _CACHE.match(graph[node.sources[-1]].name)
        if known:
            yield int(known[1]), graph[node.sources[1]].name


def _cache_of(graph: Graph, soft: Node, number: int) -> int:
    """The block whose keys an attention reads: some blocks share those of another."""
    waiting = [soft]
    for _ in range(64):
        if not waiting:
            break
        node = waiting.pop()
        known = _CACHE.match(node.name)
        if known:
            return int(known[1])
        waiting += graph.sources(node)[:1]
    return number


def _head(graph: Graph, out: Node) -> list[Node]:
    """From the last residual stream to the logits, in order: each node has one source in the one before it."""
    chain = [graph.nodes[-1]]
    while chain[-1].address != out.address:
        before = [source for source in graph.sources(chain[-1]) if graph.reaches(source, out)]
        if len(before) != 1:
            return []
        chain.append(before[0])
    return chain[::-1]
