"""The tree of a session: whatever way one comes to a path, its records are what a fresh scoring of it says."""

from __future__ import annotations

import contextlib
import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from inferno_widget import ContextFullError, InfernoError, Kind, Model, Sampler, Session, Trace, TraceFileError
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.tree import branches_of
from tests.engine.tools import GELU_NATS, NATS, PROMPT, assert_same, assert_seen, dice, loaded, opened
from tests.make_models import tiny_chat, tiny_gemma2, tiny_gemma3, tiny_gpt2, tiny_llama, tiny_qwen2


def scored(session: Session) -> None:
    """Every record of the path is what a session on these tokens would record."""
    ids = session.trace.column("token_id").tolist()
    with session.model.session(ids, dice()) as fresh:
        for mine, theirs in zip(session.trace, fresh.score(), strict=True):
            theirs = theirs._replace(kind=mine.kind, sampled_prob=mine.sampled_prob, draw=mine.draw)
            assert_same([mine], [theirs], nats=NATS)


# --- going back -------------------------------------------------------------------------------------------


def test_rewind_goes_back_and_goto_forward(session: Session) -> None:
    path = session.trace.path().tolist()
    assert session.rewind(5) is session
    assert session.trace.path().tolist() == path[:-5]
    session.rewind()
    assert session.trace.length == len(path) - 6
    again = session.generate(6)
    assert [r.token_id for r in session.trace] == session.trace.column("token_id", tree=True)[path].tolist(), again
    session.goto(path[-1])
    session.rewind(len(path))
    assert (session.trace.length, session.trace.head) == (0, -1)
    session.step()
    assert session.trace.length == len(session.prompt_ids) + 1
    with pytest.raises(IndexError, match="cannot be rewound by 99"):
        session.rewind(99)
    for wrong in (0, -1, True):
        with pytest.raises(ValueError, match="n must be a whole number"):
            session.rewind(wrong)


# --- branches ---------------------------------------------------------------------------------------------


def test_branches_say_where_they_part_and_how_likely_they_are(session: Session) -> None:
    (only,) = session.branches
    assert (only.node, only.start, only.current, only.length) == (session.trace.head, 0, True, session.trace.length)
    session.fork(14, " queen").generate(4)
    session.fork(16, " dragon")
    trunk, first, second = session.branches
    assert trunk == only._replace(current=False, start=int(session.path(only.node)[14]), text=trunk.text)
    assert [branch.current for branch in session.branches] == [False, False, True]
    for branch in (trunk, first, second):
        rows = session.trace.nodes[session.path(branch.node)]
        assert branch.length == len(rows)
        assert branch.logprob == pytest.approx(float(np.nansum(rows["logprob"].astype(np.float64))))
        path = session.path(branch.node).tolist()
        others = {n for other in session.branches if other != branch for n in session.path(other.node).tolist()}
        assert branch.start == next(node for node in path if node not in others)
        assert branch.text == "".join(session.trace.texts(path)[path.index(branch.start) :])
    assert repr(second).startswith(f"<Branch {second.text!r}: node {second.node}, {second.length} tokens, ")
    assert repr(second).endswith(f"{second.logprob:.2f} nats, current>")
    np.testing.assert_array_equal(session.path(), session.trace.path())


def test_a_name_goes_on_with_its_branch(session: Session) -> None:
    session.name_branch("trunk")
    session.generate(3)
    trunk = session.trace.head
    session.fork(15, " queen").generate(3)
    session.name_branch("the queen")
    session.generate(2)
    queen = session.trace.head
    assert [branch.name for branch in session.branches] == ["trunk", "the queen"]
    session.fork(session.trace.length - 1, " dragon")
    assert [branch.name for branch in session.branches] == ["trunk", "the queen", None]
    assert session.goto("trunk").trace.head == trunk
    assert session.path("the queen")[-1] == queen
    session.name_branch("the queen", trunk)
    assert [branch.name for branch in session.branches] == ["the queen", None, None]
    with pytest.raises(KeyError, match="no branch is called 'the king'; these are: 'trunk', 'the queen'"):
        session.goto("the king")
    assert session.trace.copy().names == session.trace.names


