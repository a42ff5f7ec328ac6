"""The page of its own in a browser: opened from a file, quiet, and as lively as a recording can be."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from inferno_widget.export.html import page as html_page
from inferno_widget.record import Kind, StepRecord
from inferno_widget.trace import Trace
from tests.browser.lab import PICTURES

WORDS = "Once upon a time there was a king who had three sons ; and when the eldest was grown he went away .".split()
HOSTILE = '</script><script>document.title = "hacked"</script><img src=x onerror="document.title=1">'
PROMPT = 8
TOKENS = 120


def recorded(n: int = TOKENS, *, extra: bytes = b"", ms: float = 20) -> Trace:
    """A trace with numbers that fit together: the alternatives are those of a distribution."""
    pieces = {i: f" {word}".encode() for i, word in enumerate(WORDS)} | {len(WORDS): extra or b" \xf0\x9f\x94\xa5"}
    dice = np.random.default_rng(3)
    trace = Trace(8, model={"name": "Fairy Tales", "architecture": "llama", "parameters": 5_200_000, "n_vocab": 4096})
    trace.runs.append({"sampler": {"temperature": 0.8, "seed": 12}, "started": 1.7e9})
    for position in range(n):
        ids = dice.permutation(len(pieces))[:8].astype(np.int32)
        logprobs = np.log(np.sort(dice.dirichlet(np.full(9, 0.4)))[::-1][:8] + 1e-9).astype(np.float32)
        at = 0 if dice.random() < 0.7 else int(dice.integers(1, 6))
        token = len(WORDS) if extra and position == PROMPT + 1 else int(ids[at])
        kind = Kind.PROMPT if position < PROMPT else Kind.GENERATED
        numbers = {"ms": ms, "kept": 6, "entropy": 1.5, "sampled_prob": 0.5, "draw": 0.5}
        if not position:
            trace.append(StepRecord(0, token, kind), pieces)
            continue
        record = StepRecord(
            position,
            token,
            kind,
            float(logprobs[at]),
            rank=at + 1,
            tail=float(1 - np.exp(logprobs).sum()),
            top_ids=ids,
            top_logprobs=logprobs,
            top_kept=np.arange(8) < 6,
            **numbers,
        )
        trace.append(record, pieces)
    return trace


class Opened:
    """A page in a browser, and what it asked for or complained about."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser, self._folder = browser, folder
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.pages: list[Page] = []

    def __call__(self, trace: Trace, *, width: int = 1100, javascript: bool = True, title=None, **options) -> Page:
        file = self._folder / f"{len(self.pages)}.html"
        file.write_text(html_page(trace, title=title), encoding="utf-8")
        context = self._browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=javascript, **options
        )
        page = context.new_page()
        self.pages.append(page)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(file.as_uri())
        self.requests.remove(file.as_uri())
        return page


@pytest.fixture
def opened(running_lab, tmp_path) -> Iterator[Opened]:
    """Opens pages of traces; in the end, none of them may have asked for anything or complained."""
    opened = Opened(running_lab.browser, tmp_path)
    yield opened
    for page in opened.pages:
        page.context.close()
    assert opened.requests == []
    assert opened.complaints == [], "a violation of the policy is among the complaints"


def token(page: Page, node: int):
    return page.locator(f"[data-node='{node}']").first


def shown(page: Page) -> int:
    return int(page.get_by_test_id("player").input_value())


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"page-{name}.png", full_page=True)


