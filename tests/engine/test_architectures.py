"""The inside of many architectures: what each offers holds in numbers, and what it does not have is said.

Some have a forward pass in numpy. What is true of all others too: contributions sum to streams, the last of the lens is
the model, and switching something off is the same as a file in which its weights are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from inferno_widget import Ablate, InfernoError, Model, Patch, Sampler, Scale, Session, Steer
from tests import reference as ref
from tests.engine.tools import GELU_NATS, GREEDY, NATS, Switch, loaded, opened
from tests.make_models import f32_copy
from tests.more_architectures import KINDS, N_HEAD, N_LAYER, WITH_LESS, make
from tests.reference import Reference, log_softmax

WHOLE = [name for name in KINDS if name not in WITH_LESS]
"""Where every block has attention and an MLP, and nothing else."""
REFERENCED = ("qwen3", "gptneox", "phi3", "olmo2", "qwen2moe")
GUESSES = "bailingmoe2"
"""Needs a block behind the last that a token goes through."""
SINKS = "gpt-oss"
"""Looks past all tokens too."""
WINDOWS = {"cohere2": [0, 1, 2], "gpt-oss": [0, 2]}
"""The blocks that see the latest 16 tokens alone."""
GELU = ("phi2", "gptneox", "falcon", "starcoder2", "bloom")
PARTS = ("attn_out", "mlp")
LAYER = 1
"""Where something is changed."""
IDS = np.random.default_rng(2).integers(0, 500, 40).tolist()
LAST = len(IDS) - 1


class Case(NamedTuple):
    """A model with a session that has read `IDS`, and how near its numbers are."""

    name: str
    path: Path
    model: Model
    session: Session
    nats: float


@pytest.fixture(scope="module", params=WHOLE)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    yield from case(request.param, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module", params=WITH_LESS)
def less(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    yield from case(request.param, tmp_path_factory.mktemp("less"))


def case(name: str, folder: Path) -> Iterator[Case]:
    path = make(folder / f"{name}.gguf", name)
    with loaded(path, 512) as model, model.session(IDS, GREEDY) as session:
        session.score()
        yield Case(name, path, model, session, GELU_NATS if name in GELU else NATS)


def native(path: Path, ids: list[int]) -> np.ndarray:
    """The logits behind a text, by the engine alone."""
    engine = opened(path)
    try:
        branch = engine.branch(None, 0)
        engine.append(branch, ids)
        return engine.logits(branch, len(ids), cancel=Switch()).copy()
    finally:
        engine.close()


# --- where everything is there ------------------------------------------------------------------------------


def test_weights_of_attention_are_shares_of_what_came_before(whole: Case) -> None:
    seen = whole.session.inspect(what=("attention", "heads"))
    assert seen.attention.shape == (N_LAYER, N_HEAD, len(IDS), len(IDS))
    assert seen.heads.shape == (N_LAYER, N_HEAD, len(IDS), 16)
    sums = seen.attention.sum(-1)
    if whole.name == SINKS:
        assert 0.01 < sums.min() <= sums.max() < 0.999
    else:
        assert sums == pytest.approx(1, abs=1e-4)
    assert not np.triu(seen.attention, 1).any()
    for layer, attention in enumerate(seen.attention):
        assert (attention[:, LAST, LAST - 15 :] > 0).all()
        assert attention[:, LAST, : LAST - 15].any() == (layer not in WINDOWS.get(whole.name, []))


def test_contributions_sum_to_the_streams(whole: Case) -> None:
    seen = whole.session.inspect(what=("residual", *PARTS))
    assert len(seen.layers) == whole.model.info.n_layer == N_LAYER
    made = seen.residual[:-1] + seen.attn_out[1:] + seen.mlp[1:]
    assert np.abs(made - seen.residual[1:]).max() < 1e-5 * np.abs(seen.residual).max()
    assert np.abs(seen.attn_out).max(-1).min() > 1e-3
    assert np.abs(seen.mlp).max(-1).min() > 1e-3


def test_the_last_of_the_lens_is_the_model(whole: Case) -> None:
    lens = whole.session.inspect(what="lens", k=5).lens
    logprobs = log_softmax(whole.session.row(len(IDS)).astype(np.float64))
    assert np.abs(lens.top_logprobs[-1, -1] - logprobs[lens.top_ids[-1, -1]]).max() < whole.nats
    assert lens.answer[-1] == logprobs.argmax()
    came = whole.session.trace.column("logprob")[1:]
    assert np.abs(lens.token_logprob[-1, :-1] - came).max() < whole.nats
    assert np.abs(lens.kl[-1]).max() < 1e-4
    assert lens.kl[0].min() > 1e-3


@pytest.mark.parametrize("whole", [name for name in WHOLE if name != GUESSES], indirect=True)
def test_the_first_of_the_lens_is_the_model_cut_off_there(whole: Case, tmp_path: Path) -> None:
    cut = f32_copy(whole.path, tmp_path / "cut.gguf", n_layer=1)
    logprobs = log_softmax(native(cut, IDS).astype(np.float64))
    lens = whole.session.inspect(LAST, what="lens", k=5).lens
    assert lens.top_ids[0, 0].tolist() == np.argsort(-logprobs, kind="stable")[:5].tolist()
    assert np.abs(lens.top_logprobs[0, 0] - logprobs[lens.top_ids[0, 0]]).max() < whole.nats


def test_attributions_sum_to_the_logit(whole: Case) -> None:
    row = whole.session.row(len(IDS))
    for token in (7, int(row.argmax())):
        told = whole.session.attribution(token=token)
        assert told.start + told.attn_out.sum() + told.mlp.sum() + told.bias == pytest.approx(told.logit, abs=1e-4)
        assert told.logit == pytest.approx(row[token], abs=whole.nats)
        assert told.added == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("whole", REFERENCED, indirect=True)
def test_all_of_it_is_what_the_reference_says(whole: Case) -> None:
    reference, session = Reference(whole.path, tabled=True), whole.session
    run = reference.run(IDS)
    seen = session.inspect(what=("attention", "residual", "heads", "lens", *PARTS))
    assert np.abs(session.row(len(IDS)) - run.logits[-1]).max() < whole.nats
    for name in ("attention", "residual", "heads", *PARTS):
        theirs = getattr(run, name)
        assert np.abs(getattr(seen, name) - theirs).max() < 2e-3 * np.abs(theirs).max(), name
    assert np.array_equal(seen.lens.top_ids[:, :, 0], run.lens.argmax(-1))
    told, expected = session.attribution(token=7), reference.attribution(run, LAST, 7)
    for name in PARTS:
        assert np.abs(getattr(told, name) - getattr(expected, name)).max() < 2e-3
    assert (told.start, told.bias) == pytest.approx((expected.embedding, expected.constant), abs=2e-3)
    row = run.residual[0, 3].astype(np.float32)
    surgery = [Scale(0, 2, -1.5), Steer(1, row, 0.5), Patch(0, 20, row)]
    same = [ref.Scale(0, 2, -1.5), ref.Steer(1, row, 0.5), ref.Patch(0, 20, row)]
    with session.intervene(*surgery):
        assert np.abs(session.row(len(IDS)) - reference.logits(IDS, *same)[-1]).max() < 5e-3


def without(*, head: int | None = None, part: str = "attention") -> Callable[[str, np.ndarray], np.ndarray]:
    """Weights in which a head of `LAYER`, or what its attention or its MLP adds, is switched off."""
    begins = f"blk.{LAYER}." + ("attn_output." if part == "attention" else "ffn_down")

    def change(tensor: str, weights: np.ndarray) -> np.ndarray:
        if not tensor.startswith(begins) or (head is not None and not tensor.endswith("weight")):
            return weights
        weights = weights.copy()
        weights[..., slice(None) if head is None else slice(16 * head, 16 * head + 16)] = 0
        return weights

    return change


@pytest.mark.parametrize("what", [{"head": 0}, {"head": N_HEAD - 1}, {"part": "attention"}, {"part": "mlp"}], ids=str)
def test_what_is_switched_off_is_zero_in_the_file(whole: Case, what: dict, tmp_path: Path) -> None:
    """A norm behind it leaves nothing of nothing."""
    expected = native(f32_copy(whole.path, tmp_path / "off.gguf", change=without(**what)), IDS)
    with whole.session.intervene(Ablate(LAYER, **what)):
        row = whole.session.row(len(IDS))
    assert np.abs(row - expected).max() < whole.nats
    assert np.abs(row - whole.session.row(len(IDS))).max() > 0.01


def test_each_head_matters_and_a_factor_of_1_changes_nothing(whole: Case) -> None:
    causal = whole.session.causal_map()
    assert causal.kl.shape == (N_LAYER, N_HEAD)
    assert causal.kl.min() > 1e-6
    row = whole.session.row(len(IDS))
    with whole.session.intervene(*(Scale(layer, head, 1.0) for layer, head in np.ndindex(N_LAYER, N_HEAD))):
        assert np.abs(whole.session.row(len(IDS)) - row).max() < whole.nats
    with whole.session.intervene(Scale(LAYER, part="mlp", factor=2.0), Steer(0, np.ones(64), 0.5)):
        seen = whole.session.inspect(what=("residual", *PARTS))
    assert np.abs(seen.residual[:-1] + seen.attn_out[1:] + seen.mlp[1:] - seen.residual[1:]).max() < 1e-4


def test_what_is_captured_is_what_is_inspected(whole: Case) -> None:
    what = ("attention", "residual", "heads", "lens", *PARTS)
    with whole.model.session(IDS, GREEDY) as session:
        session.score()
        with session.capture(what) as capture:
            session.generate(6)
        caught = capture.take()
        seen = session.inspect(slice(LAST, LAST + len(caught.positions)), what)
        assert caught.positions.tolist() == seen.positions.tolist()
        for name in ("attention", "residual", "heads", *PARTS):
            ours, theirs = getattr(caught, name), getattr(seen, name)
            assert np.abs(ours - theirs).max() < whole.nats * max(1, np.abs(theirs).max()), name
        assert np.array_equal(caught.lens.answer, seen.lens.answer)


# --- where something is not ---------------------------------------------------------------------------------

RECURRENT = "it is recurrent, with a state instead of keys"
LACKS = {
    "mamba": {
        "attention": f"no attention weights in layer 0: {RECURRENT}",
        "heads": f"no outputs of single heads in layer 0: {RECURRENT}",
        "attn_out": f"no contribution of attention to the residual stream in layer 0: {RECURRENT}",
        "mlp": "no contribution of an MLP to the residual stream in layer 0: nothing in its graph is added",
    },
    "jamba": {
        "attention": f"no attention weights in layer 0: {RECURRENT}.*; layers that have: 1",
        "heads": f"layer 0: {RECURRENT}.*; layers that have: 1",
        "attn_out": f"layer 0: {RECURRENT}.*; layers that have: 1",
    },
    "lfm2": {
        "attention": f"no attention weights in layer 0: {RECURRENT}.*; layers that have: 1",
        "heads": f"layer 0: {RECURRENT}.*; layers that have: 1",
        "attn_out": f"layer 0: {RECURRENT}.*; layers that have: 1",
    },
    "falcon-h1": {},
    "gemma3n": {
        "residual": "no single residual stream in layer 0: for each token it has 4 x 64 numbers there",
        "attn_out": "layer 0: the stream behind it is not simply that before it with something added",
        "mlp": "layer 0: the stream behind it is not simply that before it with something added",
        "lens": "no single residual stream in layer 0",
    },
    "gemma4": {
        "heads": r"the layers asked for have different sizes of heads \(16, 32\)",
        "attn_out": "layer 0: the stream behind it is not simply that before it with something added",
        "mlp": "layer 0: the stream behind it is not simply that before it with something added",
    },
}
"""What is not there, and how that is said."""
NO_ATTRIBUTION = {
    "falcon-h1": "in layer 0 something is added to the residual stream that is neither attention's nor an MLP's",
}
ALL = ("attention", "residual", "lens", "mlp", "attn_out", "heads")


@pytest.mark.parametrize("what", ALL)
def test_what_a_model_does_not_have_is_said_and_the_rest_is_there(less: Case, what: str) -> None:
    said = LACKS[less.name].get(what)
    if said is None:
        assert less.session.inspect(what=what).nbytes or what == "lens"
        return
    with pytest.raises(InfernoError, match=said):
        less.session.inspect(what=what)
    with pytest.raises(InfernoError, match=said), less.session.capture(what):
        pytest.fail("it began")


def test_no_logit_is_taken_apart_where_the_parts_would_not_sum_to_it(less: Case) -> None:
    said = NO_ATTRIBUTION.get(less.name) or LACKS[less.name]["attn_out"]
    with pytest.raises(InfernoError, match=said):
        less.session.attribution(token=7)


def test_what_is_there_is_right(less: Case) -> None:
    lacks = LACKS[less.name]
    if "attention" not in lacks:
        seen = less.session.inspect(what="attention")
        assert seen.attention.sum(-1) == pytest.approx(1, abs=1e-4)
        assert not np.triu(seen.attention, 1).any()
    if "lens" not in lacks:
        lens = less.session.inspect(what="lens").lens
        assert np.abs(lens.token_logprob[-1, :-1] - less.session.trace.column("logprob")[1:]).max() < 5e-3
        assert np.abs(lens.kl[-1]).max() < 1e-4


def test_blocks_that_have_something_can_be_looked_at_and_changed(less: Case, tmp_path: Path) -> None:
    """The one in the middle has attention in all but Mamba."""
    if less.name == "mamba":
        with pytest.raises(InfernoError, match=RECURRENT), less.session.intervene(Ablate(LAYER, 0)):
            pytest.fail("it began")
        return
    seen = less.session.inspect(what=("attention", "heads"), layers=LAYER)
    assert seen.attention.sum(-1) == pytest.approx(1, abs=1e-4)
    assert seen.heads.shape == (1, N_HEAD, len(IDS), 16)
    expected = native(f32_copy(less.path, tmp_path / "off.gguf", change=without(head=2)), IDS)
    with less.session.intervene(Ablate(LAYER, 2)):
        row = less.session.row(len(IDS))
    assert np.abs(row - expected).max() < 5e-3
    assert np.abs(row - less.session.row(len(IDS))).max() > 1e-3


def test_an_mlp_behind_a_state_is_an_mlp(less: Case, tmp_path: Path) -> None:
    if "mlp" in LACKS[less.name]:
        with (
            pytest.raises(InfernoError, match="no contribution of an MLP"),
            less.session.intervene(Ablate(0, part="mlp")),
        ):
            pytest.fail("it began")
        return
    expected = native(f32_copy(less.path, tmp_path / "off.gguf", change=without(part="mlp")), IDS)
    with less.session.intervene(Ablate(LAYER, part="mlp")):
        assert np.abs(less.session.row(len(IDS)) - expected).max() < 5e-3


def test_a_state_is_not_taken_for_one_of_an_earlier_token(less: Case) -> None:
    """A recurrent block knows what is behind the last token alone: a fork before it is read anew."""
    with less.model.session(IDS, Sampler(temperature=0)) as session:
        session.generate(4)
        session.fork(20, 77)
        session.generate(4)
        ahead = session.lookahead(3, 2)
        ids = session.trace.column("token_id").tolist()
        logprobs = log_softmax(native(less.path, ids).astype(np.float64))
        assert [way.records[0].logprob for way in ahead] == pytest.approx(np.sort(logprobs)[::-1][:3], abs=5e-3)
        session.inspect(20, what="residual" if less.name != "gemma3n" else "attention")
        with less.model.session(ids) as again:
            again.score()
            assert np.abs(again.trace.column("logprob")[1:] - session.trace.column("logprob")[1:]).max() < 5e-3