def test_an_empty_name_takes_the_name_of_the_branch_away(session: Session) -> None:
    session.name_branch("trunk")
    session.generate(3)
    trunk = session.trace.head
    session.fork(15, " queen").generate(3)
    session.name_branch("")
    assert [branch.name for branch in session.branches] == ["trunk", None], "which it never had"
    session.name_branch("queen")
    session.name_branch("", trunk)
    assert session.trace.names == {"queen": session.trace.head}
    with pytest.raises(IndexError, match="not in a trace"):
        session.name_branch("nowhere", 10**9)


def test_what_is_pruned_is_hidden_and_nothing_is_lost(session: Session) -> None:
    with pytest.raises(ValueError, match="no other branch"):
        session.prune(session.trace.head)
    trunk = session.trace.head
    session.fork(14, " queen").generate(4)
    session.name_branch("queen")
    queen, nodes = session.trace.head, session.trace.nodes.tobytes()
    with pytest.raises(ValueError, match="stands on this branch"):
        session.prune("queen")
    session.goto(trunk)
    held = session.held_tokens
    session.prune("queen")
    assert [branch.node for branch in session.branches] == [trunk]
    assert session.branches[0].start == 0
    assert [(b.node, b.pruned) for b in branches_of(session.trace, pruned=True)] == [(trunk, False), (queen, True)]
    assert session.trace.nodes.tobytes() == nodes
    assert session.held_tokens < held
    assert session.goto("queen").generate(2) is not None
    session.restore(queen)
    assert len(session.branches) == 2


# --- editing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + " and a dragon",
        lambda text: text[:-3],
        lambda text: PROMPT + " who said that",
        lambda text: text[:25] + "🌋 queen" + text[30:],
        lambda text: "the forest",
        lambda text: text,
    ],
)
def test_an_edit_makes_the_text_and_scores_it(session: Session, change: Callable[[str], str]) -> None:
    nodes, before = len(session.trace), session.trace.column("token_id").tolist()
    old = session.text
    new = change(old)
    session.edit(new)
    assert session.text == new
    ids = session.trace.column("token_id").tolist()
    same = next((i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), min(len(ids), len(before)))
    assert (session.trace.path()[:same] == np.arange(same)).all(), "what stays is the same nodes"
    assert {Kind(kind) for kind in session.trace.column("kind")[same:]} <= {Kind.FORCED}
    scored(session)
    after = len(session.trace)
    assert after - nodes == len(ids) - same
    session.edit(old)
    session.edit(new)
    assert len(session.trace) == after, "both are in the tree already"
    session.step()
    assert session.state == "ready"


