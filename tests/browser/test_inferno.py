"""The widget in a real JupyterLab, driven as a person would, over a real model."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Tabs
from tests.browser.lab import KERNELS, NEVER_ENDS, LabPage

ONE_KERNEL = pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)
PROMPT = "Once upon a time there was a king who had three"
WORKBENCH = f'from inferno_widget import Inferno\nw = Inferno(prompt="{PROMPT}")\n{NEVER_ENDS}\nw'
LONG = 8_000
"""Tokens of a run that is to be caught in the middle: several seconds of the demo model's."""
PATIENT = f"""\
from inferno_widget import Inferno, Model
w = Inferno(Model(n_ctx=16_384), prompt="{PROMPT}")
{NEVER_ENDS}
w"""


def opened(
    lab: Tabs, *, cells: tuple[str, ...] = (WORKBENCH,), reach: str = "empty", **options: object
) -> tuple[LabPage, Locator]:
    page = lab.open(list(cells), **options)
    page.run_all()
    widget = page.widget()
    state(widget, reach)
    return page, widget


def state(widget: Locator, *names: str) -> None:
    expect(widget.get_by_test_id("status")).to_have_attribute("data-state", re.compile("|".join(names)))


def act(widget: Locator, action: str) -> None:
    widget.locator(f"button[data-action={action}]").click()


def put(widget: Locator, field: str, value: object) -> None:
    place = widget.locator(f"[data-field={field}]")
    place.fill(str(value))
    place.press("Enter")


def tokens(widget: Locator) -> Locator:
    return widget.locator("[data-token]")


def test_run_shows_what_the_trace_holds(lab):
    page, widget = opened(lab)
    put(widget, "max_tokens", 40)
    put(widget, "seed", 7)
    act(widget, "run")
    state(widget, "ready")
    page.kernel_until("w.session is not None and w.session.state == 'ready' and len(w.trace.nodes) == 52")
    shown = widget.get_by_test_id("stream").inner_text()
    for word in page.kernel_eval("w.session.text").split():
        assert word.strip('".,;:!?') in re.sub("[·⏎\u200b]", " ", shown)
    same = "w.model.session(w.prompt, w.session.sampler).generate(40) == ''.join(w.trace.texts(w.trace.path()[12:]))"
    assert page.kernel_eval(same), "the same seed gives the same tokens with and without a page"


def test_pause_resume_stop(lab):
    page, widget = opened(lab, cells=(PATIENT,))
    put(widget, "max_tokens", LONG)
    act(widget, "run")
    act(widget, "pause")
    state(widget, "paused")
    n = page.kernel_until("len(w.trace.nodes)")
    page.page.wait_for_timeout(300)
    assert page.kernel_eval("len(w.trace.nodes)") == n, "nothing comes while it is paused"
    act(widget, "resume")
    state(widget, "generating")
    act(widget, "stop")
    state(widget, "ready")
    assert page.kernel_eval("w.session.finish") == "cancelled"
    assert n < page.kernel_eval("len(w.trace.nodes)") < LONG


def test_step_adds_one_token(lab):
    page, widget = opened(lab)
    act(widget, "step")
    page.kernel_until("w.session is not None and len(w.trace.nodes) == 13 and w.session.state == 'ready'")
    expect(widget.locator("[data-node='12']").first).to_be_visible()
    act(widget, "step")
    page.kernel_until("len(w.trace.nodes) == 14")
    expect(widget.locator("[data-node='13']").first).to_be_visible()


