"""What is where in the graph of a model: found by following it, whatever the architecture calls its tensors.

llama.cpp names a few tensors alike in every architecture: `l_out-N`, the residual stream behind block N, and
`kq_soft_max-N`, its attention. The rest is found from these: what a block adds to the stream stands in the additions
that lead to `l_out-N`. What does not stand there as it should is left out, with a reason, and never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from .additions import Additions
from .ggml import Tensor, is_weight, op
from .inside import What

LOOKED_THROUGH = {"GET_ROWS", "VIEW", "RESHAPE", "CONT", "PERMUTE", "TRANSPOSE"}
"""What only takes rows out of a tensor, or gives it another form."""
RECURRENT = {"SSM_SCAN", "SSM_CONV", "RWKV_WKV6", "RWKV_WKV7", "GATED_LINEAR_ATTN", "GATED_DELTA_NET"}
REPEATED = {"RMS_NORM", "NORM", "MUL", "ADD", "SCALE", "UNARY", "MUL_MAT", "GET_ROWS"}
"""What may stand between the last residual stream and the logits: it can be done once more, to rows of our own."""
STREAM = re.compile(r"l_out-(\d+)")
"""The name of a residual stream."""
_CACHE = re.compile(r"cache_k_l(\d+)")
_STATE = re.compile(r"cache_[rs]_l\d+")
_NO_NAME = "its graph names no residual stream (l_out) there"
_NO_ATTENTION = "its graph has no kq_soft_max there, so no attention, or one of another kind"
_NOT_ALONE = "nothing in its graph is added there that comes from it alone"


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
    whole : whether the stream behind it is that behind the block before, with these two added and nothing else
    lacks : why there is none of what is None
    """

    residual: Tap | None = None
    attention: Tap | None = None
    heads: Tap | None = None
    attn_out: Tap | None = None
    mlp: Tap | None = None
    cells: str = ""
    n_head: int = 0
    head_size: int = 0
    whole: bool = False
    lacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def heads_come_next(self) -> bool:
        """Whether the heads' outputs are what is made first of the attention weights."""
        return bool(self.attention and self.heads and self.heads.index == self.attention.index + 1)

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
    head : from the last residual stream to the logits: nodes in order; each has one source in the one before it, and
        the others are weights
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

    def rows_of(self, node: Node) -> Node:
        """The node itself, or what it has its rows from, all or some of them."""
        while node.op in ("GET_ROWS", "RESHAPE", "CONT"):
            source = self[node.sources[0]]
            if source.index < 0 or source.shape[-1] != node.shape[-1] or len(source.shape) != len(node.shape):
                break
            node = source
        return node

    def origins(self, node: Node, barred: Collection[int], since: int) -> set[int]:
        """Addresses of all that `node` is made from, itself included, by ways that do not go through any of `barred`
        nor to what was evaluated before `since`.
        """
        seen, waiting = set[int](), [node]
        while waiting:
            now = waiting.pop()
            if now.address not in seen and now.address not in barred and now.index >= since:
                seen.add(now.address)
                waiting += self.sources(now)
        return seen

    def reaches(self, node: Node, goal: Node) -> bool:
        """Whether `node` is made from `goal`, or is it."""
        return goal.address in self.origins(node, (), goal.index)


def plan(nodes: Sequence[Node], n_embd: int) -> Plan:
    """Where everything is in the graph of a model whose residual stream is `n_embd` wide."""
    graph = Graph(nodes)
    outs = _streams(graph)
    writes = {name: Tap(node.index, node.name) for name, node in _writes(graph).items()}
    kept = dict(_caches(graph))
    layers, stem = list[Layer](), None
    for number in range(max(outs, default=-1) + 1):
        if number not in outs:
            layers.append(Layer(lacks=dict.fromkeys(get_args(What), _NO_NAME)))
            continue
        layer, base = _layer(graph, number, outs, kept, n_embd)
        layers.append(layer)
        if number == 0 and base is not None:
            stem = _tap(base)
    head = _head(graph, outs[len(layers) - 1]) if layers and layers[-1].residual else []
    return Plan(layers, stem, writes, head, len(nodes))


def _streams(graph: Graph) -> dict[int, Node]:
    """The residual streams by the block that they are behind; none where a block is gone through more than once."""
    named = [(int(known[1]), node) for node in graph.nodes if (known := STREAM.fullmatch(node.name))]
    found = dict(named)
    return found if len(found) == len(named) else {}


