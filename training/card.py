"""Fill in the model card: ``python card.py --corpus FOLDER --run FOLDER``.

Writes the figures, tables and samples of training/README.md between its markers. The held-out figures come
from the model that ships, through this package's own engine: the same windows as in training, scored
token by token.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import corpus
import numpy as np

from inferno_widget import Model, Sampler

CARD = Path(__file__).parent / "README.md"
PROMPTS = (
    "Once upon a time there was a king who had three",
    "The old woman lived in a little",
    'The wolf said, "Let me come',
    "In the middle of the forest there stood a",
    "The princess was so beautiful that the",
    "The dragon had seven",
    '"Good morning," said the fox. "Good',
    "The boy climbed to the top of the",
    "They lived happily ever",
    "He opened the door and saw a",
)
STORIES = ("Once upon a time", "The little girl went into the forest", '"Who are you?" asked the king.')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    arguments = parser.parse_args()
    split = corpus.load(arguments.corpus)
    log = [json.loads(line) for line in (arguments.run / "log.jsonl").read_text().splitlines()]
    with Model() as model:
        sections = {
            "figures": figures(model, split),
            "curve": curve(log),
            "tables": "\n".join(table(model, prompt) for prompt in PROMPTS),
            "samples": "\n".join(sample(model, prompt, seed) for seed, prompt in enumerate(STORIES, 1)),
            "held out": held_out(split),
        }
    text = CARD.read_text()
    for name, content in sections.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        head, rest = text.split(begin)
        text = head + begin + "\n" + content.strip() + "\n\n" + end + rest.split(end)[1]
    CARD.write_text(text)


def figures(model: Model, split: corpus.Split) -> str:
    size = model.path.stat().st_size
    lines = [
        f"{model.info.parameters:,} parameters, {size / 1e6:.2f} MB.",
        "",
        "| text | bytes | nats a token | bits a byte |",
        "| --- | --- | --- | --- |",
    ]
    for name, stories in (("held-out stories", split.stories), ("held-out book", split.book)):
        nats, bits, n_bytes = score(model, stories)
        lines.append(f"| {name} | {n_bytes:,} | {nats:.3f} | {bits:.3f} |")
    return "\n".join(lines)


def score(model: Model, stories: list[corpus.Story]) -> tuple[float, float, int]:
    """Nats a token, bits a byte and bytes: disjoint windows of the whole context, each opening with BOS."""
    bos, eos = model.info.bos_id, model.info.eos_id
    ids: list[int] = []
    for story in stories:
        ids += [bos, *model.tokenize(story.text, special=False), eos]
    length = model.info.n_ctx_train - 1
    total, n = 0.0, 0
    for start in range(0, len(ids), length):
        session = model.session([bos, *ids[start : start + length]])
        session.score()
        surprisals = -session.trace.column("logprob")[1:]
        total, n = total + float(surprisals.sum(dtype=np.float64)), n + len(surprisals)
        session.close()
    n_bytes = sum(len(story.text.encode()) for story in stories)
    return total / n, total / math.log(2) / n_bytes, n_bytes


def curve(log: list[dict[str, float]]) -> str:
    step = max(1, len(log) // 16)
    rows = log[step - 1 :: step]
    if rows[-1] is not log[-1]:
        rows.append(log[-1])
    return "\n".join(
        ["| tokens | training, nats | held-out stories, nats | bits a byte |", "| --- | --- | --- | --- |"]
        + [f"| {r['tokens'] / 1e6:.1f} M | {r['train']:.3f} | {r['nats']:.3f} | {r['bits']:.3f} |" for r in rows]
    )


def table(model: Model, prompt: str) -> str:
    session = model.session(prompt, Sampler(temperature=0))
    record = session.step()
    session.close()
    pieces = (session.trace.pieces[int(token)].decode(errors="backslashreplace") for token in record.top_ids[:10])
    cells = ", ".join(
        f"{json.dumps(piece)} {100 * math.exp(logprob):.1f} %"
        for piece, logprob in zip(pieces, record.top_logprobs[:10], strict=True)
    )
    return f"- `{prompt}` -> {cells}"


def sample(model: Model, prompt: str, seed: int) -> str:
    session = model.session(prompt, Sampler(temperature=0.7, seed=seed))
    session.generate(160)
    text = session.text
    session.close()
    quoted = "\n".join(f"> {line}" for line in text.split("\n"))
    return f"{quoted}\n>\n> *temperature 0.7, seed {seed}*\n"


def held_out(split: corpus.Split) -> str:
    lines = [f"- {story.book}, part {story.index}: {json.dumps(story.text[:60])}" for story in split.stories]
    return "\n".join([f"{len(lines)} stories or chapters, by book number, with their first words:", "", *lines])


if __name__ == "__main__":
    main()
