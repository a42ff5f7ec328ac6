"""Wrong values for every parameter of the public API: an error that names parameter and value, and nothing else.

A table says what each parameter may be; whatever else there is among `VALUES` is thrown at it. A parameter, method or
function that the table does not have fails the first test: whoever adds one says here what it may be.
"""

from __future__ import annotations

import inspect
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inferno_widget
from inferno_widget import Ablate, InfernoError, Model, ModelFileError, Sampler, TraceFileError, figures
from inferno_widget.browse import Files
from inferno_widget.errors import brief
from tests.engine.tools import PROMPT, dice, loaded, snapshot
from tests.make_models import tiny_chat

VALUES: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "true": lambda: True,
    "numpy true": lambda: np.bool_(True),
    "zero": lambda: 0,
    "one": lambda: 1,
    "numpy one": lambda: np.int64(1),
    "minus one": lambda: -1,
    "huge": lambda: 10**30,
    "minus huge": lambda: -(10**30),
    "more digits than Python writes": lambda: 10**5000,
    "half": lambda: 0.5,
    "numpy half": lambda: np.float32(0.5),
    "whole float": lambda: 1.0,
    "nan": lambda: math.nan,
    "numpy nan": lambda: np.float32(math.nan),
    "infinity": lambda: math.inf,
    "minus infinity": lambda: -math.inf,
    "complex": lambda: 1 + 2j,
    "text": lambda: "zzz",
    "digits": lambda: "3",
    "no text": lambda: "",
    "half a character": lambda: "a\ud800",
    "nul": lambda: "a\0b",
    "much text": lambda: "word " * 20_000,
    "bytes": lambda: b"zzz",
    "empty list": list,
    "numbers": lambda: [0, 1],
    "texts": lambda: ["a", "b"],
    "mixture": lambda: [1, "a", None, 0.5],
    "nested": lambda: [[[1]]],
    "huge list": lambda: list(range(1_000_000)),
    "endless": itertools.count,
    "empty dict": dict,
    "dict": lambda: {"a": 1},
    "set": lambda: {1.5, 2.5},
    "array": lambda: np.zeros((2, 3)),
    "function": lambda: len,
    "class": lambda: int,
    "object": object,
    "range": lambda: range(3),
    "slice": lambda: slice(0, 2),
}
WHOLE = {"one", "numpy one"}
NUMBER = {"zero", "one", "numpy one", "half", "numpy half", "whole float"}
TEXT = {"text", "digits", "no text", "nul", "much text"}
NAME = TEXT - {"much text", "nul"}
ANY = set(VALUES)
"""Where every value has a meaning, or is Python's own affair: `answer in resample`, what a file holds."""

COUNT = WHOLE
POSITION = {*WHOLE, "none"}
FROM_END = {*WHOLE, "zero", "minus one", "none"}
NODE = {*WHOLE, "zero"}
FLAG = {"true", "numpy true"}
FUNCTION = {"none", "function", "class"}
SAMPLER = {"none"}
STOP = {*TEXT, "empty list", "texts", "none"}
BY = {*TEXT, "none", "half a character"}
PROMPT_OF = {"text", "digits", "no text", "nul", "numbers", "much text", "range"}
LAYERS = {*WHOLE, "zero", "none", "numbers"}
WHAT = set[str]()
PLACES = {"none", "numbers", "empty list", "range", "huge list"}
ROW = {"numbers", "range", "huge list"}
ONE_OF = set[str]()
PATH = set[str]()
TITLE = {*TEXT, "none"}
THING = set[str]()
WORD = {"text", "digits"}
TOKEN = {*WHOLE, "zero"}
LAST_N = {*WHOLE, "zero", "minus one"}
SIGNED = NUMBER | {"minus one"}
"""What a parameter may be, by names of `VALUES`."""

