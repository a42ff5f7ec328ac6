"""Paths that the page asks for by somebody who means harm: what is reached lies in the root, whatever is written."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferno_widget import InfernoError
from inferno_widget.browse import Files

EXAMPLES = int(os.environ.get("EXAMPLES", "0")) or 200
PARTS = [
    *("..", ".", "", "~", "a", "A", "link", "up", "loop", "b.gguf", "x.gguf", "/", "//", "/etc", "/proc/self/root"),
    *(" ", "..\\..", "...", ".. ", "..;", "%2e%2e", "..%2f", "\0", "\n", "\ud800", "\udcff", "/dev/fd", "x" * 300),
    *("\uff0e\uff0e", "\u2025", "\u2024\u2024", "..\u200b", "e\u0301", "\u00e9", "\u202e.."),
    *("C:", "C:\\", "\\\\server\\share", "\\\\?\\C:\\", "file:", "CON", "NUL"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with links out of it, up and in a circle, beside one that must not be reached."""
    root = tmp_path / "root"
    for folder in (root / "a", root / "\u00e9", tmp_path / "outside"):
        folder.mkdir(parents=True)
    for file in (root / "x.gguf", root / "a" / "b.gguf", tmp_path / "outside" / "x.gguf"):
        file.write_bytes(b"GGUF")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "a" / "up").symlink_to("../..")
    (root / "loop").symlink_to("loop")
    return root


@pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=5), between=st.sampled_from(["/", "\\", ""]))
def test_what_is_reached_lies_in_the_root(parts: list[str], between: str, root: Path) -> None:
    """Or it is refused in words: `InfernoError`, and nothing else."""
    files, path = Files(root), between.join(parts)
    with contextlib.suppress(InfernoError):
        assert Path(os.path.realpath(files.resolve(path))).is_relative_to(root)
    for ask in (files.list, files.inspect):
        with contextlib.suppress(InfernoError):
            assert "outside" not in repr(ask(path))
