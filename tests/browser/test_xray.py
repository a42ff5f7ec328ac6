"""Look-ahead, the sampler's X-ray and grammars, in a real JupyterLab over a real model."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Tabs
from tests.browser.lab import KERNELS
from tests.browser.story import AT, PROMPT, run, told

pytestmark = pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)


def ghosts(item: Locator) -> Locator:
    """The words of what would follow an alternative."""
    return item.locator(".ghost-word:not([hidden])")


def test_a_ghost_word_takes_the_road_as_far_as_there(lab: Tabs) -> None:
    page, widget = told(lab)
    before = page.kernel_eval("len(w.trace.nodes)")
    widget.locator("[data-action=ahead]").click()
    item = widget.locator(".logits-item").nth(1)
    expect(ghosts(item)).to_have_count(12)
    assert page.kernel_eval("len(w.trace.nodes)") == before, "what is looked ahead to is recorded nowhere"
    page.screenshot("look-ahead")

    token = int(item.locator(".logits-row").get_attribute("data-token-id") or -1)
    words = [word.inner_text() for word in ghosts(item).all()[:3]]
    ghosts(item).nth(2).click()
    page.kernel_until(f"w.trace.length == {AT} + 4")
    road = page.kernel_eval(f"w.trace.nodes['token_id'][w.trace.path()[{AT}:]].tolist()")
    assert road[0] == token
    text = page.kernel_eval(f"''.join(w.trace.texts(w.trace.path()[{AT + 1}:]))")
    assert "".join(words) == text.replace("\n", "⏎")
    expect(widget.locator(".logits-head")).to_contain_text(f"token {AT + 3}")


def test_looking_ahead_with_the_runs_dice(lab: Tabs) -> None:
    page, widget = told(lab)
    widget.locator("[data-action=ahead]").click()
    code = widget.get_by_test_id("ahead-code")
    expect(code).to_have_text(re.compile(rf"session\.lookahead\(k=\d+, depth=12, at={AT}\)"))
    widget.locator("[data-action=ahead-dice]").click()
    expect(code).to_have_text(re.compile(rf"at={AT}, sampler=session\.sampler\)$"))
    page.screenshot("look-ahead-dice")
    way = page.kernel_eval(
        f"''.join(p.decode() for p in {code.inner_text().replace('session', 'w.session')}[0].pieces)"
    )
    words = [word.inner_text() for word in ghosts(widget.locator(".logits-item").first).all()]
    assert way.replace("\n", "⏎").endswith("".join(words))


def test_looking_ahead_is_worked_by_keys_alone(lab: Tabs) -> None:
    page, widget = told(lab)
    text = widget.get_by_test_id("stream")
    text.press("l")
    expect(widget.locator("[data-action=ahead]")).to_have_attribute("aria-pressed", "true")
    first = widget.locator(".logits-item").first
    expect(ghosts(first)).to_have_count(12)
    text.press("ArrowLeft")
    expect(widget.locator(".logits-head")).to_contain_text(f"token {AT - 1}")
    expect(widget.locator("[data-action=ahead]")).not_to_have_attribute("aria-busy", "true")
    expect(ghosts(first)).to_have_count(12)
    row = first.locator(".logits-row")
    row.press("ArrowRight")
    expect(ghosts(first).first).to_be_focused()
    ghosts(first).first.press("ArrowRight")
    ghosts(first).nth(1).press("Enter")
    page.kernel_until(f"w.trace.length == {AT - 1} + 3")


def test_an_x_ray_shows_the_stages_and_follows_a_slider_without_the_model(lab: Tabs) -> None:
    page, widget = told(lab)
    widget.get_by_role("tab", name="X-ray").click()
    stages = widget.locator(".xray-stage")
    verdict = widget.get_by_test_id("xray-verdict")
    expect(verdict).to_contain_text("It was chosen with")
    names = page.kernel_eval(f"[stage.name for stage in w.session.explain({AT})]")
    shown = stages.evaluate_all("rows => rows.map(row => row.dataset.stage)")
    assert shown == ["the model", *names]
    drawn = page.kernel_eval(f"w.session.explain({AT})[-1].draw.uniform")
    expect(widget.locator(".dice-number")).to_have_text(f"{drawn:.4f}")
    page.screenshot("x-ray", of=widget.locator(".explore"))

    page.kernel_run("engine, asked = w.model.engine, []\nkeep = engine.logits\n")
    page.kernel_run("engine.logits = lambda *args, **kwargs: asked.append(args) or keep(*args, **kwargs)")
    slider = widget.locator(".explore-xray [data-slider=top_k]")
    slider.evaluate("slider => { slider.value = 0; slider.dispatchEvent(new Event('input', { bubbles: true })) }")
    expect(widget.locator("[data-stage=top_k] .xray-count")).to_contain_text("→ 1 candidate")
    best = page.kernel_eval(f"w.trace.pieces[int(w.trace.record({AT}).top_ids[0])].decode()")
    seen = best.replace(" ", "·").replace("\n", "⏎")
    expect(verdict).to_contain_text(re.compile(rf"(Another token: |Still )\u2018{re.escape(seen)}\u2019"))
    assert page.kernel_eval("asked") == [], "the answer was stored"
    assert page.kernel_eval("w.settings['top_k']") == 40, "a slider of the X-ray sets nothing"

    widget.locator("[data-action=xray-use]").click()
    page.kernel_until("w.settings['top_k'] == 1")
    widget.locator("[data-action=xray-back]").click()
    expect(verdict).to_contain_text("It was chosen with")


def test_a_grammar_is_refused_at_its_line_or_rules_the_run(lab: Tabs) -> None:
    page, widget = told(lab)
    widget.get_by_role("tab", name="Sampler").click()
    field = widget.locator("[data-field=grammar]")
    field.fill('root ::= " yes" | no\nno ::= [')
    field.press("Control+Enter")
    setting = widget.locator("[data-setting=grammar]")
    expect(setting.locator(".field-error")).to_contain_text("line")
    expect(setting.locator(".code-line")).to_be_visible()
    assert page.kernel_eval("w.settings['grammar']") == ""

    field.fill('root ::= " yes" | " no"')
    field.press("Control+Enter")
    page.kernel_until("w.settings['grammar'] != ''")
    expect(setting.locator(".field-error")).to_be_hidden()
    page.kernel_run('w.workbench.set("logit_bias", {})')  # the grammar ends the text
    run(page, widget)
    assert page.kernel_eval("w.session.text").removeprefix(PROMPT) in (" yes", " no")

    widget.get_by_role("tab", name="X-ray").click()
    widget.locator("[data-node='12']").first.click()
    forbidden = widget.locator("[data-stage=grammar] summary").first
    expect(forbidden).to_contain_text("wanted, and not allowed to say")
    page.screenshot("x-ray-grammar", of=widget.locator(".explore"))
