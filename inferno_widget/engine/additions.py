"""What a block adds to the residual stream, told apart by following the additions that lead to the stream behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .graph import Graph, Node

Kind = Literal["attention", "state", "both", "rest"]
"""Where an addend comes from: from attention, from a recurrent state, from both together, or from neither."""


@dataclass(frozen=True)
class Sum:
    """A node among the additions; `sides` are the two that it adds up, if it is taken apart."""

    node: Node
    sides: tuple[Sum, ...] = ()

    @classmethod
    def of(cls, graph: Graph, node: Node, base: Node | None) -> Sum:
        """`base` is not taken apart; nor is the addition of a weight, which is a bias."""
        under = graph.rows_of(node)
        sides = graph.sources(under) if under.op == "ADD" and under != base else []
        if not sides or any(side.index < 0 or side.shape != under.shape for side in sides):
            return cls(node)
        return cls(node, tuple(cls.of(graph, side, base) for side in sides))

    def all(self) -> Iterator[Sum]:
        """Itself and what it is made of, outermost first."""
        yield self
        for side in self.sides:
            yield from side.all()

    def ends(self) -> list[Node]:
        """What is added up in the end."""
        return [each.node for each in self.all() if not each.sides]


class Additions:
    """The additions that lead to the residual stream behind a block.

    Parameters
    ----------
    graph : in which they are
    out : the stream behind the block
    before : that behind the block before; None of the first
    attention : the node of its weights, if the block has attention
    states : nodes that belong to a recurrent state

    Attributes
    ----------
    base : the stream that the block began with, as it is added; None where there is no such addition
    """

    def __init__(
        self, graph: Graph, out: Node, before: Node | None, attention: Node | None, states: Sequence[Node]
    ) -> None:
        self._graph, self._attention, self._states = graph, attention, {state.address for state in states}
        self._since = before.index if before else 0
        self._sum = Sum.of(graph, out, before)
        found = self._first() if before is None else self._same(before)
        self.base = found.node if found else None
        streams = [each for each in self._sum.all() if found in list(each.all())]
        self._streams = {node.address for each in streams for node in (each.node, graph.rows_of(each.node))}

    def _same(self, before: Node) -> Sum | None:
        """Where the stream of the block before is added."""
        found = [each for each in self._sum.all() if self._graph.rows_of(each.node) == before]
        return found[0] if len(found) == 1 else None

    def _first(self) -> Sum | None:
        """The stream of the first block has no name: it is the innermost that all else is made from."""
        for each in reversed(list(self._sum.all())):
            own, goal = each.ends(), self._graph.rows_of(each.node)
            others = [end for end in self._sum.ends() if end not in own]
            if others and goal.index >= 0 and all(self._graph.reaches(end, goal) for end in others):
                return each
        return None

    def parts(self) -> dict[Kind, list[Node]]:
        """What is added to the base, by where it comes from; each node is as large as it can be."""
        found: dict[Kind, list[Node]] = {}
        if self.base is not None:
            for kind, node in self._parts(self._sum):
                found.setdefault(kind, []).append(node)
        return found

    def _parts(self, part: Sum) -> Iterator[tuple[Kind, Node]]:
        kinds: set[Kind] = set()
        if part.node.address not in self._streams:
            kinds = {self._kind(end) for end in part.ends()}
        elif part.node == self.base:
            return
        if len(kinds) == 1:
            yield kinds.pop(), part.node
        else:
            for side in part.sides:
                yield from self._parts(side)

    def _kind(self, end: Node) -> Kind:
        """The streams are barred: what is made from one of them is not made from what was added to it."""
        met = self._graph.origins(end, self._streams, self._since)
        attends, remembers = self._attention is not None and self._attention.address in met, bool(self._states & met)
        if attends:
            return "both" if remembers else "attention"
        return "state" if remembers else "rest"
