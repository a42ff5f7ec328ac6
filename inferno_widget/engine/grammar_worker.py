"""The process that knows grammars: llama.cpp's own, where they can do no harm.

llama.cpp ends its process when it is given a token that a grammar does not allow, and a grammar may take any time and
any memory, while it is read and with every token. So grammars are in a process of their own, which neither the kernel
nor the model's process goes down with. It reads only the vocabulary of the model, and ends when its pipe does.
"""

from __future__ import annotations

import bisect
import ctypes
import json
import math
import os
import signal
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import llama_cpp.llama_cpp as C
import numpy as np
import psutil
from numpy.typing import NDArray

from .channel import Channel
from .gbnf import rules_of, with_exclusions
from .grammar import LIMIT_SECONDS, START_SECONDS, TOO_LONG
from .log import ERROR, Log
from .patience import Patience
from .schema import refuse, with_single_types

LOOK_SECONDS = 0.1
LIMIT_BYTES = 1 << 30
"""What a grammar may take besides the vocabulary, where the system can limit it."""
OF_A_RULE = ("number of", "stoul", "stoi")
OF_SEVERAL_RULES = ("unsupported grammar, left recursion detected",)
"""How complaints begin that are about a rule, and do not say which."""
NOT_IN_JSON = r'"\\\x00-\x1F\x7F'
"""What a string in JSON has only behind a backslash, as in a set of GBNF."""
STATES = 128
"""Texts whose state is kept."""

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


@dataclass
class State:
    """A grammar behind a text.

    Attributes
    ----------
    grammar : its number
    sampler : llama.cpp's
    said : int32 ids of the text's tokens, as bytes
    """

    grammar: int
    sampler: Any
    said: bytes


