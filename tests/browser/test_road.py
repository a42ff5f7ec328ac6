"""The road not taken: the tree, two branches compared, editing and going back, on a real model in JupyterLab."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Tabs
from tests.browser.lab import KERNELS, LabPage

pytestmark = pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)
PROMPT = "Once upon a time there was a king who had three"
FIRST = 12
"""Tokens of the prompt: the first that is generated is the node of this number."""
TOKENS = 20
TREE = f"""\
import math
from inferno_widget import Inferno, Model, Sampler
session = Model().session("{PROMPT}", Sampler(seed=7, logit_bias={{2: -math.inf}}))
session.generate({TOKENS})
session.fork({FIRST}, " daughters").generate({TOKENS // 2})
w = Inferno(session)
w"""
"""Two branches: the trunk, nodes 0 to 31, and one of eleven tokens in the place of the first that was generated."""
TRUNK_END, FORK = FIRST + TOKENS - 1, FIRST + TOKENS
FORK_END = FORK + TOKENS // 2


def opened(lab: Tabs, tool: str = "", **options: object) -> tuple[LabPage, Locator]:
    page = lab.open([TREE], **options)
    page.run_all()
    widget = page.widget()
    expect(widget.locator(f"[data-node='{FORK_END}']")).to_be_visible()
    if tool:
        widget.locator(f".explore [data-tool={tool}]").click()
    return page, widget


def branches(widget: Locator) -> Locator:
    return widget.locator(".branch")


def head(page: LabPage, node: int) -> None:
    page.kernel_until(f"int(w.trace.head) == {node}")


def place(widget: Locator, position: int, row: int) -> dict[str, float]:
    """Where in the picture a token lies: as `tree/picture.ts` has it while all fits."""
    box = widget.locator(".tree-picture canvas").bounding_box()
    assert box is not None
    pitch = min(13, (box["width"] - 12 - 150) / (TRUNK_END + 1))
    return {"x": 12 + (position + 0.5) * pitch, "y": (row + 0.5) * 24}


def test_a_click_on_another_branch_leads_to_its_end(lab):
    page, widget = opened(lab, "tree")
    expect(widget.locator(".tree-summary")).to_have_text("2 branches")
    expect(branches(widget).nth(1)).to_have_attribute("aria-current", "true")
    picture = widget.get_by_test_id("tree")
    picture.click(position=place(widget, 20, 0))
    expect(widget.locator("[data-node='20']")).to_have_attribute("aria-selected", "true")
    expect(widget.locator(f"[data-node='{TRUNK_END}']")).to_be_visible()
    head(page, TRUNK_END)
    page.kernel_until("w.selection == 20")
    expect(widget.get_by_test_id("code")).to_have_text(f"session.goto({TRUNK_END})")
    picture.click(position=place(widget, 20, 0), modifiers=["Shift"])
    expect(widget.locator("[data-token]")).to_have_count(21)
    head(page, 20)
    assert page.kernel_eval("w.session.step().position") == 21, "generation goes on from exactly there"


def test_hover_previews_what_stands_there(lab):
    page, widget = opened(lab, "tree")
    widget.get_by_test_id("tree").hover(position=place(widget, FIRST, 0))
    card = widget.locator(".tree-card")
    expect(card).to_contain_text(f"token {FIRST}")
    expect(card.locator("mark")).to_have_text(page.kernel_eval(f"w.trace.texts([{FIRST}])[0]"))
    expect(card).to_contain_text("who had three")
    page.screenshot("tree")


def test_the_tree_is_walked_named_and_pruned_by_keys(lab):
    page, widget = opened(lab, "tree")
    widget.get_by_test_id("tree").press("ArrowUp")
    expect(widget.locator(".tree-view [aria-live]")).to_contain_text("branch 1, token 22")
    page.page.keyboard.press("n")
    page.page.keyboard.type("the sons")
    page.page.keyboard.press("Enter")
    expect(widget.locator(".branch-name").first).to_have_text("the sons")
    assert page.kernel_eval(f"w.trace.names == {{'the sons': {TRUNK_END}}}")
    widget.get_by_test_id("tree").press("Enter")
    expect(widget.locator("[data-node='22']")).to_have_attribute("aria-selected", "true")
    expect(widget.locator("[data-branch='the sons']")).to_have_attribute("data-node", "0")
    head(page, TRUNK_END)
    widget.get_by_test_id("tree").press("ArrowDown")
    page.page.keyboard.press("Delete")
    expect(branches(widget)).to_have_count(1)
    assert page.kernel_eval(f"w.trace.pruned == {{{FORK}}}")


def test_what_is_opened_and_the_branch_that_is_shown_come_into_view(lab):
    page, widget = opened(lab, height=700)
    fork = f"w.session.goto({TRUNK_END}).fork(20, int(w.trace.record(20).top_ids[k % 9])).generate(2 + k)"
    page.kernel_run(f"for k in range(40): {fork}")
    widget.locator(".explore [data-tool=tree]").click()
    expect(widget.locator(".tree-summary")).to_contain_text(re.compile(r"\d\d branches"))
    expect(widget.locator(".explore .drawer")).to_be_in_viewport(ratio=0.9)
    assert widget.get_by_test_id("tree").evaluate("tree => tree.scrollTop") > 100, "the newest is far below"
    page.kernel_run(f"w.session.goto({TRUNK_END})")
    page.page.wait_for_function("document.querySelector('[data-testid=tree]').scrollTop < 50")


def test_what_was_pruned_comes_back(lab):
    page, widget = opened(lab, "tree")
    branches(widget).first.get_by_role("button", name="Prune").click()
    expect(branches(widget)).to_have_count(1)
    expect(widget.locator(".tree-summary")).to_have_text("1 branch, 1 pruned")
    widget.get_by_label("show pruned").check()
    expect(branches(widget)).to_have_count(2)
    page.screenshot("tree-pruned")
    widget.get_by_role("button", name="Restore").click()
    expect(widget.locator(".tree-summary")).to_have_text("2 branches")
    assert page.kernel_eval("w.trace.pruned == set()")


def test_a_branch_that_cannot_be_visited_says_why_in_place(lab):
    page, widget = opened(lab, "tree")
    page.kernel_run(f"w.trace.pruned = frozenset({{{FIRST}}})")  # which the page has not heard of
    branches(widget).first.get_by_role("button", name="Go").click()
    expect(widget.locator(".explore-tree .failure")).to_contain_text("hidden")
    head(page, FORK_END)


def test_two_branches_are_compared_from_the_fork(lab):
    page, widget = opened(lab, "compare", width=480, theme="dark")
    found = page.kernel_eval(
        f"[float(w.trace.nodes['logprob'][{FIRST}:{TRUNK_END + 1}].sum()),"
        f" float(w.trace.nodes['logprob'][{FORK}:{FORK_END + 1}].sum())]"
    )
    expect(widget.locator(".compare-shared")).to_contain_text(f"{FIRST} tokens shared")
    facts = widget.get_by_role("row", name="log-probability of those").get_by_role("cell")
    expect(facts).to_have_text([f"{found[1]:.2f}", f"{found[0]:.2f}", re.compile(r"^[+-]")])
    expect(widget.locator(".compare-tokens tbody tr")).to_have_count(TOKENS)
    page.screenshot("compare-narrow")
    widget.locator(f".compare-tokens [data-node='{FIRST + 3}']").click()
    head(page, TRUNK_END)
    expect(widget.locator(f".stream [data-node='{FIRST + 3}']")).to_have_attribute("aria-selected", "true")
    expect(widget.get_by_label("Branch B").locator("option").first).to_contain_text("the branch left last")


def test_the_text_is_edited_anywhere(lab):
    page, widget = opened(lab)
    widget.locator("[data-node='8']").click()
    widget.get_by_test_id("stream").press("e")
    area = widget.get_by_label("Text of the run")
    before = page.kernel_eval("w.trace.text")
    expect(area).to_have_value(before)
    caret = area.evaluate("area => area.selectionStart")
    assert caret == len(page.kernel_eval("''.join(w.trace.texts(w.trace.path())[:8])"))
    area.fill(before.replace("king", "dragon", 1))
    page.screenshot("edit")
    area.press("Control+Enter")
    expect(area).to_be_hidden()
    expect(widget.get_by_test_id("stream")).to_contain_text("dragon")
    assert page.kernel_eval("w.trace.text") == before.replace("king", "dragon", 1)
    expect(widget.locator(".forced.t").first).to_be_visible()
    assert page.kernel_eval("w.session.finish is None and w.session.state == 'ready'")


def test_a_text_that_cannot_be_is_refused_where_it_was_written(lab):
    page, widget = opened(lab)
    widget.get_by_role("button", name="edit", exact=True).click()
    area = widget.get_by_label("Text of the run")
    expect(area).to_have_value(page.kernel_eval("w.trace.text"))
    area.fill("king " * 600)
    widget.get_by_role("button", name="Apply").click()
    expect(widget.locator(".stream-edit .failure")).to_contain_text("ContextFullError")
    area.press("Escape")
    expect(area).to_be_hidden()
    head(page, FORK_END)


def test_backspace_leads_back_and_what_came_after_stays(lab):
    page, widget = opened(lab)
    widget.locator(f"[data-node='{FORK + 2}']").click()
    back = widget.get_by_role("button", name="back to here")
    expect(back).to_be_visible()
    widget.get_by_test_id("stream").press("Backspace")
    expect(widget.locator(f"[data-node='{FORK + 3}']")).to_have_count(0)
    head(page, FORK + 2)
    expect(back).to_be_hidden()
    widget.get_by_test_id("stream").press("Backspace")
    expect(widget.locator(f"[data-node='{FORK + 2}']")).to_have_count(0)
    head(page, FORK + 1)
    widget.locator(".explore [data-tool=tree]").click()
    branches(widget).nth(1).get_by_role("button", name="Go").click()
    expect(widget.locator(f"[data-node='{FORK_END}']")).to_be_visible()
    head(page, FORK_END)


def test_where_the_same_dice_fell_elsewhere_is_marked(lab):
    page, widget = opened(lab)
    page.kernel_run(f"w.trace.diverged.append({FORK})")
    widget.get_by_test_id("stream").press("Backspace")  # so that the kernel tells what is new
    expect(widget.locator(".diverged")).to_have_attribute("data-node", str(FORK))
    expect(widget.locator(".diverged")).to_have_attribute("title", re.compile("same dice"))


def test_a_prompt_can_be_read_on_after_an_edit(lab):
    page, widget = opened(lab)
    widget.get_by_role("button", name="edit", exact=True).click()
    area = widget.get_by_label("Text of the run")
    expect(area).to_have_value(page.kernel_eval("w.trace.text"))
    area.fill(f"{PROMPT} wishes, and the first was")
    area.press("Control+Enter")
    expect(area).to_be_hidden()
    length = page.kernel_eval("w.trace.length")
    widget.locator("button[data-action=step]").click()
    page.kernel_until(f"w.trace.length == {length + 1}")
