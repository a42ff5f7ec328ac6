"""What stands in the header of one file, and what is wrong there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ModelFileError
from .tensors import Tensor
from .values import TEXT, Array, Scalar

MAX_LAYERS = 1 << 16
"""Numbers of an array with one for each layer; a longer one is none."""
MAX_FAULTS = 20
"""Collected from one file; who has so many needs no more of them."""

DAMAGED = "the file is damaged: get it again"
BROKEN_OFF = "perhaps a download broke off: get the file again"


@dataclass
class Header:
    """One file's header as it stands there.

    Attributes
    ----------
    size, changed : of the file when it was read: bytes, and nanoseconds since 1970
    values : by key
    offsets : where each key's value begins
    tensors : by name
    faults : what is wrong with it, in the order of the file. Where one ended the reading, the rest is missing
    """

    path: Path
    size: int = 0
    changed: int = 0
    values: dict[str, Scalar | Array] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    faults: list[ModelFileError] = field(default_factory=list)

    def fault(
        self, field: str, found: str, expected: str = "", advice: str = DAMAGED, *, offset: int | None = None
    ) -> ModelFileError:
        """An error about a field, by default about the value of that key."""
        offset = self.offsets.get(field) if offset is None else offset
        return ModelFileError(self.path, found, field=field, offset=offset, expected=expected, advice=advice)

    def note(self, fault: ModelFileError) -> None:
        """Remember a fault with which the reading can go on."""
        self.faults.append(fault)
        if len(self.faults) > MAX_FAULTS:
            raise self.fault("file", f"more than {MAX_FAULTS} faults")

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        return value if isinstance(value, bool) else None

    def number(self, key: str) -> int | None:
        """The whole number under `key`, or the largest where there is one for each layer."""
        value = self.values.get(key)
        if isinstance(value, Array) and value.kind != TEXT and 0 < value.count < MAX_LAYERS:
            value = max(value.numbers())
        return value if isinstance(value, int) and not isinstance(value, bool) else None
