"""A message from the page, read by itself: what passes is what the protocol says, to the last digit."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from inferno_widget import commands
from inferno_widget.commands import DEPTH, SAFE, read_command, request_of
from inferno_widget.wire import PROTOCOL

KINDS: dict[str, dict[str, str]] = PROTOCOL["to_kernel"]
FIELDS = [(kind, name) for kind, types in KINDS.items() for name in types]
VALUES: dict[str, list[Any]] = {
    "int": [0, -1, SAFE, -SAFE],
    "str": ["", "x", "\0", "\U0001f30b"],
    "bool": [True, False],
    "list": [[], [1, "x", None]],
    "any": [None, {}, {"a": [0.5]}],
}
"""By type. Those of every other are wrong, but for "any"; and JSON has numbers that are not whole."""


def message(kind: str, **known: Any) -> dict[str, Any]:
    return {"kind": kind, **{name: known.get(name, VALUES[type_][0]) for name, type_ in KINDS[kind].items()}}


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth - 1):
        inner = [inner]
    return inner


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_field_is_of_its_type_and_no_other(kind: str, name: str) -> None:
    type_ = KINDS[kind][name]
    for value in VALUES[type_]:
        assert read_command(message(kind, **{name: value}))[1][name] is value
    if type_ != "any":
        for value in [0.5, None, {}, *(value for other, of in VALUES.items() if other != type_ for value in of)]:
            with pytest.raises(ValueError, match=f"^{name} of the message '{kind}' must be of type {type_}, not "):
                read_command({**message(kind), name: value})
    without = {field: value for field, value in message(kind).items() if field != name}
    with pytest.raises(ValueError, match=f"^{name} of the message '{kind}' must be of type {type_}"):
        read_command(without)


@pytest.mark.parametrize("content", [None, 5, "run", [], ["kind"], {}, {"kind": None}, {"kind": []}, {"kind": "no"}])
def test_what_is_no_message_is_named(content: object) -> None:
    with pytest.raises(ValueError, match="the kernel knows no message of kind"):
        read_command(content)


def test_a_gesture_gets_the_fields_of_its_kind_alone() -> None:
    more = {"self": 1, "more": math.nan, "\ud800": nested(1000)}
    assert read_command({**message("select", node=3), **more}) == ("select", {"node": 3})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (SAFE + 1, f"value holds {SAFE + 1}: whole numbers go up to {SAFE:,} here"),
        (-SAFE - 1, f"value holds {-SAFE - 1}: whole numbers go up to {SAFE:,} here"),
        (math.nan, "value holds nan, which is no number in JSON"),
        (math.inf, "value holds inf,"),
        (-math.inf, "value holds -inf,"),
        ("x\ud800", "value holds half a character at position 1"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "[{}]", '{{"a": {}}}', '[[{{"a": [0, {}]}}]]', '{{"a": 0, "b": {}}}'])
def test_what_cannot_cross_cannot_hide(value: object, words: str, around: str) -> None:
    said = json.loads(around.format(json.dumps(value)))
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        read_command(message("set", value=said))


def test_neither_can_it_be_a_name() -> None:
    with pytest.raises(ValueError, match="half a character"):
        read_command(message("set", value={"ok": {"\ud800": 1}}))


def test_how_deep_a_value_may_be() -> None:
    for deepest in (nested(DEPTH), {"a": nested(DEPTH - 1)}, [0, {"a": nested(DEPTH - 2)}]):
        read_command(message("set", value=deepest))
        with pytest.raises(ValueError, match=f"^value is nested more than {DEPTH} deep"):
            read_command(message("set", value=[deepest]))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("run", {"prompt": "x" * 98}),  # and one for the prompt itself, and one for the number
        ("render", {"messages": [0] * 98}),
        ("set", {"name": "x" * 40, "value": {"x" * 39: "y" * 16}}),
        ("set", {"name": "", "value": [[], {}, *[""] * 94, None]}),
    ],
)
def test_a_message_has_an_end(kind: str, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "CHARACTERS", 100)
    assert read_command(message(kind, **fields))
    monkeypatch.setattr(commands, "CHARACTERS", 99)
    with pytest.raises(ValueError, match=f"^the message '{kind}' is too long: it may hold 99 characters and values"):
        read_command(message(kind, **fields))


@pytest.mark.parametrize(
    ("number", "is_one"),
    [
        *((said, True) for said in (0, 1, -1, SAFE, -SAFE)),
        *((said, False) for said in (SAFE + 1, -SAFE - 1, 10**400, True, False, None, "1", 1.0, [1], {})),
    ],
)
def test_an_answer_goes_to_a_number_that_can_be_sent_back(number: object, is_one: bool) -> None:
    assert request_of({"id": number}) == (number if is_one else None)


@pytest.mark.parametrize("content", [None, 5, "id", ["id"], {}])
def test_what_has_no_number_is_no_request(content: object) -> None:
    assert request_of(content) is None
