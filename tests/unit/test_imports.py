"""Imports go one way along the chain of the design: each part knows only what stands to its left."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import inferno_widget

PACKAGE = Path(inferno_widget.__file__).parent
CHAIN = (
    *("errors", "record", "stats", "sampling", "gguf", "engine", "trace", "session", "model"),
    *("files", "figures", "wire", "widget"),
)
NATIVE = ("bounds", "context", "ggml", "grammar_worker", "llama", "loading", "taps")
"""Modules of `engine` that call llama.cpp."""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def at_once(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """What is imported with a module: not within functions, and not for types alone."""
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        elif isinstance(statement, ast.If) and ast.unparse(statement.test) != "TYPE_CHECKING":
            yield from at_once(statement.body + statement.orelse)


def imported(name: str) -> Iterator[str]:
    """Full names of what a module imports."""
    path = FILES[name]
    parts = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for statement in at_once(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(statement, ast.Import):
            yield from (each.name for each in statement.names)
            continue
        above = parts[: len(parts) - statement.level + 1] if statement.level else []
        source = ".".join([*above, *filter(None, [statement.module])])
        for each in statement.names:
            yield f"{source}.{each.name}" if f"{source}.{each.name}" in FILES else source


IMPORTS = {name: set(imported(name)) for name in FILES}


def reached(name: str) -> set[str]:
    """All of ours that comes with a module."""
    found, waiting = set[str](), [name]
    while waiting:
        new = IMPORTS[waiting.pop()] & FILES.keys() - found
        found |= new
        waiting += new
    return found


def within(name: str, part: str) -> bool:
    return name.split(".")[1:2] == [part]


def test_every_part_is_there() -> None:
    assert [part for part in CHAIN if not any(within(name, part) for name in FILES)] == []


@pytest.mark.parametrize("part", CHAIN)
def test_a_part_knows_only_what_stands_to_its_left(part: str) -> None:
    later = CHAIN[CHAIN.index(part) + 1 :]
    met = {(name, other) for name in FILES if within(name, part) for other in reached(name)}
    assert [(name, other) for name, other in met if any(within(other, each) for each in later)] == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert [name for name in FILES if name in reached(name)] == []


def test_native_code_is_called_in_the_engine_alone() -> None:
    native = {name for name, sources in IMPORTS.items() if any(each.split(".")[0] == "llama_cpp" for each in sources)}
    assert native == {f"inferno_widget.engine.{name}" for name in NATIVE}
