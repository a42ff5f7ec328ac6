"""Chat templates: the same text as llama-cpp-python's own formatter, and errors in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from inferno_widget.chat import render
from inferno_widget.errors import InfernoError

CHATML = """\
{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) or message.role == 'assistant' %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
LLAMA_3 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {{- "Tools: " + tools | tojson }}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
GEMMA = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{% for message in messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{% endif %}
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}
{{ '<start_of_turn>' + role + '
' + message['content'] | trim + '<end_of_turn>
' }}{% endfor %}
{% if add_generation_prompt %}{{'<start_of_turn>model
'}}{% endif %}"""
MISTRAL = """\
{%- set ns = namespace(system='') %}
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'system' %}{% set ns.system = message.content %}{% continue %}{% endif %}
    {%- if message.role == 'user' %}
        {{- '[INST] ' + (ns.system + '\\n\\n' if loop.last and ns.system else '') + message.content + ' [/INST]' }}
    {%- elif message.role == 'assistant' %}
        {%- generation %}{{ ' ' + message.content + eos_token }}{% endgeneration %}
    {%- else %}
        {{- raise_exception('Only user and assistant roles are supported, not ' ~ message.role ~ '!') }}
    {%- endif %}
{%- endfor %}
{{- {'é': ['<b>', "it's"]} | tojson(indent=2) if false else '' }}
"""
TEMPLATES = {"chatml": CHATML, "llama 3": LLAMA_3, "gemma": GEMMA, "mistral": MISTRAL}


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


HELLO = [message("user", "Hello")]
CONVERSATIONS = {
    "hello": HELLO,
    "turns": [message("user", "  Hi {{ there }} \n"), message("assistant", "Höre <b>&</b> 🔥"), message("user", "")],
    "system": [message("system", "Be brief."), message("user", "Why?\n\nSay it.")],
}


def reference(template: str, messages: Sequence[dict[str, Any]], **options: Any) -> str:
    formatter = Jinja2ChatFormatter(template, eos_token="</s>", bos_token="<s>", **options)
    return formatter(messages=list(messages)).prompt


@pytest.mark.parametrize("begin", [True, False])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_text_is_llama_cpp_pythons(name: str, conversation: str, begin: bool) -> None:
    template, messages = TEMPLATES[name], CONVERSATIONS[conversation]
    options = {"add_generation_prompt": begin}
    if name == "gemma" and conversation == "system":
        with pytest.raises(InfernoError, match=r"refuses the messages: System role not supported \(line 2"):
            render(template, messages, bos="<s>", eos="</s>", **options)
        return
    text = render(template, messages, bos="<s>", eos="</s>", **options)
    assert text == reference(template, messages, **options)
    assert messages[-1]["content"].strip() in text
    assert text != render(template, messages, bos="", eos="", add_generation_prompt=not begin)


@pytest.mark.parametrize(
    "template",
    [
        "{{ {'z': 'é<&>', 'a': [1, none]} | tojson }}",
        "{{ messages | tojson(indent=4) }}",
        "{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
        "  {% if true %}\n    x\n  {% endif %}\n",
        "{{ functions is none }}{{ tools is none }}{{ tool_choice is none }}{{ undefined_name }}",
        "{{ messages[0].name }}",
    ],
)
def test_what_templates_rely_on(template: str) -> None:
    messages = [{**HELLO[0], "name": "Ann"}]
    assert render(template, messages, bos="<s>", eos="</s>") == reference(template, messages)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ a }}\n{% if %}", "the model's chat template is broken at line 2: Expected an expression, got"),
        ("{{ a", "the model's chat template is broken at line 1: unexpected end of template"),
        ("\n\n{{ raise_exception('No system!') }}", "refuses the messages: No system! (line 3 of the template)"),
        ("{{ 1 / 0 }}", "failed: ZeroDivisionError: division by zero (line 1 of the template)"),
        ("x\n{{ messages[5].role }}", "failed: UndefinedError: list object has no element 5 (line 2 of the template)"),
        ("{{ ''.__class__.__mro__ }}", "failed: SecurityError: access to attribute '__class__' of 'str' object"),
        ("{{ messages.append(1) }}", "failed: SecurityError: access to attribute 'append' of 'list' object"),
        ("{% include '/etc/passwd' %}", "failed: TypeError: no loader for this environment"),
        ("{% for i in range(90000) %}{{ 'x' * 1000 }}{% endfor %}", "writes more than 16,777,216 characters"),
    ],
)
def test_a_template_that_fails_says_where(template: str, words: str) -> None:
    with pytest.raises(InfernoError, match=re.escape(words)):
        render(template, HELLO, bos="", eos="")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "takes longer than 1 s"),
        ("{{ 'a' * 10 ** 10 }}", "takes more memory than it may have (line 1 of the template)"),
        ("\n{{ '%999999999d' % 1 }}", "takes more memory than it may have (line 2 of the template)"),
        ("{{ " + "(" * 3_000 + "1" + ")" * 3_000 + " }}", "failed: RecursionError"),
        ("{{ '\\ud800' }}", "writes half a character, which no model can read"),
        ("{{ raise_exception('\\x1b[31mred\\n' + 'x' * 10 ** 6) }}", r"refuses the messages: \x1b[31mred\nxxx"),
    ],
)
def test_a_template_that_means_harm_ends_alone(template: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferno_widget.engine.template.SECONDS", 1)
    with pytest.raises(InfernoError, match=re.escape(words)) as caught:
        render(template, HELLO, bos="", eos="")
    assert len(str(caught.value)) < 3_000


def test_a_process_that_says_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dying = tmp_path / "worker.py"
    dying.write_text("import os; os.abort()")
    monkeypatch.setattr("inferno_widget.engine.template.WORKER", dying)
    with pytest.raises(
        InfernoError, match=r"the model's chat template ended the process that it ran in \(exit code -?\d+\)"
    ):
        render(CHATML, HELLO, bos="", eos="")


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ("Hello", """messages must be a list of {"role": "user", "content": "Hello"}, not 'Hello'"""),
        ({"role": "user", "content": "x"}, "messages must be a list"),
        (None, "messages must be a list"),
        ([], "there is no message yet"),
        (["Hello"], 'message 1 must be a dict with "role" and "content", not \'Hello\''),
        ([*HELLO, {"role": "user"}], "message 2 has no 'content'; it has 'role'"),
        ([{}], "message 1 has no 'role'; it has nothing"),
        ([{"role": "user", "content": None}], "'content' of message 1 must be a text, not None"),
        ([{"role": 1, "content": ""}], "'role' of message 1 must be a text, not 1"),
        ([{"role": "", "content": ""}], "'role' of message 1 is empty"),
        ([{**HELLO[0], "tools": {1, 2}}], "message 1 holds what is no JSON in UTF-8, which is all that templates read"),
        ([message("user", "\ud83d")], "message 1 holds what is no JSON in UTF-8"),
    ],
)
def test_messages_that_are_none_are_named(messages: Any, words: str) -> None:
    with pytest.raises(InfernoError, match=re.escape(words)):
        render(CHATML, messages, bos="", eos="")
