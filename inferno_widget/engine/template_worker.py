"""The process that a chat template runs in: it comes with a model from anywhere, and may want any time and any memory.

Run as a script, so that it imports nothing but Jinja: it reads one JSON object, ``{"template": ..., "names": ...}``,
and writes one, ``{"text": ...}`` or ``{"problem": ..., "line": ...}``. Rendered as llama-cpp-python and transformers
do, so a template sees the same names and gives the same text.
"""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

LONGEST = 1 << 24
"""Characters; a template that writes more has lost its way."""


class _RefusedError(Exception):
    """What a template says by raise_exception."""


class _TooLongError(Exception):
    """It has written enough."""


def answer(template: str, names: dict[str, Any]) -> dict[str, Any]:
    """What the template makes of the names, or what is wrong with it."""
    try:
        compiled = _environment().from_string(template)
        return {"text": _joined(compiled.generate(names | {"raise_exception": _refuse, "strftime_now": _now}))}
    except jinja2.TemplateSyntaxError as error:
        return {"problem": f"is broken at line {error.lineno}: {error.message}", "line": None}
    except _RefusedError as error:
        return {"problem": f"refuses the messages: {error}", "line": _line(error)}
    except _TooLongError as error:
        return {"problem": str(error), "line": None}
    except MemoryError as error:
        return {"problem": "takes more memory than it may have", "line": _line(error)}
    except Exception as error:  # noqa: BLE001  a template can raise whatever Python can
        return {"problem": f"failed: {type(error).__name__}: {error}", "line": _line(error)}


def _joined(pieces: Any) -> str:
    text = []
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > LONGEST:
            raise _TooLongError(f"writes more than {LONGEST:,} characters")
        text.append(piece)
    return "".join(text)


def _line(error: BaseException) -> int | None:
    """Where in the template it happened, as far as Jinja's traceback tells."""
    line = None
    trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


# --- Jinja ------------------------------------------------------------------------------------------------


def _refuse(message: object) -> NoReturn:
    raise _RefusedError(str(message))


def _now(form: str) -> str:
    return datetime.now().strftime(form)  # noqa: DTZ005  the date where the person is


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


# --- the process ------------------------------------------------------------------------------------------


def _limit(seconds: int, size: int) -> None:
    """Where the system has such limits: also for when nobody is left who would end this process."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def main() -> None:
    """``python template_worker.py SECONDS BYTES``."""
    seconds, size = map(int, sys.argv[1:])
    asked = json.load(sys.stdin.buffer)
    _limit(seconds, size)
    said = json.dumps(answer(asked["template"], asked["names"]))
    sys.stdout.write(said)


if __name__ == "__main__":
    main()
