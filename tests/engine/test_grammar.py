"""Grammars, with real decoding: what comes fits, wherever a text is interrupted, and a bad grammar ends nothing."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import psutil
import pytest

from inferno_widget import EngineDiedError, GrammarError, Model, Sampler, Session, what_if
from inferno_widget.engine import Options, Request
from inferno_widget.engine.grammar import Grammars
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.sampling import softmax
from inferno_widget.workbench import Workbench
from tests.engine.tools import Driver, Switch, ignore, tokens

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
        "of": {"$ref": "#/$defs/place"},
    },
    "required": ["name", "age", "tags", "of"],
    "$defs": {"place": {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}},
}
WORDS = 'root ::= word (" " word)* "."\nword ::= [a-z]+\n'
EXPLODES = 'many ::= one{0,1900}\none ::= "x"?\n'
LATER = "the king and the queen and the king of the queen of the king"
PROMPT = "Once upon a time there was a"


@pytest.fixture(scope="module")
def large(models: dict[str, tuple[Path, int]]) -> Iterator[Driver]:
    """A random model with 40,000 tokens: hardly anything that it likes is ever allowed."""
    engine = LlamaEngine(str(models["large"][0]), Options(n_ctx=512, n_threads=1), cancel=Switch(), progress=ignore)
    yield Driver(engine, Switch)
    engine.close()


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model(n_ctx=1024) as model:
        yield model


def said_by(driver: Driver, grammar: object, seed: int = 1, n: int = 120, **settings: object) -> str:
    sampler = Sampler(grammar=grammar, seed=seed, **settings)
    branch = driver.prefill(driver.engine.tokenize(PROMPT, special=True))
    return written(driver, driver.generate(branch, n, sampler))


def written(driver: Driver, records: list) -> str:
    ids = [token for token in tokens(records) if token != driver.eos]
    return b"".join(driver.engine.pieces(ids)).decode()


def generated(session: Session) -> list[int]:
    return session.trace.column("token_id")[len(session.prompt_ids) :].tolist()


# --- what comes fits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grammar", "pattern"),
    [
        ('root ::= " yes" | " no"', " (yes|no)"),
        ('root ::= "a"{3,5} [^a-z]{2}', "a{3,5}[^a-z]{2}"),
        ('root ::= digit{4} "-" digit{2} "-" digit{2}\ndigit ::= [0-9]', r"\d{4}-\d{2}-\d{2}"),
        ('root ::= ("ab" | "ba" | "é"){2,6} "!"?', "(ab|ba|é){2,6}!?"),
        ('root ::= (" " [A-Z] [a-z]{1,6}){3} | # words\n  "\\x41\\n" .', r"( [A-Z][a-z]{1,6}){3}|A\n."),
    ],
    ids=range(5),
)
def test_what_comes_matches_the_same_regular_expression(demo: Driver, grammar: str, pattern: str) -> None:
    said = set()
    for seed in range(40):
        settings = {"temperature": (0.5, 1.0, 2.0)[seed % 3], "top_k": (0, 40)[seed % 2], "min_p": 0.0}
        said.add(said_by(demo, grammar, seed, **settings))
        assert demo.finish == "eog"
    assert all(re.fullmatch(pattern, text, re.DOTALL) for text in said), said
    assert len(said) > 1


def test_it_ends_where_nothing_more_can_come(demo: Driver) -> None:
    assert said_by(demo, 'root ::= "king"', temperature=2.0) == "king"
    assert demo.finish == "eog"
    assert demo.records[-1].token_id == demo.eos
    assert demo.records[-1].kept == 1


@pytest.mark.parametrize("seed", range(12))
def test_a_schema_gives_what_it_describes(demo: Driver, seed: int) -> None:
    found = json.loads(said_by(demo, SCHEMA, seed, n=300))
    assert demo.finish == "eog"
    jsonschema.validate(found, SCHEMA)
    assert list(found) == list(SCHEMA["properties"])


WORDS_OF_JSON = ["\n", '"', "back\\slash", "C:\\new", "\t", "grün", "🔥", "\x01", "]", "a/b"]


@pytest.mark.parametrize("word", WORDS_OF_JSON)
def test_what_a_schema_has_said_word_for_word_is_json(demo: Driver, word: str) -> None:
    key = {"type": "object", "properties": {word: {"const": word}}, "required": [word], "additionalProperties": False}
    assert json.loads(said_by(demo, {"enum": [word]})) == word
    assert json.loads(said_by(demo, key)) == {word: word}


@pytest.mark.parametrize("grammar", ["\u202etoor", {"$ref": "#/\u202e/\x1b[31m\n" + "a" * 2_000}])
def test_what_a_grammar_holds_is_quoted_on_one_line(client: Driver, grammar: str | dict[str, str]) -> None:
    with pytest.raises(GrammarError, match=r"(grammar|schema) can(not|not become).*\\u202e") as caught:
        client.engine.allowed(grammar, [])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1_200


@pytest.mark.parametrize(
    "schema",
    [
        {"type": ["string", "null"], "pattern": "^(wolf|fox)$"},
        {"type": ["string", "integer"], "enum": ["wolf", 3]},
        {"type": ["array", "object"], "items": {"const": 1}, "maxItems": 2, "properties": {"a": {"type": "null"}}},
        {
            "properties": {
                "place": {"enum": ["wolf"]},
                "of": {"$ref": "#/$defs/place"},
                "at": {"$ref": "#/$defs/x/place"},
            },
            "required": ["place", "of", "at"],
            "$defs": {"place": {"type": "integer"}, "x": {"place": {"type": "boolean"}}},
        },
        {
            "allOf": [{"$ref": "#/$defs/a"}, {"properties": {"b": {"type": "null"}}}],
            "$defs": {"a": {"properties": {"a": {"const": 1}}}},
        },
        {"prefixItems": [{"const": 1}, {"type": "boolean"}], "items": False, "minItems": 2},
        {"type": "integer", "maxLength": 1, "uniqueItems": True, "title": "means nothing for a number"},
        {"type": "string", "format": "date", "minLength": 0, "default": {"minimum": 3}},
    ],
    ids=range(8),
)
def test_what_a_converter_would_mistake_is_kept_to(demo: Driver, schema: dict) -> None:
    for seed in range(4):
        jsonschema.validate(json.loads(said_by(demo, schema, seed, temperature=1.5)), schema)
        assert demo.finish == "eog"


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "integer", "minimum": 3}, "'minimum' in #:"),
        (
            {"properties": {"tags": {"type": "array", "items": {"type": "null"}, "uniqueItems": True}}},
            "'uniqueItems' in #/properties/tags:",
        ),
        ({"properties": {"": {"type": "null"}}}, "an empty property name in #:"),
        ({"properties": {"*": {"type": "null"}}}, "a property called '*' in #:"),
        ({"properties": {"a": {"type": "null"}}, "required": ["b"]}, "'b', which is required and no property, in #:"),
        ({"type": "string", "pattern": "^a*$", "maxLength": 3}, "'maxLength' in #:"),
        ({"type": "string", "format": "date", "maxLength": 3}, "'maxLength' in #:"),
        ({"type": "object", "required": ["a"]}, "'required' in #:"),
        ({"enum": [1, 2], "not": {"const": 1}}, "'not' in #:"),
        ({"const": "a", "pattern": "^b$"}, "'pattern' in #:"),
        ({"anyOf": [{"type": "null"}, {"type": "number", "maximum": 3}]}, "'maximum' in #/anyOf/1:"),
        (
            {"properties": {"a": {"type": "null"}}, "anyOf": [{"required": ["a"]}]},
            "'properties' in #, 'required' in #/anyOf/0:",
        ),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": ["null", "integer"], "multipleOf": 2}}},
            "'multipleOf' in #/$defs/a/anyOf/1:",
        ),
        ({"items": [{"type": "null"}], "minItems": 2}, "'minItems' in #:"),
        ({"prefixItems": [{"type": "null"}], "items": {"type": "null"}}, "'prefixItems' in #:"),
        (
            {"allOf": [{"enum": [1]}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "null"}}},
            "what is no object with properties in #/allOf/0, what is no object with properties in #/allOf/1:",
        ),
        (
            {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}, "additionalProperties": False}]},
            "'additionalProperties' in #/allOf/1:",
        ),
        (
            {"allOf": [{"properties": {"a": {}}}, {"properties": {"a": {"type": "null"}}}]},
            "'a', which another part has too, in #/allOf/1:",
        ),
        ({"items": {"type": "null"}, "minItems": 2, "maxItems": 1}, "a 'minItems' above 'maxItems' in #:"),
        (
            {"type": "array", "contains": {}, "uniqueItems": True, "minItems": 1, "maxItems": 2},
            "'minItems' in # and 1 more:",
        ),
    ],
    ids=range(20),
)
def test_what_no_grammar_keeps_to_is_refused_by_name(client: Driver, schema: dict, said: str) -> None:
    with pytest.raises(
        GrammarError, match="the JSON schema cannot become a grammar: there is no grammar here"
    ) as caught:
        client.engine.allowed(schema, [])
    assert said in str(caught.value)


def test_a_repetition_that_counts_backwards_says_what_it_took(client: Driver) -> None:
    with pytest.raises(GrammarError, match=r"cannot be used: it takes more (memory|time) than the .* allowed: make it"):
        client.engine.allowed('root ::= "a"{2,1}', [])


def test_a_schema_may_be_a_reference_to_a_part_that_refers_to_itself(demo: Driver) -> None:
    node = {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}
    schema = {"$defs": {"node": node}, "$ref": "#/$defs/node"}
    found = json.loads(said_by(demo, schema, seed=3))
    jsonschema.validate(found, schema)


@pytest.mark.parametrize("pattern", ["^.{1,20}$", "^[^a]{1,20}$"])
def test_a_string_of_a_schema_is_one_of_json(demo: Driver, pattern: str) -> None:
    """The converter's own grammar lets line breaks and quotes through."""
    for seed in range(30):
        free = said_by(demo, {"type": "string", "maxLength": 20}, seed, temperature=3.0, top_k=0, min_p=0)
        assert isinstance(json.loads(free), str)
        said = json.loads(
            said_by(demo, {"type": "string", "pattern": pattern}, seed, temperature=3.0, top_k=0, min_p=0)
        )
        assert re.fullmatch(pattern, said)


