"""The same as `decode`, in the kernel of a real JupyterLab, with the widget open in a Chromium.

The bare loop runs in that kernel too, beside the same page, which then has nothing to draw.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Figure, Setting
from tests.browser.lab import Lab

ROOT = Path(__file__).parents[1]
CELL = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from benchmarks.decode import Contest
from benchmarks.measure import compare
from inferno_widget import Inferno

contest = Contest(Path({path!r}), n=128)
Inferno(contest.session)
"""


def run(setting: Setting) -> list[Figure]:
    with Lab.running() as lab:
        page = lab.open([CELL.format(root=str(ROOT), path=str(setting.model_h))])
        page.run_all(wait=True)
        page.widget().locator("[data-token]").first.wait_for()
        page.kernel_run(f"result = compare(contest.ours, contest.theirs, {setting.rounds})")
        ratio, rates, length = page.kernel_eval("(result.ratio, str(result), len(contest.session.trace))")
        # the page has really followed: its meter shows the last token
        page.widget().get_by_text(f"{length:,}").first.wait_for()
        page.kernel_run("contest.close()")
        if page.errors:
            raise RuntimeError("\n".join(page.errors))
        page.close()
    return [Figure("the same with the widget open, model H", ratio, 0.95, rates)]
