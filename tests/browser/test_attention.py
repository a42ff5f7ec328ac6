"""Attention in the page, in a real JupyterLab over a real model: what is shown is what the session says of itself."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Tabs
from tests.browser.lab import KERNELS, LabPage
from tests.browser.story import AT, run, told

pytestmark = pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)

STEP = re.compile(r"(?:^| )s(\d+)(?: |$)")


def opened(lab: Tabs, **options: object) -> tuple[LabPage, Locator]:
    """A finished run of which one token is selected, and what that one read is shown."""
    page, widget = told(lab, AT, "Attention", **options)
    reads(widget, f"token {AT} ", "layer 0, mean of the heads")
    expect(heads(widget)).to_have_count(page.kernel_eval("w.model.info.n_head"))
    return page, widget


def heads(widget: Locator) -> Locator:
    return widget.locator(".attention-head")


def reads(widget: Locator, *words: str) -> None:
    """Wait until the row of a token is shown, and not one that is on its way."""
    for each in words:
        expect(widget.get_by_test_id("attention-of")).to_contain_text(each)
    expect(widget.locator(".attention-read")).to_have_attribute("aria-busy", "false")


def listed(widget: Locator) -> dict[int, float]:
    """Position -> share in percent, of the tokens that are listed."""
    rows = widget.locator(".attention-row").all()
    shares = [row.locator(".percent").inner_text() for row in rows]
    places = [row.locator(".attention-place").inner_text() for row in rows]
    return {int(place): float(share.strip("<>%")) for place, share in zip(places, shares, strict=True)}


def steps(widget: Locator) -> dict[int, int]:
    """Node -> step of its colour, of the tokens in the text."""
    spans = widget.locator("[data-token]").evaluate_all("all => all.map(one => [one.dataset.node, one.className])")
    return {int(node): int(found[1]) for node, name in spans if (found := STEP.search(name))}


def agrees(page: LabPage, widget: Locator, weights: str) -> None:
    """The list and the colours are those of weights that the kernel works out, without the first token."""
    expected = page.kernel_eval(f"[float(x) for x in {weights}]")
    most = max(expected[1:])
    strong = {at: weight for at, weight in enumerate(expected) if at and weight >= 0.02 * most}
    shown = listed(widget)
    assert set(sorted(strong, key=lambda at: -strong[at])[:5]) <= set(shown)
    assert shown == pytest.approx({at: 100 * expected[at] for at in shown}, abs=0.06)
    coloured = {at: 36 * (weight / most) ** 0.5 for at, weight in strong.items()}
    assert {at: step for at, step in steps(widget).items() if at in strong} == pytest.approx(coloured, abs=0.6)


def test_the_text_shows_what_a_token_read_and_its_metric_again_afterwards(lab: Tabs) -> None:
    page, widget = opened(lab)
    row = f'w.session.inspect({AT}, "attention", 0).attention[0, :, 0]'
    agrees(page, widget, f"{row}.mean(0)")
    expect(widget.locator(".t.about")).to_have_attribute("data-node", str(AT))
    expect(widget.locator(".t.later").first).to_have_attribute("data-node", str(AT + 1))
    page.screenshot("attention")

    widget.get_by_label("Weights of").select_option("max")
    reads(widget, "largest of the heads")
    agrees(page, widget, f"{row}.max(0)")
    widget.get_by_label("Weights of").select_option("all_mean")
    reads(widget, "mean of all layers")
    agrees(page, widget, f'w.session.inspect({AT}, "attention").attention[:, :, 0].mean((0, 1))')
    widget.get_by_label("Weights of").select_option("rollout")
    reads(widget, "rollout")
    page.kernel_run("from inferno_widget.attention import rollout")
    agrees(page, widget, f'rollout(w.session.inspect(slice({AT + 1}), "attention").attention)[-1, -1]')

    coloured = steps(widget)
    widget.get_by_role("tab", name="Attention").click()
    expect(widget.locator(".t.about, .t.later")).to_have_count(0)
    assert steps(widget) != coloured
    assert min(steps(widget)) >= page.kernel_eval("len(w.session.prompt_ids)"), "the prompt has no colour of its own"


def test_a_head_is_found_by_its_numbers_enlarged_and_read_by_keys(lab: Tabs) -> None:
    page, widget = opened(lab)
    page.kernel_run('seen = w.session.inspect(what="attention", layers=0)')
    for order, words in (("previous_token", "previous"), ("first_token", "first"), ("entropy", "nats")):
        widget.get_by_label("Order of the heads").select_option(order)
        expect(heads(widget).first).to_contain_text(words)
        found = {"previous_token": "previous", "first_token": "first"}.get(order, order)
        values = page.kernel_eval(f"seen.head_statistics.{found}[0].tolist()")
        order_shown = [int(head.get_attribute("data-head") or -1) for head in heads(widget).all()]
        by = sorted(range(len(values)), key=lambda head: values[head], reverse=order != "entropy")
        assert order_shown == by

    first = heads(widget).first
    head = int(first.get_attribute("data-head") or -1)
    first.focus()
    first.press("ArrowRight")
    expect(heads(widget).nth(1)).to_be_focused()
    heads(widget).nth(1).press("ArrowLeft")
    first.press("Enter")
    large = widget.get_by_test_id("head-map")
    expect(large).to_have_attribute("aria-busy", "false")
    expect(large).to_be_focused()
    reads(widget, f"token {AT} ", f"head {head}")
    agrees(page, widget, f"seen.attention[0, {head}, {AT}, :{AT + 1}]")
    large.press("ArrowUp")
    for _ in range(2):
        large.press("ArrowLeft")
    said = widget.locator(".attention-said")
    last = page.kernel_eval("w.trace.length - 1")
    expect(said).to_contain_text(re.compile(rf"token {last} .* read token {last - 2} "))
    weight = page.kernel_eval(f"float(seen.attention[0, {head}, {last}, {last - 2}])")
    shown = re.search(r"([\d.]+)%$", said.inner_text())
    assert shown
    assert float(shown[1]) == pytest.approx(100 * weight, abs=1.0)  # a byte has the root of it
    page.screenshot("attention-head", of=widget.locator(".inside"))

    large.press("Enter")
    expect(widget.locator(".logits-head")).to_contain_text(f"token {last}")
    reads(widget, f"token {last} ", f"head {head}")
    large.press("Escape")
    expect(heads(widget).first).to_be_focused()


def test_rows_follow_the_newest_token_while_it_is_generated(lab: Tabs) -> None:
    page, widget = opened(lab)
    widget.get_by_test_id("stream").press("Escape")
    expect(widget.locator(".t.selected")).to_have_count(0)
    widget.get_by_label("live").check()
    page.kernel_until("w.workbench._follower is not None")
    run(page, widget)
    last = page.kernel_eval("w.trace.length - 1")
    expect(widget.get_by_test_id("attention-of")).to_contain_text(f"token {last} ")
    agrees(page, widget, f'w.session.inspect({last}, "attention", 0).attention[0, :, 0].mean(0)')
    widget.get_by_label("live").uncheck()
    page.kernel_until("w.workbench._follower is None or not w.workbench._follower.job.wanted")
