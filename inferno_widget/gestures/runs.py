"""How a run begins, goes on and ends."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from ..jobs import Job
from ..session import Session
from .base import STOPPED, alone
from .following import Following
from .surgery import Operating

NAME_SHOWN = 40
"""Most characters of a name that nobody gave."""


class Runs(Following, Operating):
    """Run, chat, step, pause, resume, stop, fork."""

    @alone
    def run(self, prompt: str) -> None:
        """Begin a new session; the one on display is stopped, and stays in the list."""
        session, code = self._new_session(prompt)
        self.code = f"{code}; {self.controls.generate_code}"
        self._start(session)

    @alone
    def chat(self, messages: Sequence[dict[str, Any]]) -> None:
        """Begin a new session with a conversation, as the model's template writes it."""
        c = self.controls
        session = self._model().chat(messages, c.sampler, on_full=c.on_full, keep=c.keep)
        session.name = textwrap.shorten(messages[-1]["content"], NAME_SHOWN, placeholder="…") or session.name
        self._begin(session)
        self.code = f"session = model.chat({messages!r}, {self.controls.session_code}); {c.generate_code}"
        self._start(session)

    @alone
    def step(self, prompt: str) -> None:
        """One token more, or the first of a new session if the prompt is another one."""
        shown = self.library.shown
        same = shown and shown.prompt == prompt and self.library.model_of(shown)
        session, code = (self._settled(), "") if same else self._new_session(prompt)
        code = self.controls.rule(session) if same else f"{code}; "
        self._follow_on(session)
        session.start(1)
        self.code = f"{code}session.step()"

    @alone
    def resume(self) -> None:
        """Go on after a pause, or for another `max_tokens`."""
        session = self._settled()
        code = self.controls.rule(session)
        self._follow_on(session)
        if session.resumable:
            session.resume()
            self.code = f"{code}session.resume()"
        else:
            self._start(session)
            self.code = f"{code}{self.controls.generate_code}"

    @alone
    def pause(self) -> None:
        self._awake().pause()
        self.code = "session.pause()"

    @alone
    def stop(self) -> None:
        """End the run on display and what looks at it, or the loading of the first model."""
        self._end_jobs(self.library.shown, STOPPED)
        if self.session:
            self.session.stop()
            self._end_following()
            self.code = "session.stop()"
        elif self.loading:
            self.loading.cancel()

    @alone
    def fork(self, node: int, token_id: int) -> Job[None] | None:
        """Replace a token of the current path, and go on from there: at once, where its record is stored already."""
        session, opened = self._settled(), self._something()
        at = self._position(node)

        def work(_: Job[None] | None = None) -> None:
            session.fork(at, token_id)
            if self.library.shown is opened:
                self.selection = session.trace.head  # where the next road not taken can be tried
            code = f"session.fork(at={at}, token={token_id}); {self.controls.rule(session)}"
            self._start(session)
            piece = session.trace.pieces[token_id].decode(errors="backslashreplace")
            self.code = f"{code}{self.controls.generate_code}  # {piece!r}"

        if not session.stores(node, token_id):
            return self._start_job("fork", work)
        work()
        return None

    @alone
    def select(self, node: int) -> None:
        """Look at a node; what is none is passed over."""
        if self.trace is not None and -1 <= node < len(self.trace.nodes):
            self.selection = node

    def _new_session(self, prompt: str) -> tuple[Session, str]:
        """A session with the settings of now, and the Python that makes one."""
        model, old = self._model(), self.session
        shown = self.library.shown
        again = shown is not None and old is not None and old.model is model and shown.prompt == prompt
        c = self.controls
        ids = old.prompt_ids if old and again else prompt
        session = model.session(ids, c.sampler, on_full=c.on_full, keep=c.keep)
        if old and again and old.prompt != prompt:  # a conversation, which is named after what was asked
            session.name = old.name
        written = repr(prompt) if session.prompt_ids == model.tokenize(prompt) else "session.prompt_ids"
        self._begin(session)
        self.prompt = prompt
        return session, f"session = model.session({written}, {c.session_code})"

    def _begin(self, session: Session) -> None:
        earlier, before = self.session, self.library.shown
        self._show(self.library.add_session(session, owned=True))
        if earlier:
            earlier.stop()
        self._end_jobs(before)
        self._hand_over(before, self._something())

    def _start(self, session: Session) -> None:
        self._follow_on(session)
        session.start(self.controls.max_tokens, stop=self.controls.stop)
