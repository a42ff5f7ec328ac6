"""Text by somebody who means harm, from a model, a file or a person, in a browser: it is shown, and does nothing."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from inferno_widget import Model, Sampler
from inferno_widget.export.html import page as html_page
from inferno_widget.trace import Trace
from tests.browser.conftest import Tabs
from tests.browser.lab import KERNELS, READY, Lab, LabPage
from tests.browser.story import settled
from tests.make_models import MARKUP, tiny_hostile

ONE_KERNEL = pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)
IMAGE = MARKUP[0]
FILE = "<img src=x onerror=window.__pwned=11>.gguf"
TOKENS = 60


def cell(file: Path) -> str:
    """A workbench whose model, prompt and preset mean harm, and whose sampler lets every token come."""
    return f"""\
from inferno_widget import Inferno
MARKUP = {MARKUP!r}
w = Inferno({str(file)!r}, prompt="".join(MARKUP[:4]) + " once", max_tokens={TOKENS}, root={str(file.parent)!r})
for name, value in dict(temperature=3, top_k=0, top_p=1, min_p=0, seed=3, logit_bias={{"2": None}}).items():
    w.workbench.set(name, value)
w.workbench.save_preset(MARKUP[0])
w"""


FIGURE = """\
from inferno_widget import Model, Sampler
session = Model({file!r}, n_ctx=256).session("once", Sampler(seed=3))
session.generate(20)
session.plot.distribution(12)"""

HARM = """root => {
    const inside = [...root.querySelectorAll("*")];
    const names = /^(img|script|iframe|object|embed|link|meta|style|base|a|video|audio|marquee|title|frame)$/i;
    return inside.flatMap(element => [
        ...(names.test(element.tagName) ? [element.outerHTML.slice(0, 120)] : []),
        ...element.getAttributeNames().filter(name => /^on|^srcdoc$|^autofocus$/i.test(name)),
    ]);
}"""


def assert_harmless(page: Page, root: Locator) -> None:
    """Nothing of the text is an element, an attribute or a script."""
    assert root.evaluate(HARM) == []
    assert page.evaluate("typeof window.__pwned") == "undefined"


@pytest.fixture
def hostile(lab: Tabs, tmp_path: Path) -> Iterator[tuple[LabPage, Locator]]:
    """A workbench in which all that has a name or a text has a bad one, and its run. It asks for nothing elsewhere."""
    file = tiny_hostile(tmp_path / FILE)
    page = lab.open([cell(file)])
    requests: list[str] = []
    page.page.on("request", lambda request: requests.append(request.url))
    page.page.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))
    page.run_all()
    widget = page.widget()
    expect(widget.get_by_test_id("status")).to_have_attribute("data-state", "empty", timeout=READY)
    widget.locator("button[data-action=run]").click()
    settled(page, widget, f"len(w.trace) > {TOKENS}")
    yield page, widget
    server = page.page.url.split("/lab/")[0]
    assert requests
    assert not [url for url in requests if not url.startswith((server, "data:", "blob:"))]


@ONE_KERNEL
def test_what_a_model_says_and_is_called_is_text_everywhere(hostile: tuple[LabPage, Locator]) -> None:
    page, widget = hostile
    said = page.kernel_eval("[text for text in MARKUP if text in w.trace.text]")
    assert len(said) > len(MARKUP) / 2, "the model says what it is there to say"
    visible = [text for text in said if text.isascii() and text.isprintable()]
    written = widget.get_by_test_id("stream").evaluate("stream => stream.textContent")
    for text in visible:
        assert text in written
    page.kernel_run("w.workbench.rename(w.workbench.library.shown.id, MARKUP[0])")
    page.kernel_run("w.workbench.fork(8, w.trace.nodes['top_ids'][8][1].item())")
    page.kernel_until("len(w.workbench.session.branches) == 2 and w.session.state == 'ready'")
    page.kernel_run("w.workbench.name_branch(w.trace.head, MARKUP[0]); w.workbench.watch(MARKUP[2], [510, 493])")
    page.kernel_until("w.trace.names and w.trace.watches and w.session.state == 'ready'")
    tabs = widget.get_by_role("tab")
    for i in range(tabs.count()):
        tabs.nth(i).click()
        expect(tabs.nth(i)).to_have_attribute("aria-selected", "true")
        assert_harmless(page.page, widget)
    token = widget.locator(".stream-text [data-node]").last
    token.click()
    token.hover()
    expect(token).to_have_attribute("aria-selected", "true")
    assert_harmless(page.page, widget)
    fallback = page.page.locator(".inferno-fallback")
    expect(fallback.locator("pre")).to_contain_text(IMAGE)
    (own,) = fallback.evaluate(HARM)
    assert own.startswith('<img src="data:image/svg+xml;base64,'), "the picture"


@ONE_KERNEL
def test_names_and_errors_stand_there_as_they_are(hostile: tuple[LabPage, Locator]) -> None:
    page, widget = hostile
    widget.get_by_role("tab", name="Model").click()
    expect(widget.locator(".card-facts")).to_contain_text(FILE)
    expect(widget.locator(".card-table")).to_contain_text(IMAGE)
    expect(widget.locator(".browser-row").first).to_contain_text(FILE)
    widget.get_by_role("tab", name="Sampler").click()
    expect(widget.locator(".tools")).to_contain_text(IMAGE)
    page.kernel_run("w.workbench.name_branch(w.trace.head, MARKUP[0])")
    widget.get_by_role("tab", name="Tree").click()
    expect(widget.locator("[data-branch]")).to_have_attribute("data-branch", IMAGE)
    page.kernel_run("w.workbench.rename(w.workbench.library.shown.id, MARKUP[2])")
    widget.get_by_role("tab", name="Sessions").click()
    expect(widget.locator(".session-name")).to_have_text([MARKUP[2]])
    widget.locator("[data-field=save]").fill(f"nowhere/{IMAGE}/x.inferno")
    widget.get_by_role("button", name="Save").click()
    expect(widget.locator(".session-file > .failure")).to_contain_text(IMAGE)
    assert_harmless(page.page, widget)
    page.screenshot("injection")


@ONE_KERNEL
def test_figures_show_tokens_as_they_are(lab: Tabs, tmp_path: Path) -> None:
    """Plotly takes some HTML in its texts for markup."""
    file = tiny_hostile(tmp_path / FILE)
    page = lab.open([FIGURE.format(file=str(file))])
    page.run_all()
    plot = page.page.locator(".js-plotly-plot")
    expect(plot.locator(".ytick").first).to_be_visible(timeout=READY)
    ticks = plot.locator(".ytick").all_text_contents()
    assert len([tick for tick in ticks if "__pwned" in tick or "<" in tick]) > 5
    assert plot.locator("svg a, svg img, foreignObject").count() == 0
    assert page.page.evaluate("typeof window.__pwned") == "undefined"


# --- the page of its own ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """A run of the model that means harm."""
    file = tiny_hostile(tmp_path_factory.mktemp("hostile") / FILE)
    with Model(file, n_ctx=1024) as model:
        session = model.session("".join(MARKUP), Sampler(temperature=3, top_k=0, top_p=1, min_p=0, seed=3))
        session.generate(TOKENS)
        session.name_branch(IMAGE)
        session.watch({MARKUP[2]: [510]})
        return session.trace.copy()


class Listening(http.server.BaseHTTPRequestHandler):
    """Has one page, and notes whatever else is asked of it."""

    asked: list[str]
    page: bytes

    def _note(self) -> None:
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        if self.path == "/page.html":
            self.wfile.write(self.page)
        else:
            self.asked.append(f"{self.command} {self.path}")

    do_GET = do_POST = do_HEAD = do_OPTIONS = _note  # noqa: N815  the names that the server calls

    def log_message(self, *_: object) -> None: ...


@contextmanager
def served(page: str) -> Iterator[tuple[str, list[str]]]:
    """An address on this machine that has a page, and what else was asked of it."""
    asked: list[str] = []
    handler = type("Handler", (Listening,), {"asked": asked, "page": page.encode()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()


@contextmanager
def opened(browser: Browser, trace: Trace, folder: Path) -> Iterator[tuple[Page, list[str]]]:
    """The exported page, opened from a file, and what it asked for."""
    file = folder / "page.html"
    file.write_text(html_page(trace), encoding="utf-8")
    context = browser.new_context()
    page, requests = context.new_page(), []
    page.on("request", lambda request: requests.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))
    page.goto(file.as_uri())
    requests.clear()
    yield page, requests
    context.close()


def test_an_exported_page_shows_what_means_harm_as_text(running_lab: Lab, spoken: Trace, tmp_path: Path) -> None:
    with opened(running_lab.browser, spoken, tmp_path) as (page, requests):
        expect(page.locator("[data-token]").first).to_be_visible()
        for details in page.locator("details").all():
            details.evaluate("details => { details.open = true; }")
        expect(page.locator("pre")).to_contain_text(IMAGE)
        expect(page.get_by_test_id("stream")).to_contain_text(IMAGE)
        assert_harmless(page, page.locator("main"))
        assert page.locator("script").count() == 2
        tabs = page.get_by_role("tab")
        for i in range(tabs.count()):
            tabs.nth(i).click()
            assert_harmless(page, page.locator("main"))
        assert requests == []


ATTEMPTS = {
    "fetch": "fetch(url)",
    "request": "const r = new XMLHttpRequest(); r.open('GET', url); r.send();",
    "beacon": "navigator.sendBeacon(url, 'x')",
    "socket": "new WebSocket(url.replace('http', 'ws'))",
    "events": "new EventSource(url)",
    "image": "new Image().src = url",
    "style": "add('link', {rel: 'stylesheet', href: url})",
    "import": "add('style', {textContent: `@import url(${url});`})",
    "background": "document.body.setAttribute('style', `background: url(${url})`)",
    "background by script": "document.body.style.backgroundImage = `url(${url})`",
    "font": "new FontFace('x', `url(${url})`).load().catch(() => {})",
    "script": "add('script', {src: url})",
    "module": "import(url).catch(() => {})",
    "inline script": "add('script', {textContent: `fetch('${url}')`})",
    "code": "new Function(`fetch('${url}')`)()",
    "worker": "new Worker(url)",
    "worker of a blob": "new Worker(URL.createObjectURL(new Blob([`fetch('${url}')`])))",
    "service worker": "await navigator.serviceWorker.register(url)",
    "frame": "add('iframe', {src: url})",
    "frame of a text": "add('iframe', {srcdoc: `<img src='${url}'>`})",
    "object": "add('object', {data: url})",
    "embed": "add('embed', {src: url})",
    "video": "add('video', {src: url, autoplay: true})",
    "prefetch": "add('link', {rel: 'prefetch', href: url})",
    "preload": "add('link', {rel: 'preload', as: 'image', href: url})",
    "form": "const f = add('form', {action: url, method: 'post'}); f.submit();",
    "base": "add('base', {href: url + '/'}); add('img', {src: 'x.png'})",
}
TRY = """async url => {
    const add = (tag, properties) => document.body.appendChild(Object.assign(document.createElement(tag), properties));
    let violated = "";
    document.addEventListener("securitypolicyviolation", event => { violated ||= event.effectiveDirective; });
    try {
        await ATTEMPT;
    } catch (error) { violated ||= String(error); }
    for (let i = 0; i < 20 && !violated; i++) await new Promise(done => setTimeout(done, 25));
    return violated;
}"""


def attempted(page: Page, name: str, url: str) -> str:
    """What refused a request: a directive of the policy, or an error; "" where nothing did."""
    return page.evaluate(TRY.replace("await ATTEMPT;", f"{ATTEMPTS[name]};"), f"{url}/{name.replace(' ', '-')}")


def settle(page: Page) -> None:
    page.evaluate("() => new Promise(done => setTimeout(done, 500))")


def test_the_policy_of_an_exported_page_lets_nothing_out(running_lab: Lab, spoken: Trace) -> None:
    """As if somebody else's script ran in it, which none can. From a server, where no rule for files helps."""
    context = running_lab.browser.new_context()
    with served(html_page(spoken)) as (url, asked):
        page = context.new_page()
        page.goto(f"{url}/page.html")
        expect(page.locator("[data-token]").first).to_be_visible()
        silent = [name for name in ATTEMPTS if not attempted(page, name, url)]
        assert silent == ["frame of a text"], "that one inherits the policy, which refuses within it"
        settle(page)
        assert asked == []
        assert page.url == f"{url}/page.html"
    context.close()


def test_without_the_policy_the_attempts_arrive(running_lab: Lab) -> None:
    """Else the test above would prove nothing."""
    context = running_lab.browser.new_context()
    with served("<!doctype html><title>no policy</title>") as (url, asked):
        page = context.new_page()
        page.goto(f"{url}/page.html")
        names = ("fetch", "request", "beacon", "image", "style", "font", "worker", "frame", "import", "preload")
        for name in names:
            attempted(page, name, url)
        settle(page)
        assert set(names) <= {line.rpartition("/")[2] for line in asked}
    context.close()