_RUN = {"max_tokens": COUNT, "stop": STOP}
_NEW = {"sampler": SAMPLER, "k": COUNT, "logits_processor": FUNCTION, "on_full": ONE_OF, "keep": {*WHOLE, "zero"}}
_FIGURE = {"title": TITLE, "palette": ONE_OF, "theme": {"none"}}
_OF_TRACE = {"trace": THING, **_FIGURE}
_PICTURE = {"path": {*PATH, "none"}, "what": ONE_OF}

TABLE: dict[str, dict[str, set[str]]] = {
    "Model": {
        "path": {"none"},
        "n_ctx": {"one", "numpy one", "none"},
        "n_threads": POSITION,
        "n_batch": WHOLE,
        "n_gpu_layers": {*WHOLE, "zero", "minus one"},
        "type_k": ONE_OF,
        "type_v": ONE_OF,
        "force": FLAG,
        "hang_seconds": {*NUMBER - {"zero"}, "none"},
        "progress": FUNCTION,
    },
    "Model.from_hub": {"repo": WORD, "pattern": WORD, "revision": WORD, "progress": FUNCTION, "options": ANY},
    "Model.session": {"prompt": PROMPT_OF, **_NEW},
    "Model.chat": {"messages": ONE_OF, **_NEW},
    "Model.render": {"messages": ONE_OF},
    "Model.next": {"text": {*PROMPT_OF, "texts"}, "top": COUNT},
    "Model.score": {
        "text": {*PROMPT_OF, "texts"},
        "given": {*PROMPT_OF, "none", "empty list"},
        "k": COUNT,
        "progress": FUNCTION,
    },
    "Model.perplexity": {"text": {*PROMPT_OF, "texts"}, "given": {*PROMPT_OF, "none", "empty list"}},
    "Model.tokenize": {"text": TEXT, "special": FLAG},
    "Model.detokenize": {"ids": {"empty list", "numbers", "range"}},
    "Model.token": {"text": {"digits"}},
    "Model.variants": {"text": TEXT},
    "Model.continued": {"text": TEXT},
    "Model.find_tokens": {"query": TEXT, "limit": COUNT},
    "Session": {"model": THING, "prompt": PROMPT_OF, **_NEW},
    "Session.generate": _RUN,
    "Session.start": _RUN,
    "Session.stream": _RUN,
    "Session.wait": {"timeout": {*NUMBER, "none", "infinity", "huge", "more digits than Python writes"}},
    "Session.observe": {"listener": FUNCTION - {"none"}},
    "Session.fork": {"at": COUNT, "token": {*TOKEN, "text", "digits", "nul", "much text"}},
    "Session.goto": {"node": {*NODE, "minus one"}},
    "Session.rewind": {"n": COUNT},
    "Session.edit": {"text": {*TEXT}},
    "Session.path": {"node": {*NODE, "minus one", "none"}},
    "Session.name_branch": {"name": NAME | {"nul", "much text"}, "node": {*NODE, "none"}},
    "Session.prune": {"node": set()},
    "Session.restore": {"node": {*NODE, "minus one"}},
    "Session.take": {"way": THING, "n": POSITION},
    "Session.lookahead": {"k": COUNT, "depth": COUNT, "at": POSITION, "sampler": SAMPLER, "each": FUNCTION},
    "Session.resample": {
        "at": POSITION,
        "n": COUNT,
        "max_tokens": COUNT,
        "by": BY | FUNCTION,
        "stop": STOP,
        "sampler": SAMPLER,
        "each": FUNCTION,
    },
    "Session.commitment": {
        "start": POSITION,
        "n": COUNT,
        "max_tokens": POSITION,
        "by": BY | FUNCTION,
        "stop": STOP,
        "every": COUNT,
        "sampler": SAMPLER,
        "each": FUNCTION,
    },
    "Session.watch": {"tokens": {*TOKEN, "digits", "empty dict"}, "variants": FLAG, "each": FUNCTION},
    "Session.unwatch": {"name": set()},
    "Session.row": {"at": POSITION},
    "Session.explain": {"at": {*POSITION, "minus one"}, "sampler": SAMPLER, "top": COUNT},
    "Session.what_if": {"progress": FUNCTION, "parameter": {"empty list", "numbers", "range", "set"}},
    "Session.replay": {"sampler": SAMPLER, "from_": {*WHOLE, "zero"}, "max_tokens": POSITION},
    "Session.start_replay": {"sampler": SAMPLER, "from_": {*WHOLE, "zero"}, "max_tokens": POSITION},
    "Session.inspect": {
        "at": {*FROM_END, "range", "slice"},
        "what": WHAT,
        "layers": LAYERS,
        "k": COUNT,
        "limit": WHOLE,
        "progress": FUNCTION,
    },
    "Session.attribution": {"at": POSITION, "token": {*TOKEN, "digits", "none"}, "progress": FUNCTION},
    "Session.causal_map": {"at": POSITION, "layers": LAYERS, "last": FLAG, "progress": FUNCTION},
    "Session.capture": {
        "what": WHAT,
        "layers": LAYERS,
        "positions": {"none", "range"},
        "k": COUNT,
        "limit": WHOLE,
    },
    "Session.intervene": {"interventions": THING},
    "Capture.take": {"since": {*WHOLE, "zero"}},
    "Ablate": {"layer": NODE, "head": {*NODE, "none"}, "part": ONE_OF, "positions": PLACES},
    "Scale": {
        "layer": NODE,
        "head": {*NODE, "none"},
        "factor": NUMBER | {"minus one"},
        "part": ONE_OF,
        "positions": PLACES,
    },
    "Steer": {"layer": NODE, "vector": ROW, "strength": SIGNED, "positions": PLACES},
    "Patch": {"layer": NODE, "position": NODE, "from_": ROW, "at": {*NODE, "minus one", "none"}},
    "steering_vector": {
        "model": THING,
        "positive": {"texts"},
        "negative": {"texts"},
        "layer": NODE,
        "pool": ONE_OF,
        "progress": FUNCTION,
    },
    "Sampler": {
        **dict.fromkeys(("temperature", "top_p", "min_p", "typical_p", "xtc_probability", "xtc_threshold"), NUMBER),
        **dict.fromkeys(("dry_multiplier", "dry_base", "mirostat_tau", "mirostat_eta"), NUMBER),
        **dict.fromkeys(("frequency_penalty", "presence_penalty"), SIGNED),
        **dict.fromkeys(("penalty_last_n", "dry_penalty_last_n", "top_k"), LAST_N),
        **dict.fromkeys(("dry_allowed_length", "mirostat_mode"), NODE),
        "top_n_sigma": NUMBER | {"minus one", "minus infinity", "minus huge"},
        "repeat_penalty": NUMBER - {"zero"},
        "dry_sequence_breakers": {"empty list", "texts"},
        "logit_bias": {"empty dict"},
        "grammar": {"none", "text", "digits", "much text", "empty dict", "dict"},
        "seed": {*WHOLE, "zero", "none"},
    },
    "Trace.load": {"path": PATH},
    "Trace.save": {"path": {"text", "digits"}},
    "Trace.to_pandas": {"tree": FLAG},
    "Trace.compare": {"a": {*NODE, "minus one"}, "b": {*NODE, "minus one"}},
    "Trace.path": {"node": {*NODE, "minus one", "none"}},
    "Trace.goto": {"node": {*NODE, "minus one", "none"}},
    "Trace.children": {"node": {*NODE, "minus one"}},
    "Trace.child": {"node": {*NODE, "minus one"}, "token": NODE},
    "Trace.record": {"node": NODE},
    "Trace.node_at": {"at": FROM_END - {"none"}},
    "Trace.alternatives": {"at": FROM_END - {"none"}},
    "Trace.window": {"node": {*NODE, "minus one", "none"}},
    "Trace.watched": {"name": set(), "tree": FLAG},
    "Trace.column": {"name": set(), "tree": FLAG},
    "Trace.texts": {"nodes": {"empty list", "numbers", "range"}},
    "Trace.name_branch": {"name": NAME | {"nul", "much text"}, "node": {*NODE, "none"}},
    "Trace.prune": {"node": set()},
    "Trace.restore": {"node": {*NODE, "minus one"}},
    "Trace.to_html": {"path": {"none", "text", "digits"}, "options": ANY},
    "Trace.to_json": {"path": {"none", "text", "digits"}},
    "Trace.to_markdown": {"path": {"none", "text", "digits"}},
    "Trace.to_svg": {"path": {"none", "text", "digits"}, "what": ONE_OF, "options": ANY},
    "Trace.to_png": {"path": {"none", "text", "digits"}, "what": ONE_OF, "options": ANY},
    "verify": {"trace": THING, "model": THING, "tolerance": NUMBER | {"none"}},
    "read_info": {"path": PATH},
    "what_if": {
        "trace": THING,
        "logits": FUNCTION,
        "node": {*NODE, "minus one", "none"},
        "vocabulary": {"none"},
        "parameter": {"empty list", "numbers", "range", "set"},
    },
    "Inferno": {
        "target": {"none", "text", "digits"},
        "panels": {"empty list"},
        "prompt": {*TEXT, "none"},
        "max_tokens": COUNT,
        "root": {"none"},
        "fallback": FLAG,
    },
    "figures.surprisal": {**_OF_TRACE, "window": COUNT},
    "figures.entropy": _OF_TRACE,
    "figures.entropy_histogram": {**_OF_TRACE, "bins": COUNT},
    "figures.distribution": {**_OF_TRACE, "at": {*FROM_END}},
    "figures.time": _OF_TRACE,
    "figures.rank": _OF_TRACE,
    "figures.commitment": {"found": THING, "most": COUNT, **_FIGURE},
    "figures.what_if": {"found": THING, **_FIGURE},
    "figures.attention": {"seen": THING, "layer": NODE, "head": NODE, **_FIGURE},
    "figures.lens": {"found": THING, "colour": ONE_OF, **_FIGURE},
    "figures.attribution": {"found": THING, **_FIGURE},
    "figures.causal_map": {"found": THING, **_FIGURE},
    "Files": {"root": {"none"}},
    "Files.list": {"path": {"no text", "text", "digits"}, "hidden": FLAG},
    "Files.info": {"path": PATH},
    "Files.inspect": {"path": PATH},
    "Files.resolve": {"path": {"no text", "text", "digits"}},
    "Commitment.decided": {"share": NUMBER},
    "CausalMap.top": {"n": {*COUNT, "zero"}},
    "Lens.at": {"position": set()},
}
"""Name -> parameter -> what it may be."""

