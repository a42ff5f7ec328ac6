"""Places in a grammar; what llama.cpp itself says of bad ones is in tests/engine/test_grammar.py."""

from __future__ import annotations

import pytest

from inferno_widget.engine.gbnf import place_in_bytes, place_of_complaint, rules_of, with_exclusions

TEXT = 'root ::= "b ::= " a # c ::= d\na ::= [^"#:] (\n  b) # é\n\nb-2 ::= "é\\"" b'


def test_rules_are_found_where_no_text_or_comment_only_looks_like_one() -> None:
    assert [(name, TEXT[start : start + 6]) for name, start, _ in rules_of(TEXT)] == [
        ("root", "root :"),
        ("a", "a ::= "),
        ("b-2", "b-2 ::"),
    ]
    assert "".join(TEXT[start:end] for _, start, end in rules_of(TEXT)) == TEXT
    assert rules_of("# nothing") == []


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("Undefined rule identifier 'b'", (3, 3)),
        ("Undefined rule identifier 'd'", None),
        ("something else", None),
    ],
)
def test_where_a_complaint_is_about(said: str, place: tuple[int, int] | None) -> None:
    assert place_of_complaint(TEXT, said) == place


def test_columns_count_characters() -> None:
    before = TEXT.index('" b', TEXT.index("b-2"))
    assert place_in_bytes(TEXT, len(TEXT[:before].encode())) == (5, 13)


def test_negated_sets_exclude_more() -> None:
    assert with_exclusions('a ::= [^b] [^\\]] [c^] "[^d]" # [^e]', "x-z") == (
        'a ::= [^x-zb] [^x-z\\]] [c^] "[^d]" # [^e]'
    )
