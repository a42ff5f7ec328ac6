"""Watched words, the same dice and resampling, in a real JupyterLab over a real model."""

from __future__ import annotations

import math
import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Tabs
from tests.browser.lab import KERNELS
from tests.browser.story import TOKENS, choose, told

pytestmark = pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)


def probability(text: str) -> float:
    """What the page says, as a number."""
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def rounds_to(said: float, value: float) -> bool:
    """Whether the page may say `said` of `value`: one decimal of a percentage, two digits of less."""
    return math.isclose(said, value, abs_tol=5.1e-4 if value >= 1e-3 else 5.1e-5 if value >= 1e-4 else 0, rel_tol=0.06)


def test_a_watched_word_has_its_probability_at_every_token(lab: Tabs) -> None:
    page, widget = told(lab, None, "Watch")
    field, plot = widget.locator("[data-field=watch]"), widget.get_by_test_id("watch-plot")
    field.fill("king")
    expect(widget.locator(".watch-way")).to_contain_text(["king", "·king"])
    field.press("Enter")
    expect(widget.locator(".watch-row")).to_have_count(1)
    assert page.kernel_eval("sorted(w.trace.watches['king']) == sorted(w.model.token(t) for t in ('king', ' king'))")

    values = page.kernel_eval("w.trace.watched('king').tolist()[1:]")
    expect(plot).to_have_attribute("aria-valuemax", str(len(values)))
    line = widget.locator("[data-watch=king]")
    expect(line).to_have_attribute("d", re.compile(rf"^M[^ML]+(L[^ML]+){{{len(values) - 1}}}$"))
    plot.focus()
    plot.press("Home")
    for at, value in enumerate(values, 1):
        plot.press("ArrowRight")
        expect(plot).to_have_attribute("aria-valuenow", str(at))
        words = plot.get_attribute("aria-valuetext") or ""
        said = re.search(r", king (\S+)$", words)
        assert words.startswith(f"token {at} "), words
        assert said, words
        assert rounds_to(probability(said[1]), value), (words, value)
    plot.press("Enter")
    expect(widget.locator(".logits-head")).to_contain_text(f"token {len(values)}")
    expect(widget.locator(".watch-lines h3")).to_contain_text(f"At token {len(values)}")
    page.screenshot("watch", of=widget.locator(".explore"))

    widget.locator(".buttons [data-action=resume]").click()  # the line grows with the run
    page.kernel_until(f"len(w.trace.nodes) == {len(values) + 1 + TOKENS}")
    expect(plot).to_have_attribute("aria-valuemax", str(len(values) + TOKENS))
    expect(line).to_have_attribute("d", re.compile(rf"^M[^ML]+(L[^ML]+){{{len(values) + TOKENS - 1}}}$"))
    expect(widget.get_by_test_id("status")).to_have_attribute("data-state", "ready")

    widget.locator("[data-action=unwatch]").click()
    expect(widget.locator(".watch-row")).to_have_count(0)
    expect(widget.locator(".explore-watch > .note")).to_contain_text("Nothing is watched yet")
    assert page.kernel_eval("dict(w.trace.watches)") == {}


