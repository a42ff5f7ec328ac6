"""Settings as the page writes them."""

from __future__ import annotations

import json

import pytest

from inferno_widget.controls import Controls
from inferno_widget.presets import settings_of

SCHEMA = {"type": "object", "properties": {"é": {"const": 1}}}


@pytest.mark.parametrize("nothing", [None, "", " \n"])
def test_no_text_is_no_grammar(nothing: object) -> None:
    controls = Controls().with_("grammar", 'root ::= "a"').with_("grammar", nothing)
    assert controls.sampler.grammar is None
    assert controls.to_dict()["grammar"] == ""


@pytest.mark.parametrize("grammar", ['root ::= "{"', "# {}\nroot ::= [a]"])
def test_gbnf_goes_to_the_page_and_back(grammar: str) -> None:
    controls = Controls().with_("grammar", grammar)
    assert controls.sampler.grammar == controls.to_dict()["grammar"] == grammar
    assert Controls().with_("grammar", controls.to_dict()["grammar"]) == controls


def test_an_object_in_json_is_a_schema() -> None:
    controls = Controls().with_("grammar", f"\n {json.dumps(SCHEMA)}")
    assert controls.sampler.grammar == SCHEMA
    assert Controls().with_("grammar", controls.to_dict()["grammar"]) == controls
    assert json.loads(json.dumps(controls.to_dict()))["grammar"] == json.dumps(SCHEMA, indent=2, ensure_ascii=False)
    assert repr(SCHEMA) in controls.set_code("grammar")


def test_a_schema_that_is_no_json_is_refused_at_its_line() -> None:
    with pytest.raises(ValueError, match=r"no JSON schema: .* in line 2, column 9"):
        Controls().with_("grammar", '{\n "type" "object"}')


def test_a_preset_leaves_the_grammar_alone() -> None:
    controls = Controls().with_("grammar", SCHEMA)
    assert "grammar" not in settings_of(controls.sampler)
    assert controls.with_preset("greedy", {}).sampler.grammar == SCHEMA
