"""The ``samaritan`` program: one module a verb; it parses, composes what the other layers offer, and prints."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TextIO


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program with ``argv`` (None: the command line), and leave with its exit code.

    Exit codes: 0 done, 1 some cases failed, 2 the command line was wrong, 130 interrupted, 143 ended by SIGTERM.
    """
    from samaritan.cli._app import program

    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        program()(args=argv, prog_name="samaritan")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as a line for people, without the place in the code that it comes from."""
    print(f"warning: {message}", file=sys.stderr)  # noqa: T201  # the program speaks to its user
