"""The inside of the model at the workbench: every answer is what its line of Python gives, every change is undone."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferno_widget import (
    Ablate,
    Inferno,
    InfernoError,
    Model,
    Sampler,
    Scale,
    Session,
    Steer,
    altered,
    attention,
    steering_vector,
)
from inferno_widget.engine.second import SecondClient
from inferno_widget.errors import Cancelled
from inferno_widget.gestures import inside, surgery
from inferno_widget.gestures.seen import ENTRY_BYTES, Seen
from inferno_widget.jobs import Job
from inferno_widget.workbench import Workbench
from tests.engine.page import Page
from tests.engine.tools import DEMO, PROMPT, slowly, snapshot, until, workbenches
from tests.more_architectures import make
from tests.traces import forked_trace

WAIT = 20
OFF = {"kind": "ablate", "layer": 1, "head": 2, "part": "attention"}
HALF = {"kind": "scale", "layer": 2, "head": None, "part": "mlp", "factor": 0.5}
DRAGONS = {"kind": "steer", "layer": 3, "strength": 1.5, "positive": ["a dragon", "dragons"], "negative": ["a cat"]}


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model(DEMO, n_ctx=1024, n_threads=2, type_k="f32", type_v="f32") as model:
        yield model


@pytest.fixture
def benches() -> Iterator[Callable[..., Workbench]]:
    with workbenches(max_tokens=12) as make:
        yield make


@pytest.fixture
def bench(benches: Callable[..., Workbench], model: Model) -> Workbench:
    """With a run of twelve tokens; its dice are no matter."""
    bench = benches(model)
    bench.set("temperature", 0)
    bench.set("logit_bias", {str(token): None for token in model.control})
    bench.run(PROMPT)
    bench.session.wait()
    return bench


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every time that the model was run to be looked at."""
    asked, inspect = [], SecondClient.inspect

    def noted(self: SecondClient, look: Any, **options: Any) -> Any:
        asked.append(look)
        return inspect(self, look, **options)

    monkeypatch.setattr(SecondClient, "inspect", noted)
    return asked


def told(job: Job[Any]) -> tuple[dict[str, Any], list[bytes]]:
    """What a job came to, as JSON can hold it, and its buffers."""
    value, buffers = job.result(WAIT)
    return json.loads(json.dumps(value, allow_nan=False)), buffers


def value(job: Job[Any]) -> Any:
    return json.loads(json.dumps(job.result(WAIT), allow_nan=False))


def run_code(bench: Workbench, code: str) -> Any:
    """What a line of Python gives."""
    return eval(code, {"session": bench.session, "model": bench.model, "attention": attention})


def middle(bench: Workbench) -> int:
    return int(bench.trace.path()[-5])


def ids(bench: Workbench) -> list[int]:
    return bench.trace.column("token_id").tolist()


def begun(job: Job[Any]) -> Job[Any]:
    heard = threading.Event()
    job.listen(lambda _: heard.set())
    assert heard.wait(WAIT)
    return job


# --- attention --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newest", [True, False])
def test_the_heads_of_a_layer(newest: bool, bench: Workbench, model: Model) -> None:
    node = -1 if newest else middle(bench)
    said, (small,) = told(bench.heads(node, 2))
    length = said["length"]
    assert said["node"] == (bench.trace.head if newest else node) == bench.trace.path()[length - 1]
    assert (said["layer"], said["n_layer"], said["n_head"]) == (2, model.info.n_layer, model.info.n_head)
    seen = bench.session.inspect(slice(length), "attention", 2)
    maps = np.frombuffer(small, np.uint8).reshape(said["n_head"], said["size"], said["size"])
    assert said["size"] == length, "a short text has a cell a token"
    assert np.abs(maps - np.sqrt(seen.attention[0]) * 255.0).max() < 0.6
    python = run_code(bench, said["code"])
    names = {"first_token": "first", "previous_token": "previous"}
    assert set(said["statistics"]) == {"entropy", "distance", "first_token", "previous_token", "induction"}
    for name, numbers in said["statistics"].items():
        np.testing.assert_allclose(np.array(numbers, float), getattr(python, names.get(name, name))[0], atol=1e-4)