class Grammarian:
    """Answers messages ``(name, *arguments)`` with ``(kind, value)``.

    Parameters
    ----------
    path : the model's file
    """

    def __init__(self, path: str) -> None:
        self.log = Log(echo=False)
        self._callback = C.llama_log_callback(self.log.note)
        C.llama_log_set(self._callback, ctypes.c_void_p(0))
        C.llama_backend_init()
        params = C.llama_model_default_params()
        params.vocab_only = True
        model = C.llama_model_load_from_file(os.fsencode(path), params)
        if not model:
            raise OSError(f"llama.cpp cannot read the vocabulary of {path}: {self.log.reason()}")
        self._vocabulary = C.llama_model_get_vocab(model)
        self._everything = np.arange(C.llama_vocab_n_tokens(self._vocabulary), dtype=np.int32)
        self._beginnings: list[State] = []
        self._states: OrderedDict[int, State] = OrderedDict()

    # --- compiling --------------------------------------------------------------------------------------

    def compile(self, text: str, *, schema: bool) -> tuple[str, Any]:
        """("number", of the grammar) or ("bad", (llama.cpp's words, bytes of the text up to there or None))."""
        if schema:
            try:
                text = _converted(text)
            except Exception as error:  # noqa: BLE001  the converter checks nothing: whatever it stumbles on
                named = "" if isinstance(error, AssertionError | ValueError) else f"{type(error).__name__}: "
                return "bad", (f"{named}{error}", None)
        data = text.encode()
        sampler, said = self._compiled(data)
        if sampler:
            self._beginnings.append(State(len(self._beginnings), sampler, b""))
            return "number", len(self._beginnings) - 1
        said, place = _parted(said, data)
        return "bad", (said, self._rule_with(said, text) if place is None else place)

    def _compiled(self, text: bytes) -> tuple[Any, str]:
        """A sampler, or None and what llama.cpp said; the parser prints, the rest is logged."""
        self.log.lines.clear()
        os.lseek(2, 0, os.SEEK_SET)
        os.ftruncate(2, 0)
        sampler = C.llama_sampler_init_grammar(self._vocabulary, text, b"root")
        if sampler:
            return sampler, ""
        size = os.lseek(2, 0, os.SEEK_CUR)
        os.lseek(2, 0, os.SEEK_SET)
        printed = os.read(2, size).decode(errors="replace").partition("error parsing grammar: ")[2]
        logged = [line.partition(" for nonterminal")[0].strip() for level, line in self.log.lines if level >= ERROR]
        return None, printed or "; ".join(logged) or "no reason was given"

    def _rule_with(self, said: str, text: str) -> int | None:
        """Where the rule begins that a complaint is about which does not say so, in bytes; None where it is not known.

        It is the first with which a grammar made of the rules before it is wrong too; or, where rules refer to each
        other without end, the first without which and those before it that is over.
        """
        rules = rules_of(text)

        def wrong(n: int) -> bool:
            return self._says(said, text[: rules[n][2]].encode())

        def mended(n: int) -> bool:
            plain = "".join(f'{name} ::= "x"\n' for name, _, _ in rules[: n + 1])
            return not self._says(said, (plain + text[rules[n][2] :]).encode())

        ways = [(OF_A_RULE, wrong), (OF_SEVERAL_RULES, mended)]
        way = next((way for begins, way in ways if said.startswith(begins)), None)
        found = bisect.bisect_left(range(len(rules)), True, key=way) if way else len(rules)
        return len(text[: rules[found][1]].encode()) if found < len(rules) else None

    def _says(self, said: str, text: bytes) -> bool:
        """Whether llama.cpp complains of a text with these words."""
        sampler, now = self._compiled(text)
        if sampler:
            C.llama_sampler_free(sampler)
        return not sampler and _parted(now, text)[0] == said

    # --- going on ---------------------------------------------------------------------------------------

    def allowed(self, key: int, grammar: int, said: bytes, ids: bytes | None) -> tuple[str, Any]:
        """("mask", bits of what may come behind `said`) or ("misfit", how many of its tokens fit).

        `key` is whose text it is: its state is moved on, that of others is copied.
        """
        state = self._state(key, grammar, said)
        while len(state.said) < len(said):
            token = said[len(state.said) : len(state.said) + 4]
            if not self._mask(state, np.frombuffer(token, np.int32))[0]:
                return "misfit", len(state.said) // 4
            C.llama_sampler_accept(state.sampler, int.from_bytes(token, sys.byteorder))
            state.said += token
        mask = self._mask(state, self._everything if ids is None else np.frombuffer(ids, np.int32))
        return "mask", np.packbits(mask).tobytes()

    def _state(self, key: int, grammar: int, said: bytes) -> State:
        """The state of `key`, behind as much of `said` as is known already."""
        mine = self._states.pop(key, None)
        if mine is None or mine.grammar != grammar or not said.startswith(mine.said):
            if mine is not None:
                C.llama_sampler_free(mine.sampler)
            known = (s for s in self._states.values() if s.grammar == grammar and said.startswith(s.said))
            nearest = max(known, key=lambda s: len(s.said), default=self._beginnings[grammar])
            mine = State(grammar, C.llama_sampler_clone(nearest.sampler), nearest.said)
        self._states[key] = mine  # the latest used comes last
        if len(self._states) > STATES:
            C.llama_sampler_free(self._states.popitem(last=False)[1].sampler)
        return mine

    def _mask(self, state: State, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        data = np.zeros(len(ids), _CANDIDATE)
        data["id"] = ids
        pointer = data.ctypes.data_as(C.llama_token_data_p)
        array = C.llama_token_data_array(data=pointer, size=len(data), selected=-1, sorted=False)
        C.llama_sampler_apply(state.sampler, ctypes.byref(array))
        mask: NDArray[np.bool_] = data["logit"] == 0
        return mask


def _converted(schema: str) -> str:
    """GBNF for a schema. In its strings the converter forgets what JSON does not have as it is: control characters, and
    where a pattern has a dot or excludes something, quotes and backslashes. In what it is to say word for word, it
    forgets that a backslash has a meaning in GBNF too. And it knows a reference by the last part of its place alone, by
    which it may take it for a property, or for another reference.
    """
    from llama_cpp.llama_grammar import SchemaConverter

    class Converter(SchemaConverter):
        def _format_literal(self, literal: str) -> str:
            said = json.dumps(json.loads(literal), ensure_ascii=False)
            return '"' + said.replace("\\", r"\\").replace('"', r"\"") + '"'

        def _resolve_ref(self, ref: str) -> str:
            if ref not in rules:
                rules[ref] = f"reference-{len(rules)}-"  # for what refers to itself
                rules[ref] = cast("Any", self).visit(self._refs[ref], rules[ref])
            return rules[ref]

    rules: dict[str, str] = {}
    wanted = with_single_types(json.loads(schema))
    refuse(wanted)
    if "$ref" in wanted:  # else what stands beside it would not be looked through for further references
        wanted["anyOf"] = [{"$ref": wanted.pop("$ref")}]
    converter: Any = cast("Any", Converter)(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
    converter.visit(converter.resolve_refs(wanted, "stdin"), "")
    return with_exclusions(str(converter.format_grammar()), NOT_IN_JSON)


def _parted(said: str, text: bytes) -> tuple[str, int | None]:
    """The parser's words without the rest of the text that it stopped at, and how many bytes came before that."""
    whole = text.decode(errors="replace")
    said = said.removesuffix("\n").removesuffix(whole).removesuffix("\n\n")
    words, at, rest = said.partition(" at ")
    if at and whole.endswith(rest):
        return words, len(text) - len(rest.encode())
    return said, None


class Watch:
    """Ends this process when something takes too long, or when nobody is left to hear of it: native code cannot be
    stopped otherwise.
    """

    def __init__(self) -> None:
        self._patience = Patience(math.inf)
        self._parent = os.getppid()
        threading.Thread(target=self._look, name="watch", daemon=True).start()

    @contextmanager
    def over(self, seconds: float) -> Iterator[None]:
        """Whatever is in the block may take so long."""
        self._patience = Patience(seconds)
        try:
            yield
        finally:
            self._patience = Patience(math.inf)

    def _look(self) -> None:
        while not self._patience.over({0: ()}, time.monotonic()):
            time.sleep(LOOK_SECONDS)
            if os.getppid() != self._parent:
                os._exit(0)
        os.write(2, TOO_LONG.encode())
        os._exit(1)


def _limit_memory() -> None:
    if os.name == "posix":
        import resource

        most = psutil.Process().memory_info().vms + LIMIT_BYTES
        with suppress(ValueError, OSError):  # not every system keeps to it, or lets it be set
            resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> None:
    """``python -m inferno_widget.engine.grammar_worker MODEL``; standard error is a file that can be read."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch = Watch()
    channel = Channel(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    with watch.over(START_SECONDS):
        grammarian = Grammarian(sys.argv[1])
    _limit_memory()
    with suppress(EOFError, OSError):
        while True:
            name, arguments, options = channel.receive()
            with watch.over(LIMIT_SECONDS):
                answer = getattr(grammarian, name)(*arguments, **options)
            channel.send(answer)


if __name__ == "__main__":
    main()
