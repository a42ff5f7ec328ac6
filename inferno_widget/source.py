"""The files that a loaded model came from, looked at again when something went wrong."""

from __future__ import annotations

import hashlib
import re
import signal
from pathlib import Path

from .errors import ModelFileError, printable
from .gguf import ModelInfo, changed, opened
from .gguf.oddities import FATAL, REFUSED

SENT = {-int(getattr(signal, name, signal.SIGTERM)) for name in ("SIGKILL", "SIGTERM")}
"""Exit codes of a process that somebody else ended."""
BUS = -int(getattr(signal, "SIGBUS", 0)) or None
"""Of one that read a page of a mapped file which was not there."""


class Source:
    """The files of a model as they were when it was loaded.

    Parameters
    ----------
    info : what was read from them

    Attributes
    ----------
    fingerprint : of the file; of all together where the model is split

    Raises
    ------
    ModelFileError
        If one cannot be read.
    """

    def __init__(self, info: ModelInfo) -> None:
        self.info = info
        self.fingerprint = _fingerprint(info)

    def require_same(self) -> None:
        """Refuse files that others have taken the place of: what was recorded could not go on with their weights.

        Raises
        ------
        ModelFileError
        """
        news = changed(self.info)
        if news and not self._same():
            path, what = news
            raise ModelFileError(path, what, field="path", advice="load the model again: Model(path)")

    def _same(self) -> bool:
        try:
            return _fingerprint(self.info) == self.fingerprint
        except ModelFileError:
            return False

    def explain(self, said: str, exitcode: int | None, *, decoded: bool) -> str:
        """What in the files is the likely reason for the end of a process that used them; "" if nothing is.

        Parameters
        ----------
        said : its last words
        exitcode : as `subprocess.Popen.returncode`; None if it ended in good order
        decoded : whether it had worked by then, so that no oddity of the file is to blame
        """
        if exitcode in SENT:
            return ""
        news = changed(self.info)
        if news:
            return printable(f"; {news[0]} {news[1]}")
        if BUS and exitcode == BUS:
            return (
                f"; a disk or network drive failed while {printable(str(self.info.path))} was read: copy it to another"
            )
        findings = self.info.findings
        if decoded or not findings:
            return ""
        advice = REFUSED if exitcode is None else FATAL  # what is known to come to this comes first
        likely = max(findings, key=lambda finding: (finding.advice == advice, _likeness(finding.field, said)))
        others = f" ({len(findings) - 1} more in model.info.findings)" if len(findings) > 1 else ""
        return f"; probably because of what is odd in its file: {likely.text}{others}"


def _likeness(field: str, said: str) -> int:
    """How many of a field's words, but for the architecture, occur in what was said: the assertion often has them."""
    words = re.findall(r"[a-z]{3,}", field.lower().partition(".")[2])
    return sum(word in said.lower() for word in words)


def _fingerprint(info: ModelInfo) -> str:
    """Of all files: models that are split may differ in any part, and the first often holds no weights at all."""
    each = [fingerprint(path) for path in info.files]
    return each[0] if len(each) == 1 else hashlib.sha256("".join(each).encode()).hexdigest()


def fingerprint(path: Path, blocks: int = 64, size: int = 1 << 16) -> str:
    """SHA-256 of a file's length and of blocks spread evenly over it: 5 ms, however large it is.

    Raises
    ------
    ModelFileError
        If it cannot be read.
    """
    try:
        with opened(path) as file:
            length = file.seek(0, 2)
            digest = hashlib.sha256(str(length).encode())
            for i in range(blocks):
                file.seek(max(0, length - size) * i // (blocks - 1))
                digest.update(file.read(size))
    except OSError as error:
        advice = "copy the file to another disk"
        raise ModelFileError(path, f"cannot be read: {error}", field="data", advice=advice) from error
    return digest.hexdigest()
