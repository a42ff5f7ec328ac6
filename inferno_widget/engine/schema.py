"""What of a JSON schema becomes a part of its grammar.

llama-cpp-python's converter looks at a schema's keywords in a certain order, and passes over those that it does not
know. A text that fits such a grammar need not fit the schema: what is not kept to is found here, and refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


TYPES: Mapping[str, frozenset[str]] = {
    "string": _names("pattern minLength maxLength format"),
    "number": _names("minimum maximum exclusiveMinimum exclusiveMaximum multipleOf"),
    "array": _names(
        "items prefixItems additionalItems unevaluatedItems minItems maxItems uniqueItems contains minContains "
        "maxContains"
    ),
    "object": _names(
        "properties required additionalProperties unevaluatedProperties patternProperties propertyNames minProperties "
        "maxProperties dependencies dependentRequired dependentSchemas"
    ),
}
"""What is said of the values of one type, and means nothing for others."""
GENERAL = _names("type const enum allOf anyOf oneOf not if then else $ref")
CONDITIONS = GENERAL.union(*TYPES.values()) - {"format"}  # which says what a text is meant to be, and excludes nothing
FREE: tuple[tuple[str, object], ...] = (
    ("uniqueItems", False),
    ("required", []),
    ("additionalProperties", True),
    ("unevaluatedProperties", True),
)
"""What excludes nothing; nor does a least number of 0."""
FORMATS = ("date", "time", "date-time", *(f"uuid{version}" for version in ("", 1, 2, 3, 4, 5)))
"""Those that the converter knows, each with lengths of its own."""

SCHEMAS, LISTS, MAPPINGS = (
    ("items", "additionalProperties"),
    ("anyOf", "oneOf", "allOf", "prefixItems", "items"),
    ("properties", "$defs", "definitions"),
)
"""Keywords that hold a schema, several in a list, or several by name."""


class Unkept(NamedTuple):
    """A part of a schema that no grammar here keeps to: where (a pointer such as ``#/properties/age``), and what."""

    place: str
    what: str


def refuse(schema: Mapping[str, Any]) -> None:
    """Raise ValueError for a schema with a part that would not be kept to; the message names it."""
    found = [f"{what} in {place}" for place, what in unkept(schema)]
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise ValueError(
            f"there is no grammar here for {', '.join(found[:3])}{more}: leave that out, and check it in what comes"
        )


def with_single_types(schema: Any) -> Any:
    """The same schema without lists of types, of which the converter takes nothing but the types."""
    if not isinstance(schema, dict):
        return schema
    new = {keyword: _inside(keyword, value) for keyword, value in schema.items()}
    types = new.get("type")
    if not isinstance(types, list) or new.keys() & {"$ref", "anyOf", "oneOf"}:
        return new
    if new.keys() & {"const", "enum"}:
        del new["type"]  # which they are of
        return new
    moved = new.keys() & (CONDITIONS | {"format"})
    rest = {keyword: value for keyword, value in new.items() if keyword not in moved}
    ways = [{k: new[k] for k in new if k in moved and _is_of(k, type_)} | {"type": type_} for type_ in types]
    return {**rest, "anyOf": ways}


def _inside(keyword: str, value: Any) -> Any:
    if keyword in MAPPINGS and isinstance(value, dict):
        return {name: with_single_types(each) for name, each in value.items()}
    if keyword in LISTS and isinstance(value, list):
        return [with_single_types(each) for each in value]
    return with_single_types(value) if keyword in SCHEMAS else value


def unkept(schema: Mapping[str, Any]) -> Iterator[Unkept]:
    """All that would not be kept to, of a schema `with_single_types`; what is no schema is passed over."""
    todo, known = [("#", schema)], {"#"}
    while todo:
        place, part = todo.pop(0)
        if not isinstance(part, dict):
            continue
        kept = _kept(part)
        type_ = part.get("type")
        for keyword in part:
            if keyword in CONDITIONS - kept and _is_of(keyword, type_) and not _free(keyword, part[keyword]):
                yield Unkept(place, repr(keyword))
        yield from _misnamed(place, part)
        for least, most in (("minItems", "maxItems"), ("minLength", "maxLength")):
            if part.get(least, 0) > part.get(most, math.inf):
                yield Unkept(place, f"a {least!r} above {most!r}")
        ref = part.get("$ref")
        if isinstance(ref, str) and ref not in known:
            known.add(ref)
            todo.append((ref, _target(schema, ref)))
        todo += _parts(place, part, kept)
        if "allOf" in kept:
            yield from _components(schema, place, part.get("allOf"))


def _is_of(keyword: str, type_: object) -> bool:
    """Whether a keyword means something for values of a type; None: of any."""
    if type_ is None or keyword in GENERAL:
        return True
    return isinstance(type_, str) and keyword in TYPES.get("number" if type_ == "integer" else type_, ())


def _free(keyword: str, value: object) -> bool:
    return (keyword, value) in FREE or (keyword[:3] == "min" and keyword != "minimum" and value == 0)


def _kept(part: Mapping[str, Any]) -> frozenset[str]:
    """Which conditions of a part the converter looks at: it takes the first of its ways that fits."""
    type_ = part.get("type")
    names = part.keys()
    if "$ref" in names:
        return _names("$ref")
    if names & {"oneOf", "anyOf"}:
        return frozenset({"type", "oneOf" if part.get("oneOf") else "anyOf"})
    if names & {"const", "enum"}:
        return frozenset({"type", "const" if "const" in names else "enum"})
    if type_ in (None, "object") and ("properties" in names or part.get("additionalProperties", True) is not True):
        return _names("type properties required additionalProperties")
    if type_ in (None, "object") and "allOf" in names:
        return _names("type allOf")
    if type_ in (None, "array") and names & {"items", "prefixItems"}:
        return _kept_of_array(part)
    if type_ in (None, "string") and "pattern" in names:
        return _names("type pattern")
    if type_ == "string" and part.get("format") not in FORMATS:
        return _names("type minLength maxLength")
    return _names("type")


def _kept_of_array(part: Mapping[str, Any]) -> frozenset[str]:
    items = part.get("items") or part.get("prefixItems")
    if not isinstance(items, list):
        return _names("type items minItems maxItems")
    kept = {"type", "items", "prefixItems", "additionalItems", "unevaluatedItems"}
    kept |= {"minItems"} if part.get("minItems", 0) <= len(items) else set()  # all of them come, and no others
    return frozenset(kept | ({"maxItems"} if part.get("maxItems", len(items)) >= len(items) else set()))


def _misnamed(place: str, part: Mapping[str, Any]) -> Iterator[Unkept]:
    """Names of properties that the converter mistakes, or never asks for."""
    properties, required = part.get("properties"), part.get("required")
    if not isinstance(properties, dict):
        return
    if "" in properties:
        yield Unkept(place, "an empty property name")
    if "*" in properties:
        yield Unkept(place, "a property called '*'")
    for name in required if isinstance(required, list) else ():
        if name not in properties:
            yield Unkept(place, f"{name!r}, which is required and no property,")


def _parts(place: str, part: Mapping[str, Any], kept: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """The schemas in a part that the converter comes to."""
    for keyword, value in part.items():
        if keyword not in kept:
            continue
        if keyword == "properties" and isinstance(value, dict):
            yield from ((f"{place}/{keyword}/{name}", each) for name, each in value.items())
        elif keyword in LISTS and isinstance(value, list):
            yield from ((f"{place}/{keyword}/{i}", each) for i, each in enumerate(value))
        elif keyword in SCHEMAS:
            yield f"{place}/{keyword}", value


def _components(schema: Mapping[str, Any], place: str, components: object) -> Iterator[Unkept]:
    """What is not kept to of an allOf: all that is taken of it are the properties of objects."""
    components = components if isinstance(components, list) else []
    known = set[str]()
    for i, component in enumerate(components):
        ref = component.get("$ref") if isinstance(component, dict) else None
        found = _target(schema, ref) if isinstance(ref, str) else component
        if not isinstance(found, dict) or "properties" not in found:
            yield Unkept(f"{place}/allOf/{i}", "what is no object with properties")
        elif len(components) > 1 and found.get("additionalProperties", True) is not True:
            yield Unkept(f"{place}/allOf/{i}", "'additionalProperties'")
        else:
            both = known.intersection(found["properties"])
            yield from (Unkept(f"{place}/allOf/{i}", f"{name!r}, which another part has too,") for name in both)
            known.update(found["properties"])


def _target(schema: Mapping[str, Any], ref: str) -> Any:
    """What a reference is to; None where that is nothing in the schema, of which the converter says more."""
    if not ref.startswith("#/"):
        return None
    found: Any = schema
    for name in ref.removeprefix("#/").split("/"):
        found = found.get(name) if isinstance(found, dict) else None
    return found
