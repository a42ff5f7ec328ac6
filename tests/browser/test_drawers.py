"""The drawers of the workbench over a real kernel: find and load a model, keep sessions, hand results on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from inferno_widget import Trace
from inferno_widget.model import demo_path
from tests.browser.conftest import Tabs
from tests.browser.lab import KERNELS, NEVER_ENDS, LabPage
from tests.fuzz.bases import base
from tests.fuzz.draft import U32
from tests.hub import Hub
from tests.make_models import tiny_chat

pytestmark = pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)

FIRST_BYTES = {
    "html": b"<!doctype html>",
    "png": b"\x89PNG",
    "svg": b"<svg",
    "png_distribution": b"\x89PNG",
    "svg_distribution": b"<svg",
    "json": b"{",
    "inferno": b"PK",
}


def opened(lab: Tabs, root: Path, tool: str) -> tuple[LabPage, Locator]:
    page = lab.open(
        [f"from inferno_widget import Inferno\nw = Inferno(root={str(root)!r}, max_tokens=12)\n{NEVER_ENDS}\nw"]
    )
    page.run_all()
    widget = page.widget()
    expect(widget.get_by_test_id("status")).to_have_attribute("data-state", "empty")
    widget.get_by_role("tab", name=tool).click()
    return page, widget


def run(widget: Locator) -> None:
    widget.locator("button[data-action=run]").click()
    expect(widget.get_by_test_id("status")).to_have_attribute("data-state", "ready")


def test_a_model_is_found_weighed_loaded_and_unloaded(lab: Tabs, tmp_path: Path) -> None:
    models = tmp_path / "Modelle"
    models.mkdir()
    shutil.copy(demo_path(), models / "märchen.gguf")
    (models / "broken.gguf").write_bytes(demo_path().read_bytes()[:100_000])
    page, widget = opened(lab, tmp_path, "Model")
    files, loader = widget.locator(".browser-row"), widget.locator(".loader")

    files.filter(has_text="Modelle").click()
    expect(files.filter(has_text="märchen.gguf")).to_contain_text("llama")
    files.filter(has_text="broken.gguf").click()
    expect(loader.locator(".failure")).to_contain_text("ModelFileError")
    expect(loader.get_by_role("button", name="Load")).to_be_hidden()

    files.filter(has_text="märchen.gguf").click()
    expect(loader.locator(".loader-need")).to_contain_text("free")
    loader.get_by_label("context").last.fill("256")
    loader.get_by_label("context").last.press("Enter")
    loader.get_by_role("button", name="Load").click()
    expect(widget.locator(".loaded-row")).to_have_count(2)
    assert page.kernel_eval("(w.model.path.name, w.model.n_ctx)") == ("märchen.gguf", 256)
    expect(widget.locator(".card-facts")).to_contain_text("märchen.gguf")
    expect(widget.locator(".card-table tbody tr").first).to_be_visible()

    widget.locator("[data-action=unload]").first.click()
    expect(widget.locator(".loaded-row")).to_have_count(1)
    page.screenshot("drawer-model")


def test_an_odd_file_is_told_of_and_what_ends_its_load_goes_away_when_it_was_read(lab: Tabs, tmp_path: Path) -> None:
    draft = base("llama")
    draft.get("tokenizer.ggml.tokens")[300] = b"<s>"  # llama.cpp aborts
    for key in ("llama.context_length", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.bos_token_id"):
        draft.set(key, U32, 2**32 - 1)
    draft.write(tmp_path).rename(tmp_path / f"{'a-long-name-' * 8}Q4_K_M.gguf")
    _, widget = opened(lab, tmp_path, "Model")
    loader, load = widget.locator(".loader"), widget.locator(".loader [data-action=load]")

    widget.locator(".browser-row").filter(has_text="Q4_K_M").click()
    expect(loader.locator(".findings-list li")).to_have_count(4)
    expect(loader.locator(".loader-need")).to_contain_text("free")
    expect(load).to_be_in_viewport(ratio=1)  # however much is said above it
    assert loader.evaluate("box => box.scrollWidth <= box.clientWidth"), "a long name stays in its box"

    load.click()
    failure = widget.locator(".task .failure")
    expect(failure).to_contain_text("probably because of what is odd in its file: tokenizer.ggml.tokens")
    widget.locator(".task [data-action=cancel]").click()
    expect(failure).to_have_count(0)
    expect(widget.get_by_test_id("error")).to_be_hidden()
    run(widget)


def test_a_model_is_downloaded_when_its_repository_is_named(lab: Tabs, tmp_path: Path) -> None:
    hub = Hub({"ann/tales-GGUF": {"tales.Q8_0.gguf": demo_path().read_bytes(), "tales.F16.gguf": b"other"}})
    with hub.serving():
        environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
        page = lab.open(
            [f"import os\nos.environ |= {environment!r}\nfrom inferno_widget import Inferno\nw = Inferno()\nw"]
        )
        page.run_all()
        widget = page.widget()
        expect(widget.get_by_test_id("status")).to_have_attribute("data-state", "empty")
        widget.get_by_role("tab", name="Model").click()
        expect(widget.locator(".loaded-row")).to_have_count(1)
        assert not hub.requests, "nothing is asked before a repository is named"

        widget.locator("[data-field=repo]").fill("ann/tales-GGUF")
        widget.get_by_role("button", name="Download from Hugging Face").click()
        page.kernel_until("w.model.path.name == 'tales.Q8_0.gguf'")
        expect(widget.locator(".loaded-row")).to_have_count(2)
        assert [request for request in hub.requests if request.startswith("GET") and "Q8_0" in request]
        run(widget)


def test_sessions_are_renamed_duplicated_deleted_kept_and_opened_again(lab: Tabs, tmp_path: Path) -> None:
    page, widget = opened(lab, tmp_path, "Sessions")
    run(widget)
    names = widget.locator(".session-name")
    widget.locator("[data-action=rename]").click()
    widget.locator(".session-entry").fill("der König")
    widget.locator(".session-entry").press("Enter")
    expect(names).to_have_text(["der König"])
    widget.locator("[data-action=duplicate]").click()
    expect(names).to_have_count(2)
    names.last.press("Delete")
    expect(names).to_have_text(["der König"])
    widget.locator("[data-action=undo]").click()
    expect(names).to_have_count(2)

    names.first.click()
    expect(widget.locator("[data-field=save]")).to_have_attribute("placeholder", "der König.inferno")
    widget.get_by_role("button", name="Save").click()
    expect(widget.locator(".session-file")).to_contain_text(["", "Written to"])
    kept = Trace.load(tmp_path / "der König.inferno")
    assert kept.length == page.kernel_eval("w.trace.length")

    widget.locator("[data-action=browse]").click()
    widget.locator(".browser-row").filter(has_text="der König.inferno").click()
    expect(names).to_have_count(3)
    widget.locator(".buttons [data-action=resume]").click()  # its model is loaded, so that it can go on
    page.kernel_until(f"w.trace.length == {kept.length} + 12")
    page.screenshot("drawer-sessions")


def test_every_format_is_downloaded_and_one_is_written(lab: Tabs, tmp_path: Path) -> None:
    page, widget = opened(lab, tmp_path, "Export")
    run(widget)
    for form, first in FIRST_BYTES.items():
        widget.locator(f".format input[value={form}]").check()
        with page.page.expect_download() as download:
            widget.locator(".tool-exports [data-action=download]").click()
        data = Path(download.value.path()).read_bytes()
        assert data[:200].lstrip().lower().startswith(first.lower()), f"{form}: {data[:40]!r}"
    widget.locator(".format input[value=json]").check()
    widget.locator("[data-field=export]").fill("lauf.json")
    widget.get_by_role("button", name="Write to this path").click()
    expect(widget.locator(".export-do > .note")).to_contain_text("lauf.json")
    assert json.loads((tmp_path / "lauf.json").read_text())
    widget.locator("[data-action=verify]").click()
    expect(widget.locator(".verified")).to_contain_text("✓")
    page.screenshot("drawer-export")


def test_a_conversation_shows_what_the_model_reads_and_takes_the_answer(lab: Tabs, tmp_path: Path) -> None:
    file = tiny_chat(tmp_path / "chat.gguf")
    page = lab.open([f"from inferno_widget import Inferno\nw = Inferno({str(file)!r}, max_tokens=8)\nw"])
    page.run_all()
    widget = page.widget()
    expect(widget.get_by_test_id("status")).to_have_attribute("data-state", "empty")
    widget.get_by_role("tab", name="Chat").click()
    texts = widget.locator(".message-text")
    texts.fill("once upon a time")
    expect(widget.locator(".chat-prompt")).to_contain_text("once upon a time")
    expect(widget.locator(".chat-prompt .special").first).to_be_visible()
    texts.press("Control+Enter")
    page.kernel_until("w.session is not None and w.session.state == 'ready'")
    widget.locator("[data-action=answer]").click()
    expect(texts).to_have_count(3)
    assert texts.nth(1).input_value().strip()
    page.screenshot("drawer-chat")