def _layer(
    graph: Graph, number: int, outs: Mapping[int, Node], kept: dict[int, str], n_embd: int
) -> tuple[Layer, Node | None]:
    """Block `number`, by the streams behind all, and the stream that it began with, as it is added."""
    out, before = outs[number], outs.get(number - 1)
    first = max((other.index + 1 for other in outs.values() if other.index < out.index), default=0)
    inside = graph.nodes[first : out.index + 1]
    states = [node for node in inside if node.op in RECURRENT or _STATE.match(node.name)]
    softs = [node for node in inside if node.name == f"kq_soft_max-{number}"]
    soft = _only(softs)
    cells = kept.get(_cache_of(graph, soft), "") if soft else ""
    known = before is not None or number == 0
    added = Additions(graph, out, before, soft, states) if known else None
    parts, base = (added.parts(), added.base) if added else ({}, None)
    found = {
        "residual": out if len(out.shape) == 2 and out.shape[-1] == n_embd else None,
        "attention": soft if cells else None,
        "heads": _heads(graph, soft) if soft and cells else None,
        "attn_out": _only(parts.get("attention", [])),
        "mlp": _only(parts.get("rest", [])),
    }
    why = _reasons(out, softs, bool(states), cells, base)
    layer = Layer(
        **{what: _tap(node) for what, node in found.items()},
        cells=cells,
        n_head=_n_head(soft) if soft else 0,
        head_size=found["heads"].shape[-1] if found["heads"] else 0,
        whole=set(parts) == {"attention", "rest"} and all(map(_only, parts.values())),
        lacks={what: why[what] for what, node in found.items() if node is None},
    )
    return layer, base


def _reasons(out: Node, softs: Sequence[Node], recurrent: bool, cells: str, base: Node | None) -> dict[str, str]:
    """Why there is none of each, if there is none."""
    attention = _NO_ATTENTION
    if softs:
        several = "its graph has more than one kq_soft_max there"
        attention = several if len(softs) > 1 else "where its keys are kept was not found in its graph"
    elif recurrent:
        attention = "it is recurrent, with a state instead of keys that are looked at"
    added = _NOT_ALONE if base else "the stream behind it is not simply that before it with something added"
    return {
        "residual": f"for each token it has {' x '.join(map(str, (*out.shape[:-2], out.shape[-1])))} numbers there",
        "attention": attention,
        "heads": "how its heads are mixed was not found in its graph" if cells else attention,
        "attn_out": added if softs or not base else attention,
        "mlp": added,
    }


def _tap(node: Node | None) -> Tap | None:
    return Tap(node.index, node.name) if node else None


def _only(nodes: Sequence[Node]) -> Node | None:
    return nodes[0] if len(nodes) == 1 else None


def _n_head(soft: Node) -> int:
    return soft.shape[0] if len(soft.shape) > 2 else 1


def _heads(graph: Graph, soft: Node) -> Node | None:
    """What the heads read, as it goes into the output matrix: values times weights, which MLA multiplies once more."""
    found: Node | None = soft
    while found is not None:
        made = found
        found = next((n for n in graph.nodes[made.index :] if n.op == "MUL_MAT" and n.sources[1] == made.address), None)
        if found is not None and _is_mixed_next(graph, found, _n_head(soft)):
            return found
    return None


def _is_mixed_next(graph: Graph, heads: Node, n_head: int) -> bool:
    """Whether the heads' outputs are put side by side as they are."""
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


def _cache_of(graph: Graph, soft: Node) -> int:
    """The block whose keys an attention reads, as some blocks share those of another; -1 where it is not found."""
    waiting = [soft]
    for _ in range(64):
        if not waiting:
            break
        node = waiting.pop()
        known = _CACHE.match(node.name)
        if known:
            return int(known[1])
        waiting += graph.sources(node)[:1]
    return -1


def _head(graph: Graph, out: Node) -> list[Node]:
    """From the last residual stream to the logits, in order; nothing where more than it and weights goes into them."""
    chain = [graph.named("result_output") or graph.nodes[-1]]
    while chain[-1].address != out.address:
        before = [source for source in graph.sources(chain[-1]) if graph.reaches(source, out)]
        others = [source for source in graph.sources(chain[-1]) if source not in before]
        rows = chain[-1].op == "GET_ROWS"  # whose other source is the numbers of rows
        if chain[-1].op not in REPEATED or len(before) != 1 or not (rows or all(is_weight(n.address) for n in others)):
            return []
        chain.append(before[0])
    return chain[::-1]