def test_an_edit_is_one_prefill(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("prefill", "logits", "generate"):
        original = getattr(session.model.engine, name)
        monkeypatch.setattr(
            session.model.engine, name, lambda *a, name=name, f=original, **k: (calls.append(name), f(*a, **k))[1]
        )
    session.edit(PROMPT + " who had three sons and daughters")
    assert calls == ["prefill"]


def test_an_edit_inside_a_character_begins_with_a_whole_one(model: Model) -> None:
    with model.session(PROMPT, dice()) as session:
        session.edit(PROMPT + "🌋")  # four byte tokens
        session.rewind(2)
        session.edit(PROMPT + "🌍")
        assert session.text == PROMPT + "🌍"
        scored(session)


def test_an_edit_keeps_control_tokens_of_the_prompt_and_not_an_end(tmp_path: Path) -> None:
    with loaded(tiny_chat(tmp_path / "chat.gguf")) as model:
        end = model.info.eos_id
        with model.chat([{"role": "user", "content": "once upon"}], Sampler(temperature=0)) as session:
            n = len(session.prompt_ids)
            session.sampler = Sampler(temperature=0, logit_bias={end: 1e3})
            session.generate(3)
            assert session.finish == "eog"
            session.edit(session.text)
            assert session.trace.column("token_id")[-1] == end
            session.edit(session.text + " a time")
            assert session.trace.column("token_id")[:n].tolist() == session.prompt_ids
            assert end not in session.trace.column("token_id")[n:]
            assert session.text.endswith(" a time")


def test_an_edit_that_cannot_be_leaves_everything_as_it_was(tiny: Path) -> None:
    with loaded(tiny, n_ctx=256) as model, model.session(PROMPT, dice()) as session:
        session.generate(5)
        head = session.trace.head
        with pytest.raises(ContextFullError):
            session.edit(PROMPT + " king" * 300)
        assert session.trace.head == head
        assert session.generate(2)
        session.on_full = "slide"
        session.edit(PROMPT + " king" * 300)
        assert session.text == PROMPT + " king" * 300
        assert session.trace.window().left_out


def test_an_edit_after_a_slide_sees_what_the_model_saw(tiny: Path) -> None:
    judge = opened(tiny)
    with loaded(tiny, n_ctx=256) as model, model.session(PROMPT, dice(), on_full="slide", keep=3) as session:
        session.generate(300)
        n = session.trace.length
        session.edit(session.text + " who had three sons")
        record = session.trace.record(session.trace.head)
        assert (record.position, record.kind) == (session.trace.length - 1, Kind.FORCED)
        assert record.left_out > 0
        assert session.trace.length > n
        assert_seen(session.trace, judge, nats=NATS)
    judge.close()


def test_a_text_goes_on_without_the_space_that_a_model_puts_before_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf.GGUFWriter, "add_add_space_prefix", lambda self, value: None)  # llama.cpp's default
    with loaded(tiny_llama(tmp_path / "spaced.gguf")) as model:
        assert model.detokenize(model.tokenize("king", special=False)) == b" king"
        for text in ("king", " king", "s and the", "🌋 dragon", "\n", "  x"):
            assert model.detokenize(model.continued(text)) == text.encode()
        with model.session(PROMPT, dice()) as session:
            session.score()
            before = session.text
            session.edit(before + "s of the forest")
            assert session.text == before + "s of the forest"
            session.fork(session.trace.length, "s")
            assert session.text == before + "s of the forests"


# --- any way ----------------------------------------------------------------------------------------------


