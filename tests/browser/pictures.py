"""Take the README's pictures of the real widget: ``make pictures``."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.browser.lab import Lab, LabPage

DOCS = Path(__file__).parents[2] / "docs" / "pictures"
CELL = """\
from inferno_widget import Inferno, Model, Sampler
session = Model().session("Once upon a time there was a king who had three", Sampler(temperature=0.75, seed=12))
session.generate(150)
w = Inferno(session)
w"""
SHOTS = {"light": ("light", 1100), "dark": ("dark", 1100), "narrow": ("light", 480)}


def main() -> None:
    DOCS.mkdir(parents=True, exist_ok=True)
    with Lab.running() as lab:
        for name, (theme, width) in SHOTS.items():
            page = lab.open([CELL], theme=theme, width=width, height=1700, scale=1.5)  # type: ignore[arg-type]
            take(page, name)
            page.close()


def take(page: LabPage, name: str) -> None:
    page.run_all()
    widget = page.widget()
    widget.locator("[data-node='12']").first.click()
    page.kernel_until("w.selection == 12")
    page.page.mouse.move(0, 0)
    page.page.wait_for_timeout(300)  # the last frame and its transition
    shutil.copy(page.screenshot(name), DOCS / f"{name}.png")


if __name__ == "__main__":
    main()