def test_the_first_token_looks_at_itself(bench: Workbench) -> None:
    said, (small,) = told(bench.heads(0, 0))
    assert (said["length"], said["size"], small) == (1, 1, b"\xff" * said["n_head"])
    assert said["statistics"]["previous_token"] == [None] * said["n_head"]
    assert told(bench.attention(0, 0, 0, "rollout"))[1] == [np.float32(1).tobytes()]


def test_small_maps_keep_the_largest_weights() -> None:
    maps = np.random.default_rng(1).integers(0, 256, (3, 150, 150), np.uint8)
    small = inside.pooled(maps)
    assert small.shape == (3, 64, 64)
    edges = [i * 150 // 64 for i in range(65)]
    for row, column in ((0, 0), (5, 60), (63, 63)):
        cell = maps[:, edges[row] : edges[row + 1], edges[column] : edges[column + 1]]
        assert np.array_equal(small[:, row, column], cell.max(axis=(1, 2)))


@pytest.mark.parametrize("over", [*inside.OVER, "rollout"])
@pytest.mark.parametrize("newest", [True, False])
def test_a_row_of_attention(over: str, newest: bool, bench: Workbench) -> None:
    node = -1 if newest else middle(bench)
    said, (row,) = told(bench.attention(node, 2, 3, over))
    weights = np.frombuffer(row, "<f4")
    assert (said["layer"], said["head"], said["over"], len(weights)) == (2, 3, over, said["length"])
    np.testing.assert_allclose(weights, run_code(bench, said["code"]), atol=1e-4)
    if "max" not in over:
        assert weights.sum() == pytest.approx(1, abs=1e-4)


def test_a_whole_map(bench: Workbench) -> None:
    said, (cells,) = told(bench.head_map(-1, 4, 1))
    n = said["length"]
    seen = bench.session.inspect(None, "attention", 4).attention[0, 1]
    assert n == bench.trace.length
    assert np.abs(np.frombuffer(cells, np.uint8).reshape(n, n) - np.sqrt(seen) * 255).max() < 0.6


def test_another_layer_or_head_is_there_at_once(bench: Workbench, looks: list[Any]) -> None:
    told(bench.heads(-1, 0))
    told(bench.attention(-1, 0, 0, "one"))
    assert len(looks) == 2, "the maps, and all rows of the token"
    for layer in range(bench.model.info.n_layer):
        told(bench.heads(-1, layer))
        told(bench.head_map(-1, layer, 1))
        for over in inside.OVER:
            told(bench.attention(-1, layer, 2, over))
    assert len(looks) == 2
    told(bench.heads(middle(bench), 0))
    assert len(looks) == 3, "another token"
    bench.resume()
    bench.session.wait()
    told(bench.heads(-1, 0))
    assert len(looks) == 4, "the newest is another one now"
    value(bench.intervene([OFF]))
    told(bench.heads(-1, 0))
    assert len(looks) == 5, "the same text, read by another model"


def test_what_is_seen_is_kept_within_its_limit() -> None:
    seen = Seen(limit=10_000)
    for i in range(20):
        seen.keep(i, np.zeros(1_000, np.uint8))
        seen.keep(19, (b"x" * 500, np.zeros(500, np.uint8)))
        assert seen.get(0) is not None or i > 3
    assert seen.nbytes <= 10_000
    assert seen.nbytes == sum(1_000 + ENTRY_BYTES for i in range(20) if seen.get(i) is not None)
    seen.keep("much", np.zeros(20_000, np.uint8))
    assert (seen.get("much"), seen.nbytes) == (None, 0)


def test_a_layer_at_a_time_where_all_are_too_much(
    bench: Workbench, looks: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    together, _ = told(bench.attention(-1, 0, 0, "rollout")), looks.clear()
    monkeypatch.setattr(inside, "AT_ONCE", 0)
    monkeypatch.setattr(inside, "TOGETHER", 0)
    bench._looked = Seen()
    told(bench.heads(-1, 1))
    told(bench.heads(-1, 2))
    assert [look.asked.layers for look in looks] == [(1,), (2,)]
    _, (row,) = told(bench.attention(-1, 0, 0, "rollout"))
    np.testing.assert_allclose(np.frombuffer(row, "<f4"), np.frombuffer(together[1][0], "<f4"), atol=1e-4)


def test_a_text_that_has_slid_leaves_gaps(benches: Callable[..., Workbench]) -> None:
    """Tokens that the model does not see any more are looked at by nobody."""
    with Model(DEMO, n_ctx=256, n_threads=2) as small:
        bench = benches(small)
        for name, setting in (("on_full", "slide"), ("keep", 2), ("max_tokens", 270)):
            bench.set(name, setting)
        bench.set("logit_bias", {str(token): None for token in small.control})
        bench.run(PROMPT)
        bench.session.wait()
        window = bench.trace.window()
        gap = slice(window.keep, window.keep + window.left_out)
        assert window.left_out
        said, (row,) = told(bench.attention(-1, 2, 1, "mean"))
        weights = np.frombuffer(row, "<f4")
        assert len(weights) == said["length"] == bench.trace.length
        assert not weights[gap].any()
        assert weights.sum() == pytest.approx(1, abs=1e-3)
        said, (cells,) = told(bench.head_map(-1, 2, 1))
        whole = np.frombuffer(cells, np.uint8).reshape(said["length"], -1)
        assert whole[gap.stop :, : gap.start].any()
        assert not whole[gap].any()
        assert not whole[:, gap].any()
        told(bench.lens(-1, 300, 2))
        with pytest.raises(InfernoError, match="rollout follows whole texts"):
            told(bench.attention(-1, 2, 1, "rollout"))


# --- lens, attribution, causal map ------------------------------------------------------------------------


def test_the_lens(bench: Workbench) -> None:
    said, (top, logprobs, numbers) = told(bench.lens(middle(bench), 6, 4))
    lens = run_code(bench, said["code"])
    shape = (len(lens.layers), 6)
    assert (said["positions"], said["layers"], said["k"]) == (lens.positions.tolist(), lens.layers.tolist(), 4)
    assert said["nodes"] == bench.trace.path()[lens.positions].tolist()
    assert said["nodes"][-1] == middle(bench)
    assert np.array_equal(np.frombuffer(top, "<i4").reshape(*shape, 4), lens.top_ids)
    np.testing.assert_allclose(np.frombuffer(logprobs, "<f4").reshape(*shape, 4), lens.top_logprobs, atol=1e-4)
    python = [lens.entropy, lens.kl, lens.rank, lens.token_logprob, lens.token_rank, lens.logprob]
    np.testing.assert_allclose(np.frombuffer(numbers, "<f4").reshape(6, *shape), np.stack(python), atol=1e-4)
    assert (said["answer"], said["decided"]) == (lens.answer.tolist(), lens.decided.tolist())
    for layer, rows in enumerate(lens.top_texts):
        assert [[said["texts"][str(token)] for token in row] for row in lens.top_ids[layer].tolist()] == rows
    assert {str(token) for token in said["answer"]} <= set(said["texts"])


def test_the_lens_learns_what_came(bench: Workbench, looks: list[Any]) -> None:
    end = bench.trace.head
    _, (*_, numbers) = told(bench.lens(end, 1, 4))
    assert np.isnan(np.frombuffer(numbers, "<f4").reshape(6, -1)[3]).all()
    told(bench.lens(end, 1, 4))
    assert len(looks) == 1
    bench.step(bench.prompt)
    bench.session.wait()
    _, (*_, numbers) = told(bench.lens(end, 1, 4))
    assert np.isfinite(np.frombuffer(numbers, "<f4")).all()


def test_who_added_how_much(bench: Workbench) -> None:
    said = value(bench.attribution(-1))
    python = run_code(bench, said["code"])
    assert said["node"] == bench.trace.head
    assert (said["token"]["id"], said["token"]["text"]) == (ids(bench)[-1], python.text)
    np.testing.assert_allclose(said["attn_out"], python.attn_out, atol=1e-3)
    np.testing.assert_allclose(said["mlp"], python.mlp, atol=1e-3)
    total = sum(said["attn_out"]) + sum(said["mlp"]) + said["start"] + said["added"] + said["bias"]
    assert total == pytest.approx(said["logit"], abs=1e-3)
    assert said["logit"] == pytest.approx(python.logit, abs=1e-3)


@pytest.mark.parametrize("last", [True, False])
def test_which_heads_a_prediction_hangs_on(last: bool, bench: Workbench) -> None:
    before, parts = snapshot(bench.session), list[Any]()
    job = bench.causal_map(middle(bench), last)
    code = bench.code
    job.listen(parts.append)
    said = value(job)
    assert snapshot(bench.session) == before
    python = run_code(bench, code)
    np.testing.assert_allclose(said["kl"], python.kl, atol=2e-3)
    np.testing.assert_allclose(said["change"], python.change, atol=2e-2)
    assert (said["node"], said["token"], said["last"]) == (
        middle(bench),
        {"id": python.token, "text": python.text},
        last,
    )
    tried = [sum(row[0] is not None for row in part["kl"]) for part in parts]
    assert tried == list(range(1, len(said["layers"]) + 1)), "layer by layer"


def test_a_model_of_which_some_layers_have_heads_can_be_asked_for_these(
    benches: Callable[..., Workbench], tmp_path: Path
) -> None:
    with Model(make(tmp_path / "jamba.gguf", "jamba"), n_ctx=256, n_threads=1) as model:
        bench = benches(model)
        assert bench.facts()["size"] == {"n_layer": 3, "n_head": 4}
        bench.run("once upon a time")
        bench.session.wait()
        with pytest.raises(InfernoError, match="no attention weights in layer 0: it is recurrent"):
            value(bench.heads(-1, 0))
        assert told(bench.heads(-1, 1))[0]["n_head"] == 4
        said = value(bench.causal_map(-1, False))
        assert [None in row for row in said["kl"]] == [True, False, True]
        assert said["kl"][0] == [None] * 4


def test_a_model_without_heads_says_so(benches: Callable[..., Workbench], tmp_path: Path) -> None:
    with Model(make(tmp_path / "mamba.gguf", "mamba"), n_ctx=256, n_threads=1) as model:
        bench = benches(model)
        bench.run("once upon a time")
        bench.session.wait()
        with pytest.raises(InfernoError, match="no outputs of single heads in layer 2: it is recurrent"):
            value(bench.causal_map(-1, False))


def test_stop_leaves_the_heads_that_were_tried(bench: Workbench) -> None:
    go_on = threading.Event()
    job = bench.causal_map(-1, False)
    job.listen(lambda _: job.enough() or go_on.set())
    said = value(job)
    n_head = bench.model.info.n_head
    assert said["kl"][-1] == said["change"][-1] == [None] * n_head
    assert None not in said["kl"][0]


@pytest.mark.parametrize("kind", ["causal_map", "lens", "try_edits", "attention"])
def test_enough_is_heard_in_the_middle_of_a_pass(kind: str, benches: Callable[..., Workbench], model: Model) -> None:
    """What works now is the child, which tells nothing of it before it is done."""
    with model.session([1] + [300] * 1_000) as session:
        bench = benches(session)
        session.score()
        asked = {
            "causal_map": lambda: bench.causal_map(-1, False),
            "lens": lambda: bench.lens(-1, 1_000, 10),
            "try_edits": lambda: bench.try_edits(-1, [OFF]),
            "attention": lambda: bench.attention(-1, 0, 0, "rollout"),
        }[kind]
        job = asked()
        time.sleep(0.05)
        start = time.monotonic()
        job.enough()
        with contextlib.suppress(Cancelled):
            job.result(WAIT)
        assert time.monotonic() - start < 1, "100 ms and some for a busy machine"
        assert session.state == "ready"


# --- trying and operating ---------------------------------------------------------------------------------


@pytest.mark.parametrize("edits", [[OFF], [HALF, DRAGONS], []], ids=["off", "steered", "none"])
def test_edits_are_tried_at_a_token(edits: list[Any], bench: Workbench, model: Model) -> None:
    before = snapshot(bench.session)
    said = value(bench.try_edits(middle(bench), edits))
    assert snapshot(bench.session) == before
    at = bench.trace.path().tolist().index(middle(bench))
    plain = bench.session.row(at).astype(float)
    vector = steering_vector(model, ["a dragon", "dragons"], ["a cat"], 3)
    python = {"off": [Ablate(1, 2)], "steered": [Scale(2, part="mlp", factor=0.5), Steer(3, vector, 1.5)], "none": []}
    changes = python["off" if edits == [OFF] else "steered" if edits else "none"]
    with bench.session.intervene(*changes):
        changed = bench.session.row(at).astype(float)
    p, q = (np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in (plain, changed))
    for token in said["tokens"]:
        assert token["before"] == pytest.approx(p[token["id"]], abs=1e-3)
        assert token["after"] == pytest.approx(q[token["id"]], abs=1e-3)
    listed = {token["id"] for token in said["tokens"]}
    assert {int(p.argmax()), int(q.argmax())} <= listed
    assert said["kl"] == pytest.approx(float((p * np.log(p / q)).sum()), abs=5e-3)
    assert "with session.intervene(" in said["code"]


def test_a_session_is_operated_upon(bench: Workbench) -> None:
    path, n = ids(bench), len(bench.trace.nodes)
    value(bench.intervene([OFF, DRAGONS]))
    assert bench.marks["edits"] == [OFF, DRAGONS]
    assert bench.code.startswith(
        "with session.intervene(Ablate(1, head=2), Steer(3, steering_vector(model, ['a dragon',"
    )
    assert bench.marks["altered"] == []
    bench.resume()
    bench.session.wait()
    assert bench.marks["altered"] == [{"node": n, "edits": "layer 1 head 2 off; layer 3 steered by 1.5"}]
    steered = ids(bench)
    bench.step(bench.prompt)
    bench.session.wait()
    ahead = value(bench.lookahead(-1, 2, 3))
    bench.fork(int(bench.trace.path()[-3]), 300).result(20)
    bench.session.wait()
    fork = bench.marks["altered"]
    assert len(fork) == 1, "what comes behind the first is no first"
    assert len(ahead["ways"]) == 2
    value(bench.intervene([]))
    assert (ids(bench), bench.session.state, bench.marks["edits"]) == (path, "ready", [])
    assert bench.session.engine is bench.model.engine
    bench.resume()
    bench.session.wait()
    assert ids(bench)[: len(path)] == path
    assert ids(bench) != steered[: len(ids(bench))]
    assert bench.marks["altered"] == fork


def test_the_untouched_path_goes_on_as_if_nothing_had_been(bench: Workbench) -> None:
    bench.resume()
    bench.session.wait()
    whole, end = ids(bench), int(bench.trace.path()[-13])
    bench.goto(end)
    value(bench.intervene([DRAGONS]))
    bench.resume()
    bench.session.wait()
    assert ids(bench) != whole
    value(bench.intervene([]))
    bench.resume()
    bench.session.wait()
    assert ids(bench) == whole


def test_other_edits_take_the_place_of_the_first(bench: Workbench) -> None:
    head = bench.trace.head
    value(bench.intervene([OFF]))
    bench.resume()
    bench.session.wait()
    value(bench.intervene([HALF]))
    assert (bench.trace.head, bench.marks["edits"]) == (head, [HALF])
    assert [type(each).__name__ for each in bench.session.interventions] == ["Scale"], "one, not one in the other"
    with pytest.raises(InfernoError, match="there is no layer 99"):
        value(bench.intervene([{**OFF, "layer": 99}]))
    assert bench.marks["edits"] == [HALF], "what cannot be is refused, and nothing changes"


def test_a_new_run_goes_on_under_the_edits(bench: Workbench) -> None:
    first, path = bench.library.shown, ids(bench)
    value(bench.intervene([DRAGONS]))
    bench.resume()
    bench.session.wait()
    altered = ids(bench)
    bench.run("a knight")
    bench.session.wait()
    assert bench.marks["edits"] == [DRAGONS]
    assert bench.marks["altered"] == [{"node": 0, "edits": "layer 3 steered by 1.5"}]
    bench.show(first.id)
    assert (bench.marks["edits"], ids(bench)) == ([], altered), "its text stays what it was"
    assert bench.session.engine is bench.model.engine
    assert len(bench._surgeries) == 1
    bench.goto(int(bench.trace.path()[len(path) - 1]))
    bench.show(bench.library.sessions[-1].id)
    value(bench.intervene([]))
    assert bench.trace.text == "a knight", "it began under them: the prompt was read anew"
    assert not bench.trace.runs[int(bench.trace.nodes["run"][bench.trace.head])].get("interventions")


def test_edits_stay_with_their_session(bench: Workbench) -> None:
    first = bench.library.shown.id
    bench.run("a knight")
    bench.session.wait()
    value(bench.intervene([OFF]))
    second = bench.library.shown
    bench.show(first)
    assert bench.marks["edits"] == []
    bench.show(second.id)
    assert bench.marks["edits"] == [OFF]
    session = second.session
    bench.delete(second.id)
    assert session.engine is bench.model.engine
    assert not bench._surgeries
    bench.undo()
    assert bench.marks["edits"] == []
    bench.resume()
    bench.session.wait()


def test_unloading_and_closing_leave_in_order(benches: Callable[..., Workbench], model: Model) -> None:
    bench = benches(DEMO)
    until(lambda: bench.model)
    bench.run(PROMPT)
    bench.session.wait()
    value(bench.intervene([OFF]))
    follow = begun(bench.follow(1, 2, "one"))
    bench.unload(bench.library.models[0].id).result(WAIT)
    assert follow.result(WAIT)["node"] == bench.trace.head
    assert (bench.session, bench._surgeries) == (None, {})
    with model.session(PROMPT, Sampler(temperature=0)) as session:
        session.generate(3)
        other = benches(session)
        value(other.intervene([OFF]))
        other.resume()
        other.close()
        assert session.engine is model.engine
        assert session.generate(2)


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        ("head 3", "edit 0 must be of the kind ablate, scale or steer"),
        ({"kind": "erase"}, "of the kind ablate, scale or steer, not"),
        ({"kind": "ablate", "layer": 1}, "lacks head, part"),
        ({**OFF, "layer": -1}, "layer must be that of a block"),
        ({**OFF, "part": "mlp"}, "where a head is named"),
        ({**HALF, "factor": "x"}, "factor must be a finite number"),
        ({**DRAGONS, "negative": []}, "negative must be texts, at least one"),
        ({**DRAGONS, "strength": None}, "strength must be a finite number"),
        ({**OFF, "layer": 6}, "there is no layer 6: this model has layers 0 to 5"),
        ({**OFF, "head": 4}, "there is no head 4: layer 1 has heads 0 to 3"),
    ],
)
def test_edits_that_cannot_be_are_refused_in_words(edit: Any, match: str, bench: Workbench) -> None:
    before = snapshot(bench.session)
    for gesture in (lambda: bench.intervene([edit]), lambda: bench.try_edits(-1, [edit])):
        with pytest.raises((ValueError, InfernoError), match=match):
            value(gesture())
    assert snapshot(bench.session) == before
    assert bench.session.engine is bench.model.engine


