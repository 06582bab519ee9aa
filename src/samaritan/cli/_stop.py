"""Being stopped from outside: Ctrl-C, and SIGTERM, which is made to clean up as that does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 128 + 2  # what a shell reports for a program that SIGINT, Ctrl-C, has ended
TERMINATED = 128 + 15  # SIGTERM


class Terminated(KeyboardInterrupt):
    """SIGTERM has come. What cleans up after Ctrl-C takes it for that."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise ``Terminated`` where the block is when SIGTERM comes.

    Only if it would have ended the process at once: who ignores it, or heeds it in another way, has a reason.
    """
    ours = threading.current_thread() is threading.main_thread()  # the only one that may say what signals do
    if not ours or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def reason(stop: KeyboardInterrupt) -> tuple[str, int]:
    """Return what has stopped the program, in a word, and its exit code."""
    return ("terminated", TERMINATED) if isinstance(stop, Terminated) else ("interrupted", INTERRUPTED)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `timeout` sends it twice: the second must not stop the cleaning up
    raise Terminated
