"""Chat templates: broken ones, ones that never end, ones that want the kernel's memory or its secrets."""

from __future__ import annotations

import random

from tests.fuzz.draft import ARRAY, TEXT, U32, Draft
from tests.fuzz.mutations.registry import TEXTS, mutation

BROKEN = (
    "{% for m in messages %}",
    "{{ messages[0] ",
    "{{ nothing.of.this }}",
    "{{ 1 / 0 }}",
    "{{ messages | nonsense }}",
    "{{ raise_exception('no') }}",
    "{% include 'a' %}",
    "{% import 'os' as os %}",
    "{% extends 'a' %}",
    "{% endfor %}",
    "{{ messages[99].content }}",
    "{{ messages + 1 }}",
    "{% set x = x %}{{ x }}",
    "{{ '%s' % () }}",
    "{{ {}['a'] }}",
    "{{ strftime_now(7) }}",
    "{{ strftime_now('%' * 100000) }}",
    "{{ messages | tojson(indent='x' * 1000) }}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{{ caller() }}",
    "{{ self.a() }}",
    "{{ super() }}",
    "{% generation %}",
    "{% break %}",
    "{{ '\\ud800' }}",
    "{{ messages | sort }}",
    "{{ none.none }}",
    "{{ " + "(" * 3_000 + "1" + ")" * 3_000 + " }}",
    "{{ " + "1 + " * 20_000 + "1 }}",
    "{{ " + "-" * 5_000 + "1 }}",
    "{% if 1 %}" * 300 + "{% endif %}" * 300,
    "{{ [" * 500,
)
ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x | length }}",
    "{{ 'a' * 10 ** 10 }}",
    "{{ ('a' * 10 ** 9) | length }}",
    "{{ 10 ** 10 ** 8 }}",
    "{{ (2 ** 2 ** 25) | string }}",
    "{{ [0] * 10 ** 10 }}",
    "{{ range(10 ** 12) | list }}",
    "{{ ('a' * 99999) | center(10 ** 10) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '{:>9999999999}'.format(1) }}",
    "{{ 'a'.ljust(10 ** 10) }}",
    "{{ ('a,' * 10 ** 6).split(',') | batch(2) | list | tojson(indent=100000) }}",
    "{{ ('a' * 10 ** 6).replace('', 'b' * 10 ** 6) }}",
    "{{ lipsum(n=10 ** 7) }}",
    "{{ (1, 2) * 10 ** 9 }}",
    "{{ 'x' | indent(10 ** 10) }}",
    "{{ ('a' * 100000) | wordwrap(1) | length }}",
    "{{ cycler(1) }}{{ joiner(1) }}",
    "{% for m in messages * 10 ** 8 %}{% endfor %}",
    "{{ ('(a+)+$' * 1000) | urlize }}",
    "{{ 7 ** 7 ** 7 ** 7 }}",
    "{% set x = [1] %}{% for i in range(60) %}{% set x = [x, x] %}{% endfor %}{{ x | tojson }}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "{% for i in range(99999) %}{{ 'a' * 99999 }}{% endfor %}",
    "{{ 'a'.encode('utf-8').zfill(10 ** 10) }}",
    "{{ range(99999) | map('string') | map('center', 99999) | join }}",
    "{{ 1.5 | round(10 ** 9) }}",
)
CURIOUS = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ raise_exception.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.environ }}",
    "{{ strftime_now.__globals__ }}",
    "{{ '{0.__class__}'.format(messages) }}",
    "{{ messages | attr('__class__') }}",
    "{{ messages.append(1) }}",
    "{{ messages.clear() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ namespace.__init__ }}",
    "{{ ''.format_map({}) }}",
    "{{ messages[0].update({'role': 1}) }}",
)
ODD = (
    "",
    " ",
    "\0",
    "plain text",
    "{# #}",
    "{{ bos_token }}" * 2_000,
    "{{ messages }}",
    "{{ messages[0].content | e }}",
    "{{ '\\x00\\x1b[31m' }}",
    "{{ '\U0001f525' * 1000 }}",
    "{% raw %}{{ {% endraw %}",
    "<s>" * 200,
    "{{ eos_token * 500 }}",
    "{{ messages | map(attribute='content') | join(' ') * 3000 }}",
)


GOOD = (
    b"{% for message in messages %}"
    b"{% if loop.first and messages[0]['role'] != 'system' %}<|im_start|>system\n{% endif %}"
    b"{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>' }}{% endfor %}"
    b"{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% endif %}"
)


@mutation
def template(draft: Draft, dice: random.Random) -> None:
    source = dice.choice(dice.choice([BROKEN, ENDLESS, ENDLESS, CURIOUS, ODD]))
    draft.set("tokenizer.chat_template", TEXT, source.encode(errors="surrogatepass"))


@mutation
def template_noise(draft: Draft, dice: random.Random) -> None:
    """A good template with pieces torn out, doubled and changed."""
    source = bytearray(GOOD)
    for _ in range(dice.choice([1, 3, 10])):
        at, n = dice.randrange(len(source)), dice.choice([1, 2, 8])
        source[at : at + n] = dice.choice(
            [b"", source[at : at + n] * 2, bytes([dice.randrange(256)]), b"{{", b"%}", b"*9"]
        )
    draft.set("tokenizer.chat_template", TEXT, bytes(source))


@mutation
def template_type(draft: Draft, dice: random.Random) -> None:
    kind, value, of = dice.choice(
        [(U32, 7, 0), (ARRAY, [b"a", b"b"], TEXT), (ARRAY, [1], U32), (TEXT, dice.choice(TEXTS), 0)]
    )
    draft.set("tokenizer.chat_template", kind, value, of)
