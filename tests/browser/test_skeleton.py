"""The ground that the other browser tests stand on: a widget, a kernel, a tab."""

from __future__ import annotations

import pytest

from tests.browser.lab import KERNELS

HELLO = """
import anywidget, traitlets

class Hello(anywidget.AnyWidget):
    _esm = '''
    function render({ model, el }) {
        const button = document.createElement("button");
        el.classList.add("inferno-widget");
        const draw = () => { button.textContent = `count ${model.get("count")}`; };
        button.onclick = () => model.send({ kind: "more" });
        model.on("change:count", draw);
        draw();
        el.append(button);
    }
    export default { render };
    '''
    count = traitlets.Int(0).tag(sync=True)

    def __init__(self):
        super().__init__()
        self.on_msg(lambda self, content, buffers: self.set_trait("count", self.count + 1))

hello = Hello()
hello
"""


def test_a_widget_answers(lab, kernel):
    page = lab.open([HELLO, "import ipykernel; print(ipykernel.__version__)"])
    page.run_all(wait=True)
    button = page.widget().get_by_role("button")
    button.click()
    page.widget().get_by_text("count 1").wait_for()
    assert page.kernel_until("hello.count") == 1
    assert f"ipykernel-{page.output(1)}".startswith(kernel)


@pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)
def test_a_second_view_agrees(lab):
    page = lab.open([HELLO])
    page.run_all()
    page.widget()
    page.new_view(0)
    page.widget(1).get_by_role("button").click()
    page.widget(0).get_by_text("count 1").wait_for()


@pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)
@pytest.mark.parametrize(("theme", "width"), [("light", 960), ("dark", 480)])
def test_theme_and_width(lab, theme, width):
    page = lab.open([HELLO], theme=theme, width=width)
    page.run_all()
    box = page.widget().bounding_box()
    assert abs(box["width"] - width) <= 2
    assert page.page.evaluate("document.body.dataset.jpThemeLight") == ("true" if theme == "light" else "false")
    assert page.screenshot(f"skeleton-{theme}").stat().st_size > 0


@pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)
def test_a_restarted_kernel_has_forgotten(lab):
    page = lab.open(["a = 1"])
    page.run_all(wait=True)
    assert page.kernel_eval("a") == 1
    page.restart_kernel()
    assert page.kernel_eval("'a' in globals()") is False


@pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)
def test_a_complaint_is_noticed(lab):
    page = lab.open([HELLO])
    page.page.evaluate("() => { console.error('ours'); }")
    assert any("ours" in error for error in page.errors)
    page.errors.clear()