INNER = {
    "Model": {"second"},
    "Session": {
        *("beside", "let_go", "room", "work_in", "work_back", "check_innermost", "check_open", "recorded_alike"),
        *("recorded_row", "stores", "held", "idle"),
    },
    "Trace": {"append", "restored", "watch", "unwatch", "note_watched"},
    "Files": {"places"},
}
"""Methods that the package's own parts call with what has been checked."""

CLASSES: dict[str, type] = {
    **{name: getattr(inferno_widget, name) for name in ("Model", "Session", "Trace", "Sampler", "Inferno", "Capture")},
    **{
        name: getattr(inferno_widget, name) for name in ("Ablate", "Scale", "Steer", "Patch", "Commitment", "CausalMap")
    },
    "Lens": inferno_widget.Lens,
    "Files": Files,
}
MADE = {"Trace", "Capture", "Commitment", "CausalMap", "Lens"}
"""Classes of which nobody makes an object himself."""
OWN = {"Sampler": set(), "Inferno": set()}
"""Classes with methods that are not ours, or that go on with what was checked when it was made."""

NEEDED: dict[str, dict[str, Any]] = {
    "Session.fork": {"at": 3, "token": 300},
    "Session.name_branch": {"name": "x"},
    "Session.what_if": {"temperature": [0.5]},
    "Trace.compare": {"a": 3, "b": 3},
    "Trace.column": {"name": "logprob"},
    "Trace.watched": {"name": "watched"},
    "Trace.child": {"node": 0, "token": 1},
    "Trace.name_branch": {"name": "x"},
    "Model.chat": {"messages": [{"role": "user", "content": "a"}]},
    "Ablate": {"layer": 0},
    "Scale": {"layer": 0},
    "Steer": {"layer": 0, "vector": np.zeros(4)},
    "Patch": {"layer": 0, "position": 1, "from_": np.zeros(4)},
    "what_if": {"temperature": [0.5]},
}
"""Arguments without which a call means nothing, where another one is tried."""

