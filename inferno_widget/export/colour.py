"""Steps of a scale -> colours; the twin of ``js/src/draw/colour.ts`` and ``palettes.ts``, and a test compares them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from .metric import STEPS

Theme = Literal["light", "dark"]
Palette = Literal["inferno", "viridis", "cividis", "contrast"]
Rgb = tuple[float, float, float]

THEMES: tuple[Theme, ...] = get_args(Theme)
PALETTES: tuple[Palette, ...] = get_args(Palette)
CONTRAST: dict[Palette, float] = {"inferno": 4.5, "viridis": 4.5, "cividis": 4.5, "contrast": 7}
"""Least contrast of text on its ground, after WCAG 2."""

PAGE: dict[Theme, Rgb] = {"light": (255, 255, 255), "dark": (17, 17, 20)}
INK: dict[Theme, Rgb] = {"light": (26, 24, 38), "dark": (245, 243, 248)}
ACCENT: dict[Theme, Rgb] = {"light": (181, 55, 13), "dark": (252, 158, 12)}
GREY: dict[Theme, Rgb] = {"light": (198, 196, 206), "dark": (85, 84, 94)}
_BLACK: Rgb = (0, 0, 0)
_WHITE: Rgb = (255, 255, 255)


class ColourMap(NamedTuple):
    """A colour map.

    Attributes
    ----------
    stops : at even places from 0 to 1, ever brighter; straight lines between them
    light, dark : where certainty and the greatest surprise lie, on a light page and on a dark one
    gap : stop after which the map jumps to the next one
    """

    stops: Sequence[Rgb]
    light: tuple[float, float] = (0.95, 0.05)
    dark: tuple[float, float] = (0.17, 1.0)
    gap: int | None = None


def _parse(table: str) -> list[Rgb]:
    return [(red, green, blue) for red, green, blue in zip(*[iter(bytes.fromhex(table))] * 3, strict=True)]


MAPS: dict[Palette, ColourMap] = {
    "inferno": ColourMap(
        _parse(
            "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61b0315bbc3754"
            "c63d4dd04545da4e3ce35933eb6429f1711ff67e14f98c0afb9b06fcaa0ffbba1ff9c932f5d949f2e865f3f586fcffa4"
        )
    ),
    "viridis": ColourMap(
        _parse(
            "440154470d6048186a482374472d7b4536814240863f49893b528b375a8d33638d2f6a8e2c728e297a8e26818e23898e21908c"
            "1f988b1f9f8821a68528ae8031b57b3ebc744cc26c5dc9636ece5882d34c96d83fabdc32c0df24d5e21aeae51afde725"
        )
    ),
    "cividis": ColourMap(
        _parse(
            "00224e00285b002e6a0433711a386f273e6e32436d3b496c434e6c4b546c52596d5a5f6e61656f686a716f70737576767c7b78"
            "8481798b8778938d789b9376a39a75aba072b3a670bbad6cc3b469ccba64d4c15fddc958e6d051efd748f8df3cfee838"
        )
    ),
    "contrast": ColourMap(
        _parse(
            "00000000020e00031b000428000636000844000b50000f5d00136a001777001b8400218f0029980031a2003aab0042b5004abe"
            "ff7d00ff8700ff9100ff9c00ffa600ffb000ffb908ffc210ffcc18ffd520ffde28ffe33effe854ffec6afff180fff696"
        ),
        light=(0.95, 0.02),
        dark=(0.25, 1.0),
        gap=16,
    ),
}


def mix(a: Rgb, b: Rgb, t: float) -> Rgb:
    """`a` at t = 0, `b` at t = 1."""
    red, green, blue = (x + (y - x) * t for x, y in zip(a, b, strict=True))
    return red, green, blue


def colour_at(palette: Palette, t: float) -> Rgb:
    """A map's colour at t in [0, 1], dark to bright."""
    colours = MAPS[palette]
    place = min(1.0, max(0.0, t)) * (len(colours.stops) - 1)
    below = min(math.floor(place), len(colours.stops) - 2)
    between = place - below
    return mix(colours.stops[below], colours.stops[below + 1], _round(between) if below == colours.gap else between)


def luminance(colour: Rgb) -> float:
    """Relative luminance, after WCAG 2."""
    shares = (value / 255 for value in colour)
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: Rgb, b: Rgb) -> float:
    """Contrast ratio, after WCAG 2: 1 to 21."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def flame(step: int, theme: Theme, palette: Palette = "inferno") -> Rgb:
    """The map's own colour at a step: for bars and legends, which carry no text."""
    quiet, hot = getattr(MAPS[palette], theme)
    return colour_at(palette, quiet + (hot - quiet) * step / STEPS)


def ground(step: int, theme: Theme, palette: Palette = "inferno") -> Rgb:
    """The colour under a token's text. It comes out of the page gently, so that a calm text stays calm."""
    if step == 0:
        return PAGE[theme]
    return mix(PAGE[theme], flame(step, theme, palette), min(1.0, 0.3 + 1.8 * step / STEPS))


def ink(on: Rgb, theme: Theme, palette: Palette = "inferno") -> Rgb:
    """The page's own ink as long as it can be read on that ground, else its opposite, else the stronger extreme."""
    inks = (INK[theme], INK["dark" if theme == "light" else "light"], _BLACK)
    return next((colour for colour in inks if contrast(colour, on) >= CONTRAST[palette]), _WHITE)


def css(colour: Rgb) -> str:
    """``#rrggbb``."""
    return "#" + bytes(_round(value) for value in colour).hex()


def _round(value: float) -> int:
    return math.floor(value + 0.5)  # as JavaScript does: halves go up