def test_it_says_that_it_is_a_recording_and_offers_no_fork(opened):
    page = opened(recorded())
    expect(page.get_by_test_id("state")).to_have_text("a recorded run")
    expect(page.get_by_text("A recording of Fairy Tales")).to_be_visible()
    expect(page.locator("[data-token]")).to_have_count(TOKENS)
    expect(page.locator(".legend-forced")).to_have_text("dotted: put there by a person")  # no reader of the page
    for name in ("Run", "Step"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    token(page, 20).click()
    row = page.locator(".logits-row[aria-disabled=true]:not(.chosen)").first
    expect(row).to_have_attribute("title", re.compile("did not come"))
    row.click(force=True)
    expect(page.get_by_test_id("error")).to_be_hidden()
    expect(page.locator("[data-token]")).to_have_count(TOKENS)


def test_a_click_shows_the_distribution_of_that_token(opened):
    trace = recorded()
    page = opened(trace)
    token(page, 20).click()
    expect(token(page, 20)).to_have_attribute("aria-selected", "true")
    row = trace.nodes[20]
    rows = page.locator(".logits-row[data-token-id]:visible")
    assert [int(one) for one in rows.evaluate_all("rows => rows.map(row => row.dataset.tokenId)")] == row[
        "top_ids"
    ].tolist()
    first = rows.first.locator(".percent").inner_text()
    assert float(first.rstrip("%")) == pytest.approx(100 * math.exp(row["top_logprobs"][0]), abs=0.06)
    page.wait_for_timeout(2_000)
    expect(token(page, 20)).to_have_attribute("aria-selected", "true")
    page.get_by_test_id("stream").press("ArrowRight")
    expect(token(page, 21)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(page.locator("[data-token][aria-selected=true]")).to_have_count(0)


def test_scrubbing_shows_the_text_as_far_as_it_had_come(opened):
    page = opened(recorded())
    slider = page.get_by_test_id("player")
    slider.fill("30")
    expect(page.locator("[data-token]")).to_have_count(30)
    expect(page.get_by_test_id("logits").locator("..")).to_contain_text("token 29")
    slider.focus()
    for key, length in (("ArrowRight", 31), ("ArrowLeft", 30), ("Home", 1), ("End", TOKENS)):
        page.keyboard.press(key)
        expect(page.locator("[data-token]")).to_have_count(length)
    expect(slider).to_have_attribute("aria-valuetext", f"token {TOKENS} of {TOKENS}")


def test_it_plays_and_pauses_with_the_space_bar(opened):
    page = opened(recorded())
    page.get_by_label("Speed").select_option("60 tokens/s")
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator("[data-token]").nth(PROMPT + 5)).to_be_attached()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    stopped = shown(page)
    assert PROMPT < stopped < TOKENS
    page.wait_for_timeout(300)
    assert shown(page) == stopped
    page.get_by_role("button", name="Play").click()
    expect(page.locator("[data-token]")).to_have_count(TOKENS, timeout=20_000)
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_it_plays_as_recorded(opened):
    trace = recorded(30, ms=50)
    page = opened(trace)
    page.get_by_label("Speed").select_option("as recorded")
    took = page.evaluate("""async () => {
        const play = document.querySelector("[data-action=play]");
        const begun = performance.now();
        play.click();
        do await new Promise(requestAnimationFrame); while (!play.textContent.includes("Play"));
        return performance.now() - begun;
    }""")
    assert took > 0.9 * 50 * (30 - PROMPT)


def test_little_motion_is_moved_where_little_is_wanted(opened):
    page = opened(recorded(), reduced_motion="reduce")
    page.get_by_role("button", name="Play").click()
    expect(page.locator("[data-token]")).to_have_count(PROMPT)
    lengths = page.evaluate("""async () => {
        const seen = new Set();
        for (let i = 0; i < 24; i++) {
            seen.add(document.querySelectorAll("[data-token]").length);
            await new Promise(done => setTimeout(done, 100));
        }
        return [...seen];
    }""")
    assert len(lengths) <= 4, f"a step a second, not {lengths}"


def test_what_hover_tells(opened):
    trace = recorded()
    page = opened(trace)
    token(page, 30).hover()
    said = f"{100 * math.exp(trace.nodes['logprob'][30]):.1f}%"
    told = page.locator(f".inferno-widget [title*='{said}'], .inferno-widget [role=tooltip]").first
    expect(told).to_be_attached()


def test_the_look_can_be_changed_without_a_kernel(opened):
    page = opened(recorded())
    assert page.get_by_role("tab").all_inner_texts() == ["Look", "Tree", "Compare", "Watch"]
    page.get_by_role("tab", name="Look").click()
    page.get_by_label("viridis").first.click()
    expect(page.locator(".inferno-widget")).to_have_attribute("data-palette", "viridis")


def forked(name: str = "the short one") -> Trace:
    """A recording with a second branch: the first token behind the prompt came another way, and little followed."""
    trace = recorded()
    head, pieces = trace.head, {i: f" {word}".encode() for i, word in enumerate(WORDS)}
    trace.goto(PROMPT - 1)
    for position, word in enumerate(("king", "went", "away"), PROMPT):
        kind = Kind.FORCED if position == PROMPT else Kind.GENERATED
        trace.append(StepRecord(position, WORDS.index(word), kind, -1.5, rank=4), pieces)
    trace.names = {name: trace.head}
    trace.goto(head)
    return trace


def test_branches_are_visited_in_the_page_alone(opened):
    page = opened(forked())
    expect(page.locator("[data-token]")).to_have_count(TOKENS)
    page.get_by_role("tab", name="Tree").click()
    expect(page.locator(".tree-summary")).to_have_text("2 branches")
    page.get_by_role("button", name="Go to the short one").click()
    expect(page.locator("[data-token]")).to_have_count(PROMPT + 3)
    expect(page.get_by_test_id("stream")).to_contain_text("king·went·away".replace("·", " "))
    expect(page.locator("[data-branch]")).to_have_attribute("data-branch", "the short one")
    for name in ("Name", "Prune"):
        expect(page.get_by_role("button", name=re.compile(f"^{name}"))).to_have_count(0)
    page.get_by_role("button", name=re.compile("^Go to (?!the short one)")).click()
    expect(page.locator("[data-token]")).to_have_count(TOKENS)
    picture(page, "tree")


def test_branches_are_compared_without_a_kernel(opened):
    page = opened(forked())
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator(".compare-shared")).to_contain_text(f"{PROMPT} tokens shared")
    facts = page.get_by_role("row", name="own tokens").get_by_role("cell")
    expect(facts).to_have_text([str(TOKENS - PROMPT), "3", f"+{TOKENS - PROMPT - 3}"])
    page.locator(f".compare-tokens [data-node='{TOKENS + 1}']").click()
    expect(page.locator("[data-token]")).to_have_count(PROMPT + 3)
    expect(page.locator(".stream-text [aria-selected=true]")).to_have_text("went")
    picture(page, "compare")


