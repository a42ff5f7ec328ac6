"""Messages -> the prompt that a model was trained to answer, by the template in its file.

Rendered as llama-cpp-python and transformers do, so a template sees the same names and gives the same text.
Templates come with a model from anywhere: they run in Jinja's sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from .errors import InfernoError

Message = Mapping[str, Any]

LONGEST = 1 << 24
"""Characters; a template that writes more has lost its way."""


def render(
    template: str, messages: Sequence[Message], *, bos: str, eos: str, add_generation_prompt: bool = True
) -> str:
    """The text of a conversation, with the special tokens written out.

    Parameters
    ----------
    template : Jinja, such as `ModelInfo.chat_template`
    messages : dicts with "role" and "content", both texts; other keys reach the template as they are
    bos, eos : texts of the tokens that begin and end a sequence; "" where there is none
    add_generation_prompt : whether to end with the beginning of the model's answer

    Raises
    ------
    InfernoError
        If a message is none, or with the template's own words if it refuses the conversation or is broken.
    """
    checked = [_checked(i, message) for i, message in enumerate(_sequence(messages))]
    try:
        return _joined(
            _environment()
            .from_string(template)
            .generate(
                messages=checked,
                bos_token=bos,
                eos_token=eos,
                add_generation_prompt=add_generation_prompt,
                raise_exception=_refuse,
                strftime_now=_now,
                functions=None,
                function_call=None,
                tools=None,
                tool_choice=None,
            )
        )
    except jinja2.TemplateSyntaxError as error:
        raise InfernoError(f"the model's chat template is broken at line {error.lineno}: {error.message}") from error
    except _RefusedError as error:
        raise InfernoError(f"the model's chat template refuses the messages: {error}{_line(error)}") from error
    except InfernoError:
        raise
    except Exception as error:  # a template can raise whatever Python can
        problem = f"{type(error).__name__}: {error}"
        raise InfernoError(f"the model's chat template failed: {problem}{_line(error)}") from error


class _RefusedError(Exception):
    """What a template says by raise_exception."""


def _refuse(message: object) -> NoReturn:
    raise _RefusedError(str(message))


def _now(form: str) -> str:
    return datetime.now().strftime(form)  # noqa: DTZ005  the date where the person is


def _sequence(messages: object) -> Sequence[object]:
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise InfernoError(f'messages must be a list of {{"role": "user", "content": "Hello"}}, not {messages!r}')
    if not messages:
        raise InfernoError("there is no message yet; give at least one, usually of the role 'user'")
    return messages


def _checked(index: int, message: object) -> dict[str, Any]:
    """The message as a plain dict."""
    where = f"message {index + 1}"
    if not isinstance(message, Mapping):
        raise InfernoError(f'{where} must be a dict with "role" and "content", not {message!r}')
    for key in ("role", "content"):
        if key not in message:
            raise InfernoError(f"{where} has no {key!r}; it has {', '.join(map(repr, message)) or 'nothing'}")
        if not isinstance(message[key], str):
            raise InfernoError(f"{key!r} of {where} must be a text, not {message[key]!r}")
    if not message["role"]:
        raise InfernoError(f"'role' of {where} is empty; usual ones are 'system', 'user' and 'assistant'")
    return dict(message)


def _joined(pieces: Any) -> str:
    text = []
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > LONGEST:
            raise InfernoError(f"the model's chat template writes more than {LONGEST:,} characters")
        text.append(piece)
    return "".join(text)


def _line(error: BaseException) -> str:
    """Where in the template it happened, as far as Jinja's traceback tells."""
    line = None
    trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line} of the template)" if line else ""


# --- Jinja ------------------------------------------------------------------------------------------------


class _Generation(jinja2.ext.Extension):
    """transformers' ``{% generation %}`` marks what the assistant says; it writes what is in it."""

    tags = {"generation"}  # noqa: RUF012  as Jinja declares it

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        parser.stream.skip(1)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own escapes what HTML would misread, which no model was trained on."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
