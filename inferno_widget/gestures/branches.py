"""The tree: going to and fro on it, writing on it, and keeping it in order."""

from __future__ import annotations

from ..errors import InfernoError, counted
from ..jobs import Job
from ..library import Action
from ..tree import hidden_nodes
from .base import Base, alone


class Branches(Base):
    """Goto, rewind, edit, name, prune, restore."""

    @alone
    def goto(self, node: int) -> None:
        """Show the path to a node, and stand there; a recorded run does so without its model."""
        shown = self._something()
        trace = shown.trace
        if not -1 <= node < len(trace.nodes):
            raise InfernoError(f"there is no node {node}: this run has {len(trace.nodes):,}")
        if node >= 0 and hidden_nodes(trace)[node]:
            raise InfernoError("this branch is hidden: restore it first")
        if shown.session and shown.state != "closed":
            self._settled().goto(node)
            self.code = f"session.goto({node})"
        else:
            trace.goto(node)
            self.code = f"trace.goto({node})"
        self.selection = -1

    @alone
    def rewind(self, n: int) -> None:
        """Go back by `n` tokens of the path."""
        trace = self._something().trace
        if not 1 <= n <= trace.length:
            raise InfernoError(f"the path has {counted(trace.length, 'token')}: it cannot be rewound by {n:,}")
        self.goto(int(trace.path()[-1 - n]) if n < trace.length else -1)
        if self.session:
            self.code = f"session.rewind({n})"

    def text(self) -> str:
        """The text of the current path, as `edit` takes it back: `Text`."""
        return self._something().trace.text

    @alone
    def edit(self, text: str) -> Job[None]:
        """Make `text` the text of the path; what is new in it is scored."""
        session, opened = self._settled(), self._something()
        session.stop()
        self.code = f"session.edit({text!r})"

        def work(_: Job[None]) -> None:
            session.edit(text)
            if self.library.shown is opened:
                self.selection = -1

        return self._start_job("edit", work)

    @alone
    def name_branch(self, node: int, name: str) -> None:
        """Call the branch through a node by a name; an empty one takes its name away."""
        marked, called = self._marked()
        trace = self._something().trace
        before = trace.names
        marked.name_branch(name, node)
        self.code = f"{called}.name_branch({name!r}, node={node})"
        done = f"name “{name}”" if name else "take a name away"
        self.library.did(Action(done, lambda: setattr(trace, "names", before)))

    @alone
    def prune(self, node: int) -> None:
        """Hide the branch through a node; `restore` and `undo` show it again."""
        marked, called = self._marked()
        trace = self._something().trace
        before = trace.pruned
        marked.prune(node)
        self.code = f"{called}.prune({node})"
        hidden = trace.pruned - before
        self.library.did(Action("prune a branch", lambda: setattr(trace, "pruned", trace.pruned - hidden)))

    @alone
    def restore(self, node: int) -> None:
        """Show a branch again that was hidden."""
        marked, called = self._marked()
        marked.restore(node)
        self.code = f"{called}.restore({node})"
