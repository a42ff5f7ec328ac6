"""Messages -> the prompt that a model was trained to answer, by the template in its file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .engine.template import written
from .errors import InfernoError, brief

Message = Mapping[str, Any]


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
    known = {
        "messages": checked,
        "bos_token": bos,
        "eos_token": eos,
        "add_generation_prompt": add_generation_prompt,
        **dict.fromkeys(("functions", "function_call", "tools", "tool_choice")),
    }
    return written(template, known)


def _sequence(messages: object) -> Sequence[object]:
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise InfernoError(f'messages must be a list of {{"role": "user", "content": "Hello"}}, not {brief(messages)}')
    if not messages:
        raise InfernoError("there is no message yet; give at least one, usually of the role 'user'")
    return messages


def _checked(index: int, message: object) -> dict[str, Any]:
    """The message as a plain dict."""
    where = f"message {index + 1}"
    if not isinstance(message, Mapping):
        raise InfernoError(f'{where} must be a dict with "role" and "content", not {brief(message)}')
    for key in ("role", "content"):
        if key not in message:
            raise InfernoError(f"{where} has no {key!r}; it has {', '.join(map(repr, message)) or 'nothing'}")
        if not isinstance(message[key], str):
            raise InfernoError(f"{key!r} of {where} must be a text, not {brief(message[key])}")
    if not message["role"]:
        raise InfernoError(f"'role' of {where} is empty; usual ones are 'system', 'user' and 'assistant'")
    try:
        json.dumps(dict(message), ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InfernoError(
            f"{where} holds what is no JSON in UTF-8, which is all that templates read: {error}"
        ) from None
    return dict(message)
