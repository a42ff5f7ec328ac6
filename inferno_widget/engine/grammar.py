"""Grammars as the model's process sees them: a process of their own is asked, which may die and be replaced."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_widget.errors import Cancelled, GrammarError, InfernoError, printable, quoted
from inferno_widget.record import Ids
from inferno_widget.sampling.grammar import text_of

from . import Cancel
from .channel import Channel, GarbledError
from .gbnf import place_in_bytes, place_of_complaint
from .patience import Patience
from .process import Process

COMMAND = (sys.executable, "-P", "-m", "inferno_widget.engine.grammar_worker")
LOOK_SECONDS = 0.02
"""How often somebody looks whether the work was cancelled."""

START_SECONDS, LIMIT_SECONDS = 120, 5
"""What the process may take to begin, and for one question: then it ends itself."""
SPARE_SECONDS = 3
"""How much longer it is waited for, in case it cannot."""
GRACE_SECONDS = 1

TOO_LONG = "it took too long"
"""What the process says when it ends for that."""

Grammar = str | Mapping[str, Any]


class Grammars:
    """What grammars allow of one model's tokens.

    A state is found by the tokens of its text alone: when the process is replaced, nothing is lost.

    Parameters
    ----------
    path : the model's file
    piece : the bytes of a token, for messages
    n_vocab : size of its vocabulary
    """

    def __init__(self, path: str, piece: Callable[[int], bytes], n_vocab: int) -> None:
        self._path, self._piece, self._n_vocab = path, piece, n_vocab
        self._process: _Process | None = None
        self._numbers: dict[tuple[str, bool], int] = {}  # of the grammars that the process has read
        self._bad: dict[tuple[str, bool], GrammarError] = {}

    def allowed(
        self, grammar: Grammar, said: Sequence[int], ids: Ids | None, *, key: int, first: int, cancel: Cancel
    ) -> NDArray[np.bool_]:
        """Whether each of `ids` (of the vocabulary when None) may come behind `said`, whose first is at `first`.

        `key` is whose text it is: as long as it grows, nothing is read again.
        """
        text = np.asarray(said, np.int32).tobytes()
        asked = None if ids is None else np.asarray(ids, np.int32).tobytes()
        try:
            kind, value = self._twice(lambda: self._followed(grammar, key, text, asked, cancel))
        except _DiedError as death:
            position = first + len(said)
            raise GrammarError(
                f"the grammar could not be followed to position {position}: {death}. Make it simpler: fewer ways to "
                "read the same text, fewer repetitions of what may be empty",
                position=position,
            ) from None
        if kind == "misfit":
            raise self._misfit(first + value, said[value])
        count = self._n_vocab if ids is None else len(ids)
        return np.unpackbits(np.frombuffer(value, np.uint8), count=count).astype(np.bool_)

    def close(self) -> None:
        if self._process:
            self._process.end()
            self._process = None

    def _misfit(self, position: int, token: int) -> GrammarError:
        piece = self._piece(token).decode(errors="backslashreplace")
        return GrammarError(
            f"the token at position {position}, {piece!r}, does not fit the grammar, which holds for all that follows "
            f"the prompt: go back to before it (rewind, goto or fork), or set grammar to None",
            position=position,
        )

    def _twice(self, work: Callable[[], tuple[str, Any]]) -> tuple[str, Any]:
        """What `work` returns; once more where the process ended, which may have been somebody else's doing."""
        try:
            return work()
        except _DiedError as death:
            if not death.sudden:
                raise
            return work()

    def _followed(self, grammar: Grammar, key: int, said: bytes, ids: bytes | None, cancel: Cancel) -> tuple[str, Any]:
        number = self._number(grammar, cancel)
        return self._ask("allowed", key, number, said, ids, cancel=cancel)

    def _number(self, grammar: Grammar, cancel: Cancel) -> int:
        """Of the grammar, once it is read."""
        key = text_of(grammar), not isinstance(grammar, str)
        if key in self._bad:
            raise self._bad[key]
        if self._process is None or not self._process.alive:
            self._numbers.clear()
        if key not in self._numbers:
            try:
                kind, value = self._twice(lambda: self._ask("compile", key[0], schema=key[1], cancel=cancel))
            except _DiedError as death:
                kind, value = "bad", (f"{death}: make it smaller or less nested", None)
            if kind == "bad":
                self._bad[key] = _refusal(*key, *value)
                raise self._bad[key]
            self._numbers[key] = value
        return self._numbers[key]

    def _ask(self, name: str, *arguments: object, cancel: Cancel, **options: object) -> tuple[str, Any]:
        if self._process is None or not self._process.alive:
            self.close()
            self._process = _Process(self._path)
        return self._process.ask((name, arguments, options), cancel)