def test_a_random_model_that_wants_something_else_gives_it_too(large: Driver) -> None:
    large.eos = 39_999
    ids = large.engine.tokenize("once upon", special=True)
    for seed in range(4):
        sampler = Sampler(grammar='root ::= "{" [0-9]{1,3} "}"', seed=seed, temperature=3.0)
        records = large.generate(large.prefill(ids), 20, sampler)
        assert large.finish == "eog"
        assert re.fullmatch(r"\{\d{1,3}\}", b"".join(large.engine.pieces(tokens(records)[:-1])).decode())


@pytest.mark.parametrize("text", ["火🔥é", "été", "“ö”"])
def test_characters_of_several_tokens(demo: Driver, native: Driver, text: str) -> None:
    for driver in (demo, native):
        if driver is native:
            driver.eos = 2
        assert said_by(driver, f'root ::= "{text}"', temperature=1.5) == text
        assert driver.finish == "eog"


# --- no more is asked than must be ------------------------------------------------------------------------


def test_the_same_as_a_mask_over_the_whole_row(demo: Driver, large: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, asked = [], []
    for driver in (demo, large):
        ids = driver.engine.tokenize(PROMPT, special=True)
        row = driver.engine.logits(driver.prefill(ids), len(ids), cancel=Switch())
        for i, settings in enumerate(
            [
                {},
                {"temperature": 0},
                {"top_k": 0, "top_p": 1.0},
                {"top_k": 0},
                {"top_k": 300, "top_n_sigma": 2.0},
                {"mirostat_mode": 2},
                {"repeat_penalty": 1.3, "logit_bias": {7: 9.0, 9: -math.inf}},
            ]
        ):
            for grammar in (WORDS, 'root ::= "{" .*', "root ::= [0-9]{30}"):
                calls = []

                def allowed(said: object, of: object = None, *, first: int, grammar: str = grammar, d: Driver = driver):
                    calls.append(of)  # noqa: B023
                    return d.engine.allowed(grammar, said, of, first=first, cancel=Switch())

                sampler = Sampler(grammar=grammar, seed=i, **settings).bound(driver.engine, allowed)
                ours = sampler.choose(row, ids, len(ids))
                asked.append(any(of is None for of in calls))
                with monkeypatch.context() as patch:
                    patch.setattr("inferno_widget.sampling.grammar._settled", lambda _: None)
                    theirs = sampler.choose(row, ids, len(ids))
                whole.append(calls[-1] is None)
                assert ours[:3] == theirs[:3] or (ours.token == theirs.token and math.isnan(ours.draw))
                assert np.array_equal(np.sort(ours.kept), np.sort(theirs.kept))
    assert all(whole)
    assert not all(asked)


def test_the_mask_is_a_function_of_what_was_said(demo: Driver) -> None:
    """Whoever asks, in whatever order, and however much of it was asked before."""

    def alone(said: list[int]) -> np.ndarray:
        fresh = Grammars(demo.engine.log and str(DEMO_PATH), demo.engine._piece, demo.engine.n_vocab)
        mask = fresh.allowed(WORDS, said, None, key=1, first=0, cancel=Switch())
        fresh.close()
        return mask

    said = demo.engine.tokenize("the old king and his three sons", special=False)
    for n in (len(said), 2, 4, 0, len(said) - 1):
        mask = demo.engine.allowed(WORDS, said[:n], cancel=Switch())
        assert np.array_equal(mask, alone(said[:n]))
        some = np.arange(0, 4096, 7, dtype=np.int32)
        assert np.array_equal(demo.engine.allowed(WORDS, said[:n], some, cancel=Switch()), mask[some])


DEMO_PATH = Path(__file__).parents[2] / "inferno_widget" / "models" / "demo.gguf"


# --- interrupted texts ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return Sampler(grammar=SCHEMA, seed=5, temperature=1.0)


@pytest.fixture(scope="module")
def whole(model: Model, sampler: Sampler) -> list[int]:
    """The tokens of a run that nobody interrupts."""
    session = model.session(PROMPT, sampler)
    session.generate(200)
    assert session.finish == "eog"
    assert len(generated(session)) > 30
    return generated(session)


def test_paused_and_resumed(model: Model, sampler: Sampler, whole: list[int]) -> None:
    session = model.session(PROMPT, sampler)
    for n in (1, 9, 4):
        session.generate(n)
    session.start(200)
    session.pause()
    session.wait()
    if session.state == "paused":
        session.resume()
        session.wait()
    assert generated(session) == whole


def test_forked_and_gone_back(model: Model, sampler: Sampler, whole: list[int]) -> None:
    session = model.session(PROMPT, sampler)
    session.generate(12)
    head, at = session.trace.head, len(session.prompt_ids) + 6
    kept = session.trace.record(int(session.trace.path()[at]))
    mask = model.engine.allowed(SCHEMA, whole[:6])
    other = next(token for token in kept.top_ids.tolist() if mask[token] and token != kept.token_id)
    session.fork(at, other).generate(200)
    jsonschema.validate(json.loads(model.detokenize(generated(session)[:-1])), SCHEMA)
    assert generated(session)[:7] == [*whole[:6], other]
    session.goto(head).generate(200)
    assert generated(session) == whole


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_either_process_may_be_killed_in_the_midst(sampler: Sampler, whole: list[int]) -> None:
    with Model(n_ctx=1024) as model:
        session = model.session(PROMPT, sampler)
        session.generate(10)
        (grammarian,) = psutil.Process(model.engine.pid).children()
        os.kill(grammarian.pid, signal.SIGKILL)
        session.generate(10)
        assert generated(session) == whole[:20]
        (grammarian,) = psutil.Process(model.engine.pid).children()
        os.kill(model.engine.pid, signal.SIGKILL)
        assert gone(grammarian)
        while len(generated(session)) < len(whole):
            with suppress(EngineDiedError):  # which is told once
                session.generate(200)
        assert generated(session) == whole


def gone(process: psutil.Process) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_played_again(model: Model, sampler: Sampler, whole: list[int]) -> None:
    session = model.session(PROMPT, sampler)
    session.generate(200)
    session.replay()
    assert generated(session) == whole
    session.replay(replace(sampler, temperature=0.0), max_tokens=300)
    jsonschema.validate(json.loads(model.detokenize(generated(session)[:-1])), SCHEMA)


def test_many_at_once_have_states_of_their_own(model: Model, sampler: Sampler) -> None:
    session = model.session(PROMPT, sampler)
    session.generate(8)
    begun = model.detokenize(generated(session)).decode()
    made = session.resample(n=40, max_tokens=200)
    assert {way.finish for way in made} == {"eog"}
    assert len({way.text for way in made}) > 5
    for way in made:
        jsonschema.validate(json.loads(begun + way.text), SCHEMA)
    session.take(made[3], 5).generate(200)
    jsonschema.validate(json.loads(model.detokenize(generated(session)[:-1])), SCHEMA)


def test_a_look_ahead_goes_on_only_where_it_may(model: Model) -> None:
    session = model.session(PROMPT, Sampler(grammar=WORDS, seed=1))
    session.generate(6)
    at = session.trace.length
    mask = model.engine.allowed(WORDS, generated(session))
    ahead = session.lookahead(k=40, depth=4)
    assert {way.finish == "grammar" for way in ahead} == {True, False}
    for way in ahead:
        assert (way.finish == "grammar") == (len(way.records) == 1) == (not mask[way.token_ids[0]])
    assert session.trace.length == at
    stopped = model.session(PROMPT, Sampler(grammar='root ::= "火"', seed=1))
    assert [way.finish for way in stopped.lookahead(k=3, depth=4)] == ["grammar"] * 3


def test_a_slide_does_not_forget_what_was_said() -> None:
    with Model(n_ctx=256) as model:
        session = model.session(PROMPT, Sampler(grammar='root ::= "a"{700}', seed=1), on_full="slide")
        assert session.generate(900) == "a" * 700
        assert session.finish == "eog"
        assert session.trace.record(session.trace.head).left_out > 0


# --- what does not fit ------------------------------------------------------------------------------------


def test_a_forced_token_that_does_not_fit_is_named(model: Model) -> None:
    session = model.session(PROMPT, Sampler(grammar=WORDS, seed=1))
    session.generate(5)
    at = len(session.prompt_ids) + 3
    session.fork(at, "7")
    before = len(session.trace)
    with pytest.raises(GrammarError, match=rf"position {at}, '7', does not fit .*rewind, goto or fork") as caught:
        session.generate(5)
    assert (caught.value.position, caught.value.line) == (at, None)
    assert len(session.trace) == before
    with pytest.raises(GrammarError, match=f"position {at}"):
        session.resample(n=3, max_tokens=3)
    session.rewind()
    session.generate(5)
    assert session.error is None
    session.sampler = replace(session.sampler, grammar=None)
    session.fork(at, "7").generate(2)


def test_the_prompt_may_be_anything(model: Model) -> None:
    assert model.session("7 [3] }", Sampler(grammar='root ::= "a"', seed=1)).generate(5) == "a"


def test_where_nothing_may_come_is_an_error_and_the_trace_stays(model: Model) -> None:
    ends = [token for token in range(model.info.n_vocab) if model.engine.allowed('root ::= ""', [])[token]]
    session = model.session(
        PROMPT, Sampler(grammar='root ::= "king"', logit_bias=dict.fromkeys(ends, -math.inf), seed=1)
    )
    with pytest.raises(GrammarError, match=r"allows no token that can come. If the text is complete") as caught:
        session.generate(9)
    assert model.detokenize(generated(session)) == b"king"
    assert caught.value.position == session.trace.length


def test_an_end_that_comes_too_early_is_not_accepted(demo: Driver) -> None:
    with pytest.raises(GrammarError, match="position 11"):
        demo.engine.allowed(WORDS, [demo.eos], first=11, cancel=Switch())
    assert demo.engine.allowed('root ::= "" | "a"', [demo.eos], cancel=Switch())[demo.eos]


def test_what_is_no_token_is_refused(demo: Driver) -> None:
    with pytest.raises(Exception, match="outside the vocabulary"):
        demo.engine.allowed(WORDS, [10**6], cancel=Switch())


# --- bad grammars -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grammar", "said", "place"),
    [
        ('root := "x"', "expecting ::=", (1, 6)),
        ('root ::= "x" )\n', "expecting newline or end", (1, 14)),
        ("root ::= a\na ::= *", "expecting preceding item", (2, 8)),
        ('# ok\nroot ::= a\na ::= "é火" | (\n "b" | \\q )', "expecting ')'", (4, 8)),
        ('root ::= "a\nb ::= "c"\n', "unexpected end of input", (2, 9)),
        ("root ::= a\nb ::= [a", "unexpected end of input", (2, 7)),
        ('root ::= "\\xZZ"', "expecting 2 hex chars", (1, 13)),
        ('root ::= "x"\nb ::= "y" foo | "foo"', "Undefined rule identifier 'foo'", (2, 11)),
        ('start ::= "x"', "does not contain a 'root' symbol", None),
        ("# nothing\n", "failed to parse", None),
        ("root ::= <nothing>", "invalid token", (1, 10)),
        ('root ::= e\ne ::= e "+" t | t\nt ::= [0-9]+', "left recursion", (2, 1)),
        ('root ::= "a" b\nb ::= c? d\nc ::= "c"\nd ::= b "x" | "y"', "left recursion", (2, 1)),
        ('root ::= "x"\nb ::= ("a"{0,1000}){0,1000}\nc ::= "c"', "number of rules", (2, 1)),
        ('root ::= "x"\nb ::= "a"{3000}\nc ::= "c"', "number of repetitions", (2, 1)),
        ('root ::= "a"{99999999999999999999999}', "a number is too large", (1, 1)),
        ("root ::= " + "(" * 200_000, "llama.cpp ended its process over it", None),
    ],
    ids=range(17),
)
def test_a_bad_grammar_is_an_error_at_its_line(
    client: Driver, grammar: str, said: str, place: tuple[int, int] | None
) -> None:
    with pytest.raises(GrammarError) as caught:
        client.engine.allowed(grammar, [])
    assert said in str(caught.value)
    assert (caught.value.line, caught.value.column) == (place or (None, None))
    if place:
        assert f"in line {place[0]}, column {place[1]}: {grammar.splitlines()[place[0] - 1].strip()}" in str(
            caught.value
        )
    assert client.engine.allowed('root ::= "a"', []).any()  # both processes still answer


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "#/nothing"}, "Error resolving ref #/nothing"),
        ({"$ref": "https://example.org/schema"}, "Fetching remote schemas is not allowed"),
        ({"$ref": "other.json"}, "Unsupported ref other.json"),
        ({"type": "frob"}, "Unrecognized schema"),
        ({"type": "string", "pattern": "(a"}, "Pattern must start"),
        ({"type": "object", "properties": 3}, "'int' object"),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 10**9}, "MemoryError"),
    ],
    ids=range(7),
)
def test_a_schema_that_cannot_be_followed_is_an_error(client: Driver, schema: dict, said: str) -> None:
    with pytest.raises(GrammarError, match="the JSON schema cannot become a grammar: ") as caught:
        client.engine.allowed(schema, [])
    assert said in str(caught.value)


