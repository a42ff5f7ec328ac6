"""What is typed and made in the page stays between page, kernel and engine: no log of Jupyter's has it."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.lab import NEVER_ENDS, READY, Lab
from tests.browser.story import settled

MARKER = "marzipanferkel"
CELL = f"from inferno_widget import Inferno\nw = Inferno(max_tokens=20, fallback=False)\n{NEVER_ENDS}\nw"


def test_no_log_of_jupyter_has_a_word_of_it(running_lab: Lab) -> None:
    """The server's own at its lowest level, and whatever else it keeps; nobody saved the notebook."""
    with Lab.running(browser=running_lab.browser, flags=["--debug"]) as server:
        page = server.open([CELL])
        requests: list[str] = []
        page.page.on("request", lambda request: requests.append(request.url))
        page.run_all()
        widget = page.widget()
        expect(widget.get_by_test_id("status")).to_have_attribute("data-state", "empty", timeout=READY)
        prompt = widget.get_by_label("Prompt", exact=True)
        prompt.fill(f"Once upon a time there was {MARKER}, who had three")
        widget.locator("button[data-action=run]").click()
        settled(page, widget, "w.session is not None and len(w.trace) > 20")
        text = page.kernel_eval("w.trace.text")
        assert MARKER in text
        widget.locator("[data-node='18']").first.click()
        expect(widget.locator(".logits-head")).to_contain_text("token 18")
        page.close()
        log = (server.home / "server.log").read_text(errors="replace")
        assert "[D " in log, "it speaks of everything"
        for file in [path for path in server.home.rglob("*") if path.is_file()]:
            data = file.read_bytes()
            assert MARKER.encode() not in data, file
            assert text[-12:].encode() not in data, file
        origin = server.url.split("/lab/")[0]
        assert requests
        assert not [url for url in requests if not url.startswith((origin, "data:", "blob:"))]