def _refusal(text: str, schema: bool, said: str, offset: int | None) -> GrammarError:
    """The error of a grammar that cannot be used."""
    if schema:
        said = said.replace(" (use --allow-fetch for force)", "").replace("stdin#", "#")
        return GrammarError(f"the JSON schema cannot become a grammar: {quoted(said.removesuffix(': '))}")
    said = said.replace("stoull", "a number is too large").replace("stoul", "a number is too large")
    said = said.replace(
        "std::bad_alloc", "it takes more memory than the 1 GiB that is allowed: make it smaller or less nested"
    )
    place = place_of_complaint(text, said) or (None if offset is None else place_in_bytes(text, offset))
    if place is None:
        return GrammarError(f"the grammar cannot be used: {quoted(said)}")
    line, column = place
    shown = printable(text.split("\n")[line - 1].strip())
    shown = f"{shown[:80]}…" if len(shown) > 80 else shown
    where = f" in line {line}, column {column}: {shown}" if shown else f" in line {line}, column {column}"
    return GrammarError(f"the grammar cannot be used: {quoted(said)}{where}", line=line, column=column)


class _DiedError(Exception):
    """The process ended over what it was asked; the message says why.

    Attributes
    ----------
    sudden : whether nobody knows why
    """

    def __init__(self, reason: str, *, sudden: bool) -> None:
        super().__init__(reason)
        self.sudden = sudden


class _Process:
    """One process that knows grammars."""

    def __init__(self, path: str) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
        self._process = Process([*COMMAND, path], stderr=self._words)
        self._channel = Channel(self._process.stdout, self._process.stdin)
        self._asked: tuple[Cancel] | None = None
        self._busy, self._ended = threading.Event(), False
        self._limit = START_SECONDS + LIMIT_SECONDS + SPARE_SECONDS
        self._hung = False
        threading.Thread(target=self._watch, name="inferno-grammar", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, message: object, cancel: Cancel) -> tuple[str, Any]:
        """Raises `Cancelled`, or `_DiedError` with the reason."""
        self._asked = (cancel,)
        self._busy.set()
        try:
            self._channel.send(message)
            answer: tuple[str, Any] = self._channel.receive()
        except (OSError, EOFError, ValueError, GarbledError):
            self._wait_for_end()
            if cancel.is_set():
                raise Cancelled("following the grammar was cancelled") from None
            raise self._death() from None
        finally:
            self._asked = None
            self._busy.clear()
        self._limit = LIMIT_SECONDS + SPARE_SECONDS
        return answer

    def _wait_for_end(self) -> None:
        """Its pipe closes a moment before it has ended; if it stays, it is told to go."""
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _watch(self) -> None:
        """Native code cannot be stopped: its process is, where the work is cancelled or nothing comes of it."""
        while True:
            self._busy.wait()
            if self._ended:
                return
            asked, patience = self._asked, Patience(self._limit)
            while asked is not None and asked is self._asked:
                time.sleep(LOOK_SECONDS)
                hung = patience.over({0: ()}, time.monotonic())
                if asked is self._asked and (asked[0].is_set() or hung):
                    self._hung = hung
                    self._process.kill()
                    self._process.wait()  # who asked hears of it, and asks no more
                    return

    def _death(self) -> _DiedError:
        self._words.seek(0)
        words = self._words.read().decode(errors="replace")
        if "cannot read the vocabulary" in words:
            raise InfernoError(words.strip().splitlines()[-1])
        if self._hung:
            return _DiedError(f"its process made no progress for {self._limit} seconds, and was ended", sudden=True)
        if TOO_LONG in words:
            return _DiedError("it takes more time than the 5 seconds that are allowed", sudden=False)
        if any(said in words for said in ("bad_alloc", "MemoryError", "cannot allocate memory")):
            return _DiedError("it takes more memory than the 1 GiB that is allowed", sudden=False)
        said = "".join(f", saying {line.strip()!r}" for line in words.splitlines()[-1:])
        reason = f"llama.cpp ended its process over it (exit code {self._process.returncode}){said}"
        return _DiedError(reason, sudden=True)

    def end(self) -> None:
        self._ended = True
        self._busy.set()
        self._process.end()
        self._words.close()