def test_a_direction_is_worked_out_once(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(surgery, "steering_vector", lambda *a, **k: asked.append(a) or steering_vector(*a, **k))
    for strength in (1, 2, 3):
        value(bench.try_edits(-1, [{**DRAGONS, "strength": strength}]))
    value(bench.intervene([DRAGONS]))
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "scale", "layer": 2, "part": "mlp", "factor": 0.5}, "layer 2 MLP times 0.5"),
        ({"kind": "ablate", "layer": 2, "part": "attention"}, "layer 2 attention off"),
        ({"kind": "patch", "layer": 2, "position": 7}, "layer 2 patched at token 7"),
        ({"kind": "ablate", "layer": 2, "head": 1, "positions": [7]}, "layer 2 head 1 off at token 7"),
        ({"kind": "steer", "layer": 2, "strength": 2, "positions": []}, "layer 2 steered by 2 at no token"),
        (
            {"kind": "ablate", "layer": 2, "part": "mlp", "positions": list(range(3, 1003))},
            "layer 2 MLP off at token 3, 4, 5, 6 and 996 more",
        ),
        ({"kind": "of later versions", "layer": 2}, "layer 2 changed"),
    ],
)
def test_interventions_in_words(change: dict[str, Any], said: str) -> None:
    assert altered.words(change) == said


