"""Numbers as a reader wants them; the twin of ``js/src/draw/format.ts``."""

from __future__ import annotations


def whole(value: float) -> str:
    """12,345."""
    return f"{int(value + 0.5):,}"


def nats(value: float) -> str:
    """Two digits behind the point."""
    return f"{value:.2f}"


def percent(p: float) -> str:
    """A probability; never a rounded lie of 0 or 100."""
    if not p > 0:
        return "0%"
    if p < 0.0001:
        return "<0.01%"
    if p < 0.001:
        return f"{100 * p:.2f}%"
    if 0.9995 < p < 1:
        return ">99.9%"
    return f"{100 * p:.1f}%"


def size(value: float) -> str:
    """A number of bytes."""
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} GB"
