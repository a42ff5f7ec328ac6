"""What is found in graphs that no tiny model has: drawn by hand, they say what must not be taken for what."""

from __future__ import annotations

from inferno_widget.engine.graph import Node, Plan, plan

WIDTH = 8


class Drawn:
    """A graph, a node at a time; each answers its address."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, name: str, op: str, *sources: int, shape: tuple[int, ...] = (2, WIDTH)) -> int:
        index = len(self.nodes)
        self.nodes.append(Node(index, 1000 + index, name, op, sources, shape))
        return 1000 + index

    def block(self, n: int, stream: int, *, out: str = "", softs: int = 1, shape: tuple[int, ...] = (2, WIDTH)) -> int:
        """Attention and an MLP; the address of the stream behind them."""
        made = stream
        for _ in range(softs):
            soft = self.add(f"kq_soft_max-{n}", "SOFT_MAX", made, shape=(4, 2, 256))
            made = self.add(f"attn-{n}", "MUL_MAT", soft)
        middle = self.add(f"ffn_inp-{n}", "ADD", made, stream)
        mlp = self.add(f"ffn-{n}", "MUL_MAT", middle)
        return self.add(out or f"l_out-{n}", "ADD", mlp, middle, shape=shape)

    def found(self) -> Plan:
        return plan(self.nodes, WIDTH)


def names(found: Plan, layer: int) -> list[str | None]:
    taps = [found.layers[layer].tap(what) for what in ("residual", "attn_out", "mlp")]
    return [tap.name if tap else None for tap in taps]


def test_blocks_one_after_the_other() -> None:
    drawn = Drawn()
    drawn.block(1, drawn.block(0, drawn.add("embd", "SCALE")))
    found = drawn.found()
    assert [names(found, n) for n in (0, 1)] == [[f"l_out-{n}", f"attn-{n}", f"ffn-{n}"] for n in (0, 1)]
    assert all(layer.whole for layer in found.layers)
    assert found.stem is not None
    assert found.stem.name == "embd"


def test_a_block_that_is_gone_through_twice_has_no_stream_of_its_own() -> None:
    drawn = Drawn()
    drawn.block(0, drawn.block(0, drawn.add("embd", "SCALE")))
    assert drawn.found().layers == []


def test_what_a_block_without_a_name_adds_is_not_taken_for_the_next_one_s() -> None:
    drawn = Drawn()
    drawn.block(2, drawn.block(1, drawn.block(0, drawn.add("embd", "SCALE")), out="other"))
    found = drawn.found()
    assert [names(found, n) for n in (1, 2)] == [[None] * 3, ["l_out-2", None, None]]
    assert found.layers[1].lacks["mlp"] == "its graph names no residual stream (l_out) there"
    assert not found.layers[2].whole


def test_two_attentions_in_a_block_are_none_that_is_known() -> None:
    drawn = Drawn()
    drawn.block(0, drawn.add("embd", "SCALE"), softs=2)
    layer = drawn.found().layers[0]
    assert layer.attention is None
    assert layer.lacks["attention"] == "its graph has more than one kq_soft_max there"


def test_a_stream_of_another_width_is_none() -> None:
    drawn = Drawn()
    drawn.block(0, drawn.add("embd", "SCALE"), shape=(4, 2, WIDTH))
    layer = drawn.found().layers[0]
    assert layer.residual is None
    assert layer.lacks["residual"] == "for each token it has 4 x 8 numbers there"
    assert not drawn.found().head


def test_a_stream_that_is_not_the_one_before_with_something_added_is_not_taken_apart() -> None:
    drawn = Drawn()
    first = drawn.block(0, drawn.add("embd", "SCALE"))
    drawn.block(1, drawn.add("scaled", "SCALE", first))
    layer = drawn.found().layers[1]
    assert (layer.attn_out, layer.mlp, layer.whole) == (None, None, False)
    assert layer.lacks["mlp"] == "the stream behind it is not simply that before it with something added"


def test_a_state_beside_attention_is_neither() -> None:
    drawn = Drawn()
    stream = drawn.add("embd", "SCALE")
    soft = drawn.add("kq_soft_max-0", "SOFT_MAX", stream, shape=(4, 2, 256))
    attention, state = drawn.add("attn-0", "MUL_MAT", soft), drawn.add("scan-0", "SSM_SCAN", stream)
    middle = drawn.add("ffn_inp-0", "ADD", drawn.add("both-0", "ADD", attention, state), stream)
    drawn.add("l_out-0", "ADD", drawn.add("ffn-0", "MUL_MAT", middle), middle)
    found = drawn.found()
    assert names(found, 0) == ["l_out-0", "attn-0", "ffn-0"]
    assert not found.layers[0].whole
