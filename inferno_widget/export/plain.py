"""Values that strict JSON can hold: it knows neither NaN nor infinities."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def plain(value: Any) -> Any:
    """`value` for strict JSON: NaN is None, infinities are "inf" and "-inf", numpy's numbers are Python's.

    Half a character, as in the name of a file that is no UTF-8, is written out.
    """
    if isinstance(value, Mapping):
        return {_whole(str(key)): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return plain_column(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value if value is None or isinstance(value, bool | int | float) else _whole(str(value))


def _whole(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def plain_column(column: NDArray[Any]) -> list[Any]:
    """An array as nested lists. A float32 has the digits that tell it from its neighbours, and no more."""
    if column.dtype.kind != "f":
        return list(column.tolist())
    shortest = column.astype(str).astype(object).astype(float) if column.dtype == np.float32 else column
    if np.isfinite(column).all():
        return list(shortest.tolist())
    flat = [number if math.isfinite(number) else plain(number) for number in shortest.ravel().tolist()]
    return _folded(flat, column.shape)


def _folded(flat: list[Any], shape: tuple[int, ...]) -> list[Any]:
    for n in reversed(shape[1:]):
        flat = [flat[i : i + n] for i in range(0, len(flat), n)]
    return flat


def dumps(value: Any) -> str:
    """Strict JSON of a `plain` value."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
