"""The names people use, and what importing them costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import inferno_widget
from inferno_widget import errors

HEAVY = {"llama_cpp", "plotly", "pandas", "anywidget", "ipywidgets", "traitlets", "numpy", "psutil", "huggingface_hub"}


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `code`."""
    script = f"{code}\nimport json, sys; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import inferno_widget") & HEAVY


@pytest.mark.parametrize("name", ["widget", "session", "model", "wire", "files"])
def test_native_code_stays_out_of_the_kernel(name: str) -> None:
    assert not loaded_after(f"import inferno_widget.{name}") & {"llama_cpp", "plotly", "pandas", "huggingface_hub"}


@pytest.mark.parametrize("name", ["session", "model", "trace", "files", "wire"])
def test_headless_parts_do_not_load_the_widget(name: str) -> None:
    assert not loaded_after(f"import inferno_widget.{name}") & {"anywidget", "ipywidgets", "traitlets", "IPython"}


def test_every_public_name_is_there_once() -> None:
    assert sorted(inferno_widget.__all__) == inferno_widget.__all__ == sorted(inferno_widget._HOME)
    for name in inferno_widget.__all__:
        value = getattr(inferno_widget, name)
        assert value.__name__ == name
        assert value.__module__ == f"inferno_widget.{inferno_widget._HOME[name]}"
        assert value.__doc__, f"{name} says nothing of itself"
    assert set(inferno_widget.__all__) <= set(dir(inferno_widget))


def test_every_error_is_public() -> None:
    leaves = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert leaves <= set(inferno_widget.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'Modle'"):
        inferno_widget.Modle  # noqa: B018


def test_a_star_import_brings_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from inferno_widget import *", names)
    assert set(inferno_widget.__all__) <= names.keys()