def test_a_grammar_that_takes_too_long_is_given_up_and_never_asked_again(
    native: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    explodes = "root ::= many{0,1900}\n" + EXPLODES
    with pytest.raises(GrammarError, match="it takes more time than the 5 seconds"):
        native.engine.allowed(explodes, [], cancel=Switch())
    monkeypatch.setattr(Grammars, "_ask", lambda *_, **__: pytest.fail("asked again"))
    with pytest.raises(GrammarError, match="it takes more time than the 5 seconds"):
        native.engine.allowed(explodes, [], cancel=Switch())


def test_one_that_takes_too_long_later_can_be_stopped(model: Model) -> None:
    session = model.session(PROMPT, Sampler(grammar=f'root ::= "{LATER}" many{{0,1900}}\n{EXPLODES}', seed=1))
    session.step()
    session.start(50)
    time.sleep(1.5)
    started = time.monotonic()
    session.stop()
    session.wait()
    assert time.monotonic() - started < 2
    assert session.finish == "cancelled"
    assert LATER.startswith(model.detokenize(generated(session)).decode())
    with pytest.raises(GrammarError, match=rf"followed to position {session.trace.length}: it takes more time"):
        session.generate(5)
    assert model.session(PROMPT, Sampler(seed=1)).generate(2)


def test_a_grammar_is_read_once(native: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ask = [], Grammars._ask
    monkeypatch.setattr(Grammars, "_ask", lambda self, name, *a, **k: asked.append(name) or ask(self, name, *a, **k))
    for _ in range(3):
        native.engine.allowed('root ::= "once"', [], cancel=Switch())
    assert asked.count("compile") == 1
    branch = native.prefill([1, 5])
    with pytest.raises(GrammarError, match="'nothing'"):
        native.generate(branch, 3, Sampler(grammar="root ::= nothing", seed=1))
    with pytest.raises(GrammarError, match="'nothing'"):
        list(
            native.engine.generate_many(
                [branch], [Request(Sampler(grammar="root ::= nothing", seed=1), 3)], cancel=Switch(), progress=ignore
            )
        )
    assert asked.count("compile") == 2


# --- what is told of it -----------------------------------------------------------------------------------


def test_the_x_ray_says_what_the_model_was_not_allowed_to_say(model: Model) -> None:
    session = model.session(PROMPT, Sampler(grammar=WORDS, seed=1))
    session.generate(4)
    at = len(session.prompt_ids) + 2
    mask = model.engine.allowed(WORDS, generated(session)[:2])
    (stage,) = (stage for stage in session.explain(at) if stage.name == "grammar")
    p = softmax(session.row(at))
    assert stage.removed.size == np.count_nonzero(~mask)
    assert stage.removed.probabilities.sum() + stage.removed.rest == pytest.approx(p[~mask].sum(), abs=1e-6)
    assert stage.numbers["forbidden"] == pytest.approx(p[~mask].sum(), abs=1e-6)
    assert not mask[stage.removed.ids].any()
    assert set(stage.reasons.values()) == {"the grammar does not allow it here"}
    assert stage.rule.startswith(f"allows {np.count_nonzero(mask):,} of 4,096 tokens here")
    assert session.explain(at)[-1].draw.token == generated(session)[2]


def test_what_if_asks_the_model_what_is_allowed(model: Model) -> None:
    session = model.session(PROMPT, Sampler(grammar=WORDS, seed=1, temperature=1.0))
    session.generate(12)
    alone = what_if(session.trace, temperature=[1.0, 0.0])
    assert [change.at for change in alone] == [None, None]
    assert alone[0].certain
    assert len(alone[1].unknown) == 12
    found = session.what_if(temperature=[1.0, 0.0])
    assert all(change.certain for change in found)
    greedy = model.session(PROMPT, replace(session.sampler, temperature=0.0))
    greedy.generate(12)
    pairs = enumerate(zip(generated(session), generated(greedy), strict=True), len(session.prompt_ids))
    assert found[1].at == next(position for position, (a, b) in pairs if a != b)
    assert session.what_if(grammar=[WORDS, 'root ::= " zebra" .*'])[1].at == len(session.prompt_ids)


def test_the_workbench_refuses_a_bad_one_when_it_is_set(model: Model) -> None:
    bench = Workbench(max_tokens=3)
    bench.begin_with(model)
    bench.set("grammar", WORDS)
    for bad, said in (("root ::= (", "in line 1, column 11"), ('{"$ref": "#/x"}', "#/x"), ("{,}", "line 1, column 2")):
        with pytest.raises((GrammarError, ValueError), match=said):
            bench.set("grammar", bad)
    assert bench.controls.sampler.grammar == WORDS
    bench.set("grammar", json.dumps(SCHEMA))
    assert bench.controls.sampler.grammar == SCHEMA
    bench.close()
