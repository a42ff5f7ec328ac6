"""Files are written whole or not at all, and whoever asked for one that cannot be is told what to do."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from inferno_widget.writing import whole_file
from tests.traces import forked_trace


def test_a_file_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with contextlib.suppress(ZeroDivisionError), whole_file(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    with whole_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".txt")
    with whole_file(path) as one, whole_file(path) as other:
        one.write(b"one")
        other.write(b"other")
    assert path.read_text() == "one"


@pytest.mark.skipif(sys.platform == "win32", reason="links and devices of POSIX")
def test_links_stay_links_and_pipes_are_written_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with whole_file(tmp_path / "link") as file:
        file.write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "x"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    forked_trace().to_markdown(pipe)
    assert os.read(reader, 20).startswith(b"# ")
    os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.parametrize("save", ["save", "to_html", "to_json", "to_markdown", "to_svg", "to_png"])
def test_what_cannot_be_written_is_named_with_what_to_do(save: str, tmp_path: Path) -> None:
    write = getattr(forked_trace(), save)
    with pytest.raises(FileNotFoundError, match=r"none.x cannot be written: there is no folder .*none; make it first"):
        write(tmp_path / "none" / "x")
    with pytest.raises(IsADirectoryError, match="cannot be written: it is a folder; name a file in it"):
        write(tmp_path)
    with pytest.raises(ValueError, match="path must name a file, which '' cannot: it is empty"):
        write("")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file.x cannot be written: "):
        write(tmp_path / "file" / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("there is no full device here")
    with pytest.raises(OSError, match=r"/dev/full cannot be written: the disk is full; make room"):
        forked_trace().save(full)
    assert full.is_char_device()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="cannot be written: that is not allowed; choose another folder"):
        forked_trace().save(tmp_path / "x")
