"""A second reader of frames, written from ``protocol.json`` alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from inferno_widget.wire import PROTOCOL


def decode(data: bytes) -> dict[str, Any]:
    """Header, columns, pieces and control tokens of a frame, as the contract lays them out."""
    at = 0

    def take(dtype: str, n: int) -> np.ndarray:
        nonlocal at
        values = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"), n, at)
        at += values.nbytes
        return values

    header = {name: int(take(dtype, 1)[0]) for name, dtype in PROTOCOL["header"]}
    n, k = header["rows"], header["k"]
    columns = {
        name: take(dtype, n * k).reshape(n, k) if width == "k" else take(dtype, n * width)
        for name, dtype, width in PROTOCOL["columns"]
    }
    pieces, control = {}, set()
    for _ in range(header["pieces"]):
        token, size = int(take("int32", 1)[0]), int(take("uint16", 1)[0])
        if token < 0:
            control.add(token := -1 - token)
        pieces[token] = take("uint8", size).tobytes()
    assert at == len(data), "nothing is left over"
    return {"header": header, "columns": columns, "pieces": pieces, "control": control}
