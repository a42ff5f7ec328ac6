"""Whether a trace says what its model says: true ones pass, and whatever is not true is found and named."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inferno_widget import Kind, Model, Sampler, Trace, Verification, verify
from inferno_widget.verification import default_tolerance
from tests.make_models import tiny_llama

TWELVE = {"top_k": 12, "top_p": 1, "min_p": 0, "logit_bias": {2: -math.inf}}
"""Settings under which every token is drawn from twelve, and none ends the text."""
PROMPT = "once upon a time"


def loaded(path: Path | None, n_ctx: int = 512, **options: object) -> Model:
    return Model(path, n_ctx=n_ctx, **{"n_threads": 1, "n_batch": 64, "type_k": "f32", "type_v": "f32", **options})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("verify") / "tiny.gguf")


@pytest.fixture(scope="module")
def model(file: Path) -> Iterator[Model]:
    with loaded(file) as model:
        yield model


def made(model: Model, n: int = 40, k: int = 20, **settings: object) -> Trace:
    """A trace with a fork in it, on the branch that was forked."""
    with model.session(PROMPT, Sampler(**{"seed": 3, **TWELVE, **settings}), k=k) as session:
        session.generate(n)
        session.fork(20, session.trace.alternatives(20)[1].token_id).generate(n)
        return session.trace


def generated(trace: Trace) -> int:
    return int((trace.column("kind") == Kind.GENERATED).sum())


def node_at(trace: Trace, position: int) -> int:
    return int(trace.path()[position])


@pytest.mark.parametrize("quick", [True, False])
def test_a_trace_passes_however_its_model_is_loaded(model: Model, file: Path, quick: bool) -> None:
    trace = made(model)
    with loaded(file, n_batch=512 if quick else 7) as other:
        found = verify(trace, other)
    assert found.same
    assert found.at is None
    assert found.compared == trace.length - 1
    assert found.largest < found.tolerance == 1e-3
    assert found.message.startswith(f"The same: {found.compared} predictions agree within 0.001 nats; the largest")
    n = generated(trace)
    assert (found.drawn, found.replayed) == (n, n)
    assert f"The recorded dice choose {n} of {n} tokens again." in str(found)
    assert repr(found).startswith(f"<Verification same: {found.compared} predictions compared")


def test_the_first_difference_is_named_with_its_size(model: Model) -> None:
    trace = made(model)
    trace._rows["logprob"][node_at(trace, 30)] -= 0.5
    trace._rows["logprob"][node_at(trace, 50)] += 2
    found = verify(trace, model)
    assert not found.same
    assert (found.at, found.compared) == (30, trace.length - 1)
    assert found.largest == pytest.approx(2, abs=1e-3)
    assert "at position 30 (" in found.message
    assert "a difference of 0.5 nats where 0.001 are allowed" in found.message
    assert (
        f"Beyond that: 2 of {trace.length - 1} predictions; the largest difference is 2 nats, at position 50."
        in found.message
    )
    assert verify(trace, model, 3).same
    assert verify(trace, model, 1).at == 50


def test_another_token_is_found(model: Model) -> None:
    trace = made(model)
    row = trace._rows[node_at(trace, 25)]
    row["token_id"] = next(token for token in row["top_ids"] if token != row["token_id"])
    found = verify(trace, model)
    assert not found.same
    assert found.at == 25
    assert found.replayed == found.drawn - 1


def test_only_the_current_path_is_compared(model: Model) -> None:
    trace = made(model)
    other = next(node for node in range(30, len(trace.nodes)) if node not in trace.path().tolist())
    trace._rows["logprob"][other] -= 5
    assert verify(trace, model).same


def test_another_file_is_not_compared(model: Model, tmp_path: Path) -> None:
    with loaded(tiny_llama(tmp_path / "other.gguf", seed=1)) as other:
        found = verify(made(model), other)
    assert not found.same
    assert (found.compared, found.at) == (0, None)
    assert found.message.startswith("Another file: the trace was made with tiny.gguf (fingerprint ")
    assert "and this is other.gguf" in found.message


def test_a_trace_that_names_no_file_is_compared_as_far_as_it_can_be(model: Model) -> None:
    trace = made(model)
    del trace.model["fingerprint"]
    assert verify(trace, model).same
    trace._rows["token_id"][node_at(trace, 3)] = 70_000
    assert verify(trace, model).message == "Another model: the trace holds token 70,000, and this one ends at 511."


def test_a_text_that_outgrew_its_context_is_compared_window_by_window(file: Path) -> None:
    with loaded(file, n_ctx=256) as small, loaded(file, n_ctx=1024) as large:
        sampler = Sampler(seed=5, **TWELVE)
        with small.session(PROMPT, sampler, on_full="slide", keep=5) as session:
            session.generate(600)
            trace = session.trace
        assert len(set(trace.column("left_out").tolist())) > 3
        for other in (small, large):
            found = verify(trace, other)
            assert found.same, found
            assert found.compared == trace.length - 1
        assert found.drawn == found.replayed == 600, "the dice count the whole text"
        trace._rows["left_out"][trace.path()[300:]] += 1
        assert not verify(trace, large).same, "the model saw something else"


def test_what_does_not_fit_is_left_and_said(model: Model, file: Path) -> None:
    trace = made(model, n=300)
    with loaded(file, n_ctx=256) as small:
        found = verify(trace, small)
    assert found.same
    assert found.compared == 255
    assert f"{trace.length - 256} predictions were made from more tokens than this model's context of 256 holds" in str(
        found
    )


def test_dice_that_were_changed_are_found(model: Model) -> None:
    trace = made(model)
    trace._rows["draw"][node_at(trace, 33)] += 1e-9
    found = verify(trace, model)
    assert (found.drawn, found.replayed) == (generated(trace), generated(trace) - 1)
    trace.runs[0]["sampler"]["seed"] = 4
    assert verify(trace, model).replayed == 0


@pytest.mark.parametrize(
    "settings", [{"repeat_penalty": 1.2}, {"top_k": 0, "min_p": 0, "top_p": 1}, {"temperature": 0}]
)
def test_choices_that_do_not_follow_from_the_trace_are_not_judged(model: Model, settings: dict[str, object]) -> None:
    found = verify(made(model, **settings), model)
    assert found.same
    assert found.drawn == 0
    assert "dice" not in found.message


@pytest.mark.parametrize(
    "settings", [{"temperature": 2.5}, {"logit_bias": {2: -math.inf, 300: 4.0}}, {"top_p": 0.9, "min_p": 0.1}]
)
def test_choices_follow_from_the_trace_under_other_settings(model: Model, settings: dict[str, object]) -> None:
    found = verify(made(model, **settings), model)
    assert found.drawn > 0
    assert found.replayed == found.drawn


def test_there_may_be_nothing_to_compare(model: Model) -> None:
    for trace in (Trace(20), model.session([1]).score()):
        found = verify(trace, model)
        assert (found.same, found.compared, found.largest) == (True, 0, 0)
        assert found.message == "There is nothing to compare: no token of the path was predicted."


def test_the_answer_is_what_the_page_shows(model: Model) -> None:
    trace = made(model)
    trace._rows["logprob"][node_at(trace, 30)] = -np.inf
    found = verify(trace, model)
    assert found.to_dict().keys() == {"same", "compared", "largest", "tolerance", "message"}
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False)) == found.to_dict()
    assert isinstance(found, Verification)


@pytest.mark.parametrize("tolerance", [-1, math.nan, math.inf])
def test_a_tolerance_is_a_number_of_nats(model: Model, tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance must be a number of nats, 0 or more, not"):
        verify(Trace(20), model, tolerance)


def test_the_demo_model_verifies_within_its_own_tolerance() -> None:
    """Quantised weights and a cache in half precision: token by token and all at once differ by more than a hair."""
    with loaded(None, type_k="f16", type_v="f16", n_batch=512) as demo:
        trace = made(demo, n=200)
        found = verify(trace, demo)
        assert found.same, found
        assert found.tolerance == 0.25
        assert not verify(trace, demo, 1e-6).same, "or it would be compared with itself"


@pytest.mark.parametrize(
    ("weights", "cache", "recorded", "tolerance"),
    [
        ("F32", "f32", "f32", 1e-3),
        ("F32", "f16", "f32", 5e-2),
        ("F32", "f32", "f16", 5e-2),
        ("F16", "f32", "f32", 1e-2),
        ("F16", "f16", "f16", 5e-2),
        ("Q8_0", "f32", "f32", 0.25),
        ("Q4_K - Medium", "f16", "f16", 0.25),
    ],
)
def test_the_tolerance_follows_weights_and_caches(weights: str, cache: str, recorded: str, tolerance: float) -> None:
    class Info:
        quantisation = weights

    class Loaded:
        info = Info()
        options = type("Options", (), {"type_k": cache, "type_v": cache})()

    trace = Trace(1)
    trace.runs.append({"type_k": recorded, "type_v": recorded})
    assert default_tolerance(trace, Loaded()) == tolerance


def test_what_is_no_trace_or_no_model_is_refused(model: Model) -> None:
    session = model.session("once")
    with pytest.raises(TypeError, match=r"trace must be a Trace, such as session.trace or .*, not <Session"):
        verify(session, model)
    with pytest.raises(TypeError, match=r"model must be a loaded Model, not <Trace"):
        verify(session.trace, session.trace)
    for tolerance in ("x", True, math.nan, -1, math.inf):
        with pytest.raises(ValueError, match="tolerance must be a number of nats, 0 or more, not"):
            verify(session.trace, model, tolerance)