class Wanderer:
    """Does one thing after another with a session, by lot."""

    def __init__(self, session: Session, seed: int, *, mortal: bool) -> None:
        self.session, self.lot = session, np.random.default_rng(seed)
        self.deeds = [self.generate, self.fork_stored, self.fork_any, self.goto, self.rewind, self.edit, self.take]
        self.deeds += [self.crowd, self.look, self.prune, self.slide]
        if mortal:
            self.deeds.append(self.kill)

    def step(self) -> str:
        deed = self.deeds[self.lot.integers(len(self.deeds))]
        deed()
        return deed.__name__

    def generate(self) -> None:
        self.session.generate(int(self.lot.integers(1, 20)))

    def _position(self) -> int:
        return int(self.lot.integers(1, self.session.trace.length + 1))

    def fork_stored(self) -> None:
        at = min(self._position(), self.session.trace.length - 1)
        if not at:
            return
        options = self.session.trace.alternatives(at)
        self.session.fork(at, options[self.lot.integers(len(options))].token_id)

    def fork_any(self) -> None:
        self.session.fork(self._position(), int(self.lot.integers(3, 512)))

    def goto(self) -> None:
        self.session.goto(int(self.lot.integers(1, len(self.session.trace))))

    def rewind(self) -> None:
        if self.session.trace.length > 1:
            self.session.rewind(int(self.lot.integers(1, self.session.trace.length)))

    def edit(self) -> None:
        text = self.session.text
        words = [" king", "🌋", " who had three sons", "s"]
        self.session.edit(text[: self.lot.integers(1, len(text) + 1)] + words[self.lot.integers(len(words))])

    def take(self) -> None:
        ways = self.session.lookahead(k=3, depth=6, at=self._position(), sampler=self.session.sampler)
        self.session.take(ways[self.lot.integers(3)], int(self.lot.integers(1, 8)))

    def look(self) -> None:
        self.session.lookahead(k=8, depth=10, at=self._position())
        self.session.resample(self._position(), n=8, max_tokens=8)

    def prune(self) -> None:
        ends = [branch.node for branch in self.session.branches if not branch.current]
        if ends:
            with contextlib.suppress(ValueError):  # the session may stand on it
                self.session.prune(ends[self.lot.integers(len(ends))])

    def crowd(self) -> None:
        """Somebody else needs the room."""
        with self.session.model.session([1, *self.lot.integers(3, 512, 200).tolist()]) as other:
            other.generate(3)

    def slide(self) -> None:
        self.session.generate(90)

    def kill(self) -> None:
        child = self.session.model.engine._child
        os.kill(child.process.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        child.exited.wait(10)


@pytest.fixture(scope="module", params=["llama", "qwen2", "gemma2", "gemma3", "gpt2"])
def shape(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, LlamaEngine, float]]:
    folder = tmp_path_factory.mktemp("wander")
    make = {
        "llama": tiny_llama,
        "qwen2": tiny_qwen2,
        "gemma2": tiny_gemma2,
        "gemma3": tiny_gemma3,
        "gpt2": tiny_gpt2,
    }
    path = make[request.param](folder / "tiny.gguf")
    judge = opened(path)
    yield path, judge, NATS if request.param in ("llama", "qwen2") else GELU_NATS
    judge.close()


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_done_the_records_are_those_of_a_fresh_scoring(
    shape: tuple[Path, LlamaEngine, float], seed: int
) -> None:
    path, judge, nats = shape
    sampler = Sampler(temperature=1.0, seed=seed, logit_bias={2: -math.inf, 511: -math.inf, 0: -math.inf})
    with loaded(path, n_ctx=256) as model:
        session = model.session(PROMPT, sampler, on_full="slide", keep=3)
        session.generate(10)
        wanderer, done = Wanderer(session, seed, mortal=seed % 3 == 0), []
        if seed % 2:
            session.watch({"some": [300, 301, 302]})
        for _ in range(25):
            rows = session.trace.nodes.copy()
            try:
                done.append(wanderer.step())
            except InfernoError as error:
                raise AssertionError(f"after {done}") from error
            assert session.trace.nodes[: len(rows)].tobytes() == rows.tobytes(), "what was recorded stays"
            above, positions = session.trace.nodes["parent"], session.trace.nodes["position"]
            assert (positions == np.where(above < 0, 0, positions[above] + 1)).all()
            if session.trace.length:
                assert_seen(session.trace, judge, nats=nats)
            assert session.held_tokens <= 256
        ends = session.branches
        for branch in ends[:: max(1, len(ends) // 5)]:
            assert_seen(session.trace, judge, nats=nats, node=branch.node)
        if seed % 2:
            watched = session.trace.watched("some", tree=True)
            assert (np.isnan(watched) == (session.trace.nodes["rank"] == 0)).all()


def test_names_and_what_is_hidden_are_kept_in_a_file(session: Session, tmp_path: Path) -> None:
    trunk = session.trace.head
    session.name_branch("trunk")
    session.fork(14, " queen").generate(2)
    queen = session.trace.head
    session.goto(trunk)
    session.prune(queen)
    session.trace.save(tmp_path / "run.inferno")
    again = session.model.session(Trace.load(tmp_path / "run.inferno"), dice())
    assert again.branches == session.branches
    assert again.branches[0].name == "trunk"
    session.trace.names = {"nobody": 10_000}
    session.trace.save(tmp_path / "wrong.inferno")
    with pytest.raises(TraceFileError, match="there is none"):
        Trace.load(tmp_path / "wrong.inferno")
