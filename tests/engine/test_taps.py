"""The second context: what it finds in graphs, what it says where there is nothing, and what it costs the first."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from inferno_widget import InfernoError, Model
from inferno_widget.engine import Options
from inferno_widget.engine.graph import Layer, Plan
from inferno_widget.engine.inside import Asked, Edit
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.engine.parcel import Receiver, Sender, Sent, layout_of
from inferno_widget.engine.taps import Tapped
from tests.engine.conftest import EXACT
from tests.engine.tools import Switch, ignore


@pytest.fixture
def tapped(models: dict) -> Iterator[Tapped]:
    first = LlamaEngine(str(models["gemma2"][0]), EXACT, cancel=Switch(), progress=ignore)
    second = Tapped(first)
    yield second
    second.close()
    first.close()


def shown(tapped: Tapped, layer: int, **changes: object) -> None:
    """Make a block look as if it were of another kind."""
    layers = list(tapped.plan.layers)
    layers[layer] = replace(layers[layer], **changes)
    tapped.plans[1] = Plan(layers, tapped.plan.stem, tapped.plan.writes, tapped.plan.head)


@pytest.mark.parametrize("n", [1, 2])
def test_every_block_has_everything(tapped: Tapped, n: int) -> None:
    found = tapped.plans[n]
    assert len(found.layers) == 4
    for layer in found.layers:
        taps = [layer.attention, layer.heads, layer.attn_out, layer.mlp, layer.residual]
        assert [tap.index for tap in taps] == sorted(tap.index for tap in taps)
        assert (layer.n_head, layer.head_size, layer.cells) == (4, 16, "attn_inp_k_idxs")
    assert [node.op for node in found.head[1:]] == ["RMS_NORM", "MUL", "MUL_MAT", "SCALE", "UNARY", "SCALE"]


@pytest.mark.parametrize(
    ("what", "changes", "said"),
    [
        (
            "attention",
            {"attention": None, "lacks": {"attention": "it is recurrent"}},
            r"\(gemma2.*\) has no attention weights in layer 2: it is recurrent; layers that have: 0 to 1, 3",
        ),
        ("heads", {"heads": None, "lacks": {"heads": "so it is"}}, "outputs of single heads in layer 2: so it is"),
        ("mlp", {"mlp": None, "lacks": {"mlp": "so it is"}}, "contribution of an MLP to the .* layer 2: so it is"),
        ("attention", {"n_head": 8}, r"different numbers of heads \(4, 8\)"),
        ("heads", {"head_size": 8}, r"different sizes of heads \(8, 16\)"),
    ],
)
def test_what_a_block_does_not_have_is_said(tapped: Tapped, what: str, changes: dict, said: str) -> None:
    shown(tapped, 2, **changes)
    with pytest.raises(InfernoError, match=said):
        tapped.layers(Asked((what,)))
    assert tapped.layers(Asked((what,), (0, 1))) == (0, 1)


def test_a_model_that_names_nothing_is_refused(tapped: Tapped) -> None:
    tapped.plans[1] = Plan([], None, {})
    with pytest.raises(InfernoError, match=r"this model \(gemma2.*\) names no residual stream"):
        tapped.layers(Asked(("residual",)))


def test_another_graph_than_before_is_noticed_and_leaves_nothing_behind(tapped: Tapped) -> None:
    right = tapped.plans[2]
    wrong = replace(right.layers[1].residual, index=right.layers[1].residual.index - 1)
    layers = [*right.layers]
    layers[1] = Layer(wrong)
    branch = tapped.branch(None, 0)
    tapped.append(branch, [1, 300, 301])
    tapped.edits = (Edit("residual", 1, factor=0.0),)
    tapped.plans[2] = replace(right, layers=layers)
    with pytest.raises(InfernoError, match="another graph than before: l_out-1 was not where it is known to be"):
        tapped.logits(branch, 3, cancel=Switch())
    assert tapped.pool[branch].decoded == 0
    tapped.plans[2], tapped.edits = right, ()
    assert np.isfinite(tapped.logits(branch, 3, cancel=Switch())).all()


def test_a_lens_that_is_not_the_model_s_end_is_refused(tapped: Tapped) -> None:
    stream, logits = tapped._tried
    tapped._tried = stream, np.roll(logits, 1)
    with pytest.raises(InfernoError, match="gives other logits than its own"):
        tapped.head  # noqa: B018
    tapped._tried = stream, logits
    assert np.allclose(tapped.head.logits(stream[None], cancel=Switch())[0], logits, atol=1e-3)


def test_the_first_context_knows_nothing_of_the_second(models: dict) -> None:
    first = LlamaEngine(str(models["tiny"][0]), EXACT, cancel=Switch(), progress=ignore)
    reserved = first.holdings().reserved
    second = Tapped(first)
    try:
        assert first.holdings().reserved == reserved == second.holdings().reserved
        branch = second.branch(None, 0)
        second.append(branch, [1, 300])
        second.logits(branch, 2, cancel=Switch())
        assert not first.holdings().cells()
    finally:
        second.close()
    branch = first.branch(None, 0)
    first.append(branch, [1, 300])
    assert np.isfinite(first.logits(branch, 2, cancel=Switch())).all()
    first.close()


def test_a_cache_that_only_flash_attention_can_read_is_no_hindrance(models: dict) -> None:
    path = models["demo"][0]
    with (
        Model(path, n_ctx=256, n_threads=1, type_k="q8_0", type_v="q8_0") as model,
        model.session("The wolf") as session,
    ):
        assert session.inspect(what="attention").attention.sum(-1) == pytest.approx(1, abs=1e-3)


def test_a_model_that_is_not_looked_at_has_no_second_context(models: dict) -> None:
    with Model(models["tiny"][0], n_ctx=256, n_threads=1) as model, model.session("once upon") as session:
        session.generate(2)
        assert "taps" not in vars(model)
        session.inspect(-1)
        assert model.taps.pid == model.engine.pid


def test_arrays_are_handed_over_whole_and_none_is_taken_for_another() -> None:
    receiver = Receiver()
    sender = Sender(str(os.dup(int(receiver.handle))))  # as a child inherits it
    arrays = {"a": np.arange(7, dtype=np.int32), "b": np.ones((2, 3), np.float32), "none": np.zeros((0, 4), np.float32)}
    sender.send({"a": np.zeros(9, np.int32)})  # whoever asked has gone
    sender.room(layout_of(arrays))  # given up before it was sent
    for name, room in sender.room(layout_of(arrays)).items():
        assert not room.any()
        room[...] = arrays[name]
    taken = receiver.take(sender.send())
    sender.send({"a": np.zeros(9, np.int32)})
    assert taken.keys() == arrays.keys()
    for name, array in arrays.items():
        assert taken[name].dtype == array.dtype
        assert np.array_equal(taken[name], array)
    taken["a"] += 1  # it is the taker's own
    with pytest.raises(InfernoError, match="did not arrive"):
        receiver.take(Sent("never", {}))
    sender.release()
    receiver.release()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")
def test_memory_of_arrays_goes_with_the_last_of_them(models: dict) -> None:
    with Model(models["tiny"][0], n_ctx=2048, n_threads=1) as model, model.session([1] * 1500) as session:
        session.inspect(-1)
        open_files, mapped = psutil.Process().num_fds(), _in_memory()
        few = [session.inspect(-1) for _ in range(5)]
        assert (psutil.Process().num_fds(), _in_memory()) == (open_files, mapped)  # copies
        many = [session.inspect(what="attention") for _ in range(2)]
        assert _in_memory() == mapped + 2
        assert np.allclose(many[0].attention[:, :, -1], few[0].attention[:, :, 0], atol=1e-5)
        del many
        assert (psutil.Process().num_fds(), _in_memory()) == (open_files, mapped)


def _in_memory() -> int:
    """How many files without a name this process has mapped."""
    return sum("memfd:inferno" in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_options_of_the_second_context_are_those_of_the_first(models: dict) -> None:
    options = Options(n_ctx=512, n_threads=1, n_batch=1024, type_k="f16", type_v="bf16")
    first = LlamaEngine(str(models["tiny"][0]), options, cancel=Switch(), progress=ignore)
    second = Tapped(first, first=7 << 40)
    assert (second.n_ctx, second.options.type_v, second.options.n_batch) == (512, "bf16", 128)
    assert second.branch(None, 0) >= 7 << 40
    second.close()
    first.close()
