"""``python -m tests.fuzz.peer``: the same files with plain llama-cpp-python, each in a fork that may die.

Lines in and out are those of `kernel`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import llama_cpp

from tests.fuzz.bounds import bound_this_process
from tests.fuzz.mutate import Case
from tests.fuzz.use import CONVERSATION, FIRST, STEPS, TEXT

SECONDS = 30
"""After which a fork is taken to hang."""


def use(path: Path) -> None:
    """What `tests.fuzz.use` does, as far as there is a call for it."""
    model = llama_cpp.Llama(str(path), n_threads=1, verbose=False)
    ids = model.tokenize(TEXT.encode(), special=True)[:40] or list(range(4))
    model.detokenize([*ids, *range(min(model.n_vocab(), FIRST))])
    model.eval(ids)
    for _ in range(STEPS):
        model.eval([model.sample(temp=1.0, repeat_penalty=1.1)])
    if "tokenizer.chat_template" in model.metadata:
        with contextlib.suppress(Exception):
            model.create_chat_completion(CONVERSATION, max_tokens=1)


def outcome_of(path: Path) -> str:
    """What became of a fork that used it."""
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        code = 3
        with contextlib.suppress(BaseException):
            use(path)
            code = 0
        os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "hung" if os.WTERMSIG(status) == signal.SIGALRM else "killed"
    return {0: "works", 3: "error"}.get(os.waitstatus_to_exitcode(status), "killed")


def main() -> None:
    bound_this_process()
    answers = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(silence, descriptor)
    for line in sys.stdin:
        case, started = Case.named(line.strip()), time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            outcome = outcome_of(case.write(Path(folder)))
        found = {"case": str(case), "outcome": outcome, "stage": "", "seconds": time.monotonic() - started}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
