"""Whatever a page says, in whatever state, is answered in words, and harms nothing.

Every kind of message of ``protocol.json`` is sent with every field wrong in every way, and in every state that a widget
can be in; hypothesis makes up the rest. The normal run tries the same every time; ``EXAMPLES=3000 pytest`` makes up as
many new ones for each kind. How many messages were tried is printed at the end.
"""

from __future__ import annotations

import builtins
import copy
import logging
import math
import os
import re
import reprlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from inferno_widget import Inferno, InfernoError, Model, ModelLoadError, Session, errors, reading
from inferno_widget.gestures import models
from inferno_widget.widget import PAGE
from inferno_widget.wire import PROTOCOL
from tests.engine.page import Page
from tests.engine.tools import PROMPT, dice, kill, loaded, slowly, until
from tests.make_models import tiny_chat
from tests.traces import forked_trace

EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
TRIED = {"messages": 0, "refused": 0}
KINDS: dict[str, dict[str, str]] = PROTOCOL["to_kernel"]
ASKED = [kind for kind, fields in KINDS.items() if "id" in fields]
"""Kinds that are answered."""


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


NASTY: list[Any] = [
    *(None, True, False, 0, 1, -1, -2, 2**31, 2**53 - 1, 2**53, 10**400, -(2**63), 0.5, -0.0, 1e308),
    *(math.nan, math.inf, -math.inf),
    *(
        "",
        " ",
        "x",
        "0",
        "-1",
        "\0",
        "a\0b",
        "\ud800",
        "x \udfff y",
        "\u202e",
        "../../../etc/passwd",
        "~/x",
        "/dev/zero",
    ),
    *("[", "(?P<", "root ::= (", "{", "<img src=x onerror=alert(1)>", "%s{0}", "x" * 10_000_000),
    *([], [None], [""], [0], [-1], [2**60], ["x"], [math.nan], [{}], ["\ud800"], nested(1000), [0] * 100_000),
    *({}, {"a": math.nan}, {"\ud800": 1}, {"": {}}, {"temperature": "hot"}, {"seed": -1}, {"grammar": 5}),
    [{"role": "user", "content": "\ud800"}],
    [{"role": "user"}],
    [{"role": 5, "content": []}],
    [{"kind": "ablate"}],
    [{"kind": "ablate", "layer": 99, "head": None, "part": "attention"}],
    [{"kind": "scale", "layer": 0, "head": 0, "part": "attention", "factor": 1e308}],
    [{"kind": "steer", "layer": 0, "strength": 1, "positive": [5], "negative": []}],
]
TYPES: dict[str, type] = {"int": int, "str": str, "bool": bool, "list": list, "any": object}


def nasty(type_: str) -> list[Any]:
    """What a field of a type may hold, and one thing of another: that the rest are refused, test_commands.py shows."""
    fits = [isinstance(value, TYPES[type_]) for value in NASTY]
    another = fits.index(False) if False in fits else 0
    return [value for at, value in enumerate(NASTY) if EXAMPLES or fits[at] or at == another]


GOOD: dict[str, Any] = {
    "prompt": PROMPT,
    "messages": [{"role": "user", "content": "hello"}],
    "node": 9,
    "token_id": 300,
    "text": "once",
    "request": 1,
    "n": 2,
    "k": 2,
    "depth": 2,
    "index": 0,
    "settings": {"top_k": 5},
    "parameter": "temperature",
    "values": [0.5, 1.0],
    "rows": False,
    "max_tokens": 3,
    "by": "",
    "every": 4,
    "tokens": ["king"],
    "variants": False,
    "layer": 0,
    "head": 0,
    "over": "one",
    "last": True,
    "hidden": False,
    "path": "",
    "n_ctx": 256,
    "repo": "a/b",
    "edits": [{"kind": "ablate", "layer": 0, "head": 0, "part": "attention"}],
    "name": "mine",
    "query": "king",
    "pattern": "*.gguf",
    "task": 1,
    "model": 1,
    "session": 1,
    "format": "json",
    "theme": "light",
    "epoch": 1,
    "have": 0,
    "seq": 0,
    "views": 1,
}
"""What fields may hold, by name; some kinds mean something of their own by it."""
ANY: dict[str, Any] = {"int": 0, "str": "x", "bool": False, "list": [], "any": None}
OWN: dict[str, dict[str, Any]] = {
    "set": {"name": "temperature", "value": 0.7},
    "look": {"name": "palette", "value": "viridis"},
    "preset": {"name": "greedy"},
    "inspect": {"path": "tiny.gguf"},
    "estimate": {"path": "tiny.gguf"},
    "load": {"path": "none.gguf"},
    "open": {"path": "none.inferno"},
}


