"""``python -m inferno_widget check FILE...``: what is wrong or odd about model files."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import printable
from .gguf import check, read_info

DESCRIPTION = """Look at GGUF files without loading them. A line begins with "error" where the file is refused, and with
"warning" where llama.cpp has the last word. The exit status is 1 if a file is refused, else 0."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m inferno_widget", description="Tools beside the notebook.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checking = commands.add_parser("check", help="say what is wrong or odd about model files", description=DESCRIPTION)
    checking.add_argument("files", nargs="+", metavar="FILE", help="a GGUF file, or a pattern such as models/*.gguf")
    asked = parser.parse_args(arguments)
    return max([_report(path) for path in _found(asked.files)])  # a list, since all are to be looked at


def _found(patterns: Sequence[str]) -> Iterator[str]:
    """The files that are meant. A pattern comes here where the shell does not know them, or found nothing."""
    for pattern in patterns:
        matching = [] if Path(pattern).exists() else sorted(glob.glob(pattern))  # noqa: PTH207  takes absolute ones too
        yield from matching or [pattern]


def _report(path: str) -> int:
    """Print the findings of a file, and return 1 if it is refused."""
    findings = check(path)
    refused = any(finding.severity == "error" for finding in findings)
    said = "refused" if refused else repr(read_info(path))
    lines = [printable(f"{path}: {said}"), *(f"  {finding}" for finding in findings)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return int(refused)


if __name__ == "__main__":
    sys.exit(main())
