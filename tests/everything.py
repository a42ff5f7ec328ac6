"""Everything a person does with a workbench, in a process of its own: ``python -m tests.everything FOLDER MARKER``.

The marker is a word of every prompt and name. Python logs at its lowest level, into ``FOLDER/log``; what is written on
purpose goes to ``FOLDER/asked-for``; what was said, and what errors told the person, to ``FOLDER/asked-for/said.json``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from inferno_widget import Ablate, Inferno, Model, Sampler, Session, Trace, verify
from inferno_widget.export import FORMATS
from inferno_widget.model import demo_path
from tests.engine.tools import until
from tests.make_models import tiny_chat

WAIT = 60


@contextlib.contextmanager
def told(errors: list[str]) -> Iterator[None]:
    """Note what an error says, as a person would read it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  every one of them is of interest
        errors.append(f"{type(error).__name__}: {error}")
    else:
        errors.append("")


def generated(folder: Path, marker: str, errors: list[str]) -> str:
    """In Python alone, with all that has a name."""
    out = folder / "asked-for"
    with Model() as model:
        session = model.session(f"Once upon a time there was {marker}, who had three", Sampler(seed=7))
        session.generate(12)
        session.fork(16, " king")
        session.generate(4)
        session.name_branch(marker)
        session.watch({marker: [" dragon"]})
        session.lookahead(3, depth=3)
        session.resample(2, max_tokens=4)
        session.explain(17)
        session.what_if(temperature=[0.5, 1.0])
        session.inspect(layers=1)
        session.inspect(5, "lens")
        session.attribution()
        model.score([f"the tale of {marker}"])
        looked(session, out)
        killed(session, errors)
        with told(errors):
            session.edit(f"{marker} \ud800")
        with told(errors):
            model.token(f" {marker} {marker}")
        with told(errors):
            model.session(f"{marker} " * 5_000).generate(1)
        said: str = session.trace.text
    return said


def looked(session: Session, out: Path) -> None:
    """Every export, a file and back, and what is drawn."""
    for name, form in FORMATS.items():
        session.trace._exported(name, out / f"{name}{form.suffix}", {})
    session.trace.save(out / "run.inferno")
    trace = Trace.load(out / "run.inferno")
    assert trace.text == session.trace.text
    trace.to_pandas()
    verify(trace, session.model)
    for draw in (session.plot.surprisal, session.plot.distribution, session.plot.time):
        draw().to_json()
    with session.intervene(Ablate(layer=1, head=1)):
        session.generate(1)


def killed(session: Session, errors: list[str]) -> None:
    """The engine's process ends in every way while it holds the text."""
    ends = [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT] if os.name != "nt" else [signal.SIGTERM]
    for end in ends:
        pid = session.model.engine.pid
        session.logits_processor = lambda _ids, logits, pid=pid, end=end: os.kill(pid, end) or logits
        with told(errors):
            session.generate(4)
        session.logits_processor = None
        session.generate(1)


def clicked(folder: Path, marker: str, errors: list[str]) -> str:
    """The gestures of the page."""
    out = folder / "asked-for"
    w = Inferno(max_tokens=8, prompt=f"Once upon a time there was {marker}", root=folder)
    bench = w.workbench
    until(lambda: bench.model is not None, WAIT)
    w._repr_mimebundle_()

    def eighth() -> int:
        return int(bench.trace.path()[8])

    steps: list[Callable[[], object]] = [
        lambda: bench.run(w.prompt),
        lambda: bench.fork(6, int(bench.trace.nodes["top_ids"][6][2])),
        lambda: bench.edit(f"{bench.trace.text} {marker}").result(WAIT),
        lambda: bench.lookahead(-1, 3, 3).result(WAIT),
        lambda: bench.explain(eighth()).result(WAIT),
        lambda: bench.heads(eighth(), 1).result(WAIT),
        lambda: bench.lens(eighth(), 4, 4).result(WAIT),
        lambda: bench.watch(marker, [" a"]).result(WAIT),
        lambda: bench.name_branch(bench.trace.head, marker),
        lambda: bench.rename(bench.library.shown.id, marker),
        lambda: bench.set("stop", [f"{marker}{marker}"]),
        lambda: bench.set("grammar", f'root ::= "{marker}"'),
        lambda: bench.set("grammar", f'root ::= "{marker}'),
        lambda: bench.set("grammar", None),
        lambda: bench.save_preset("mine"),
        lambda: bench.preset("greedy"),
        lambda: bench.look("palette", "viridis"),
        lambda: bench.places().result(WAIT),
        lambda: bench.browse(str(folder)).result(WAIT),
        lambda: bench.inspect(str(demo_path())).result(WAIT),
        lambda: bench.save(str(out / "clicked.inferno")).result(WAIT),
        lambda: bench.open(str(out / "clicked.inferno")).result(WAIT),
        lambda: bench.export("html", str(out / "clicked.html")).result(WAIT),
        lambda: bench.vocabulary(marker).result(WAIT),
        lambda: bench.load(str(tiny_chat(folder / "chat.gguf"))),
        lambda: until(lambda: bench.model.path.name == "chat.gguf", WAIT),
        lambda: bench.render([{"role": "user", "content": marker}]).result(WAIT),
        lambda: bench.chat([{"role": "user", "content": marker}]),
        lambda: bench.load(str(folder / f"{marker}.gguf")),
    ]
    for step in steps:
        with told(errors):
            step()
        until(lambda: not bench.busy, WAIT)
    said = bench.trace.text
    w.close()
    return said


def main() -> None:
    """Do it all, with every word of Python's logs kept."""
    folder, marker = Path(sys.argv[1]), sys.argv[2]
    (folder / "asked-for").mkdir()
    logging.basicConfig(level=logging.DEBUG, filename=folder / "log", force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger(__name__).debug("it begins")
    errors: list[str] = []
    said = [make(folder, marker, errors) for make in (generated, clicked)]
    (folder / "asked-for" / "said.json").write_text(json.dumps({"said": said, "errors": errors}))


if __name__ == "__main__":
    main()