def good(kind: str, **known: Any) -> dict[str, Any]:
    """A message as a page sends it, without its number; `known` are fields that have other values here."""
    fields = {**GOOD, **known, **OWN.get(kind, {})}
    named = {name: copy.deepcopy(fields.get(name, ANY[type_])) for name, type_ in KINDS[kind].items() if name != "id"}
    return {"kind": kind, **named}


# --- what must hold ---------------------------------------------------------------------------------------

ENDLESS = ("follow",)
WORDS = (InfernoError, ValueError, TypeError, IndexError, OSError)
"""What an answer may be: the rest is Python's own stumbling."""
STUMBLES = re.compile(
    r"'\w+' object|unsupported operand|positional argument|unexpected keyword|not supported between|index out of range|"
    r"out of bounds|recursion|codec can't|embedded null|Exceeds the limit|cannot unpack|unhashable|cannot convert|"
    r"could not convert|object is not|must be str, not|expected str|^$|^'\w*'$|too large to convert|"
    r"invalid literal|\[Errno"
)


def in_words(error: dict[str, str]) -> bool:
    """Whether an error says what is wrong, and is none of those that Python raises by itself."""
    homes = (errors, reading, builtins)
    type_ = next((getattr(home, error["type"]) for home in homes if hasattr(home, error["type"])), None)
    known = isinstance(type_, type) and issubclass(type_, WORDS)
    return known and not STUMBLES.search(error["message"]) and len(error["message"]) < 2_010


def state_of(widget: Inferno) -> Any:
    """Everything that a message which is refused leaves as it is."""
    bench = widget.workbench
    opened = [
        (each.id, each.name, trace.head, trace.nodes.tobytes(), dict(trace.names), set(trace.pruned))
        for each in bench.library.sessions
        for trace in [each.trace]
    ]
    shown = bench.library.shown.id if bench.library.shown else None
    return opened, shown, bench.settings, bench.look_dict, bench.edits, [m.id for m in bench.library.models]


def texts_of(widget: Inferno) -> Any:
    """The part of it that another message may meet in no other state: what was generated, and with what."""
    library = widget.workbench.library
    sessions = [(each.id, each.trace.head, len(each.trace.nodes)) for each in library.sessions]
    return sessions, library.shown.id if library.shown else None, [model.id for model in library.models]


class Talk:
    """Sends messages to a widget, and holds every answer against what must hold."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def good(self, kind: str) -> dict[str, Any]:
        """A message that can be meant here."""
        library = self.page.widget.library
        open_ = {"session": library["sessions"], "model": library["models"]}
        return good(kind, **{name: things[-1]["id"] for name, things in open_.items() if things})

    def rest(self) -> None:
        """Wait until nothing runs."""
        until(lambda: not self.page.widget.workbench.busy)

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """What a message is answered with. One that goes on for ever is told that it is enough."""
        page = self.page
        number = page.tell(**message)
        if message["kind"] in ENDLESS:
            page.tell("enough", request=number)
        until(lambda: number in page.replies)
        TRIED["messages"] += 1
        reply = page.replies.pop(number)
        if not reply["ok"]:
            TRIED["refused"] += 1
            assert in_words(reply["error"]), f"{reprlib.repr(message)}: {reply['error']}"
        return reply

    def say(self, message: dict[str, Any]) -> dict[str, Any]:
        """The same, where nothing runs: what is refused has changed nothing."""
        before = state_of(self.page.widget)
        reply = self.answer(message)
        if not reply["ok"]:
            self.rest()
            assert state_of(self.page.widget) == before, f"{reprlib.repr(message)} was refused, and changed something"
        self.rest()
        return reply

    def stands(self) -> None:
        """The widget goes on as if nothing had been."""
        self.page.order("look", name="top_k", value=7)
        self.rest()
        if self.page.widget.trace is not None:
            self.page.assert_shows(self.page.widget.trace)


@pytest.fixture(autouse=True)
def nothing_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No thread dies, and the kernel's log stays clean."""
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    yield
    assert not died
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ModelLoadError("this test has no models to load")

    monkeypatch.setattr("inferno_widget.hub.fetch", refused)
    monkeypatch.setattr(models, "Model", refused)


