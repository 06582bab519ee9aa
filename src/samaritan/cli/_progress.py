"""A progress bar on stderr, where a person watches it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str, int, int], None]


@contextmanager
def progress_bar(*, quiet: bool, sizes: bool = False) -> Iterator[Report | None]:
    """Give a function for ``(stage, done, total)`` that draws a bar; None if ``quiet`` or stderr is no terminal.

    With ``sizes`` the numbers are bytes. A total of 0 is one that nobody knows.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TaskID, TransferSpeedColumn

    tasks: dict[str, TaskID] = {}
    more = (DownloadColumn(), TransferSpeedColumn()) if sizes else ()
    with Progress(*Progress.get_default_columns(), *more, console=Console(stderr=True), transient=True) as bar:

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total or None)
            bar.update(tasks[stage], completed=done, total=total or None)

        yield report
