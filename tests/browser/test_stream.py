"""The text view in a real browser, with a made-up run of 20,000 tokens: what only laid out text can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from benchmarks import ui
from tests.browser.lab import Lab

N = 20_000
STEP = 137
"""Pixels of a scroll: no whole number of lines."""

SEEN = """() => {
  const places = {};
  const view = document.querySelector(".stream-text").getBoundingClientRect();
  for (const span of document.querySelectorAll("[data-token]")) {
    const box = [...span.getClientRects()].at(-1);
    if (box && box.bottom > view.top && box.top < view.bottom) places[span.dataset.node] = [box.left, box.top];
  }
  return places;
}"""
"""Where on the page the tokens stand that are seen."""

LINES = """(plain) => {
  let spans = [...document.querySelectorAll("[data-token]")];
  const starts = (drawn) => {
    const lines = [];
    let top = -Infinity;
    for (const span of drawn) {
      const box = [...span.getClientRects()].at(-1);
      if (box && Math.abs(box.top - top) > box.height / 2) {
        lines.push(Number(span.dataset.node));
        top = box.top;
      }
    }
    return lines;
  };
  if (!plain) return starts(spans);
  spans = spans.slice(spans.findIndex(({ dataset }) => Number(dataset.node) === plain));
  const block = document.createElement("div");
  block.className = "block";
  for (const span of spans) {
    const copy = span.cloneNode(true);
    if (block.firstChild) copy.querySelector(".hang")?.replaceWith(" ");
    block.append(copy);
  }
  block.style.width = `${document.querySelector(".block").clientWidth}px`;
  document.querySelector(".stream-text").append(block);
  const lines = starts(block.children);
  block.remove();
  return lines;
}"""
"""The tokens that begin lines; given one of them, as one plain element would break the text from there on."""

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ui.build(tmp_path_factory.mktemp("stream"))


@pytest.fixture
def shown(running_lab: Lab, built: Path) -> Iterator[Open]:
    pages: list[Page] = []
    errors: list[str] = []

    def show(breaks: bool) -> Page:
        page = running_lab.browser.new_page(viewport={"width": 1000, "height": 700})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{built.as_uri()}?who=ours&n={N}&breaks={int(breaks)}")
        page.evaluate("(steps.read(), steps.first())")
        pages.append(page)
        return page

    yield show
    for page in pages:
        page.close()
    assert errors == []


def scroll(page: Page, pixels: str) -> None:
    page.evaluate(f"document.querySelector('.stream-text').scrollTop = {pixels}")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def moves(page: Page, step: int) -> set[tuple[int, int]]:
    """How far the tokens have moved on the page that were seen before and after a scroll."""
    before = page.evaluate(SEEN)
    scroll(page, f"document.querySelector('.stream-text').scrollTop + {step}")
    after = page.evaluate(SEEN)
    both = before.keys() & after.keys()
    assert both
    return {(round(after[node][0] - before[node][0]), round(after[node][1] - before[node][1])) for node in both}


def test_what_is_read_does_not_jump_while_one_scrolls(shown: Open) -> None:
    page = shown(breaks=True)
    scroll(page, "document.querySelector('.stream-text').scrollHeight / 2")
    assert [moves(page, step) for step in [-STEP] * 25 + [STEP] * 25] == [{(0, STEP)}] * 25 + [{(0, -STEP)}] * 25
    assert page.locator("[data-token]").count() < 1_500


def test_one_endless_paragraph_breaks_as_if_it_were_drawn_whole(shown: Open) -> None:
    page = shown(breaks=False)
    scroll(page, "document.querySelector('.stream-text').scrollHeight / 2")
    for _ in range(25):
        moves(page, -STEP)
    for width in (900, 620):
        page.evaluate(f"document.querySelector('#host').style.width = '{width}px'")
        scroll(page, "document.querySelector('.stream-text').scrollTop + 40")
        assert page.locator(".block").count() > 1
        lines = page.evaluate(LINES, 0)
        assert len(lines) > 30
        assert page.evaluate(LINES, lines[1]) == lines[1:]
    assert [moves(page, STEP) for _ in range(25)] == [{(0, -STEP)}] * 25


def test_all_is_copied_though_little_of_it_is_in_the_page(shown: Open) -> None:
    page = shown(breaks=True)
    page.evaluate("addEventListener('copy', (event) => { window.copied = event.clipboardData.getData('text/plain'); })")
    page.locator(".stream-text").press("Control+a")
    page.keyboard.press("Control+c")
    copied = page.evaluate("window.copied")
    assert len(copied) > 3 * N
    assert copied.count("\n") == N // 61
    assert copied.endswith(page.locator("[data-token]").last.inner_text().strip("⏎"))


def test_the_card_stands_beside_its_token_and_never_on_it(shown: Open) -> None:
    page = shown(breaks=True)
    for node in (N - 200, N - 20):
        page.evaluate(f"document.querySelector('[data-node=\"{node}\"]').scrollIntoView({{ block: 'center' }})")
        token = page.locator(f"[data-node='{node}']")
        token.hover()
        page.locator(".card.open", has_text=f"token {node:,}").wait_for()
        card, word = page.locator(".card").bounding_box(), token.bounding_box()
        assert card is not None
        assert word is not None
        assert card["y"] + card["height"] <= word["y"] or card["y"] >= word["y"] + word["height"]
        page.keyboard.press("Escape")