def test_select_shows_the_distribution(lab):
    page, widget = opened(lab)
    put(widget, "max_tokens", 20)
    act(widget, "run")
    page.kernel_until("w.trace is not None and len(w.trace.nodes) == 32")
    widget.locator("[data-node='14']").first.click()
    page.kernel_until("w.selection == 14")
    record = page.kernel_eval("[w.trace.record(14).top_ids.tolist(), float(w.trace.record(14).entropy)]")
    rows = widget.locator(".logits-row[data-token-id]")
    shown = [int(row) for row in rows.evaluate_all("rows => rows.map(row => row.dataset.tokenId)")]
    assert shown[:20] == record[0]
    assert f"{record[1]:.2f}" in widget.get_by_test_id("logits").locator("..").inner_text()
    widget.get_by_test_id("stream").press("ArrowRight")
    page.kernel_until("w.selection == 15")
    widget.get_by_test_id("stream").press("Escape")
    page.kernel_until("w.selection == -1")


def test_clicking_another_token_forks(lab):
    page, widget = opened(lab)
    put(widget, "max_tokens", 20)
    act(widget, "run")
    page.kernel_until("w.trace is not None and len(w.trace.nodes) == 32 and w.session.state == 'ready'")
    widget.locator("[data-node='12']").first.click()
    other = next(
        t
        for t in page.kernel_eval("w.trace.record(12).top_ids.tolist()[:2]")
        if t != page.kernel_eval("w.trace.record(12).token_id")
    )
    widget.locator(f".logits-row[data-token-id='{other}']").first.click()
    page.kernel_until("len(w.trace.nodes) == 53 and w.session.state == 'ready'")
    assert page.kernel_eval("w.trace.record(int(w.trace.path()[12])).token_id") == other
    assert page.kernel_eval("w.trace.record(32).kind.name") == "FORCED"
    expect(widget.locator("[data-node='32']").first).to_be_visible()
    expect(widget.locator("[data-node='31']")).to_have_count(0)
    assert "session.fork(at=12" in widget.get_by_test_id("code").inner_text()


def test_two_views_agree_and_closing_one_stops_nothing(lab):
    page, widget = opened(lab)
    page.new_view(0)
    second = page.widget(1)
    state(second, "empty")
    put(widget, "max_tokens", 60)
    act(widget, "run")
    page.kernel_until("w.trace is not None and len(w.trace.nodes) == 72 and w.session.state == 'ready'")
    for view in (widget, second):
        expect(view.locator("[data-node='71']").first).to_be_attached()
    assert widget.get_by_test_id("stream").inner_text() == second.get_by_test_id("stream").inner_text()
    second.locator("[data-node='20']").first.click()
    expect(widget.locator(".selected[data-node='20']")).to_be_visible()
    page.page.evaluate("() => [...jupyterapp.shell.widgets('main')].find(panel => !panel.sessionContext)?.close()")
    expect(page.page.locator(".inferno-widget")).to_have_count(1)
    put(page.widget(), "max_tokens", 30)
    act(page.widget(), "run")
    page.kernel_until("len(w.trace.nodes) == 42 and w.session.state == 'ready'")
    expect(page.widget().locator("[data-node='41']").first).to_be_attached()


@ONE_KERNEL
def test_a_late_view_has_everything(lab):
    page, widget = opened(lab, cells=(WORKBENCH, "w"))
    put(widget, "max_tokens", 50)
    act(widget, "run")
    page.kernel_until("w.trace is not None and len(w.trace.nodes) == 62 and w.session.state == 'ready'")
    page.page.reload()
    page._wait_for_kernel()
    page.page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
    late = page.widget(1)
    state(late, "empty")  # the cell made a new widget, and both show it
    assert page.kernel_eval("len({cell for cell, _ in __import__('inferno_widget').cells._made})") == 1


@ONE_KERNEL
def test_bad_settings_are_told_in_place(lab):
    _, widget = opened(lab)
    put(widget, "top_p", 7)
    expect(widget.get_by_text("top_p must be between 0 and 1")).to_be_visible()


@ONE_KERNEL
def test_a_missing_file_is_told_in_place(lab):
    page = lab.open(['from inferno_widget import Inferno\nw = Inferno("nowhere.gguf")\nw'])
    page.run_all()
    widget = page.widget()
    expect(widget.get_by_test_id("error")).to_contain_text("nowhere.gguf")
    act(widget, "load-demo")
    state(widget, "empty")
    expect(widget.get_by_test_id("error")).to_be_hidden()
    expect(widget.locator("button[data-action=run]")).to_be_enabled()


