"""Texts that outgrow their context: what the model sees after a slide is what the record says, and nothing else."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from inferno_widget import ContextFullError, InfernoError, Kind, Model, Sampler, Session, Trace
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.sampling import draw
from inferno_widget.window import Window
from tests.engine.tools import DEMO, GELU_NATS, NATS, PROMPT, assert_same, assert_seen, dice, loaded, opened, until
from tests.make_models import Shape, tiny_gemma2, tiny_gemma3, tiny_gpt2, tiny_llama, tiny_qwen2

N_CTX = 256


def endless(model: Model) -> Sampler:
    """The same for a model whose text ends with another token, and which had rather say one thing for ever."""
    return dice(top_k=0, top_p=1, min_p=0, logit_bias={model.info.eos_id: -math.inf})


@pytest.fixture(scope="module")
def model(tiny: Path) -> Iterator[Model]:
    with loaded(tiny, N_CTX) as model:
        yield model


@pytest.fixture(scope="module")
def judge(tiny: Path) -> Iterator[LlamaEngine]:
    """Another engine with the same model and room for everything."""
    engine = opened(tiny)
    yield engine
    engine.close()


def sliding(model: Model, n: int = 0, *, keep: int = 4, sampler: Sampler | None = None) -> Session:
    session = model.session(PROMPT, sampler or dice(), on_full="slide", keep=keep)
    if n:
        session.generate(n)
    return session


# --- the window -------------------------------------------------------------------------------------------


def test_a_window_shows_the_beginning_and_the_end() -> None:
    text = np.arange(10)
    assert Window().of(text).tolist() == text.tolist()
    assert Window(2, 3).of(text).tolist() == [0, 1, 5, 6, 7, 8, 9]
    for window in (Window(), Window(2, 3), Window(0, 4), Window(4, 6)):
        for length in range(11):
            assert window.size(length) == len(window.of(text[:length]))


def test_a_slide_leaves_out_the_older_half_of_the_rest() -> None:
    assert Window.slid(256, 4, 256) == Window(4, 126)
    assert Window.slid(256 + 126, 4, 256) == Window(4, 252)
    assert Window.slid(257, 255 - 1, 256).size(257) == 255, "there is room for one more"
    for keep, n_ctx in itertools.product((0, 1, 7, 30), (32, 33, 64)):
        window = Window.slid(100, keep, n_ctx)
        assert window.size(100) == keep + math.ceil((n_ctx - keep) / 2)


def test_what_two_windows_share_is_what_both_begin_with() -> None:
    texts = np.arange(12)
    windows = [Window(), *(Window(keep, out) for keep in (0, 2, 3) for out in (1, 4))]
    for one, other, common in itertools.product(windows, windows, range(13)):
        mine, theirs = texts, np.where(texts < common, texts, -1 - texts)
        pairs = zip(one.of(mine).tolist(), other.of(theirs).tolist(), strict=False)
        same = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        assert one.shared(other, common) == same, (one, other, common)


# --- a slide ----------------------------------------------------------------------------------------------

MODELS = {
    "llama": (tiny_llama, "f32", NATS),
    "qwen2": (tiny_qwen2, "f32", NATS),
    "gemma2": (tiny_gemma2, "f32", GELU_NATS),
    "gemma3": (tiny_gemma3, "f32", GELU_NATS),
    "gpt2": (tiny_gpt2, "f32", GELU_NATS),
    "llama with an f16 cache": (tiny_llama, "f16", 5e-2),
    "llama in Q8_0": (lambda path: tiny_llama(path, dtype="Q8_0"), "f16", 0.1),
    "demo": (lambda _: DEMO, "f16", 0.1),
}


@pytest.mark.parametrize("name", MODELS)
def test_after_a_slide_the_model_predicts_as_after_a_fresh_prefill(name: str, tmp_path: Path) -> None:
    make, kv, nats = MODELS[name]
    path = make(tmp_path / "x.gguf")
    with loaded(path, N_CTX, kv) as model:
        session = sliding(model, 520, sampler=dice(logit_bias={model.info.eos_id: -math.inf}))
        assert session.finish == "length"
        engine = opened(path, kv)
        n = len(session.prompt_ids)
        windows = assert_seen(session.trace, engine, nats=nats)
        engine.close()
        assert windows == [Window(), Window(4, 126), Window(4, 252), Window(4, 378)][: len(windows)]
        assert len(windows) == 3 + (n + 520 > 256 + 2 * 126)


@pytest.mark.parametrize(
    ("make", "nats"), [(tiny_qwen2, NATS), (tiny_gemma2, GELU_NATS), (tiny_gemma3, GELU_NATS), (tiny_gpt2, GELU_NATS)]
)
def test_forks_and_siblings_of_every_architecture(make: Callable[[Path], Path], nats: float, tmp_path: Path) -> None:
    """Forks lie before and behind a slide, and further back than what some layers of a Gemma look at."""
    path = make(tmp_path / "x.gguf")
    engine = opened(path)
    with loaded(path, N_CTX) as model, sliding(model, 400, sampler=endless(model)) as session:
        sibling = sliding(model, 40, sampler=endless(model))
        for at, stored in itertools.product((20, 120, 250, 256, 300, 390), (True, False)):
            session.goto(399)
            there = session.trace.record(int(session.trace.path()[at])).top_ids
            session.fork(at, int(there[3]) if stored else next(i for i in range(3, 300) if i not in there))
            session.generate(20)
            assert_seen(session.trace, engine, nats=nats)
        sibling.generate(60)
        assert_seen(sibling.trace, engine, nats=nats)
        session.goto(399)
        session.generate(100)
        assert assert_seen(session.trace, engine, nats=nats) == [Window(), Window(4, 126), Window(4, 252)]
        assert len({*session.trace.column("token_id").tolist()}) > 50, "a text that says the same again proves little"
    engine.close()


def test_a_table_of_positions_is_not_left(tmp_path: Path) -> None:
    """Behind it llama.cpp ends its process."""
    path = tiny_gpt2(tmp_path / "x.gguf", n_ctx=300)
    with pytest.raises(ValueError, match="n_ctx must be at most 300 for tiny gpt2, which learned that many positions"):
        Model(path, n_ctx=4096)
    for n_ctx in (None, 300, 512):
        with Model(path, n_ctx=n_ctx, n_threads=1, type_k="f32", type_v="f32") as model:
            assert model.n_ctx == model.options.n_ctx == 300
            with sliding(model, 300, sampler=endless(model)) as session:
                assert session.trace.window().left_out > 0
                assert model.memory()["kv_used"] <= model.memory()["kv_reserved"]
    with Model(path, n_ctx=200) as model:
        assert model.n_ctx == 200


@pytest.mark.parametrize("keep", [0, 1, 100, N_CTX - 2])
def test_as_much_is_kept_as_was_asked_for(keep: int, model: Model, judge: LlamaEngine) -> None:
    with sliding(model, 520 if keep < 200 else 255, keep=keep) as session:
        windows = assert_seen(session.trace, judge)
        half = (N_CTX - keep) // 2
        assert windows[:3] == [Window(), Window(keep, half), Window(keep, 2 * half)]
        assert session.trace.runs[0]["keep"] == keep


def test_the_trace_counts_the_whole_text_and_so_do_the_dice(model: Model) -> None:
    with sliding(model, 400, sampler=dice(top_p=1, min_p=0)) as session:
        trace = session.trace
        assert trace.column("position").tolist() == list(range(trace.length))
        begun = len(session.prompt_ids)
        expected = np.array([draw(7, position) for position in range(begun, trace.length)])
        drawn = trace.column("kept")[begun:] > 1  # of one candidate there is nothing to draw
        assert drawn.sum() > 300
        np.testing.assert_array_equal(trace.column("draw")[begun:][drawn], expected[drawn])
        assert len(trace.runs) == 1, "a slide is no run of its own"
        assert len(trace.nodes) == trace.length, "what a slide reads again is not recorded"


def test_the_record_says_what_the_model_did_not_see(model: Model, tmp_path: Path) -> None:
    with sliding(model, 300) as session:
        frame = session.trace.to_pandas()
        assert frame["left_out"].tolist() == [0] * 256 + [126] * (len(frame) - 256)
        session.trace.save(tmp_path / "x.inferno")
        again = Trace.load(tmp_path / "x.inferno")
        assert again.nodes.tobytes() == session.trace.nodes.tobytes()
        assert again.window() == session.trace.window() == Window(4, 126)
        assert again.window(255) == Window()


def test_penalties_look_at_what_the_model_sees(model: Model) -> None:
    """A token that would come at once comes as soon as its last occurrence is out of sight."""
    session = sliding(model, sampler=dice(temperature=0, repeat_penalty=1e6, penalty_last_n=-1), keep=0)
    session.generate(256 + 60 - len(session.prompt_ids))
    ids = session.trace.column("token_id")
    seen = session.trace.window().of(ids[:-1])
    assert ids[-1] not in seen
    assert set(ids[256:]) & set(ids[:128]), "tokens come again that were seen no more"


@pytest.mark.parametrize("length", [254, 255, 256])
def test_a_prompt_that_fills_the_context(length: int, model: Model, judge: LlamaEngine) -> None:
    ids = [1, *(3 + np.random.default_rng(length).integers(0, 300, length - 1)).tolist()]
    with model.session(ids, dice(), on_full="slide") as session:
        session.generate(10)
        assert assert_seen(session.trace, judge) == [Window(), Window(0, 128)]


def test_a_prompt_that_is_longer_than_the_context_is_refused(model: Model) -> None:
    with model.session([1] * 257, dice(), on_full="slide") as session:
        with pytest.raises(ContextFullError, match=r"257 tokens do not fit into a context of 256.*read whole"):
            session.generate(3)
        assert len(session.trace.nodes) == 0


# --- the other ways ---------------------------------------------------------------------------------------


def test_stop_is_the_default_and_error_raises(model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.generate(400)
    assert (session.on_full, session.keep) == ("stop", 0)
    assert (session.finish, session.trace.length) == ("context", 256)
    session.on_full = "error"
    with pytest.raises(ContextFullError, match=r'context of 256 tokens is full.*larger n_ctx.*on_full="slide"'):
        session.generate(3)
    assert session.state == "error"
    session.start(3)
    with pytest.raises(ContextFullError):
        session.wait()
    session.on_full, session.keep = "slide", 4
    session.generate(3)
    assert session.trace.column("left_out")[-3:].tolist() == [126] * 3
    assert [run["on_full"] for run in session.trace.runs] == ["stop", "slide"]
    session.close()


def test_error_keeps_what_was_made(model: Model) -> None:
    with model.session(PROMPT, dice(), on_full="error") as session:
        with pytest.raises(ContextFullError):
            session.generate(400)
        assert session.trace.length == 256
        with pytest.raises(ContextFullError):
            session.step()
        session.goto(200)
        session.generate(10)
        assert session.trace.length == 211


@pytest.mark.parametrize("value", ["Slide", None, True, ["slide"]])
def test_what_is_no_way_is_refused(value: object, model: Model) -> None:
    with pytest.raises(ValueError, match="on_full must be one of stop, slide, error, not"):
        model.session(PROMPT, on_full=value)


@pytest.mark.parametrize("value", [-1, N_CTX - 1, 1.0, True, "4", None])
def test_what_cannot_be_kept_is_refused(value: object, model: Model) -> None:
    with pytest.raises(ValueError, match="keep must be a whole number between 0 and n_ctx - 2, which is 254, not"):
        model.session(PROMPT, keep=value)
    session = model.session(PROMPT)
    with pytest.raises(ValueError, match="keep must be"):
        session.keep = value
    assert session.keep == 0


# --- the same text, however it came about -----------------------------------------------------------------


def in_steps(session: Session, n: int) -> None:
    for _ in range(n):
        session.step()


def in_parts(session: Session, n: int) -> None:
    for part in (n // 3, n // 3, n - 2 * (n // 3)):
        session.generate(part)


def in_a_stream(session: Session, n: int) -> None:
    assert len(list(session.stream(n))) == n


def with_pauses(session: Session, n: int) -> None:
    session.start(n)
    while session.state != "ready":
        session.pause()
        session.wait()
        if session.state == "paused":
            session.resume()
            time.sleep(0.003)


def with_a_dead_engine(session: Session, n: int) -> None:
    """The window is rebuilt from the trace."""
    session.generate(n - 30)
    session.model.engine._child.process.kill()
    until(lambda: session.model.engine.pid is None)
    session.generate(30)


def with_the_cache_lost(session: Session, n: int) -> None:
    session.generate(n - 30)
    session._branches.release()
    session.generate(30)


@pytest.mark.parametrize("way", [in_steps, in_parts, in_a_stream, with_pauses, with_the_cache_lost, with_a_dead_engine])
def test_a_text_with_slides_is_the_same_however_it_came_about(way: object, model: Model) -> None:
    with sliding(model, 380) as whole, sliding(model) as session:
        way(session, 380)
        assert_same(list(session.trace), list(whole.trace), nats=NATS)


@pytest.mark.parametrize("split", [False, True])
def test_a_stop_string_across_a_slide(split: bool, model: Model) -> None:
    with sliding(model) as session:
        begun = 256 - len(session.prompt_ids)
        session.generate(begun - 1)
        word = model.tokenize("🌋", special=False)
        assert len(word) > 1
        only = [word[0], *word[1:], *word]

        def saying(ids: np.ndarray, logits: np.ndarray) -> np.ndarray:
            row = np.full_like(logits, -np.inf)
            row[only[session.trace.length - 255]] = 0
            return row

        session.logits_processor = saying
        if split:
            session.start(20, stop="🌋")
            session.pause()
            session.wait()
            session.resume() if session.state == "paused" else None
            session.wait()
        else:
            session.generate(20, stop="🌋")
        assert session.finish == "stop"
        assert session.trace.length == 255 + len(word)
        assert session.trace.window() == Window(4, 126)


def test_the_end_of_the_first_half_of_a_stop_string_is_met_behind_a_slide(model: Model) -> None:
    with sliding(model, 300) as session:
        text = session.trace.texts(session.trace.path())
        across = text[254] + text[255] + text[256]
    with sliding(model) as session:
        session.generate(290, stop=across)
        assert session.finish == "stop"
        assert session.text.endswith(across)


# --- branches ---------------------------------------------------------------------------------------------


def test_an_old_node_is_seen_with_all_that_came_before_it(model: Model, judge: LlamaEngine) -> None:
    with sliding(model, 400) as session:
        tip = session.trace.head
        session.goto(200)
        session.generate(20)
        assert session.trace.window() == Window()
        assert_seen(session.trace, judge)
        session.goto(tip)
        session.generate(30)
        windows = assert_seen(session.trace, judge)
        assert windows[:3] == [Window(), Window(4, 126), Window(4, 252)]
        session.goto(300)
        session.generate(5)
        assert session.trace.window() == Window(4, 126)
        assert_seen(session.trace, judge)


@pytest.mark.parametrize("at", [100, 255, 256, 257, 300, 381, 382, 383, 390])
@pytest.mark.parametrize("stored", [True, False])
def test_a_fork_anywhere_is_predicted_by_what_the_other_was(
    at: int, stored: bool, model: Model, judge: LlamaEngine
) -> None:
    with sliding(model, 400) as session:
        before = session.trace.nodes.copy()
        other = session.trace.record(int(session.trace.path()[at]))
        token = int(other.top_ids[3]) if stored else next(i for i in range(300) if i not in other.top_ids)
        session.fork(at, token)
        forked = session.trace.record(session.trace.head)
        assert (forked.position, forked.left_out) == (at, other.left_out)
        assert forked.entropy == pytest.approx(other.entropy, abs=NATS)
        session.generate(150)
        assert_seen(session.trace, judge)
        rows = session.trace.nodes[: len(before)]
        assert rows.tobytes() == before.tobytes(), "what was there stays"


def test_a_fork_of_many_tokens_slides_too(model: Model, judge: LlamaEngine) -> None:
    with sliding(model) as session:
        session.generate(253 - len(session.prompt_ids))
        session.fork(250, "🌋🌋🌋")
        assert session.trace.length > 256
        session.fork(session.trace.length, "the dragon")
        assert assert_seen(session.trace, judge) == [Window(), Window(4, 126)]
        kinds = session.trace.column("kind")[250:]
        assert set(kinds.tolist()) == {Kind.FORCED}


def test_without_a_slide_a_fork_does_not_outgrow_the_context(model: Model) -> None:
    with sliding(model, 400) as session:
        session.on_full = "stop"
        room = 256 - session.trace.window().size(session.trace.length)
        length = session.trace.length
        with pytest.raises(ContextFullError):
            session.fork(length, "🌋" * room)
        assert session.trace.length == length
        session.generate(1_000)
        assert session.finish == "context"
        assert session.trace.window().size(session.trace.length) == 256


def test_another_keep_holds_from_the_next_slide_on(model: Model, judge: LlamaEngine) -> None:
    """Until then the window stays: what the model has read is not changed behind its back."""
    with sliding(model, 260) as session:
        session.keep = 40
        session.generate(20)
        assert session.trace.window() == Window(4, 126)
        session.generate(150)
        assert session.trace.window() == Window(40, 108 + 126)
        assert_seen(session.trace, judge)
        session.goto(270)
        assert session.trace.window() == Window(4, 126)
        session.fork(265, "x")
        session.generate(3)
        assert session.trace.window() == Window(4, 126)
        assert_seen(session.trace, judge)


def test_siblings_of_other_sessions_go_on_as_if_nothing_had_happened(model: Model) -> None:
    with sliding(model, 60, sampler=dice(1)) as alone:
        expected = list(alone.trace)
    with sliding(model, 30, sampler=dice(1)) as sibling, sliding(model, 600) as long:
        assert long.trace.window().left_out > 300
        sibling.generate(30)
        assert_same(list(sibling.trace), expected, nats=NATS)


def test_a_slide_gives_back_what_it_leaves_out(model: Model) -> None:
    with sliding(model, keep=0) as long, model.session("said the queen", dice()) as other:
        long.generate(280)
        assert long.held_tokens == long.trace.window().size(long.trace.length) - 1
        other.generate(20)
        assert other.held_tokens == other.trace.length - 1
        assert model.engine.holdings().cells() == long.held_tokens + other.held_tokens, "there is room for both again"


# --- stopping ---------------------------------------------------------------------------------------------


def test_stop_within_the_prefill_of_a_slide(tmp_path: Path) -> None:
    """A model whose prefill takes long enough to be met: it ends at once, and goes on later."""
    shape = Shape(n_layer=8, n_embd=512, n_head=8, n_head_kv=8, n_ff=2048, n_ctx=2048)
    path = tiny_llama(tmp_path / "slow.gguf", shape=shape)
    ids = [1, *(3 + np.random.default_rng(0).integers(0, 300, 1022)).tolist()]
    with loaded(path, n_ctx=1024) as model, model.session(ids, dice(), on_full="slide") as session:
        session.generate(1)
        began = threading.Event()
        session.observe(lambda: began.set() if session.progress is not None else None)
        session.start(5)
        assert began.wait(20), "the slide's prefill is reported"
        assert session.trace.length == 1024
        started = time.perf_counter()
        session.stop()
        session.wait()
        assert time.perf_counter() - started < 0.15
        assert (session.finish, session.trace.length, session.progress) == ("cancelled", 1024, None)
        session.generate(3)
        assert session.trace.column("left_out")[-3:].tolist() == [512] * 3


# --- going on from a trace --------------------------------------------------------------------------------


def test_a_session_goes_on_from_a_trace(model: Model, judge: LlamaEngine, tmp_path: Path) -> None:
    with sliding(model, 300) as whole, sliding(model, 270) as begun:
        begun.trace.save(tmp_path / "x.inferno")
        with model.session(Trace.load(tmp_path / "x.inferno"), on_full="slide", keep=4) as session:
            assert session.prompt_ids == whole.prompt_ids
            assert session.sampler == begun.sampler
            assert session.text == begun.text
            session.generate(30)
            assert_same(list(session.trace), list(whole.trace), nats=NATS)
            assert begun.trace.length == len(begun.prompt_ids) + 270, "it was a copy"
            session.goto(-1)
            assert len(session.score().nodes) == 2 * len(session.prompt_ids) + 300


def test_a_trace_of_another_model_is_refused(model: Model, tmp_path: Path) -> None:
    with loaded(tiny_llama(tmp_path / "other.gguf", seed=1), N_CTX) as other, other.session(PROMPT, dice()) as session:
        session.generate(3)
        with pytest.raises(InfernoError, match=r"made by tiny llama \(other.gguf\), and tiny.gguf holds another model"):
            model.session(session.trace)
    with pytest.raises(InfernoError, match="the trace is empty"):
        model.session(Trace(5, model=model.card))


def test_a_model_with_less_room_goes_on_from_a_trace(tiny: Path, tmp_path: Path) -> None:
    with loaded(tiny, n_ctx=512) as roomy, roomy.session(PROMPT, dice()) as long:
        long.generate(400)
        trace = long.trace
    with loaded(tiny, N_CTX) as model, model.session(trace, on_full="slide", keep=4) as session:
        session.generate(5)
        assert session.trace.window().size(session.trace.length - 1) <= 256
        session.on_full = "stop"
        session.goto(350)
        session.generate(3)
        assert session.finish == "context"
        with pytest.raises(ContextFullError):
            session.fork(300, 999 % 300)