OTHER_WORDS = {
    "parameter": ["temperature"],
    "messages": ["message"],
    "tokens": ["token"],
    "name": ["watched"],
    "node": ["branch"],
    "a": ["branch", "node"],
    "b": ["branch", "node"],
}
"""What a message may call a parameter."""
ERRORS = (TypeError, ValueError, IndexError, KeyError, OSError, InfernoError)
tried: list[int] = []


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with loaded(tiny_chat(tmp_path_factory.mktemp("model") / "tiny.gguf"), n_ctx=256) as model:
        yield model


@pytest.fixture(scope="module")
def things(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """An object of each class, and what else a call may need."""
    with model.session(PROMPT, dice()) as session:
        session.generate(6)
        session.fork(8, 300)
        session.generate(4)
        session.watch({"watched": [300]})
        found: dict[str, Any] = {
            "Model": model,
            "Session": session,
            "Trace": session.trace,
            "Files": Files(tmp_path_factory.mktemp("root")),
        }
        found["Commitment"] = session.commitment(n=2, max_tokens=2)
        found["CausalMap"] = session.causal_map(layers=0, last=True)
        found["inspection"] = session.inspect(-1, ("attention", "lens"))
        found["Lens"] = found["inspection"].lens
        found["attribution"] = session.attribution()
        found["what if"] = session.what_if(temperature=[0.5])
        session.step()
        with model.session(PROMPT, dice()) as captured, captured.capture("residual") as capture:  # one a session
            captured.step()
            yield {**found, "Capture": capture}


def function_of(name: str, things: dict[str, Any]) -> Callable[..., Any]:
    owner, _, method = name.rpartition(".")
    if owner == "figures":
        return getattr(figures, method)
    if not owner:
        return CLASSES.get(name) or getattr(inferno_widget, name)
    if name in ("Model.from_hub", "Trace.load"):
        return getattr(CLASSES[owner], method)
    return getattr(things[owner], method)


def needed(name: str, things: dict[str, Any]) -> dict[str, Any]:
    """Good arguments for all that has no default."""
    good = {
        "trace": things["Trace"],
        "model": things["Model"],
        "seen": things["inspection"],
        "way": things["Session"].lookahead(1, 1)[0] if name == "Session.take" else None,
        "repo": "a/b",
        "text": "a",
        "ids": [1],
        "query": "a",
        "messages": [],
        "at": 1,
        "node": 1,
        "name": "x",
        "layer": 0,
        "head": 0,
        "positive": ["a"],
        "negative": ["b"],
        "path": "x.gguf",
        "listener": len,
        "nodes": [0],
        "position": 1,
    }
    found = {"commitment": "Commitment", "what_if": "what if", "lens": "Lens", "attribution": "attribution"}
    if name.startswith("figures."):
        good["found"] = things[found.get(name.split(".")[1], "CausalMap")]
    parameters = inspect.signature(function_of(name, things)).parameters.values()
    without = {p.name: good.get(p.name) for p in parameters if p.default is p.empty and p.kind not in (2, 4)}
    return {**without, **NEEDED.get(name, {})}


def call(name: str, parameter: str, value: Any, things: dict[str, Any]) -> object:
    """Call a function with one parameter set, and make it do what it does."""
    function, arguments = function_of(name, things), needed(name, things)
    if parameter in ("tokens", "interventions"):
        result = function(value)
    elif parameter == "parameter":
        arguments = {key: each for key, each in arguments.items() if key != "temperature"}
        result = function(**{**arguments, "temperature": value})
    else:
        result = function(**{**arguments, parameter: value})
    if isinstance(result, AbstractContextManager) and name == "Session.intervene":
        result.__enter__()
    return result


def named(parameter: str, value: Any, message: str) -> bool:
    """Whether a message says what is wrong: the parameter, and the value or the part of it."""
    parts = [value]
    if isinstance(value, list | range | set | dict):
        parts += itertools.islice(value, 600)
        parts += [each for part in parts[1:] if isinstance(part, list) for each in part]
    if isinstance(value, itertools.count):
        parts += range(600)
    if isinstance(value, np.ndarray):
        parts += list(value)
    if isinstance(value, slice):
        parts += [value.start, value.stop]
    said = [text for part in parts for text in (brief(part), brief(part)[:30])]
    said += [str(value)] if isinstance(value, np.generic) else []
    if isinstance(value, str):
        said += ["null character"] if "\0" in value else []
        said += [value[:20], value, ascii(value)[1:-1][:20], repr("\ud800")[1:-1]]
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15:
        said += [f"{value:,}"]
    empty = (
        hasattr(value, "__len__")
        and not isinstance(value, np.ndarray)
        and not len(value)
        and ("empty" in message or "no " in message)
    )
    words = (parameter, *OTHER_WORDS.get(parameter, ()))
    return any(word in message for word in words) and (empty or any(each in message for each in said))


def problem_of(name: str, parameter: str, value: Any, things: dict[str, Any]) -> str | None:
    """What is wrong with the way in which a value is refused."""
    try:
        call(name, parameter, value, things)
    except ERRORS as error:
        message = str(error.args[0]) if isinstance(error, KeyError) else str(error)
        if isinstance(error, OSError | ModelFileError | TraceFileError):
            message = f"{parameter} {message}"  # a file is known by its name
        if named(parameter, value, message) and len(message) < 1500:
            return None
        return f"{type(error).__name__} without the parameter or the value: {message[:200]}"
    except BaseException as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"[:300]
    return "accepted"


def parameters_of(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def public() -> dict[str, Callable[..., Any]]:
    """All that is public and takes arguments, by the name that the table has for it."""
    found: dict[str, Callable[..., Any]] = {}
    for name, owner in CLASSES.items():
        if name not in MADE:
            found[name] = owner
        for method in [] if name in OWN else dir(owner):
            function = getattr(owner, method)
            skipped = method.startswith("_") or method in INNER.get(name, ()) or method == "plot"
            if not skipped and (inspect.isfunction(function) or inspect.ismethod(function)) and parameters_of(function):
                found[f"{name}.{method}"] = function
    for name in inferno_widget.__all__:
        if inspect.isfunction(getattr(inferno_widget, name)):
            found[name] = getattr(inferno_widget, name)
    for name, function in inspect.getmembers(figures, inspect.isfunction):
        if name in figures.__all__:
            found[f"figures.{name}"] = function
    return found


def test_the_table_is_complete() -> None:
    here = {name: parameters_of(function) for name, function in public().items()}
    assert {name: sorted(row) for name, row in TABLE.items()} == {name: sorted(row) for name, row in here.items()}
    assert {kind for row in TABLE.values() for kinds in row.values() for kind in kinds} <= VALUES.keys()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What should be refused and is not may write files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("name", TABLE)
def test_what_cannot_be_meant_is_refused_in_words(name: str, things: dict[str, Any]) -> None:
    session, model = things["Session"], things["Model"]
    before, pid, n = snapshot(session), model.engine.pid, 0
    faults: dict[str, str] = {}
    for parameter, right in TABLE[name].items():
        for kind in VALUES.keys() - right:
            n += 1
            fault = problem_of(name, parameter, VALUES[kind](), things)
            if fault:
                faults[f"{parameter} = {kind}"] = fault
    tried.append(n)
    assert not faults, "\n".join([f"{len(faults)} of {n}", *(f"{where}: {fault}" for where, fault in faults.items())])
    assert snapshot(session) == before, "something was changed"
    assert model.engine.pid == pid, "the engine's process ended"


def test_numbers_of_numpy_are_as_good_as_pythons(things: dict[str, Any], tmp_path: Path) -> None:
    session, one = things["Session"], np.int64(1)
    bias = {one: np.float16(2)}
    sampler = Sampler(temperature=np.float32(0.5), top_k=np.int32(5), seed=np.uint64(3), logit_bias=bias)
    assert sampler == Sampler(temperature=0.5, top_k=5, seed=3, logit_bias={1: 2.0})
    assert json.loads(json.dumps(sampler.to_dict()))["logit_bias"] == {"1": 2.0}
    assert session.model.session([one, np.uint8(7)], sampler, k=one, keep=one).score().length == 2
    assert len(session.lookahead(np.int16(2), one, at=np.int64(4), sampler=sampler)) == 2
    assert len(session.resample(np.int64(4), n=one, max_tokens=one)) == 1
    assert session.inspect(np.int64(3), "lens", layers=np.arange(2), k=one).lens.top_ids.shape == (2, 1, 1)
    assert session.trace.compare(np.int32(3), 3).shared == 4
    assert Ablate(np.int64(0), head=one, positions=np.arange(3)).edit().positions == (0, 1, 2)
    with Model(session.model.path, n_ctx=np.int64(256), n_batch=np.int32(32), n_threads=one) as model:
        assert model.options.n_batch == 32
        assert model.n_ctx == 256


def test_a_persons_own_kind_of_text_is_as_good_as_a_plain_one(things: dict[str, Any]) -> None:
    class Word(StrEnum):  # which nobody else can import
        PROMPT = PROMPT
        PIECE = "3"
        GRAMMAR = "root ::= [^3]*"

    model = things["Model"]
    pid = model.engine.pid
    assert model.tokenize(Word.PROMPT) == model.tokenize(PROMPT)
    assert model.next(Word.PROMPT, 1) == model.next(PROMPT, 1)
    sampler = dice(grammar=Word.GRAMMAR, dry_multiplier=1, dry_sequence_breakers=[Word.PIECE])
    with model.session(Word.PROMPT, sampler) as session:
        session.generate(3, stop=[Word.PIECE])
        session.fork(3, Word.PIECE)
        session.edit(Word.PROMPT)
        assert session.trace.text == PROMPT
    assert model.engine.pid == pid, "the engine's process ended"


def test_ids_without_an_end_are_refused(things: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferno_widget.arguments.MOST_IDS", 1_000)
    assert things["Model"].detokenize(itertools.repeat(300, 1_000))
    for call in (things["Model"].detokenize, things["Model"].session):
        with pytest.raises(ValueError, match="has more than 1,000 token ids, if it has an end at all"):
            call(itertools.repeat(300))


def test_how_many_were_tried(record_property: Callable[[str, object], None]) -> None:
    """The figure of ``docs/reliability.md``: run this file with ``-s``."""
    said = f"{sum(tried):,} misuses of {sum(map(len, TABLE.values()))} parameters of {len(TABLE)} calls"
    sys.stdout.write(f"\n{said} tried\n")
    record_property("misuses", said)
    assert sum(tried) > 10_000 or len(tried) < len(TABLE), "values are missing"