@ONE_KERNEL
def test_a_full_context_offers_to_slide_and_go_on(lab):
    short = f"from inferno_widget import Inferno, Model\nw = Inferno(Model(n_ctx=256), max_tokens=300)\n{NEVER_ENDS}\nw"
    page, widget = opened(lab, cells=(short,))
    act(widget, "run")
    page.kernel_until("w.session is not None and w.session.finish == 'context'")
    expect(widget.get_by_test_id("state")).to_contain_text("context full")
    act(widget, "slide")
    page.kernel_until("len(w.trace.nodes) > 500 and w.session.state == 'ready'")
    expect(widget.get_by_test_id("state")).to_contain_text("at max tokens")
    expect(widget.locator("button[data-action=slide]")).to_be_hidden()
    assert page.kernel_eval("(w.session.on_full, int(w.trace.nodes['left_out'].max()) > 100)") == ("slide", True)


@ONE_KERNEL
def test_a_dead_engine_is_told_and_replaced(lab):
    page, widget = opened(lab, cells=(PATIENT,))
    put(widget, "max_tokens", LONG)
    act(widget, "run")
    page.kernel_until("w.session is not None and len(w.trace.nodes) > 20")
    page.kernel_run("import os, signal; os.kill(w.model.engine.pid, signal.SIGKILL)")
    expect(widget.get_by_test_id("error")).to_contain_text("EngineDiedError")
    made = page.kernel_eval("len(w.trace.nodes)")
    act(widget, "resume")
    page.kernel_until(f"len(w.trace.nodes) > {made}")
    expect(widget.get_by_test_id("error")).to_be_hidden()


@ONE_KERNEL
def test_a_restarted_kernel_is_told(lab):
    page, widget = opened(lab)
    page.restart_kernel()
    expect(widget.get_by_text(re.compile("kernel", re.IGNORECASE)).first).to_be_visible()
    expect(widget.locator("button[data-action=run]")).to_be_disabled()
    page.errors.clear()  # ipywidgets complains of the comm that went away


@ONE_KERNEL
def test_running_the_cell_again_leaks_nothing(lab):
    page, _ = opened(lab)
    count = (
        "[len(__import__('psutil').Process().children(recursive=True)), "
        "sum(t.name.startswith('inferno') for t in __import__('threading').enumerate()), "
        "sum(type(x).__name__ == 'Inferno' for x in __import__('ipywidgets').Widget._active_widgets.values())"
        " if hasattr(__import__('ipywidgets').Widget, '_active_widgets') else 1]"
    )
    page.kernel_until("w.model is not None")
    before = page.kernel_eval(count)
    for _ in range(5):
        page.run_all(wait=True)
        state(page.widget(), "empty")
        page.kernel_until("w.model is not None")
    page.kernel_until(f"{count} == {before}")


@ONE_KERNEL
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [960, 480])
def test_nothing_overflows(lab, theme, width):
    page, widget = opened(lab, theme=theme, width=width)
    put(widget, "max_tokens", 80)
    put(widget, "seed", 3)
    act(widget, "run")
    page.kernel_until("w.trace is not None and len(w.trace.nodes) == 92 and w.session.state == 'ready'")
    widget.locator("[data-node='12']").first.click()
    over = widget.evaluate(
        """root => [...root.querySelectorAll("*")].filter(e => e.getClientRects().length
            && e.getBoundingClientRect().right > root.getBoundingClientRect().right + 1).map(e => e.className)"""
    )
    assert over == []
    ground = widget.evaluate("root => getComputedStyle(root).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    assert (sum(ground) > 600) == (theme == "light")
    page.screenshot(f"workbench-{theme}-{width}")