def test_the_same_dice_say_where_the_run_would_differ_and_play_it(lab: Tabs) -> None:
    page, widget = told(lab, None, "Same dice")
    widget.locator("[data-action=what-if]").click()
    points, plot = widget.locator(".dice-point"), widget.get_by_test_id("dice-plot")
    expect(points).to_have_count(41)
    fetch = widget.locator("[data-action=what-if-rows]")
    if fetch.is_visible():
        fetch.click()
    expect(widget.locator(".dice-point.open")).to_have_count(0)
    first = page.kernel_eval("w.session.what_if(temperature=[0.0]).changes[0].at")
    assert first is not None, "the story of seed 7 is not the most likely one"
    plot.focus()
    plot.press("Home")
    expect(plot).to_have_attribute(
        "aria-valuetext", re.compile(rf"^temperature 0, another token at position {first}: ")
    )
    plot.press("Enter")
    expect(widget.locator(".logits-head")).to_contain_text(f"token {first}")
    page.screenshot("same-dice", of=widget.locator(".explore"))
    widget.locator("[data-action=latest]").click()

    before = page.kernel_eval("w.trace.path().tolist()")
    temperature = widget.locator(".settings [data-field=temperature]")
    temperature.fill("0")
    temperature.press("Enter")
    expect(widget.locator(".dice-settings")).to_contain_text("temperature=0")
    replay = widget.get_by_role("button", name="Replay with the present settings")
    replay.click()
    said = widget.get_by_test_id("replayed")
    expect(said).to_have_text(re.compile(rf"^The first different token is at {first}: .* instead of .*[^n]\.$"))
    after = page.kernel_eval("w.trace.path().tolist()")
    assert (after[:first], len(after)) == (before[:first], len(before))
    assert after[first] != before[first]
    assert page.kernel_eval("w.trace.diverged") == [after[first]]
    expect(widget.get_by_test_id("status")).to_have_attribute("data-state", "ready")

    replay.click()  # once more, of what these settings gave
    expect(said).to_have_text("Nothing differs: the same tokens, to the last one.")


def test_resampling_counts_answers_and_says_when_it_was_decided(lab: Tabs) -> None:
    page, widget = told(lab, None, "Resample", height=1400)
    at = page.kernel_eval("len(w.session.prompt_ids)") + 2
    choose(widget, at)
    widget.locator("[data-field=resample-n]").fill("12")
    widget.locator("[data-field=resample-tokens]").fill("4")
    widget.locator("[data-action=resample]").click()
    expect(widget.get_by_test_id("resampled")).to_contain_text(f"12 of 12 continuations, in place of token {at} ")
    counts = [int(text) for text in widget.locator(".resample-count").all_inner_texts()]
    assert sum(counts) == 12
    assert counts == page.kernel_eval(f"list(w.session.resample(at={at}, n=12, max_tokens=4).counts.values())")

    widget.locator("[data-field=commitment-n]").fill("4")
    widget.locator("[data-action=commitment]").click()
    expect(widget.get_by_test_id("decided")).to_contain_text("decided")
    expect(widget.locator("[data-action=commitment-stop]")).to_be_hidden()
    positions, decided = page.kernel_eval(
        f"(lambda c: (c.positions.tolist(), c.decided()))(w.session.commitment({at}, n=4))"
    )
    words = f"decided before token {decided} " if decided is not None else "that is not decided:"
    expect(widget.get_by_test_id("decided")).to_contain_text(words)
    plot = widget.get_by_test_id("commitment-plot")
    expect(plot).to_have_attribute("aria-valuemax", str(len(positions) - 1))
    page.screenshot("resample", of=widget.locator(".explore"))
    plot.focus()
    plot.press("End")
    plot.press("Enter")
    expect(widget.locator(".logits-head")).to_contain_text(f"token {positions[-1]}")


def test_enough_ends_the_work_with_what_there_is(lab: Tabs) -> None:
    page, widget = told(lab, None, "Resample")
    nodes = page.kernel_eval("len(w.trace.nodes)")
    widget.locator("[data-field=resample-n]").fill("4000")
    widget.locator("[data-field=resample-tokens]").fill("60")
    widget.locator("[data-action=resample]").click()
    expect(widget.locator(".resample-row").first).to_be_visible()
    widget.locator("[data-action=resample-stop]").click()
    expect(widget.locator("[data-action=resample-stop]")).to_be_hidden()
    said = widget.get_by_test_id("resampled").inner_text()
    done = re.match(r"([\d,]+) of 4,000 ", said)
    assert done, said
    assert int(done[1].replace(",", "")) < 4000
    assert page.kernel_eval("len(w.trace.nodes)") == nodes, "nothing of it is recorded"
