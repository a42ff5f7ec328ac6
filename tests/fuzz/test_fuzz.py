"""Three hundred broken model files, and the kernel lives; ``make fuzz`` tries thousands."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz import hunt
from tests.fuzz.bases import BASES
from tests.fuzz.clear import is_clear
from tests.fuzz.hunt import FAULTS, Result
from tests.fuzz.mutate import GOOD, Case, cases
from tests.fuzz.mutations import MUTATIONS

COUNT = 300
JOBS = 3
READERS = ("bert", "t5")
"""Architectures that do not continue a text."""


def test_no_file_ends_the_kernel_or_hangs_it_or_goes_unexplained() -> None:
    results = list(hunt.hunt(cases(COUNT), jobs=JOBS))
    faults = [str(result) for result in results if result.outcome in FAULTS]
    assert not faults, "\n".join(["again with: python -m tests.fuzz CASE", *faults])
    found = Counter(result.outcome for result in results)
    assert found.total() == COUNT
    assert min(found[outcome] for outcome in ("works", "refused", "error")) > COUNT // 20, found
    assert found["killed"], "no file reached the child and killed it: the fuzzer has lost its teeth"


@pytest.mark.timeout(300)
def test_good_files_work_and_those_that_write_no_text_are_refused_in_words() -> None:
    results = {result.case: result for result in hunt.hunt([Case(each, GOOD, 0) for each in BASES], jobs=JOBS)}
    for name in BASES:
        result = results[f"{name}/{GOOD}/0"]
        assert result.outcome == ("error" if name in READERS else "works"), result
        assert "does not continue a text" in result.message or name not in READERS, result


# --- the fuzzer itself ------------------------------------------------------------------------------------


def test_a_name_makes_the_same_file_again() -> None:
    for case in cases(2 * len(MUTATIONS), seed=3):
        again = Case.named(str(case))
        assert again == case
        assert again.draft().encoded() == case.draft().encoded(), case


@pytest.mark.parametrize("mutation", sorted(MUTATIONS))
def test_a_mutation_changes_the_file(mutation: str) -> None:
    good = {name: Case(name, GOOD, 0).draft().encoded() for name in ("llama-chat", "qwen2")}
    drafts = [(good[name], Case(name, mutation, seed).draft()) for name in good for seed in range(4)]
    assert any(draft.encoded() != whole or draft.beside or draft.grown for whole, draft in drafts)


KERNELS = {
    "dead": "import os; sys.stdin.readline(); os.abort()",
    "hung": "import time; sys.stdin.readline(); time.sleep(60)",
    "noise": """
        for line in sys.stdin:
            sys.stderr.write("a warning")
            sys.stderr.flush()
            print(json.dumps({"case": line.strip(), "outcome": "works", "stage": "load", "seconds": 0}), flush=True)
    """,
}


@pytest.mark.parametrize("fault", KERNELS)
def test_the_hunt_notices_a_kernel_that_is(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad_kernel.py").write_text("import json, sys\n" + textwrap.dedent(KERNELS[fault]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(hunt, "SECONDS", 3.0)
    two = list(cases(2))
    results = list(hunt.hunt(two, jobs=1, module="bad_kernel"))
    assert [result.outcome for result in results] == [fault, fault]
    assert [result.case for result in results] == [str(case) for case in two]
    assert str(two[0]) in str(results[0])


@pytest.mark.parametrize(
    ("message", "clear"),
    [
        ("model.gguf: is not a GGUF file: it looks like a web page", True),
        ("ZeroDivisionError: division by zero", False),
        ("model.gguf: the key \x1b[31m is there twice", False),
        ("x" * 5_000, False),
        ("", False),
    ],
)
def test_what_counts_as_clear(message: str, clear: bool) -> None:
    assert is_clear(message) is clear


def test_a_result_names_its_case() -> None:
    result = Result("llama/offset/7", "unclear", "load", 0.25, "ValueError", "no")
    assert str(result) == "unclear during load after 0.2 s: llama/offset/7\n    ValueError: no"
