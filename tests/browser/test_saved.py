"""Notebooks that were saved: what they show when they are opened again, without the kernel that made them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Tabs
from tests.browser.lab import KERNELS, NEVER_ENDS, Lab, LabPage

ONE_KERNEL = pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)
PROMPT = "Once upon a time there was a king who had three"
CELL = f'from inferno_widget import Inferno\nw = Inferno(prompt="{PROMPT}")\n{NEVER_ENDS}\nw'
SECRET = "The secret of the marshmallow"
PRIVATE = """\
from inferno_widget import Inferno, Model
session = Model().session("The secret of the " + "".join(["mar", "shmal", "low"]))
session.generate(4)
w = Inferno(session, fallback=False)
w"""


@pytest.fixture
def state_is_saved(running_lab) -> Iterator[None]:
    """As the menu's "Save Widget State Automatically" does."""
    setting = running_lab.settings / "@jupyter-widgets" / "jupyterlab-manager" / "plugin.jupyterlab-settings"
    setting.parent.mkdir(parents=True, exist_ok=True)
    setting.write_text(json.dumps({"saveState": True}))
    yield
    setting.unlink()


def ran(lab: Tabs, cell: str = CELL, **options: object) -> tuple[LabPage, Locator]:
    """A notebook whose widget has made twenty tokens, which have been kept."""
    page = lab.open([cell], **options)
    page.run_all()
    widget = page.widget()
    field = widget.locator("[data-field=max_tokens]")
    field.fill("20")
    field.press("Enter")
    widget.locator("button[data-action=run]").click()
    page.kernel_until("w.trace is not None and len(w.trace) == 32 and len(w.snapshot) > 0")
    return page, widget


def saved(page: LabPage, running_lab: Lab) -> Path:
    """The notebook's file, when it has been saved."""
    page.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    return max(running_lab.root.glob("test-*.ipynb"), key=lambda path: path.stat().st_mtime)


def outputs(file: Path) -> list[dict]:
    return json.loads(file.read_text())["cells"][0]["outputs"]


def fallback_of(file: Path) -> dict[str, str]:
    """The output beside the widget's."""
    (found,) = [output for output in outputs(file) if "text/html" in output["data"]]
    return {mime: "".join(lines) for mime, lines in found["data"].items()}


def reopened(lab: Tabs, running_lab: Lab, file: Path) -> LabPage:
    """The notebook in a page that knows nothing of it, with a kernel that has run nothing."""
    lab.opened[0].page.evaluate(
        "() => [...jupyterapp.shell.widgets('main')].find(panel => panel.sessionContext).sessionContext.shutdown()"
    )
    context = running_lab.browser.new_context(viewport={"width": 1300, "height": 1000})
    page = LabPage(context.new_page())
    lab.opened.append(page)
    page._visit(f"{running_lab.url}/{file.name}?reset")
    return page


def test_the_output_holds_what_was_run_after_the_cell_had_ended(lab, running_lab):
    page, widget = ran(lab)
    file = saved(page, running_lab)
    text = page.kernel_eval("w.trace.text")
    kept = fallback_of(file)
    assert text in kept["text/plain"]
    assert "data:image/svg+xml;base64," in kept["text/html"]
    expect(widget).to_be_visible()
    expect(page.page.locator(".inferno-fallback")).to_be_hidden()


@ONE_KERNEL
def test_a_fork_takes_its_place(lab, running_lab):
    page, _ = ran(lab)
    before = page.kernel_eval("len(w.snapshot)")
    page.kernel_run("w.session.fork(12, ' daughters')")
    page.kernel_until(f"len(w.snapshot) != {before}")
    kept = fallback_of(saved(page, running_lab))
    assert page.kernel_eval("w.trace.text") in kept["text/plain"]
    assert "daughters" in kept["text/plain"]


@ONE_KERNEL
def test_an_untrusted_notebook_shows_the_picture(lab, running_lab):
    page, _ = ran(lab)
    file = saved(page, running_lab)
    notebook = json.loads(file.read_text())
    notebook["cells"][0]["source"] = "# another hand\n"
    (html,) = [output["data"] for output in notebook["cells"][0]["outputs"] if "text/html" in output["data"]]
    html["text/html"] = [*html["text/html"], "<script>document.title = 'trusted'</script>"]
    foreign = file.with_name("foreign.ipynb")
    foreign.write_text(json.dumps(notebook))
    page = reopened(lab, running_lab, foreign)
    picture = page.page.locator(".inferno-fallback img")
    expect(picture).to_be_visible()
    assert picture.evaluate("img => img.complete && img.naturalWidth") > 400
    expect(page.page.locator(".inferno-fallback")).to_contain_text("12 prompt, 20 generated tokens")
    page.page.locator(".inferno-fallback summary").click()
    expect(page.page.locator(".inferno-fallback pre")).to_contain_text(PROMPT)
    expect(page.page.locator(".inferno-widget")).to_have_count(0)
    page.screenshot("saved-untrusted", of=page.page.locator(".jp-Notebook"))


@ONE_KERNEL
def test_saved_state_draws_the_view_again(lab, running_lab, state_is_saved):
    page, _ = ran(lab)
    record = page.kernel_eval("[w.trace.text, w.trace.record(14).top_ids.tolist()]")
    page = reopened(lab, running_lab, saved(page, running_lab))
    widget = page.widget()
    expect(widget.get_by_test_id("state")).to_have_text("saved view, no kernel")
    expect(widget.get_by_test_id("error")).to_contain_text("saved with the notebook")
    expect(widget.locator("[data-token]")).to_have_count(32)
    expect(page.page.locator(".inferno-fallback")).to_be_hidden()
    widget.locator("[data-node='14']").first.click()
    rows = widget.locator(".logits-row[data-token-id]:visible")
    page.page.wait_for_timeout(2_000)  # longer than a kernel would have to say otherwise
    assert [int(one) for one in rows.evaluate_all("all => all.map(row => row.dataset.tokenId)")][:20] == record[1]
    for action in ("run", "step"):
        expect(widget.locator(f"button[data-action={action}]")).to_be_disabled()
    page.screenshot("saved-state")
    page.run_all()
    expect(page.widget().get_by_test_id("state")).to_have_text("nothing run yet", timeout=30_000)


@ONE_KERNEL
def test_without_fallback_nothing_of_the_text_is_in_the_file(lab, running_lab, state_is_saved):
    page = lab.open([PRIVATE])
    page.run_all()
    expect(page.widget().locator("[data-token]").first).to_be_visible()
    page.kernel_until("w.trace is not None and w.session.state == 'ready'")
    page.page.wait_for_timeout(1_000)  # twice what a fallback would wait for
    assert SECRET in page.kernel_eval("w.trace.text")
    assert page.kernel_eval("w.snapshot") == b""
    file = saved(page, running_lab)
    assert "application/vnd.jupyter.widget-state+json" in json.loads(file.read_text())["metadata"]["widgets"]
    assert not [output for output in outputs(file) if "text/html" in output["data"]]
    assert "marshmallow" not in file.read_text()
