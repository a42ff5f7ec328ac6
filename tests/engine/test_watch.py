"""Tokens that are watched: their exact probability at every step, past and future, on every branch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inferno_widget import InfernoError, Model, Session, Trace
from inferno_widget.engine import Request
from inferno_widget.engine.client import EngineClient
from inferno_widget.stats import mass
from inferno_widget.watching import chains
from inferno_widget.window import Window
from tests.engine.tools import PROMPT, dice, loaded

NEAR = 1e-5
"""Between two computations of the same row in batches of other shapes, F32 weights and cache."""


@pytest.fixture
def session(model: Model) -> Iterator[Session]:
    with model.session(PROMPT, dice()) as session:
        yield session


def row_before(session: Session, node: int) -> np.ndarray:
    """The whole row that predicts a node, from a branch of its own."""
    trace, engine = session.trace, session.model.engine
    seen = trace.window(node).of(trace.path(node)[:-1])
    branch = engine.branch(None, 0)
    engine.append(branch, trace.column("token_id", tree=True)[seen].tolist())
    try:
        return engine.logits(branch, len(seen)).astype(np.float64)
    finally:
        engine.drop(branch)


def assert_watched(session: Session) -> None:
    """Every number is the softmax of the whole row."""
    trace = session.trace
    for node in range(len(trace.nodes)):
        values = [float(trace.watched(name, tree=True)[node]) for name in trace.watches]
        if trace.nodes["parent"][node] < 0:
            assert np.isnan(values).all()
            continue
        row = row_before(session, node)
        chances = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        expected = [chances[list(ids)].sum() for ids in trace.watches.values()]
        np.testing.assert_allclose(values, expected, rtol=0, atol=NEAR)


@pytest.mark.parametrize("seed", range(5))
def test_mass_is_the_softmax_of_the_whole_row(seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits = (generator.normal(size=150_000) * 5).astype(np.float32)
    logits[:3] = -np.inf, 40 * seed, -90
    sets = [(1,), (0, 5), tuple(range(9, 200)), (0,), (2,)]
    exact = logits.astype(np.float64)
    chances = np.exp(exact - exact.max()) / np.exp(exact - exact.max()).sum()
    np.testing.assert_allclose(mass(logits, sets), [chances[list(ids)].sum() for ids in sets], rtol=1e-6, atol=1e-12)


def test_past_and_future_steps_are_exact(session: Session) -> None:
    session.generate(15)
    king = session.model.token(" king")
    watched = session.watch(" king", {"some": [" queen", 300, " dragon"]}, 301)
    assert list(watched) == [" king", "some", session.model.detokenize([301]).decode(errors="backslashreplace")]
    assert watched[" king"] == (king,)
    assert watched["some"] == (session.model.token(" queen"), 300, session.model.token(" dragon"))
    assert_watched(session)
    session.generate(10)
    session.fork(12, " queen")  # through a stored alternative, or the whole row
    session.generate(3)
    stored = session.trace.record(int(session.trace.path()[10])).top_ids[-1]
    session.fork(10, int(stored))
    missing = next(t for t in range(300, 500) if t not in session.trace.record(int(session.trace.path()[9])).top_ids)
    session.fork(9, missing)
    session.take(session.lookahead(k=2, depth=4, at=8)[1])
    assert_watched(session)


def test_every_branch_is_scored_when_a_watch_begins(session: Session) -> None:
    session.generate(12)
    head = session.trace.head
    for at, token in [(11, " queen"), (11, " dragon"), (15, " queen"), (4, " dragon")]:
        session.goto(head)
        session.fork(at, token).generate(4)
    before = (session.trace.nodes.tobytes(), session.trace.head, session.state)
    session.watch(" king")
    assert (session.trace.nodes.tobytes(), session.trace.head, session.state) == before
    assert_watched(session)


def test_after_slides_it_sees_what_the_model_saw(tiny: Path) -> None:
    with loaded(tiny, n_ctx=256) as model, model.session(PROMPT, dice(), on_full="slide", keep=4) as session:
        session.generate(420)
        session.watch(" king", "the")
        session.generate(5)
        trace = session.trace
        assert {trace.window(int(node)) for node in trace.path()} > {Window()}
        for node in trace.path()[[5, 100, 254, 255, 256, 300, 380, 400, -6, -5, -1]]:
            row = row_before(session, int(node))
            chances = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
            assert trace.watched("the", tree=True)[node] == pytest.approx(chances[model.token("the")], abs=NEAR)


def test_a_watch_may_come_before_the_prompt_is_scored(session: Session) -> None:
    session.watch(" king")
    assert len(session.trace.nodes) == 0
    session.generate(5)
    assert_watched(session)


def test_watches_come_and_go(session: Session) -> None:
    session.generate(5)
    session.watch(" king", " queen")
    queen = session.trace.watched(" queen")
    session.watch(" dragon")
    session.unwatch(" king")
    assert list(session.trace.watches) == [" queen", " dragon"]
    np.testing.assert_array_equal(session.trace.watched(" queen"), queen)
    session.generate(80)
    session.watch({" queen": [" queen", " king"]})
    assert list(session.trace.watches) == [" dragon", " queen"]
    assert (session.trace.watched(" queen")[1:6] > queen[1:6]).all()
    assert_watched(session)
    with pytest.raises(KeyError, match="'King' is not watched; these are: ' dragon', ' queen'"):
        session.unwatch("King")
    with pytest.raises(KeyError, match="is not watched"):
        session.trace.watched("King")


def test_a_column_in_the_frame_and_in_copies(session: Session) -> None:
    session.generate(5)
    session.fork(8, " queen")
    session.watch(" king")
    frame, tree = session.trace.to_pandas(), session.trace.to_pandas(tree=True)
    np.testing.assert_array_equal(frame["p( king)"], session.trace.watched(" king"))
    np.testing.assert_array_equal(tree["p( king)"], session.trace.watched(" king", tree=True))
    assert len(tree) > len(frame)
    other = session.model.session(session.trace, dice())
    other.generate(70)
    assert_watched(other)
    assert len(session.trace.watched(" king")) == session.trace.length


def test_a_saved_trace_keeps_its_watches(session: Session, tmp_path: Path) -> None:
    session.generate(5)
    session.watch(" king")
    session.trace.save(tmp_path / "run.inferno")
    trace = Trace.load(tmp_path / "run.inferno")
    assert trace.watches == session.trace.watches
    np.testing.assert_array_equal(trace.watched(" king"), session.trace.watched(" king"))
    other = session.model.session(trace, dice())
    other.generate(70)
    other.watch(" queen")
    assert_watched(other)


def test_nobody_who_does_not_watch_pays(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []
    generate = EngineClient.generate

    def spy(self: EngineClient, branch: object, request: Request, **options: object) -> object:
        asked.append(request)
        return generate(self, branch, request, **options)

    monkeypatch.setattr(EngineClient, "generate", spy)
    session.generate(2)
    session.watch(" king")
    session.generate(2)
    session.unwatch(" king")
    session.generate(2)
    assert [bool(request.watch) for request in asked] == [False, True, False]


def test_a_run_under_way_is_in_the_way_and_a_pause_is_not(session: Session) -> None:
    session.generate(2)
    session.start(2000)
    with pytest.raises(InfernoError, match="already running"):
        session.watch(" king")
    assert not session.trace.watches
    session.pause()
    session.watch(" king")
    assert session.state == "paused"
    session.stop()


def test_texts_that_are_no_token_are_explained(session: Session) -> None:
    model = session.model
    assert model.variants("King") == {text: model.token(text) for text in ("king", " king") if text in model._by_text}
    assert model.variants("king")[" king"] == model.token(" king")
    with pytest.raises(ValueError, match=r"'King' is no single token of this model, but \d+; .*' king'"):
        session.watch("King")
    with pytest.raises(ValueError, match="no single token of this model"):
        session.watch("xyzxyz")
    with pytest.raises(ValueError, match="512 is neither"):
        session.watch({"a": [512]})
    with pytest.raises(TypeError, match="must name several tokens"):
        session.watch({"a": " king"})
    with pytest.raises(ValueError, match="'a' names no token"):
        session.watch({"a": []})
    with pytest.raises(ValueError, match="two different sets"):
        session.watch({"a": [300]}, {"a": [301]})
    with pytest.raises(TypeError, match="did you mean 'variants'"):
        session.watch("a", variant=True)
    assert session.watch("KING", variants=True)["KING"] == tuple(model.variants("king").values())
    assert session.watch("a")["a"][0] > 258, "not the byte's own token"


@pytest.mark.parametrize("token", [1.5, None, -1, 10**9, True])
def test_what_is_neither_text_nor_id_is_not_watched(session: Session, token: object) -> None:
    with pytest.raises(ValueError, match="is neither a text nor a token id of this model"):
        session.watch(token)


def test_a_watch_is_named_by_a_text(session: Session) -> None:
    with pytest.raises(TypeError, match="a watch has a text for its name, not 5"):
        session.watch({5: [" the"]})


def test_chains_hold_every_node_once(session: Session) -> None:
    session.generate(10)
    head = session.trace.head
    session.fork(9, " queen").generate(3)
    session.goto(head)
    session.generate(2)
    trace = session.trace
    found = chains(trace, range(len(trace.nodes)))
    assert sorted(node for chain in found for node in chain.nodes) == list(range(1, len(trace.nodes)))
    assert len(found) == 2
    assert len(chains(trace, [3, 4, 6, 7])) == 2


def test_what_a_watch_leaves_the_next_one_scores(session: Session) -> None:
    session.generate(20)
    seen: list[int] = []
    session.watch(5, each=lambda node: bool(seen.append(node)) or len(seen) < 4)
    assert len(seen) == 4
    name = next(iter(session.trace.watches))
    known = np.flatnonzero(~np.isnan(session.trace.watched(name, tree=True))).tolist()
    assert known == seen
    session.watch(6)
    assert_watched(session)
    assert np.isnan(session.trace.watched(name)).sum() == 1, "the first token has no prediction"
