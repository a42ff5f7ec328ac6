"""Errors: what they say, what they carry, and that they survive the way between processes."""

from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path

import pytest

from inferno_widget import Model, Sampler, errors
from inferno_widget.engine.death import last_words
from inferno_widget.errors import EngineDiedError, InfernoError, ModelFileError, brief, hint_unknown_keywords, told

EXAMPLES = [
    InfernoError("plain"),
    ModelFileError("a.gguf", "no magic", field="magic", offset=0),
    ModelFileError(Path("a.gguf"), "no such key", field="general.architecture"),
    errors.ModelLoadError("refused"),
    errors.ContextFullError("full"),
    EngineDiedError("load", -9, "killed by signal 9 (SIGKILL)"),
    errors.NotEnoughMemoryError("it is too large", needed=2, free=1),
    errors.GrammarError("no rule", line=3, column=9),
    errors.Cancelled("stopped"),
    errors.TraceFileError("x.inferno: damaged"),
]


def test_every_error_has_an_example_here() -> None:
    leaves = {value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)}
    assert leaves == {type(error) for error in EXAMPLES}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("way", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_survives_the_way_between_processes(error: InfernoError, way: object) -> None:
    again = way(error)
    assert type(again) is type(error)
    assert isinstance(again, InfernoError)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_a_value_is_shown_on_one_line() -> None:
    class Table:
        def __repr__(self) -> str:
            return "a  b\n1  \x1b[31m2 \ud800"

    assert brief(Table()) == r"a  b\n1  \x1b[31m2 \ud800"


def test_a_file_error_says_where() -> None:
    error = ModelFileError("a.gguf", "the count is too large", field="tensor_count", offset=12_345)
    assert str(error) == "a.gguf: the count is too large (at tensor_count, byte 12,345)"
    assert (error.path, error.field, error.offset) == ("a.gguf", "tensor_count", 12_345)
    assert str(ModelFileError("a.gguf", "missing", field="general.architecture")).endswith("(at general.architecture)")


def test_a_death_says_when_and_why_and_what_to_do() -> None:
    error = EngineDiedError("prefill", -11, "killed by signal 11 (SIGSEGV)")
    assert "during prefill: killed by signal 11 (SIGSEGV)" in str(error)
    assert "What was recorded is kept; going on" in str(error)
    assert (error.stage, error.exitcode) == ("prefill", -11)
    said = str(EngineDiedError("load", -6, "killed", ["assert"], hint="; probably the file: convert it again"))
    assert "killed; probably the file: convert it again; it last said: assert. What was" in said, (
        "the cause comes first"
    )


@pytest.mark.parametrize("folder", ["/tmp/pip-wheel-2b9/vendor/llama.cpp/src/", "C:\\build\\"])
def test_last_words_are_those_of_the_death_and_say_not_where_source_lay(folder: str) -> None:
    failed = "ops.cpp:41: GGML_ASSERT(a / b.c >= 0.0f) failed"
    frames = [f'  File "{folder}my folder/llama.py", line {line} in _load' for line in (241, 207, 3)]
    stopped = ["graph_compute: ggml_backend_sched_graph_compute_async failed with error 1"]
    stopped += ["process_ubatch: failed to compute graph, compute status: 1", "llama_decode: failed to decode, ret = 2"]
    log = ["[info] loading", *stopped, folder + failed, "Fatal Python error: Aborted", "Current thread 0x1:", *frames]
    shown = [f'  File "llama.py", line {line} in _load' for line in (241, 207)]
    assert last_words(log) == [failed, "Fatal Python error: Aborted", *shown]


@hint_unknown_keywords
class Thing:
    """A thing."""

    def __init__(self, size: int = 1, *, colour: str = "red") -> None:
        self.size, self.colour = size, colour

    @hint_unknown_keywords
    def paint(self, colour: str) -> str:
        """Paint it."""
        self.colour = colour
        return colour


@pytest.mark.parametrize("call", [Thing, Thing().paint])
def test_an_unknown_keyword_is_named_with_the_nearest(call: object) -> None:
    with pytest.raises(TypeError, match=r"^(Thing|paint) has no parameter 'color'; did you mean 'colour'\?$"):
        call(color="blue")


def test_one_that_is_near_nothing_is_answered_with_all() -> None:
    with pytest.raises(TypeError, match=r"^Thing has no parameter 'weight'; it has size, colour$"):
        Thing(weight=3)


def test_one_that_begins_like_a_known_one_is_near_it() -> None:
    with pytest.raises(TypeError, match=r"did you mean 'colour'\?$"):
        Thing(colour_of_the_whole_thing="blue")
    with pytest.raises(TypeError, match="it has size, colour"):
        Thing(c="blue")


@pytest.mark.parametrize(("call", "owner"), [(Thing, "Sampler"), (Model, "Sampler"), (Sampler, "Model")])
def test_one_that_belongs_to_something_else_is_sent_there(call: type, owner: str) -> None:
    setting = {"Sampler": "temperature", "Model": "n_ctx"}[owner]
    said = rf"^{call.__name__} has no parameter '{setting}'; it belongs to {owner}, as in {owner}\({setting}=\.\.\.\)$"
    with pytest.raises(TypeError, match=said):
        call(**{setting: 1})


def test_what_is_decorated_works_and_looks_as_before() -> None:
    thing = Thing(3, colour="green")
    assert (thing.size, thing.colour, thing.paint("blue")) == (3, "green", "blue")
    assert list(inspect.signature(Thing).parameters) == ["size", "colour"]
    assert inspect.signature(Thing.paint).return_annotation == "str"
    assert Thing.paint.__doc__ == "Paint it."
    assert isinstance(thing, Thing)
    with pytest.raises(TypeError, match="multiple values"):
        Thing(3, size=4)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(2, "No such file or directory", "/x"), "/x: No such file or directory"),
        (PermissionError(13, "it cannot be written"), "it cannot be written"),
        (ValueError("half a \ud800 character"), "half a \\ud800 character"),
        (ValueError("x" * 10_000_000), f"{'x' * 1_500} … {'x' * 500}"),
    ],
)
def test_a_page_is_told_in_words_that_can_be_sent(error: Exception, message: str) -> None:
    assert told(error) == {"type": type(error).__name__, "message": message}