# --- following --------------------------------------------------------------------------------------------


def test_rows_come_while_tokens_are_read(bench: Workbench) -> None:
    rows: list[Any] = []
    job = bench.follow(2, 1, "one")
    job.listen(rows.append)
    assert bench.code == 'capture = session.capture("attention", layers=2)'
    until(lambda: rows)
    assert [row["node"] for row in rows] == [bench.trace.head], "who rests shows the newest"
    bench.session.logits_processor = slowly
    bench.resume()
    until(lambda: len(rows) > 3)
    bench.pause()
    until(lambda: bench.session.state == "paused")
    bench.resume()
    bench.session.wait()
    until(lambda: rows[-1]["node"] == bench.trace.head)
    assert [row["node"] for row in rows] == bench.trace.path().tolist()[-13:], "each once, in order"
    bench.fork(middle(bench), 300).result(20)
    bench.session.wait()
    until(lambda: rows[-1]["node"] == bench.trace.head)
    job.enough()
    assert value(job)["node"] == bench.trace.head
    until(lambda: bench.session.engine is bench.model.engine)
    path = bench.trace.path().tolist()
    for row in rows:
        if row["node"] in path:
            at = path.index(row["node"])
            expected = bench.session.inspect(at, "attention", 2).attention[0, 1, 0]
            assert (row["length"], len(row["weights"])) == (at + 1, at + 1)
            np.testing.assert_allclose(row["weights"], expected, atol=2e-3)


