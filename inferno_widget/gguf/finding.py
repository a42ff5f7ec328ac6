"""What is wrong or odd about a model's file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from ..errors import MOST_FIELD, ModelFileError, quoted

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or odd about a file. All of it is text to show: never markup.

    Attributes
    ----------
    severity : ``"error"``: the file is refused; ``"warning"``: llama.cpp has the last word, in a process of its own
    field : the part of the file, such as ``"magic"``, a key or a tensor
    offset : bytes from the start of the file to that part; None where it has no place of its own
    found : what stands there
    expected : what should; "" where `found` says it
    advice : what to do
    """

    severity: Severity
    field: str
    offset: int | None
    found: str
    expected: str
    advice: str

    @classmethod
    def of(cls, error: ModelFileError) -> Self:
        """A fault that stopped the reading."""
        return cls("error", error.field, error.offset, error.found, error.expected, error.advice)

    def to_dict(self) -> dict[str, Any]:
        """For the page."""
        return {**asdict(self), "text": self.text}

    @property
    def text(self) -> str:
        """Without the severity: where, what, what instead, what to do."""
        where = quoted(self.field, MOST_FIELD) + (f", byte {self.offset:,}" if self.offset is not None else "")
        said = (self.found, f"expected {self.expected}" if self.expected else "", self.advice)
        return f"{where}: {quoted('; '.join(filter(None, said)))}"

    def __str__(self) -> str:
        return f"{self.severity}: {self.text}"
