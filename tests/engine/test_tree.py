"""The tree of a session: whatever way one comes to a path, its records are what a fresh scoring of it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from inferno_widget import ContextFullError, Kind, Model, Sampler, Session, Trace, TraceFileError
from inferno_widget.tree import branches_of
from tests.engine.tools import NATS, PROMPT, assert_same, assert_seen, dice, loaded, opened
from tests.make_models import tiny_chat, tiny_llama


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
    with pytest.raises(ValueError, match="this branch is the current one"):
        session.prune("queen")
    session.goto(trunk)
    held = session.held_tokens
    session.prune("queen")
    assert [branch.node for branch in session.branches] == [trunk]
    assert session.branches[0].start == 0
    assert [(b.node, b.pruned) for b in branches_of(session.trace, pruned=True)] == [(trunk, False), (queen, True)]
    assert session.trace.nodes.tobytes() == nodes
    assert session.held_tokens < held
    session.restore(queen)
    assert len(session.branches) == 2


def test_a_branch_that_lost_its_cache_tells_how_far_it_is_read_again(session: Session, model: Model) -> None:
    session.generate(80)
    told: list[tuple[str, float | None]] = []
    session.observe(lambda: told.append((session.state, session.progress)))
    with model.session(np.random.default_rng(1).integers(3, 300, 1_000).tolist()) as other:
        other.score()
    assert session.held_tokens == 0, "somebody else needed the room"
    session.rewind(1)
    session.step()
    fractions = [done for state, done in told if state == "generating" and done is not None]
    assert fractions[0] == 0
    assert fractions == sorted(fractions)
    assert len(fractions) > 1
    assert told[-1] == ("ready", None)


def test_nobody_stands_on_what_is_hidden(session: Session) -> None:
    """However one comes there: by name, or by writing its text once more."""
    trunk = session.trace.head
    text = session.fork(14, " queen").text
    queen = session.trace.head
    for back in (lambda: session.goto(queen), lambda: session.edit(text)):
        session.goto(trunk)
        session.prune(queen)
        assert back().trace.head == queen
        assert [(branch.node, branch.current) for branch in session.branches] == [(trunk, False), (queen, True)]


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
    nodes, before = len(session.trace.nodes), session.trace.column("token_id").tolist()
    old = session.text
    new = change(old)
    session.edit(new)
    assert session.text == new
    ids = session.trace.column("token_id").tolist()
    same = next((i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), min(len(ids), len(before)))
    assert (session.trace.path()[:same] == np.arange(same)).all(), "what stays is the same nodes"
    assert {Kind(kind) for kind in session.trace.column("kind")[same:]} <= {Kind.FORCED}
    scored(session)
    after = len(session.trace.nodes)
    assert after - nodes == len(ids) - same
    session.edit(old)
    session.edit(new)
    assert len(session.trace.nodes) == after, "both are in the tree already"
    session.step()
    assert session.state == "ready"


@pytest.mark.parametrize("node", [-1, 10**6, 10**20])
def test_a_node_that_is_not_there_cannot_be_pruned(session: Session, node: int) -> None:
    with pytest.raises(IndexError, match=f"node {node} is not in a trace of"):
        session.prune(node)


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


# --- kept -----------------------------------------------------------------------------------------------


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