def test_a_new_run_is_followed_from_its_first_token_on(bench: Workbench) -> None:
    rows: list[Any] = []
    job = bench.follow(0, 0, "all_mean")
    job.listen(rows.append)
    until(lambda: rows)
    first = bench.session
    bench.run("a knight")
    bench.session.wait()
    until(lambda: rows[-1]["node"] == bench.trace.head and rows[-1]["length"] == bench.trace.length)
    assert [row["node"] for row in rows[1:]] == bench.trace.path().tolist()
    assert first.engine is bench.model.engine
    bench.stop()
    assert job.result(WAIT)
    assert bench.session.engine is bench.model.engine


def test_a_run_goes_on_when_it_is_followed_and_when_not_any_more(bench: Workbench) -> None:
    bench.session.logits_processor = slowly
    before = ids(bench)
    bench.set("max_tokens", 60)
    bench.resume()
    rows: list[Any] = []
    job = bench.follow(1, 1, "max")
    job.listen(rows.append)
    until(lambda: len(rows) > 3)
    assert bench.session.state == "generating"
    job.enough()
    job.result(WAIT)
    bench.session.wait()
    assert (len(ids(bench)), bench.session.finish) == (len(before) + 60, "length")


ENDS = {
    "stop": lambda bench: bench.stop(),
    "delete": lambda bench: bench.delete(bench.library.shown.id),
    "show": lambda bench: bench.show(bench.library.sessions[0].id),
    "duplicate": lambda bench: bench.duplicate(bench.library.shown.id),
    "close": lambda bench: bench.close(),
    "follow": lambda bench: bench.follow(0, 0, "mean"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("runs", [False, True])
def test_what_ends_following(end: str, runs: bool, bench: Workbench) -> None:
    bench.run("a knight")
    session = bench.session
    session.wait()
    job = begun(bench.follow(2, 1, "one"))
    if runs:
        session.logits_processor = slowly
        bench.resume()
    ENDS[end](bench)
    assert job.result(WAIT) is not None
    if end == "follow":
        bench.stop()
    assert session.engine is bench.model.engine or end == "close"
    if end == "show" and runs:
        assert session.state == "generating", "what goes on goes on"
        session.wait()


def test_what_cannot_be_followed_leaves_the_run_alone(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.session.logits_processor = slowly
    bench.resume()
    with pytest.raises(InfernoError, match="there is no head 4"):
        bench.follow(2, 4, "one").result(WAIT)
    assert bench.session.engine is bench.model.engine

    def refuse(*_: Any) -> None:
        raise InfernoError("no attention weights in layer 2")

    monkeypatch.setattr(Session, "capture", refuse)
    with pytest.raises(InfernoError, match="no attention weights"):
        bench.follow(2, 1, "one")
    bench.session.wait()
    assert bench.session.finish == "length", "it went on"


def test_following_under_edits(bench: Workbench) -> None:
    rows: list[Any] = []
    job = bench.follow(2, 1, "one")
    job.listen(rows.append)
    value(bench.intervene([{"kind": "ablate", "layer": 0, "head": None, "part": "mlp"}]))
    bench.resume()
    bench.session.wait()
    until(lambda: rows and rows[-1]["node"] == bench.trace.head)
    expected = bench.session.inspect(-1, "attention", 2).attention[0, 1, 0]
    np.testing.assert_allclose(rows[-1]["weights"], expected, atol=2e-3)
    value(bench.intervene([]))
    until(lambda: rows[-1]["node"] == bench.trace.head)
    bench.stop()
    assert job.result(WAIT)["node"] == bench.trace.head
    assert bench.session.engine is bench.model.engine


# --- what cannot be said ----------------------------------------------------------------------------------


def test_errors_are_in_words(bench: Workbench, benches: Callable[..., Workbench], model: Model) -> None:
    refused = {
        "there is no layer 6: this model has layers 0 to 5": lambda: bench.heads(-1, 6),
        "there is no layer -1": lambda: bench.attention(-1, -1, 0, "one"),
        "there is no head 4: this layer has heads 0 to 3": lambda: bench.attention(-1, 0, 4, "one"),
        "there is no head 9": lambda: bench.head_map(-1, 0, 9),
        "over must be one of one, mean, max, all_mean, all_max, rollout": lambda: bench.attention(-1, 0, 0, "sum"),
        "to be followed, not 'rollout'": lambda: bench.follow(0, 0, "rollout"),
        "this token is on another branch": lambda: bench.lens(10_000, 1, 1),
        "n must be a whole number of at least 1": lambda: bench.lens(-1, 0, 1),
        "nothing predicts the first token": lambda: bench.attribution(0),
        "must be between 1 and .* nothing predicts": lambda: bench.causal_map(0, False),
        "nothing predicts the first token: select": lambda: bench.try_edits(0, [OFF]),
    }
    for match, gesture in refused.items():
        with pytest.raises((InfernoError, ValueError, IndexError), match=match):
            gesture().result(WAIT)
    with pytest.raises(InfernoError, match="this is a recorded run, without a model"):
        benches(forked_trace()).heads(3, 0)
    with pytest.raises(InfernoError, match="nothing has been generated yet"):
        benches(model).heads(-1, 0)
    bench.session.logits_processor = slowly
    bench.resume()
    with pytest.raises(InfernoError, match="the model is busy: pause the run to look inside"):
        bench.heads(-1, 0)
    bench.stop()


def test_maps_of_long_texts_are_refused_and_rows_are_not(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "MOST", 10)
    for gesture in (lambda: bench.heads(-1, 0), lambda: bench.attention(-1, 0, 0, "rollout")):
        with pytest.raises(InfernoError, match="at most"):
            gesture().result(WAIT)
    assert told(bench.attention(-1, 0, 0, "one"))
    assert told(bench.heads(int(bench.trace.path()[9]), 0))


def test_layers_without_attention_are_named(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as recurrent ones, which some models have between others."""
    inspect = Session.inspect

    def some(self: Session, at: Any, what: Any, layers: Any = None, **options: Any) -> Any:
        if layers is None or layers == 3:
            raise InfernoError("this model has no attention weights in layer 3: it is recurrent")
        return inspect(self, at, what, layers, **options)

    monkeypatch.setattr(Session, "inspect", some)
    assert told(bench.heads(-1, 2))
    assert told(bench.attention(-1, 2, 1, "mean"))
    for gesture in (lambda: bench.heads(-1, 3), lambda: bench.attention(-1, 2, 1, "all_mean")):
        with pytest.raises(InfernoError, match="no attention weights in layer 3: it is recurrent"):
            gesture().result(WAIT)


# --- messages ---------------------------------------------------------------------------------------------


def test_through_real_messages(model: Model) -> None:
    session = model.session(PROMPT, Sampler(temperature=0))
    session.generate(6)
    page = Page(Inferno(session))
    try:
        for kind, fields, n in (
            ("heads", {"layer": 1}, 1),
            ("attention", {"layer": 1, "head": 0, "over": "mean"}, 1),
            ("head_map", {"layer": 1, "head": 0}, 1),
            ("lens", {"n": 4, "k": 3}, 3),
            ("attribution", {}, 0),
            ("try_edits", {"edits": [OFF]}, 0),
        ):
            reply = page.ask(kind, node=-1, **fields)
            assert reply["ok"], reply
            assert json.loads(json.dumps(reply["value"], allow_nan=False))["code"]
            assert len(page.buffers[reply["id"]] or []) == n
        code = page.widget.status["code"]
        assert code == "", "what the page asks by itself leaves the line of what was pressed alone"
        assert page.value("causal_map", node=-1, last=True)["kl"]
        assert page.widget.status["code"].startswith("session.causal_map(")
        following = page.tell("follow", layer=1, head=0, over="one")
        until(lambda: page.parts.get(following))
        page.order("intervene", edits=[OFF])
        assert page.widget.marks["edits"] == [OFF]
        page.order("resume")
        page.until("ready")
        until(lambda: page.parts[following][-1]["node"] == page.widget.trace.head)
        page.order("enough", request=following)
        until(lambda: following in page.replies)
        assert page.replies[following]["value"]["node"] == page.widget.trace.head
        assert page.widget.marks["altered"]
        assert "there is no layer 9" in page.refused("heads", node=-1, layer=9)["message"]
    finally:
        page.widget.close()
        assert session.engine is model.engine
        session.close()
