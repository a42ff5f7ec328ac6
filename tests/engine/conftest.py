"""Models and engines of the engine's tests: made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inferno_widget import Model, Session
from inferno_widget.engine import Options
from inferno_widget.engine.client import EngineClient
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.engine.stop import Stop
from tests.engine.tools import DEMO, PROMPT, Driver, Switch, dice, ignore, loaded
from tests.make_models import tiny_gemma2, tiny_gemma3, tiny_gpt2, tiny_llama, tiny_qwen2

EXACT = Options(n_ctx=1024, n_threads=1, n_batch=64, type_k="f32", type_v="f32")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int]]:
    """Name -> file and size of its vocabulary."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "tiny": (tiny_llama(folder / "tiny.gguf", n_vocab=512), 512),
        "large": (tiny_qwen2(folder / "large.gguf", n_vocab=40_000), 40_000),
        "gemma2": (tiny_gemma2(folder / "gemma2.gguf"), 512),
        "gemma3": (tiny_gemma3(folder / "gemma3.gguf"), 512),
        "gpt2": (tiny_gpt2(folder / "gpt2.gguf"), 512),
        "qwen2": (tiny_qwen2(folder / "qwen2.gguf"), 512),
        "demo": (DEMO, 4_096),
    }


@pytest.fixture(scope="session")
def tiny(models: dict[str, tuple[Path, int]]) -> Path:
    """The file of the tiny Llama, F32."""
    return models["tiny"][0]


@pytest.fixture(scope="module")
def model(tiny: Path) -> Iterator[Model]:
    """The tiny Llama with an F32 cache, for all tests of a module."""
    with loaded(tiny) as model:
        yield model


@pytest.fixture
def session(model: Model) -> Iterator[Session]:
    """A prompt and the twenty tokens behind it."""
    with model.session(PROMPT, dice()) as session:
        session.generate(20)
        yield session


@pytest.fixture(scope="module")
def native(models: dict[str, tuple[Path, int]]) -> Iterator[Driver]:
    """The tiny F32 model with an F32 cache, in this process."""
    engine = LlamaEngine(str(models["tiny"][0]), EXACT, cancel=Switch(), progress=ignore)
    yield Driver(engine, Switch)
    engine.close()


@pytest.fixture(scope="module")
def demo(models: dict[str, tuple[Path, int]]) -> Iterator[Driver]:
    """The demo model as a user gets it, in this process."""
    engine = LlamaEngine(str(models["demo"][0]), Options(n_ctx=512, n_threads=1), cancel=Switch(), progress=ignore)
    yield Driver(engine, Switch)
    engine.close()


@pytest.fixture(scope="module")
def client(models: dict[str, tuple[Path, int]]) -> Iterator[Driver]:
    """The tiny model in a child."""
    path, n_vocab = models["tiny"]
    engine = EngineClient(str(path), EXACT, n_vocab)
    engine.start()
    yield Driver(engine, Stop)
    engine.close()