def test_what_was_watched_is_shown_without_a_kernel(opened):
    trace = recorded()
    trace.watch({"king": (WORDS.index("king"),), "all": tuple(range(len(WORDS)))})
    for node in range(1, len(trace.nodes)):
        trace.note_watched(node, ["king", "all"], [1 / (node + 1), 0.75])
    page = opened(trace)
    page.get_by_role("tab", name="Watch").click()
    expect(page.locator(".plot-line")).to_have_count(2)
    expect(page.locator(".watch-value").last).to_have_text("75.0%")
    token(page, 3).click()
    expect(page.locator(".watch-value").first).to_have_text("25.0%")
    for action in ("Watch", "Stop watching king"):
        expect(page.get_by_role("button", name=action, exact=True)).to_have_count(0)
    picture(page, "watch")


def test_a_hostile_trace_is_text(opened):
    page = opened(recorded(extra=HOSTILE.encode()), title=HOSTILE)
    expect(page).to_have_title(HOSTILE)
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    expect(page.get_by_test_id("stream")).to_contain_text("</script><script>")
    page.get_by_text("Text of the run").click()
    expect(page.locator("pre")).to_contain_text(HOSTILE)
    expect(page.locator("img")).to_have_count(0)


def test_without_scripts_there_is_the_text(opened):
    page = opened(recorded(), javascript=False)
    expect(page.locator("pre")).to_be_visible()
    expect(page.get_by_role("rowheader", name="model")).to_be_visible()
    picture(page, "without-scripts")


def test_the_card_can_be_opened(opened):
    page = opened(recorded())
    page.get_by_text("Reproduction card").click()
    expect(page.get_by_role("rowheader", name="model")).to_be_visible()
    expect(page.get_by_text("temperature 0.8")).to_be_visible()
    page.set_viewport_size({"width": 480, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wide tables scroll by themselves"
    picture(page, "card")


@pytest.mark.parametrize(
    ("name", "scheme", "width"), [("light", "light", 1100), ("dark", "dark", 1100), ("narrow", "dark", 480)]
)
def test_it_follows_the_system_and_fits_a_telephone(opened, name, scheme, width):
    page = opened(recorded(), width=width, color_scheme=scheme)
    expect(page.locator(".inferno-widget")).to_have_attribute("data-theme", scheme)
    token(page, 40).click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing stands out at the side"
    picture(page, name)


def test_several_frames_make_one_text(opened):
    page = opened(recorded(2_500))
    expect(page.locator(".player-place")).to_have_text("2,500 / 2,500")
