"""The logit lens and interventions, in a real JupyterLab over a real model."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Tabs
from tests.browser.lab import KERNELS
from tests.browser.story import AT, settled, told

pytestmark = pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)


def cell(widget: Locator, row: int, column: int) -> Locator:
    return widget.locator(f"[role=gridcell][data-row='{row}'][data-column='{column}']:visible")


def seen(text: str) -> str:
    """A text as the page shows it, with everything visible."""
    return text.replace(" ", "·").replace("\n", "⏎")


def test_the_lens_says_what_the_session_says(lab: Tabs) -> None:
    page, widget = told(lab, AT, "Logit lens")
    decided = widget.get_by_test_id("lens-said")
    expect(decided).to_contain_text("is the most likely")
    page.kernel_run(f"lens = w.session.inspect(range({AT}), what='lens').lens")
    columns = widget.locator(".below .lens-head").count()
    layers = page.kernel_eval("len(lens.layers)")
    for row in range(layers):
        shown = widget.locator(f".lens-cell[data-row='{row}']").all_inner_texts()
        texts = page.kernel_eval(f"[top[0] for top in lens.top_texts[{row}][-{columns}:]]")
        assert shown == [seen(text) for text in texts]
    marked = widget.locator(".lens-cell.decided").evaluate_all(
        "cells => cells.map(({ dataset }) => [Number(dataset.column), Number(dataset.row)]).sort((a, b) => a[0] - b[0])"
    )
    assert marked == [list(pair) for pair in enumerate(page.kernel_eval(f"lens.decided[-{columns}:].tolist()"))]
    page.screenshot("lens", of=widget.locator(".inside"))

    expect(widget.get_by_test_id("attribution")).to_contain_text("has the logit")
    logit = page.kernel_eval(f"w.session.attribution({AT}).logit")
    expect(widget.get_by_test_id("attribution")).to_contain_text(f"{logit:.2f}")

    cell(widget, layers - 1, columns - 3).click()
    expect(widget.locator(".logits-head")).to_contain_text(f"token {AT - 2}")
    expect(widget.locator(".lens-head.chosen").first).to_have_text(
        seen(page.kernel_eval(f"w.trace.texts(w.trace.path())[{AT - 2}]"))
    )
    cell(widget, layers - 1, columns - 3).press("ArrowDown")
    expect(widget.locator(".lens-where")).to_contain_text(f"behind layer {layers - 2}")
    top = page.kernel_eval(f"lens.top_texts[{layers - 2}][{AT - 3}]")
    expect(widget.locator(".lens-top .piece")).to_have_text([seen(text) for text in top])


def test_a_head_is_switched_off_and_the_bars_say_what_the_session_says(lab: Tabs) -> None:
    page, widget = told(lab, AT, "Interventions")
    layer, head = page.kernel_eval(f"list(w.session.causal_map({AT}).top(1)[0][:2])")
    cell(widget, layer, head).click()
    expect(widget.locator(".surgery-words")).to_have_text([f"head {head} of layer {layer} is off"])
    expect(widget.get_by_test_id("moved")).to_contain_text("KL")
    page.kernel_run(f"""\
import numpy as np
def chance(token):
    row = w.session.row({AT}).astype(float)
    return float(np.exp(row[token] - row.max()) / np.exp(row - row.max()).sum())
best = int(w.session.row({AT}).argmax())
before = chance(best)
with w.session.intervene(Ablate({layer}, head={head})):
    after = chance(best)
""")
    name = seen(page.kernel_eval("w.model.detokenize([best]).decode()"))
    before, after = (100 * page.kernel_eval(name) for name in ("before", "after"))
    row = widget.locator(".surgery-pair").filter(has=widget.page.get_by_text(name, exact=True))
    shown = [float(text.removesuffix("%")) for text in row.locator(".percent").all_inner_texts()]
    assert shown == pytest.approx([before, after], abs=0.5), (
        "the second context differs within a quantised model's noise"
    )
    assert abs(after - before) > 2, "a head that matters moves it by more than noise"
    page.screenshot("interventions", of=widget.locator(".inside"))
    cell(widget, layer, head).click()
    expect(widget.locator(".surgery-words")).to_have_count(0)


def test_a_text_is_written_under_interventions_and_leaving_gives_the_path_back(lab: Tabs) -> None:
    page, widget = told(lab, AT, "Interventions")
    before = page.kernel_eval("w.trace.path().tolist()")
    for layer in (1, 2):
        widget.locator(f"[role=gridcell][data-row='{layer}'].whole").first.click()
    expect(widget.locator(".surgery-words")).to_have_count(2)
    widget.locator("[data-action=write-on]").click()
    expect(widget.get_by_test_id("in-force")).to_contain_text("under 2 interventions")
    expect(widget.get_by_test_id("under")).to_contain_text("under 2 interventions")
    settled(page, widget, f"w.trace.path().tolist() != {before} and w.trace.length == {AT} + 12")
    altered = widget.locator(".t.altered")
    expect(altered).to_have_attribute("title", re.compile("layer 1 attention off; layer 2 attention off"))
    assert page.kernel_eval(f"w.trace.path().tolist()[:{AT}]") == before[:AT]
    page.screenshot("written-under")
    widget.locator("[data-action=leave]").click()
    expect(widget.get_by_test_id("in-force")).to_be_hidden()
    page.kernel_until(f"w.trace.path().tolist() == {before}")
    expect(altered).to_have_count(0)
    expect(widget.get_by_test_id("under")).to_have_text("")


def test_a_causal_map_colours_the_heads_and_ends_early(lab: Tabs) -> None:
    page, widget = told(lab, AT, "Interventions")
    said = widget.get_by_test_id("causal")
    widget.locator("[data-action=causal]").click()
    expect(widget.locator("[data-action=causal-stop]")).to_be_hidden()
    expect(said).to_contain_text("hangs most on head")
    strongest = page.kernel_eval(f"[list(top[:2]) for top in w.session.causal_map({AT}).top(1)][0]")
    expect(said).to_contain_text(f"hangs most on head {strongest[1]} of layer {strongest[0]}")
    expect(cell(widget, *strongest)).to_have_class(re.compile(r"\bs36\b"))

    # From here on only one layer is let go, so that there is something to end.
    page.kernel_run("""\
import threading
go, real = threading.Semaphore(1), w.session.causal_map
def held(*args, progress, **options):
    while not go.acquire(timeout=0.05) and not progress.cancel.is_set():
        pass
    return real(*args, progress=progress, **options)
w.session.causal_map = held
""")
    widget.locator("[data-field=causal-last]").check()
    widget.locator("[data-action=causal]").click()
    expect(said).to_contain_text("heads tried")
    widget.locator("[data-action=causal-stop]").click()
    expect(widget.locator("[data-action=causal-stop]")).to_be_hidden()
    heads = page.kernel_eval("w.model.info.n_head")
    expect(said).to_contain_text(f"{heads} of {heads * page.kernel_eval('w.model.info.n_layer')} heads tried")
