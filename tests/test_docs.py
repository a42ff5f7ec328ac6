"""Every line of Python in the README and in the guide runs as it stands there, one block after the other."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import inferno_widget
from inferno_widget import Model, Sampler
from tests.engine.tools import DEMO
from tests.make_models import tiny_chat

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("document", ["README.md", "docs/guide.md"])
def test_the_code_of_a_document_runs(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the demo model in place of any file; what comes from the hub is left out, for it needs a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Sampler, "seeded", lambda sampler: replace(sampler, seed=sampler.seed or 7))
    shutil.copy(DEMO, "model.gguf")
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    with Model(tiny_chat(tmp_path / "chat.gguf"), n_ctx=512) as talker, Model("model.gguf") as model:
        known = {name: getattr(inferno_widget, name) for name in inferno_widget.__all__}
        known["session"] = model.session("Once upon a time there was", Sampler(seed=3))
        for block in blocks:
            lines = "".join(line for line in block.splitlines(keepends=True) if "from_hub" not in line)
            known["model"] = talker if "model.chat" in lines else model
            exec(compile(lines, document, "exec"), known)
            if known["model"] not in (talker, model):
                known["model"].close()
