"""What can go wrong, as few types as a caller would tell apart.

Every message says what was wrong, where, and what to do about it.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import reprlib
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path


MOST_FIELD = 100
"""Characters of the name of a key or tensor that a message shows: a file may have any."""


class InfernoError(Exception):
    """Root of every error that this package raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.args, self.__dict__)  # Exception's own would call __init__ with the message


class ModelFileError(InfernoError):
    """A file is not a GGUF model that can be read.

    Attributes
    ----------
    path : the file
    field : the part of the file that is wrong, such as ``"magic"`` or ``"general.architecture"``
    offset : byte offset of that part, or None where no offset applies
    found, expected, advice : what stands there, what should, and what to do; the latter two may be ""
    """

    def __init__(
        self,
        path: str | Path,
        found: str,
        *,
        field: str,
        offset: int | None = None,
        expected: str = "",
        advice: str = "",
    ) -> None:
        said = "; ".join(filter(None, (found, f"expected {expected}" if expected else "", advice)))
        where = quoted(field, MOST_FIELD) + (f", byte {offset:,}" if offset is not None else "")
        where = f" (at {where})" if field != "path" else ""  # which comes first anyway
        super().__init__(f"{printable(str(path))}: {quoted(said)}{where}")
        self.path = str(path)
        self.field = field
        self.offset = offset
        self.found = found
        self.expected = expected
        self.advice = advice


class ModelLoadError(InfernoError):
    """llama.cpp refused the model; the message holds its reason."""


class NotEnoughMemoryError(InfernoError):
    """Something would take more memory than is free, and was not begun; ``Model(..., force=True)`` begins it.

    Attributes
    ----------
    needed, free : bytes
    n_ctx_fit : the longest context with which a model would fit; 0 where none does
    """

    def __init__(self, message: str, *, needed: int, free: int, n_ctx_fit: int = 0) -> None:
        super().__init__(message)
        self.needed = needed
        self.free = free
        self.n_ctx_fit = n_ctx_fit


class ContextFullError(InfernoError):
    """The tokens do not fit into the context."""


class EngineDiedError(InfernoError):
    """The engine's process ended.

    Attributes
    ----------
    stage : what was asked of it: ``"start"``, ``"load"``, ``"tokenize"``, ``"prefill"``, ``"generate"`` ...
    exitcode : as `subprocess.Popen.returncode`: negative for a signal; None where it did not even start
    reason : why, as far as that is known: a signal's name, that it hung, how much memory it held
    said : its last words, such as the assertion in native code that failed, or where the stack was; often none
    log : the last lines that it wrote, llama.cpp's log among them, at most 200
    """

    def __init__(
        self,
        stage: str,
        exitcode: int | None,
        reason: str,
        said: Sequence[str] = (),
        log: Sequence[str] = (),
        hint: str = "",
    ) -> None:
        words = "; it last said: " + " | ".join(said) if said else ""
        super().__init__(
            f"the engine's process ended during {stage}: {reason}{hint}{words}. What was recorded is kept; going on "
            "starts a new process."
        )
        self.stage = stage
        self.exitcode = exitcode
        self.reason = reason
        self.said = tuple(said)
        self.log = tuple(log)


class GrammarError(InfernoError):
    """A grammar is no good, or a text does not fit it.

    Attributes
    ----------
    line, column : where the grammar is wrong, from 1; None where that is not known, or where it is not wrong
    position : of the token that does not fit, or before which nothing fits; None where the grammar itself is wrong
    """

    def __init__(
        self, message: str, *, line: int | None = None, column: int | None = None, position: int | None = None
    ) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.position = position


class Cancelled(InfernoError):
    """The work was stopped by whoever asked for it."""


class TraceFileError(InfernoError):
    """A file is not an ``.inferno`` trace that this version can read."""


MOST_TOLD = 2_000
"""Characters of an error that a page gets; beyond them stands what somebody passed, not what is wrong with it."""


