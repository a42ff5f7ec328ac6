"""What a person does with a model file, all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inferno_widget import InfernoError, Model, Sampler, Session, Trace
from inferno_widget.errors import EngineDiedError
from tests.fuzz.clear import is_clear

TEXT = "Once upon a time there was a king — é 🔥 \x00 <s> <|im_end|>\n\n  3.14 " + "and so on " * 8
CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello <|im_start|>"},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": "Go on."},
]
STEPS = 6
PATIENCE = 30.0
"""Seconds without progress after which a child is ended."""
FIRST = 300
"""Tokens whose bytes are asked for."""


def use(path: Path) -> Iterator[str]:
    """Load, tokenise, read a text, go on from it, fork, detokenise, render a conversation, look inside.

    Yields what it does next. It ends well if the model continues a text; that it has no template or no attention
    is no fault.

    Raises
    ------
    InfernoError
        If it cannot be done; anything else is a fault of ours.
    """
    yield "load"
    with Model(path, n_threads=1, hang_seconds=PATIENCE) as model:
        yield "tokenize"
        ids = model.tokenize(TEXT)[:40] or list(range(min(model.info.n_vocab, 4)))
        yield "detokenize"
        model.detokenize([*ids, *range(min(model.info.n_vocab, FIRST))])
        yield "prefill"
        with model.session(ids, Sampler(temperature=1, seed=7, repeat_penalty=1.1)) as session:
            yield from _go_on(session, path.with_name("kept.inferno"))
        yield "template"
        _allowed_to_refuse(lambda: model.render(CONVERSATION))
        yield "metadata"
        repr(model.info), model.metadata_rows(), model.memory(), model.find_tokens("a")


def _go_on(session: Session, kept: Path) -> Iterator[str]:
    yield "decode"
    session.generate(STEPS)
    end = len(session.trace.path()) - 1
    yield "fork"
    if end > 1:
        session.fork(end, int(session.trace.record(int(session.trace.path()[-1])).top_ids[-1]))
        session.generate(2)
    yield "inspect"
    _allowed_to_refuse(session.inspect)
    yield "tell"
    trace = session.trace
    repr(session), str(trace), trace.text, trace.to_pandas(tree=True), trace.to_json(), trace.to_markdown()
    yield "export"
    trace.to_html(), trace.to_svg()
    trace.save(kept)
    assert Trace.load(kept).text == trace.text


def _allowed_to_refuse(what) -> None:
    try:
        what()
    except EngineDiedError:
        raise
    except InfernoError as error:
        if not is_clear(str(error)):
            raise