@pytest.fixture(scope="module", autouse=True)
def figures(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    figures = "{messages:,} messages tried, {refused:,} of them refused in words".format(**TRIED)
    plugins = request.config.pluginmanager
    with plugins.get_plugin("capturemanager").global_and_fixture_disabled():
        plugins.get_plugin("terminalreporter").write_line(f"\n{figures}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat(tmp_path_factory.mktemp("messages") / "tiny.gguf")


@pytest.fixture(scope="module")
def model(tiny: Path) -> Iterator[Model]:
    with loaded(tiny, n_ctx=256) as model:
        yield model


@pytest.fixture
def talk(tiny: Path) -> Iterator[Callable[..., Talk]]:
    """Opens a widget, in a folder that has a model."""
    pages: list[Page] = []

    def open_(target: object) -> Talk:
        pages.append(Page(Inferno(target, root=tiny.parent, max_tokens=3)))
        pages[-1].order("look", name="top_k", value=7)
        return Talk(pages[-1])

    yield open_
    for page in pages:
        page.widget.close()


def told(model: Model) -> Session:
    """A session with a road not taken."""
    session = model.session(PROMPT, dice())
    session.generate(6)
    session.fork(len(session.prompt_ids) + 2, 300)
    session.generate(2)
    return session


def own(kind: str, model: Model, tiny: Path) -> AbstractContextManager[Model]:
    """A model for tests of a kind: one of its own where it ends it."""
    return loaded(tiny, n_ctx=256) if kind == "unload" else nullcontext(model)


# --- every kind, every field ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ASKED)
def test_every_field_wrong_in_every_way(kind: str, talk: Callable[..., Talk], model: Model, tiny: Path) -> None:
    with own(kind, model, tiny) as model, told(model) as session:
        said = talk(session)
        if kind == "take":
            said.say(good("lookahead"))
        for name in KINDS[kind].keys() - {"id"}:
            message = said.good(kind)
            del message[name]
            assert not said.say(message)["ok"]
            for value in nasty(KINDS[kind][name]):
                said.say({**said.good(kind), name: value})
        said.say({**said.good(kind), "more": nested(1000), "\ud800": math.nan})  # what no kind has is passed over
        said.stands()


# --- every kind, in every state ---------------------------------------------------------------------------


class Models(ExitStack):
    """The same model, as long as nobody ends it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._model = path, None

    def one(self) -> Model:
        if self._model is None or self._model.engine.pid is None:
            self._model = self.enter_context(loaded(self._path, n_ctx=256))
        return self._model


def each_kind(
    begin: Callable[[], Talk], again: Callable[[], object] = lambda: None, kinds: Sequence[str] = ASKED
) -> None:
    """Send one message of every kind to a widget that has just begun, or is as good as that."""
    said = begin()
    begun = texts_of(said.page.widget)
    for kind in kinds:
        if begun != texts_of(said.page.widget):
            said = begin()
            begun = texts_of(said.page.widget)
        again()
        said.say(said.good(kind))
        said.stands()


def closed(session: Session) -> None:
    session.close()


def model_closed(session: Session) -> None:
    session.model.close()


def process_killed(session: Session) -> None:
    if session.model.engine.pid is not None:
        kill(session.model)
        until(lambda: session.model.engine.pid is None)


@pytest.mark.parametrize("end", [closed, model_closed, process_killed])
def test_every_kind_is_answered_when_its_session_has_ended(
    end: Callable[[Session], None], talk: Callable[..., Talk], tiny: Path
) -> None:
    with Models(tiny) as models:
        session: Session | None = None

        def begin() -> Talk:
            nonlocal session
            session = told(models.one())
            return talk(session)

        few = end is process_killed and not EXAMPLES  # each takes a new process
        each_kind(begin, lambda: end(session), ASKED[::3] if few else ASKED)


@pytest.mark.parametrize("what", ["nothing", "a model", "a recorded run", "a recorded run beside a model"])
def test_every_kind_is_answered_without_a_session(what: str, talk: Callable[..., Talk], tiny: Path) -> None:
    with Models(tiny) as models:

        def begin() -> Talk:
            said = talk(
                {"nothing": tiny.parent / "none.gguf", "a model": models.one()}.get(what, forked_trace()),
            )
            if what == "a recorded run beside a model":
                said.page.widget.workbench.library.add_model(models.one(), owned=False)
            return said

        each_kind(begin)


def test_every_kind_is_answered_while_a_run_goes_on(talk: Callable[..., Talk], model: Model) -> None:
    for kind in [kind for kind in ASKED if kind != "unload"]:
        with model.session(PROMPT, dice()) as session:
            said = talk(session)
            session.logits_processor = slowly
            session.start(100)
            until(lambda trace=session.trace: len(trace.nodes) > 10)
            said.answer(said.good(kind))
            session.stop()
            said.stands()


# --- what is no message -----------------------------------------------------------------------------------


def test_what_has_no_number_is_answered_by_a_note(talk: Callable[..., Talk], model: Model) -> None:
    with told(model) as session:
        said = talk(session)
        before, notes = state_of(said.page.widget), said.page.notes
        wrong = [*NASTY, *({"kind": value} for value in NASTY), *({**good("run"), "id": value} for value in NASTY)]
        wrong += [{**good(kind), name: "x"} for kind in PAGE for name in KINDS[kind] if "id" not in KINDS[kind]]
        wrong = [
            each
            for each in wrong
            if not (isinstance(each, dict) and type(each.get("id")) is int and abs(each["id"]) < 2**53)
        ]
        for content in wrong:
            said.page.post(content)
        until(lambda: len(notes) == len(wrong))
        TRIED["messages"] += len(wrong)
        TRIED["refused"] += len(wrong)
        assert all(map(in_words, notes))
        assert state_of(said.page.widget) == before
        said.stands()


@pytest.mark.parametrize(
    "name", ["settings", "look", "selection", "prompt", "panels", "snapshot", "_esm", "layout", "x"]
)
def test_a_trait_that_a_page_writes_is_put_right(name: str, talk: Callable[..., Talk], model: Model) -> None:
    with told(model) as session:
        said = talk(session)
        widget, sent = said.page.widget, []
        widget.send_state = sent.append
        before, held = state_of(widget), getattr(widget, name, None)
        for value in NASTY:
            widget._handle_msg({"content": {"data": {"method": "update", "state": {name: value}}}, "buffers": []})
        until(lambda: len(said.page.notes) == len(NASTY))
        TRIED["messages"] += len(NASTY)
        TRIED["refused"] += len(NASTY)
        assert sent == ([[name]] * len(NASTY) if name != "x" else [])
        assert f"a page cannot write {name}:" in said.page.notes[0]["message"] or name == "x"
        assert getattr(widget, name, None) == held
        assert state_of(widget) == before
        said.stands()


@pytest.mark.parametrize("state", [None, 5, "look", ["look"], [[]], {}])
def test_what_is_no_trait_at_all_is_answered_by_a_note(state: object, talk: Callable[..., Talk]) -> None:
    page = talk(forked_trace()).page
    page.widget._handle_msg({"content": {"data": {"method": "update", "state": state}}, "buffers": []})
    until(lambda: page.notes)
    assert page.notes[0]["message"].startswith("a page cannot write what this widget does not have: ")


def test_a_fault_of_our_own_does_not_end_the_widget(
    talk: Callable[..., Talk], model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with told(model) as session:
        said = talk(session)

        def broken(_: object) -> None:
            monkeypatch.undo()
            raise ZeroDivisionError("nobody expected this")

        monkeypatch.setattr(said.page.widget._feed, "show", broken)
        said.page.widget._news()
        until(lambda: said.page.notes == [{"type": "ZeroDivisionError", "message": "nobody expected this"}])
        said.stands()


# --- anything ---------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)
VALUE = JSON | st.sampled_from(NASTY) | st.sampled_from(list(GOOD.values())) | st.integers(-2, 20)


@st.composite
def said_anyhow(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """A message of a kind of which any fields may be anything."""
    message = good(kind)
    wrong = draw(st.lists(st.sampled_from([*(KINDS[kind].keys() - {"id"}), "more"]), min_size=1, unique=True))
    return {**message, **{name: draw(VALUE) for name in wrong}}


ANYHOW = settings(
    max_examples=EXAMPLES or 6,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(0 if EXAMPLES else 300)
@pytest.mark.parametrize("kind", ASKED if EXAMPLES else ASKED[::4])
def test_anything_is_answered(kind: str, talk: Callable[..., Talk], model: Model, tiny: Path) -> None:
    with own(kind, model, tiny) as model, told(model) as session:
        said = talk(session)

        @ANYHOW
        @given(said_anyhow(kind))
        def answered(message: dict[str, Any]) -> None:
            said.say(message)

        answered()
        said.stands()