class _Brief(reprlib.Repr):
    """Python's notation of a value, as much as a message has room for."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 80, 80

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 1000 else f"a number of {x.bit_length():,} bits"


_brief = _Brief()


def brief(value: object) -> str:
    """What a message shows of a value that was passed: on one line, and never more than a few hundred characters."""
    return printable(_brief.repr(value))


def counted(n: int, noun: str) -> str:
    """Such as "1 token" or "2,000 tokens"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def printable(text: str) -> str:
    r"""The same on one line: what no terminal or page can show, such as a newline or half a character, as ``\n``."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quoted(text: str, most: int = 1_000) -> str:
    """What a file, or whatever read it, says, for a message: on one line, and no longer than a person reads."""
    return printable(text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}")


def told(error: BaseException) -> dict[str, str]:
    """An error as the page gets it: `Failure` of ``protocol.ts``, in whole characters."""
    message = str(error)
    if isinstance(error, OSError) and error.strerror:  # without the system's number for it
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if len(message) > MOST_TOLD:
        message = f"{message[: MOST_TOLD - 500]} … {message[-500:]}"
    return {"type": type(error).__name__, "message": message.encode(errors="backslashreplace").decode()}


def _restore(cls: type[InfernoError], args: tuple[object, ...], state: dict[str, object]) -> InfernoError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


_F = TypeVar("_F", bound="Callable[..., Any]")
_ELSEWHERE: dict[str, Sequence[str]] = {"Sampler": (), "Model": ()}
"""Parameters of the classes whose settings are often given to something else; known once these are imported."""
_OTHERS = {"json_schema": "grammar", "schema": "grammar", "messages": "prompt", "n_predict": "max_tokens"}
"""What other tools call something -> what it is called here, where the spellings are not alike."""


def hint_unknown_keywords(target: _F) -> _F:
    """Make a function, or a class's constructor, name the nearest known keyword when it is given an unknown one."""
    if not isinstance(target, type):
        return _hinting(target, target.__name__)
    if target.__name__ in _ELSEWHERE:
        _ELSEWHERE[target.__name__] = _parameters(target.__init__)  # type: ignore[misc]
    target.__init__ = _hinting(target.__init__, target.__name__)  # type: ignore[misc]
    return target


def _parameters(function: Callable[..., Any]) -> list[str]:
    return [parameter for parameter in inspect.signature(function).parameters if parameter != "self"]


def _hinting(function: _F, name: str) -> _F:
    known = _parameters(function)

    @functools.wraps(function)
    def checked(*args: object, **kwargs: object) -> object:
        check_keywords(name, kwargs, known)
        return function(*args, **kwargs)

    return cast("_F", checked)


def check_keywords(name: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise TypeError for the first keyword `given` to `name` that is not `known`, with the one that may be meant."""
    unknown = next((keyword for keyword in given if keyword not in known), None)
    if unknown is not None:
        raise TypeError(f"{name} has no parameter {unknown!r}; {_meant(unknown, known)}")


def _begins(a: str, b: str) -> bool:
    """Whether one of them begins with the other."""
    return a.startswith(b) or b.startswith(a)


def _meant(unknown: str, known: Sequence[str]) -> str:
    owner = next((name for name, parameters in _ELSEWHERE.items() if unknown in parameters), None)
    if owner:
        return f"it belongs to {owner}, as in {owner}({unknown}=...)"
    near = [name for name in known if name == _OTHERS.get(unknown)]
    near += difflib.get_close_matches(unknown, known, n=1)
    near += [name for name in known if min(len(name), len(unknown)) > 2 and _begins(name, unknown)]
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"


def check_text(name: str, text: object) -> None:
    """Raise TypeError unless `text` is a string, and ValueError unless all of it can be written as UTF-8."""
    if not isinstance(text, str):
        raise TypeError(f"{name} must be text, not {brief(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} holds half a character at position {error.start:,} ({text[error.start]!a}), which no model can "
            "read: leave it out"
        ) from None
