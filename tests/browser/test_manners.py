"""What everybody may expect of a page: no mouse needed, readable by machines, calm where that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.lab import KERNELS, WIDGET, LabPage
from tests.browser.test_inferno import PROMPT, act, opened, put, state, tokens

pytestmark = pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)

AXE = Path(__file__).parents[2] / "js" / "node_modules" / "axe-core" / "axe.min.js"
TOOLS = ("model", "chat", "sampler", "sessions", "exports", "look")
ROADS = ("tree", "compare", "attention", "lens", "surgery")


def complaints(page: LabPage) -> list[str]:
    """What axe-core finds wrong with the widget, from "serious" upwards."""
    if not page.page.evaluate("() => Boolean(globalThis.axe)"):
        page.page.evaluate(AXE.read_text())
    found = page.page.evaluate(
        """async selector => {
            const { violations } = await axe.run(selector, { resultTypes: ["violations"] });
            return violations
                .filter(({ impact }) => impact === "serious" || impact === "critical")
                .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => [id, html, failureSummary]));
        }""",
        WIDGET,
    )
    return [json.dumps(entry, indent=1) for entry in found]


def run(widget: Locator, n: int = 40) -> None:
    put(widget, "max_tokens", n)
    put(widget, "seed", 7)
    act(widget, "run")
    expect(widget.locator(f"[data-node='{11 + n}']").first).to_be_attached()
    state(widget, "ready")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(lab, theme):
    """Empty, after a run with a token selected, and with each drawer open."""
    page, widget = opened(lab, theme=theme)
    found = {"empty": complaints(page)}
    run(widget)
    tokens(widget).nth(14).click()
    found["selected"] = complaints(page)
    for tool in (*TOOLS, *ROADS):
        widget.locator(f"[data-tool={tool}]").click()
        page.page.wait_for_timeout(500)  # what a drawer asks the kernel for
        found[tool] = complaints(page)
    assert not {place: problems for place, problems in found.items() if problems}


def test_axe_finds_nothing_serious_in_an_error(lab):
    page, widget = opened(lab, cells=('from inferno_widget import Inferno\nInferno("missing.gguf")',), reach="error")
    expect(widget.get_by_test_id("error")).to_be_visible()
    assert not complaints(page)


def test_everything_by_keyboard(lab):
    """From the prompt to another road, and through every drawer, without a mouse."""
    page, widget = opened(lab)
    keyboard = page.page.keyboard
    widget.locator("[data-field=prompt]").focus()
    put(widget, "max_tokens", 20)
    widget.locator("[data-field=prompt]").focus()
    keyboard.press("Control+Enter")
    state(widget, "ready")
    expect(widget.locator("[data-node='31']").first).to_be_attached()
    widget.get_by_test_id("stream").focus()
    keyboard.press("Home")
    keyboard.press("ArrowRight")
    page.kernel_until("w.selection == 1")
    keyboard.press("End")
    page.kernel_until("w.selection == 31")

    n = page.kernel_eval("len(w.trace.nodes)")
    other = widget.locator(".logits-row:not(.chosen)[data-token-id]").first
    tab_to(page, other, "Tab")
    keyboard.press("Enter")
    page.kernel_until(f"len(w.trace.nodes) > {n} and w.session.state == 'ready'")

    for tool in TOOLS:
        tab = widget.locator(f"[data-tool={tool}]")
        widget.locator(".tools [role=tab][tabindex='0']").focus()
        for _ in range(len(TOOLS)):
            if tab.evaluate("tab => tab === document.activeElement"):
                break
            keyboard.press("ArrowRight")
        keyboard.press("Enter")
        expect(tab).to_have_attribute("aria-selected", "true")
        keyboard.press("Tab")
        inside = widget.locator(".tools .drawer").evaluate("drawer => drawer.contains(document.activeElement)")
        assert inside, f"Tab leads from its tab into the drawer {tool}"
        keyboard.press("Escape")
        expect(tab).to_be_focused()
        expect(tab).to_have_attribute("aria-selected", "false")


def tab_to(page: LabPage, place: Locator, key: str, most: int = 60) -> None:
    for _ in range(most):
        page.page.keyboard.press(key)
        if place.evaluate("place => place === document.activeElement"):
            return
    raise AssertionError(f"{most} times {key} do not lead to {place}")


def test_the_focus_can_be_seen(lab):
    """Whatever Tab reaches has an outline or a border of its own while it has the focus."""
    page, widget = opened(lab)
    run(widget, 20)
    widget.locator(".tools [role=tab]").first.focus()
    page.page.keyboard.press("Shift+Tab")
    unseen = []
    for _ in range(40):
        page.page.keyboard.press("Tab")
        look = page.page.evaluate(
            """selector => {
                const at = document.activeElement;
                if (!at.closest(selector)) return null;
                const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(at);
                const outlined = outlineStyle !== "none" && outlineWidth !== "0px";
                return [at.outerHTML.slice(0, 120), outlined || boxShadow !== "none"];
            }""",
            WIDGET,
        )
        if look is None:
            break
        if not look[1]:
            unseen.append(look[0])
    assert not unseen


def test_nothing_moves_where_that_is_asked_for(lab):
    page, widget = opened(lab, reduced_motion=True)
    run(widget, 20)
    moving = page.page.evaluate(
        """selector => [...document.querySelectorAll(`${selector}, ${selector} *`)]
            .filter(element => {
                const { animationName, transitionDuration } = getComputedStyle(element);
                return animationName !== "none" || transitionDuration.split(",").some(time => parseFloat(time) > 0);
            })
            .map(element => element.outerHTML.slice(0, 120))""",
        WIDGET,
    )
    assert not moving


def test_what_is_generated_is_said_politely(lab):
    page, widget = opened(lab)
    run(widget)
    live = widget.locator("[aria-live=polite]")
    page.page.wait_for_function(
        "() => [...document.querySelectorAll('.inferno-widget [aria-live=polite]')].some(e => e.textContent.trim())"
    )
    said = " ".join(live.all_inner_texts())
    text = page.kernel_eval("w.session.text")
    assert any(word in said for word in text.removeprefix(PROMPT).split())
    assert PROMPT not in said


def test_plain_keys_stay_in_the_widget(lab):
    """JupyterLab takes keys for its cells wherever the focus is on no text field: arrows move, x cuts, d d deletes."""
    page, widget = opened(lab)
    page.page.evaluate("() => jupyterapp.commands.execute('notebook:enter-command-mode')")
    keyboard = page.page.keyboard
    widget.locator("[data-tool=sampler]").click()
    widget.locator("[data-slider=temperature]").focus()
    keyboard.press("ArrowRight")
    page.kernel_until("w.settings['temperature'] == 0.85")
    widget.locator("[data-field=on_full]").focus()
    keyboard.press("ArrowDown")
    page.kernel_until("w.settings['on_full'] == 'slide'")
    widget.locator("[data-tool=look]").click()
    widget.locator(".tool-look input[value=inferno]").focus()
    keyboard.press("ArrowDown")
    page.kernel_until("w.look['palette'] == 'viridis'")
    keyboard.type("xddbm")
    assert page.page.locator(".jp-CodeCell").count() == 1
    expect(widget).to_be_visible()
